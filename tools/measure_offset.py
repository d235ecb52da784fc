"""Measures how far to the right of where a mirror image says annotators put a data set's points.

A network's points, averaged with those that it predicts in the mirror image, lie as far to the left as to the right of
where they belong, whatever it learned. So the mean of the annotated points less these is the annotators' own habit
[P1]. Prints it in thousandths of the longer side of the faces' tight boxes; measure it on training faces alone.
"""

from __future__ import annotations

import argparse
from typing import Sequence

import numpy as np

from common import cli
from datasets.catalog import DATASETS, training_pair
from datasets.geometry import landmark_box, mirror_matrix, transform_points
from datasets.markups import Markup
from engine import devices
from gluon_models import list_models, shipped_weights
from inference.evaluation import load_predictor
from inference.pipeline import PointPredictor, predict_dataset


class BothWays:
    """Runs a network on crops and on their mirror images, and takes the mean of both."""

    def __init__(self, predictor: PointPredictor, markup: Markup) -> None:
        self.spec, self.batch_size, self.markup = predictor.spec, predictor.batch_size, markup
        self._predictor = predictor

    def __call__(self, crops: np.ndarray) -> np.ndarray:
        """Crops (n, S, S, 3) uint8 RGB -> points_crop (n, K, 2), in pixels of the crop."""
        back = mirror_matrix(self.spec.size)
        mirrored = transform_points(self._predictor(crops[:, :, ::-1]), back)[:, list(self.markup.flip_order)]
        return 0.5 * (self._predictor(crops) + mirrored)


def offsets_of(predicted_image: np.ndarray, truth_image: np.ndarray) -> np.ndarray:
    """How far points (N, K, 2) lie to the right of predicted ones, over the longer side of their box: (N,)."""
    boxes = np.stack([landmark_box(points) for points in truth_image])
    sides = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
    return (truth_image - predicted_image)[..., 0].mean(axis=1) / sides


def main(argv: Sequence[str] | None = None) -> int:
    """Measures it as the command line says."""
    parser = cli.make_parser(__doc__)
    parser.add_argument("--model", choices=list_models(), default="ffld_resnet18", help="network that predicts")
    parser.add_argument("--dataset", choices=DATASETS, default="300w", help="data set")
    parser.add_argument("--data", metavar="DIR", type=cli.path, required=True, help="folder of the data set")
    parser.add_argument("--allow-missing", action="store_true", help="use the part of the data set that is there")
    parser.add_argument("--faces", type=cli.count, default=750, help="training faces, evenly from all")
    cli.add_device_arguments(parser)
    arguments: argparse.Namespace = parser.parse_args(argv)
    context = devices.contexts(arguments.gpus)[0]
    faces = training_pair(arguments.dataset, arguments.data, arguments.allow_missing)[0]
    faces = faces.subset(np.linspace(0, len(faces) - 1, min(arguments.faces, len(faces))).round().astype(int))
    predictor, _ = load_predictor(shipped_weights(arguments.model), arguments.model, context)
    found = predict_dataset(BothWays(predictor, faces.markup), faces, progress=lambda k: cli.progress(k, "predicting"))
    offsets = 1000 * offsets_of(found.points_image, found.truth_image)
    error = offsets.std(ddof=1) / np.sqrt(len(offsets))
    print(f"{len(offsets)} faces: {offsets.mean():.2f} thousandths to the right, standard error {error:.2f}")
    return 0


if __name__ == "__main__":
    cli.run(main)
