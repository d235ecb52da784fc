"""Measures faces per second of data loading, prediction and training, and the memory they take, on this machine.

The photos are rendered faces of 490 pixels, saved as JPEG in a temporary folder: the size of 300-W's photos cropped to
twice the face. Crops are those of the cpu recipe, weights are random. Run it while nothing else does.
"""

from __future__ import annotations

import argparse
import itertools
import os
import resource
import tempfile
from pathlib import Path
from time import monotonic
from typing import Any, Callable, Iterator, Sequence

import mxnet as mx
import numpy as np
from mxnet import autograd
from mxnet.gluon import HybridBlock, Trainer

from datasets import pts_folder
from datasets.augment import TrainingCrop
from datasets.cache import CachedFaces
from datasets.faces import FaceDataset
from datasets.images import write_image
from datasets.loader import Batch, Loader
from datasets.pts_files import write_pts
from datasets.synthetic import SyntheticFaces
from engine import cli, devices, training
from engine.fit import Objective
from gluon_models import InputSpec, get_model, get_spec
from gluon_models.ffld import Recipe, recipes_for
from inference.pipeline import PointPredictor, crop_dataset
from train_ffld import MODELS, TRAINING

PHOTOS, PHOTO_SIZE = 64, 490
EPOCH = 8192  # faces; photos repeat, so that workers do not pause between epochs
PREDICTION_BATCHES = (1, 64)


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.make_parser(__doc__)
    parser.add_argument("--model", choices=MODELS, default=MODELS[0])
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes that prepare faces")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each measurement")
    cli.add_device_arguments(parser)
    return parser


def rate(counts: Iterator[int], seconds: float) -> float:
    """Faces per second of an endless iterator over numbers of faces done; the first step is not counted."""
    next(counts)
    start, done = monotonic(), 0
    while monotonic() - start < seconds:
        done += next(counts)
    return done / (monotonic() - start)


def write_photos(folder: Path, seed: int) -> pts_folder.PtsFolder:
    """Rendered faces as JPEG and .pts files."""
    for face in SyntheticFaces(PHOTOS, seed, PHOTO_SIZE):
        write_image(folder / f"{face.name}.jpg", face.image)
        write_pts(folder / f"{face.name}.pts", face.points_image)
    return pts_folder.load(folder)


def make_loader(faces: FaceDataset, spec: InputSpec, recipe: Recipe, arguments: argparse.Namespace) -> Loader:
    """Batches as in training with the recipe."""
    crop = TrainingCrop(spec.size, spec.box_margin, faces.markup, TRAINING.augmentation(recipe))
    order = np.resize(np.arange(len(faces)), EPOCH)
    return Loader(faces, crop, recipe.batch_size, arguments.seed, arguments.workers, order)


def len_of(batch: Batch) -> int:
    """Faces in a batch."""
    return len(batch.crops)


def endless(loader: Loader) -> Iterator[Batch]:
    """Epoch after epoch."""
    return itertools.chain.from_iterable(map(loader.epoch, itertools.count()))


def predictions(predict: Callable[[np.ndarray], Any], crops: np.ndarray) -> Iterator[int]:
    """Predicts the same crops again and again."""
    while True:
        predict(crops)
        yield len(crops)


def updates(net: HybridBlock, batches: Iterator[Batch], objective: Objective, ctx: mx.Context) -> Iterator[int]:
    """Trains on each batch in turn, at a learning rate of 0."""
    trainer = Trainer(net.collect_params(), "adam", {"learning_rate": 0.0})
    for batch in batches:
        with autograd.record():
            loss = sum(objective(net, batch, ctx).values())
        loss.backward()
        trainer.step(len(batch.crops))
        mx.nd.waitall()
        yield len(batch.crops)


def report(what: str, faces_per_second: float) -> None:
    """Prints one line of the result."""
    print(f"{what:<48}{faces_per_second:>9.0f} faces/s", flush=True)


def main(words: Sequence[str] | None = None) -> int:
    """Runs all measurements."""
    arguments = make_parser().parse_args(words)
    print(devices.idle_cores_advice(devices.contexts(arguments.gpus)) or "MXNet works on all cores")
    ctx, spec, seconds = devices.contexts(arguments.gpus)[0], get_spec(arguments.model), arguments.seconds
    print(f"{os.cpu_count()} processors, load average {os.getloadavg()[0]:.1f} at the start, network on {ctx}")
    recipe = recipes_for(arguments.model, "300w")["cpu"]
    workers = f"{arguments.workers} workers"
    with tempfile.TemporaryDirectory() as folder:
        photos = write_photos(Path(folder), arguments.seed)
        with make_loader(photos, spec, recipe, arguments) as loader:
            report(f"loading from JPEG files, {workers}", rate(map(len_of, endless(loader)), seconds))
        faces = CachedFaces(photos)
    with make_loader(faces, spec, recipe, arguments) as loader:
        report(f"loading from memory (--cache), {workers}", rate(map(len_of, endless(loader)), seconds))

    net = get_model(arguments.model, num_landmarks=faces.markup.num_landmarks)
    training.initialise(net, (1, len(spec.mean), spec.size, spec.size), [ctx], arguments.seed)
    crops = crop_dataset(faces, spec).crops
    for size in PREDICTION_BATCHES:
        rounds = predictions(PointPredictor(net, spec, ctx, size), crops[:size])
        report(f"prediction by {arguments.model}, batch {size}", rate(rounds, seconds))
    objective = TRAINING.make_objective(net, recipe, spec, faces.markup, [ctx])
    with make_loader(faces, spec, recipe, arguments) as loader:
        steps = updates(net, endless(loader), objective, ctx)
        report(f"training of {arguments.model}, batch {recipe.batch_size}, from memory", rate(steps, seconds))
    own, worker = (resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(f"memory at most {own:.0f} MB in this process, {worker:.0f} MB in a worker, most of it shared")
    return 0


if __name__ == "__main__":
    cli.run(main)
