"""HELEN's own annotation: 194 points on the contours of the face, in text files beside the photos.

Le et al., "Interactive Facial Feature Localization" (ECCV 2012). `annotation/<n>.txt` starts with a photo's name, then
holds a line `x , y` for each point; `trainnames.txt` and `testnames.txt` list the names of the two subsets. Coordinates
are taken as they stand: no description says from where they count [D12].
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from common.readers import read_bytes
from datasets.annotated_photos import AnnotatedPhotos, read_points
from datasets.geometry import all_placed
from datasets.images import PathLike
from datasets.inventory import IMAGE_SUFFIXES, by_name, check_subset, files, needed_folder, refuse_incomplete
from datasets.markups import HELEN_194

SUBSETS = {"train": 2000, "test": 330}
LISTS = {"train": "trainnames.txt", "test": "testnames.txt"}
ANNOTATIONS = "annotation"


def load(root: PathLike, subset: str, allow_missing: bool = False, keep_damaged: bool = False) -> AnnotatedPhotos:
    """The faces of one subset, in the order of its list; a face's name is its photo's, without extension.

    Args:
        root: The folder that holds `annotation`, `trainnames.txt` and `testnames.txt`, and anywhere in it the photos.
        subset: "train" or "test".
        allow_missing: Take what is there; `expected_count` and `missing` tell what is not.
        keep_damaged: Keep a face whose annotation cannot be read; asking for it then says why.

    Raises:
        FileNotFoundError: The annotation, the list or photos are not there, or with `allow_missing` all of them.
        ValueError: The subset is unknown, an annotation is damaged, or two photos or annotations have one name.
    """
    check_subset("HELEN", subset, SUBSETS)
    home = Path(root)
    folder = needed_folder(home / ANNOTATIONS, "the one that holds it and the lists")
    annotations = by_name(files(folder, (".txt",)), lambda path: _stem(_read_lines(path)[0]))
    photos = by_name(files(home, IMAGE_SUFFIXES, below=True))
    names = _read_list(home / LISTS[subset])
    missing = [f"{name} has no photo" for name in names if name not in photos]
    missing += [f"{name} has no annotation" for name in names if name not in annotations]
    kept = [name for name in names if name in photos and name in annotations]
    expected = SUBSETS[subset]
    if len(names) < expected:
        missing.insert(0, f"{LISTS[subset]} names {len(names)} of {expected}")
    refuse_incomplete(
        f"{home}: HELEN {subset}", (len(kept), expected), missing, allow_missing, "put photos and annotations there"
    )
    points, damaged = read_points(
        {name: annotations[name] for name in kept}, read_landmarks, HELEN_194.num_landmarks, keep_damaged
    )
    return AnnotatedPhotos(
        names=tuple(kept),
        image_paths=tuple(photos[name] for name in kept),
        points=points,
        markup=HELEN_194,
        damaged=damaged,
        expected_count=expected,
        missing=tuple(missing),
    )


def read_landmarks(path: PathLike) -> np.ndarray:
    """The points (194, 2) of one annotation, x then y in pixels of the photo; ValueError if the file is damaged."""
    lines = [line for line in _read_lines(Path(path))[1:] if line.strip()]
    count = HELEN_194.num_landmarks
    if len(lines) != count:
        raise ValueError(f"{path}: {len(lines)} points instead of {count}; restore it from the original data")
    points = np.array([_parse_line(line) for line in lines])
    if not all_placed(points):
        raise ValueError(f"{path}: a line is not 'x , y'; restore it from the original data")
    return points


def _parse_line(line: str) -> tuple[float, float]:
    """x and y, or NaN where the line is something else."""
    try:
        x, y = (float(word) for word in line.split(","))
    except ValueError:
        return float("nan"), float("nan")
    return x, y


def _read_list(path: Path) -> list[str]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such list of names; restore it from the original data")
    return [_stem(line) for line in _read_lines(path) if line.strip()]


def _stem(name: str) -> str:
    """A photo's name as it is listed, with or without its extension, without it."""
    name = name.strip()
    return name[: name.rindex(".")] if name.lower().endswith(IMAGE_SUFFIXES) else name


def _read_lines(path: Path) -> list[str]:
    return read_bytes(path).decode("utf-8", errors="replace").splitlines() or [""]
