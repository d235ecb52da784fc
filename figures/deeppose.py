"""The figures of DeepPose on faces (M. Zupancic, CS231n; gluon_models/deeppose.py), one command each, as one PNG file.

Without --data they show rendered faces. See docs/deeppose.md for what is measured.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Callable, NamedTuple, Sequence

import mxnet as mx
import numpy as np
from matplotlib.figure import Figure

from engine import cli, devices
from evaluation.plots import BLUE, ORANGE, draw_faces, to_png
from figures.inputs import Sample, add_face_arguments, cli_count, load_sample
from figures.point_network import PointNetwork, extreme_pictures, write_picture
from inference.saliency import draw_saliency, pixel_gradients, saliency_maps

MODELS = ("deeppose_resnet18",)
HISTOGRAM_BINS = 40


def squared_errors(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The mean over the annotated coordinates of each face, (n,) squared pixels of the crop [D9]."""
    return np.nanmean(np.square(predicted - truth), axis=(1, 2))


def make_losses(arguments: argparse.Namespace, context: mx.Context) -> bytes:
    """Fig. 3: training loss and validation's mean squared error by epoch, of a run of train_deeppose.py."""
    path = Path(arguments.run) / "log.jsonl"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there: --run takes the folder of a training run")
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    figure = Figure(figsize=(7.2, 4.8), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([line["epoch"] for line in lines], [line["loss"] for line in lines], color=BLUE, label="training loss")
    measured = [(line["epoch"], line["mse"]) for line in lines if "mse" in line]
    if measured:
        axes.plot(*zip(*measured), color=ORANGE, linestyle="--", label="validation, squared pixels")
    axes.set(xlabel="epoch", ylabel="loss", yscale="log", title=f"Loss over the epochs of {Path(arguments.run).name}")
    axes.grid(color="0.88")
    axes.legend()
    return to_png(figure)


def make_histogram(arguments: argparse.Namespace, context: mx.Context) -> bytes:
    """Fig. 4: how the mean squared errors of the faces are distributed."""
    sample, _, errors = _measured(arguments, PointNetwork(arguments.weights, MODELS, context))
    figure = Figure(figsize=(7.2, 4.8), layout="constrained")
    axes = figure.add_subplot()
    axes.hist(errors, bins=HISTOGRAM_BINS, color=BLUE)
    axes.axvline(errors.mean(), color=ORANGE, linestyle="--", label=f"mean {errors.mean():.2f}")
    axes.set(xlabel="mean squared error of a face, squared pixels of the crop", ylabel="faces", title=sample.title)
    axes.legend()
    return to_png(figure)


def make_faces(arguments: argparse.Namespace, context: mx.Context) -> bytes:
    """Fig. 5: the worst and the best faces by mean squared error, with their normalised mean errors."""
    sample, predicted, errors = _measured(arguments, PointNetwork(arguments.weights, MODELS, context))
    _, worst, best = extreme_pictures(sample, predicted, errors, arguments.show)
    return draw_faces(worst, best, columns=arguments.show)


def make_saliency(arguments: argparse.Namespace, context: mx.Context) -> bytes:
    """Fig. 6: which pixels the error of the best and the worst faces depends on, each map from 0 to its largest."""
    network = PointNetwork(arguments.weights, MODELS, context)
    sample, predicted, errors = _measured(arguments, network)
    chosen, _, _ = extreme_pictures(sample, predicted, errors, arguments.show)
    crops, truth = sample.crops[chosen], sample.truth_crop[chosen]
    maps = saliency_maps(pixel_gradients(network.net, network.spec, crops, truth, context))
    figure = Figure(figsize=(2.5 * arguments.show, 10.6), layout="constrained")
    axes = figure.subplots(4, arguments.show, squeeze=False)
    for place, (number, crop, each) in enumerate(zip(chosen, crops, maps)):
        rank, column = divmod(place, arguments.show)
        words = f"{('worst', 'best')[rank]}: {errors[number]:.1f} px²"
        axes[2 * rank, column].imshow(crop)
        axes[2 * rank, column].set_title(words, fontsize=9)
        axes[2 * rank + 1, column].imshow(draw_saliency(each))
        axes[2 * rank + 1, column].set_title(f"largest {each.max():.2g} px² per grey level", fontsize=8)
    for each in axes.ravel():
        each.set_axis_off()
    return to_png(figure)


def _measured(arguments: argparse.Namespace, network: PointNetwork) -> tuple[Sample, np.ndarray, np.ndarray]:
    """The faces, the predicted points (n, K, 2) in pixels of their crops, and the squared errors (n,)."""
    sample = load_sample(arguments, network)
    predicted = network.points(sample.crops)
    return sample, predicted, squared_errors(predicted, sample.truth_crop)


class Command(NamedTuple):
    """One figure: what draws it, whether it needs a run instead of weights and faces, and whether it shows faces."""

    make: Callable[[argparse.Namespace, mx.Context], bytes]
    of_run: bool = False
    shows: bool = False


FIGURES = {
    "losses": Command(make_losses, of_run=True),
    "histogram": Command(make_histogram),
    "faces": Command(make_faces, shows=True),
    "saliency": Command(make_saliency, shows=True),
}


def make_parser() -> argparse.ArgumentParser:
    """The command line: the figure's name, then its arguments."""
    parser = cli.make_parser(__doc__)
    commands = parser.add_subparsers(metavar="FIGURE", dest="figure", required=True)
    for name, each in FIGURES.items():
        words = str(each.make.__doc__)
        command = commands.add_parser(name, help=words, description=words, formatter_class=parser.formatter_class)
        if each.of_run:
            command.add_argument("--run", metavar="RUN", required=True, help="folder of a training run")
        else:
            what = ".params with its .json beside it, or the name of weights that ship"
            command.add_argument("--weights", metavar="FILE", default=MODELS[0], help=what)
            add_face_arguments(command)
        if each.shows:
            command.add_argument("--show", type=cli_count, default=3, help="how many faces of each kind")
        command.add_argument("--out", metavar="FILE.png", required=True, help="the picture to write")
        cli.add_device_arguments(command)
    return parser


def main(words: Sequence[str] | None = None) -> int:
    """Draws one figure."""
    arguments = make_parser().parse_args(words)
    context = devices.contexts(arguments.gpus)[0]
    write_picture(arguments.out, lambda: FIGURES[arguments.figure].make(arguments, context))
    return 0


if __name__ == "__main__":
    cli.run(main)
