"""The `.pts` files of 300-W and others: the points of one face, as text."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Mapping

import numpy as np

from common.files import PathLike, write_bytes
from datasets.annotated_photos import read_points
from datasets.geometry import all_placed
from datasets.name_lists import read_any_text

_RESTORE = "restore it from the original data"


def read_pts(path: PathLike, num_landmarks: int | None = None) -> np.ndarray:
    """Reads a `.pts` file, whose pixels count from 1.

    Args:
        path: The file.
        num_landmarks: How many points it must have; whatever its own header says if None.

    Returns:
        (k, 2) float64, x then y in pixels counted from 0.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, or has another number of points.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"{path}: there is no such .pts file; check the path")
    text = read_any_text(path, "check the path")
    try:
        points = _parse_pts(text)
        if num_landmarks is not None and len(points) != num_landmarks:
            raise ValueError(f"it has {len(points)} points, not {num_landmarks}")
    except ValueError as error:
        raise ValueError(f"{path}: not a readable .pts file: {error}; {_RESTORE}") from None
    return points - 1


def read_annotations(
    paths: Mapping[str, Path], num_landmarks: int, keep_damaged: bool
) -> tuple[np.ndarray, dict[str, str]]:
    """Points (n, num_landmarks, 2) of `.pts` files by face name; see `datasets.annotated_photos.read_each`."""
    return read_points(paths, partial(read_pts, num_landmarks=num_landmarks), num_landmarks, keep_damaged)


def write_pts(path: PathLike, points: np.ndarray) -> None:
    """Writes points (k, 2), in pixels counted from 0, as a `.pts` file, whose pixels count from 1; whole or not at all.

    Raises:
        ValueError: The points are not (k, 2), or not all finite, which the format has no way to say.
    """
    if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
        raise ValueError(f"{path}: points to write are finite and (k, 2), these are {points.shape}")
    rows = "".join(f"{x:.6f} {y:.6f}\n" for x, y in points + 1)
    write_bytes(path, f"version: 1\nn_points: {len(points)}\n{{\n{rows}}}\n".encode("ascii"))


def _parse_pts(text: str) -> np.ndarray:
    """Points (k, 2) as they stand in the text; ValueError says what is wrong with it."""
    if not text.strip():
        raise ValueError("it is empty")
    header, opening, rest = text.partition("{")
    body, closing, beyond = rest.partition("}")
    if not (opening and closing):
        raise ValueError("its points do not stand between { and }")
    if "{" in beyond:
        raise ValueError("it holds several lists of points, where each face has a file of its own")
    points = np.array([_parse_row(row) for row in body.splitlines() if row.strip()], dtype=np.float64)
    declared = _declared_count(header)
    if len(points) == 0 or (declared is not None and len(points) != declared):
        raise ValueError(f"it has {len(points)} points where its header says {declared}")
    return points


def _parse_row(row: str) -> list[float]:
    try:
        numbers = [float(word) for word in row.split()]
    except ValueError:
        numbers = []
    if len(numbers) != 2 or not all_placed(np.array(numbers)):
        raise ValueError(f"the line '{row.strip()[:40]}' is not two numbers of pixels")
    return numbers


def _declared_count(header: str) -> int | None:
    declared = re.search(r"n_points\s*:\s*(\d+)", header, re.IGNORECASE)
    return int(declared.group(1)) if declared else None
