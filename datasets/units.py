"""Pixels, not fractions: what is given of a face must have the size of one."""

from __future__ import annotations

import numpy as np

LEAST_FACE = 4.0  # pixels of the longer side: below, no face can be told, but all boxes in fractions of a photo lie


def check_pixels(box: np.ndarray, what: str) -> None:
    """Refuses the box (4,) of a face that is too small to be in pixels.

    Args:
        box: x0, y0, x1, y1.
        what: What it is, to start the message with.

    Raises:
        ValueError: Its longer side is below `LEAST_FACE`.
    """
    width, height = box[2] - box[0], box[3] - box[1]
    if max(width, height) < LEAST_FACE:
        raise ValueError(
            f"{what}: {width:g} x {height:g} pixels are no face, which has at least {LEAST_FACE:g}; numbers between 0 "
            "and 1 are fractions of the photo: multiply x by its width and y by its height"
        )
