"""Trains the modified stacked hourglass (gluon_models/hourglass.py); the defaults are the paper's, Sec. 4.1.

--dataset 300w_lp_3d is the paper's [H19]. --backbone-weights takes Gluon's ResNet-50 as ImageNet trained it; without it
all weights start at random, as in the paper.
"""

from __future__ import annotations

import argparse

import mxnet as mx
import numpy as np
from mxnet.gluon import HybridBlock

from common import cli
from datasets.augment import Augmentation, with_colour, with_photometric
from datasets.faces import FaceDataset
from datasets.heatmaps import HeatmapCodec
from datasets.markups import Markup
from engine.fit import Objective
from gluon_models import InputSpec, describe
from gluon_models.backbones import BACKBONE_STAGES, BACKBONES
from gluon_models.hourglass import (
    BLOCKS,
    CPU_RECIPE,
    RECIPE,
    SKIPS,
    SPEC,
    HeatmapObjective,
    Recipe,
    load_backbone,
)
from gluon_models.weights import WeightsInfo
from training.landmark_training import LandmarkTraining, Validate

MODELS = ("hourglass_resnet50",)
RECIPES = {"paper": {"": RECIPE}, "cpu": {"": CPU_RECIPE}}


class HourglassTraining(LandmarkTraining):
    """Training of every stack on the score maps of annotated points."""

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Adds what the network is made of and what its backbone starts from."""
        super().add_options(parser)
        zoo = "parameters of Gluon's resnet50_v1 or resnet50_v2 for the backbone, such as ImageNet's"
        parser.add_argument("--backbone-weights", metavar="FILE", help=zoo)
        parser.add_argument("--stacks", type=int, default=4, help="hourglasses in a row")
        parser.add_argument("--channels", type=int, default=256, help="of their maps")
        parser.add_argument("--depth", type=int, default=4, help="how often an hourglass halves its maps")
        stride = "pixels of the crop per cell of the maps: the first 1, 2 or 3 residual stages of ResNet-50"
        parser.add_argument(
            "--backbone-stride", type=int, choices=tuple(BACKBONE_STAGES), default=SPEC.stride, help=stride
        )
        parser.add_argument("--backbone", choices=BACKBONES, default=BACKBONES[0], help="version of ResNet-50")
        block = "of the main stream: lambda-residual (Fig. 4b), the same with its lambda kept at 1, original (Fig. 4c)"
        parser.add_argument("--block", choices=BLOCKS, default=BLOCKS[0], help=block)
        skip = "of the branch stream: 1x1 convolution as in the paper, or the main stream's block"
        parser.add_argument("--skip", choices=SKIPS, default=SKIPS[0], help=skip)
        merge = "have a lambda where the branch joins the main stream, too"
        parser.add_argument("--merge-lambda", choices=("on", "off"), default="off", help=merge)
        frozen = "stages of the backbone that are not trained: 1 is conv1, 2 conv2_x as well, and so on"
        parser.add_argument("--frozen-stages", type=int, default=0, help=frozen)

    def describe_network(self, arguments: argparse.Namespace, recipe: Recipe, markup: Markup) -> WeightsInfo:
        """The network that the command line asks for."""
        if arguments.frozen_stages and not (arguments.backbone_weights or arguments.init):
            raise ValueError("--frozen-stages keeps what is learnt already: name --backbone-weights or --init too")
        return describe(
            arguments.model,
            markup.name,
            num_landmarks=markup.num_landmarks,
            stacks=arguments.stacks,
            channels=arguments.channels,
            depth=arguments.depth,
            backbone_stride=arguments.backbone_stride,
            backbone_version=arguments.backbone,
            block=arguments.block,
            skip=arguments.skip,
            merge_lambda=arguments.merge_lambda == "on",
            score_init=recipe.score_init,
            frozen_stages=arguments.frozen_stages,
        )

    def fill_network(self, net: HybridBlock, arguments: argparse.Namespace, contexts: list[mx.Context]) -> None:
        """Gives the backbone the zoo's weights where they are named, then the whole network those of --init."""
        if arguments.backbone_weights:
            lacking = load_backbone(net, arguments.backbone_weights)
            if lacking:
                print(f"{arguments.backbone_weights} has no {', '.join(lacking)}: at random")
        super().fill_network(net, arguments, contexts)

    def make_objective(
        self, net: HybridBlock, recipe: Recipe, spec: InputSpec, markup: Markup, contexts: list[mx.Context]
    ) -> Objective:
        """Maps against maps, for every stack."""
        codec = HeatmapCodec(spec.size // spec.stride, spec.stride, spec.sigma)
        return HeatmapObjective(codec.encode, spec, contexts)

    def augmentation(self, recipe: Recipe) -> Augmentation:
        """The recipe's, whose sizes are no symmetric range (Sec. 4.1) [H24]."""
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

    def make_validate(self, dataset: FaceDataset, normalizer: str, spec: InputSpec, context: mx.Context) -> Validate:
        """NME of every stack, and the mean of each stack's lambdas."""
        measure = super().make_validate(dataset, normalizer, spec, context)
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
