"""Faces cut out upright and of one size, as networks for recognition take them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from datasets.geometry import warp_image
from datasets.markups import Markup
from inference.shape_model import kabsch


class CropTemplate(NamedTuple):
    """Where five places of a face lie in a crop.

    Attributes:
        size: side of the crop, pixels.
        places: the right and the left eye's centre, the tip of the nose, the right and the left corner of the mouth,
            (5, 2) pixels from 0; right is the subject's.
    """

    size: int
    places: np.ndarray


TEMPLATES = {
    # J. Deng et al., "ArcFace", CVPR 2019: the places that the authors' code (insightface) aligns to.
    "arcface_112": CropTemplate(
        112,
        np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]),
    )
}


def five_places(points: np.ndarray, markup: Markup) -> np.ndarray:
    """The five places (5, 2) of a template among a face's points (K, 2).

    Raises:
        ValueError: the markup lacks one.
    """
    needed = ("nose_tip", "right_mouth_corner", "left_mouth_corner")
    if markup.pupils is None or not set(needed) <= set(markup.names):
        raise ValueError(f"markup {markup.name} has not the eyes, nose and mouth that crops are aligned by")
    eyes = [points[list(indices)].mean(axis=0) for indices in markup.pupils]
    return np.stack([*eyes, *(points[markup.names.index(name)] for name in needed)])


def alignment(places: np.ndarray, template: CropTemplate) -> np.ndarray:
    """Matrix (2, 3), photo to crop: the similarity that takes places (n, 2) nearest to the template's.

    Its scale is that of least squares, as in S. Umeyama, PAMI 1991; it never mirrors.
    """
    source, target = places - places.mean(axis=0), template.places - template.places.mean(axis=0)
    rotation = kabsch(source, target)
    scale = float((target * (source @ rotation.T)).sum() / (source**2).sum())
    linear = scale * rotation
    return np.hstack([linear, (template.places.mean(axis=0) - linear @ places.mean(axis=0))[:, None]])


def aligned_crop(
    image: np.ndarray, points: np.ndarray, markup: Markup, template: CropTemplate
) -> tuple[np.ndarray, np.ndarray]:
    """The crop (size, size, 3) of a face with points (K, 2), and its matrix (2, 3), photo to crop."""
    matrix = alignment(five_places(points, markup), template)
    return warp_image(image, matrix, template.size), matrix
