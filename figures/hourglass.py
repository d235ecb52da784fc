"""The figures of the modified stacked hourglass (gluon_models/hourglass.py), one command each, as one PNG file.

Without --data they show rendered faces, or matplotlib's sample photo where they look into a single face. See
docs/figures.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Callable, NamedTuple, Sequence

import mxnet as mx
import numpy as np
from matplotlib.figure import Figure

from datasets.markups import IBUG_68, Markup
from engine import cli, devices
from evaluation.plots import NETWORK_LINES, draw_faces, to_png
from figures.inputs import add_face_arguments, cli_count, crop_photo, load_sample, spread
from figures.point_network import PointNetwork, extreme_pictures, write_picture
from figures.training_log import read_log
from gluon_models import NetworkInput
from gluon_models.hourglass import StackedHourglass

MODELS = ("hourglass_resnet50",)
# Fig. 2: right jaw, chin, left jaw, left eyebrow, right eye, nose and mouth, by the subject's sides.
FIG_2_LANDMARKS = (4, 8, 12, 24, 36, 30, 57)
LOG_PREFIX = "lambda_stack_"  # of what train_hourglass.py writes for each stack and epoch


def make_maps(arguments: argparse.Namespace, context: mx.Context) -> bytes:
    """Fig. 2: the landmarks of one face, and score maps of some of them over it."""
    network = PointNetwork(arguments.weights, MODELS, context)
    crop = one_face(arguments, network)
    landmarks = arguments.landmarks or sample_landmarks(network.markup)
    if max(landmarks) >= network.markup.num_landmarks:
        raise ValueError(f"--landmarks: give numbers from 0 to {network.markup.num_landmarks - 1}")
    maps = network.net(NetworkInput(network.spec, [context])(crop[None], context))[0].asnumpy()
    figure = Figure(figsize=(2.1 * (1 + len(landmarks)), 2.5), layout="constrained")
    first, *others = figure.subplots(1, 1 + len(landmarks))
    first.imshow(crop)
    first.plot(*network.points(crop[None])[0].T, "o", color="white", markersize=1.8)
    first.set_title("landmarks", fontsize=9)
    for axes, landmark in zip(others, landmarks):
        axes.imshow(crop)
        axes.imshow(maps[landmark], extent=map_extent(network.spec.size), cmap="jet", alpha=0.5)
        axes.set_title(
            f"{network.markup.names[landmark].replace('_', ' ')}\nlargest {maps[landmark].max():.2f}", fontsize=8
        )
    for axes in (first, *others):
        axes.set(xlim=(-0.5, network.spec.size - 0.5), ylim=(network.spec.size - 0.5, -0.5))
        axes.set_axis_off()
    return to_png(figure)


def map_extent(size: int) -> tuple[float, float, float, float]:
    """Where a map lies over a crop of `size` pixels: its cells cover the crop's pixels, edge to edge."""
    return (-0.5, size - 0.5, size - 0.5, -0.5)


def sample_landmarks(markup: Markup) -> Sequence[int]:
    """Those of Fig. 2; of another markup as many, spread over all of its."""
    if markup.num_landmarks == IBUG_68.num_landmarks:
        return FIG_2_LANDMARKS
    return spread(markup.num_landmarks, len(FIG_2_LANDMARKS)).tolist()


def one_face(arguments: argparse.Namespace, network: PointNetwork) -> np.ndarray:
    """The crop (S, S, 3) of the data set's face --face, or of --input, or of the sample photo."""
    if not (arguments.data or arguments.dataset):
        return crop_photo(arguments.input, network.spec)
    if arguments.input:
        raise ValueError("--input names one face, --data or --dataset another: leave one out")

    def pick(count: int) -> list[int]:
        if arguments.face >= count:
            raise ValueError(f"--face {arguments.face}: give a number from 0 to {count - 1}")
        return [arguments.face]

    return load_sample(arguments, network, pick).crops[0]


def make_faces(arguments: argparse.Namespace, context: mx.Context) -> bytes:
    """Fig. 5: the worst and the best faces, with true and predicted points."""
    network = PointNetwork(arguments.weights, MODELS, context)
    sample = load_sample(arguments, network)
    predicted = network.points(sample.crops)
    _, worst, best = extreme_pictures(sample, predicted, sample.errors(predicted), arguments.show)
    return draw_faces(worst, best, columns=min(arguments.show, 6))


def make_lambdas(arguments: argparse.Namespace, context: mx.Context) -> bytes:
    """The lambda of every block of a trained network, along each stack from its start to its maps."""
    network = PointNetwork(arguments.weights, MODELS, context)
    stacks = lambdas_by_place(network.net)
    if not stacks[0]:
        raise ValueError(f"{network.source} is made of original blocks, which have no lambda: name another")
    figure = Figure(figsize=(1.6 + 0.55 * len(stacks[0]), 4.4), layout="constrained")
    axes = figure.add_subplot()
    for index, (stack, (colour, dash)) in enumerate(zip(stacks, NETWORK_LINES), start=1):
        axes.plot(list(stack), list(stack.values()), marker="o", color=colour, linestyle=dash, label=f"stack {index}")
    axes.axhline(1.0, color="0.45", linewidth=1)
    axes.tick_params(axis="x", rotation=60)
    axes.set(ylabel="lambda, which starts at 1", title=f"Lambdas of {network.label} by block")
    axes.grid(color="0.88")
    axes.legend()
    return to_png(figure)


def lambdas_by_place(net: StackedHourglass) -> list[dict[str, float]]:
    """For each stack its lambdas by the place of their block, from the stack's start to its end."""
    stacks: list[dict[str, float]] = [{} for _ in net.cascade.stacks]
    for path, parameter in net.cascade.stacks._collect_params_with_prefix().items():
        stack, _, place = path.partition(".")
        if place.endswith(".factor"):
            stacks[int(stack)][place_words(place)] = float(parameter.data(parameter.list_ctx()[0]).asscalar())
    return stacks


def place_words(place: str) -> str:
    """In words where in a stack a lambda stands, such as "before 1" of hourglass.before.scale.factor, the full size."""
    parts = place.split(".")[:-1]
    if parts[-1] == "scale":
        parts.pop()
    level = parts.count("inner")
    if parts == ["block"]:
        return "behind"
    return "bottom" if parts[-1] == "inner" else f"{parts[-1]} {level + 1}"


def make_history(arguments: argparse.Namespace, context: mx.Context) -> bytes:
    """The mean of each stack's lambdas over the epochs of a training run."""
    lines = [line for line in read_log(arguments.run) if f"{LOG_PREFIX}0" in line]
    if not lines:
        raise ValueError(
            f"{arguments.run} has no lambdas in its log: name a run of train_hourglass.py that trains them"
        )
    names = [name for name in lines[0] if name.startswith(LOG_PREFIX)]
    figure = Figure(figsize=(7.2, 4.4), layout="constrained")
    axes = figure.add_subplot()
    for name, (colour, dash) in zip(names, NETWORK_LINES):
        words = f"stack {int(name[len(LOG_PREFIX) :]) + 1}"
        epochs, values = [line["epoch"] for line in lines], [line[name] for line in lines]
        axes.plot([0, *epochs], [1.0, *values], color=colour, linestyle=dash, label=words)
    axes.set(
        xlabel="epoch",
        ylabel="mean lambda of the stack",
        title=f"Lambdas over the epochs of {Path(arguments.run).name}",
    )
    axes.grid(color="0.88")
    axes.legend()
    return to_png(figure)


class Command(NamedTuple):
    """One figure: what draws it, and which arguments it takes: of a run, of weights, of faces, of a single one."""

    make: Callable[[argparse.Namespace, mx.Context], bytes]
    takes: tuple[str, ...]


FIGURES = {
    "maps": Command(make_maps, ("weights", "faces", "single")),
    "faces": Command(make_faces, ("weights", "faces", "many")),
    "lambdas": Command(make_lambdas, ("weights",)),
    "history": Command(make_history, ("run",)),
}


def make_parser() -> argparse.ArgumentParser:
    """The command line: the figure's name, then its arguments."""
    parser = cli.make_parser(__doc__)
    parser.prog = "python -m figures.hourglass"
    commands = parser.add_subparsers(metavar="FIGURE", dest="figure", required=True)
    for name, each in FIGURES.items():
        words = str(each.make.__doc__)
        command = commands.add_parser(name, help=words, description=words, formatter_class=parser.formatter_class)
        _add_arguments(command, each.takes)
        command.add_argument("--out", metavar="FILE.png", required=True, help="the picture to write")
        cli.add_device_arguments(command)
    return parser


def _add_arguments(command: argparse.ArgumentParser, takes: Sequence[str]) -> None:
    if "run" in takes:
        command.add_argument("--run", metavar="RUN", required=True, help="folder of a training run")
    if "weights" in takes:
        what = ".params with its .json beside it, or the name of weights that ship"
        command.add_argument("--weights", metavar="FILE", default=MODELS[0], help=what)
    if "faces" in takes:
        add_face_arguments(command)
    if "many" in takes:
        command.add_argument("--show", type=cli_count, default=6, help="how many faces of each kind")
    if "single" in takes:
        command.add_argument("--input", metavar="PHOTO", help="photo with a face; else matplotlib's sample photo")
        command.add_argument("--face", type=_number, default=0, help="which face of the data set, counted from 0")
        what = "whose maps to show, counted from 0; those of Fig. 2 if left out"
        command.add_argument("--landmarks", type=_number, nargs="+", metavar="NUMBER", help=what)


def _number(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is no number from 0 on")
    return int(text)


def main(words: Sequence[str] | None = None) -> int:
    """Draws one figure."""
    arguments = make_parser().parse_args(words)
    context = devices.contexts(arguments.gpus)[0]
    write_picture(arguments.out, lambda: FIGURES[arguments.figure].make(arguments, context))
    return 0


if __name__ == "__main__":
    cli.run(main)
