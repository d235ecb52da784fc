"""Trains the local-global context network (gluon_models/lgcn/network.py); the defaults are the paper's, Sec. 4.

Beside the weights RUN/shape.npz is written, the shape model of the training faces, that turns maps into points.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Sequence

import mxnet as mx
import numpy as np
from mxnet.gluon import HybridBlock

from common import cli
from datasets.background import BackgroundWindows
from datasets.faces import FaceDataset
from datasets.fixed_samples import Chosen
from datasets.markups import Markup
from engine.fit import FitOptions, Objective
from engine.schedule import Schedule
from gluon_models import InputSpec, describe
from gluon_models.lgcn.network import KERNELS, RECIPES, SPEC, Recipe
from gluon_models.lgcn.objective import MapObjective
from gluon_models.weights import WeightsInfo
from inference.shape_model import FILE_NAME, fit_shapes, save_shape_model, training_shapes
from training.landmark_training import LandmarkTraining

MODELS = ("lgcn_128", "lgcn_64")
AUTHORS = "authors"
BACKGROUND_SHARE = 0.59  # Sec. 4.3: 30,000, beside 18 variants of nine tenths of 3,148 faces [L34]
SMALLEST_SIZE = 32  # of a crop in pixels; a face of this size still shows where its landmarks are
SHAPES = 1000  # that the shape model is learned from at most [L20]


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


class LGCNTraining(LandmarkTraining):
    """Training of both subnets on the maps of annotated points."""

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Adds what the network may do without."""
        super().add_options(parser)
        side = "a second set of maps for the global-context subnet, which the authors' code has and the paper has not"
        parser.add_argument("--side-branch", choices=("on", "off"), default="on", help=side)
        kernel = "implicit as in the paper, in the labels alone, or none"
        parser.add_argument("--kernel", choices=KERNELS, default=KERNELS[0], help=kernel)
        context = "have the global-context subnet; off needs --side-branch off"
        parser.add_argument("--global-context", choices=("on", "off"), default="on", help=context)
        parser.add_argument("--filters", type=int, help="of each convolution (that of the model's name)")
        size = "side of the crop in pixels; a run on smaller crops, for --init of a next one, sees more faces an hour"
        parser.add_argument("--size", type=int, default=SPEC.size, help=size)
        background = (
            "folder of photos: train on windows of them too, as pictures without a face; see datasets/background.py"
        )
        parser.add_argument("--background", metavar="DIR", help=background)
        share = "windows for each face of an epoch, with --background (the paper's 30,000)"
        parser.add_argument("--background-share", type=float, default=BACKGROUND_SHARE, help=share)

    def load_faces(self, arguments: argparse.Namespace, recipe: Recipe) -> tuple[FaceDataset, FaceDataset]:
        """Training faces, as often in an epoch as they have variants, and windows without a face; validation faces."""
        faces, validation = super().load_faces(arguments, recipe)
        self._shape_faces, self._shape_path = faces, Path(arguments.out) / FILE_NAME
        variants = [faces] * recipe.variants
        if not arguments.background:
            return Chosen(variants), validation
        if not arguments.background_share > 0:
            raise ValueError(f"--background-share {arguments.background_share:g}: give more than 0")
        count = round(arguments.background_share * len(faces) * recipe.variants)
        windows = BackgroundWindows(arguments.background, count, faces.markup, arguments.seed)
        print(f"{len(windows)} of the training faces are windows without a face")
        return Chosen([*variants, windows]), validation

    def describe_network(self, arguments: argparse.Namespace, recipe: Recipe, markup: Markup) -> WeightsInfo:
        """The network that the command line asks for, and the crops that it is trained and asked on."""
        if arguments.size < SMALLEST_SIZE:
            raise ValueError(f"--size {arguments.size}: give {SMALLEST_SIZE} pixels or more")
        settings: dict[str, Any] = {
            "num_landmarks": markup.num_landmarks,
            "side_branch": arguments.side_branch == "on",
            "kernel": arguments.kernel,
            "global_context": arguments.global_context == "on",
            "background": recipe.loss == "cross_entropy",
        }
        if arguments.filters:
            settings["filters"] = arguments.filters
        info = describe(arguments.model, markup.name, **settings)
        return replace(info, spec=replace(info.spec, size=arguments.size))

    def make_objective(
        self, net: HybridBlock, recipe: Recipe, spec: InputSpec, markup: Markup, contexts: list[mx.Context]
    ) -> Objective:
        """Maps against maps."""
        net.set_dropout(recipe.dropout)
        return MapObjective(net, recipe.loss, spec, contexts)

    def fit_options(self, arguments: argparse.Namespace, recipe: Recipe) -> FitOptions:
        """How the run goes; the rates of momentum SGD are as the authors' framework counts them [L12, L14]."""
        rate, settings = recipe.learning_rate, {"wd": recipe.weight_decay}
        if recipe.gradient_clip:
            settings["clip_gradient"] = recipe.gradient_clip
        if recipe.optimizer == "sgd":
            rate *= recipe.batch_size * (1 - recipe.momentum)
            settings["momentum"] = recipe.momentum
        by_authors = recipe.schedule == AUTHORS
        known = replace(recipe, learning_rate=rate, schedule="constant" if by_authors else recipe.schedule)
        options = replace(super().fit_options(arguments, known), optimizer_settings=settings)
        if not by_authors:
            return options
        return replace(options, schedule=AuthorsSchedule(rate, recipe.epochs, recipe.warmup_epochs))

    def main(self, argv: Sequence[str] | None = None) -> int:
        """Trains one network as the command line says, then writes the shape model of its training faces."""
        code = super().main(argv)
        write_shape_model(self._shape_faces, self._shape_path)
        return code


def write_shape_model(faces: FaceDataset, path: Path) -> None:
    """Learns the shape model from faces and their mirror images, and writes it.

    Raises:
        ValueError: too few faces have all landmarks.
    """
    chosen = np.unique(np.linspace(0, len(faces) - 1, min(len(faces), SHAPES)).astype(int))
    shapes = np.stack([faces[int(index)].points_image for index in chosen])
    save_shape_model(fit_shapes(training_shapes(shapes, faces.markup.flip_order)), path)
    print(f"shape model of {len(chosen)} faces: {path}")


TRAINING = LGCNTraining(__doc__, MODELS, RECIPES)


if __name__ == "__main__":
    cli.run(TRAINING.main)
