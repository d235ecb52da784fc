"""Commands beside the scripts at the top: python -m tools.NAME."""
