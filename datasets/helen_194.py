"""HELEN's own annotation: 194 points on the contours of the face, in text files beside the photos.

Le et al., "Interactive Facial Feature Localization" (ECCV 2012). `annotation/<n>.txt` starts with a photo's name, then
holds a line `x , y` for each point; `trainnames.txt` and `testnames.txt` list the names of the two subsets. Coordinates
are taken as they stand: no description says from where they count.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterable

import numpy as np

from datasets.images import PathLike
from datasets.markups import HELEN_194
from datasets.pts_files import IMAGE_SUFFIXES, AnnotatedPhotos

SUBSETS = {"train": 2000, "test": 330}
LISTS = {"train": "trainnames.txt", "test": "testnames.txt"}
ANNOTATIONS = "annotation"


@dataclass(frozen=True, eq=False)
class Helen194(AnnotatedPhotos):
    """Faces of HELEN by number; a face's name is its photo's, without extension.

    Attributes:
        expected_count: How many faces the whole subset has; more than `len(self)` where some are missing.
        missing: What the subset lacks, in words, one line each.
    """

    expected_count: int = 0
    missing: tuple[str, ...] = ()


def load(root: PathLike, subset: str, allow_missing: bool = False, keep_damaged: bool = False) -> Helen194:
    """The faces of one subset, in the order of its list.

    Args:
        root: The folder that holds `annotation`, `trainnames.txt` and `testnames.txt`, and anywhere in it the photos.
        subset: "train" or "test".
        allow_missing: Take what is there; `expected_count` and `missing` tell what is not.
        keep_damaged: Keep a face whose annotation cannot be read; asking for it then says why.

    Raises:
        FileNotFoundError: The annotation, the list or photos are not there, or with `allow_missing` all of them.
        ValueError: The subset is unknown, an annotation is damaged, or two photos or annotations have one name.
    """
    if subset not in SUBSETS:
        raise ValueError(f"HELEN has no subset '{subset}'; it has {', '.join(SUBSETS)}")
    home = Path(root)
    annotations = _annotations(home / ANNOTATIONS)
    pictures = (path for path in home.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    photos = _by_name(pictures, lambda path: path.stem)
    names = _read_list(home / LISTS[subset])
    missing = [f"{name} has no photo" for name in names if name not in photos]
    missing += [f"{name} has no annotation" for name in names if name not in annotations]
    kept = [name for name in names if name in photos and name in annotations]
    expected = SUBSETS[subset]
    if len(names) < expected:
        missing.insert(0, f"{LISTS[subset]} names {len(names)} of {expected}")
    if not kept or (missing and not allow_missing):
        shown = "; ".join(missing[:4]) + (f"; and {len(missing) - 4} more" if len(missing) > 4 else "")
        raise FileNotFoundError(f"{home}: {len(kept)} of {expected} faces of HELEN {subset}: {shown}; complete it")
    points = np.full((len(kept), HELEN_194.num_landmarks, 2), np.nan)
    damaged: dict[str, str] = {}
    for index, name in enumerate(kept):
        try:
            points[index] = read_points(annotations[name])
        except ValueError as error:
            if not keep_damaged:
                raise
            damaged[name] = str(error)
    return Helen194(
        names=tuple(kept),
        image_paths=tuple(photos[name] for name in kept),
        points=points,
        markup=HELEN_194,
        damaged=damaged,
        expected_count=expected,
        missing=tuple(missing),
    )


def read_points(path: PathLike) -> np.ndarray:
    """The points (194, 2) of one annotation, x then y in pixels of the photo.

    Raises:
        ValueError: the file is damaged.
    """
    lines = [line for line in _read_lines(Path(path))[1:] if line.strip()]
    count = HELEN_194.num_landmarks
    if len(lines) != count:
        raise ValueError(f"{path}: {len(lines)} points instead of {count}; restore it from the original data")
    points = np.array([_parse_line(line) for line in lines])
    if not np.isfinite(points).all():
        raise ValueError(f"{path}: a line is not 'x , y'; restore it from the original data")
    return points


def _parse_line(line: str) -> tuple[float, float]:
    """x and y, or NaN where the line is something else."""
    try:
        x, y = (float(word) for word in line.split(","))
    except ValueError:
        return float("nan"), float("nan")
    return x, y


def _annotations(folder: Path) -> dict[str, Path]:
    """The annotation of each photo, by the name in its first line."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: there is no such folder; name the one that holds it and the lists")
    return _by_name(folder.glob("*.txt"), lambda path: _stem(_read_lines(path)[0]))


def _read_list(path: Path) -> list[str]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such list of names; restore it from the original data")
    return [_stem(line) for line in _read_lines(path) if line.strip()]


def _stem(name: str) -> str:
    """A photo's name as it is listed, with or without its extension, without it."""
    name = name.strip()
    return name[: name.rindex(".")] if name.lower().endswith(IMAGE_SUFFIXES) else name


def _by_name(paths: Iterable[Path], name_of: Callable[[Path], str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(paths):
        # Archives packed on a Mac hold a "._name" beside each file.
        if path.name.startswith("."):
            continue
        name = name_of(path)
        if name in found:
            raise ValueError(f"{path}: the same face as {found[name]}; remove one of the two")
        found[name] = path
    return found


def _read_lines(path: Path) -> list[str]:
    return path.read_bytes().decode("utf-8", errors="replace").splitlines() or [""]
