"""Data sets by the name that command lines use."""

from __future__ import annotations

from datasets import ibug_300w, pts_folder
from datasets.faces import FaceDataset
from datasets.synthetic import SyntheticFaces

DATASETS = ("rendered", "300w", "pts")
VALIDATION_SEED = 1_000_003  # of rendered faces that no training run sees
RENDERED_SIDE = 320  # pixels: a face is then about as large as the 224 px crop that most networks take


def training_pair(
    name: str, root: str | None, allow_missing: bool = False, rendered_count: int = 2000, seed: int = 0
) -> tuple[FaceDataset, FaceDataset]:
    """Training and validation faces.

    Args:
        name: one of `DATASETS`; "pts" is a folder of your own.
        root: where the data lies; unused for rendered faces.
        allow_missing: take the part of a data set that is there.
        rendered_count: how many faces to render for training; a tenth of that, at most 300, for validation.
        seed: of the rendered training faces.

    Raises:
        ValueError, FileNotFoundError: an unknown name, or data that is not there.
    """
    if name == "rendered":
        held_out = min(max(16, rendered_count // 10), 300)
        return (
            SyntheticFaces(rendered_count, seed, RENDERED_SIDE),
            SyntheticFaces(held_out, VALIDATION_SEED, RENDERED_SIDE),
        )
    folder = _needed(name, root)
    if name == "300w":
        return ibug_300w.split_validation(ibug_300w.load(folder, "train", allow_missing))
    faces = pts_folder.load(folder)
    validates = [ibug_300w.is_validation(face) for face in faces.names]
    numbers = range(len(faces))
    return faces.subset([k for k in numbers if not validates[k]]), faces.subset([k for k in numbers if validates[k]])


def _needed(name: str, root: str | None) -> str:
    if name not in DATASETS:
        raise ValueError(f"unknown data set '{name}': choose one of {', '.join(DATASETS)}")
    if root is None:
        raise ValueError(f"--dataset {name} needs --data DIR, the folder that holds it; see docs/data.md")
    return root
