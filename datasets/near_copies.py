"""Which faces of two data sets show the same photograph, whatever its size, brightness, colours or mirroring.

A face's signature is its grey crop of 40 pixels with local mean and contrast taken out, so that light and skin do not
count. Two faces are as alike as the best normalized correlation of the 32 pixels in the middle of one with the other.
Their landmarks place the crops and so must be of one markup; 1 pixel of shift either way makes up for other annotators.
"""

from __future__ import annotations

import cv2
import numpy as np

from datasets.faces import Face
from datasets.geometry import crop_matrix, square_box, warp_image

SIDE = 40  # pixels of a signature, for the face's box and a quarter more
INNER = 32  # pixels of it that are compared
SHIFTS = (-1, 0, 1)  # pixels
SAME_PHOTO = 0.7  # correlation, see docs/protocols.md
_FINE, _COARSE = 1.5, 3.0  # pixels: sigmas of the local mean and of the local contrast
_LEAST_CONTRAST = 4.0  # of 256 levels; below, it is the noise of a plain surface


def signature(face: Face) -> np.ndarray:
    """The signature (SIDE, SIDE) of a face, float32."""
    margin = SIDE / INNER - 1
    crop = warp_image(face.image, crop_matrix(square_box(face.box, margin), SIDE), SIDE)
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY).astype(np.float32)
    detail = grey - cv2.GaussianBlur(grey, (0, 0), _FINE)
    contrast = np.sqrt(cv2.GaussianBlur(detail**2, (0, 0), _COARSE))
    return detail / (contrast + _LEAST_CONTRAST)


def likeness(signatures: np.ndarray, others: np.ndarray) -> np.ndarray:
    """How alike faces are, (n, m), 1 at most; those above `SAME_PHOTO` probably show one photograph.

    Args:
        signatures: (n, SIDE, SIDE).
        others: (m, SIDE, SIDE).
    """
    room = (SIDE - INNER) // 2
    middle = _normalized(others[:, room : room + INNER, room : room + INNER])
    best = np.full((len(signatures), len(others)), -1.0, np.float32)
    for each in (signatures, signatures[:, :, ::-1]):
        for x in SHIFTS:
            for y in SHIFTS:
                shifted = each[:, room + y : room + y + INNER, room + x : room + x + INNER]
                np.maximum(best, _normalized(shifted) @ middle.T, out=best)
    return best


def _normalized(patches: np.ndarray) -> np.ndarray:
    flat = patches.reshape(len(patches), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)
