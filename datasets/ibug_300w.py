"""300-W: 68 points on photos of AFW, HELEN, LFPW, iBUG and the challenge's private set, in its distributor's folders.

`python -m datasets.ibug_300w DIR` lists what is there against what should be.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Sequence

from common import cli
from datasets.annotated_photos import AnnotatedPhotos
from datasets.images import PathLike
from datasets.inventory import IMAGE_SUFFIXES, by_name, check_subset, files, needed_folder, refuse_incomplete
from datasets.markups import IBUG_68
from datasets.pts_files import read_annotations, read_pts, write_pts

__all__ = ["LEAKS", "PARTS", "SUBSETS", "load", "read_pts", "write_pts"]

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
    "indoor": ("300w/01_Indoor",),
    "outdoor": ("300w/02_Outdoor",),
    "helen_test": ("helen/testset",),
    "lfpw_test": ("lfpw/testset",),
}

# Training faces, and the test faces of the same photographs [F31].
LEAKS = {
    "lfpw/trainset/image_0215": "lfpw/testset/image_0066",
    "lfpw/trainset/image_0828": "lfpw/testset/image_0096",
    "lfpw/trainset/image_0862": "lfpw/testset/image_0007",
    "helen/trainset/2895317691_1": "helen/testset/3220402975_1",
}


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


def load(root: PathLike, subset: str, allow_missing: bool = False, keep_damaged: bool = False) -> AnnotatedPhotos:
    """The faces of one subset; a face's name is its path below the data set's folder, without extension.

    Args:
        root: The folder that holds `afw`, `helen`, `lfpw`, `ibug` and `300w`, or the folder around it.
        subset: One of `SUBSETS`.
        allow_missing: Take what is there; `expected_count` and `missing` tell what is not.
        keep_damaged: Keep a face whose annotation cannot be read; asking for it then says why.

    Raises:
        FileNotFoundError: A part of the subset is not there, or with `allow_missing` all of it.
        ValueError: The subset is unknown, an annotation is damaged, or a folder holds more than was shipped.
    """
    check_subset("300-W", subset, SUBSETS)
    home = find_root(root)
    parts = [find_part(home, name) for name in SUBSETS[subset]]
    expected = sum(PARTS[part.name] for part in parts)
    missing = tuple(line for part in parts for line in part.missing)
    faces = [(f"{part.name}/{stem}", image, pts) for part in parts for stem, image, pts in part.pairs]
    where = f"name the folder that holds {_layout()}"
    refuse_incomplete(f"{home}: 300-W {subset}", (len(faces), expected), missing, allow_missing, where)
    points, damaged = read_annotations({name: pts for name, _, pts in faces}, IBUG_68.num_landmarks, keep_damaged)
    return AnnotatedPhotos(
        names=tuple(name for name, _, _ in faces),
        image_paths=tuple(image for _, image, _ in faces),
        points=points,
        markup=IBUG_68,
        damaged=damaged,
        expected_count=expected,
        missing=missing,
    )


def is_validation(name: str) -> bool:
    """Whether the training face of this name, its path without extension, is kept for validation.

    It is if the SHA-1 of its photo's name, read as an integer, is 0 modulo 10 [F11]. The name is the file's in UTF-8
    without folder and extension, so the split does not depend on how photos are stored; see `photo_name`.
    """
    return name_hash(photo_name(name)) % 10 == 0


def photo_name(name: str) -> str:
    """The name of a face's photo, without folder and extension.

    AFW has a file per face; its photo's name goes without the face's index, so that the faces of one photo stay
    together.
    """
    folder, _, photo = name.rpartition("/")
    return re.sub(r"_\d+$", "", photo) if folder == "afw" else photo


def name_hash(name: str) -> int:
    """The SHA-1 of a photo's name, read as an integer."""
    # The bytes of a file name that is not UTF-8 are as they lie on the disk.
    return int(hashlib.sha1(name.encode("utf-8", "surrogateescape")).hexdigest(), 16)


def find_root(root: PathLike) -> Path:
    """The folder that holds the parts: `root`, or the folder `300w` in it where `root` itself holds none.

    Raises:
        FileNotFoundError: `root` is no folder.
    """
    home = needed_folder(root, f"the one that holds {_layout()}")
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
    images, annotations = by_name(files(folder, IMAGE_SUFFIXES)), by_name(files(folder, (".pts",)))
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


def _layout() -> str:
    return ", ".join(PARTS)


def main(argv: Sequence[str] | None = None) -> int:
    """Lists what is there; returns 0 if all is, else 1. FileNotFoundError if nothing is."""
    parser = cli.make_parser("Lists what a copy of 300-W holds against what it should.")
    parser.add_argument("root", metavar="DIR", type=cli.path, help=f"the folder that holds {_layout()}")
    home = find_root(parser.parse_args(argv).root)
    parts = [find_part(home, name) for name in PARTS]
    if not any(part.pairs for part in parts):
        raise FileNotFoundError(f"{home}: nothing of 300-W is here; name the folder that holds {_layout()}")
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
    cli.run(main)
