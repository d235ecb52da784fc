"""Compares two systems on the same faces: which faces got better, which worse, is the difference significant.

A and B are folders that evaluate.py wrote. --out takes comparison.json, comparison.csv with every face, and
comparison.png.
"""

from __future__ import annotations

import argparse
from typing import Sequence

from common import cli
from report.compare import compare_systems, format_comparison, read_scored, write_comparison


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = cli.make_parser(__doc__)
    parser.add_argument("first", metavar="A", type=cli.file_path, help="a folder that evaluate.py wrote")
    parser.add_argument("second", metavar="B", type=cli.file_path, help="another one, of the same faces")
    parser.add_argument("--out", metavar="DIR", type=cli.file_path, help="folder for the files")
    parser.add_argument("--list", type=cli.count_or_none, default=10, metavar="N", help="faces listed at each end")
    parser.add_argument("--seed", type=cli.seed, default=0, help="of the resampling and the permutation test")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Compares.

    Raises:
        ValueError, FileNotFoundError: folders that cannot be compared.
    """
    arguments = parse(argv)
    if arguments.out:
        cli.output_folder(arguments.out)
    first, second = read_scored(arguments.first), read_scored(arguments.second)
    comparison = compare_systems(first, second, arguments.seed)
    print(format_comparison(comparison, arguments.list))
    if arguments.out:
        write_comparison(arguments.out, comparison)
        print(f"\nopen {arguments.out / 'comparison.png'}")
    return 0


if __name__ == "__main__":
    cli.run(main)
