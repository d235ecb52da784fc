"""Trains FFLD and its baselines (gluon_models/ffld.py); the defaults are the paper's, Sec. 6.6.

FFLD needs a baseline that is trained already: --init takes its weights.
"""

from __future__ import annotations

import argparse
from typing import Any, Callable, Iterable, Sequence

import mxnet as mx
import numpy as np
from mxnet.gluon import HybridBlock
from tqdm import tqdm

from datasets.augment import Augmentation, TrainingCrop, with_photometric
from datasets.cache import CachedFaces
from datasets.catalog import DATASETS, training_pair
from datasets.faces import Face, FaceDataset
from datasets.loader import Loader
from datasets.markups import Markup
from engine import cli, devices, training
from engine.fit import Fit, Objective
from engine.recipe import chosen_recipe
from engine.record import RunRecord
from evaluation.metrics import nme
from gluon_models import InputSpec, describe, get_model, save_weights
from gluon_models.ffld import FFLD, RECIPES, PointLoss, Recipe, recipes_for
from gluon_models.ffld_objective import RefinementObjective
from gluon_models.point_objective import PointObjective
from gluon_models.weights import WeightsInfo, fill, read_info
from inference.pipeline import PointPredictor, crop_dataset, predict_cropped

BASELINES = {"ffld_resnet18": "resnet18_slim", "ffld_resnet50": "resnet50_slim"}
MODELS = (*BASELINES.values(), *BASELINES)
SWITCH = {"choices": ("on", "off"), "default": "on"}


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = training.make_parser(__doc__, MODELS, DATASETS, RECIPES)
    low_level = "FFLD: let the refinements' losses train the maps they look at, the paper's low level (Table 6)"
    parser.add_argument("--map-gradient", **SWITCH, help=low_level)
    location = "FFLD: let them train the points they start from, the paper's crop location (Table 6)"
    parser.add_argument("--location-gradient", **SWITCH, help=location)
    return training.parse(parser, words)


def augmentation(recipe: Recipe) -> Augmentation:
    """Sec. 6.6's augmentation, with photometric changes where the recipe asks for them."""
    geometry = Augmentation(
        rotation_degrees=recipe.rotation_degrees,
        scale_fraction=recipe.scale_fraction,
        shift_fraction=recipe.shift_fraction,
        flip_probability=recipe.flip_probability,
    )
    return with_photometric(geometry) if recipe.photometric else geometry


def describe_network(arguments: argparse.Namespace, recipe: Recipe, markup: Markup) -> WeightsInfo:
    """The network that the command line asks for; FFLD has a refinement for each loss but the first."""
    settings: dict[str, Any] = {"num_landmarks": markup.num_landmarks}
    if arguments.model in BASELINES:
        settings["num_stages"] = recipe.loss.count("/")
        settings["map_gradient"] = arguments.map_gradient == "on"
        settings["location_gradient"] = arguments.location_gradient == "on"
    return describe(arguments.model, markup.name, **settings)


def start_from(net: HybridBlock, model: str, path: str, contexts: list[mx.Context]) -> None:
    """Fills the network from a file, or FFLD's baseline alone where the file is of that."""
    baseline_only = read_info(path).model == BASELINES.get(model)
    fill(net.cascade.baseline if baseline_only else net, path, contexts)


def make_objective(
    net: HybridBlock, recipe: Recipe, spec: InputSpec, markup: Markup, contexts: list[mx.Context]
) -> Objective:
    """What the network is trained on: points against points, for FFLD at every stage."""
    if isinstance(net, FFLD):
        return RefinementObjective(net, recipe.loss.split("/"), spec, markup.outer_eye_corners, contexts)
    return PointObjective(PointLoss(recipe.loss), spec, markup.outer_eye_corners, contexts)


def plateau(history: Sequence[dict[str, float]], patience: int) -> bool:
    """Whether at some time `patience` epochs in a row brought no training loss below the lowest before them."""
    lowest, since = float("inf"), 0
    for line in history:
        lowest, since = (line["loss"], 0) if line["loss"] < lowest else (lowest, since + 1)
        if since == patience:
            return True
    return False


def make_before_epoch(objective: Objective, patience: int) -> Callable[[list[dict[str, Any]]], None]:
    """Takes Align Loss's Gaussian away once the loss stops going down (Sec. 6.6)."""

    def before_epoch(history: list[dict[str, Any]]) -> None:
        if isinstance(objective, RefinementObjective) and objective.smooths and plateau(history, patience):
            objective.remove_gaussian()
            print(f"Align Loss without its Gaussian from epoch {len(history) + 1} on")

    return before_epoch


def show_progress(faces: Iterable[Face], count: int) -> Iterable[Face]:
    """A bar over faces that are read, where there is a terminal to show it."""
    return tqdm(faces, "reading", total=count, unit="face", disable=None)


def all_stages(net: HybridBlock) -> Callable[[mx.nd.NDArray], mx.nd.NDArray]:
    """The network answering the points of its stages one after another, (N, stages * K, 2)."""
    return (lambda faces: mx.nd.concat(*net.cascade(faces), dim=1)) if isinstance(net, FFLD) else net


def make_validate(
    dataset: FaceDataset, spec: InputSpec, context: mx.Context
) -> Callable[[HybridBlock], dict[str, float]]:
    """Inter-ocular NME on the validation faces, cropped once; for FFLD that of every stage too."""
    faces = crop_dataset(dataset, spec)

    def validate(net: HybridBlock) -> dict[str, float]:
        predicted = predict_cropped(PointPredictor(all_stages(net), spec, context), faces)
        stages = np.split(predicted, predicted.shape[1] // faces.truth_image.shape[1], axis=1)
        errors = [float(nme(points, faces.truth_image, "outer_eye").mean()) for points in stages]
        each = {f"nme_stage_{stage}": error for stage, error in enumerate(errors)}
        return {"nme": errors[-1], **(each if len(errors) > 1 else {})}

    return validate


def main(words: Sequence[str] | None = None) -> int:
    """Trains one network as the command line says."""
    arguments = parse(words)
    recipe = chosen_recipe(arguments, recipes_for(arguments.model, arguments.dataset))
    contexts = devices.contexts(arguments.gpus)
    training.prepare(arguments, contexts)
    faces, validation = training_pair(
        arguments.dataset, arguments.data, arguments.allow_missing, arguments.rendered_count, arguments.seed
    )
    info = describe_network(arguments, recipe, faces.markup)
    net = get_model(info.model, **info.overrides)
    folder = training.start_folder(arguments)
    training.initialise(net, (1, 3, info.spec.size, info.spec.size), contexts, arguments.seed)
    objective = make_objective(net, recipe, info.spec, faces.markup, contexts)
    if arguments.init:
        start_from(net, info.model, arguments.init, contexts)
    print(f"{len(faces)} training faces, {len(validation)} for validation")
    print(training.memory_words(net, info.spec.size, recipe.batch_size, contexts))
    if arguments.cache:
        faces = CachedFaces(faces, arguments.workers, show_progress)
    crop = TrainingCrop(info.spec.size, info.spec.box_margin, faces.markup, augmentation(recipe))
    with Loader(faces, crop, recipe.batch_size, arguments.seed, arguments.workers) as batches:
        fit = Fit(
            net,
            batches,
            objective,
            make_validate(validation, info.spec, contexts[0]),
            lambda best: save_weights(best, folder / "best.params", info),
            training.fit_options(arguments, recipe),
            contexts,
            make_before_epoch(objective, recipe.gaussian_patience),
        )
        record = RunRecord(folder, vars(arguments), [str(context) for context in contexts])
        state = fit.run(folder, record, vars(arguments), resume=bool(arguments.resume))
    print(f"best validation NME {100 * state.best:.2f} % in epoch {state.best_epoch}: {folder / 'best.params'}")
    return 0


if __name__ == "__main__":
    cli.run(main)
