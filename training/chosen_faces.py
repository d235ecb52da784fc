"""Which faces a training learns from, and which it validates on."""

from __future__ import annotations

import re
from typing import Sequence

from datasets.catalog import CATALOG, DATASETS, chosen_subset, further_faces, load_subset, training_pair, without_leaks
from datasets.faces import FaceDataset
from datasets.fixed_samples import Chosen
from datasets.name_lists import PhotoList
from training.options import further_data
from training.settings import LandmarkSettings

OWN = "pts"  # a user's folder, whose photos may be called by any numbers


def load_faces(settings: LandmarkSettings) -> tuple[FaceDataset, FaceDataset]:
    """Training faces, followed by those of --more, and validation faces.

    Raises:
        ValueError, FileNotFoundError: a data set or a listed photo is not there, or --more has another markup.
    """
    excluded = PhotoList(settings.exclude) if settings.exclude else None
    train, validation = _first_set(settings)
    further = further_data(settings, DATASETS)
    more = [_further_set(settings, name, root, validation) for name, root in further]
    names = (settings.dataset, *(name for name, _ in further))
    if excluded:
        train, validation = _told_without([train, validation], excluded, settings.dataset)
        more = [_told_without([faces], excluded, name)[0] for faces, (name, _) in zip(more, further)]
        excluded.refuse_unmatched(" and ".join(names))
    if "300w_lp" in names:
        print("300W-LP holds turned copies of 300-W's test photos, so of 300-W only private is a test of this network")
    other = next((faces.markup.name for faces in more if faces.markup.name != train.markup.name), None)
    if other:
        raise ValueError(f"--more: it has {other} landmarks, the training faces {train.markup.name}: use one markup")
    return (Chosen([train, *more]) if more else train), validation


def _first_set(settings: LandmarkSettings) -> tuple[FaceDataset, FaceDataset]:
    """Training and validation faces of the data set that validation is on."""
    if settings.validate_on:
        return _whole_set(settings)
    given = (settings.allow_missing, settings.rendered_count, settings.seed, settings.official_split)
    return training_pair(settings.dataset, settings.data, *given)


def _whole_set(settings: LandmarkSettings) -> tuple[FaceDataset, FaceDataset]:
    """All training faces of the data set, and the subset that validation is asked to take."""
    name, root = settings.dataset, settings.data
    if name == "rendered":
        raise ValueError("--validate-on: rendered faces have no subsets; name a data set of photos")
    chosen = (CATALOG[name].training, chosen_subset(name, settings.validate_on))
    train, validation = (load_subset(name, root, each, settings.allow_missing)[0] for each in chosen)
    train = without_leaks(name, train, settings.official_split)
    print(f"validation on {settings.validate_on}: these faces choose the best epoch, so they are no test any more")
    return train, validation


def _further_set(settings: LandmarkSettings, name: str, root: str | None, validation: FaceDataset) -> FaceDataset:
    """The faces of one data set of --more."""
    if name == "rendered":
        return training_pair(name, None, False, settings.rendered_count, settings.seed)[0]
    photos = CATALOG[settings.dataset].photos(validation) if settings.dataset in CATALOG else ()
    faces = further_faces(name, root, photos, settings.allow_missing, settings.official_split)
    print(f"--more {name}: {len(faces)} faces, all but those of photos with the name of a validation photo")
    return faces


def _told_without(parts: Sequence[FaceDataset], excluded: PhotoList, dataset: str) -> list[FaceDataset]:
    """Parts of one data set without the faces of the photos that a list names; says how many these are."""
    kept = [without_photos(faces, excluded, dataset) for faces in parts]
    left_out = sum(map(len, parts)) - sum(map(len, kept))
    print(f"{left_out} faces of {dataset} left out, of the photos in {excluded.path}")
    return kept


def without_photos(faces: FaceDataset, excluded: PhotoList, dataset: str) -> FaceDataset:
    """Leaves out the faces of the photos that a list names.

    A face of a published set whose name is its photo's with a number appended, as in AFW, belongs to that photo.
    """
    photos = CATALOG[dataset].photos(faces) if dataset in CATALOG else list(faces.names)
    gone = set(excluded.find(photos))
    if dataset == OWN:
        gone |= set(excluded.find(faces.names))
    else:
        gone |= set(excluded.find([re.sub(r"_\d+$", "", photo) for photo in photos]))
    kept = [k for k in range(len(faces)) if k not in gone]
    return Chosen([faces], kept) if gone else faces
