"""Faces found in photos against annotated ones, by their landmarks: how many are found, and how many are false."""

from __future__ import annotations

from typing import NamedTuple, Sequence

import numpy as np

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
        found: share of the annotated faces that are found; NaN if there are none.
        false: faces per photo that are not annotated, or not where they should be.
    """

    threshold: float
    found: float
    false: float


def judge(photo: FoundFaces, largest_error: float = LARGEST_ERROR) -> np.ndarray:
    """Which of the faces (n,) are right: within the error of an annotated one that no surer face has taken."""
    right = np.zeros(len(photo.scores), bool)
    free = np.ones(len(photo.truth), bool)
    for number in np.argsort(-photo.scores, kind="stable"):
        if not free.any():
            break
        errors = nme(np.repeat(photo.points[[number]], len(photo.truth), axis=0), photo.truth, "box_geometric")
        nearest = int(np.where(free, errors, np.inf).argmin())
        if errors[nearest] <= largest_error:
            right[number], free[nearest] = True, False
    return right


def rates(photos: Sequence[FoundFaces], thresholds: Sequence[float]) -> list[Rates]:
    """The rates over all photos at several thresholds.

    Raises:
        ValueError: there is no photo.
    """
    if not photos:
        raise ValueError("no photo to measure on: name a folder with photos and annotations")
    scores = np.concatenate([photo.scores for photo in photos])
    right = np.concatenate([judge(photo) for photo in photos])
    faces = sum(len(photo.truth) for photo in photos)
    answers = []
    for threshold in thresholds:
        chosen = scores >= threshold
        found = float((chosen & right).sum() / faces) if faces else float("nan")
        answers.append(Rates(threshold, found, float((chosen & ~right).sum() / len(photos))))
    return answers
