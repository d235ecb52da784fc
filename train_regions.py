"""Trains the region networks (gluon_models/regions/network.py); the defaults are the paper's, Sec. 5.2.

--init takes the weights of networks that are trained already, which then stay as they are: region_parts starts from
region_direct, region_boxes from region_parts; the box network then starts from the direct network's features. Without
it, all networks of a model are trained side by side.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import mxnet as mx
from mxnet.gluon import HybridBlock

from common import cli
from datasets.augment import Augmentation
from datasets.faces import FaceDataset
from datasets.markups import Markup
from engine.fit import Objective
from evaluation.metrics import nme
from gluon_models import InputSpec, describe
from gluon_models.points import PointObjective, make_point_loss
from gluon_models.regions.network import (
    PATIENCE,
    RECIPES,
    Recipe,
    RegionCascade,
    RegionResNet,
    freeze,
    load_stem,
    networks_of,
)
from gluon_models.regions.objective import RegionObjective
from gluon_models.weights import WeightsInfo, fill, load_weights, read_info
from inference.pipeline import PointPredictor, crop_dataset, predict_cropped
from inference.region_bound import predict_with_true_boxes
from training.landmark_training import LandmarkTraining, Validate

MODELS = ("region_direct", "region_parts", "region_boxes")
STARTS = {"region_parts": ("region_direct",), "region_boxes": ("region_direct", "region_parts")}


class RegionTraining(LandmarkTraining):
    """Training of the direct network, and of the cascades' further ones."""

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Adds the paper's choices about the networks."""
        super().add_options(parser)
        imagenet = "parameters of Gluon's resnet50_v1: the networks start from its first convolution (Sec. 5.2)"
        parser.add_argument("--imagenet", metavar="FILE", help=imagenet)
        parser.add_argument("--dense-layers", type=int, default=1, help="at the end of every network (Fig. 5a)")
        jaw = "cascades: let a network of its own place the jaw, which the paper found to be worse (Sec. 5.2)"
        parser.add_argument("--jaw-network", choices=("on", "off"), default="off", help=jaw)
        parser.set_defaults(patience=PATIENCE)

    def describe_network(self, arguments: argparse.Namespace, recipe: Recipe, markup: Markup) -> WeightsInfo:
        """The network that the command line asks for."""
        settings = {"num_landmarks": markup.num_landmarks, "dropout": recipe.dropout}
        settings["dense_layers"] = arguments.dense_layers
        if arguments.model != "region_direct":
            settings["jaw_network"] = arguments.jaw_network == "on"
        return describe(arguments.model, markup.name, **settings)

    def fill_network(self, net: HybridBlock, arguments: argparse.Namespace, contexts: list[mx.Context]) -> None:
        """ImageNet's first convolution for every network, then what --init holds."""
        if arguments.imagenet:
            for each in networks_of(net):
                load_stem(each, arguments.imagenet)
        super().fill_network(net, arguments, contexts)

    def start_from(self, net: HybridBlock, model: str, path: str, contexts: list[mx.Context]) -> None:
        """Fills the whole model, or those of its networks that another model's file holds, which are then frozen."""
        source = read_info(path).model
        if source not in STARTS.get(model, ()):
            fill(net, path, contexts)
            return
        trained, _ = load_weights(path, source, contexts)
        filled = [(net.direct, trained)] if source == "region_direct" else [(net.direct, trained.direct)]
        filled += [(net.parts, trained.parts)] if source == "region_parts" else []
        for target, given in filled:
            if target:
                _copy(given, target, path)
                freeze(target)
        if net.boxes and net.direct:
            _copy_features(net.direct, net.boxes.net)

    def make_objective(
        self, net: HybridBlock, recipe: Recipe, spec: InputSpec, markup: Markup, contexts: list[mx.Context]
    ) -> Objective:
        """Points against points, for a cascade those of each of its networks."""
        if isinstance(net, RegionCascade):
            return RegionObjective(recipe.loss, spec, markup.outer_eye_corners, contexts)
        return PointObjective(make_point_loss(recipe.loss), spec, markup.outer_eye_corners, contexts)

    def augmentation(self, recipe: Recipe) -> Augmentation:
        """The recipe's, with shear and brightness."""
        setting = super().augmentation(recipe)
        return replace(setting, shear_fraction=recipe.shear_fraction, brightness_fraction=recipe.brightness_fraction)

    def make_validate(self, dataset: FaceDataset, normalizer: str, spec: InputSpec, context: mx.Context) -> Validate:
        """NME; of a cascade also that of the direct network, and the bound with true boxes (Fig. 6)."""
        faces = crop_dataset(dataset, spec)

        def measure(net: HybridBlock) -> float:
            predicted = predict_cropped(PointPredictor(net, spec, context), faces)
            return float(nme(predicted, faces.truth_image, normalizer).mean())

        def validate(net: HybridBlock) -> dict[str, float]:
            numbers = {"nme": measure(net)}
            if isinstance(net, RegionCascade):
                bound = predict_with_true_boxes(net, spec, faces, context)
                numbers["nme_true_boxes"] = float(nme(bound, faces.truth_image, normalizer).mean())
                numbers.update({"nme_direct": measure(net.direct)} if net.direct else {})
            return numbers

        return validate


def _copy(source: HybridBlock, target: HybridBlock, path: str) -> None:
    """Gives a network the parameters of another one of exactly its shapes."""
    given, wanted = (list(net.collect_params().values()) for net in (source, target))
    if [parameter.shape for parameter in given] != [parameter.shape for parameter in wanted]:
        raise ValueError(f"{path} belongs to networks of other landmarks or layers: name the weights of these")
    for there, here in zip(given, wanted):
        here.set_data(there.data(there.list_ctx()[0]))


def _copy_features(source: RegionResNet, target: RegionResNet) -> None:
    """Gives a network all parameters of another one but those of its last dense layer [R18]."""
    for there, here in zip(_feature_parameters(source), _feature_parameters(target)):
        here.set_data(there.data(there.list_ctx()[0]))


def _feature_parameters(net: RegionResNet) -> list[mx.gluon.Parameter]:
    last = net.points.collect_params()
    return [parameter for name, parameter in net.collect_params().items() if name not in last]


TRAINING = RegionTraining(__doc__, MODELS, RECIPES)


if __name__ == "__main__":
    cli.run(TRAINING.main)
