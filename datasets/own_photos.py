"""A user's folder of photos and landmark files: which file labels which photo, and what in there is not used.

`<photo>.pts` labels a photo's only face, `<photo>_<number>.pts` one of several, as `predict.py` writes them; the photo
lies in the same folder. Upper and lower case of extensions do not matter.
"""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import Iterable, NamedTuple

import numpy as np

from common.readers import read_json
from datasets.geometry import LEAST_SIDE, landmark_box
from datasets.inventory import files, say_unused
from datasets.photo_formats import PHOTO_LIKE, PHOTO_SUFFIXES, why_unread
from datasets.pts_files import read_pts
from datasets.units import check_pixels

LABEL_SUFFIX = ".pts"
OTHER_LABELS = (".txt", ".json", ".xml", ".csv", ".mat", ".t7", ".npy", ".land", ".lms")
SAME_FACE = 0.7  # of the union of two landmark boxes that they share
NO_LABEL, NO_PHOTO, DRAWN = "without a .pts file of their name", "labels without a photo", "copies that predict.py drew"


class OwnPhoto(NamedTuple):
    """A photo and the landmark files of its faces, at least one."""

    path: Path
    labels: tuple[Path, ...]


def find_photos(home: Path) -> list[OwnPhoto]:
    """The labelled photos below a folder, sorted by path; says which files look like photos or labels and are neither.

    Raises:
        FileNotFoundError: There is none.
        ValueError: It is unclear which photo a file labels, or it labels what predict.py drew.
    """
    unused: dict[str, list[Path]] = {}
    like_photos, labels = files(home, PHOTO_LIKE, below=True), files(home, (LABEL_SUFFIX,), below=True)
    readable: dict[Path, list[Path]] = {}
    others: set[Path] = set()
    for path in like_photos:
        if path.name.lower().endswith(PHOTO_SUFFIXES):
            readable.setdefault(_stem(path), []).append(path)
        else:
            others.add(_stem(path))
            unused.setdefault(why_unread(path), []).append(path)
    labels_of: dict[Path, dict[Path, Path]] = {}
    for label, owner in _owners(labels, {*readable, *others}).items():
        if owner is None:
            unused.setdefault(NO_PHOTO, []).append(label)
        elif owner in readable:
            _add_label(labels_of.setdefault(owner, {}), label)
    found = []
    for owner, paths in readable.items():
        photo, passed_over = _one_photo(owner, paths, owner in labels_of)
        unused.setdefault(DRAWN, []).extend(passed_over)
        if owner in labels_of and photo is not None:
            found.append(OwnPhoto(photo, tuple(labels_of[owner].values())))
        else:
            unused.setdefault(NO_LABEL, []).extend(path for path in paths if path not in passed_over)
    if not found:
        raise FileNotFoundError(f"{home}: no photo has a .pts file of its name beside it{_other_labels(readable)}")
    say_unused(home, unused)
    return sorted(found)


def _stem(path: Path) -> Path:
    """A file without its extension; accented letters are one sign, as a Mac writes them in two."""
    return Path(unicodedata.normalize("NFC", str(path.with_suffix(""))))


def _owners(labels: list[Path], photos: set[Path]) -> dict[Path, Path | None]:
    """The photo, of those without extension, that each label is of.

    Raises:
        ValueError: It may be of two, as x_1.pts of x_1.jpg or, as its first face, of x.jpg.
    """
    stems = {label: _stem(label) for label in labels}
    with_faces = {_photo_and_number(stem)[0] for stem in stems.values() if stem not in photos}
    named = set(stems.values())
    return {label: _owner(stem, photos, named, with_faces) for label, stem in stems.items()}


def _owner(stem: Path, photos: set[Path], labels: set[Path], with_faces: set[Path]) -> Path | None:
    """As `_owners`, of one label; `with_faces` are photos of which only `<photo>_<number>.pts` can be a label."""
    photo, number = _photo_and_number(stem)
    if photo == stem or not {photo, stem} <= photos:
        return next((each for each in (stem, photo) if each in photos), None)
    if photo in labels:  # x.pts is there, so points have the names of their photos
        return stem
    if stem in with_faces:  # x_1_1.pts is there, so faces have numbers
        return photo
    if number != "1" and photo.with_name(f"{photo.name}_{int(number) - 1}") not in labels:
        return stem  # predict.py leaves out no number and writes no 01: this is that of a photo such as 12_3.jpg
    raise ValueError(
        f"{stem}{LABEL_SUFFIX}: points of the photo {stem.name}, or of face {number} of {photo.name}? Name it "
        f"{stem.name}_1{LABEL_SUFFIX} for the first; rename the photo {stem.name} for the second"
    )


def _photo_and_number(stem: Path) -> tuple[Path, str]:
    """What `<photo>_<number>` is made of; the whole and an empty number where it is not."""
    match = re.fullmatch(r"(.+)_(\d+)", stem.name, re.DOTALL)
    return (stem.with_name(match[1]), match[2]) if match else (stem, "")


def _add_label(labels: dict[Path, Path], label: Path) -> None:
    other = labels.setdefault(_stem(label), label)
    if other != label:
        raise ValueError(f"{label}: the same face as {other.name}; remove one of the two")


def _one_photo(owner: Path, paths: list[Path], labelled: bool) -> tuple[Path | None, list[Path]]:
    """The photo among files that differ by their extension alone, and those of them that predict.py drew."""
    drawn = [path for path in paths if path.suffix == ".png" and _is_drawn(owner)]
    photos = [path for path in paths if path not in drawn]
    if not labelled:
        return None, drawn
    if not photos:
        raise ValueError(
            f"{drawn[0]} is a copy that predict.py drew the points into, as {owner.name}.json beside it says: put the "
            ".pts files beside the photos; or, if this is the photo, move the .json away"
        )
    if len(photos) > 1:
        names = " and ".join(path.name for path in photos)
        raise ValueError(
            f"{photos[0].parent}: {names} have one .pts file between them; remove or rename one of the two"
        )
    return photos[0], drawn


def _is_drawn(owner: Path) -> bool:
    """Whether the record lies beside it that predict.py writes with a drawn copy."""
    record = owner.with_name(f"{owner.name}.json")
    try:
        content = read_json(record)
    except (OSError, ValueError):
        return False
    return {"image", "faces", "coordinates"} <= set(content)


def _other_labels(photos: Iterable[Path]) -> str:
    """A hint at files of other kinds beside the photos."""
    for photo in photos:
        for suffix in OTHER_LABELS:
            if photo.with_name(photo.name + suffix).is_file():
                return f" ({photo.name}{suffix} is there: write its points as a .pts file, see docs/data.md)"
    return "; put them there, see docs/data.md"


def read_face(label: Path) -> np.ndarray:
    """The points (K, 2) of one face, in pixels counted from 0.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is damaged, or its points cannot be those of a face.
    """
    points = read_pts(label)
    missing = ((points == -1) | (points == -2)).all(axis=1)  # 0 and -1 in the file, which counts from 1
    if missing.any():
        x, y = points[missing][0] + 1
        raise ValueError(
            f"{label}: the point {x:g} {y:g} marks one that is missing, for which .pts files have no sign: place it or "
            "leave the face out"
        )
    box = landmark_box(points)
    check_pixels(box, str(label))
    if (box[2:] - box[:2]).min() < LEAST_SIDE:
        raise ValueError(f"{label}: its points are level or above each other, so their box has no area: mark one more")
    return points


def refuse_same_face(labels: list[Path], points: list[np.ndarray]) -> None:
    """Refuses two files of a photo that label one face twice.

    Args:
        labels: The files of one photo.
        points: Of each, (K, 2) pixels.

    Raises:
        ValueError: Two do.
    """
    boxes = [landmark_box(each) for each in points]
    for k, box in enumerate(boxes):
        for earlier in range(k):
            if _shared(box, boxes[earlier]) > SAME_FACE:
                raise ValueError(f"{labels[k]}: the same face as {labels[earlier].name}; remove one of the two")


def _shared(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two boxes (4,)."""
    sides = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
    common = float(np.prod(np.clip(sides, 0, None)))
    whole = float(np.prod(first[2:] - first[:2]) + np.prod(second[2:] - second[:2])) - common
    return common / whole if whole > 0 else 0.0
