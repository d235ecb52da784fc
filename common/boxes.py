"""Boxes x0, y0, x1, y1 in pixels."""

from __future__ import annotations

import numpy as np


def overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union (n, m) of boxes (n, 4) with boxes (m, 4)."""
    corner = np.maximum(first[:, None, :2], second[None, :, :2])
    shared = np.prod(np.clip(np.minimum(first[:, None, 2:], second[None, :, 2:]) - corner, 0, None), axis=2)
    areas = [np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None), axis=1) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1][None] - shared
    return np.divide(shared, union, out=np.zeros_like(shared, dtype=float), where=union > 0)
