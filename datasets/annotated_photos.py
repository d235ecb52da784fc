"""Faces with landmarks in photos of their own: what most readers hand out."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Callable, ClassVar, Mapping, Sequence, TypeVar

import numpy as np

from datasets.faces import Face, checked, subset_of
from datasets.geometry import landmark_box
from datasets.images import read_image
from datasets.markups import Markup

Photos = TypeVar("Photos", bound="AnnotatedPhotos")
Annotation = TypeVar("Annotation")
Source = TypeVar("Source")


@dataclass(frozen=True, eq=False)
class AnnotatedPhotos:
    """Faces by number; see `datasets.faces.FaceDataset`.

    Attributes:
        names: One per face.
        image_paths: The photo of each face; several faces may share one.
        points: (n, K, 2) float64, x then y in pixels of the photo, counted from 0.
        markup: Of the points.
        damaged: What is wrong with a face's annotation, by the face's name; its points are NaN.
        expected_count: How many faces the whole subset has; more than `len(self)` where some are missing.
        missing: What the subset lacks, in words, one line each.
    """

    names: tuple[str, ...]
    image_paths: tuple[Path, ...]
    points: np.ndarray
    markup: Markup
    damaged: Mapping[str, str] = field(default_factory=dict)
    expected_count: int = 0
    missing: tuple[str, ...] = ()

    _PER_FACE: ClassVar[tuple[str, ...]] = ("names", "image_paths", "points")

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Face:
        """Reads the photo; ValueError if the photo or its annotation is damaged."""
        if self.names[index] in self.damaged:
            raise ValueError(self.damaged[self.names[index]])
        # The annotations count in the stored pixels, whatever way up a viewer would turn them.
        image = read_image(self.image_paths[index], apply_orientation=False)
        return checked(Face(image, self.points[index], self.box(index), self.names[index]))

    def box(self, index: int) -> np.ndarray:
        """The box (4,) of a face: the tight one of its landmarks."""
        return landmark_box(self.points[index])

    @property
    def face_sizes(self) -> np.ndarray | None:
        """The size that the data set itself gives each face, (n,) pixels, or None if it gives none."""
        return None

    def subset(self: Photos, indices: Sequence[int]) -> Photos:
        """The faces with these numbers, in this order, as a whole of their own."""
        return replace(subset_of(self, indices, self._PER_FACE), expected_count=len(indices), missing=())


def read_each(
    sources: Mapping[str, Source], read: Callable[[Source], Annotation], blank: Annotation, keep_damaged: bool
) -> tuple[list[Annotation], dict[str, str]]:
    """Annotations by face, and what is wrong with those that are damaged, by the face's name.

    Args:
        sources: What each face's annotation is read from, by the face's name.
        read: Reads one; its ValueError or OSError says what is wrong.
        blank: What stands for a damaged one.
        keep_damaged: Go on where one is damaged.

    Raises:
        ValueError, OSError: One is damaged, unless they are kept.
    """
    found: list[Annotation] = []
    damaged: dict[str, str] = {}
    for name, source in sources.items():
        try:
            found.append(read(source))
        except (ValueError, OSError) as error:
            if not keep_damaged:
                raise
            damaged[name] = str(error)
            found.append(blank)
    return found, damaged


def read_points(
    paths: Mapping[str, Path], read: Callable[[Path], np.ndarray], num_landmarks: int, keep_damaged: bool
) -> tuple[np.ndarray, dict[str, str]]:
    """Points (n, num_landmarks, 2), NaN where damaged; see `read_each`."""
    points, damaged = read_each(paths, read, np.full((num_landmarks, 2), np.nan), keep_damaged)
    return np.array(points).reshape(-1, num_landmarks, 2), damaged
