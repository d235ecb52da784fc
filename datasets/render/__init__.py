"""Rendered faces with exact landmarks: the data on which every script runs when it is given no photos."""
