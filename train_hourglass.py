"""Trains the modified stacked hourglass (gluon_models/hourglass.py); the defaults are the paper's, Sec. 4.1.

The paper trains on --dataset 300w_lp_3d [H19]. --backbone-weights loads Gluon's ResNet-50 as trained on ImageNet;
without it all weights start at random, as in the paper.
"""

from __future__ import annotations

from common import cli  # first: Ctrl-C while the others are imported shows no traceback

# isort: split
from dataclasses import dataclass, replace

import numpy as np
from mxnet.gluon import HybridBlock

from common.options import option
from datasets.augment import Augmentation, with_colour, with_photometric
from datasets.faces import FaceDataset
from datasets.heatmaps import HeatmapCodec
from datasets.markups import Markup
from engine.feed import Objective
from gluon_models import describe
from gluon_models.backbones import BACKBONE_STAGES, BACKBONES, zoo_command
from gluon_models.hourglass import (
    BLOCKS,
    CPU_RECIPE,
    RECIPE,
    SKIPS,
    SPEC,
    HeatmapObjective,
    Recipe,
    decay_weights_alone,
    load_backbone,
)
from gluon_models.weights import WeightsInfo
from training.landmark_training import LandmarkTraining, TrainingContext, Validate
from training.settings import LandmarkSettings

MODELS = ("hourglass_resnet50",)
RECIPES = {"paper": {"": RECIPE}, "cpu": {"": CPU_RECIPE}}


@dataclass(frozen=True)
class HourglassSettings(LandmarkSettings):
    """The hourglass's own options: what the network consists of and what its backbone starts from."""

    backbone_weights: str | None = option(
        None, "initial weights of the backbone: Gluon's resnet50_v1 or resnet50_v2, such as ImageNet's", metavar="FILE"
    )
    size: int = option(
        SPEC.size, "side of the crop in pixels, which the paper does not state [H1]; smaller crops train faster"
    )
    stacks: int = option(4, "number of stacked hourglasses")
    channels: int = option(256, "channels of their feature maps")
    depth: int = option(4, "how often an hourglass halves its feature maps")
    backbone_stride: int = option(
        SPEC.stride,
        "pixels of the crop per heatmap cell: the first 1, 2 or 3 residual stages of ResNet-50",
        choices=tuple(BACKBONE_STAGES),
    )
    backbone: str = option(BACKBONES[0], "version of ResNet-50", choices=BACKBONES)
    block: str = option(
        BLOCKS[0], "main stream: lambda-residual (Fig. 4b), the same with lambda 1, original (Fig. 4c)", choices=BLOCKS
    )
    skip: str = option(
        SKIPS[0], "branch stream: 1x1 convolution as in the paper, or the main stream's block", choices=SKIPS
    )
    merge_lambda: bool = option(False, "a lambda where the branch joins the main stream, too")
    frozen_stages: int = option(
        0, "stages of the backbone that are not trained: 1 is conv1, 2 includes conv2_x, and so on"
    )


class HourglassTraining(LandmarkTraining):
    """Trains every stack on the heatmaps of annotated points."""

    settings_type = HourglassSettings

    def describe_network(self, settings: HourglassSettings, recipe: Recipe, markup: Markup) -> WeightsInfo:
        """The network to train."""
        if settings.frozen_stages and not (settings.backbone_weights or settings.init):
            raise ValueError("--frozen-stages needs trained weights: pass --backbone-weights or --init too")
        step = settings.backbone_stride * 2**settings.depth
        if settings.size < step or settings.size % step:
            text = f"--size {settings.size} --depth {settings.depth}"
            raise ValueError(f"{text}: give a multiple of {step}, or less depth")
        info = describe(
            settings.model,
            markup.name,
            num_landmarks=markup.num_landmarks,
            stacks=settings.stacks,
            channels=settings.channels,
            depth=settings.depth,
            backbone_stride=settings.backbone_stride,
            backbone_version=settings.backbone,
            block=settings.block,
            skip=settings.skip,
            merge_lambda=settings.merge_lambda,
            score_init=recipe.score_init,
            frozen_stages=settings.frozen_stages,
        )
        return replace(info, spec=replace(info.spec, size=settings.size, decoding=recipe.decoding))

    def fill_network(self, net: HybridBlock, context: TrainingContext) -> None:
        """Loads the backbone's weights of --backbone-weights, then the whole network's of --init."""
        path = context.settings.backbone_weights
        if path:
            missing = load_backbone(net, path)
            if missing:
                print(f"{path} has no {', '.join(missing)}: these start from random weights")
        super().fill_network(net, context)

    def start_advice(self, context: TrainingContext) -> str:
        """Whether the paper's ResNet-50 starts from ImageNet's weights is not stated [H25]."""
        settings = context.settings
        if settings.backbone_weights or settings.init:
            return ""
        classifier = f"resnet50_{settings.backbone}"
        return f"pass --backbone-weights {classifier}.params, which this writes: {zoo_command(classifier)}"

    def make_objective(self, net: HybridBlock, context: TrainingContext) -> Objective:
        """Compares the heatmaps of every stack, beside a weight decay of all parameters or of weights alone."""
        if not context.recipe.decays_all:
            decay_weights_alone(net)
        spec = context.spec
        codec = HeatmapCodec(spec.size // spec.stride, spec.stride, spec.sigma)
        return HeatmapObjective(codec.profiles, spec, context.devices, context.recipe.loss)

    def augmentation(self, recipe: Recipe) -> Augmentation:
        """The recipe's augmentation, whose range of scales is not symmetric (Sec. 4.1) [H24]."""
        if not 0 < recipe.smallest_scale <= recipe.largest_scale:
            text = f"--smallest-scale {recipe.smallest_scale} --largest-scale {recipe.largest_scale}"
            raise ValueError(f"{text}: give two numbers above 0, the smaller one first")
        geometry = Augmentation(
            rotation_degrees=recipe.rotation_degrees,
            scale_range=(recipe.smallest_scale, recipe.largest_scale),
            shift_fraction=recipe.shift_fraction,
            flip_probability=recipe.flip_probability,
        )
        if recipe.photometric:
            return with_photometric(geometry)
        return with_colour(geometry) if recipe.colour_jitter else geometry

    def make_validate(self, dataset: FaceDataset, context: TrainingContext) -> Validate:
        """NME of every stack, and the mean of each stack's lambdas."""
        measure = super().make_validate(dataset, context)
        return lambda net: {**measure(net), **mean_lambdas(net)}


def mean_lambdas(net: HybridBlock) -> dict[str, float]:
    """The mean of the trained lambdas of each stack, {"lambda_stack_0": ...}; nothing where there are none."""
    means = {}
    for index, stack in enumerate(net.cascade.stacks):
        found = [each for each in stack.collect_params(".*lambda$").values() if each.grad_req != "null"]
        if found:
            means[f"lambda_stack_{index}"] = float(
                np.mean([each.data(each.list_ctx()[0]).asscalar() for each in found])
            )
    return means


TRAINING = HourglassTraining(__doc__, MODELS, RECIPES)


if __name__ == "__main__":
    cli.run(TRAINING.main)
