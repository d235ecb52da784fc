"""Measures landmarks on tilted faces: 300-W's validation photos are turned about each face, to either side.

Prints the mean NME over the outer eye corners' distance in per cent, from the tight box of the turned landmarks: by one
pass, as the papers; as for a given box, which adds passes where the face is tilted; and as for a found face, whose
second pass is upright.
"""

from __future__ import annotations

import argparse
from typing import Sequence

import numpy as np

from common import cli
from datasets.catalog import training_pair
from datasets.degradations import View, plain_view, turned_by
from datasets.faces import Face, FaceDataset
from datasets.geometry import landmark_box, transform_points
from engine import devices
from evaluation.metrics import nme
from gluon_models import load_weights
from inference.landmark_detector import find_weights, markup_of
from inference.pipeline import PointPredictor, locate, locate_at
from inference.tilt import TiltedBox
from report.tables import markdown

WAYS = ("one pass", "a given box", "a found face")


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = cli.make_parser(__doc__)
    parser.add_argument("--data", metavar="DIR", type=cli.path, required=True, help="folder of 300-W")
    parser.add_argument("--allow-missing", action="store_true", help="measure on the photos that are there")
    parser.add_argument("--model", default="ffld_resnet18", help="landmark network, by name or file")
    parser.add_argument(
        "--degrees", type=cli.number, nargs="+", default=[0, 15, 30, 45, 60], help="angles that photos are turned by"
    )
    cli.add_device_arguments(parser)
    return parser.parse_args(argv)


def errors_of(predictor: PointPredictor, view: View, points_image: np.ndarray) -> list[float]:
    """NME of one face by each of `WAYS`, a fraction."""
    box = landmark_box(points_image)
    found = (
        locate_at(predictor, [view.image], [TiltedBox(box)]),
        locate(predictor, view.image, [box]),
        locate(predictor, view.image, [box], passes=2),
    )
    return [nme(points, points_image[None], "outer_eye")[0] for points in found]


def turned(face: Face, degrees: float) -> tuple[View, np.ndarray]:
    """The face's picture turned clockwise, and its points there (K, 2)."""
    view = turned_by(plain_view(face.image, face.box), degrees)
    return view, transform_points(face.points_image, view.matrix)


def measure(predictor: PointPredictor, faces: FaceDataset, degrees: float) -> np.ndarray:
    """Mean NME (3,) by each of `WAYS` over faces turned by that angle to either side."""
    sides = sorted({-degrees, degrees})
    progress = cli.progress(range(len(faces)), f"{degrees:g} degrees")
    errors = [errors_of(predictor, *turned(faces[index], side)) for index in progress for side in sides]
    return np.mean(errors, axis=0)


def main(argv: Sequence[str] | None = None) -> int:
    """Measures as the command line says."""
    arguments = parse(argv)
    context = devices.contexts(arguments.gpus)[0]
    _, validation = training_pair("300w", arguments.data, arguments.allow_missing)
    net, info = load_weights(find_weights(arguments.model), None, context)
    predictor = PointPredictor(net, info.spec, context, markup=markup_of(info))
    columns = [measure(predictor, validation, degrees) for degrees in arguments.degrees]
    heads = ["photos turned by", *(f"{degrees:g}°" for degrees in arguments.degrees)]
    rows = [[way, *(f"{100 * column[k]:.2f} %" for column in columns)] for k, way in enumerate(WAYS)]
    print(markdown(heads, rows))
    return 0


if __name__ == "__main__":
    cli.run(main)
