"""AFLW with 19 points, as `AFLWinfo_release.mat` of Zhu et al. (CVPR 2016, "CCL") lists its faces, boxes and split.

The protocols AFLW-Full and AFLW-Frontal of FFLD Sec. 6.1 are the subsets "full" and "frontal". All 21 points, of
AFLW's own database, are in `datasets.aflw21`.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Mapping, NamedTuple, Sequence

import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from datasets.faces import Face
from datasets.images import PathLike, read_image
from datasets.markups import AFLW_19, Markup

__all__ = ["LIST_NAME", "PHOTO_FOLDERS", "SUBSETS", "Aflw", "load", "photo_of"]

LIST_NAME = "AFLWinfo_release.mat"
SUBSETS = {"train": 20000, "full": 4386, "frontal": 1314}

# Where AFLW's own archives unpack to, and where users of the list move that.
PHOTO_FOLDERS = ("", "data/flickr", "aflw/data/flickr", "flickr", "images")

_WIDTHS = {"bbox": 4, "data": 2 * AFLW_19.num_landmarks, "mask_new": AFLW_19.num_landmarks, "ra": 1}

# All that SciPy raises on files that are no MATLAB file, of another version, or cut short.
_MAT_ERRORS = (
    *(MatReadError, NotImplementedError, OSError, ValueError, TypeError, KeyError, IndexError, AttributeError),
    *(EOFError, OverflowError, MemoryError, struct.error, zlib.error),
)


@dataclass(frozen=True, eq=False)
class Aflw:
    """Faces by number; see `datasets.faces.FaceDataset`.

    Attributes:
        names: Unique: the photo's path without extension, "-", and the face's row in the list, counted from 0.
        image_paths: The photo of each face; several faces may share one.
        points: (n, 19, 2) float64, x then y in pixels of the photo. Landmarks that are not visible are placed as well,
            and count in the protocols' errors; for errors of visible landmarks alone make the others NaN.
        visible: (n, 19) bool, what the list says of each landmark.
        boxes: (n, 4) float64, x0, y0, x1, y1 of the face, as listed; they may reach beyond the photo.
        damaged: What is wrong with a face's row, by the face's name; its points and box are NaN.
        expected_count: How many faces the whole subset has; more than `len(self)` where photos are missing.
        missing: What the subset lacks, in words, one line each.
        markup: Of the points.
    """

    names: tuple[str, ...]
    image_paths: tuple[Path, ...]
    points: np.ndarray
    visible: np.ndarray
    boxes: np.ndarray
    damaged: Mapping[str, str] = field(default_factory=dict)
    expected_count: int = 0
    missing: tuple[str, ...] = ()
    markup: Markup = AFLW_19

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Face:
        """Reads the photo; the box is the list's own.

        Raises:
            ValueError: The photo or the face's row in the list is damaged.
        """
        if self.names[index] in self.damaged:
            raise ValueError(self.damaged[self.names[index]])
        # The annotations count in the stored pixels, whatever way up a viewer would turn them.
        image = read_image(self.image_paths[index], apply_orientation=False)
        return Face(image, self.points[index], self.boxes[index], self.names[index])

    @property
    def face_sizes(self) -> np.ndarray:
        """The "face size" that normalises errors (FFLD Sec. 6.2): sqrt(w h) of each box in pixels, (n,).

        Of a square box that is its side. A damaged face has none: NaN.
        """
        return np.sqrt(np.prod(self.boxes[:, 2:] - self.boxes[:, :2], axis=1))

    def subset(self, indices: Sequence[int]) -> Aflw:
        """The faces with these numbers, in this order, as a whole of their own."""
        chosen = [int(index) for index in indices]
        return replace(
            self,
            names=tuple(self.names[k] for k in chosen),
            image_paths=tuple(self.image_paths[k] for k in chosen),
            points=self.points[chosen],
            visible=self.visible[chosen],
            boxes=self.boxes[chosen],
            expected_count=len(chosen),
            missing=(),
        )


class FaceList(NamedTuple):
    """All that the list says, n faces.

    Attributes:
        photos: n paths below the photos' folder.
        points: (n, 19, 2) float64.
        visible: (n, 19) bool.
        boxes: (n, 4) float64, x0, y0, x1, y1.
        order: (n,) the permutation of the rows, counted from 0, that the subsets are cut from.
    """

    photos: tuple[str, ...]
    points: np.ndarray
    visible: np.ndarray
    boxes: np.ndarray
    order: np.ndarray

    def rows(self, subset: str) -> np.ndarray:
        """The rows of a subset in the list's order: its first faces train, the rest is "full"."""
        train, test = np.split(self.order, [SUBSETS["train"]])
        frontal = test[self.visible[test].all(axis=1)]
        return {"train": train, "full": test, "frontal": frontal}[subset]


def load(root: PathLike, subset: str, allow_missing: bool = False, keep_damaged: bool = False) -> Aflw:
    """The faces of one subset; no photo is read before it is asked for.

    Args:
        root: The folder that holds `AFLWinfo_release.mat` and, there or in one of `PHOTO_FOLDERS`, the photos' folders
            `0`, `2` and `3`.
        subset: One of `SUBSETS`.
        allow_missing: Take what is there; `expected_count` and `missing` tell what is not.
        keep_damaged: Keep a face whose row in the list makes no sense; asking for it then says why.

    Raises:
        FileNotFoundError: The list is not there, or photos, or with `allow_missing` all of them.
        ValueError: The subset is unknown, or the list is damaged.
    """
    if subset not in SUBSETS:
        raise ValueError(f"AFLW has no subset '{subset}'; it has {', '.join(SUBSETS)}")
    path = Path(root) / LIST_NAME
    listed = read_list(path)
    rows = listed.rows(subset)
    folder = find_photos(Path(root), listed.photos)
    present = np.array([row for row in rows if (folder / listed.photos[row]).is_file()], dtype=np.intp)
    missing = missing_photos(folder, [listed.photos[row] for row in np.setdiff1d(rows, present)])
    if len(rows) != SUBSETS[subset]:
        missing = (f"the list itself has {len(rows)}", *missing)
    if not present.size or (missing and not allow_missing):
        raise FileNotFoundError(incomplete(path, subset, present.size, SUBSETS[subset], missing))
    names = tuple(face_name(listed.photos[row], row) for row in present)
    points, boxes = listed.points[present], listed.boxes[present]
    damaged = _damaged(path, names, points, listed.visible[present], boxes)
    if damaged and not keep_damaged:
        raise ValueError(next(iter(damaged.values())))
    wrong = [name in damaged for name in names]
    points[wrong], boxes[wrong] = np.nan, np.nan
    return Aflw(
        names=names,
        image_paths=tuple(folder / listed.photos[row] for row in present),
        points=points,
        visible=listed.visible[present],
        boxes=boxes,
        damaged=damaged,
        expected_count=SUBSETS[subset],
        missing=missing,
    )


def photo_of(name: str) -> str:
    """The photo that a face's name is of, its path without extension."""
    return name.rpartition("-")[0]


def read_list(path: PathLike) -> FaceList:
    """Reads `AFLWinfo_release.mat`.

    `bbox` is left, right, top, bottom; `data` x1..x19, y1..y19; `mask_new` 1 where a landmark is visible; `nameList`
    the photos; `ra` a permutation that counts from 1. Assumed: pixels count from 0. The file does not say; PIPNet and
    FaRL use its numbers unshifted.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is damaged, or not this list.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: there is no such list; put the one that CCL's authors publish there")
    try:
        fields = loadmat(str(path), appendmat=False)
    except _MAT_ERRORS as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path}: not a readable MATLAB 5 file ({reason}); download it again") from error
    try:
        return _parse_list(fields)
    except ValueError as error:
        raise ValueError(f"{path}: not AFLW's list of faces: {error}; download it again") from None


def _parse_list(fields: Mapping[str, np.ndarray]) -> FaceList:
    """The list of a MATLAB file's fields; ValueError says what is wrong with them."""
    absent = [name for name in (*_WIDTHS, "nameList") if name not in fields]
    if absent:
        raise ValueError(f"it has no field '{absent[0]}'")
    photos = tuple(_photo_name(cell, row) for row, cell in enumerate(np.asarray(fields["nameList"]).ravel()))
    expected = SUBSETS["train"] + SUBSETS["full"]
    if len(photos) != expected:
        raise ValueError(f"its nameList has {len(photos)} faces, not {expected}")
    numbers = {name: _table(name, np.asarray(fields[name]), len(photos)) for name in _WIDTHS}
    order = numbers["ra"][:, 0]
    if not np.array_equal(np.sort(order), np.arange(1, len(photos) + 1)):
        raise ValueError(f"its ra is no permutation of 1 to {len(photos)}")
    return FaceList(
        photos=photos,
        points=numbers["data"].reshape(-1, 2, AFLW_19.num_landmarks).transpose(0, 2, 1).copy(),
        visible=numbers["mask_new"] == 1,
        boxes=numbers["bbox"][:, [0, 2, 1, 3]],
        order=order.astype(np.intp) - 1,
    )


def _table(name: str, values: np.ndarray, count: int) -> np.ndarray:
    """A numeric field as (count, width) float64."""
    # A permutation is a row as often as a column.
    shape = (values.size, 1) if name == "ra" else values.shape
    if values.dtype.kind not in "biuf":
        raise ValueError(f"its {name} does not hold numbers")
    if shape != (count, _WIDTHS[name]):
        raise ValueError(f"its {name} is {values.shape} where {count} faces need {(count, _WIDTHS[name])}")
    return values.reshape(shape).astype(np.float64)


def _photo_name(cell: object, row: int) -> str:
    """The text of a cell, however deep MATLAB has wrapped it."""
    while isinstance(cell, np.ndarray) and cell.size == 1:
        cell = cell.ravel()[0]
    text = cell.strip().replace("\\", "/") if isinstance(cell, str) else ""
    if not text:
        raise ValueError(f"row {row + 1} of its nameList names no photo")
    return text


def face_name(photo: str, number: int) -> str:
    """A unique name for a face, from which `photo_of` finds the photo."""
    return f"{Path(photo).with_suffix('').as_posix()}-{number}"


def find_photos(root: Path, photos: Sequence[str]) -> Path:
    """The one of `PHOTO_FOLDERS` that holds a folder of these photos.

    Raises:
        FileNotFoundError: None does.
    """
    tops = sorted({photo.partition("/")[0] for photo in photos})
    for place in PHOTO_FOLDERS:
        if any((root / place / top).exists() for top in tops):
            return root / place
    raise FileNotFoundError(f"{root}: AFLW's photos are not here; put their folders {', '.join(tops[:3])} into it")


def _damaged(
    path: Path, names: Sequence[str], points: np.ndarray, visible: np.ndarray, boxes: np.ndarray
) -> dict[str, str]:
    """What is wrong with a face's row, by the face's name: a box without area, or a visible landmark without place."""
    has_area = np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    has_place = (np.isfinite(points).all(axis=2) | ~visible).all(axis=1) & np.isfinite(points).all(axis=2).any(axis=1)
    faults = {}
    for index in np.flatnonzero(~(has_area & has_place)):
        what = "a landmark has no coordinates" if has_area[index] else "the box has no area"
        faults[names[index]] = f"{path}: face {names[index]}: {what}; download the list again, or leave the face out"
    return faults


def missing_photos(folder: Path, photos: Sequence[str]) -> tuple[str, ...]:
    """What lacks where these photos are not there, one line each."""
    return tuple(f"{folder / photo} is not there" for photo in sorted(set(photos)))


def incomplete(path: Path, subset: str, count: int, expected: int, missing: Sequence[str]) -> str:
    """The message for a subset of which not all faces are there."""
    shown = "; ".join(missing[:4]) + (f"; and {len(missing) - 4} more" if len(missing) > 4 else "")
    remedy = "complete it, or allow missing faces" if count else "put the photos there"
    return f"{path}: AFLW {subset} has {count} of {expected} faces ({shown}): {remedy}"
