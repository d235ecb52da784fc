"""Faces found in photos compared with annotated ones by their landmarks: the share found, and false faces per photo."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import NamedTuple, Sequence

import numpy as np

from common.readers import read_text
from datasets.inventory import IMAGE_SUFFIXES, files, needed_folder
from datasets.pts_files import read_pts
from evaluation.metrics import nme

LARGEST_ERROR = 0.08  # of sqrt(w h) of the true box, a fraction


class FoundFaces(NamedTuple):
    """What was found in a photo and what is annotated there.

    Attributes:
        points: (n, K, 2) found, pixels.
        scores: (n,), larger is surer.
        truth: (m, K, 2) annotated, pixels.
    """

    points: np.ndarray
    scores: np.ndarray
    truth: np.ndarray


class Rates(NamedTuple):
    """What is found with at least some score.

    Attributes:
        threshold: that score.
        found: share of the annotated faces of some size that are found; NaN if there are none.
        false: faces per photo that are not annotated, or not where they should be.
    """

    threshold: float
    found: float
    false: float


def judge(photo: FoundFaces, largest_error: float = LARGEST_ERROR) -> np.ndarray:
    """Which annotated face each found one (n,) is: within the error of one that no surer face has taken; -1 if none."""
    meant = np.full(len(photo.scores), -1)
    free = np.ones(len(photo.truth), bool)
    for number in np.argsort(-photo.scores, kind="stable"):
        if not free.any():
            break
        errors = nme(np.repeat(photo.points[[number]], len(photo.truth), axis=0), photo.truth, "box_geometric")
        nearest = int(np.where(free, errors, np.inf).argmin())
        if errors[nearest] <= largest_error:
            meant[number], free[nearest] = nearest, False
    return meant


def rates(photos: Sequence[FoundFaces], thresholds: Sequence[float], least_side: float = 0.0) -> list[Rates]:
    """The rates over all photos at several thresholds.

    Args:
        photos: what was found in each.
        thresholds: of the score.
        least_side: longer side of the landmarks' box of the smallest face that counts as missed or found, pixels.
            Smaller ones that are found are not false.

    Raises:
        ValueError: there is no photo.
    """
    if not photos:
        raise ValueError("no photo to measure on: name a folder with photos and annotations")
    wanted = [np.ptp(photo.truth, axis=1).max(axis=1) >= least_side for photo in photos]
    meant = [judge(photo) for photo in photos]
    scores = np.concatenate([photo.scores for photo in photos])
    false = np.concatenate(meant) < 0
    # A face that is none of the annotated ones looks up an entry of its own, which says that it is not wanted.
    right = np.concatenate([np.append(those, False)[numbers] for those, numbers in zip(wanted, meant)])
    faces = sum(int(those.sum()) for those in wanted)
    measured = []
    for threshold in thresholds:
        chosen = scores >= threshold
        found = float((chosen & right).sum() / faces) if faces else float("nan")
        measured.append(Rates(threshold, found, float((chosen & false).sum() / len(photos))))
    return measured


def rates_table(measured: Sequence[Rates]) -> str:
    """Found and false faces at each threshold, as text."""
    lines = [f"{'support':>8}{'found':>9}{'false per photo':>18}"]
    lines += [f"{each.threshold:>8.2f}{100 * each.found:>7.1f} %{each.false:>18.2f}" for each in measured]
    return "\n".join(lines)


def annotated_photos(folder: Path, listed: str | None) -> list[tuple[Path, np.ndarray]]:
    """Photos and the points (m, K, 2) of their annotated faces, which lie beside them as <photo>_<face>.pts.

    Args:
        folder: of both.
        listed: text file of the photos' names, one a line without extension; all if None.

    Raises:
        FileNotFoundError: the folder, the list, or all annotated photos are not there.
    """
    wanted = None if listed is None else set(read_text(listed, "give one name a line").split())
    found = []
    for path in files(needed_folder(folder, "one with photos"), IMAGE_SUFFIXES):
        annotations = sorted(folder.glob(f"{glob.escape(path.stem)}_*.pts"))
        if annotations and (wanted is None or path.stem in wanted):
            found.append((path, np.stack([read_pts(each) for each in annotations])))
    if not found:
        raise FileNotFoundError(f"{folder}: holds no photo that is asked for with <photo>_<face>.pts beside it")
    return found
