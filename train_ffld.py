"""Trains FFLD and its baselines (gluon_models/ffld/network.py); the defaults are the paper's, Sec. 6.6.

FFLD needs a baseline that is trained already: --init takes its weights.
"""

from __future__ import annotations

import argparse
from typing import Any, Callable, Mapping, Sequence

import mxnet as mx
import numpy as np
from mxnet.gluon import HybridBlock

from common import cli
from datasets.faces import FaceDataset
from datasets.markups import Markup
from datasets.pose_balance import balanced_indices
from datasets.render.faces import RenderedFaces
from engine.fit import Objective
from gluon_models import InputSpec, describe
from gluon_models.ffld.network import FFLD, RECIPES, Recipe, recipes_for
from gluon_models.ffld.objective import RefinementObjective
from gluon_models.points import PointLoss, PointObjective
from gluon_models.weights import WeightsInfo, fill, read_info
from training.landmark_training import LandmarkTraining

BASELINES = {"ffld_resnet18": "resnet18_slim", "ffld_resnet50": "resnet50_slim"}
MODELS = (*BASELINES.values(), *BASELINES)


class FFLDTraining(LandmarkTraining):
    """Training of the baselines on their points, of FFLD on those of all stages."""

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Adds the switches of Table 6."""
        super().add_options(parser)
        baseline = "FFLD: put a baseline's weights in, after those of --init"
        parser.add_argument("--baseline", metavar="FILE", help=baseline)
        low_level = "FFLD: let the refinements' losses train the maps they look at, the paper's low level (Table 6)"
        parser.add_argument("--map-gradient", choices=("on", "off"), default="on", help=low_level)
        location = "FFLD: let them train the points they start from, the paper's crop location (Table 6)"
        parser.add_argument("--location-gradient", choices=("on", "off"), default="on", help=location)

    def recipes_for(self, model: str, dataset: str) -> Mapping[str, Recipe]:
        """The paper has other values for pre-training, AFLW and refinement."""
        return recipes_for(model, dataset)

    def describe_network(self, arguments: argparse.Namespace, recipe: Recipe, markup: Markup) -> WeightsInfo:
        """The network that the command line asks for; FFLD has a refinement for each loss but the first."""
        settings: dict[str, Any] = {"num_landmarks": markup.num_landmarks}
        if arguments.model in BASELINES:
            settings["num_stages"] = recipe.loss.count("/")
            settings["map_gradient"] = arguments.map_gradient == "on"
            settings["location_gradient"] = arguments.location_gradient == "on"
        return describe(arguments.model, markup.name, **settings)

    def fill_network(self, net: HybridBlock, arguments: argparse.Namespace, contexts: list[mx.Context]) -> None:
        """Gives the network the weights of --init, then its baseline those of --baseline."""
        super().fill_network(net, arguments, contexts)
        if not arguments.baseline:
            return
        expected = BASELINES.get(arguments.model)
        if read_info(arguments.baseline).model != expected:
            wanted = f"name weights of {expected}" if expected else f"{arguments.model} is one itself, use --init"
            raise ValueError(f"--baseline {arguments.baseline}: {wanted}")
        fill(net.cascade.baseline, arguments.baseline, contexts)

    def start_from(self, net: HybridBlock, model: str, path: str, contexts: list[mx.Context]) -> None:
        """Fills the network from a file, which may be of FFLD's baseline alone, or of FFLD with more stages."""
        source = read_info(path)
        baseline_only = source.model == BASELINES.get(model)
        fewer_stages = isinstance(net, FFLD) and source.overrides.get("num_stages", 0) > net.num_stages
        fill(net.cascade.baseline if baseline_only else net, path, contexts, whole=not fewer_stages)

    def make_objective(
        self, net: HybridBlock, recipe: Recipe, spec: InputSpec, markup: Markup, contexts: list[mx.Context]
    ) -> Objective:
        """Points against points, for FFLD at every stage."""
        if isinstance(net, FFLD):
            return RefinementObjective(net, recipe.loss.split("/"), spec, markup.outer_eye_corners, contexts)
        return PointObjective(PointLoss(recipe.loss), spec, markup.outer_eye_corners, contexts)

    def loader_order(self, faces: FaceDataset, recipe: Recipe, seed: int) -> np.ndarray | None:
        """Rare poses as often as common ones where the recipe asks for it (Sec. 6.6)."""
        if not recipe.balance_poses:
            return None
        if isinstance(faces, RenderedFaces):
            raise ValueError("--balance-poses: rendered faces are drawn one by one; take a data set of photos")
        order = balanced_indices(faces.points, seed=seed)
        print(f"poses balanced: {len(order)} faces in an epoch")
        return order

    def make_before_epoch(self, objective: Objective, recipe: Recipe) -> Callable[[list[dict[str, Any]]], None]:
        """Takes Align Loss's Gaussian away once the loss stops going down (Sec. 6.6)."""

        def before_epoch(history: list[dict[str, Any]]) -> None:
            smooths = isinstance(objective, RefinementObjective) and objective.smooths
            if smooths and plateau(history, recipe.gaussian_patience):
                objective.remove_gaussian()
                print(f"Align Loss without its Gaussian from epoch {len(history) + 1} on")

        return before_epoch


TRAINING = FFLDTraining(__doc__, MODELS, RECIPES)


def plateau(history: Sequence[dict[str, float]], patience: int) -> bool:
    """Whether at some time `patience` epochs in a row brought no training loss below the lowest before them."""
    lowest, since = float("inf"), 0
    for line in history:
        lowest, since = (line["loss"], 0) if line["loss"] < lowest else (lowest, since + 1)
        if since == patience:
            return True
    return False


if __name__ == "__main__":
    cli.run(TRAINING.main)
