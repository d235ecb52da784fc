"""What a training says of itself where a user's data is small or the training went wrong."""

from __future__ import annotations

from typing import Sequence

import numpy as np

from datasets.faces import FaceDataset
from datasets.geometry import square_box

FEW_FACES = 300  # below, random weights learn little; the smallest sets that the shipped networks were trained on
LEAST_VALIDATION = 10  # faces, below which a validation error says little
MEASURED = 300  # faces that the mean face is measured on at most


def about_size(training: int, validation: int, has_start: bool) -> list[str]:
    """Advice on the numbers of faces.

    Args:
        training: how many faces there are to train on.
        validation: how many there are to validate on.
        has_start: whether the network starts from trained weights.

    Raises:
        ValueError: there is none for one of the two.
    """
    for count, text in ((training, "train"), (validation, "validate")):
        if not count:
            raise ValueError(f"no face is left to {text} on: label more photos, or exclude fewer")
    lines = []
    if training < FEW_FACES and not has_start:
        lines.append(
            f"{training} faces are too few for random weights: start from trained ones, such as --init "
            "weights/ffld_resnet18.params --model ffld_resnet18 --lr 3e-4 --batch-size 4; another number of landmarks "
            "is no obstacle"
        )
    if validation < LEAST_VALIDATION:
        lines.append(f"validation has {validation} faces: its error says little; label more photos")
    return lines


def about_error(best: float, mean_face: float) -> list[str]:
    """Advice on the best validation error, given that of the mean face; both fractions."""
    if not best > mean_face:
        return []
    return [
        f"this is worse than always answering with the mean face ({100 * mean_face:.2f} %): the training diverged or "
        "was too short; lower --lr, train longer, or start from trained weights with --init"
    ]


def mean_face_points(faces: FaceDataset) -> tuple[np.ndarray, np.ndarray]:
    """The mean face of a data set put into the box of each of its faces, and the true points; both (n, K, 2) pixels."""
    chosen = np.unique(np.linspace(0, len(faces) - 1, min(len(faces), MEASURED)).astype(int))
    truth, squares = [], []
    for index in chosen:
        face = faces[int(index)]
        truth.append(face.points_image)
        squares.append(square_box(face.box, 0.0))
    corners, sides = _corners_and_sides(squares)
    inside = (np.stack(truth) - corners) / sides
    known = np.isfinite(inside)
    mean = np.where(known, inside, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return corners + sides * mean, np.stack(truth)


def _corners_and_sides(squares: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    boxes = np.stack(squares)
    return boxes[:, None, :2], (boxes[:, 2] - boxes[:, 0])[:, None, None]
