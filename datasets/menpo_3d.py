"""Menpo-3D, 300W-Testset-3D and 300VW-3D: 68 points that follow the face out of sight, in Torch files beside photos.

Bulat and Tzimiropoulos, "How far are we from solving the 2D & 3D Face Alignment problem?" (ICCV 2017), made them from
the points of Menpo, 300-W's private set and 300VW by a network, as parts of LS3D-W. A photo `<name>.jpg` or `.png` lies
beside `<name>.t7`, a Torch tensor of 68 x 2.

Coordinates count from 1 in the files, as Torch's pixels and their authors' crops do, and from 0 here [H22]. No
description says so; see docs/protocols.md for what else their authors' own measuring does.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Mapping, NamedTuple

import numpy as np
import torchfile

from datasets.annotated_photos import AnnotatedPhotos, read_points
from datasets.geometry import all_placed
from datasets.images import PathLike
from datasets.inventory import IMAGE_SUFFIXES, check_subset, files, needed_folder, refuse_incomplete
from datasets.markups import IBUG_68


class Part(NamedTuple):
    """What a subset is made of.

    Attributes:
        folders: That hold its faces, or folders of them, below the data set's own.
        faces: How many were shipped.
    """

    folders: tuple[str, ...]
    faces: int


# Counts of the paper's author, of his own copies: github.com/1adrianb/2D-and-3D-face-alignment/issues/37.
_CATEGORIES = {"category_a": Part(("CatA",), 62643), "category_b": Part(("CatB",), 32872)}
_CATEGORIES["category_c"] = Part(("CatC",), 27245)
MENPO_3D: Mapping[str, Part] = {"all": Part(("",), 8955)}  # [H20]
W300_3D: Mapping[str, Part] = {"all": Part(("",), 600)}
W300_VW_3D: Mapping[str, Part] = {**_CATEGORIES, "test": Part(("CatA", "CatB", "CatC"), 62643 + 32872 + 27245)}
TITLES = {"menpo_3d": "Menpo-3D", "300w_3d": "300W-Testset-3D", "300vw_3d": "300VW-3D"}  # their folders' names
SUBSETS = {"menpo_3d": MENPO_3D, "300w_3d": W300_3D, "300vw_3d": W300_VW_3D}

# All that the reader of Torch files raises on damaged ones; NotImplementedError where a damaged type is none it knows.
_READ_ERRORS = (
    *(struct.error, torchfile.T7ReaderException, OSError, ValueError, TypeError, LookupError, AttributeError),
    *(NotImplementedError, ArithmeticError, MemoryError, EOFError, RecursionError),
)


def load(
    root: PathLike, dataset: str, subset: str, allow_missing: bool = False, keep_damaged: bool = False
) -> AnnotatedPhotos:
    """The faces of one subset, sorted by name: their path below the set's folder, without extension.

    Args:
        root: The folder that holds the photos, or CatA, CatB and CatC, or the folder around it, such as LS3D-W.
        dataset: "menpo_3d", "300w_3d" or "300vw_3d".
        subset: One of `SUBSETS[dataset]`.
        allow_missing: Take what is there; `expected_count` and `missing` tell what is not.
        keep_damaged: Keep a face whose annotation cannot be read; asking for it then says why.

    Raises:
        FileNotFoundError: Faces are missing, or with `allow_missing` all of them.
        ValueError: The subset is unknown, or an annotation is damaged.
    """
    title = TITLES[dataset]
    check_subset(title, subset, SUBSETS[dataset])
    part, home = SUBSETS[dataset][subset], needed_folder(root, f"{title}, or the folder around it")
    home = home / title if (home / title).is_dir() else home
    folders = [home / folder for folder in part.folders if (home / folder).is_dir()]
    pictures = [path for folder in folders for path in files(folder, IMAGE_SUFFIXES, below=True)]
    photos = {path.relative_to(home).with_suffix("").as_posix(): path for path in pictures}
    found = {name: photos[name] for name in sorted(photos) if photos[name].with_suffix(".t7").is_file()}
    missing = [f"{folder}: no such folder" for folder in part.folders if not (home / folder).is_dir()]
    missing += [f"{photos[name].relative_to(home)} has no .t7" for name in sorted(photos) if name not in found]
    counts = (len(found), part.faces)
    where = "name the folder that holds its photos and .t7 files"
    refuse_incomplete(f"{home}: {title}", counts, missing, allow_missing, where)
    if len(found) < part.faces:
        missing.insert(0, f"{len(found)} of {part.faces} faces")
    annotations = {name: photo.with_suffix(".t7") for name, photo in found.items()}
    points, damaged = read_points(annotations, read_t7, IBUG_68.num_landmarks, keep_damaged)
    return AnnotatedPhotos(tuple(found), tuple(found.values()), points, IBUG_68, damaged, part.faces, tuple(missing))


def read_t7(path: PathLike) -> np.ndarray:
    """Reads the 68 points of a Torch file, whose pixels count from 1.

    Returns:
        (68, 2) float64, x then y in pixels counted from 0.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, or is no tensor of 68 x 2 finite numbers.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: there is no such .t7 file; check the path")
    try:
        return _parse_t7(Path(path)) - 1
    except ValueError as error:
        raise ValueError(f"{path}: not a readable .t7 file: {error}; restore it from the original data") from None


def _parse_t7(path: Path) -> np.ndarray:
    """The tensor as it stands in the file; ValueError says what is wrong with it."""
    if not path.stat().st_size:
        raise ValueError("it is empty")
    try:
        content = torchfile.load(str(path))
    except _READ_ERRORS as error:
        reason = " ".join(str(error).split())[:80] or type(error).__name__
        raise ValueError(f"it is cut short or no Torch file ({reason})") from None
    if not isinstance(content, np.ndarray) or content.shape != (IBUG_68.num_landmarks, 2):
        what = f"a tensor of {content.shape}" if isinstance(content, np.ndarray) else f"a {type(content).__name__}"
        raise ValueError(f"it holds {what}, not one of ({IBUG_68.num_landmarks}, 2)")
    if not _lies_in_its_storage(content):
        raise ValueError("it is cut short: its tensor has more numbers than are there")
    if content.dtype.kind not in "iuf" or not all_placed(content):
        raise ValueError("it has values that are not finite numbers of pixels")
    return content.astype(np.float64)


def _lies_in_its_storage(tensor: np.ndarray) -> bool:
    """Whether all of it was read; torchfile believes the file's sizes and strides, even beyond what is there."""
    storage = tensor
    while storage.base is not None:
        storage = storage.base
    (low, high), (first, last) = _reach(tensor), _reach(storage)
    return first <= low and high <= last


def _reach(array: np.ndarray) -> tuple[int, int]:
    """Addresses of an array's first byte and of the one after its last."""
    start = array.__array_interface__["data"][0]
    steps = [(length - 1) * stride for length, stride in zip(array.shape, array.strides)]
    return start + sum(min(step, 0) for step in steps), start + sum(max(step, 0) for step in steps) + array.itemsize
