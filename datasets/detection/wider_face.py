"""WIDER FACE: photos of crowds with face boxes, as its authors ship them."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator

import numpy as np

from datasets.detection.boxed_photos import BoxedPhotos, read_listing, read_rows
from datasets.images import PathLike
from datasets.inventory import listed_path

SUBSETS = ("train", "val")
INVALID = 7  # column of a face's line: x, y, w, h, blur, expression, illumination, invalid, occlusion, pose


def load(root: PathLike, subset: str = "train") -> BoxedPhotos:
    """The photos of one subset, in the order of its list; a name is the photo's path without extension.

    Boxes that are marked invalid or have no area are ignored ones.

    Args:
        root: the folder that holds `wider_face_split` and `WIDER_train` or `WIDER_val`.
        subset: one of `SUBSETS`; boxes of the test photos are not published.

    Raises:
        FileNotFoundError: the list is not there, or the folder of photos.
        ValueError: the subset is unknown, or the list is damaged.
    """
    if subset not in SUBSETS:
        raise ValueError(f"WIDER FACE has no boxes for '{subset}'; it has them for {', '.join(SUBSETS)}")
    home = Path(root)
    listing = home / "wider_face_split" / f"wider_face_{subset}_bbx_gt.txt"
    folder = home / f"WIDER_{subset}" / "images"
    for needed in (listing, folder):
        if not needed.exists():
            raise FileNotFoundError(f"{needed} is not there: name the folder that holds wider_face_split")
    read = read_listing(listing, _faces)
    return BoxedPhotos(
        tuple(name.rpartition(".")[0] for name, _ in read),
        tuple(listed_path(folder, name, listing) for name, _ in read),
        tuple(boxes for _, (boxes, _) in read),
        tuple(ignored for _, (_, ignored) in read),
    )


def _faces(lines: Iterator[str]) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (n, 4) in pixels counted from 0, and ignored (n,), of the next photo."""
    count = int(next(lines))
    # A photo without a face has one line of zeros all the same.
    rows = read_rows(lines, max(1, count), INVALID + 1)[:count]
    boxes = np.hstack([rows[:, :2], rows[:, :2] + rows[:, 2:4]])
    return boxes, (rows[:, INVALID] != 0) | (rows[:, 2:4] <= 0).any(axis=1)
