"""Face boxes made from landmark files: whole photos, each with a `.pts` file for every annotated face."""

from __future__ import annotations

import re

import numpy as np

from datasets.detection.boxed_photos import BoxedPhotos
from datasets.geometry import landmark_box
from datasets.images import PathLike
from datasets.inventory import IMAGE_SUFFIXES, files, needed_folder
from datasets.pts_files import read_pts

FOREHEAD = 0.2  # of the landmark box's height: what boxes drawn by hand reach above the brows [B8]


def face_box(points: np.ndarray) -> np.ndarray:
    """Box (4,) of a face with landmarks (K, 2): their tight one, and above it the lower part of the forehead.

    The landmarks end at the brows; people who mark faces by hand do not, and a detector learns one kind of box.
    """
    x0, y0, x1, y1 = landmark_box(points)
    return np.array([x0, y0 - FOREHEAD * (y1 - y0), x1, y1])


def load(root: PathLike, tight: bool = False) -> BoxedPhotos:
    """All photos of a folder that have `<photo>.pts` or `<photo>_<number>.pts` beside them, sorted by name.

    Args:
        root: the folder.
        tight: tight boxes of the landmarks instead of `face_box`.

    Raises:
        FileNotFoundError: there is no such folder, or no such photo in it.
        ValueError: a `.pts` file is damaged.
    """
    home = needed_folder(root, "one with photos and .pts files")
    photos = {path.stem: path for path in files(home, IMAGE_SUFFIXES)}
    found: dict[str, list[np.ndarray]] = {}
    for path in files(home, (".pts",)):
        # A photo may itself be called by two numbers, such as 12_3.jpg with 12_3.pts.
        owner = path.stem if path.stem in photos else re.sub(r"_\d+$", "", path.stem)
        if owner in photos:
            points = read_pts(path)
            found.setdefault(owner, []).append(landmark_box(points) if tight else face_box(points))
    if not found:
        raise FileNotFoundError(f"{home}: no photo has a .pts file beside it; put them there")
    names = tuple(sorted(found))
    return BoxedPhotos(
        names,
        tuple(photos[name] for name in names),
        tuple(np.stack(found[name]) for name in names),
        tuple(np.zeros(len(found[name]), bool) for name in names),
    )
