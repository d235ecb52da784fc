"""Your own faces: a folder of photos, each beside a `.pts` file of the same name, of any markup the project knows."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Iterable, Mapping, Sequence

import numpy as np

from datasets.faces import Face
from datasets.geometry import landmark_box
from datasets.ibug_300w import IMAGE_SUFFIXES, read_annotations, read_pts
from datasets.images import read_image
from datasets.markups import Markup, get_markup


@dataclass(frozen=True)
class PtsFolder:
    """Faces by number; see `datasets.faces.FaceDataset`.

    Attributes:
        names: the face's path below the folder, without extension.
        image_paths: the photo of each face.
        points: (n, K, 2) float64, x then y in pixels of the photo, counted from 0.
        markup: of the points, known by their number.
        damaged: what is wrong with a face's annotation, by the face's name; its points are NaN.
    """

    names: tuple[str, ...]
    image_paths: tuple[Path, ...]
    points: np.ndarray
    markup: Markup
    damaged: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Face:
        """Reads the photo as it is stored; the box is the tight box of the landmarks.

        Raises:
            ValueError: the photo or its annotation is damaged.
        """
        if self.names[index] in self.damaged:
            raise ValueError(self.damaged[self.names[index]])
        points = self.points[index]
        image = read_image(self.image_paths[index], apply_orientation=False)
        return Face(image, points, landmark_box(points), self.names[index])

    def subset(self, indices: Sequence[int]) -> PtsFolder:
        """The faces with these numbers, in this order."""
        chosen = [int(index) for index in indices]
        return replace(
            self,
            names=tuple(self.names[k] for k in chosen),
            image_paths=tuple(self.image_paths[k] for k in chosen),
            points=self.points[chosen],
        )


def load(root: str | os.PathLike[str], keep_damaged: bool = False) -> PtsFolder:
    """All photos with a `.pts` file below a folder, sorted by path.

    Args:
        root: the folder.
        keep_damaged: keep a face whose annotation cannot be read; asking for it then says why.

    Raises:
        FileNotFoundError: there is no such folder, or no such pair in it.
        ValueError: an annotation is damaged, or the files differ in their number of points.
    """
    home = Path(root)
    if not home.is_dir():
        raise FileNotFoundError(f"{home}: there is no such folder; name one with photos and .pts files")
    photos = sorted(path for path in home.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    photos = [path for path in photos if path.with_suffix(".pts").is_file()]
    if not photos:
        raise FileNotFoundError(f"{home}: no photo has a .pts file of the same name beside it; put them there")
    names = tuple(path.relative_to(home).with_suffix("").as_posix() for path in photos)
    annotations = {name: path.with_suffix(".pts") for name, path in zip(names, photos)}
    markup = get_markup(_first_count(annotations.values()))
    points, damaged = read_annotations(annotations, markup.num_landmarks, keep_damaged)
    return PtsFolder(names, tuple(photos), points, markup, damaged)


def _first_count(paths: Iterable[Path]) -> int:
    """How many points the first readable file has; the error of the last one if none is."""
    for path in paths:
        try:
            return len(read_pts(path))
        except ValueError as error:
            reason = error
    raise reason
