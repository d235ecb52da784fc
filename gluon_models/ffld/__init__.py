"""FFLD (Yan et al., 2020): Sec. 3 is network.py, Eq. 5 to 12 are crop.py, Sec. 4 is objective.py."""
