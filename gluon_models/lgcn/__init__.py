"""LGCN (Merget et al., 2018): Sec. 3.2.1 to 3.2.3 are network.py, the loss of Sec. 3.2.4 is objective.py."""
