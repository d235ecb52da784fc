"""How well faces are found: average precision and recall at an overlap of one half, by the size of the face.

A detection is right if it overlaps a true box by at least half of their union and no surer one took that box. Sizes
are sqrt(width * height) in pixels of the photo. Of a range of sizes, true boxes outside it are ignored, and so are
detections on them and detections outside the range that are on nothing, as COCO does.
"""

from __future__ import annotations

from typing import NamedTuple, Sequence

import numpy as np

from common.boxes import overlaps

LEAST_OVERLAP = 0.5


class FoundBoxes(NamedTuple):
    """What was found in a photo and what is there.

    Attributes:
        boxes: (n, 4) found, x0, y0, x1, y1 in pixels.
        scores: (n,), larger is surer.
        truth: (m, 4) that are there.
        ignored: (m,) bool: true boxes that count neither when found nor when missed.
    """

    boxes: np.ndarray
    scores: np.ndarray
    truth: np.ndarray
    ignored: np.ndarray


class SizeRange(NamedTuple):
    """Sizes from `least` up to, not including, `limit`."""

    least: float = 0.0
    limit: float = float("inf")

    def holds(self, boxes: np.ndarray) -> np.ndarray:
        """Which boxes (n, 4) are of these sizes, (n,) bool."""
        sizes = np.sqrt(np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None), axis=1))
        return (sizes >= self.least) & (sizes < self.limit)


ALL_SIZES = SizeRange()


class Verdicts(NamedTuple):
    """Detections that count, of all photos: scores (n,) and whether each is right (n,); and how many faces count."""

    scores: np.ndarray
    right: np.ndarray
    faces: int


def judge(photos: Sequence[FoundBoxes], sizes: SizeRange = ALL_SIZES, least_overlap: float = LEAST_OVERLAP) -> Verdicts:
    """Which detections are right, over all photos, the surest first in each."""
    parts = [_judge_photo(photo, sizes, least_overlap) for photo in photos]
    faces = sum(int((~photo.ignored & sizes.holds(photo.truth)).sum()) for photo in photos)
    if not parts:
        return Verdicts(np.zeros(0), np.zeros(0, bool), 0)
    return Verdicts(
        np.concatenate([scores for scores, _ in parts]), np.concatenate([right for _, right in parts]), faces
    )


def average_precision(verdicts: Verdicts) -> float:
    """Area under precision over recall, each precision the highest at that recall or above (PASCAL VOC from 2010).

    NaN if no face counts.
    """
    if verdicts.faces == 0:
        return float("nan")
    order = np.argsort(-verdicts.scores, kind="stable")
    right = np.cumsum(verdicts.right[order])
    recall = right / verdicts.faces
    precision = right / np.arange(1, len(right) + 1)
    highest = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0.0) * highest).sum())


def recall_at(verdicts: Verdicts, threshold: float) -> float:
    """Share of the faces that are found with at least this score; NaN if no face counts."""
    if verdicts.faces == 0:
        return float("nan")
    return float((verdicts.right & (verdicts.scores >= threshold)).sum() / verdicts.faces)


def precision_at(verdicts: Verdicts, threshold: float) -> float:
    """Share of the detections with at least this score that are right; NaN if there are none."""
    chosen = verdicts.right[verdicts.scores >= threshold]
    return float(chosen.mean()) if len(chosen) else float("nan")


def _judge_photo(photo: FoundBoxes, sizes: SizeRange, least_overlap: float) -> tuple[np.ndarray, np.ndarray]:
    """Scores (k,) of the detections that count, and whether each is right (k,)."""
    order = np.argsort(-photo.scores, kind="stable")
    boxes, scores = photo.boxes[order], photo.scores[order]
    ignored = photo.ignored | ~sizes.holds(photo.truth)
    shared = overlaps(boxes, photo.truth)
    in_range = sizes.holds(boxes)
    free = np.ones(len(photo.truth), bool)
    counts, right = np.ones(len(boxes), bool), np.zeros(len(boxes), bool)
    for number in range(len(boxes)):
        fits = shared[number] >= least_overlap
        # A face that counts is taken before one that is ignored, however much more it overlaps that one.
        wanted = np.where(fits & ~ignored & free, shared[number], 0.0)
        if wanted.any():
            free[int(wanted.argmax())] = False
            right[number] = True
        else:
            counts[number] = in_range[number] and not (fits & ignored).any()
    return scores[counts], right[counts]
