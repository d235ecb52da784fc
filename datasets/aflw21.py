"""AFLW with all of its 21 points, as its own database `aflw.sqlite` holds them (Koestinger et al., 2011).

Only landmarks that are visible are annotated there. No training and test parts are published for it; the 19 points with
FFLD's protocols are in `datasets.aflw`.
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from time import monotonic
from typing import NamedTuple, Sequence

import numpy as np

from datasets.aflw import Aflw, face_name, find_photos, photo_of, with_damage, with_photos
from datasets.ibug_300w import is_validation
from datasets.images import PathLike
from datasets.inventory import check_subset, listed_path
from datasets.markups import AFLW_21

__all__ = ["DATABASE_NAME", "SUBSETS", "load"]

DATABASE_NAME = "aflw.sqlite"
DATABASE_FOLDERS = ("", "data", "aflw/data")

# The validation part goes by the photo, as in training, so a network trained on "train" has seen none of it.
SUBSETS = ("train", "validation", "all")

# What the database calls the points of AFLW_21, in that order; "Left" is the viewer's.
POINT_NAMES = (
    *("LeftBrowLeftCorner", "LeftBrowCenter", "LeftBrowRightCorner"),
    *("RightBrowLeftCorner", "RightBrowCenter", "RightBrowRightCorner"),
    *("LeftEyeLeftCorner", "LeftEyeCenter", "LeftEyeRightCorner"),
    *("RightEyeLeftCorner", "RightEyeCenter", "RightEyeRightCorner"),
    *("LeftEar", "NoseLeft", "NoseCenter", "NoseRight", "RightEar"),
    *("MouthLeftCorner", "MouthCenter", "MouthRightCorner", "ChinCenter"),
)

_TABLES = ("Faces", "FaceImages", "FaceRect", "FeatureCoords", "FeatureCoordTypes")
_PATIENCE = 60.0  # seconds; AFLW's own 25,993 faces take one
_MOST_ROWS = 2_000_000  # AFLW has 380,000 landmarks

_FACES = """
    SELECT Faces.face_id, substr(FaceImages.filepath, 1, 1000), FaceRect.x, FaceRect.y, FaceRect.w, FaceRect.h
    FROM Faces
    JOIN FaceImages ON FaceImages.file_id = Faces.file_id
    JOIN FaceRect ON FaceRect.face_id = Faces.face_id
    GROUP BY Faces.face_id ORDER BY Faces.face_id
"""
_POINTS = """
    SELECT FeatureCoords.face_id, substr(FeatureCoordTypes.descr, 1, 100), FeatureCoords.x, FeatureCoords.y
    FROM FeatureCoords JOIN FeatureCoordTypes ON FeatureCoordTypes.feature_id = FeatureCoords.feature_id
"""


class Annotated(NamedTuple):
    """All faces of the database that have a box and a landmark, n of them, by their number.

    Attributes:
        numbers: n numbers, ascending.
        photos: n paths below the photos' folder.
        points: (n, 21, 2) float64; NaN where a landmark is not annotated.
        boxes: (n, 4) float64, x0, y0, x1, y1.
    """

    numbers: tuple[int, ...]
    photos: tuple[str, ...]
    points: np.ndarray
    boxes: np.ndarray

    def rows(self, subset: str) -> np.ndarray:
        """The rows of a subset."""
        held_out = [is_validation(photo_of(face_name(*face))) for face in zip(self.photos, self.numbers)]
        validates = np.array(held_out, dtype=bool)
        return np.flatnonzero({"train": ~validates, "validation": validates, "all": validates | True}[subset])


def load(root: PathLike, subset: str, allow_missing: bool = False, keep_damaged: bool = False) -> Aflw:
    """The faces of one subset; no photo is read before it is asked for.

    Args:
        root: The folder that holds `aflw.sqlite`, or the folder around its `data` or `aflw/data`, and the photos as in
            `datasets.aflw`.
        subset: One of `SUBSETS`.
        allow_missing: Take what is there; `expected_count` and `missing` tell what is not.
        keep_damaged: Keep a face whose row makes no sense; asking for it then says why.

    Returns:
        Faces whose `visible` says which landmarks are annotated; the others are NaN.

    Raises:
        FileNotFoundError: The database is not there, or photos, or with `allow_missing` all of them.
        ValueError: The subset is unknown, or the database is damaged.
    """
    check_subset("AFLW with 21 points", subset, SUBSETS)
    path = find_database(Path(root))
    annotated = read_database(path)
    rows = annotated.rows(subset)
    folder = find_photos(Path(root), annotated.photos)
    points = annotated.points[rows]
    faces = Aflw(
        names=tuple(face_name(annotated.photos[row], annotated.numbers[row]) for row in rows),
        image_paths=tuple(listed_path(folder, annotated.photos[row], path) for row in rows),
        points=points,
        markup=AFLW_21,
        visible=np.isfinite(points).all(axis=2),
        boxes=annotated.boxes[rows],
        expected_count=len(rows),
    )
    faces = with_photos(faces, f"{path}: AFLW {subset}", allow_missing)
    return with_damage(faces, path, "unpack the database again", keep_damaged)


def find_database(root: Path) -> Path:
    """`aflw.sqlite` in one of `DATABASE_FOLDERS`; FileNotFoundError if it is in none."""
    for folder in DATABASE_FOLDERS:
        if (root / folder / DATABASE_NAME).is_file():
            return root / folder / DATABASE_NAME
    raise FileNotFoundError(f"{root}: there is no {DATABASE_NAME} here; put AFLW's database there")


def read_database(path: PathLike) -> Annotated:
    """Reads the tables Faces, FaceImages, FaceRect, FeatureCoords and FeatureCoordTypes.

    A face without a rectangle, or without any of the 21 landmarks, is left out. Assumed: pixels count from 0, as those
    of the program that made the annotation do.

    Raises:
        ValueError: It is no such database.
    """
    try:
        # An immutable file is never written to, nor is a journal laid beside it.
        with closing(sqlite3.connect(f"{Path(path).absolute().as_uri()}?immutable=1", uri=True)) as database:
            _limit(database)
            faces = _rows(database, _FACES)
            landmarks = _rows(database, _POINTS)
            known = {name for (name,) in _rows(database, "SELECT substr(descr, 1, 100) FROM FeatureCoordTypes")}
    except (sqlite3.Error, UnicodeError, OverflowError, MemoryError) as error:
        raise ValueError(f"{path}: not AFLW's database: {error}; unpack it again") from error
    absent = [name for name in POINT_NAMES if name not in known]
    if absent or not faces:
        what = f"it has no landmark '{absent[0]}'" if absent else "it has no face"
        raise ValueError(f"{path}: not AFLW's database: {what}; unpack it again")
    try:
        return _arranged(faces, landmarks)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: not AFLW's database: {error}; unpack it again") from error


def _limit(database: sqlite3.Connection) -> None:
    """Has the database end what takes too long, and refuses tables that are computed: a view may never end.

    Raises:
        sqlite3.DatabaseError: a table is missing, or is none.
    """
    started = monotonic()
    database.set_progress_handler(lambda: monotonic() - started > _PATIENCE, 1_000_000)
    database.execute("PRAGMA trusted_schema = OFF")
    plain = {
        name
        for name, text in database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'")
        if re.match(r"\s*CREATE\s+TABLE\b", str(text), re.IGNORECASE) and "GENERATED" not in str(text).upper()
    }
    absent = [name for name in _TABLES if name not in plain]
    if absent:
        raise sqlite3.DatabaseError(f"no such table: {absent[0]}")


def _rows(database: sqlite3.Connection, query: str) -> list[tuple]:
    rows = database.execute(query).fetchmany(_MOST_ROWS + 1)
    if len(rows) > _MOST_ROWS:
        raise sqlite3.DatabaseError(f"more than {_MOST_ROWS:,} rows")
    return rows


def _arranged(faces: Sequence[tuple], landmarks: Sequence[tuple]) -> Annotated:
    row_of = {face[0]: row for row, face in enumerate(faces)}
    column_of = {name: column for column, name in enumerate(POINT_NAMES)}
    points = np.full((len(faces), len(POINT_NAMES), 2), np.nan)
    for number, name, x, y in landmarks:
        if number in row_of and name in column_of:
            points[row_of[number], column_of[name]] = x, y
    corners = np.array([face[2:] for face in faces], dtype=np.float64)
    boxes = np.hstack([corners[:, :2], corners[:, :2] + corners[:, 2:]])
    points[~np.isfinite(points).all(axis=2)] = np.nan
    kept = np.flatnonzero(~np.isnan(points).all(axis=(1, 2)))
    return Annotated(
        numbers=tuple(int(faces[row][0]) for row in kept),
        photos=tuple(str(faces[row][1]) for row in kept),
        points=points[kept],
        boxes=boxes[kept],
    )
