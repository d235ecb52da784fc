"""FDDB: news photos whose faces are marked by ellipses, as its authors ship them."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator

import numpy as np

from datasets.boxed_photos import BoxedPhotos, check_boxes
from datasets.images import PathLike

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
    read = [photo for path in lists for photo in read_list(path)]
    folder = home / "originalPics" if (home / "originalPics").is_dir() else home
    paths = [folder / f"{name}.jpg" for name, _ in read]
    if not any(path.is_file() for path in paths):
        raise FileNotFoundError(f"{paths[0]} and all other photos are not there: unpack originalPics.tar.gz")
    return BoxedPhotos(
        tuple(name for name, _ in read),
        tuple(paths),
        tuple(boxes for _, boxes in read),
        tuple(np.zeros(len(boxes), bool) for _, boxes in read),
    )


def read_list(path: PathLike) -> list[tuple[str, np.ndarray]]:
    """Path without extension and boxes (n, 4) in pixels counted from 0 of each photo of a list.

    Raises:
        ValueError: the list is damaged.
    """
    numbered = enumerate(Path(path).read_text(encoding="utf-8").splitlines(), start=1)
    lines = ((number, line.strip()) for number, line in numbered if line.strip())
    photos = []
    for number, name in lines:
        try:
            photos.append((name, check_boxes(ellipse_boxes(_ellipses(lines)), Path(path))))
        except (ValueError, StopIteration):
            raise ValueError(f"{path}: what follows line {number}, '{name}', is damaged; restore the list") from None
    return photos


def ellipse_boxes(ellipses: np.ndarray) -> np.ndarray:
    """Tight boxes (n, 4) around ellipses (n, 5): both radii, the angle of the first in radians, centre x and y."""
    major, minor, angle, x, y = ellipses.T
    half_width = np.hypot(major * np.cos(angle), minor * np.sin(angle))
    half_height = np.hypot(major * np.sin(angle), minor * np.cos(angle))
    return np.stack([x - half_width, y - half_height, x + half_width, y + half_height], axis=1)


def _ellipses(lines: Iterator[tuple[int, str]]) -> np.ndarray:
    count = int(next(lines)[1])
    rows = [[float(word) for word in next(lines)[1].split()][:5] for _ in range(count)]
    return np.array(rows, np.float64).reshape(-1, 5)
