"""Random search of learning rate and weight decay, each drawn log-uniformly from a range (DeepPose, Sec. III).

Each trial is an ordinary training run in OUT/trial-000 and so on. Interrupted trials are resumed, finished ones are not
repeated, and a larger --trials adds to the earlier ones. Options not listed here, such as --data, go to the training
script. Trials are judged on the validation faces: DeepPose by its loss, the mean squared error, others by NME.

Writes search.json, search.md and search.png.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple, Sequence

import numpy as np
from matplotlib.figure import Figure

from common import cli
from common.files import write_text, write_whole
from engine.checkpoint import LAST
from report.tables import markdown
from tools.study import refuse_other_run, result_of
from training.discovery import ROOT, training_scripts
from training.studies import MSE, NME, Measure

MEASURES = {"train_deeppose.py": MSE}  # Sec. III: "minimal validation loss"; NME for other scripts
SCRIPTS = tuple(path.name for path in training_scripts(ROOT))


class Trial(NamedTuple):
    """One pair of values and its result.

    Attributes:
        learning_rate: of the optimizer.
        weight_decay: of the optimizer.
        error: the lowest validation error of its epochs; None if the training diverged.
    """

    learning_rate: float
    weight_decay: float
    error: float | None = None


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line; unknown options go to the training script."""
    parser = cli.make_parser(__doc__)
    parser.add_argument("script", choices=SCRIPTS, help="training script")
    parser.add_argument(
        "--trials", type=cli.count, default=20, help="pairs of values to try; the paper does not state how many"
    )
    parser.add_argument("--epochs", type=cli.count, default=10, help="epochs of each trial, the paper's by default")
    parser.add_argument("--lr-range", nargs=2, type=cli.positive, default=[1e-5, 1e-2], metavar=("LOW", "HIGH"))
    parser.add_argument("--wd-range", nargs=2, type=cli.positive, default=[1e-6, 1e-2], metavar=("LOW", "HIGH"))
    parser.add_argument("--search-seed", type=cli.seed, default=0, help="seed of the drawn values")
    parser.add_argument("--out", metavar="DIR", type=cli.path, required=True, help="folder for the runs and the tables")
    arguments, further = parser.parse_known_args(argv)
    arguments.further = further
    for name in ("lr_range", "wd_range"):
        low, high = getattr(arguments, name)
        if not 0 < low <= high < math.inf:
            raise ValueError(f"--{name.replace('_', '-')} {low} {high}: give two numbers above 0, the lower one first")
    return arguments


def draw_trial(number: int, seed: int, rates: Sequence[float], decays: Sequence[float]) -> Trial:
    """The values of one trial; they depend on the seed and its number alone."""
    rng = np.random.default_rng((seed, number))
    drawn = (math.exp(rng.uniform(math.log(low), math.log(high))) for low, high in (rates, decays))
    # Rounded, so that the command line holds exactly the number that was drawn.
    return Trial(*(float(f"{value:.3g}") for value in drawn))


def trial_command(script: str, trial: Trial, epochs: int, further: Sequence[str], folder: Path) -> list[str]:
    """The command of one trial, or the one that resumes it, see `study.run_command`."""
    values = ["--lr", f"{trial.learning_rate:g}", "--wd", f"{trial.weight_decay:g}", "--epochs", str(epochs)]
    place = ["--resume" if (folder / LAST).exists() else "--out", str(folder)]
    return [script, *further, *values, *place]


def complete(script: str, trial: Trial, epochs: int, further: Sequence[str], folder: Path) -> Trial:
    """Trains one trial unless that is done already."""
    measure, command = measure_of(script), trial_command(script, trial, epochs, further, folder)
    refuse_other_run(folder, command)
    if result_of(folder, measure) is None:
        print(shlex.join(command), flush=True)
        subprocess.run([sys.executable, *command], cwd=ROOT, check=False)
    return trial._replace(error=result_of(folder, measure))


def measure_of(script: str) -> Measure:
    """What a script's trials are ranked by."""
    return MEASURES.get(script, NME)


def trials_table(trials: Sequence[Trial], measure: Measure) -> str:
    """The table as Markdown, the best trial first."""
    found = (None if trial.error is None else f"{measure.factor * trial.error:.2f} {measure.unit}" for trial in trials)
    errors = [text or "failed" for text in found]
    values = [(str(k), f"{rate:g}", f"{decay:g}", errors[k]) for k, (rate, decay, _) in enumerate(trials)]
    rows = [values[number] for number in ranked(trials)]
    return markdown(("trial", "learning rate", "weight decay", measure.text), rows) + "\n"


def ranked(trials: Sequence[Trial]) -> list[int]:
    """Numbers of the trials, the best first, failed ones last."""
    return sorted(range(len(trials)), key=lambda k: math.inf if trials[k].error is None else trials[k].error)


def draw(path: Path, trials: Sequence[Trial], measure: Measure) -> None:
    """Draws both values of every trial, the error as colour, a cross where the training failed."""
    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.subplots()
    done = [trial for trial in trials if trial.error is not None]
    failed = [trial for trial in trials if trial.error is None]
    if done:
        rates, decays, errors = zip(*done)
        dots = axes.scatter(
            rates, decays, c=[measure.factor * error for error in errors], cmap="cividis_r", s=70, edgecolors="0.3"
        )
        figure.colorbar(dots, ax=axes, label=f"{measure.text} ({measure.unit})")
    if failed:
        axes.plot([trial.learning_rate for trial in failed], [trial.weight_decay for trial in failed], "x", color="0.4")
    axes.set(xscale="log", yscale="log", xlabel="learning rate", ylabel="weight decay", title="Random search")
    axes.grid(alpha=0.3)
    write_whole(path, lambda part: figure.savefig(part, format="png", dpi=110))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the search; 1 if every trial failed, else 0."""
    arguments = parse(argv)
    out, trials, measure = cli.output_folder(arguments.out), [], measure_of(arguments.script)
    for number in range(arguments.trials):
        drawn = draw_trial(number, arguments.search_seed, arguments.lr_range, arguments.wd_range)
        folder = out / f"trial-{number:03d}"
        trials.append(complete(arguments.script, drawn, arguments.epochs, arguments.further, folder))
        about = {"script": arguments.script, "measure": measure.key}
        rows = [trial._asdict() for trial in trials]
        write_text(out / "search.json", json.dumps({**about, "trials": rows}, indent=2) + "\n")
        write_text(out / "search.md", trials_table(trials, measure))
        draw(out / "search.png", trials, measure)
    best = trials[ranked(trials)[0]]
    print(trials_table(trials, measure))
    if best.error is None:
        print("every trial failed, see above", file=sys.stderr)
        return 1
    print(f"best: --lr {best.learning_rate:g} --wd {best.weight_decay:g}\nopen {out / 'search.png'}")
    return 0


if __name__ == "__main__":
    cli.run(main)
