"""Regenerates the tables of README.md and docs/ from the records in weights/, docs/results/ and docs/runs/.

A table stands between <!-- table: NAME --> and <!-- end of table -->; report/documents.py has the names.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Sequence

from common import cli
from common.files import write_text
from report.documents import rewritten

ROOT = Path(__file__).resolve().parent.parent


def rewrite(root: Path) -> None:
    """Writes the documents whose tables differ from the records; none if a mark is wrong (ValueError)."""
    changed = rewritten(root)
    for path, text in changed.items():
        write_text(path, text)
        print(f"new tables in {path.relative_to(root)}")
    if not changed:
        print("all tables are up to date")


def main(argv: Sequence[str] | None = None) -> int:
    """Rewrites the documents."""
    parser = cli.make_parser(__doc__)
    parser.add_argument("--root", type=cli.file_path, default=ROOT, help=argparse.SUPPRESS)
    rewrite(parser.parse_args(argv).root)
    return 0


if __name__ == "__main__":
    cli.run(main)
