"""Which of the boxes found in a photo is the annotated face, where faces are not cropped by their true boxes."""

from __future__ import annotations

from typing import Sequence

import numpy as np

from common.boxes import overlaps

LEAST_OVERLAP = 0.2  # a detection below this is of another face or of none


def closest_box(found: Sequence[np.ndarray], true_box: np.ndarray) -> np.ndarray | None:
    """The box (4,) that overlaps the true one most, or None if none does by at least LEAST_OVERLAP."""
    best = max(found, key=lambda box: overlap(box, true_box), default=None)
    return best if best is not None and overlap(best, true_box) >= LEAST_OVERLAP else None


def given_box(found: Sequence[np.ndarray], true_box: np.ndarray) -> np.ndarray | None:
    """The only box (4,) there is, wherever it lies; of several the closest, as in `closest_box`."""
    return found[0] if len(found) == 1 else closest_box(found, true_box)


def check_inside(box: np.ndarray, image: np.ndarray) -> np.ndarray:
    """The box (4,), if any of it lies in the image (H, W, 3); ValueError if all of it is outside."""
    height, width = image.shape[:2]
    if box[2] <= 0 or box[3] <= 0 or box[0] >= width or box[1] >= height:
        corners = ", ".join(f"{number:g}" for number in box)
        raise ValueError(f"its box {corners} is outside its image of {width} by {height} pixels; correct the box")
    return box


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two boxes (4,), 0 to 1."""
    return float(overlaps(first[None], second[None])[0, 0])
