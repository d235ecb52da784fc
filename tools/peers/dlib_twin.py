"""Measures dlib's landmark predictor on this machine, for python -m tools.benchmark --peers; prints one line of JSON.

Its time depends on the number and depth of its trees, not on what they have learnt: it is trained here for a moment on
rendered faces, with as many trees as the predictor of 68 points that dlib's author shares.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import Any, Sequence

import dlib
import numpy as np

from common import cli
from datasets.render.faces import RenderedFaces
from engine.timing import time_prediction

TRAINING_FACES = 8
CASCADE_DEPTH = 15  # levels of 500 trees


def train(size: int, seed: int, levels: int = CASCADE_DEPTH) -> Any:
    """A predictor of 68 points; it has seen too few faces to be of use."""
    options = dlib.shape_predictor_training_options()
    options.cascade_depth, options.oversampling_amount, options.num_test_splits = levels, 1, 1
    options.num_threads, options.random_seed = 1, str(seed)
    images, detections = [], []
    for face in RenderedFaces(TRAINING_FACES, seed, size):
        points = dlib.points([dlib.point(int(x), int(y)) for x, y in face.points_image.round()])
        images.append(np.ascontiguousarray(face.image))
        detections.append([dlib.full_object_detection(whole(size), points)])
    return dlib.train_shape_predictor(images, detections, options)


def whole(size: int) -> Any:
    """The box of a whole crop."""
    return dlib.rectangle(0, 0, size - 1, size - 1)


def predict(predictor: Any, crops: np.ndarray) -> np.ndarray:
    """Points (n, 68, 2) of crops (n, S, S, 3), one after another, as dlib has no batches."""
    box = whole(crops.shape[1])
    return np.array([[(point.x, point.y) for point in predictor(crop, box).parts()] for crop in crops], np.float64)


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.make_parser(__doc__)
    parser.add_argument("--size", type=cli.count, default=224, help="pixels of a crop's side")
    parser.add_argument("--seconds", type=cli.positive, default=10.0, help="length of each measurement")
    parser.add_argument("--seed", type=cli.seed, default=0, help="of the rendered faces")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Prints what it costs."""
    arguments = make_parser().parse_args(argv)
    predictor = train(arguments.size, arguments.seed)
    crops = np.stack([face.image for face in RenderedFaces(TRAINING_FACES, arguments.seed + 1, arguments.size)])
    print(json.dumps(asdict(time_prediction(lambda batch: predict(predictor, batch), crops, arguments.seconds))))
    return 0


if __name__ == "__main__":
    cli.run(main)
