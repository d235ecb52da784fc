"""Other projects' networks that `tools.benchmark --peers` compares with."""
