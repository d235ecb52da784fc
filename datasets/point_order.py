"""Whether points lie on faces as the names of their markup say: the order of a user's points is known by their number.

Tests are made on the median face, which stands upright and looks ahead where most faces do.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np

from datasets.markup import Markup

LEAST_PAIRS = 0.8  # of the pairs of left and right points, that must lie side by side
STEEPEST = 0.5  # of such a pair: difference in height over that in width
MOST_PERMUTED = 6  # points, whose orders are all tried


def median_face(points: np.ndarray) -> np.ndarray:
    """The median (K, 2) of faces (n, K, 2) that are brought to one place and size; NaN points are left out."""
    centred = points - np.nanmean(points, axis=1, keepdims=True)
    size = np.sqrt(np.nanmean(centred**2, axis=(1, 2), keepdims=True))
    return np.nanmedian(centred / np.maximum(size, 1e-9), axis=0)


def is_plausible(face: np.ndarray, markup: Markup) -> bool:
    """Whether a face's points (K, 2) lie so: right on the photo's left, eyes above nose above mouth."""
    pairs = [(k, other) for k, other in enumerate(markup.flip_order) if markup.names[k].startswith("right_")]
    aside, down = (face[[other for _, other in pairs]] - face[[k for k, _ in pairs]]).T
    level = (aside > 0) & (np.abs(down) <= STEEPEST * aside)
    places = [("right_eye", "left_eye"), ("nose",), ("mouth",)]
    heights = [np.mean([face[k, 1] for name in names for k in markup.regions[name]]) for names in places]
    return bool(level.mean() >= LEAST_PAIRS and heights[0] < heights[1] < heights[2])


def plausible_names(face: np.ndarray, markup: Markup) -> list[str] | None:
    """Names of a face's points in the order that they have, where few enough of them allow to tell; else None."""
    if markup.num_landmarks > MOST_PERMUTED:
        return None
    for order in permutations(range(markup.num_landmarks)):
        if is_plausible(face[list(order)], markup):
            return [markup.names[order.index(k)] for k in range(markup.num_landmarks)]
    return None
