"""Networks that answer points in one step, and their faces in order of error: what two papers' figures are made of."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, Sequence

import mxnet as mx
import numpy as np

from datasets.images import write_whole
from datasets.markups import get_markup
from engine.files import make_folder
from evaluation.plots import Picture
from figures.inputs import Sample
from gluon_models import load_weights
from inference.landmark_detector import find_weights
from inference.pipeline import PointPredictor


class PointNetwork:
    """A trained network of one of some models.

    Args:
        path: a .params file with its .json, or the name of weights that ship.
        models: those that the figure can be made of.
        context: where it runs.

    Attributes:
        label: its model's name.
        source: the same with the file, for messages.
        net: the network.
        spec: how it sees a face.
        markup: of its points.

    Raises:
        ValueError, FileNotFoundError: no such weights, or those of another model.
    """

    def __init__(self, path: str, models: Sequence[str], context: mx.Context) -> None:
        file = find_weights(path)
        self.net, info = load_weights(file, ctx=context)
        if info.model not in models:
            raise ValueError(f"{path} holds weights of {info.model}: this figure needs {' or '.join(models)}")
        self.label, self.source = info.model, f"{info.model} of {file}"
        self.spec, self.markup = info.spec, get_markup(info.overrides["num_landmarks"])
        self._predictor = PointPredictor(self.net, info.spec, context)

    def points(self, crops: np.ndarray) -> np.ndarray:
        """Crops (n, S, S, 3) -> points_crop (n, K, 2)."""
        return self._predictor(crops)


def extreme_pictures(
    sample: Sample, predicted: np.ndarray, order_by: np.ndarray, count: int
) -> tuple[np.ndarray, list[Picture], list[Picture]]:
    """The worst and the best faces.

    Args:
        sample: the faces.
        predicted: (n, K, 2) pixels of their crops.
        order_by: (n,), what is lower for better faces.
        count: of each kind.

    Returns:
        The numbers of the faces, the worst from the worst on, then the best from the best on; the same as pictures,
        whose errors are normalised mean errors.
    """
    order = np.argsort(order_by, kind="stable")
    worst, best = order[::-1][:count], order[:count]
    errors = sample.errors(predicted)

    def pictures(chosen: np.ndarray) -> list[Picture]:
        names = [sample.faces.names[sample.indices[k]] for k in chosen]
        crops, truth = sample.crops, sample.truth_crop
        return [Picture(crops[k], predicted[k], truth[k], name, errors[k]) for k, name in zip(chosen, names)]

    return np.concatenate([worst, best]), pictures(worst), pictures(best)


def write_picture(out: str, draw: Callable[[], bytes]) -> None:
    """Draws a figure into a PNG file and says so.

    Raises:
        ValueError: the name is not of a PNG file; nothing is drawn.
    """
    path = Path(out)
    if path.suffix.lower() != ".png":
        raise ValueError(f"--out {out}: figures are PNG files; give a name that ends in .png")
    picture = draw()
    make_folder(path.parent)
    write_whole(path, picture)
    print(f"open {path}")
