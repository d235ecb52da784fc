"""Targets of a detector that finds faces by their centres: a heatmap, and boxes for the cells near a centre [B14]."""

from __future__ import annotations

from typing import NamedTuple, Sequence

import numpy as np

from datasets.detection.boxed_photos import BoxedPhoto

SPREAD = 0.09  # standard deviation of a face's Gaussian, of its box: a sixth of 0.54, TTFNet's share
LEAST_SPREAD = 0.3  # cells, added to it
EDGE = 0.3  # of a Gaussian: the cells above learn the box
TOP = 0.8  # of a Gaussian: the cells above are all centres, as which of them is does not matter to the box


class CenterTargets(NamedTuple):
    """Of one photo, on a map of h by w cells.

    Attributes:
        heat: (1, h, w) 1 in the cells of each face's centre, Gaussians around them, the largest where several meet.
        counts: (1, h, w) weights of these cells: 0 where an ignored face is, 1 / n in the n cells of a face's centre.
        distances: (4, h, w) from a cell's middle to the box's left, top, right and bottom, in cells.
        weights: (1, h, w) of the distances; those of one face add up to 1.
    """

    heat: np.ndarray
    counts: np.ndarray
    distances: np.ndarray
    weights: np.ndarray


def center_batch(photos: Sequence[BoxedPhoto], stride: int) -> list[np.ndarray]:
    """Images (N, H, W, 3) of equally large photos, and their `CenterTargets`, stacked."""
    targets = zip(*(center_targets(photo, stride) for photo in photos))
    return [np.stack([photo.image for photo in photos]), *(np.stack(each) for each in targets)]


def center_targets(photo: BoxedPhoto, stride: int) -> CenterTargets:
    """The targets of one photo whose sides are multiples of `stride` pixels."""
    height, width = photo.image.shape[0] // stride, photo.image.shape[1] // stride
    heat, counts = np.zeros((height, width), np.float32), np.ones((height, width), np.float32)
    for x0, y0, x1, y1 in photo.boxes[photo.ignored] / stride:
        counts[int(y0) : int(np.ceil(y1)), int(x0) : int(np.ceil(x1))] = 0
    columns, rows = np.arange(width) + 0.5, np.arange(height) + 0.5
    boxes, owner = photo.boxes[~photo.ignored] / stride, np.full((height, width), -1)
    for number, (x0, y0, x1, y1) in enumerate(boxes):
        # The peak is in the middle of a cell, so that one cell's target is exactly 1.
        x, y = min(int(0.5 * (x0 + x1)), width - 1) + 0.5, min(int(0.5 * (y0 + y1)), height - 1) + 0.5
        bump = np.outer(
            _bell(rows - y, SPREAD * (y1 - y0) + LEAST_SPREAD), _bell(columns - x, SPREAD * (x1 - x0) + LEAST_SPREAD)
        ).astype(np.float32)
        bump[bump > TOP] = 1
        owner[(bump > heat) & (bump > EDGE)] = number
        heat = np.maximum(heat, bump)
    distances, weights = np.ones((4, height, width), np.float32), np.zeros((height, width), np.float32)
    for number, (x0, y0, x1, y1) in enumerate(boxes):
        sides = np.stack(np.broadcast_arrays(columns - x0, (rows - y0)[:, None], x1 - columns, (y1 - rows)[:, None]))
        own = owner == number
        centre = own & (heat == 1)
        counts[centre] = 1 / max(1, centre.sum())
        own &= sides.min(axis=0) > 0
        if own.any():
            distances[:, own] = sides[:, own]
            weights[own] = heat[own] / heat[own].sum()
    return CenterTargets(heat[None], counts[None], distances, weights[None])


def _bell(offsets: np.ndarray, spread: float) -> np.ndarray:
    """A Gaussian of height 1."""
    return np.exp(-0.5 * (offsets / spread) ** 2)
