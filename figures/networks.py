"""The trained networks that figures show."""

from __future__ import annotations

from typing import Callable, Sequence, TypeVar

import mxnet as mx
import numpy as np

from common import cli
from datasets.markups import get_markup
from figures.commands import Option, option
from gluon_models import NetworkInput, load_weights
from inference.landmark_detector import find_weights
from inference.pipeline import PointPredictor
from report.plots import NETWORK_LINES

WEIGHTS = ".params file with its .json, or the name of a shipped network"


class TrainedNetwork:
    """A trained network of one of some models.

    Args:
        path: a .params file with its .json, or the name of weights that ship.
        models: those that the figure can be made of.
        context: where it runs.

    Attributes:
        label: what legends call it: its model's name by default.
        file_label: the same, by its file.
        source: the same, for messages.
        net: the network.
        spec: how it sees a face.
        markup: of its points.

    Raises:
        ValueError, FileNotFoundError: no such weights, or another model's.
    """

    def __init__(self, path: str, models: Sequence[str], context: mx.Context) -> None:
        file = find_weights(path)
        self.net, info = load_weights(file, ctx=context)
        if info.model not in models:
            raise ValueError(f"{path} holds weights of {info.model}: this figure needs {' or '.join(models)}")
        self.label = info.model
        self.file_label = f"{file.resolve().parent.name}/{file.stem}"
        self.source = f"{info.model} of {file}"
        self.spec, self.markup = info.spec, get_markup(info.overrides["num_landmarks"])
        self._context = context
        self._input = NetworkInput(info.spec, [context])
        self._predictor = PointPredictor(self.net, info.spec, context)

    def input(self, crop: np.ndarray) -> mx.nd.NDArray:
        """Crop (S, S, 3) -> what the network takes, (1, C, S, S)."""
        return self._input(crop[None], self._context)

    def points(self, crops: np.ndarray) -> np.ndarray:
        """Crops (n, S, S, 3) -> points_crop (n, K, 2)."""
        return self._predictor(crops)


AnyNetwork = TypeVar("AnyNetwork", bound=TrainedNetwork)


def weights_option(default: str) -> Option:
    """--weights, of figures of one network."""
    return option("--weights", metavar="FILE", type=cli.path, default=default, help=WEIGHTS)


def network_options(defaults: Sequence[str]) -> tuple[Option, Option]:
    """--weights and --labels, of figures of as many networks as there are defaults, or more if these are several."""
    count = "+" if len(defaults) > 1 else 1
    return (
        option("--weights", metavar="FILE", type=cli.path, nargs=count, default=list(defaults), help=WEIGHTS),
        option("--labels", metavar="TEXT", nargs=count, help="names of the networks in the legend, one per FILE"),
    )


def load_networks(
    load: Callable[[str], AnyNetwork],
    weights: Sequence[str],
    labels: Sequence[str] | None,
    most: int = len(NETWORK_LINES),
) -> list[AnyNetwork]:
    """The networks that --weights and --labels name; all of one markup and one crop.

    Args:
        load: makes a network of each of --weights.
        weights: as on the command line.
        labels: as on the command line.
        most: how many the figure can compare.

    Raises:
        ValueError, FileNotFoundError: weights that are missing or do not go together, or not one label for each.
    """
    if labels is not None and len(labels) != len(weights):
        raise ValueError(f"{len(labels)} --labels for {len(weights)} --weights: give one for each")
    if len(weights) > most:
        raise ValueError(f"{len(weights)} --weights: a figure compares {most} networks at most")
    networks = [load(path) for path in weights]
    first = networks[0]
    for other in networks[1:]:
        if (other.markup, other.spec) != (first.markup, first.spec):
            raise ValueError(f"{other.source} and {first.source} see faces or place points differently: compare alike")
    models = [network.label for network in networks]
    for network, label in zip(networks, labels or models):
        same = labels is None and models.count(label) > 1
        network.label = network.file_label if same else label
    names = [network.label for network in networks]
    if len(set(names)) < len(names):
        raise ValueError(f"several networks are called {', '.join(names)}: give each a name of its own with --labels")
    return networks
