"""The log of a training run, and figures over its epochs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping, Sequence

from matplotlib.figure import Figure

from common import cli
from common.readers import entry, read_json_lines
from figures.commands import option
from report.plots import NETWORK_LINES, to_png

RUN = option("--run", metavar="RUN", type=cli.path, required=True, help="folder of a training run")


def read_log(run: str) -> list[dict[str, Any]]:
    """What RUN/log.jsonl says of each epoch.

    Raises:
        FileNotFoundError, ValueError: there is no such file, or it is damaged.
    """
    path, remedy = Path(run) / "log.jsonl", "--run takes the folder of a training run"
    log = read_json_lines(path, remedy)
    for number, line in enumerate(log, start=1):
        entry(line, "epoch", int, f"{path}, line {number}", remedy)
    return log


def by_epoch(log: Sequence[Mapping[str, Any]], name: str) -> dict[int, float]:
    """One of the values of a log, by the epochs that have it."""
    return {line["epoch"]: line[name] for line in log if name in line}


def draw_epochs(
    run: str, curves: Mapping[str, Mapping[int, float]], what: str, ylabel: str, yscale: str = "linear"
) -> bytes:
    """Values over the epochs of a run.

    Args:
        run: its folder.
        curves: values by epoch, by what they are; an empty one is left out.
        what: the values in one word, for the title.
        ylabel: the same for the axis.
        yscale: as of matplotlib's axes.
    """
    figure = Figure(figsize=(7.2, 4.8), layout="constrained")
    axes = figure.add_subplot()
    for (text, values), (colour, dash) in zip(curves.items(), NETWORK_LINES):
        if values:
            axes.plot(list(values), list(values.values()), color=colour, linestyle=dash, label=text)
    axes.set(xlabel="epoch", ylabel=ylabel, yscale=yscale, title=f"{what} over the epochs of {Path(run).name}")
    axes.grid(color="0.88")
    axes.legend()
    return to_png(figure)
