"""The figures of the region ResNets (gluon_models/region_resnet.py), one command each, as one PNG file.

Without --data they show rendered faces. See docs/region_resnet.md for what is measured.
"""

from __future__ import annotations

import argparse
from typing import Sequence

import mxnet as mx
import numpy as np

from engine import cli, devices
from evaluation.metrics import nme
from evaluation.plots import draw_faces, draw_networks
from figures.inputs import Sample, add_face_arguments, cli_count, load_sample
from figures.point_network import PointNetwork, extreme_pictures, write_picture
from gluon_models.region_resnet import RegionCascade
from inference.pipeline import CroppedFaces
from inference.region_bound import predict_with_true_boxes

MODELS = ("region_direct", "region_parts", "region_boxes")
BOUND = "true boxes"
LARGEST_ERROR = 0.1  # of the axis, a fraction


def make_ced(arguments: argparse.Namespace, context: mx.Context) -> bytes:
    """Fig. 6 and 7: the cumulative errors of each network, and the bound with boxes about the true points."""
    networks = [PointNetwork(path, MODELS, context) for path in arguments.weights]
    sample = load_sample(arguments, networks[0])
    for other in networks[1:]:
        if other.markup != networks[0].markup:
            raise ValueError(f"{other.source} and {networks[0].source} place different points: compare alike")
    without_jaw = arguments.points == "51"
    kept = [k for k in range(networks[0].markup.num_landmarks) if not without_jaw or k not in jaw_of(networks[0])]
    curves = {network.label: errors_of(sample, network.points(sample.crops), kept) for network in networks}
    cascades = [network for network in networks if isinstance(network.net, RegionCascade)]
    if cascades:
        curves[BOUND] = errors_of(sample, bound_points(cascades[-1], sample, context), kept)
    words = (f"mean error of {len(kept)} points over the {sample.unit}", "faces with at most this error")
    return draw_networks(curves, (0.0, LARGEST_ERROR), words, sample.title)


def jaw_of(network: PointNetwork) -> tuple[int, ...]:
    """The landmarks of the jaw."""
    return network.markup.regions.get("jaw", ())


def errors_of(sample: Sample, predicted: np.ndarray, kept: Sequence[int]) -> np.ndarray:
    """Eq. 1 over some landmarks, (n,) fractions [R13]."""
    return nme(predicted[:, kept], sample.truth_crop[:, kept], sample.lengths)


def bound_points(network: PointNetwork, sample: Sample, context: mx.Context) -> np.ndarray:
    """Points (n, K, 2) in pixels of the crops as if the boxes of the parts were known."""
    plain = np.repeat(np.eye(2, 3)[None], len(sample.crops), axis=0)  # the crops themselves are the images
    faces = CroppedFaces(sample.crops, plain, sample.truth_crop)
    return predict_with_true_boxes(network.net, network.spec, faces, context)


def make_faces(arguments: argparse.Namespace, context: mx.Context) -> bytes:
    """Fig. 8: the worst and the best faces of the last network named."""
    network = PointNetwork(arguments.weights[-1], MODELS, context)
    sample = load_sample(arguments, network)
    predicted = network.points(sample.crops)
    _, worst, best = extreme_pictures(sample, predicted, sample.errors(predicted), arguments.show)
    return draw_faces(worst, best, columns=arguments.show)


FIGURES = {"ced": make_ced, "faces": make_faces}


def make_parser() -> argparse.ArgumentParser:
    """The command line: the figure's name, then its arguments."""
    parser = cli.make_parser(__doc__)
    commands = parser.add_subparsers(metavar="FIGURE", dest="figure", required=True)
    for name, make in FIGURES.items():
        words = str(make.__doc__)
        command = commands.add_parser(name, help=words, description=words, formatter_class=parser.formatter_class)
        what = ".params with its .json beside it, or the name of weights that ship"
        command.add_argument("--weights", metavar="FILE", nargs="+", default=list(MODELS), help=what)
        add_face_arguments(command)
        if name == "ced":
            command.add_argument(
                "--points", choices=("68", "51"), default="68", help="all landmarks, or without the jaw"
            )
        else:
            command.add_argument("--show", type=cli_count, default=4, help="how many faces of each kind")
        command.add_argument("--out", metavar="FILE.png", required=True, help="the picture to write")
        cli.add_device_arguments(command)
    return parser


def main(words: Sequence[str] | None = None) -> int:
    """Draws one figure."""
    arguments = make_parser().parse_args(words)
    context = devices.contexts(arguments.gpus)[0]
    write_picture(arguments.out, lambda: FIGURES[arguments.figure](arguments, context))
    return 0


if __name__ == "__main__":
    cli.run(main)
