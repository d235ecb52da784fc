"""Your own faces: a folder of photos, each beside a `.pts` file of the same name, of any markup the project knows."""

from __future__ import annotations

from pathlib import Path
from typing import Iterable

from datasets.annotated_photos import AnnotatedPhotos
from datasets.images import PathLike
from datasets.inventory import IMAGE_SUFFIXES, files, needed_folder
from datasets.markups import get_markup
from datasets.pts_files import read_annotations, read_pts


def load(root: PathLike, keep_damaged: bool = False) -> AnnotatedPhotos:
    """All photos with a `.pts` file below a folder, sorted by path; a face's name is its path without extension.

    Args:
        root: the folder.
        keep_damaged: keep a face whose annotation cannot be read; asking for it then says why.

    Raises:
        FileNotFoundError: there is no such folder, or no such pair in it.
        ValueError: an annotation is damaged, or the files differ in their number of points.
    """
    home = needed_folder(root, "one with photos and .pts files")
    photos = [path for path in files(home, IMAGE_SUFFIXES, below=True) if path.with_suffix(".pts").is_file()]
    if not photos:
        raise FileNotFoundError(f"{home}: no photo has a .pts file of the same name beside it; put them there")
    names = tuple(path.relative_to(home).with_suffix("").as_posix() for path in photos)
    annotations = {name: path.with_suffix(".pts") for name, path in zip(names, photos)}
    first, count = _first_readable(annotations.values())
    try:
        markup = get_markup(count)
    except ValueError as error:
        raise ValueError(f"{first}: {error}") from None
    points, damaged = read_annotations(annotations, markup.num_landmarks, keep_damaged)
    return AnnotatedPhotos(names, tuple(photos), points, markup, damaged, expected_count=len(names))


def _first_readable(paths: Iterable[Path]) -> tuple[Path, int]:
    """The first readable file and how many points it has; the error of the last one if none is."""
    for path in paths:
        try:
            return path, len(read_pts(path))
        except ValueError as error:
            reason = error
    raise reason
