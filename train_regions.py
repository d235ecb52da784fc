"""Trains the region networks (gluon_models/regions/network.py); the defaults are the paper's, Sec. 5.2.

--init loads networks that are already trained and freezes them: region_parts starts from region_direct, region_boxes
from region_parts; with --box-start direct, as in the cpu recipe, the box network starts
from the direct network's features. Without --init, all networks of a
model are trained side by side.
"""

from __future__ import annotations

from common import cli  # first: Ctrl-C while the others are imported shows no traceback

# isort: split
from dataclasses import dataclass, replace

import mxnet as mx
import numpy as np
from mxnet.gluon import HybridBlock

from common.options import option
from datasets.augment import Augmentation
from datasets.faces import FaceDataset
from datasets.geometry import transform_points
from datasets.markups import Markup, get_markup
from engine.feed import Objective
from gluon_models import describe
from gluon_models.backbones import zoo_command
from gluon_models.blocks import freeze
from gluon_models.points import PointObjective, make_point_loss
from gluon_models.regions.bound import predict_with_true_boxes
from gluon_models.regions.network import (
    BOX_STARTS,
    CHANNELS,
    PATIENCE,
    RECIPES,
    Recipe,
    RegionCascade,
    RegionResNet,
    load_stem,
    networks_of,
)
from gluon_models.regions.objective import RegionObjective
from gluon_models.weights import WeightsInfo, load_weights, read_info
from inference.pipeline import crop_dataset, predict_cropped, to_image
from training.landmark_training import LandmarkTraining, TrainingContext, Validate
from training.settings import LandmarkSettings

MODELS = ("region_direct", "region_parts", "region_boxes")
STARTS = {"region_parts": ("region_direct",), "region_boxes": ("region_direct", "region_parts")}


@dataclass(frozen=True)
class RegionSettings(LandmarkSettings):
    """The region networks' own options."""

    patience: int = PATIENCE
    imagenet: str | None = option(
        None, "initial weights of the networks' first convolution: Gluon's resnet50_v1 (Sec. 5.2)", metavar="FILE"
    )
    blocks: int = option(len(CHANNELS), "residual blocks of the direct network; those of parts have one less", least=1)
    dense_layers: int = option(1, "dense layers at the end of every network (Fig. 5a)")
    jaw_network: bool = option(
        False, "cascades: a network of its own places the jaw, which the paper found to be worse (Sec. 5.2)"
    )


class RegionTraining(LandmarkTraining):
    """Trains the direct network, or a cascade's networks side by side."""

    settings_type = RegionSettings

    def describe_network(self, settings: RegionSettings, recipe: Recipe, markup: Markup) -> WeightsInfo:
        """The network to train."""
        if markup.name != get_markup(markup.num_landmarks).name:
            raise ValueError(f"the regions of {markup.name} points are not known here: train another network on them")
        overrides = {"num_landmarks": markup.num_landmarks, "dropout": recipe.dropout}
        overrides["dense_layers"] = settings.dense_layers
        if settings.blocks > len(CHANNELS):
            raise ValueError(f"--blocks {settings.blocks}: there are {len(CHANNELS)} at most")
        if settings.blocks < len(CHANNELS):
            overrides.update(channels=list(CHANNELS[: settings.blocks]), units=[1] * settings.blocks)
        if settings.model != "region_direct":
            overrides["jaw_network"] = settings.jaw_network
        return describe(settings.model, markup.name, **overrides)

    def fill_network(self, net: HybridBlock, context: TrainingContext) -> None:
        """Loads ImageNet's first convolution into every network, then the weights of --init."""
        if context.recipe.box_start not in BOX_STARTS:
            raise ValueError(f"unknown --box-start '{context.recipe.box_start}': choose one of {', '.join(BOX_STARTS)}")
        if context.settings.imagenet:
            for each in networks_of(net):
                load_stem(each, context.settings.imagenet)
        super().fill_network(net, context)

    def start_advice(self, context: TrainingContext) -> str:
        """The paper starts from ImageNet's first convolution (Sec. 5.2)."""
        if context.settings.imagenet or context.settings.init:
            return ""
        return f"pass --imagenet resnet50_v1.params, which this writes: {zoo_command('resnet50_v1')}"

    def start_from(self, net: HybridBlock, path: str, context: TrainingContext) -> None:
        """Fills the whole model, or freezes and fills those of its networks that another model's file holds."""
        source = read_info(path).model
        if source not in STARTS.get(context.settings.model, ()):
            self.fill_from(net, path, context)
            return
        trained, _ = load_weights(path, source, context.devices)
        filled = [(net.direct, trained)] if source == "region_direct" else [(net.direct, trained.direct)]
        filled += [(net.parts, trained.parts)] if source == "region_parts" else []
        for target, given in filled:
            if target:
                _copy(given, target, path)
                freeze(target)
        if net.boxes and net.direct and context.recipe.box_start == "direct":
            _copy_features(net.direct, net.boxes.net)

    def make_objective(self, net: HybridBlock, context: TrainingContext) -> Objective:
        """Compares points, for a cascade those of each of its networks."""
        loss, spec, eye_corners = context.recipe.loss, context.spec, context.markup.outer_eye_corners
        if isinstance(net, RegionCascade):
            return RegionObjective(loss, spec, eye_corners, context.devices)
        return PointObjective(make_point_loss(loss), spec, eye_corners, context.devices)

    def augmentation(self, recipe: Recipe) -> Augmentation:
        """The recipe's augmentation, with shear and brightness."""
        setting = super().augmentation(recipe)
        return replace(setting, shear_fraction=recipe.shear_fraction, brightness_fraction=recipe.brightness_fraction)

    def make_validate(self, dataset: FaceDataset, context: TrainingContext) -> Validate:
        """NME; of a cascade also that of its direct network, and the bound with true boxes (Fig. 6)."""
        faces, spec, device = crop_dataset(dataset, context.spec), context.spec, context.devices[0]
        batch_size = context.settings.validation_batch_size

        def error(predicted: np.ndarray) -> float:
            return context.error(predicted, faces.truth_image)

        def measure(net: HybridBlock) -> float:
            return error(predict_cropped(context.predictor(net), faces))

        def validate(net: HybridBlock) -> dict[str, float]:
            numbers = {"nme": measure(net)}
            if isinstance(net, RegionCascade):
                pairs = zip(faces.truth_image, faces.matrices)
                truth_crop = np.stack([transform_points(points, matrix) for points, matrix in pairs])
                bound = predict_with_true_boxes(net, spec, faces.crops, truth_crop, device, batch_size)
                numbers["nme_true_boxes"] = error(to_image(bound, faces.matrices))
                numbers.update({"nme_direct": measure(net.direct)} if net.direct else {})
            return numbers

        return validate


def _copy(source: HybridBlock, target: HybridBlock, path: str) -> None:
    """Copies the parameters of a network into another of exactly the same shapes."""
    given, wanted = (list(net.collect_params().values()) for net in (source, target))
    if [parameter.shape for parameter in given] != [parameter.shape for parameter in wanted]:
        raise ValueError(f"{path} belongs to networks with other landmarks or layers: name weights of these")
    for there, here in zip(given, wanted):
        here.set_data(there.data(there.list_ctx()[0]))


def _copy_features(source: RegionResNet, target: RegionResNet) -> None:
    """Copies all parameters of a network but those of its last dense layer into another [R18]."""
    for there, here in zip(_feature_parameters(source), _feature_parameters(target)):
        here.set_data(there.data(there.list_ctx()[0]))


def _feature_parameters(net: RegionResNet) -> list[mx.gluon.Parameter]:
    last = net.points.collect_params()
    return [parameter for name, parameter in net.collect_params().items() if name not in last]


TRAINING = RegionTraining(__doc__, MODELS, RECIPES)


if __name__ == "__main__":
    cli.run(TRAINING.main)
