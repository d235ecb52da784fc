"""Trains DeepPose on faces (gluon_models/deeppose.py); the defaults are the paper's, Sec. III.

Its learning rate and weight decay come from a random search, which tools/search.py runs.
"""

from __future__ import annotations

from common import cli  # first: Ctrl-C while the others are imported shows no traceback

# isort: split
from dataclasses import dataclass, replace

import numpy as np
from mxnet.gluon import HybridBlock

from common.options import option
from datasets.augment import Augmentation
from datasets.faces import FaceDataset
from datasets.fixed_samples import Chosen, FixedSamples, split_samples
from datasets.geometry import transform_points
from engine.feed import Objective
from gluon_models.backbones import zoo_command
from gluon_models.deeppose import RECIPES, SPEC, Recipe, load_features
from gluon_models.points import PointObjective, make_point_loss
from inference.pipeline import crop_dataset, to_image
from training.landmark_training import LandmarkTraining, TrainingContext, Validate
from training.settings import LandmarkSettings

HELD_OUT = 0.1  # share of the samples that validation takes [D8]


@dataclass(frozen=True)
class DeepPoseSettings(LandmarkSettings):
    """DeepPose's own options."""

    imagenet: str | None = option(
        None, "initial weights of all layers but the last: Gluon's resnet18_v1 or its first stages", metavar="FILE"
    )
    split: str = option(
        "after",
        "hold out validation samples before or after copies of faces are made (docs/deeppose.md, D8)",
        choices=("before", "after"),
    )


class DeepPoseTraining(LandmarkTraining):
    """Trains all layers on points, with samples augmented once, or again in every epoch."""

    settings_type = DeepPoseSettings

    def load_faces(self, settings: DeepPoseSettings, recipe: Recipe) -> tuple[FaceDataset, FaceDataset]:
        """The faces, or the samples made of them once."""
        train, validation = super().load_faces(settings, recipe)
        if not recipe.samples:
            return train, validation
        changes, margin, seed = self.changes(recipe), SPEC.box_margin, settings.seed
        if settings.split == "after":
            samples = FixedSamples(Chosen([train, validation]), recipe.samples, changes, margin, seed)
            return split_samples(samples, HELD_OUT, seed)
        held_out = round(HELD_OUT * recipe.samples)
        return (
            FixedSamples(train, recipe.samples - held_out, changes, margin, seed),
            FixedSamples(validation, held_out, changes, margin, seed),
        )

    def changes(self, recipe: Recipe) -> Augmentation:
        """How copies differ from a face."""
        setting = super().augmentation(recipe)
        intensity = {"brightness_fraction": recipe.brightness_fraction, "contrast_fraction": recipe.contrast_fraction}
        return replace(setting, **intensity)

    def augmentation(self, recipe: Recipe) -> Augmentation:
        """Changes in every epoch: none where samples are made once."""
        return Augmentation() if recipe.samples else self.changes(recipe)

    def fill_network(self, net: HybridBlock, context: TrainingContext) -> None:
        """Loads ImageNet's weights as far as the file goes, then those of --init."""
        path = context.settings.imagenet
        if path:
            missing = load_features(net, path)
            layers = ", ".join(sorted({name.rsplit(".", 1)[0] for name in missing}))
            print(f"{path} holds all layers but {layers or 'the last'}, which start from random weights")
        super().fill_network(net, context)

    def start_advice(self, context: TrainingContext) -> str:
        """The paper starts from ImageNet's weights (Sec. III)."""
        if context.settings.imagenet or context.settings.init:
            return ""
        return f"pass --imagenet resnet18_v1.params, which this writes: {zoo_command('resnet18_v1')}"

    def make_objective(self, net: HybridBlock, context: TrainingContext) -> Objective:
        """Compares points."""
        loss = make_point_loss(context.recipe.loss)
        return PointObjective(loss, context.spec, context.markup.outer_eye_corners, context.devices)

    def make_validate(self, dataset: FaceDataset, context: TrainingContext) -> Validate:
        """NME, and the paper's mean squared error per coordinate in squared pixels of the crop [D9]."""
        faces = crop_dataset(dataset, context.spec)
        pairs = zip(faces.truth_image, faces.matrices)
        truth_crop = np.stack([transform_points(points, matrix) for points, matrix in pairs])

        def validate(net: HybridBlock) -> dict[str, float]:
            points_crop = context.predictor(net)(faces.crops)
            error = context.error(to_image(points_crop, faces.matrices), faces.truth_image)
            return {"nme": error, "mse": float(np.nanmean(np.square(points_crop - truth_crop)))}

        return validate


TRAINING = DeepPoseTraining(__doc__, ("deeppose_resnet18",), RECIPES)


if __name__ == "__main__":
    cli.run(TRAINING.main)
