"""Predictions of a part of a subset in a file, and the whole of all parts, as one run would have made it."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any, Mapping

import numpy as np

from common.files import write_bytes
from common.readers import parse_json, read_npz
from common.shards import Shard
from inference.pipeline import PredictedFaces

_ARRAYS = ("points_image", "truth_image", "boxes")
_ABOUT = "about"  # JSON in the file, as bytes
_REMEDY = "measure this part again"


def part_path(folder: Path, shard: Shard) -> Path:
    """The file of one part."""
    return folder / f"part_{shard.name}.npz"


def write_part(folder: Path, shard: Shard, predicted: PredictedFaces, settings: Mapping[str, Any]) -> Path:
    """Writes what was predicted for one part.

    Args:
        folder: the same for all parts.
        shard: which part it is.
        predicted: for its faces.
        settings: what all parts must have in common, of plain JSON types.
    """
    about = json.dumps({"settings": dict(settings), "skipped": predicted.skipped}).encode()
    arrays = {name: getattr(predicted, name) for name in _ARRAYS}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays, **{_ABOUT: np.frombuffer(about, np.uint8)})
    write_bytes(part_path(folder, shard), buffer.getvalue())
    return part_path(folder, shard)


def read_parts(folder: Path, count: int, faces: int, batch_size: int, settings: Mapping[str, Any]) -> PredictedFaces:
    """Joins all parts.

    Args:
        folder: that holds them.
        count: of parts.
        faces: in all of them together.
        batch_size: of the predictions, in which faces were divided.
        settings: as they were written with.

    Raises:
        FileNotFoundError, ValueError: one is missing, damaged, or was measured otherwise.
    """
    parts, skipped = [], {}
    for number in range(1, count + 1):
        shard = Shard(number, count)
        path = part_path(folder, shard)
        length = len(shard.of(faces, batch_size))
        arrays = read_npz(path, _REMEDY, {"truth_image": (length, None, 2), "boxes": (length, 4), _ABOUT: (None,)})
        if "points_image" not in arrays or len(arrays["points_image"]) != length:
            raise ValueError(f"{path} is not of {length} faces: {_REMEDY}")
        about = parse_json(arrays[_ABOUT].tobytes().decode("utf-8"), str(path), _REMEDY)
        if about["settings"] != dict(settings):
            differing = [name for name, value in settings.items() if about["settings"].get(name) != value]
            raise ValueError(f"{path} was measured with another {', '.join(differing)}: {_REMEDY}")
        parts.append(arrays)
        skipped.update(about["skipped"])
    # A part in which nothing was found does not know of a network's stages.
    stages = max((part["points_image"].shape[1:-2] for part in parts), key=len)
    points = [_with_stages(part["points_image"], stages) for part in parts]
    truth, boxes = (np.concatenate([part[name] for part in parts]) for name in _ARRAYS[1:])
    return PredictedFaces(np.concatenate(points), truth, boxes, skipped)


def _with_stages(points: np.ndarray, stages: tuple[int, ...]) -> np.ndarray:
    if points.shape[1:-2] == stages:
        return points
    return np.broadcast_to(points[:, None], (len(points), *stages, *points.shape[1:]))
