"""The figures of the modified stacked hourglass (gluon_models/hourglass.py), one command each, as one PNG file.

Without --data they show rendered faces, or matplotlib's sample photo where they show a single face. See
docs/figures.md.
"""

from __future__ import annotations

from typing import Sequence

import mxnet as mx
from matplotlib.figure import Figure

from common import cli
from datasets.markups import IBUG_68, Markup
from figures.commands import Command, FaceChoice, FigureCommands, check_number, option, show_option
from figures.inputs import FACE, FACES, INPUT, extreme_pictures, load_sample, one_face, spread
from figures.networks import TrainedNetwork, weights_option
from figures.training_log import RUN, by_epoch, draw_epochs, read_log
from gluon_models.hourglass import StackedHourglass
from report.plots import NETWORK_LINES, draw_faces, to_png

MODELS = ("hourglass_resnet50",)
# Fig. 2: right jaw, chin, left jaw, left eyebrow, right eye, nose and mouth, by the subject's sides.
FIG_2_LANDMARKS = (4, 8, 12, 24, 36, 30, 57)
LOG_PREFIX = "lambda_stack_"  # of what train_hourglass.py writes for each stack and epoch


def make_maps(
    context: mx.Context,
    weights: str,
    faces: FaceChoice,
    photo: str | None,
    face: int | None,
    landmarks: list[int] | None,
) -> bytes:
    """Fig. 2: the landmarks of one face, and heatmaps of some of them over it."""
    network = TrainedNetwork(weights, MODELS, context)
    crop = one_face(network, faces, photo, face)
    landmarks = landmarks or sample_landmarks(network.markup)
    for landmark in landmarks:
        check_number("landmarks", landmark, network.markup.num_landmarks)
    maps = network.net(network.input(crop))[0].asnumpy()
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


def make_faces(context: mx.Context, weights: str, faces: FaceChoice, show: int) -> bytes:
    """Fig. 5: the worst and the best faces, with true and predicted points."""
    network = TrainedNetwork(weights, MODELS, context)
    sample = load_sample(faces, network)
    predicted = network.points(sample.crops)
    _, worst, best = extreme_pictures(sample, predicted, sample.errors(predicted), show)
    return draw_faces(worst, best, columns=min(show, 6))


def make_lambdas(context: mx.Context, weights: str) -> bytes:
    """The lambda of every block of a trained network, along each stack from its start to its maps."""
    network = TrainedNetwork(weights, MODELS, context)
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
            stacks[int(stack)][place_text(place)] = float(parameter.data(parameter.list_ctx()[0]).asscalar())
    return stacks


def place_text(place: str) -> str:
    """In words where in a stack a lambda stands, such as "before 1" of hourglass.before.scale.factor, the full size."""
    parts = place.split(".")[:-1]
    if parts[-1] == "scale":
        parts.pop()
    level = parts.count("inner")
    if parts == ["block"]:
        return "behind"
    return "bottom" if parts[-1] == "inner" else f"{parts[-1]} {level + 1}"


def make_history(context: mx.Context, run: str) -> bytes:
    """The mean of each stack's lambdas over the epochs of a training run."""
    log = read_log(run)
    names = sorted({name for line in log for name in line if name.startswith(LOG_PREFIX)})
    if not names:
        raise ValueError(f"{run} has no lambdas in its log: name a run of train_hourglass.py that trains them")
    curves = {f"stack {int(name[len(LOG_PREFIX) :]) + 1}": {0: 1.0, **by_epoch(log, name)} for name in names}
    return draw_epochs(run, curves, "Lambdas", "mean lambda of the stack")


WEIGHTS = weights_option(MODELS[0])
LANDMARKS = option(
    "--landmarks",
    type=cli.count_or_none,
    nargs="+",
    metavar="NUMBER",
    help="landmarks whose heatmaps to show, from 0 (default: as in Fig. 2)",
)
FIGURES = {
    "maps": Command(make_maps, (WEIGHTS, *FACES, INPUT, FACE, LANDMARKS)),
    "faces": Command(make_faces, (WEIGHTS, *FACES, show_option(6))),
    "lambdas": Command(make_lambdas, (WEIGHTS,)),
    "history": Command(make_history, (RUN,)),
}
COMMANDS = FigureCommands("hourglass", __doc__, FIGURES)


if __name__ == "__main__":
    cli.run(COMMANDS.main)
