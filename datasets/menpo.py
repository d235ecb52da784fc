"""Menpo's training photos: 68 points on faces that show both eyes, 39 on profiles, which are passed over.

Zafeiriou et al., "The Menpo facial landmark localisation challenge" (CVPR workshops 2017). Photos and `.pts` files of
the same names lie in one folder or in several; the number of points tells the two kinds apart.
"""

from __future__ import annotations

import numpy as np

from datasets.annotated_photos import AnnotatedPhotos, read_each
from datasets.images import PathLike
from datasets.inventory import IMAGE_SUFFIXES, check_subset, files, needed_folder
from datasets.markups import IBUG_68
from datasets.pts_files import read_pts

SUBSETS = ("frontal",)
PROFILE_POINTS = 39


def load(
    root: PathLike, subset: str = "frontal", allow_missing: bool = False, keep_damaged: bool = False
) -> AnnotatedPhotos:
    """The faces with 68 points, sorted by name: their path below the folder, without extension.

    How many there should be is not checked: publications count 6,679 and 5,658 of them.

    Args:
        root: The folder that holds the photos, or folders of them.
        subset: "frontal".
        allow_missing: Pass over a photo without points.
        keep_damaged: Keep a face whose annotation cannot be read; asking for it then says why.

    Raises:
        FileNotFoundError: There is no such folder, no such face in it, or a photo has no points.
        ValueError: The subset is unknown, or an annotation is damaged.
    """
    check_subset("Menpo", subset, SUBSETS)
    home = needed_folder(root, "the one that holds Menpo's photos and .pts files")
    photos = {path.relative_to(home).with_suffix("").as_posix(): path for path in files(home, IMAGE_SUFFIXES, True)}
    bare = [name for name in sorted(photos) if not photos[name].with_suffix(".pts").is_file()]
    if bare and not allow_missing:
        raise FileNotFoundError(f"{photos[bare[0]]} has no .pts file: restore it, or pass --allow-missing")
    annotations = {name: photos[name].with_suffix(".pts") for name in sorted(photos) if name not in bare}
    read, damaged = read_each(annotations, read_pts, np.full((IBUG_68.num_landmarks, 2), np.nan), keep_damaged)
    kept = {name: points for name, points in zip(annotations, read) if len(points) != PROFILE_POINTS}
    wrong = next((name for name, points in kept.items() if len(points) != IBUG_68.num_landmarks), None)
    if wrong:
        raise ValueError(f"{annotations[wrong]} has {len(kept[wrong])} points, not 68 or 39: restore it")
    if not kept:
        raise FileNotFoundError(f"{home}: no photo has a .pts file of 68 points; name Menpo's folder")
    missing = tuple(f"{photos[name].relative_to(home)} has no .pts" for name in bare)
    return AnnotatedPhotos(
        tuple(kept),
        tuple(photos[name] for name in kept),
        np.stack(list(kept.values())),
        IBUG_68,
        damaged,
        len(kept) + len(bare),
        missing,
    )
