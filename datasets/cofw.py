"""COFW: 29 points with their occlusion on faces in the wild, in the two colour files that its distributor ships.

Burgos-Artizzu et al., "Robust face landmark estimation under occlusion" (ICCV 2013). The files are MATLAB's of version
7.3, which are HDF5: arrays lie there with their axes reversed, and each cell of a cell array is a reference.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Mapping, NamedTuple, Sequence

import h5py
import numpy as np

from datasets.faces import Face, checked, subset_of
from datasets.geometry import FARTHEST, landmark_box
from datasets.images import PathLike
from datasets.inventory import check_subset
from datasets.markups import COFW_29, Markup

__all__ = ["FILES", "SUBSETS", "Cofw", "load"]

SUBSETS = {"train": 1345, "test": 507}


class _File(NamedTuple):
    """A subset's file, and its fields in it: the images, 29 x then 29 y then 29 occlusions, and x, y, w, h."""

    name: str
    images: str
    points: str
    boxes: str


FILES = {
    "train": _File("COFW_train_color.mat", "IsTr", "phisTr", "bboxesTr"),
    "test": _File("COFW_test_color.mat", "IsT", "phisT", "bboxesT"),
}

_K = COFW_29.num_landmarks
_AGAIN = "download it again"
_LARGEST = 2**26  # bytes of an image or a table: 22 million pixels; COFW's largest image has 1 million

# All that h5py raises on fields and images that cannot be read.
_HDF5_ERRORS = (OSError, RuntimeError, ValueError, TypeError, KeyError)


@dataclass(frozen=True, eq=False)
class Cofw:
    """Faces by number; see `datasets.faces.FaceDataset`. A name is the subset and the face's row, from 1: `test/0001`.

    Attributes:
        names: One per face.
        path: The file that holds the images.
        image_field: Its field of images.
        rows: (n,) each face's place in the file, from 0.
        points: (n, 29, 2) float64, x then y in pixels of the image, counted from 0. Occluded landmarks are placed too.
        occluded: (n, 29) bool.
        boxes: (n, 4) float64, x0, y0, x1, y1 of the face, as listed in the file.
        damaged: What is wrong with a face's row, by the face's name; its points and box are NaN.
        expected_count: How many faces the whole subset has.
        markup: Of the points.
    """

    names: tuple[str, ...]
    path: Path
    image_field: str
    rows: np.ndarray
    points: np.ndarray
    occluded: np.ndarray
    boxes: np.ndarray
    damaged: Mapping[str, str] = field(default_factory=dict)
    expected_count: int = 0
    markup: Markup = COFW_29

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Face:
        """Reads the image; the box is the tight box of the landmarks.

        Raises:
            ValueError: The image or the face's row in the file is damaged.
        """
        name, points = self.names[index], self.points[index]
        if name in self.damaged:
            raise ValueError(self.damaged[name])
        # Opened for each image, as an open HDF5 file survives neither a fork nor a pickle.
        try:
            with h5py.File(self.path, "r") as file:
                cells = file[self.image_field]
                cell = cells[np.unravel_index(int(self.rows[index]), cells.shape)]
                image = _upright(_stored(file[cell], name)[()])
        except _HDF5_ERRORS as error:
            raise ValueError(f"{self.path}: the image of {name} cannot be read ({_text(error)}); {_AGAIN}") from error
        return checked(Face(image, points, landmark_box(points), name))

    @property
    def face_sizes(self) -> np.ndarray:
        """sqrt(w h) of each listed box in pixels, (n,), one reading of Table 3's "face size"; NaN where damaged."""
        return np.sqrt(np.prod(self.boxes[:, 2:] - self.boxes[:, :2], axis=1))

    def subset(self, indices: Sequence[int]) -> Cofw:
        """The faces with these numbers, in this order, as a whole of their own."""
        some = subset_of(self, indices, ("names", "rows", "points", "occluded", "boxes"))
        return replace(some, expected_count=len(indices))


def load(root: PathLike, subset: str, keep_damaged: bool = False) -> Cofw:
    """The faces of one subset; no image is read before it is asked for.

    Args:
        root: The folder that holds `COFW_train_color.mat` and `COFW_test_color.mat`.
        subset: One of `SUBSETS`.
        keep_damaged: Keep a face whose row makes no sense; asking for it then says why.

    Raises:
        FileNotFoundError: The subset's file is not there.
        ValueError: The subset is unknown, or its file is damaged or another one.
    """
    check_subset("COFW", subset, SUBSETS)
    layout, count = FILES[subset], SUBSETS[subset]
    path = Path(root) / layout.name
    phis, boxes = _read_tables(path, layout, count)
    names = tuple(f"{subset}/{row + 1:04d}" for row in range(count))
    # MATLAB counts pixels from 1; widths stay as they are.
    points = phis[:, : 2 * _K].reshape(count, 2, _K).transpose(0, 2, 1) - 1
    corners = boxes[:, :2] - 1
    boxes = np.hstack([corners, corners + boxes[:, 2:]])
    has_place = (np.abs(points) <= FARTHEST).all(axis=(1, 2))
    has_area = (np.abs(boxes) <= FARTHEST).all(axis=1) & (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    damaged = {}
    for row in np.flatnonzero(~(has_place & has_area)):
        what = "the box has no area" if has_place[row] else "a landmark has no coordinates"
        damaged[names[row]] = f"{path}: face {names[row]}: {what}; {_AGAIN}, or leave the face out"
        points[row], boxes[row] = np.nan, np.nan
    if damaged and not keep_damaged:
        raise ValueError(next(iter(damaged.values())))
    return Cofw(
        names=names,
        path=path,
        image_field=layout.images,
        rows=np.arange(count),
        points=points,
        occluded=phis[:, 2 * _K :] == 1,
        boxes=boxes,
        damaged=damaged,
        expected_count=count,
    )


def _read_tables(path: Path, layout: _File, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The points with their occlusion (count, 87) and the boxes (count, 4), both as they stand in the file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no HDF5 file, or not this one of COFW's.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file; put COFW's colour file of that name there")
    if not h5py.is_hdf5(path):
        raise ValueError(f"{path}: not an HDF5 file, which COFW's colour files are (MATLAB 7.3); {_AGAIN}")
    try:
        with h5py.File(path, "r") as file:
            _check_images(file, layout.images, count)
            return _table(file, layout.points, (3 * _K, count)), _table(file, layout.boxes, (4, count))
    except _HDF5_ERRORS as error:
        raise ValueError(f"{path}: not COFW's {layout.name}: {_text(error)}; {_AGAIN}") from error


def _check_images(file: h5py.File, name: str, count: int) -> None:
    cells = _dataset(file, name)
    if h5py.check_ref_dtype(cells.dtype) is not h5py.Reference:
        raise ValueError(f"its {name} is no cell array")
    if cells.size != count:
        raise ValueError(f"its {name} has {cells.size} images, not {count}")


def _table(file: h5py.File, name: str, shape: tuple[int, int]) -> np.ndarray:
    """A numeric field of this shape in the file, turned back to MATLAB's."""
    values = _dataset(file, name)
    if values.shape != shape or values.dtype.kind not in "biuf":
        raise ValueError(f"its {name} is {values.shape[::-1]} where {shape[::-1]} numbers are due")
    return np.asarray(values[()], np.float64).T


def _dataset(file: h5py.File, name: str) -> h5py.Dataset:
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"it has no field '{name}'")
    return _stored(file[name], name)


def _stored(values: object, name: str) -> h5py.Dataset:
    """A dataset of the file itself, small enough to be one of COFW's.

    Raises:
        ValueError: it is none, its numbers lie in another file, or it is too large.
    """
    if not isinstance(values, h5py.Dataset):
        raise ValueError(f"its '{name}' is no array")
    if values.external or values.is_virtual:
        raise ValueError(f"its '{name}' lies in another file")
    if values.nbytes > _LARGEST:
        raise ValueError(f"its '{name}' of {values.shape} would take {values.nbytes / 2**20:,.0f} MB")
    return values


def _upright(stored: np.ndarray) -> np.ndarray:
    """An image as it is stored, (W, H) or (C, W, H), as (H, W, 3) uint8 RGB."""
    image = stored.T
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3)):
        raise ValueError(f"it is {image.dtype} of {image.shape}, not an image of 8 bits, grey or RGB")
    if image.ndim == 2:
        image = image[:, :, None]
    return np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)))


def _text(error: Exception) -> str:
    # str() of a KeyError is its repr.
    return " ".join(str(error.args[0] if error.args else error).split())[:120] or type(error).__name__
