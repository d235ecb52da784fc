"""Face boxes that a user gives: in a JSON file, or as arrays."""

from __future__ import annotations

import os
import re
from typing import Any

import numpy as np

from common.readers import parse_json
from datasets.geometry import all_placed
from datasets.name_lists import best_matches, by_last_part, photo_key, read_any_text
from datasets.photo_formats import PHOTO_LIKE
from datasets.units import check_pixels
from inference.detections import TIGHT_BOX, Detection

FORMAT = '{"photo.jpg": [[x0, y0, x1, y1], ...]}'


class FileDetector:
    """Boxes from a JSON file: {"photo.jpg": [[x0, y0, x1, y1], ...], ...}, or one such list for every image.

    Keys are file names with or without folders and extension, in any system's spelling; a single box may stand without
    the outer brackets, a fifth number is a score, and [] says that there is no face. Pixels count from 0.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it is no such JSON, or holds something else than boxes in pixels.
    """

    box_kind = TIGHT_BOX

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = path
        remedy = f"write {FORMAT}"
        values = parse_json(read_any_text(path, "check the path of the boxes"), str(path), remedy)
        named = values if isinstance(values, dict) else {}
        self._for_all = None if isinstance(values, dict) else self._read(values, "every image")
        self._by_name = {name: self._read(value, f"'{name}'") for name, value in named.items()}
        self._by_key: dict[str, list[str]] = {}
        for name in named:
            self._by_key.setdefault(photo_key(name), []).append(name)
        self._places = by_last_part(self._by_key)

    def __call__(self, image: np.ndarray, name: str = "") -> list[Detection]:
        """The boxes given for the image of this file name; 1 is the score of a box without one.

        Raises:
            ValueError: the file has none for it, or several entries could be meant.
        """
        return list(self._for_name(name) if self._for_all is None else self._for_all)

    def _read(self, value: Any, owner: str) -> list[Detection]:
        found = as_detections(value, f"{self._path}: boxes of {owner}")
        if not all(all_placed(each.box) for each in found):
            raise ValueError(f"{self._path}: boxes of {owner} are not [[x0, y0, x1, y1], ...] in pixels of a photo")
        return found

    def _for_name(self, name: str) -> list[Detection]:
        if name in self._by_name:
            return self._by_name[name]
        key = photo_key(name)
        # Last, a face with a number of its own, such as crowd_2, in the boxes of its photo; crowd_2.jpg is a photo.
        is_photo = name.lower().endswith(PHOTO_LIKE)
        for sought in [key] if is_photo else [key, re.sub(r"_\d+$", "", key)]:
            meant = [entry for match in best_matches(sought, self._places) for entry in self._by_key[match]]
            if len(meant) > 1:
                raise ValueError(f"{self._path}: '{meant[0]}' and '{meant[1]}' could both be {name}; give whole paths")
            if meant:
                return self._by_name[meant[0]]
        raise ValueError(
            f"{self._path} has no entry '{os.path.basename(name)}': add its boxes, or [] if it has no face"
        )


def as_detections(boxes: Any, what: str = "boxes") -> list[Detection]:
    """Boxes (n, 4) or one (4,), each with a score behind it or none, which then is 1.

    Args:
        boxes: x0, y0, x1, y1 and perhaps a score.
        what: they are, to start the message with.

    Raises:
        ValueError: they are no boxes in pixels.
    """
    if isinstance(boxes, (list, tuple)) and not boxes:
        return []
    try:
        rows = np.array(boxes, np.float64)
    except (TypeError, ValueError, OverflowError):
        rows = np.zeros(1)
    rows = rows[None] if rows.ndim == 1 else rows
    if rows.ndim != 2 or rows.shape[1] not in (4, 5):
        raise ValueError(f"{what} are not [[x0, y0, x1, y1], ...], each with a score behind it or none")
    if not np.isfinite(rows).all() or not (rows[:, 2:4] > rows[:, :2]).all():
        raise ValueError(
            f"{what} are not [[x0, y0, x1, y1], ...] with x0 < x1 and y0 < y1: one has no area, "
            "or is x, y, width, height"
        )
    for box in rows[:, :4]:
        check_pixels(box, f"{what}, {[float(number) for number in box]}")
    return [Detection(row[:4], float(row[4]) if len(row) == 5 else 1.0) for row in rows]
