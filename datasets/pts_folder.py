"""Your own faces: a folder of photos, each beside a `.pts` file of the same name, of any markup the project knows."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Sequence

import numpy as np

from datasets.faces import Face
from datasets.geometry import landmark_box
from datasets.ibug_300w import IMAGE_SUFFIXES, read_pts
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
    """

    names: tuple[str, ...]
    image_paths: tuple[Path, ...]
    points: np.ndarray
    markup: Markup

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Face:
        """Reads the photo as it is stored; the box is the tight box of the landmarks."""
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


def load(root: str | os.PathLike[str]) -> PtsFolder:
    """All photos with a `.pts` file below a folder, sorted by path.

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
    first = read_pts(photos[0].with_suffix(".pts"))
    points = np.stack([read_pts(path.with_suffix(".pts"), len(first)) for path in photos])
    names = tuple(path.relative_to(home).with_suffix("").as_posix() for path in photos)
    return PtsFolder(names, tuple(photos), points, get_markup(len(first)))
