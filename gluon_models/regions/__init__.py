"""Region ResNets: Sec. 4 and 5 are network.py, which landmarks make up a part is parts.py, its crop is crop.py."""
