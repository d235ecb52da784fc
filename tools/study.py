"""Runs one of the papers' ablation studies: trains every cell with several seeds at the same small budget.

Each run is an ordinary training run in OUT/<options>-<seed>. Interrupted runs are resumed and finished ones are not
repeated, so studies with a cell in common can share OUT; a run with other options is refused. Options not listed here,
such as --data, go to the training script. All runs are judged on the validation faces.

Writes STUDY.json, STUDY.md and STUDY.png.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any, Sequence

from matplotlib.figure import Figure

from common import cli
from common.files import exclusive, write_text, write_whole
from common.options import options_of
from common.readers import entry, read_json, read_json_lines
from engine.checkpoint import LAST
from report.tables import markdown, study_table
from training.discovery import ROOT, training_of
from training.studies import NME, STUDIES, Cell, Measure, Study

RERUN = "remove the run's folder, and it is trained again"
# What changes neither what a run learns nor what it is judged by.
OF_THE_MACHINE = frozenset(
    ("out", "resume", "gpus", "kv_store", "workers", "cache", "validation_batch_size", "dry_run")
)
WIDE = 5.0  # ratio of two values from which on a figure's axis is logarithmic


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line; unknown options go to the training script."""
    parser = cli.make_parser(__doc__)
    parser.add_argument("study", choices=sorted(STUDIES))
    parser.add_argument("--seeds", type=seeds, default="0,1,2", help="seeds of each cell's runs")
    parser.add_argument("--out", metavar="DIR", type=cli.path, required=True, help="folder for the runs and the tables")
    arguments, further = parser.parse_known_args(argv)
    arguments.further = further
    return arguments


def seeds(text: str) -> list[int]:
    """The seeds of a list such as 0,1,2."""
    return [cli.seed(each) for each in text.split(",")]


def folder_name(cell: Cell, seed: int) -> str:
    """The folder of a cell's run with one seed."""
    return (re.sub(r"\W+", "_", cell.options).strip("_") or "recipe") + f"-{seed}"


def run_command(study: Study, cell: Cell, seed: int, further: Sequence[str], folder: Path) -> list[str]:
    """The command of one run, or the one that resumes it.

    A resumed run keeps its settings, except how often it validates, its precision and its workers.
    """
    script, *common = shlex.split(study.command)
    place = ["--resume" if (folder / LAST).exists() else "--out", str(folder)]
    return [script, *common, *shlex.split(cell.options), *further, "--seed", str(seed), *place]


def result_of(folder: Path, measure: Measure = NME) -> float | None:
    """The best validation result of a finished run, else None."""
    path = folder / "run.json"
    result = read_json(path, RERUN).get("result") if path.exists() else None
    if not isinstance(result, dict):
        return None
    # A run keeps the epoch with the lowest NME; another measure may have its best epoch elsewhere.
    log = folder / "log.jsonl"
    found = [entry(line, measure.key, float, log, RERUN) for line in read_json_lines(log, RERUN) if measure.key in line]
    if not found:
        raise ValueError(f"{log}: no epoch has {measure.key}; {RERUN}")
    return min(found)


def refuse_other_run(folder: Path, command: Sequence[str]) -> None:
    """Refuses a folder whose run was started with other options than a command, whose last two words are its place.

    Raises:
        ValueError: one differs; the message has both values.
    """
    path = folder / "run.json"
    if not path.exists():
        return
    training = training_of(command[0])
    asked = training.parse([*command[1:-2], "--out", str(folder)])
    options = (*options_of(asked.settings), *options_of(asked.recipe))
    flags = {each.name: each.flag for each in options}
    defaults = {each.name: each.default for each in options_of(training.settings_type)}
    # Options that are newer than the run had their defaults.
    has = {**defaults, **entry(read_json(path, RERUN), "arguments", dict, path, RERUN)}
    for name in {**asked.arguments, **has}:
        pair = [_as_json(values.get(name)) for values in (has, asked.arguments)]
        if name not in OF_THE_MACHINE and pair[0] != pair[1]:
            flag = flags.get(name, f"--{name.replace('_', '-')}")
            own, wanted = (f"no {flag}" if value is None else f"{flag} {value}" for value in pair)
            raise ValueError(f"{folder} holds a run with {own}, and this one has {wanted}: name another --out")


def _as_json(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def complete(study: Study, cell: Cell, seed: int, further: Sequence[str], out: Path) -> float:
    """Trains one cell with one seed unless that is done already, and returns the number that is compared.

    Raises:
        ValueError: the training failed; its message is above.
    """
    folder = out / folder_name(cell, seed)
    command = run_command(study, cell, seed, further, folder)
    refuse_other_run(folder, command)
    if result_of(folder, study.measure) is None:
        if folder.exists() and not (folder / LAST).exists():
            with exclusive(folder, "wait for it to end"):
                shutil.rmtree(folder)  # it was interrupted before its first epoch ended
        print(shlex.join(command), flush=True)
        if subprocess.run([sys.executable, *command], cwd=ROOT, check=False).returncode:
            raise ValueError(f"cell '{cell.name}' with seed {seed} failed, see above; the runs before it are kept")
    found = result_of(folder, study.measure)
    assert found is not None
    return found


def row(cell: Cell, measured: Sequence[float], factor: float) -> dict:
    """The table's row of one cell, in the study's unit."""
    values = [factor * value for value in measured]
    return {
        "cell": cell.name,
        "options": cell.options,
        "values": values,
        "mean": statistics.mean(values),
        "deviation": statistics.stdev(values) if len(values) > 1 else None,
        "published": cell.published,
    }


def draw(path: Path, study: Study, rows: Sequence[dict]) -> None:
    """Draws one line per cell: a dot for each seed, a bar at their mean."""
    figure = Figure(figsize=(9, 1.6 + 0.4 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for place, each in enumerate(rows):
        axes.plot(each["values"], [place] * len(each["values"]), "o", color="tab:blue", alpha=0.7)
        axes.plot([each["mean"]], [place], "|", color="black", markersize=18, markeredgewidth=2)
    axes.set_yticks(range(len(rows)), [each["cell"] for each in rows])
    axes.invert_yaxis()
    measured = [value for each in rows for value in each["values"]]
    if max(measured) > WIDE * min(measured):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("{x:g}")
    axes.set(xlabel=f"{study.measure.text} ({study.measure.unit}); dots: seeds, bars: means")
    figure.suptitle(study.title)
    axes.grid(axis="x", alpha=0.3)
    write_whole(path, lambda part: figure.savefig(part, format="png", dpi=110))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the study seed by seed, so that early results already compare all cells."""
    arguments = parse(argv)
    study, out = STUDIES[arguments.study], cli.output_folder(arguments.out)
    values: dict[str, list[float]] = {cell.name: [] for cell in study.cells}
    for number, seed in enumerate(arguments.seeds, start=1):
        for cell in study.cells:
            values[cell.name].append(complete(study, cell, seed, arguments.further, out))
        rows = [row(cell, values[cell.name], study.measure.factor) for cell in study.cells]
        seeds = arguments.seeds[:number]
        report = {"study": arguments.study, "command": study.command, "published_on": study.published_on}
        report.update(measure=study.measure.text, unit=study.measure.unit, seeds=seeds, rows=rows)
        table = markdown(*study_table(report)) + "\n"
        write_text(out / f"{arguments.study}.json", json.dumps(report, indent=2) + "\n")
        write_text(out / f"{arguments.study}.md", table)
        draw(out / f"{arguments.study}.png", study, rows)
    print(f"{study.title}\n\n{table}\nopen {out / f'{arguments.study}.png'}")
    return 0


if __name__ == "__main__":
    cli.run(main)
