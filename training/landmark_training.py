"""What the training scripts of all landmark networks share: faces in, weights out. Not a command of its own."""

from __future__ import annotations

import argparse
import re
from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, Callable, Collection, Iterable, Mapping, Sequence

import mxnet as mx
import numpy as np
from mxnet.gluon import HybridBlock
from tqdm import tqdm

from datasets.augment import Augmentation, TrainingCrop, with_photometric
from datasets.cache import CachedFaces
from datasets.catalog import CATALOG, DATASETS, training_pair
from datasets.faces import Face, FaceDataset
from datasets.fixed_samples import Chosen
from datasets.loader import Loader
from datasets.markups import Markup
from engine import devices
from engine.fit import Fit, FitOptions, Objective
from engine.record import RunRecord
from evaluation.metrics import nme
from evaluation.protocols import get_protocol
from gluon_models import InputSpec, describe, get_model, save_weights
from gluon_models.weights import WeightsInfo, fill
from inference.pipeline import PointPredictor, StagePredictor, crop_dataset, predict_cropped
from training import options as training
from training.recipe_options import chosen_recipe

Recipe = Any  # the frozen dataclass of a paper's file
Validate = Callable[[HybridBlock], "dict[str, float]"]


class LandmarkTraining(ABC):
    """One system's training; a script's subclass says what is particular to its paper.

    Args:
        description: of the command.
        models: names of the networks.
        recipes: by name, then by what is trained; "" stands for everything else.
    """

    def __init__(self, description: str, models: Sequence[str], recipes: Mapping[str, Mapping[str, Recipe]]) -> None:
        self.description, self.models, self.recipes = description, models, recipes

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Adds options that landmark networks have and the detector has not; a system's own come on top."""
        exclude = "train without the faces of these photos: a text file of one name a line"
        parser.add_argument("--exclude", metavar="FILE", help=exclude)

    def recipes_for(self, model: str, dataset: str) -> Mapping[str, Recipe]:
        """What each recipe's name means for a network and a data set."""
        return {name: variants[""] for name, variants in self.recipes.items()}

    def load_faces(self, arguments: argparse.Namespace, recipe: Recipe) -> tuple[FaceDataset, FaceDataset]:
        """Training faces, those of --more after the others, and validation faces."""
        train, validation = self._data_set(arguments, arguments.dataset, arguments.data)
        further = training.further_data(arguments, DATASETS)
        more = [self._data_set(arguments, name, root)[0] for name, root in further]
        other = next((faces.markup.name for faces in more if faces.markup.name != train.markup.name), None)
        if other:
            raise ValueError(f"--more: faces of {other} among those of {train.markup.name}: take one markup")
        return (Chosen([train, *more]) if more else train), validation

    def _data_set(self, arguments: argparse.Namespace, name: str, root: str | None) -> tuple[FaceDataset, FaceDataset]:
        """Training and validation faces of one data set, without those of the photos that --exclude names."""
        train, validation = training_pair(name, root, arguments.allow_missing, arguments.rendered_count, arguments.seed)
        if not arguments.exclude:
            return train, validation
        photos = read_photo_names(arguments.exclude)
        kept = [without_photos(faces, photos, name) for faces in (train, validation)]
        left_out = len(train) + len(validation) - len(kept[0]) - len(kept[1])
        if name == arguments.dataset and not left_out:
            raise ValueError(f"{arguments.exclude} names no photo of the training faces: give one file name a line")
        print(f"{left_out} faces of {name} left out, of the photos in {arguments.exclude}")
        return kept[0], kept[1]

    def describe_network(self, arguments: argparse.Namespace, recipe: Recipe, markup: Markup) -> WeightsInfo:
        """The network that the command line asks for."""
        return describe(arguments.model, markup.name, num_landmarks=markup.num_landmarks)

    def fill_network(self, net: HybridBlock, arguments: argparse.Namespace, contexts: list[mx.Context]) -> None:
        """Gives the initialised network the weights it starts from."""
        if arguments.init:
            self.start_from(net, arguments.model, arguments.init, contexts)

    def start_from(self, net: HybridBlock, model: str, path: str, contexts: list[mx.Context]) -> None:
        """Fills the network with the weights of --init."""
        fill(net, path, contexts)

    @abstractmethod
    def make_objective(
        self, net: HybridBlock, recipe: Recipe, spec: InputSpec, markup: Markup, contexts: list[mx.Context]
    ) -> Objective:
        """What the network is trained on."""

    def augmentation(self, recipe: Recipe) -> Augmentation:
        """The recipe's augmentation, with photometric changes where it asks for them."""
        geometry = Augmentation(
            rotation_degrees=recipe.rotation_degrees,
            scale_fraction=recipe.scale_fraction,
            shift_fraction=recipe.shift_fraction,
            flip_probability=recipe.flip_probability,
        )
        return with_photometric(geometry) if recipe.photometric else geometry

    def loader_order(self, faces: FaceDataset, recipe: Recipe, seed: int) -> np.ndarray | None:
        """Which faces an epoch takes, repeats allowed; None for every face once."""
        return None

    def make_validate(self, dataset: FaceDataset, normalizer: str, spec: InputSpec, context: mx.Context) -> Validate:
        """NME on the validation faces, cropped once, and that of every stage where there are several."""
        faces = crop_dataset(dataset, spec)

        def validate(net: HybridBlock) -> dict[str, float]:
            predicted = predict_cropped(StagePredictor(PointPredictor(net, spec, context)), faces)
            stages = np.moveaxis(predicted, 1, 0)
            errors = [float(nme(points, faces.truth_image, normalizer).mean()) for points in stages]
            each = {f"nme_stage_{stage}": error for stage, error in enumerate(errors)}
            return {"nme": errors[-1], **(each if len(errors) > 1 else {})}

        return validate

    def fit_options(self, arguments: argparse.Namespace, recipe: Recipe) -> FitOptions:
        """How the run goes."""
        return training.fit_options(arguments, recipe)

    def make_before_epoch(self, objective: Objective, recipe: Recipe) -> Callable[[list[dict[str, Any]]], None]:
        """What is done before each epoch, told the log of those before it."""
        return lambda history: None

    def parse(self, argv: Sequence[str] | None = None) -> argparse.Namespace:
        """Reads the command line."""
        parser = training.make_parser(self.description, self.models, DATASETS, self.recipes)
        self.add_options(parser)
        return training.parse(parser, argv)

    def main(self, argv: Sequence[str] | None = None) -> int:
        """Trains one network as the command line says."""
        arguments = self.parse(argv)
        recipe = chosen_recipe(arguments, self.recipes_for(arguments.model, arguments.dataset))
        contexts = devices.contexts(arguments.gpus)
        training.prepare(arguments, contexts)
        faces, validation = self.load_faces(arguments, recipe)
        markup, normalizer = faces.markup, "outer_eye"
        if shows_profiles(arguments.dataset):
            markup, normalizer = replace(markup, outer_eye_corners=None), "box_geometric"
        info = self.describe_network(arguments, recipe, markup)
        net = get_model(info.model, **info.overrides)
        folder = training.start_folder(arguments)
        crop_shape = (len(info.spec.mean), info.spec.size, info.spec.size)
        training.initialise(net, (1, *crop_shape), contexts, arguments.seed)
        objective = self.make_objective(net, recipe, info.spec, markup, contexts)
        self.fill_network(net, arguments, contexts)
        print(f"{len(faces)} training faces, {len(validation)} for validation")
        print(training.memory_text(net, crop_shape, recipe.batch_size, contexts))
        order = self.loader_order(faces, recipe, arguments.seed)
        if arguments.cache:
            faces = CachedFaces(faces, arguments.workers, show_progress)
        crop = TrainingCrop(info.spec.size, info.spec.box_margin, markup, self.augmentation(recipe))
        with Loader(faces, crop, recipe.batch_size, arguments.seed, arguments.workers, order) as batches:
            fit = Fit(
                net,
                batches,
                objective,
                self.make_validate(validation, normalizer, info.spec, contexts[0]),
                lambda best: save_weights(best, folder / "best.params", info),
                self.fit_options(arguments, recipe),
                contexts,
                self.make_before_epoch(objective, recipe),
            )
            record = RunRecord(folder, vars(arguments), [str(context) for context in contexts])
            state = fit.run(folder, record, vars(arguments), resume=bool(arguments.resume))
        print(f"best validation NME {100 * state.best:.2f} % in epoch {state.best_epoch}: {folder / 'best.params'}")
        return 0


def read_photo_names(path: str) -> set[str]:
    """Names of photos from a text file of one a line, without folder and extension.

    Raises:
        FileNotFoundError: there is no such file.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: there is no such list of photos; check the path")
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return {PurePosixPath(line.strip()).stem for line in lines if line.strip()}


def without_photos(faces: FaceDataset, photos: Collection[str], dataset: str) -> FaceDataset:
    """Faces of a data set without those of some photos, which are named as in `read_photo_names`.

    A face with a number of its own behind its photo's name, as in AFW, goes with that photo.
    """
    photo_of = CATALOG[dataset].photo_of if dataset in CATALOG else str
    stems = (PurePosixPath(photo_of(name)).name for name in faces.names)
    kept = [k for k, stem in enumerate(stems) if not {stem, re.sub(r"_\d+$", "", stem)} & set(photos)]
    return faces if len(kept) == len(faces) else Chosen([faces], kept)


def shows_profiles(dataset: str) -> bool:
    """Whether faces of a data set are turned so far that the distance between the eyes means nothing."""
    return dataset in CATALOG and get_protocol(dataset, CATALOG[dataset].training).has_profiles


def show_progress(faces: Iterable[Face], count: int) -> Iterable[Face]:
    """A bar over faces that are read, where there is a terminal to show it."""
    return tqdm(faces, "reading", total=count, unit="face", disable=None)
