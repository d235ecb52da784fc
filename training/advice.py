"""What a training says of itself where a user's data is small or the training went wrong."""

from __future__ import annotations

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
        faces = f"{validation} face{'s' if validation > 1 else ''}"
        lines.append(f"validation has {faces}: its error says little; label more photos")
    return lines


def about_error(best: float, mean_face: float) -> list[str]:
    """Advice on the best validation error, given that of the mean face; both fractions."""
    if not best > mean_face:
        return []
    return [
        f"this is worse than always answering with the mean face ({100 * mean_face:.2f} %): the training diverged or "
        "was too short; lower --lr, train longer, or start from trained weights with --init"
    ]


def mean_face_points(training: FaceDataset, validation: FaceDataset) -> tuple[np.ndarray, np.ndarray]:
    """The mean training face put into the box of each validation face, and the true points; both (n, K, 2) pixels."""
    points, corners, sides = _faces_in_boxes(training)
    inside = (points - corners) / sides
    known = np.isfinite(inside)
    mean = np.where(known, inside, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    truth, corners, sides = _faces_in_boxes(validation)
    return corners + sides * mean, truth


def _faces_in_boxes(faces: FaceDataset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points (n, K, 2) of some faces, and corner (n, 1, 2) and side (n, 1, 1) of the square about each."""
    chosen = np.unique(np.linspace(0, len(faces) - 1, min(len(faces), MEASURED)).astype(int))
    read = [faces[int(index)] for index in chosen]
    boxes = np.stack([square_box(face.box, 0.0) for face in read])
    return (
        np.stack([face.points_image for face in read]),
        boxes[:, None, :2],
        (boxes[:, 2] - boxes[:, 0])[:, None, None],
    )
