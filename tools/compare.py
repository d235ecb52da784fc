"""Commands of this package.

compare A B: puts two result folders of evaluate.py side by side, on the same faces: which faces got better in B, which
worse, and whether the difference is beyond chance.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Sequence

from report.compare import compare_systems, format_versus, read_scored, write_versus


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m evaluation", description="Works on what evaluate.py wrote.")
    commands = parser.add_subparsers(dest="command", required=True)
    about = "two systems on the same faces: which faces got better, which worse, is the difference beyond chance"
    compare = commands.add_parser("compare", help=about, description=about)
    compare.add_argument("first", metavar="A", type=Path, help="a folder that evaluate.py wrote")
    compare.add_argument("second", metavar="B", type=Path, help="another, of the same faces")
    compare.add_argument("--out", metavar="DIR", type=Path, help="folder for comparison.json, .csv and .png")
    compare.add_argument("--list", type=int, default=10, help="faces listed at each end (%(default)s)")
    compare.add_argument("--seed", type=int, default=0, help="of everything random (%(default)s)")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Compares; 2 and one line for folders that cannot be compared, else 0."""
    arguments = parse(argv)
    try:
        first, second = read_scored(arguments.first), read_scored(arguments.second)
        versus = compare_systems(first, second, arguments.seed)
        print(format_versus(versus, arguments.list))
        if arguments.out:
            write_versus(arguments.out, versus)
            print(f"\nopen {arguments.out / 'comparison.png'}")
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
