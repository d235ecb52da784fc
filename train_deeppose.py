"""Trains DeepPose on faces (gluon_models/deeppose.py); the defaults are the paper's, Sec. III.

Its learning rate and weight decay come from a random search, which tools/search.py runs.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import mxnet as mx
import numpy as np
from mxnet.gluon import HybridBlock

from common import cli
from datasets.augment import Augmentation
from datasets.faces import FaceDataset
from datasets.fixed_samples import Chosen, FixedSamples, split_samples
from datasets.geometry import transform_points
from datasets.markups import Markup
from engine.fit import Objective
from evaluation.metrics import nme
from gluon_models import InputSpec
from gluon_models.deeppose import RECIPES, SPEC, Recipe, load_features
from gluon_models.points import PointObjective, make_point_loss
from inference.pipeline import PointPredictor, crop_dataset, to_image
from training.landmark_training import LandmarkTraining, Validate

HELD_OUT = 0.1  # share of the samples that validation takes [D8]


class DeepPoseTraining(LandmarkTraining):
    """Training of all layers on the points, by samples that are augmented once or anew in every epoch."""

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Adds where the layers start from, and how samples are parted."""
        super().add_options(parser)
        imagenet = "parameters of Gluon's resnet18_v1, or of its first stages: the layers before the last start so"
        parser.add_argument("--imagenet", metavar="FILE", help=imagenet)
        split = "part faces into training and validation before or after copies of them are made (docs/deeppose.md, D8)"
        parser.add_argument("--split", choices=("before", "after"), default="before", help=split)

    def load_faces(self, arguments: argparse.Namespace, recipe: Recipe) -> tuple[FaceDataset, FaceDataset]:
        """The faces, or the samples that are made of them once."""
        train, validation = super().load_faces(arguments, recipe)
        if not recipe.samples:
            return train, validation
        setting, margin = self.changes(recipe), SPEC.box_margin
        if arguments.split == "after":
            samples = FixedSamples(Chosen([train, validation]), recipe.samples, setting, margin, arguments.seed)
            return split_samples(samples, HELD_OUT, arguments.seed)
        held_out = round(HELD_OUT * recipe.samples)
        return (
            FixedSamples(train, recipe.samples - held_out, setting, margin, arguments.seed),
            FixedSamples(validation, held_out, setting, margin, arguments.seed),
        )

    def changes(self, recipe: Recipe) -> Augmentation:
        """How copies differ from a face."""
        setting = super().augmentation(recipe)
        intensity = {"brightness_fraction": recipe.brightness_fraction, "contrast_fraction": recipe.contrast_fraction}
        return replace(setting, **intensity)

    def augmentation(self, recipe: Recipe) -> Augmentation:
        """What changes in every epoch: nothing where samples are made once."""
        return Augmentation() if recipe.samples else self.changes(recipe)

    def fill_network(self, net: HybridBlock, arguments: argparse.Namespace, contexts: list[mx.Context]) -> None:
        """ImageNet's weights as far as the file goes, then those of --init."""
        if arguments.imagenet:
            lacking = load_features(net, arguments.imagenet)
            layers = ", ".join(sorted({name.rsplit(".", 1)[0] for name in lacking}))
            print(f"{arguments.imagenet} has all layers but {layers or 'the last'}" + ", which start at random")
        super().fill_network(net, arguments, contexts)

    def make_objective(
        self, net: HybridBlock, recipe: Recipe, spec: InputSpec, markup: Markup, contexts: list[mx.Context]
    ) -> Objective:
        """Points against points."""
        return PointObjective(make_point_loss(recipe.loss), spec, markup.outer_eye_corners, contexts)

    def make_validate(self, dataset: FaceDataset, normalizer: str, spec: InputSpec, context: mx.Context) -> Validate:
        """NME, and the paper's mean squared error per coordinate in squared pixels of the crop [D9]."""
        faces = crop_dataset(dataset, spec)
        pairs = zip(faces.truth_image, faces.matrices)
        truth_crop = np.stack([transform_points(points, matrix) for points, matrix in pairs])

        def validate(net: HybridBlock) -> dict[str, float]:
            points_crop = PointPredictor(net, spec, context)(faces.crops)
            error = nme(to_image(points_crop, faces.matrices), faces.truth_image, normalizer).mean()
            return {"nme": float(error), "mse": float(np.nanmean(np.square(points_crop - truth_crop)))}

        return validate


TRAINING = DeepPoseTraining(__doc__, ("deeppose_resnet18",), RECIPES)


if __name__ == "__main__":
    cli.run(TRAINING.main)
