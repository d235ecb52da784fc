"""One file with everything a run needs to resume: weights, their average, optimizer, progress."""

from __future__ import annotations

import io
import json
import shlex
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
from mxnet.gluon import Block, Trainer

from common.files import write_bytes
from common.readers import entry, parse_json, read_npz
from engine.averaging import WeightAverage
from engine.optimizer_state import pack_trainer, unpack_trainer

LAST = "last.npz"
PROGRESS, NUMBERS = "progress", "optimizer_numbers"  # JSON in the file, as bytes
RESTART = "start a new run from its best.params with --init"


@dataclass
class Progress:
    """The progress of a run.

    Attributes:
        epoch: epochs done.
        best: the best validation value so far, lower is better.
        best_epoch: its epoch; 0 for none yet.
        average_updates: updates of the weight average.
        arguments: of the command line.
        history: one dict per epoch, as in log.jsonl.
    """

    epoch: int = 0
    best: float = float("inf")
    best_epoch: int = 0
    average_updates: int = 0
    arguments: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)


def save_checkpoint(folder: Path, net: Block, trainer: Trainer, average: WeightAverage | None, state: Progress) -> None:
    """Writes RUN/last.npz whole or not at all.

    Raises:
        OSError: it could not be written; the previous one is untouched.
    """
    arrays = {f"weights/{i}": p.data(p.list_ctx()[0]).asnumpy() for i, p in enumerate(net.collect_params().values())}
    if average is not None:
        arrays.update({f"average/{i}": value.asnumpy() for i, value in enumerate(average.values.values())})
    kept, numbers = pack_trainer(trainer)
    write_arrays(folder, {**arrays, **kept}, {PROGRESS: asdict(state), NUMBERS: numbers})


def write_arrays(folder: Path, arrays: dict[str, np.ndarray], texts: dict[str, dict[str, Any]]) -> None:
    """Writes RUN/last.npz of arrays, and of JSON objects as bytes."""
    encoded = {name: np.frombuffer(json.dumps(value).encode(), np.uint8) for name, value in texts.items()}
    # Into memory first: a zip file cut short by a full disk raises again when it is garbage-collected.
    buffer = io.BytesIO()
    np.savez(buffer, **arrays, **encoded)
    write_bytes(folder / LAST, buffer.getvalue())


def _read(folder: Path) -> dict[str, np.ndarray]:
    path = folder / LAST
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: --resume takes the folder of a run that finished an epoch")
    arrays = read_npz(path, RESTART, shapes={PROGRESS: (None,)})
    if NUMBERS not in arrays:
        how = f"if the run is your own, convert it with: python -m engine.convert_checkpoint {shlex.quote(str(folder))}"
        raise ValueError(f"{path} is of an earlier version, whose files may hold code: {how}")
    return arrays


def _json(arrays: dict[str, np.ndarray], name: str, path: Path) -> dict[str, Any]:
    try:
        value = parse_json(arrays[name].tobytes().decode("utf-8"), f"{path}, {name}", RESTART)
    except UnicodeDecodeError:
        value = None
    if not isinstance(value, dict):
        raise ValueError(f"{path}: its entry '{name}' is no JSON object; {RESTART}")
    return value


def _progress(arrays: dict[str, np.ndarray], path: Path) -> Progress:
    values = _json(arrays, PROGRESS, path)
    kinds = {"epoch": int, "best_epoch": int, "average_updates": int, "arguments": dict, "history": list}
    found = {name: entry(values, name, kind, path, RESTART) for name, kind in kinds.items()}
    best = values.get("best")
    if (
        not isinstance(best, (int, float))
        or best != best
        or not all(isinstance(each, dict) for each in found["history"])
    ):
        raise ValueError(f"{path}: its best value or its history make no sense; {RESTART}")
    if min(found["epoch"], found["best_epoch"], found["average_updates"]) < 0:
        raise ValueError(f"{path}: it counts below 0; {RESTART}")
    return Progress(best=float(best), **found)


def read_progress(folder: Path) -> Progress:
    """Reads the progress of the run in `folder`.

    Raises:
        FileNotFoundError: it has no checkpoint.
        ValueError: the checkpoint is damaged, or of an earlier version.
    """
    return _progress(_read(folder), folder / LAST)


def load_checkpoint(folder: Path, net: Block, trainer: Trainer, average: WeightAverage | None) -> Progress:
    """Restores the state of RUN/last.npz; the network must be the one that was saved.

    Raises:
        FileNotFoundError, ValueError: no checkpoint, a damaged one, or one of another network.
    """
    path, arrays = folder / LAST, _read(folder)
    state, numbers = _progress(arrays, path), _json(arrays, NUMBERS, path)
    other = f"{path} is of another network: resume with the model it was started with"
    for i, parameter in enumerate(net.collect_params().values()):
        stored = arrays.get(f"weights/{i}")
        if stored is None or stored.shape != parameter.shape:
            raise ValueError(other)
        parameter.set_data(mx.nd.array(stored, dtype=stored.dtype))
    if average is not None:
        average.updates = state.average_updates
        for i, name in enumerate(average.values):
            stored = arrays.get(f"average/{i}")
            if stored is None or stored.shape != average.values[name].shape:
                raise ValueError(other)
            average.values[name][:] = mx.nd.array(stored)
    try:
        unpack_trainer(trainer, arrays, numbers)
    except ValueError as error:
        raise ValueError(f"{path} does not fit this run ({error}): resume with what it was started with") from error
    return state
