"""FDDB: news photos whose faces are marked by ellipses, as its authors ship them."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator

import numpy as np

from datasets.detection.boxed_photos import BoxedPhotos, check_boxes, read_listing, read_rows
from datasets.images import PathLike
from datasets.inventory import listed_path

FOLDS = 10


def load(root: PathLike) -> BoxedPhotos:
    """The photos of all folds that are there, in their order; a name is the photo's path without extension.

    Args:
        root: the folder that holds `FDDB-folds` and `originalPics`, or the years 2002 and 2003 themselves.

    Raises:
        FileNotFoundError: no list is there, or no photos.
        ValueError: a list is damaged.
    """
    home = Path(root)
    lists = [home / "FDDB-folds" / f"FDDB-fold-{number:02}-ellipseList.txt" for number in range(1, FOLDS + 1)]
    lists = [path for path in lists if path.is_file()]
    if not lists:
        raise FileNotFoundError(f"{home / 'FDDB-folds'}: holds no ellipseList.txt; unpack FDDB-folds.tgz there")
    read = [photo for path in lists for photo in read_listing(path, _boxes)]
    folder = home / "originalPics" if (home / "originalPics").is_dir() else home
    paths = [listed_path(folder, f"{name}.jpg", home / "FDDB-folds") for name, _ in read]
    if not any(path.is_file() for path in paths):
        raise FileNotFoundError(f"{paths[0]} and all other photos are not there: unpack originalPics.tar.gz")
    return BoxedPhotos(
        tuple(name for name, _ in read),
        tuple(paths),
        tuple(boxes for _, boxes in read),
        tuple(np.zeros(len(boxes), bool) for _, boxes in read),
    )


def ellipse_boxes(ellipses: np.ndarray) -> np.ndarray:
    """Tight boxes (n, 4) around ellipses (n, 5): both radii, the angle of the first in radians, centre x and y."""
    major, minor, angle, x, y = ellipses.T
    half_width = np.hypot(major * np.cos(angle), minor * np.sin(angle))
    half_height = np.hypot(major * np.sin(angle), minor * np.cos(angle))
    return np.stack([x - half_width, y - half_height, x + half_width, y + half_height], axis=1)


def _boxes(lines: Iterator[str]) -> np.ndarray:
    """Boxes (n, 4) in pixels counted from 0 of the next photo."""
    count = int(next(lines))
    return check_boxes(ellipse_boxes(read_rows(lines, count, 5)))
