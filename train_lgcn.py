"""Trains the local-global context network (gluon_models/lgcn/network.py); the defaults are the paper's, Sec. 4.

Writes RUN/shape.npz beside the weights: the shape model of the training faces, which turns heatmaps into points.
"""

from __future__ import annotations

from common import cli  # first: Ctrl-C while the others are imported shows no traceback

# isort: split
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from mxnet.gluon import HybridBlock

from common.options import option
from datasets.background import BackgroundWindows
from datasets.faces import FaceDataset
from datasets.fixed_samples import Chosen
from datasets.markups import Markup
from engine.feed import Objective
from engine.fit import FitOptions
from engine.schedule import Schedule
from gluon_models import describe
from gluon_models.lgcn.network import KERNELS, RECIPES, SPEC, Recipe
from gluon_models.lgcn.objective import HeatmapObjective
from gluon_models.spec import COLOURS
from gluon_models.weights import WeightsInfo
from inference.shape_model import FILE_NAME, fit_shapes, save_shape_model, training_shapes
from training.landmark_training import LandmarkTraining, TrainingContext
from training.settings import LandmarkSettings

MODELS = ("lgcn_128", "lgcn_64")
AUTHORS = "authors"
BACKGROUND_SHARE = 0.59  # Sec. 4.3: 30,000, beside 18 variants of nine tenths of 3,148 faces [L34]
SMALLEST_SIZE = 32  # of a crop in pixels; a face of this size still shows where its landmarks are
SHAPES = 1000  # the shape model learns from at most this many faces [L20]


@dataclass(frozen=True)
class AuthorsSchedule:
    """The rates of the authors' code, from epochs 1, 11, 21, 31, 41 and 51 on [L13].

    Attributes:
        learning_rate: at the start.
        epochs: length of the run.
        warmup_epochs: the rate rises linearly from 0 over these.
    """

    learning_rate: float
    epochs: int
    warmup_epochs: float = 0.0

    SHARES = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02)  # of the rate at the start
    EPOCHS_EACH = 10

    def rate(self, epochs_done: float) -> float:
        """Learning rate after `epochs_done` epochs, fractions included."""
        warmup = Schedule("constant", 1.0, self.epochs, warmup_epochs=self.warmup_epochs).rate(epochs_done)
        step = min(int(epochs_done / self.EPOCHS_EACH), len(self.SHARES) - 1)
        return warmup * self.learning_rate * self.SHARES[step]


@dataclass(frozen=True)
class LGCNSettings(LandmarkSettings):
    """LGCN's own options: the ablation switches, the crop and windows without a face."""

    kernel: str = option(
        KERNELS[0], "kernel convolution: implicit as in the paper, in the labels alone, or none", choices=KERNELS
    )
    global_context: bool = option(True, "the global-context subnet; off needs --side-branch off")
    filters: int | None = option(None, "filters per convolution (default: from the model's name)", kind=int)
    size: int = option(
        SPEC.size,
        "side of the crop in pixels; smaller crops train faster, for --init of a next run",
        least=SMALLEST_SIZE,
    )
    colour: str = option(
        SPEC.colour, "input: gray as in the paper, or rgb or hsv, which it found no better", choices=tuple(COLOURS)
    )
    background: str | None = option(
        None, "train on windows of this folder's photos too, as crops without a face", metavar="DIR"
    )
    background_share: float = option(
        BACKGROUND_SHARE, "windows per face of an epoch, with --background (the paper's 30,000)"
    )


class LGCNTraining(LandmarkTraining):
    """Trains both subnets on the heatmaps of annotated points."""

    settings_type = LGCNSettings

    def epoch_faces(self, faces: FaceDataset, context: TrainingContext) -> FaceDataset:
        """Each face as often as it has variants, and windows without a face."""
        settings, variants = context.settings, [faces] * context.recipe.variants
        if not settings.background:
            return Chosen(variants)
        if not settings.background_share > 0:
            raise ValueError(f"--background-share must be more than 0, not {settings.background_share:g}")
        if context.recipe.loss == "square_eq4":
            raise ValueError("--background: Eq. 4 as printed counts a crop without a face in full; add --loss square")
        count = round(settings.background_share * len(faces) * len(variants))
        windows = BackgroundWindows(settings.background, count, faces.markup, settings.seed)
        print(f"{len(windows)} of the training crops are windows without a face")
        return Chosen([*variants, windows])

    def describe_network(self, settings: LGCNSettings, recipe: Recipe, markup: Markup) -> WeightsInfo:
        """The network to train, and the crops it is trained and evaluated on."""
        overrides: dict[str, Any] = {
            "num_landmarks": markup.num_landmarks,
            "side_branch": recipe.side_branch,
            "kernel": settings.kernel,
            "global_context": settings.global_context,
            "background": recipe.loss == "cross_entropy",
            "dropout": recipe.dropout,
        }
        if settings.filters:
            overrides["filters"] = settings.filters
        if settings.colour != SPEC.colour:
            overrides["colour"] = settings.colour
        info = describe(settings.model, markup.name, **overrides)
        return replace(info, spec=replace(info.spec, size=settings.size, decoding=recipe.decoding))

    def make_objective(self, net: HybridBlock, context: TrainingContext) -> Objective:
        """Compares the heatmaps of both subnets."""
        return HeatmapObjective(net, context.recipe.loss, context.spec, context.devices)

    def fit_options(self, settings: LGCNSettings, recipe: Recipe) -> FitOptions:
        """Options of the training loop; momentum SGD counts rates as the authors' framework does [L12, L14]."""
        rate, by_authors = recipe.learning_rate, recipe.schedule == AUTHORS
        if recipe.optimizer == "sgd":
            rate *= recipe.batch_size * (1 - recipe.momentum)
        known = replace(recipe, learning_rate=rate, schedule="constant" if by_authors else recipe.schedule)
        options = super().fit_options(settings, known)
        if not by_authors:
            return options
        return replace(options, schedule=AuthorsSchedule(rate, recipe.epochs, recipe.warmup_epochs))

    def finish(self, faces: FaceDataset, folder: Path) -> None:
        """Writes the shape model of the training faces."""
        write_shape_model(faces, folder / FILE_NAME)


def write_shape_model(faces: FaceDataset, path: Path) -> None:
    """Learns the shape model from faces and their mirror images, and writes it.

    Raises:
        ValueError: too few faces have all landmarks.
    """
    chosen = np.unique(np.linspace(0, len(faces) - 1, min(len(faces), SHAPES)).astype(int))
    shapes = np.stack([faces[int(index)].points_image for index in chosen])
    mirrored = training_shapes(shapes, faces.markup.flip_order) if faces.markup.can_flip else shapes
    save_shape_model(fit_shapes(mirrored), path)
    print(f"shape model of {len(chosen)} faces: {path}")


TRAINING = LGCNTraining(__doc__, MODELS, RECIPES)


if __name__ == "__main__":
    cli.run(TRAINING.main)
