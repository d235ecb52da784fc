"""AFLW with 19 points, as `AFLWinfo_release.mat` of Zhu et al. (CVPR 2016, "CCL") lists its faces, boxes and split.

The protocols AFLW-Full and AFLW-Frontal of FFLD Sec. 6.1 are the subsets "full" and "frontal". All 21 points, of
AFLW's own database, are in `datasets.aflw21`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Mapping, NamedTuple, Sequence

import numpy as np

from datasets.annotated_photos import AnnotatedPhotos
from datasets.geometry import FARTHEST
from datasets.images import PathLike
from datasets.inventory import check_subset, listed_path, refuse_incomplete
from datasets.markups import AFLW_19
from datasets.mat_files import read_fields

__all__ = ["LIST_NAME", "PHOTO_FOLDERS", "SUBSETS", "Aflw", "load", "photo_of"]

LIST_NAME = "AFLWinfo_release.mat"
SUBSETS = {"train": 20000, "full": 4386, "frontal": 1314}

# Where AFLW's own archives unpack to, and where users of the list move that.
PHOTO_FOLDERS = ("", "data/flickr", "aflw/data/flickr", "flickr", "images")

_WIDTHS = {"bbox": 4, "data": 2 * AFLW_19.num_landmarks, "mask_new": AFLW_19.num_landmarks, "ra": 1}


@dataclass(frozen=True, eq=False)
class Aflw(AnnotatedPhotos):
    """Faces by number, whose boxes are listed ones.

    A name is the photo's path without extension, "-", and the face's number in the list.

    Attributes:
        visible: (n, K) bool, what the list says of each landmark.
        boxes: (n, 4) float64, x0, y0, x1, y1 of the face, as listed; they may reach beyond the photo. NaN if damaged.
    """

    visible: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), bool))
    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 4)))

    _PER_FACE: ClassVar[tuple[str, ...]] = (*AnnotatedPhotos._PER_FACE, "visible", "boxes")

    def box(self, index: int) -> np.ndarray:
        """The listed box (4,) of a face."""
        return self.boxes[index]

    @property
    def face_sizes(self) -> np.ndarray:
        """The "face size" that normalizes errors (FFLD Sec. 6.2): sqrt(w h) of each box in pixels, (n,).

        Of a square box that is its side. A damaged face has none: NaN.
        """
        return np.sqrt(np.prod(self.boxes[:, 2:] - self.boxes[:, :2], axis=1))


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

    Landmarks that are not visible are placed as well, and count in the protocols' errors; for errors of visible
    landmarks alone make the others NaN.

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
    check_subset("AFLW", subset, SUBSETS)
    path = Path(root) / LIST_NAME
    listed = read_list(path)
    rows = listed.rows(subset)
    folder = find_photos(Path(root), listed.photos)
    faces = Aflw(
        names=tuple(face_name(listed.photos[row], row) for row in rows),
        image_paths=tuple(listed_path(folder, listed.photos[row], path) for row in rows),
        points=listed.points[rows],
        markup=AFLW_19,
        visible=listed.visible[rows],
        boxes=listed.boxes[rows],
        expected_count=SUBSETS[subset],
        missing=() if len(rows) == SUBSETS[subset] else (f"the list itself has {len(rows)}",),
    )
    faces = with_photos(faces, f"{path}: AFLW {subset}", allow_missing)
    return with_damage(faces, path, "download the list again", keep_damaged)


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
        return _parse_list(read_fields(path, (*_WIDTHS, "nameList")))
    except ValueError as error:
        raise ValueError(f"{path}: not AFLW's list of faces: {error}; download it again") from None


def _parse_list(fields: Mapping[str, np.ndarray]) -> FaceList:
    """The list of a MATLAB file's fields; ValueError says what is wrong with them."""
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
    """The one of `PHOTO_FOLDERS` that holds a folder of these photos; FileNotFoundError if none does."""
    tops = sorted({photo.partition("/")[0] for photo in photos})
    for place in PHOTO_FOLDERS:
        if any((root / place / top).exists() for top in tops):
            return root / place
    raise FileNotFoundError(f"{root}: AFLW's photos are not here; put their folders {', '.join(tops[:3])} into it")


def with_photos(faces: Aflw, title: str, allow_missing: bool) -> Aflw:
    """The faces whose photos are there; see `datasets.inventory.refuse_incomplete`.

    Raises:
        FileNotFoundError: Photos are missing, or with `allow_missing` all of them.
    """
    present = [index for index, path in enumerate(faces.image_paths) if path.is_file()]
    some = faces.subset(present)
    lost = sorted({str(path) for path in set(faces.image_paths) - set(some.image_paths)})
    missing = (*faces.missing, *(f"{path} is not there" for path in lost))
    counts = (len(some), faces.expected_count)
    refuse_incomplete(title, counts, missing, allow_missing, "put the photos there")
    return replace(some, expected_count=faces.expected_count, missing=missing)


def with_damage(faces: Aflw, source: Path, again: str, keep_damaged: bool) -> Aflw:
    """Marks faces whose row makes no sense: a box without area, or a visible landmark without place.

    Args:
        faces: As they are listed.
        source: The list.
        again: How to get a whole one.
        keep_damaged: Keep such faces; their points and boxes become NaN.

    Raises:
        ValueError: There is one, unless they are kept.
    """
    points, boxes = faces.points.copy(), faces.boxes.copy()
    placed = (np.abs(points) <= FARTHEST).all(axis=2)
    has_area = (np.abs(boxes) <= FARTHEST).all(axis=1) & (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    has_place = (placed | ~faces.visible).all(axis=1) & placed.any(axis=1)
    damaged = {}
    for index in np.flatnonzero(~(has_area & has_place)):
        what = "a landmark has no coordinates" if has_area[index] else "the box has no area"
        name = faces.names[index]
        damaged[name] = f"{source}: face {name}: {what}; {again}, or leave the face out"
        points[index], boxes[index] = np.nan, np.nan
    if damaged and not keep_damaged:
        raise ValueError(next(iter(damaged.values())))
    return replace(faces, points=points, boxes=boxes, damaged=damaged)
