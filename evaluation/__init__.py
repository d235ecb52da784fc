"""Measuring landmarks: metrics, protocols, published tables and the report (NumPy and matplotlib only)."""
