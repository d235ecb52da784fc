"""What every reader of this package hands out: one face with its landmarks, and a numbered collection of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple, Protocol, Sequence, TypeVar

import numpy as np

from datasets.markups import Markup

REACH = 5.0  # longer sides of a photo: how far from its corner a landmark or a box may lie
LEAST_REACH = 500.0  # pixels: the same for small photos


class Face(NamedTuple):
    """One annotated face in its photo.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        points_image: (K, 2) float64, x then y in pixels of the image; NaN where a landmark is not annotated.
        box: (4,) float64, x0, y0, x1, y1 of the face in pixels of the image.
        name: unique within its data set.
    """

    image: np.ndarray
    points_image: np.ndarray
    box: np.ndarray
    name: str


def check_in_reach(image: np.ndarray, points: np.ndarray, name: str) -> None:
    """Refuses points (n, 2) that lie so far from their image (H, W, 3) that they cannot be of it; NaN is passed over.

    Raises:
        ValueError: one does.
    """
    height, width = image.shape[:2]
    far = (np.abs(points) > max(REACH * max(height, width), LEAST_REACH)).any(axis=1)
    if far.any():
        x, y = points[far][0]
        where = f"({x:g}, {y:g}) is far outside its photo of {width} x {height} pixels"
        raise ValueError(f"{name}: {where}; correct the annotation or leave the face out")


def checked(face: Face) -> Face:
    """A face as it is, if its landmarks and its box can be of its photo.

    Raises:
        ValueError: one lies far outside.
    """
    check_in_reach(face.image, np.concatenate([face.points_image, face.box.reshape(2, 2)]), face.name)
    return face


def check_mostly_inside(face: Face) -> None:
    """Refuses a face of which most points lie outside its photo, as after the photo was scaled down.

    It is for photos of a user's own: published annotation guesses what the edge of a photo cuts off.

    Raises:
        ValueError: more than half of them do.
    """
    height, width = face.image.shape[:2]
    outside = ((face.points_image < -0.5) | (face.points_image > (width - 0.5, height - 0.5))).any(axis=1)
    if outside.mean() > 0.5:
        where = f"{outside.sum()} of {len(outside)} points lie outside the photo of {width} x {height} pixels"
        raise ValueError(f"{face.name}.pts: {where}: label the photo at this size, or leave the face out")


class FaceDataset(Protocol):
    """Faces by number; indexing reads or renders the picture, the names are at hand without."""

    @property
    def markup(self) -> Markup:
        """What the points are."""
        ...

    @property
    def names(self) -> Sequence[str]:
        """One name per face."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Face: ...


Dataset = TypeVar("Dataset")


def subset_of(dataset: Dataset, indices: Sequence[int], per_face: Sequence[str]) -> Dataset:
    """A data set of the faces with these numbers, in this order.

    Args:
        dataset: a dataclass.
        indices: from 0.
        per_face: which of its fields, tuples or arrays, have an entry for each face; the others stay as they are.
    """
    chosen = [int(index) for index in indices]

    def pick(values: Any) -> Any:
        return tuple(values[k] for k in chosen) if isinstance(values, tuple) else values[chosen]

    return replace(dataset, **{name: pick(getattr(dataset, name)) for name in per_face})  # type: ignore[type-var]
