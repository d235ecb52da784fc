"""Finds training faces whose photograph is a test face, too, however either copy was cropped, resized or coloured.

Writes pairs.csv, pairs.png, which shows each pair for a judgement by eye, and exclude.txt, the training faces that
--exclude of the training scripts leaves out.
"""

from __future__ import annotations

import argparse
import csv
import io
from pathlib import Path
from typing import NamedTuple, Sequence

import cv2
import numpy as np
from tqdm import tqdm

from common import cli
from common.files import write_text
from datasets.catalog import CATALOG, StoredFaces, chosen_subset, load_subset
from datasets.faces import Face
from datasets.geometry import crop_matrix, square_box, warp_image
from datasets.images import write_image
from datasets.near_copies import SAME_PHOTO, likeness, signature

CROP = 96  # pixels of a face in the picture, with a quarter of its box around it
COLUMNS = 6
MOST_SHOWN = 120


class Pair(NamedTuple):
    """Two faces that look like one photograph.

    Attributes:
        likeness: See `datasets.near_copies`.
        train: Data set and number of the training face.
        test: Number of the test face.
    """

    likeness: float
    train: tuple[int, int]
    test: int


def make_parser() -> argparse.ArgumentParser:
    """Command-line arguments."""
    parser: argparse.ArgumentParser = cli.make_parser(__doc__)
    add = parser.add_argument
    add("--train", metavar="NAME=DIR", action="append", required=True, help="training data set; may be repeated")
    add("--test", metavar="NAME=DIR", required=True, help="data set of the test faces")
    add("--subset", help="of the test faces (default: the data set's first)")
    add("--allow-missing", action="store_true", help="search the part of a data set that is there")
    add("--limit", type=cli.fraction, default=SAME_PHOTO, help="least correlation of a pair")
    add("--out", metavar="DIR", required=True, help="folder for what was found")
    return parser


def find_pairs(train: Sequence[np.ndarray], test: np.ndarray, limit: float) -> list[Pair]:
    """The pairs of signatures, of each training set (n, S, S) and of the test faces (m, S, S), the likeliest first."""
    pairs = []
    for number, signatures in enumerate(train):
        alike = likeness(signatures, test)
        pairs += [Pair(float(alike[k, j]), (number, int(k)), int(j)) for k, j in np.argwhere(alike >= limit)]
    return sorted(pairs, reverse=True)


def signatures_of(faces: StoredFaces, title: str) -> np.ndarray:
    """The signatures (n, S, S) of all faces."""
    numbers = tqdm(range(len(faces)), title, unit="face", disable=None)
    return np.stack([signature(faces[k]) for k in numbers])


def contact_sheet(pairs: Sequence[tuple[Face, Face]]) -> np.ndarray:
    """A picture (H, W, 3) of pairs, the test face at the right."""
    tiles = [np.hstack([_shown(face) for face in pair]) for pair in pairs]
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % COLUMNS)
    framed = [cv2.copyMakeBorder(tile, 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=(255, 255, 255)) for tile in tiles]
    return np.vstack([np.hstack(framed[k : k + COLUMNS]) for k in range(0, len(framed), COLUMNS)])


def _shown(face: Face) -> np.ndarray:
    return warp_image(face.image, crop_matrix(square_box(face.box, 0.25), CROP), CROP)


def _load(text: str, subset: str | None, allow_missing: bool) -> StoredFaces:
    """The faces of a subset; None is what is trained on."""
    name, _, root = text.partition("=")
    if name not in CATALOG or not root:
        raise ValueError(f"{text}: write NAME=DIR with one of {', '.join(CATALOG)}")
    if subset is None and not CATALOG[name].training:
        raise ValueError(f"{text}: nothing of {name} is trained on; give it to --test")
    faces, _ = load_subset(name, root, subset or CATALOG[name].training, allow_missing)
    return faces


def main(argv: Sequence[str] | None = None) -> int:
    """Searches, and writes what was found."""
    arguments = make_parser().parse_args(argv)
    name, _, _ = arguments.test.partition("=")
    subset = chosen_subset(name, arguments.subset)
    tests = _load(arguments.test, subset, arguments.allow_missing)
    sets = [_load(text, None, arguments.allow_missing) for text in arguments.train]
    for text, faces in zip(arguments.train, sets):
        if faces.markup.name != tests.markup.name:
            raise ValueError(f"--train {text} has {faces.markup.name} landmarks, the test faces {tests.markup.name}")
    test = signatures_of(tests, "test")
    train = [signatures_of(faces, text) for faces, text in zip(sets, arguments.train)]
    found = find_pairs(train, test, arguments.limit)
    same = [text == arguments.test for text in arguments.train]
    pairs = [pair for pair in found if not (same[pair.train[0]] and _name(sets, pair) == tests.names[pair.test])]
    folder = Path(cli.output_folder(arguments.out))
    _write(folder, sets, tests, pairs)
    print(f"{len(pairs)} pairs of {sum(map(len, sets))} training and {len(tests)} test faces: see {folder}")
    return 0


def _name(sets: Sequence[StoredFaces], pair: Pair) -> str:
    return sets[pair.train[0]].names[pair.train[1]]


def _write(folder: Path, sets: Sequence[StoredFaces], tests: StoredFaces, pairs: Sequence[Pair]) -> None:
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(["training face", "test face", "correlation"])
    rows.writerows([_name(sets, pair), tests.names[pair.test], f"{pair.likeness:.3f}"] for pair in pairs)
    write_text(folder / "pairs.csv", table.getvalue())
    names = dict.fromkeys(_name(sets, pair) for pair in pairs)
    write_text(folder / "exclude.txt", "".join(f"{name}\n" for name in names))
    if pairs:
        shown = [(sets[pair.train[0]][pair.train[1]], tests[pair.test]) for pair in pairs[:MOST_SHOWN]]
        write_image(folder / "pairs.png", contact_sheet(shown))


if __name__ == "__main__":
    cli.run(main)
