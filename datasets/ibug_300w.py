"""300-W: 68 points on photos of AFW, HELEN, LFPW, iBUG and the challenge's private set, in its distributor's folders.

`python -m datasets.ibug_300w DIR` lists what is there against what should be.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Mapping, Sequence, Union

import numpy as np

from datasets.faces import Face
from datasets.geometry import landmark_box
from datasets.images import read_image, write_whole
from datasets.markups import IBUG_68, Markup

PathLike = Union[str, "os.PathLike[str]"]

PARTS = {
    "afw": 337,
    "helen/trainset": 2000,
    "lfpw/trainset": 811,
    "helen/testset": 330,
    "lfpw/testset": 224,
    "ibug": 135,
    "300w/01_Indoor": 300,
    "300w/02_Outdoor": 300,
}

SUBSETS = {
    "train": ("afw", "helen/trainset", "lfpw/trainset"),
    "common": ("helen/testset", "lfpw/testset"),
    "challenging": ("ibug",),
    "full": ("helen/testset", "lfpw/testset", "ibug"),
    "private": ("300w/01_Indoor", "300w/02_Outdoor"),
    "helen_test": ("helen/testset",),
    "lfpw_test": ("lfpw/testset",),
}

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True, eq=False)
class Ibug300W:
    """Faces of 300-W by number; see `datasets.faces.FaceDataset`.

    Attributes:
        names: The face's path below the data set's folder, without extension.
        image_paths: The photo of each face.
        points: (n, 68, 2) float64, x then y in pixels of the photo, counted from 0.
        expected_count: How many faces the whole subset has; more than `len(self)` where parts are missing.
        missing: What the subset lacks, in words, one line each.
        damaged: What is wrong with a face's annotation, by the face's name; its points are NaN.
    """

    names: tuple[str, ...]
    image_paths: tuple[Path, ...]
    points: np.ndarray
    expected_count: int
    missing: tuple[str, ...] = ()
    damaged: Mapping[str, str] = field(default_factory=dict)
    markup: Markup = IBUG_68

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Face:
        """Reads the photo; the box is the tight box of the landmarks.

        Raises:
            ValueError: The photo or its annotation is damaged.
        """
        if self.names[index] in self.damaged:
            raise ValueError(self.damaged[self.names[index]])
        points = self.points[index]
        # The annotations count in the stored pixels, whatever way up a viewer would turn them.
        image = read_image(self.image_paths[index], apply_orientation=False)
        return Face(image, points, landmark_box(points), self.names[index])

    def subset(self, indices: Sequence[int]) -> Ibug300W:
        """The faces with these numbers, in this order, as a whole of their own."""
        chosen = [int(index) for index in indices]
        return replace(
            self,
            names=tuple(self.names[k] for k in chosen),
            image_paths=tuple(self.image_paths[k] for k in chosen),
            points=self.points[chosen],
            expected_count=len(chosen),
            missing=(),
        )


@dataclass(frozen=True)
class Part:
    """One folder of the distributor's layout: its faces, and what is wrong with it.

    Attributes:
        name: The folder, as in `PARTS`.
        folder: Where it was found, or None.
        pairs: (stem, image, annotation) of each face, sorted by stem.
        missing: What it lacks, in words, one line each.
    """

    name: str
    folder: Path | None
    pairs: tuple[tuple[str, Path, Path], ...]
    missing: tuple[str, ...]


def load(root: PathLike, subset: str, allow_missing: bool = False, keep_damaged: bool = False) -> Ibug300W:
    """The faces of one subset.

    Args:
        root: The folder that holds `afw`, `helen`, `lfpw`, `ibug` and `300w`, or the folder around it.
        subset: One of `SUBSETS`.
        allow_missing: Take what is there; `expected_count` and `missing` tell what is not.
        keep_damaged: Keep a face whose annotation cannot be read; asking for it then says why.

    Raises:
        FileNotFoundError: A part of the subset is not there, or with `allow_missing` all of it.
        ValueError: The subset is unknown, an annotation is damaged, or a folder holds more than was shipped.
    """
    if subset not in SUBSETS:
        raise ValueError(f"300-W has no subset '{subset}'; it has {', '.join(SUBSETS)}")
    home = find_root(root)
    parts = [find_part(home, name) for name in SUBSETS[subset]]
    expected = sum(PARTS[part.name] for part in parts)
    missing = tuple(line for part in parts for line in part.missing)
    faces = [(f"{part.name}/{stem}", image, pts) for part in parts for stem, image, pts in part.pairs]
    if not faces or (missing and not allow_missing):
        raise FileNotFoundError(_incomplete(home, subset, len(faces), expected, missing))
    points, damaged = read_annotations({name: pts for name, _, pts in faces}, IBUG_68.num_landmarks, keep_damaged)
    return Ibug300W(
        names=tuple(name for name, _, _ in faces),
        image_paths=tuple(image for _, image, _ in faces),
        points=points,
        expected_count=expected,
        missing=missing,
        damaged=damaged,
    )


def read_annotations(
    paths: Mapping[str, Path], num_landmarks: int, keep_damaged: bool
) -> tuple[np.ndarray, dict[str, str]]:
    """Points (n, num_landmarks, 2) of `.pts` files by face name, and what is wrong with those that are damaged.

    Raises:
        ValueError: A file is damaged, unless `keep_damaged`, which leaves its points NaN.
    """
    points = np.full((len(paths), num_landmarks, 2), np.nan)
    damaged: dict[str, str] = {}
    for index, (name, path) in enumerate(paths.items()):
        try:
            points[index] = read_pts(path, num_landmarks)
        except ValueError as error:
            if not keep_damaged:
                raise
            damaged[name] = str(error)
    return points, damaged


def split_validation(dataset: Ibug300W) -> tuple[Ibug300W, Ibug300W]:
    """Parts a training set into (train, validation), the same for every system.

    `is_validation` is the rule, from which the loaders of other data sets may choose theirs too.
    """
    held_out = [is_validation(name) for name in dataset.names]
    numbers = range(len(dataset))
    return (
        dataset.subset([k for k in numbers if not held_out[k]]),
        dataset.subset([k for k in numbers if held_out[k]]),
    )


def is_validation(name: str) -> bool:
    """Whether the training face of this name, its path without extension, is kept for validation.

    It is if the SHA-1 of its photo's name, read as an integer, is 0 modulo 10. That name is the file's without folder
    and extension, in UTF-8, so the split does not depend on how photos are stored. AFW has a file per face; its photo's
    name goes without the face's index, so that the faces of one photo stay together.
    """
    folder, _, photo = name.rpartition("/")
    if folder == "afw":
        photo = re.sub(r"_\d+$", "", photo)
    return int(hashlib.sha1(photo.encode("utf-8")).hexdigest(), 16) % 10 == 0


def read_pts(path: PathLike, num_landmarks: int | None = None) -> np.ndarray:
    """Reads a `.pts` file, whose pixels count from 1.

    Args:
        path: The file.
        num_landmarks: How many points it must have; whatever its own header says if None.

    Returns:
        (k, 2) float64, x then y in pixels counted from 0.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, or has another number of points.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"{path}: there is no such .pts file; check the path")
    text = Path(path).read_bytes().decode("utf-8", errors="replace")
    try:
        points = _parse_pts(text)
        if num_landmarks is not None and len(points) != num_landmarks:
            raise ValueError(f"it has {len(points)} points, not {num_landmarks}")
    except ValueError as error:
        raise ValueError(f"{path}: not a readable .pts file: {error}; restore it from the original data") from None
    return points - 1


def write_pts(path: PathLike, points: np.ndarray) -> None:
    """Writes points (k, 2), in pixels counted from 0, as a `.pts` file, whose pixels count from 1; whole or not at all.

    Raises:
        ValueError: The points are not (k, 2), or not all finite, which the format has no way to say.
    """
    if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
        raise ValueError(f"{path}: points to write are finite and (k, 2), these are {points.shape}")
    rows = "".join(f"{x:.6f} {y:.6f}\n" for x, y in points + 1)
    write_whole(path, f"version: 1\nn_points: {len(points)}\n{{\n{rows}}}\n".encode("ascii"))


def _parse_pts(text: str) -> np.ndarray:
    """Points (k, 2) as they stand in the text; ValueError says what is wrong with it."""
    if not text.strip():
        raise ValueError("it is empty")
    header, opening, rest = text.partition("{")
    body, closing, _ = rest.partition("}")
    if not (opening and closing):
        raise ValueError("its points do not stand between { and }")
    points = np.array([_parse_row(row) for row in body.splitlines() if row.strip()], dtype=np.float64)
    declared = _declared_count(header)
    if len(points) == 0 or (declared is not None and len(points) != declared):
        raise ValueError(f"it has {len(points)} points where its header says {declared}")
    return points


def _parse_row(row: str) -> list[float]:
    try:
        numbers = [float(word) for word in row.split()]
    except ValueError:
        numbers = []
    if len(numbers) != 2 or not np.isfinite(numbers).all():
        raise ValueError(f"the line '{row.strip()[:40]}' is not two numbers")
    return numbers


def _declared_count(header: str) -> int | None:
    declared = re.search(r"n_points\s*:\s*(\d+)", header, re.IGNORECASE)
    return int(declared.group(1)) if declared else None


def find_root(root: PathLike) -> Path:
    """The folder that holds the parts: `root`, or the folder `300w` in it where `root` itself holds none.

    Raises:
        FileNotFoundError: `root` is no folder.
    """
    home = Path(root)
    if not home.is_dir():
        raise FileNotFoundError(f"{root}: there is no such folder; name the one that holds {_layout()}")
    inner = _subfolder(home, "300w")
    if inner is not None and not any(_subfolder(home, name) for name in PARTS):
        return inner
    return home


def find_part(home: Path, name: str) -> Part:
    """Pairs photos and annotations of one folder of `PARTS`.

    Raises:
        ValueError: The folder holds two photos of one name, or more faces than were shipped.
    """
    folder = _subfolder(home, name)
    if folder is None:
        return Part(name, None, (), (f"{name}: no such folder (0 of {PARTS[name]})",))
    images, annotations = _by_stem(folder, IMAGE_SUFFIXES), _by_stem(folder, (".pts",))
    pairs = tuple((stem, images[stem], annotations[stem]) for stem in sorted(images) if stem in annotations)
    if len(pairs) > PARTS[name]:
        raise ValueError(f"{folder}: {len(pairs)} faces where 300-W has {PARTS[name]}; move what is not its own away")
    missing = [f"{name}/{images[stem].name} has no .pts" for stem in sorted(images) if stem not in annotations]
    missing += [f"{name}/{annotations[stem].name} has no image" for stem in sorted(annotations) if stem not in images]
    if len(pairs) < PARTS[name]:
        missing.insert(0, f"{name}: {len(pairs)} of {PARTS[name]}")
    return Part(name, folder, pairs, tuple(missing))


def _subfolder(home: Path, name: str) -> Path | None:
    """The folder of this name in any case, as some copies are spelt `AFW` or `300W/01_Indoor`."""
    here = home
    for step in name.split("/"):
        matches = [child for child in sorted(here.iterdir()) if child.name.lower() == step.lower() and child.is_dir()]
        if not matches:
            return None
        here = matches[0]
    return here


def _by_stem(folder: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        # Archives packed on a Mac hold a "._name.jpg" beside each file.
        if path.suffix.lower() not in suffixes or path.name.startswith("."):
            continue
        if path.stem in found:
            raise ValueError(f"{path}: the same face as {found[path.stem].name}; remove one of the two")
        found[path.stem] = path
    return found


def _layout() -> str:
    return ", ".join(PARTS)


def _incomplete(home: Path, subset: str, count: int, expected: int, missing: Sequence[str]) -> str:
    shown = "; ".join(missing[:4]) + (f"; and {len(missing) - 4} more" if len(missing) > 4 else "")
    remedy = "complete it, or allow missing faces" if count else f"name the folder that holds {_layout()}"
    return f"{home}: 300-W {subset} has {count} of {expected} faces ({shown}): {remedy}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Lists what is there; returns 0 if all is, 1 if a part is, 2 if nothing is."""
    parser = argparse.ArgumentParser(description="Lists what a copy of 300-W holds against what it should.")
    parser.add_argument("root", metavar="DIR", help=f"the folder that holds {_layout()}")
    try:
        home = find_root(parser.parse_args(arguments).root)
        parts = [find_part(home, name) for name in PARTS]
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if not any(part.pairs for part in parts):
        print(f"error: {home}: nothing of 300-W is here; name the folder that holds {_layout()}", file=sys.stderr)
        return 2
    faults = [f"missing: {line}" for part in parts for line in part.missing]
    faults += [f"damaged: {line}" for part in parts for line in _damaged(part)]
    print("\n".join(_table(parts) + faults))
    return 1 if faults else 0


def _table(parts: Sequence[Part]) -> list[str]:
    counts = {part.name: len(part.pairs) for part in parts}
    rows = [f"{name:16} {counts[name]:5} of {PARTS[name]:5} faces" for name in PARTS]
    for subset, names in SUBSETS.items():
        count, expected = sum(counts[name] for name in names), sum(PARTS[name] for name in names)
        rows.append(f"{subset:16} {count:5} of {expected:5} faces  = {' + '.join(names)}")
    return rows


def _damaged(part: Part) -> list[str]:
    faults = []
    for _, _, annotation in part.pairs:
        try:
            read_pts(annotation, IBUG_68.num_landmarks)
        except ValueError as error:
            faults.append(str(error))
    return faults


if __name__ == "__main__":
    sys.exit(main())
