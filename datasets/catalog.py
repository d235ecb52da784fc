"""Data sets by the name that command lines use: what each is called, what parts it has, and which reader loads it.

A further data set is one reader and one line of `CATALOG`, and a function here where its reader takes other arguments.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from functools import partial
from types import ModuleType
from typing import Callable, Collection, Mapping, NamedTuple, Protocol, Sequence, Tuple

import numpy as np

from datasets import aflw, aflw21, cofw, helen_194, ibug_300w, menpo, menpo_3d, pts_folder, w300_lp, w300_vw, wflw
from datasets.annotated_photos import AnnotatedPhotos
from datasets.faces import FaceDataset
from datasets.render.faces import RenderedFaces

VALIDATION = "validation"
VALIDATION_SEED = 1_000_003  # of rendered faces that no training run sees
RENDERED_SIDE = 320  # pixels: a face is then about as large as the 224 px crop that most networks take
VIDEO_STEP = 10  # of the frames of a video to train on, as neighbours hardly differ


_LOG = logging.getLogger(__name__)


class StoredFaces(FaceDataset, Protocol):
    """Faces that lie on a disk and can be parted."""

    def subset(self, indices: Sequence[int]) -> StoredFaces:
        """The faces with these numbers."""
        ...


class SubsetInfo(NamedTuple):
    """What is to be known of a subset beside its faces.

    Attributes:
        expected: How many faces it has when complete, as far as that can be known.
        missing: What it lacks, in words, one line each.
        present: What is there where missing faces cannot be counted, such as "20 of 31 videos"; "" where they can.
        face_sizes: (n,) pixels, the size that the data set itself gives each face that is there, or None.
    """

    expected: int
    missing: Sequence[str] = ()
    present: str = ""
    face_sizes: np.ndarray | None = None


class Request(NamedTuple):
    """What to load; see the readers."""

    root: str
    subset: str
    allow_missing: bool
    keep_damaged: bool


Loaded = Tuple[StoredFaces, SubsetInfo]


@dataclass(frozen=True)
class Entry:
    """One data set.

    Attributes:
        load: Its reader.
        subsets: Parts that its reader knows; the first is measured on where none is named.
        training: What is trained on, or "" if nothing is.
        photo_of: What `is_validation` is asked about by a face's name, so that faces of one photo stay together.
        is_mirrored: Whether a face is the mirror image of another one, which validation does without.
        leaks: Training faces of photographs that are test faces too, which are in no validation.
    """

    load: Callable[[Request], Loaded]
    subsets: tuple[str, ...]
    training: str = ""
    photo_of: Callable[[str], str] = str
    is_mirrored: Callable[[str], bool] = lambda name: False
    leaks: Mapping[str, str] = field(default_factory=dict)

    @property
    def measured(self) -> tuple[str, ...]:
        """What it can be measured on: its subsets, and the faces that training leaves out."""
        chosen_here = self.training and VALIDATION not in self.subsets
        return (*self.subsets, VALIDATION) if chosen_here else self.subsets

    def part(self, faces: StoredFaces) -> tuple[list[int], list[int]]:
        """Numbers of the training faces to train on, and of those for validation; see `held_out`.

        Raises:
            ValueError: all faces are of one photo.
        """
        photos = self.photos(faces)
        held = held_out(set(photos))
        numbers = range(len(faces))
        validation = [k for k in numbers if photos[k] in held and not self.is_mirrored(faces.names[k])]
        return [k for k in numbers if photos[k] not in held], validation

    def photos(self, faces: FaceDataset) -> list[str]:
        """The photo of each face, by the data set itself or by the face's name."""
        return list(getattr(faces, "photo_names", None) or map(self.photo_of, faces.names))


def held_out(photos: Collection[str]) -> set[str]:
    """The photos of a training set that are kept for validation: those that `ibug_300w.is_validation` says.

    In a small set that may be none of them, or all. Then a tenth is, those with the lowest hashes, and it is said.

    Raises:
        ValueError: there is one photo, or none.
    """
    chosen = {photo for photo in photos if ibug_300w.is_validation(photo)}
    if 0 < len(chosen) < len(photos):
        return chosen
    if len(photos) < 2:
        raise ValueError(f"{len(photos)} photos cannot be parted into training and validation: at least two are needed")
    ordered = sorted(photos, key=lambda photo: (ibug_300w.name_hash(photo.rpartition("/")[2]), photo))
    least = ordered[: max(1, len(ordered) // 10)]
    _LOG.warning("of %d photos none is for validation by its name: held out %s", len(photos), ", ".join(sorted(least)))
    return set(least)


def _whole(faces: AnnotatedPhotos) -> Loaded:
    """Faces with what they say of themselves."""
    return faces, SubsetInfo(faces.expected_count, faces.missing, face_sizes=faces.face_sizes)


def _plain(reader: ModuleType, asked: Request) -> Loaded:
    """Of readers that take all that is asked for."""
    return _whole(reader.load(*asked))


def _w300_lp(points: str, asked: Request) -> Loaded:
    mirrored = asked.subset == "all"
    return _whole(w300_lp.load(asked.root, points, mirrored, asked.allow_missing, asked.keep_damaged))


def _w300_lp_photo(name: str) -> str:
    """The photo of 300-W that a face is a turned copy of: of AFW/AFW_134212_1_3 it is afw/134212_1.

    Pre-training so holds out the turned copies of the photos that training on 300-W holds out.
    """
    part, _, copy = name.partition("/")
    photo = copy[len(part.replace("_Flip", "")) + 1 :].rpartition("_")[0]
    return f"{part.replace('_Flip', '').lower()}/{photo.replace('image_train_', 'image_')}"


def _is_mirrored_lp(name: str) -> bool:
    return name.partition("/")[0].endswith("_Flip")


def _w300_lp_entry(points: str) -> Entry:
    return Entry(partial(_w300_lp, points), ("all", "unmirrored"), "all", _w300_lp_photo, _is_mirrored_lp)


def _aflw2000(asked: Request) -> Loaded:
    faces = w300_lp.load_aflw2000(asked.root, asked.allow_missing, asked.keep_damaged)
    if asked.subset == "all":
        return _whole(faces)
    group = faces.subset(w300_lp.yaw_groups(faces.yaw)[asked.subset].tolist())
    lost = faces.expected_count - len(faces)
    present = f"{len(faces)} of {faces.expected_count} faces of all yaws" if lost else ""
    return group, SubsetInfo(len(group), faces.missing, present)


def _cofw(asked: Request) -> Loaded:
    faces = cofw.load(asked.root, asked.subset, asked.keep_damaged)
    return faces, SubsetInfo(faces.expected_count, face_sizes=faces.face_sizes)


def _w300_vw(asked: Request) -> Loaded:
    every = VIDEO_STEP if asked.subset == "train" else 1
    faces = w300_vw.load(asked.root, asked.subset, every, asked.allow_missing, asked.keep_damaged)
    present = f"{len(faces.videos)} of {faces.expected_videos} videos" if faces.missing else ""
    return faces, SubsetInfo(len(faces), faces.missing, present)


def _ls3d_w(dataset: str, asked: Request) -> Loaded:
    return _whole(menpo_3d.load(asked.root, dataset, asked.subset, asked.allow_missing, asked.keep_damaged))


def _own(asked: Request) -> Loaded:
    return _whole(pts_folder.load(asked.root, asked.keep_damaged))


CATALOG: dict[str, Entry] = {
    "300w": Entry(
        partial(_plain, ibug_300w),
        ("common", "challenging", "full", "private", "indoor", "outdoor", "helen_test", "lfpw_test", "train"),
        training="train",
        leaks=ibug_300w.LEAKS,
    ),
    "300w_lp": _w300_lp_entry("2d"),
    "300w_lp_3d": _w300_lp_entry("3d"),
    "aflw2000_3d": Entry(_aflw2000, ("all", *w300_lp.YAW_GROUPS)),
    "aflw": Entry(partial(_plain, aflw), ("full", "frontal", "train"), training="train", photo_of=aflw.photo_of),
    "aflw21": Entry(partial(_plain, aflw21), ("validation", "train", "all"), training="all", photo_of=aflw.photo_of),
    "cofw": Entry(_cofw, ("test", "train"), training="train"),
    "helen194": Entry(partial(_plain, helen_194), ("test", "train"), training="train"),
    "300vw": Entry(
        _w300_vw,
        ("category_1", "category_2", "category_3", "test", "train"),
        training="train",
        photo_of=lambda name: name.partition("/")[0],  # its video
    ),
    "wflw": Entry(partial(_plain, wflw), ("test", *wflw.ATTRIBUTES, "train"), training="train", photo_of=wflw.photo_of),
    "menpo": Entry(partial(_plain, menpo), menpo.SUBSETS),
    **{name: Entry(partial(_ls3d_w, name), tuple(parts)) for name, parts in menpo_3d.SUBSETS.items()},
    "pts": Entry(_own, ("all",), training="all"),
}

RENDERED_SUBSETS = ("test",)
TEST_DATASETS = ("rendered", *CATALOG)
DATASETS = ("rendered", *(name for name, entry in CATALOG.items() if entry.training))


def training_pair(
    name: str,
    root: str | None,
    allow_missing: bool = False,
    rendered_count: int = 2000,
    seed: int = 0,
    official_split: bool = False,
) -> tuple[FaceDataset, FaceDataset]:
    """Training and validation faces; the latter are chosen by `ibug_300w.is_validation`, in every data set.

    Args:
        name: one of `DATASETS`; "pts" is a folder of your own.
        root: where the data lies; unused for rendered faces.
        allow_missing: take the part of a data set that is there.
        rendered_count: how many faces to render for training; a tenth of that, at most 300, for validation.
        seed: of the rendered training faces.
        official_split: keep training faces of photographs that are test faces too.

    Raises:
        ValueError, FileNotFoundError: an unknown name, or data that is not there.
    """
    _check_name(name, DATASETS)
    if name == "rendered":
        held_out = min(max(16, rendered_count // 10), 300)
        return (
            RenderedFaces(rendered_count, seed, RENDERED_SIDE),
            RenderedFaces(held_out, VALIDATION_SEED, RENDERED_SIDE),
        )
    faces = _load_training(name, root, allow_missing)
    train, validation = CATALOG[name].part(faces)
    return without_leaks(name, faces.subset(train), official_split), faces.subset(validation)


def further_faces(
    name: str, root: str | None, validation: Collection[str], allow_missing: bool = False, official_split: bool = False
) -> StoredFaces:
    """The faces of a data set that join another one's training faces: all but those of its validation photos.

    Args:
        name: one of `CATALOG` that is trained on.
        root: where the data lies.
        validation: the other data set's validation photos, as of `Entry.photos`.
        allow_missing: take the part of the data set that is there.
        official_split: keep training faces of photographs that are test faces too.

    Raises:
        ValueError, FileNotFoundError: an unknown name, or data that is not there.
    """
    _check_name(name, DATASETS)
    faces = _load_training(name, root, allow_missing)
    held = set(map(ibug_300w.photo_name, validation))
    kept = [k for k, photo in enumerate(CATALOG[name].photos(faces)) if ibug_300w.photo_name(photo) not in held]
    if len(kept) < len(faces):
        _LOG.warning("%d faces of %s left out: validation has photos of their names", len(faces) - len(kept), name)
    return without_leaks(name, faces.subset(kept), official_split)


def without_leaks(name: str, faces: StoredFaces, official_split: bool) -> StoredFaces:
    """Training faces without those of photographs that are test faces too; says how many went."""
    leaks = CATALOG[name].leaks
    kept = [k for k, face in enumerate(faces.names) if face not in leaks]
    if official_split or len(kept) == len(faces):
        return faces
    count = len(faces) - len(kept)
    _LOG.warning("%d training faces of %s left out: test photos, too; --official-split keeps them", count, name)
    return faces.subset(kept)


def _load_training(name: str, root: str | None, allow_missing: bool) -> StoredFaces:
    entry = CATALOG[name]
    return entry.load(Request(_needed(name, root), entry.training, allow_missing, keep_damaged=False))[0]


def chosen_subset(name: str, subset: str | None) -> str:
    """The subset of a data set that is meant; its first where None is named.

    Raises:
        ValueError: an unknown data set, or one that has no such subset; the message lists those there are.
    """
    _check_name(name, TEST_DATASETS)
    known = RENDERED_SUBSETS if name == "rendered" else CATALOG[name].measured
    if subset not in (None, *known):
        raise ValueError(f"--dataset {name} has no subset '{subset}': choose one of {', '.join(known)}")
    return subset or known[0]


def load_subset(name: str, root: str | None, subset: str, allow_missing: bool = False) -> Loaded:
    """The faces of one subset to measure; damaged ones are kept, and say so when they are asked for.

    Args:
        name: one of `CATALOG`.
        root: where the data lies.
        subset: one of the data set's.
        allow_missing: take the part of it that is there.

    Raises:
        ValueError, FileNotFoundError: an unknown name, or data that is not there.
    """
    entry, subset = CATALOG[name], chosen_subset(name, subset)
    if subset in entry.subsets:
        return entry.load(Request(_needed(name, root), subset, allow_missing, keep_damaged=True))
    faces, about = entry.load(Request(_needed(name, root), entry.training, allow_missing, keep_damaged=True))
    _, held_out = entry.part(faces)
    present = about.present or f"those of {len(faces)} of {about.expected} training faces"
    sizes = None if about.face_sizes is None else about.face_sizes[held_out]
    return faces.subset(held_out), SubsetInfo(len(held_out), about.missing, present if about.missing else "", sizes)


def _check_name(name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise ValueError(f"unknown data set '{name}': choose one of {', '.join(known)}")


def _needed(name: str, root: str | None) -> str:
    if root is None:
        raise ValueError(f"--dataset {name} needs --data DIR, the folder that holds it; see docs/data.md")
    return root
