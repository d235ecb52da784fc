"""300W-LP and AFLW2000-3D: 68 points that follow the face out of sight, in MATLAB files beside photos of 450 x 450.

Zhu et al., "Face Alignment Across Large Poses: A 3D Solution" (2016), made both: 300W-LP by turning the faces of 300-W
to large yaws, AFLW2000-3D by fitting a face model to the first 2,000 photos of AFLW.

Coordinates count from 1 in the files, as MATLAB's do, and from 0 here. No description says so. In AFLW2000-3D it
shows: its `pt2d` marks a hidden point with -1, and where y was turned upside down after that it says 452, which is
450 + 1 - (-1); 3DDFA's code turns y the same way ("std_size + 1 - y"). That 300W-LP, of the same makers, counts alike
is assumed. Published loaders differ: most of them subtract nothing.

The `roi` of AFLW2000-3D's files is a square in pixels of the original photo, of which the 450 x 450 pixels are a scaled
cut; it is no face box in the picture that is shipped, and is not read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import ClassVar, Mapping, Sequence, Tuple

import numpy as np

from datasets.annotated_photos import AnnotatedPhotos, read_each
from datasets.geometry import all_placed
from datasets.images import PathLike
from datasets.inventory import by_name, files, needed_folder, refuse_incomplete
from datasets.markups import IBUG_68
from datasets.mat_files import read_fields

# Without the mirrored copies, of which there are as many: 61,225 faces, as TensorFlow Datasets' the300w_lp counts them.
PARTS = {"AFW": 5207, "HELEN": 37676, "IBUG": 1786, "LFPW": 16556}
POINTS = {"2d": "pts_2d", "3d": "pts_3d"}
AFLW2000_COUNT = 2000
# Absolute yaw in degrees, above the first and up to the second, as in 3DDFA's benchmark_aflw2000.py; the last is open,
# as some of the faces are turned beyond 90 degrees.
YAW_GROUPS = {"0-30": (-np.inf, 30.0), "30-60": (30.0, 60.0), "60-90": (60.0, np.inf)}

_WHERE = "name the folder that holds its photos"
Entry = Tuple[str, Path, Path]
Shapes = Mapping[str, Tuple[int, int]]


@dataclass(frozen=True, eq=False)
class Aflw2000(AnnotatedPhotos):
    """Faces of AFLW2000-3D by number; a face's name is its file name, without extension.

    Attributes:
        yaw: (n,) degrees, of the fitted model, positive and negative; NaN where the annotation is damaged.
    """

    yaw: np.ndarray = field(default_factory=lambda: np.zeros(0))

    _PER_FACE: ClassVar[tuple[str, ...]] = (*AnnotatedPhotos._PER_FACE, "yaw")


def load(
    root: PathLike, points: str = "3d", mirrored: bool = False, allow_missing: bool = False, keep_damaged: bool = False
) -> AnnotatedPhotos:
    """The faces of 300W-LP; a face's name is its folder and file name, without extension.

    They include turned copies of the photos that 300-W tests on, all of iBUG among them.

    Args:
        root: The folder that holds `AFW`, `HELEN`, `IBUG`, `LFPW` and `landmarks`, or the folder around `300W_LP`.
        points: "2d" follows the visible outline, "3d" is the projection of points that stay where they are on the head.
        mirrored: Take the mirrored copies in `AFW_Flip` and so on too, whose points lie in `landmarks` likewise.
        allow_missing: Take what is there; `expected_count` and `missing` tell what is not.
        keep_damaged: Keep a face whose annotation cannot be read; asking for it then says why.

    Raises:
        FileNotFoundError: A part is not there, or with `allow_missing` all of it.
        ValueError: The points are unknown, an annotation is damaged, or a folder holds more than was shipped.
    """
    if points not in POINTS:
        raise ValueError(f"300W-LP has no points '{points}'; it has {', '.join(POINTS)}")
    home = _find_home(root, "300W_LP", ", ".join([*PARTS, "landmarks"]))
    folders = {name: count for part, count in PARTS.items() for name in (part, f"{part}_Flip")[: 1 + mirrored]}
    entries: list[Entry] = []
    missing: list[str] = []
    for name, count in folders.items():
        found, lacking = _pair(home / name, home / "landmarks" / name, "_pts.mat", count, name)
        entries += [(f"{name}/{stem}", photo, annotation) for stem, photo, annotation in found]
        missing += lacking
    expected = sum(folders.values())
    refuse_incomplete(f"{home}: 300W-LP", (len(entries), expected), missing, allow_missing, _WHERE)
    # The points stand in rows here, (68, 2), unlike those of the fitted models.
    fields, damaged = _read_all(entries, {POINTS[points]: (IBUG_68.num_landmarks, 2)}, keep_damaged)
    return AnnotatedPhotos(
        names=tuple(name for name, _, _ in entries),
        image_paths=tuple(photo for _, photo, _ in entries),
        points=fields[POINTS[points]] - 1,
        markup=IBUG_68,
        damaged=damaged,
        expected_count=expected,
        missing=tuple(missing),
    )


def load_aflw2000(root: PathLike, allow_missing: bool = False, keep_damaged: bool = False) -> Aflw2000:
    """The faces of AFLW2000-3D, whose points are the projected ones; `yaw_groups` parts them by yaw.

    Args:
        root: The folder that holds `image00002.jpg`, `image00002.mat` and so on, or the folder around `AFLW2000`.
        allow_missing: Take what is there; `expected_count` and `missing` tell what is not.
        keep_damaged: Keep a face whose annotation cannot be read; asking for it then says why.

    Raises:
        FileNotFoundError: Faces are missing, or with `allow_missing` all of them.
        ValueError: An annotation is damaged, or the folder holds more than was shipped.
    """
    home = _find_home(root, "AFLW2000", "image00002.jpg, image00002.mat and so on")
    entries, missing = _pair(home, home, ".mat", AFLW2000_COUNT, home.name)
    counts = (len(entries), AFLW2000_COUNT)
    refuse_incomplete(f"{home}: AFLW2000-3D", counts, missing, allow_missing, _WHERE)
    shapes = {"pt3d_68": (3, IBUG_68.num_landmarks), "Pose_Para": (1, 7)}
    fields, damaged = _read_all(entries, shapes, keep_damaged)
    return Aflw2000(
        names=tuple(name for name, _, _ in entries),
        image_paths=tuple(photo for _, photo, _ in entries),
        points=fields["pt3d_68"][:, :2].transpose(0, 2, 1) - 1,
        markup=IBUG_68,
        damaged=damaged,
        # Pitch, yaw, roll in radians, then the shift and the scale.
        yaw=np.degrees(fields["Pose_Para"][:, 0, 1]),
        expected_count=AFLW2000_COUNT,
        missing=tuple(missing),
    )


def yaw_groups(yaw: np.ndarray) -> dict[str, np.ndarray]:
    """Numbers of the faces in each of `YAW_GROUPS`, by their yaw (n,) in degrees; one without a yaw is in none."""
    turned = np.abs(yaw)
    return {name: np.flatnonzero((turned > low) & (turned <= high)) for name, (low, high) in YAW_GROUPS.items()}


def read_mat(path: PathLike, shapes: Shapes) -> dict[str, np.ndarray]:
    """Reads arrays of numbers from a MATLAB file of version 5.

    Args:
        path: The file.
        shapes: What each of the fields to read must measure.

    Returns:
        Each field as float64.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, or lacks a field, or a field is not what it must be.
    """
    try:
        content = read_fields(path, tuple(shapes))
        return {name: _field(name, content[name], shape) for name, shape in shapes.items()}
    except ValueError as error:
        raise ValueError(f"{path}: not a readable .mat file: {error}; restore it from the original data") from None


def _field(name: str, values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    if values.shape != shape:
        raise ValueError(f"its field {name} is {values.shape}, not {shape}")
    if values.dtype.kind not in "fiu" or not all_placed(values):
        raise ValueError(f"its field {name} has values that are not finite numbers of pixels")
    return values.astype(np.float64)


def _read_all(
    entries: Sequence[Entry], shapes: Shapes, keep_damaged: bool
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Fields (n, ...) of all annotations, NaN where damaged, and what is wrong with those, by face name."""
    blank = {name: np.full(shape, np.nan) for name, shape in shapes.items()}
    annotations = {face: annotation for face, _, annotation in entries}
    found, damaged = read_each(annotations, partial(read_mat, shapes=shapes), blank, keep_damaged)
    return {name: np.stack([each[name] for each in found]) for name in shapes}, damaged


def _find_home(root: PathLike, inner: str, layout: str) -> Path:
    home = needed_folder(root, f"the one that holds {layout}")
    return home / inner if (home / inner).is_dir() else home


def _pair(photos: Path, annotations: Path, ending: str, count: int, name: str) -> tuple[list[Entry], list[str]]:
    """(stem, photo, annotation) of each face, sorted by stem, and in words what the folders lack.

    Raises:
        ValueError: There are more faces than were shipped.
    """
    for folder, what in ((photos, name), (annotations, f"landmarks/{name}")):
        if not folder.is_dir():
            return [], [f"{what}: no such folder (0 of {count})"]
    images = by_name(files(photos, (".jpg",)))
    marks = by_name(files(annotations, (ending,)), lambda path: path.name[: -len(ending)])
    pairs = [(stem, images[stem], marks[stem]) for stem in sorted(images) if stem in marks]
    if len(pairs) > count:
        raise ValueError(f"{photos}: {len(pairs)} faces where {count} were shipped; move what is not its own away")
    missing = [f"{name}: {len(pairs)} of {count}"] if len(pairs) < count else []
    missing += [f"{name}/{images[stem].name} has no {stem}{ending}" for stem in sorted(images) if stem not in marks]
    missing += [f"{name}: {marks[stem].name} has no image" for stem in sorted(marks) if stem not in images]
    return pairs, missing
