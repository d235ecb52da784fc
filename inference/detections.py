"""What a face detector returns."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

TIGHT_BOX = "tight box around the landmarks, from the brows to the chin"


class Detection(NamedTuple):
    """One face.

    Attributes:
        box: (4,) float64 x0, y0, x1, y1 in pixels of the image; it may reach beyond the border.
        score: 0 to 1, larger is surer; what it means depends on the detector, see docs/face_detector.md.
    """

    box: np.ndarray
    score: float
