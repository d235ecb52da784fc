"""The figures of DeepPose on faces (M. Zupancic, CS231n; gluon_models/deeppose.py), one command each, as one PNG file.

Without --data they show rendered faces. See docs/deeppose.md for what is measured.
"""

from __future__ import annotations

import mxnet as mx
import numpy as np
from matplotlib.figure import Figure

from common import cli
from figures.commands import Command, FaceChoice, FigureCommands, show_option
from figures.inputs import FACES, Sample, extreme_pictures, load_sample
from figures.networks import TrainedNetwork, weights_option
from figures.saliency import draw_saliency, pixel_gradients, saliency_maps
from figures.training_log import RUN, by_epoch, draw_epochs, read_log
from report.plots import BLUE, ORANGE, draw_faces, to_png

MODELS = ("deeppose_resnet18",)
HISTOGRAM_BINS = 40


def squared_errors(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The mean over the annotated coordinates of each face, (n,) squared pixels of the crop [D9]."""
    return np.nanmean(np.square(predicted - truth), axis=(1, 2))


def make_losses(context: mx.Context, run: str) -> bytes:
    """Fig. 3: training loss and validation's mean squared error by epoch, of a run of train_deeppose.py."""
    log = read_log(run)
    curves = {"training loss": by_epoch(log, "loss"), "validation, squared pixels": by_epoch(log, "mse")}
    return draw_epochs(run, curves, "Loss", "loss", yscale="log")


def make_histogram(context: mx.Context, weights: str, faces: FaceChoice) -> bytes:
    """Fig. 4: how the mean squared errors of the faces are distributed."""
    sample, _, errors = _measured(faces, TrainedNetwork(weights, MODELS, context))
    figure = Figure(figsize=(7.2, 4.8), layout="constrained")
    axes = figure.add_subplot()
    axes.hist(errors, bins=HISTOGRAM_BINS, color=BLUE)
    axes.axvline(errors.mean(), color=ORANGE, linestyle="--", label=f"mean {errors.mean():.2f}")
    axes.set(xlabel="mean squared error of a face, squared pixels of the crop", ylabel="faces", title=sample.title)
    axes.legend()
    return to_png(figure)


def make_faces(context: mx.Context, weights: str, faces: FaceChoice, show: int) -> bytes:
    """Fig. 5: the worst and the best faces by mean squared error, with their normalized mean errors."""
    sample, predicted, errors = _measured(faces, TrainedNetwork(weights, MODELS, context))
    _, worst, best = extreme_pictures(sample, predicted, errors, show)
    return draw_faces(worst, best, columns=show)


def make_saliency(context: mx.Context, weights: str, faces: FaceChoice, show: int) -> bytes:
    """Fig. 6: which pixels the error of the best and the worst faces depends on, each map from 0 to its largest."""
    network = TrainedNetwork(weights, MODELS, context)
    sample, predicted, errors = _measured(faces, network)
    chosen, _, _ = extreme_pictures(sample, predicted, errors, show)
    crops, truth = sample.crops[chosen], sample.truth_crop[chosen]
    maps = saliency_maps(pixel_gradients(network.net, network.spec, crops, truth, context))
    figure = Figure(figsize=(2.5 * show, 10.6), layout="constrained")
    axes = figure.subplots(4, show, squeeze=False)
    for place, (number, crop, each) in enumerate(zip(chosen, crops, maps)):
        rank, column = divmod(place, show)
        text = f"{('worst', 'best')[rank]}: {errors[number]:.1f} px²"
        axes[2 * rank, column].imshow(crop)
        axes[2 * rank, column].set_title(text, fontsize=9)
        axes[2 * rank + 1, column].imshow(draw_saliency(each))
        axes[2 * rank + 1, column].set_title(f"largest {each.max():.2g} px² per grey level", fontsize=8)
    for each in axes.ravel():
        each.set_axis_off()
    return to_png(figure)


def _measured(choice: FaceChoice, network: TrainedNetwork) -> tuple[Sample, np.ndarray, np.ndarray]:
    """The faces, the predicted points (n, K, 2) in pixels of their crops, and the squared errors (n,)."""
    sample = load_sample(choice, network)
    predicted = network.points(sample.crops)
    return sample, predicted, squared_errors(predicted, sample.truth_crop)


WEIGHTS, SHOW = weights_option(MODELS[0]), show_option(3)
FIGURES = {
    "losses": Command(make_losses, (RUN,)),
    "histogram": Command(make_histogram, (WEIGHTS, *FACES)),
    "faces": Command(make_faces, (WEIGHTS, *FACES, SHOW)),
    "saliency": Command(make_saliency, (WEIGHTS, *FACES, SHOW)),
}
COMMANDS = FigureCommands("deeppose", __doc__, FIGURES)


if __name__ == "__main__":
    cli.run(COMMANDS.main)
