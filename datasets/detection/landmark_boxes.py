"""Face boxes made from landmark files: whole photos, each with a `.pts` file for every annotated face."""

from __future__ import annotations

from typing import Any, Callable

import numpy as np

from datasets.detection.boxed_photos import BoxedPhotos
from datasets.geometry import landmark_box
from datasets.images import PathLike
from datasets.inventory import needed_folder
from datasets.own_photos import OwnPhoto, find_photos, read_face, refuse_same_face

FOREHEAD = 0.2  # of the landmark box's height: what boxes drawn by hand reach above the brows [B8]


def face_box(points: np.ndarray) -> np.ndarray:
    """Box (4,) of a face with landmarks (K, 2): their tight one, and above it the lower part of the forehead.

    The landmarks end at the brows; people who mark faces by hand do not, and a detector learns one kind of box.
    """
    x0, y0, x1, y1 = landmark_box(points)
    return np.array([x0, y0 - FOREHEAD * (y1 - y0), x1, y1])


def load(root: PathLike, tight: bool = False) -> BoxedPhotos:
    """All labelled photos below a folder, as `datasets.own_photos` finds them, sorted by path and turned upright.

    Args:
        root: the folder.
        tight: tight boxes of the landmarks instead of `face_box`.

    Raises:
        FileNotFoundError: there is no such folder, or no such photo in it.
        ValueError: a `.pts` file is damaged, or which photo it labels is unclear.
    """
    home = needed_folder(root, "one with photos and .pts files")
    photos = find_photos(home)
    boxes = [_boxes(photo, landmark_box if tight else face_box) for photo in photos]
    return BoxedPhotos(
        tuple(photo.path.relative_to(home).with_suffix("").as_posix() for photo in photos),
        tuple(photo.path for photo in photos),
        tuple(boxes),
        tuple(np.zeros(len(each), bool) for each in boxes),
        upright=True,
    )


def _boxes(photo: OwnPhoto, box_of: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """The boxes (n, 4) of a photo's faces."""
    points = [read_face(label) for label in photo.labels]
    refuse_same_face(list(photo.labels), points)
    return np.stack([box_of(each) for each in points])


def without_afw(faces: Any) -> Any:
    """A data set's faces, or 300-W's without AFW's, whose whole photos test the detector [B11]."""
    kept = [k for k, name in enumerate(faces.names) if not name.startswith("afw/")]
    return faces if len(kept) == len(faces) else faces.subset(kept)
