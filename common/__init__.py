"""What every room may use: files written whole, the command line. Imports nothing of the project."""
