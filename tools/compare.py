"""Compares two systems on the same faces, from two folders that evaluate.py wrote.

Lists the faces that got better and worse in B, and says whether the mean difference is statistically significant.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Sequence

from common import cli
from report.compare import compare_systems, format_versus, read_scored, write_versus


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = cli.make_parser(__doc__)
    parser.add_argument("first", metavar="A", type=Path, help="a folder that evaluate.py wrote")
    parser.add_argument("second", metavar="B", type=Path, help="another one, of the same faces")
    parser.add_argument("--out", metavar="DIR", type=Path, help="folder for comparison.json, .csv and .png")
    parser.add_argument("--list", type=int, default=10, help="faces listed at each end")
    parser.add_argument("--seed", type=int, default=0, help="seed of the resampling")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Compares the two folders.

    Raises:
        ValueError, OSError: the folders cannot be compared or the files not be written.
    """
    arguments = parse(argv)
    first, second = read_scored(arguments.first), read_scored(arguments.second)
    versus = compare_systems(first, second, arguments.seed)
    print(format_versus(versus, arguments.list))
    if arguments.out:
        write_versus(arguments.out, versus)
        print(f"\nopen {arguments.out / 'comparison.png'}")
    return 0


if __name__ == "__main__":
    cli.run(main)
