"""Trains the face detector (gluon_models/detector/network.py); --recipe paper is GluonCV's own.

300w and rendered are photos of one large face each, which are shrunk and placed in larger canvases; AFW's are left out
of 300-W, since whole photos of them test the detector.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any, Callable, Iterator, Sequence

import mxnet as mx
import numpy as np

from common import cli
from datasets.cache import CachedFaces
from datasets.catalog import training_pair
from datasets.detection import fddb, landmark_boxes, wider_face
from datasets.detection import voc as face_boxes
from datasets.detection.boxed_photos import BoxedPhotos, JoinedSources, PhotoSource
from datasets.detection.canvases import FaceCanvases
from datasets.faces import FaceDataset
from engine import devices
from engine.fit import Fit, FitOptions
from engine.record import RunRecord
from evaluation.detection import FoundBoxes, SizeRange, average_precision, judge
from gluon_models.detector.gluoncv_parts import FasterRCNN
from gluon_models.detector.network import RECIPES, SETTINGS, Recipe, build_detector, find_boxes, initialise
from gluon_models.detector.objective import DetectorObjective, DetectorSamples
from gluon_models.detector.weights import fill_detector, load_backbone, save_detector
from training import options as training
from training.landmark_training import show_progress
from training.recipe_options import chosen_recipe

DATASETS = ("rendered", "300w", "face_boxes", "wider_face", "fddb", "pts")
LEAST_SIZE = 24.0  # pixels: validation is on faces from here on [B9]
VALIDATION_PHOTOS = 200  # at most, evenly spread over those there are [B9]

Pair = "tuple[PhotoSource, PhotoSource]"


class PhotoBatches:
    """Shuffled batches of one epoch after another; photos that do not fill a last one wait for another epoch.

    Args:
        source: where photos come from.
        samples: makes arrays of them.
        batch_size: photos in a batch; the network is built for this number.
        seed: of the order and of all that is random in a photo.
    """

    def __init__(self, source: PhotoSource, samples: DetectorSamples, batch_size: int, seed: int) -> None:
        if len(source) < batch_size:
            raise ValueError(f"{len(source)} training photos do not fill a batch of {batch_size}: lower --batch-size")
        self._source, self._samples = source, samples
        self._batch_size, self._seed = batch_size, seed

    def __len__(self) -> int:
        return len(self._source) // self._batch_size

    def epoch(self, epoch: int) -> Iterator[list[np.ndarray]]:
        """The batches of one epoch, in the order that (seed, epoch) sets."""
        order = np.random.default_rng((self._seed, epoch)).permutation(len(self._source))
        for start in range(0, len(self) * self._batch_size, self._batch_size):
            chosen = order[start : start + self._batch_size]
            photos = [
                self._source.sample(int(index), np.random.default_rng((self._seed, epoch, start + place)))
                for place, index in enumerate(chosen)
            ]
            yield self._samples([(photo.image, photo.boxes) for photo in photos], (self._seed, epoch, start))


def load_source(name: str, root: str | None, arguments: argparse.Namespace) -> Pair:
    """Training and validation photos of one data set.

    Raises:
        ValueError, FileNotFoundError: data that is not there.
    """
    if name != "rendered" and root is None:
        raise ValueError(f"--dataset {name} needs its folder: pass --data DIR")
    if name in ("rendered", "300w"):
        faces, validation = training_pair(name, root, arguments.allow_missing, arguments.rendered_count, arguments.seed)
        faces, validation = without_afw(faces), without_afw(validation)
        if arguments.cache:
            faces = CachedFaces(faces, arguments.workers, show_progress)
        return FaceCanvases(faces), FaceCanvases(validation)
    if name == "wider_face":
        return wider_face.load(root).for_training(), wider_face.load(root, "val")
    load: Callable[..., BoxedPhotos] = {"fddb": fddb.load, "pts": landmark_boxes.load}.get(name, face_boxes.load)
    photos = load(root, arguments.allow_missing) if name == "face_boxes" else load(root)
    return photos.part("train").for_training(), photos.part("validation")


def without_afw(faces: FaceDataset) -> FaceDataset:
    """The faces of 300-W that no whole photo of AFW shows."""
    kept = [k for k, name in enumerate(faces.names) if not name.startswith("afw/")]
    return faces if len(kept) == len(faces) else faces.subset(kept)


def make_validate(source: PhotoSource, context: mx.Context, seed: int) -> Callable[[FasterRCNN], dict[str, float]]:
    """Average precision at an overlap of one half on photos that stay the same."""
    chosen = np.unique(np.linspace(0, len(source) - 1, min(len(source), VALIDATION_PHOTOS)).astype(int))

    def validate(net: FasterRCNN) -> dict[str, float]:
        found = []
        for index in chosen:
            photo = source.sample(int(index), np.random.default_rng((seed, int(index))))
            found.append(FoundBoxes(*find_boxes(net, photo.image, context), photo.boxes, photo.ignored))
        large, every = (average_precision(judge(found, SizeRange(least))) for least in (LEAST_SIZE, 0.0))
        # The training loop calls the number that decides so; the lower the better.
        return {"nme": 1 - large, "average_precision": large, "average_precision_all_sizes": every}

    return validate


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds what only the detector has."""
    parser.add_argument("--imagenet", metavar="FILE", help="parameters of Gluon's resnet50_v1: the backbone starts so")
    parser.add_argument(
        "--max-photos", type=int, default=0, help="train on the first so many photos, to try things out; 0 for all"
    )


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line.

    Raises:
        ValueError: --more is not NAME=DIR of a known data set.
    """
    parser = training.make_parser(__doc__, tuple(SETTINGS), DATASETS, RECIPES)
    add_options(parser)
    arguments = training.parse(parser, argv)
    training.further_data(arguments, DATASETS)
    return arguments


def load_sources(arguments: argparse.Namespace) -> Pair:
    """Training photos of all data sets, and validation photos of the first."""
    train, validation = load_source(arguments.dataset, arguments.data, arguments)
    further = training.further_data(arguments, DATASETS)
    more = [load_source(name, root, arguments)[0] for name, root in further]
    joined: Any = JoinedSources((train, *more))
    return FirstPhotos(joined, arguments.max_photos) if arguments.max_photos else joined, validation


class FirstPhotos:
    """The first photos of a source."""

    def __init__(self, source: PhotoSource, count: int) -> None:
        self._source, self._count = source, min(count, len(source))

    def __len__(self) -> int:
        return self._count

    def sample(self, index: int, rng: np.random.Generator) -> Any:
        """The photo of this number."""
        return self._source.sample(index, rng)


def fit_options(arguments: argparse.Namespace, recipe: Recipe) -> FitOptions:
    """How the run goes."""
    options = training.fit_options(arguments, recipe)
    settings = {"wd": recipe.weight_decay}
    if recipe.optimizer == "sgd":
        settings["momentum"] = recipe.momentum
    return replace(options, optimizer_settings=settings)


def make_network(arguments: argparse.Namespace, recipe: Recipe, contexts: list[mx.Context]) -> FasterRCNN:
    """The detector with the weights it starts from.

    Raises:
        ValueError: a batch cannot be divided evenly among the devices.
    """
    share, left = divmod(recipe.batch_size, len(contexts))
    if left or not share:
        raise ValueError(f"--batch-size {recipe.batch_size} does not divide evenly among {len(contexts)} GPUs")
    net = build_detector(arguments.model, share)
    initialise(net, contexts, arguments.seed)
    if arguments.imagenet:
        load_backbone(net, arguments.imagenet)
    if arguments.init:
        fill_detector(net, arguments.init)
    if not (arguments.imagenet or arguments.init or arguments.resume):
        print("the backbone starts from random weights, its first stage stays so: pass --imagenet FILE to detect faces")
    return net


def main(argv: Sequence[str] | None = None) -> int:
    """Trains one detector as the command line says."""
    arguments = parse(argv)
    recipe = chosen_recipe(arguments, {name: each[""] for name, each in RECIPES.items()})
    contexts = devices.contexts(arguments.gpus)
    training.prepare(arguments, contexts)
    source, validation = load_sources(arguments)
    net = make_network(arguments, recipe, contexts)
    samples = DetectorSamples(net, recipe.flip_probability, (recipe.smallest_scale, recipe.largest_scale))
    batches = PhotoBatches(source, samples, recipe.batch_size, arguments.seed)
    folder = training.start_folder(arguments)
    print(f"{len(source)} training photos, {min(len(validation), VALIDATION_PHOTOS)} for validation")
    fit = Fit(
        net,
        batches,
        DetectorObjective(),
        make_validate(validation, contexts[0], arguments.seed),
        lambda best: save_detector(best, folder / "best.params", arguments.model),
        fit_options(arguments, recipe),
        contexts,
    )
    record = RunRecord(folder, vars(arguments), [str(context) for context in contexts], "validation 1 - AP")
    state = fit.run(folder, record, vars(arguments), resume=bool(arguments.resume))
    best = f"{100 * (1 - state.best):.1f} %" if state.best_epoch else "none"
    print(f"best average precision {best} in epoch {state.best_epoch}: {folder / 'best.params'}")
    return 0


if __name__ == "__main__":
    cli.run(main)
