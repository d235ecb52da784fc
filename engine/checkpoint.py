"""One file with everything a run needs to resume: weights, their average, optimizer, progress."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Iterator

import mxnet as mx
import numpy as np
from mxnet.gluon import Block, Trainer

from common.files import write_bytes
from engine.averaging import WeightAverage

LAST = "last.npz"


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
    arrays: dict[str, Any] = {
        f"weights/{i}": p.data(p.list_ctx()[0]).asnumpy() for i, p in enumerate(net.collect_params().values())
    }
    if average is not None:
        arrays.update({f"average/{i}": value.asnumpy() for i, value in enumerate(average.values.values())})
    arrays["optimizer"] = np.frombuffer(_optimizer_bytes(trainer), np.uint8)
    arrays["progress"] = np.frombuffer(json.dumps(asdict(state)).encode(), np.uint8)
    # Into memory first: a zip file cut short by a full disk raises again when it is garbage-collected.
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    write_bytes(folder / LAST, buffer.getvalue())


def _optimizer_bytes(trainer: Trainer) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "states"
        trainer.save_states(str(path))
        return path.read_bytes()


def _set_optimizer(trainer: Trainer, states: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "states"
        path.write_bytes(states)
        trainer.load_states(str(path))


@contextmanager
def _open(folder: Path) -> Iterator[dict[str, np.ndarray]]:
    path = folder / LAST
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: --resume takes the folder of a run that finished an epoch")
    try:
        with open(path, "rb") as file, np.load(file) as arrays:
            yield arrays
    except (zipfile.BadZipFile, KeyError, EOFError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is damaged ({error}): start a new run from its best.params with --init") from error


def read_progress(folder: Path) -> Progress:
    """Reads the progress of the run in `folder`.

    Raises:
        FileNotFoundError: it has no checkpoint.
        ValueError: the checkpoint is damaged.
    """
    with _open(folder) as arrays:
        return Progress(**json.loads(bytes(arrays["progress"]).decode()))


def load_checkpoint(folder: Path, net: Block, trainer: Trainer, average: WeightAverage | None) -> Progress:
    """Restores the state of RUN/last.npz; the network must be the one that was saved.

    Raises:
        FileNotFoundError, ValueError: no checkpoint, a damaged one, or one of another network.
    """
    with _open(folder) as arrays:
        state = Progress(**json.loads(bytes(arrays["progress"]).decode()))
        parameters = list(net.collect_params().values())
        for i, parameter in enumerate(parameters):
            stored = arrays[f"weights/{i}"]
            if stored.shape != parameter.shape:
                raise ValueError(f"{folder / LAST} is of another network: resume with the run's own model")
            parameter.set_data(mx.nd.array(stored, dtype=stored.dtype))
        if average is not None:
            average.updates = state.average_updates
            for i, name in enumerate(average.values):
                average.values[name][:] = mx.nd.array(arrays[f"average/{i}"])
        _set_optimizer(trainer, bytes(arrays["optimizer"]))
    return state
