"""WFLW: 98 points on faces of WIDER FACE, with six attributes that make a face hard.

Wu et al., "Look at Boundary: A Boundary-Aware Face Alignment Algorithm" (CVPR 2018). Each line of its two lists is a
face: 98 x and y, the face's box, six attributes of 0 or 1, and the photo's path below the folder of the photos.
Coordinates are taken as they stand: no description says from where they count.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from common.readers import read_text
from datasets.annotated_photos import AnnotatedPhotos, read_each
from datasets.images import PathLike
from datasets.inventory import check_subset, files, needed_folder, refuse_incomplete
from datasets.markups import WFLW_98

LISTS = {"train": "list_98pt_rect_attr_train.txt", "test": "list_98pt_rect_attr_test.txt"}
ATTRIBUTES = ("pose", "expression", "illumination", "makeup", "occlusion", "blur")  # in the order of the columns
SUBSETS = {"train": 7500, "test": 2500, **dict(zip(ATTRIBUTES, (326, 314, 698, 206, 736, 773)))}
PHOTOS = "WFLW_images"

_COORDINATES = 2 * WFLW_98.num_landmarks
_BOX = 4
_AGAIN = "restore it from the original data"


class _Row(NamedTuple):
    """A face of a list: its photo's path there, its points (98, 2), and which attributes it has (6,)."""

    photo: str
    points: np.ndarray
    attributes: np.ndarray


_BLANK = _Row("", np.full((WFLW_98.num_landmarks, 2), np.nan), np.ones(len(ATTRIBUTES), bool))


def load(root: PathLike, subset: str, allow_missing: bool = False, keep_damaged: bool = False) -> AnnotatedPhotos:
    """The faces of one subset, in the order of its list; a name is the photo's path and the line, from 1.

    Args:
        root: The folder that holds `WFLW_images` and, anywhere in it, the lists.
        subset: "train", "test", or one of `ATTRIBUTES`: the test faces that have it.
        allow_missing: Take what is there; `expected_count` and `missing` tell what is not.
        keep_damaged: Keep a face whose line cannot be read; asking for it then says why.

    Raises:
        FileNotFoundError: A list or photos are not there, or with `allow_missing` all of them.
        ValueError: The subset is unknown, or a line is damaged.
    """
    check_subset("WFLW", subset, SUBSETS)
    home = needed_folder(root, f"the one that holds {PHOTOS} and the lists")
    listing = _listing(home, LISTS.get(subset, LISTS["test"]))
    lines = [line for line in read_text(listing, _AGAIN).splitlines() if line.strip()]
    sources = {f"{number}": f"{listing}, line {number}: {line}" for number, line in enumerate(lines, start=1)}
    rows, faults = read_each(sources, _parse, _BLANK, keep_damaged)
    folder = home / PHOTOS if (home / PHOTOS).is_dir() else home
    kept, missing = [], []
    for number, row in enumerate(rows):
        if subset in ATTRIBUTES and not row.attributes[ATTRIBUTES.index(subset)]:
            continue
        if str(number + 1) in faults or (folder / row.photo).is_file():
            kept.append(number)
        else:
            missing.append(f"{row.photo} is not there")
    expected = SUBSETS[subset]
    refuse_incomplete(
        f"{home}: WFLW {subset}", (len(kept), expected), missing, allow_missing, f"put the photos into {home / PHOTOS}"
    )
    names = tuple(f"{Path(rows[k].photo or 'damaged').with_suffix('').as_posix()}-{k + 1}" for k in kept)
    return AnnotatedPhotos(
        names,
        tuple(folder / rows[k].photo for k in kept),
        np.stack([rows[k].points for k in kept]),
        WFLW_98,
        {name: faults[str(k + 1)] for name, k in zip(names, kept) if str(k + 1) in faults},
        expected,
        tuple(missing),
    )


def photo_of(name: str) -> str:
    """The photo of a face by its name."""
    return name.rpartition("-")[0]


def _listing(home: Path, name: str) -> Path:
    found = files(home, (name,), below=True)
    if not found:
        raise FileNotFoundError(f"{home}: {name} is not there; unpack WFLW_annotations there")
    return found[0]


def _parse(source: str) -> _Row:
    """A line behind its place in the list."""
    place, _, line = source.partition(": ")
    columns = line.split(maxsplit=_COORDINATES + _BOX + len(ATTRIBUTES))
    try:
        numbers = np.array(columns[:-1], np.float64)
        points, attributes = numbers[:_COORDINATES].reshape(-1, 2), numbers[_COORDINATES + _BOX :]
        photo = Path(columns[-1].strip().replace("\\", "/"))
        if len(attributes) != len(ATTRIBUTES) or not np.isin(attributes, (0, 1)).all() or not np.isfinite(points).all():
            raise ValueError
        if photo.is_absolute() or ".." in photo.parts:
            raise ValueError
    except (ValueError, IndexError):
        what = f"{_COORDINATES} coordinates, a box, {len(ATTRIBUTES)} attributes and a photo"
        raise ValueError(f"{place}: not {what}; {_AGAIN}") from None
    return _Row(photo.as_posix(), points, attributes == 1)
