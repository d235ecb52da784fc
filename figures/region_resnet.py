"""The figures of the region ResNets (gluon_models/regions/network.py), one command each, as one PNG file.

Without --data they show rendered faces. See docs/region_resnet.md for what is measured.
"""

from __future__ import annotations

from functools import partial
from typing import Sequence

import mxnet as mx
import numpy as np

from common import cli
from evaluation.metrics import nme
from figures.commands import Command, FaceChoice, FigureCommands, option, show_option
from figures.inputs import FACES, Sample, extreme_pictures, load_sample
from figures.networks import TrainedNetwork, load_networks, network_options
from gluon_models.regions.bound import predict_with_true_boxes
from gluon_models.regions.network import RegionCascade
from report.plots import NETWORK_LINES, draw_faces, draw_networks

MODELS = ("region_direct", "region_parts", "region_boxes")
BOUND = "true boxes"
LARGEST_ERROR = 0.1  # of the axis, a fraction


def make_ced(
    context: mx.Context, weights: list[str], labels: list[str] | None, faces: FaceChoice, points: str
) -> bytes:
    """Fig. 6 and 7: the cumulative errors of each network, and the bound with boxes about the true points."""
    load = partial(TrainedNetwork, models=MODELS, context=context)
    # The bound is one more curve.
    networks = load_networks(load, weights, labels, most=len(NETWORK_LINES) - 1)
    sample = load_sample(faces, networks[0])
    without_jaw = points == "51"
    kept = [k for k in range(networks[0].markup.num_landmarks) if not without_jaw or k not in jaw_of(networks[0])]
    curves = {network.label: errors_of(sample, network.points(sample.crops), kept) for network in networks}
    cascades = [network for network in networks if isinstance(network.net, RegionCascade)]
    if cascades:
        last = cascades[-1]
        bound = predict_with_true_boxes(last.net, last.spec, sample.crops, sample.truth_crop, context)
        curves[BOUND] = errors_of(sample, bound, kept)
    text = (f"mean error of {len(kept)} points over the {sample.unit}", "faces with at most this error")
    return draw_networks(curves, (0.0, LARGEST_ERROR), text, sample.title)


def jaw_of(network: TrainedNetwork) -> tuple[int, ...]:
    """The landmarks of the jaw."""
    return network.markup.regions.get("jaw", ())


def errors_of(sample: Sample, predicted: np.ndarray, kept: Sequence[int]) -> np.ndarray:
    """Eq. 1 over some landmarks, (n,) fractions [R13]."""
    return nme(predicted[:, kept], sample.truth_crop[:, kept], sample.lengths)


def make_faces(context: mx.Context, weights: list[str], faces: FaceChoice, show: int) -> bytes:
    """Fig. 8: the worst and the best faces of the last network named."""
    network = TrainedNetwork(weights[-1], MODELS, context)
    sample = load_sample(faces, network)
    predicted = network.points(sample.crops)
    _, worst, best = extreme_pictures(sample, predicted, sample.errors(predicted), show)
    return draw_faces(worst, best, columns=show)


NETWORKS = network_options(MODELS)
POINTS = option("--points", choices=("68", "51"), default="68", help="all 68 landmarks, or the 51 without the jaw")
FIGURES = {
    "ced": Command(make_ced, (*NETWORKS, *FACES, POINTS)),
    "faces": Command(make_faces, (NETWORKS[0], *FACES, show_option(4))),
}
COMMANDS = FigureCommands("region_resnet", __doc__, FIGURES)


if __name__ == "__main__":
    cli.run(COMMANDS.main)
