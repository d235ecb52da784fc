"""Trains FFLD's networks (gluon_models/ffld.py); the defaults are the paper's, Sec. 6.6."""

from __future__ import annotations

from typing import Callable, Iterable, Sequence

import mxnet as mx
from mxnet.gluon import HybridBlock
from tqdm import tqdm

from datasets.augment import Augmentation, TrainingCrop, with_photometric
from datasets.cache import CachedFaces
from datasets.catalog import DATASETS, training_pair
from datasets.faces import Face, FaceDataset
from datasets.loader import Loader
from engine import cli, devices, training
from engine.fit import Fit
from engine.recipe import chosen_recipe
from engine.record import RunRecord
from evaluation.metrics import nme
from gluon_models import InputSpec, describe, get_model, save_weights
from gluon_models.ffld import CPU_RECIPE, RECIPE, PointLoss, Recipe
from gluon_models.point_objective import PointObjective
from gluon_models.weights import fill
from inference.pipeline import PointPredictor, crop_dataset, predict_cropped

Validate = Callable[[HybridBlock], "dict[str, float]"]
RECIPES = {"paper": RECIPE, "cpu": CPU_RECIPE}
MODELS = ("resnet18_slim", "resnet50_slim")


def augmentation(recipe: Recipe) -> Augmentation:
    """Sec. 6.6's augmentation, with photometric changes where the recipe asks for them."""
    geometry = Augmentation(
        rotation_degrees=recipe.rotation_degrees,
        scale_fraction=recipe.scale_fraction,
        shift_fraction=recipe.shift_fraction,
        flip_probability=recipe.flip_probability,
    )
    return with_photometric(geometry) if recipe.photometric else geometry


def show_progress(faces: Iterable[Face], count: int) -> Iterable[Face]:
    """A bar over faces that are read, where there is a terminal to show it."""
    return tqdm(faces, "reading", total=count, unit="face", disable=None)


def make_validate(
    dataset: FaceDataset, spec: InputSpec, context: mx.Context
) -> Callable[[HybridBlock], dict[str, float]]:
    """Inter-ocular NME on the validation faces, cropped once."""
    faces = crop_dataset(dataset, spec)

    def validate(net: HybridBlock) -> dict[str, float]:
        predicted = predict_cropped(PointPredictor(net, spec, context), faces)
        return {"nme": float(nme(predicted, faces.truth_image, "outer_eye").mean())}

    return validate


def main(words: Sequence[str] | None = None) -> int:
    """Trains one network as the command line says."""
    parser = training.make_parser(__doc__, MODELS, DATASETS, RECIPES)
    arguments = training.parse(parser, words)
    recipe = chosen_recipe(arguments, RECIPES)
    contexts = devices.contexts(arguments.gpus)
    training.prepare(arguments, contexts)
    faces, validation = training_pair(
        arguments.dataset, arguments.data, arguments.allow_missing, arguments.rendered_count, arguments.seed
    )
    folder = training.start_folder(arguments)
    info = describe(arguments.model, faces.markup.name, num_landmarks=faces.markup.num_landmarks)
    net = get_model(info.model, **info.overrides)
    training.initialise(net, (1, 3, info.spec.size, info.spec.size), contexts, arguments.seed)
    if arguments.init:
        fill(net, arguments.init, contexts)
    print(f"{len(faces)} training faces, {len(validation)} for validation")
    if arguments.cache:
        faces = CachedFaces(faces, arguments.workers, show_progress)
    crop = TrainingCrop(info.spec.size, info.spec.box_margin, faces.markup, augmentation(recipe))
    with Loader(faces, crop, recipe.batch_size, arguments.seed, arguments.workers) as batches:
        fit = Fit(
            net,
            batches,
            PointObjective(PointLoss(recipe.loss), info.spec, faces.markup.outer_eye_corners, contexts),
            make_validate(validation, info.spec, contexts[0]),
            lambda best: save_weights(best, folder / "best.params", info),
            training.fit_options(arguments, RECIPES),
            contexts,
        )
        record = RunRecord(folder, vars(arguments), [str(context) for context in contexts])
        state = fit.run(folder, record, vars(arguments), resume=bool(arguments.resume))
    print(f"best validation NME {100 * state.best:.2f} % in epoch {state.best_epoch}: {folder / 'best.params'}")
    return 0


if __name__ == "__main__":
    cli.run(main)
