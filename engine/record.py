"""The run record: the command, its environment, and a line for every epoch."""

from __future__ import annotations

import json
import math
import platform
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import mxnet as mx
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullFormatter
from tensorboardX import SummaryWriter

from common.files import write_text, write_whole


def git_state() -> dict[str, Any]:
    """Commit of the project and whether the checkout differs from it; None where there is no git."""
    root = Path(__file__).resolve().parent.parent

    def ask(*command: str) -> str:
        finished = subprocess.run(["git", "-C", str(root), *command], capture_output=True, text=True, check=True)
        return finished.stdout.strip()

    try:
        return {"commit": ask("rev-parse", "HEAD"), "dirty": bool(ask("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}


def versions() -> dict[str, str]:
    """Versions of the libraries that results depend on."""
    return {
        "python": platform.python_version(),
        "mxnet": mx.__version__,
        "numpy": np.__version__,
        "opencv": cv2.__version__,
    }


class ErrorMeasure(NamedTuple):
    """The number that validation is judged by, a fraction.

    Attributes:
        key: its name in the log.
        text: its name where people read it.
    """

    key: str
    text: str


def best_error(record: dict[str, Any]) -> float:
    """The best validation error of a finished run, given its run.json; older runs call it best_nme."""
    result = record["result"]
    return result["best_error"] if "best_error" in result else result["best_nme"]


class RunRecord:
    """Writes run.json, log.jsonl, curve.png and TensorBoard events into the folder of a run.

    Args:
        folder: of the run; it exists.
        arguments: of the command line, as plain JSON types.
        contexts: names of the devices used.
    """

    def __init__(self, folder: Path, arguments: dict[str, Any], contexts: list[str]) -> None:
        self._folder = folder
        self._values = {
            "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
            "arguments": arguments,
            "git": git_state(),
            "versions": versions(),
            "devices": contexts,
            "started": _now(),
        }

    def start(self, history: list[dict[str, Any]]) -> None:
        """Writes run.json and the log of the epochs done so far."""
        self._events = SummaryWriter(str(self._folder))
        self._write_values()
        self._write_log(history)

    def epoch(self, history: list[dict[str, Any]], error: ErrorMeasure) -> None:
        """Adds the last epoch of `history` to the log, the events and the curve."""
        line = history[-1]
        self._write_log(history)
        for key, value in line.items():
            if key != "epoch":
                self._events.add_scalar(key, value, line["epoch"])
        self._events.flush()
        figure = draw_curve(history, error)
        write_whole(self._folder / "curve.png", lambda part: figure.savefig(part, format="png", dpi=100))

    def finish(self, result: dict[str, Any]) -> None:
        """Completes run.json with the result."""
        self._values.update(finished=_now(), result=result)
        self._write_values()
        self._events.close()

    def _write_log(self, history: list[dict[str, Any]]) -> None:
        write_text(self._folder / "log.jsonl", "".join(json.dumps(line) + "\n" for line in history))

    def _write_values(self) -> None:
        write_text(self._folder / "run.json", json.dumps(self._values, indent=2) + "\n")


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def draw_curve(history: list[dict[str, Any]], error: ErrorMeasure) -> Figure:
    """Loss and validation error by the epoch."""
    epochs = [line["epoch"] for line in history]
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(epochs, [line["loss"] for line in history], color="tab:blue")
    left.set(xlabel="epoch", ylabel="training loss", yscale="log")
    values = [(line["epoch"], 100 * line.get(error.key, math.nan)) for line in history]
    measured = [pair for pair in values if math.isfinite(pair[1])]
    if measured:
        right.plot(*zip(*measured), color="tab:red")
    right.set(xlabel="epoch", ylabel=f"{error.text} (%)")
    left.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    left.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    left.yaxis.set_minor_formatter(NullFormatter())
    for axes in (left, right):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
    return figure
