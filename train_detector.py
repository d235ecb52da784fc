"""Trains a face detector, Faster R-CNN or the small centernet_slim; --recipe paper is GluonCV's own for the first.

The data sets 300w, rendered and one_face (a folder of photos with .pts files) hold photos of one large face. For Faster
R-CNN these are shrunk and placed in larger canvases, for centernet_slim tiled with parts of the other photos. AFW is
left out of 300-W, since its whole photos test the detector.
"""

from __future__ import annotations

from common import cli  # first: Ctrl-C while the others are imported shows no traceback

# isort: split
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Iterator, NamedTuple, Sequence

import mxnet as mx
import numpy as np
from mxnet.gluon import HybridBlock

from common.options import option
from datasets.cache import CachedFaces
from datasets.catalog import training_pair
from datasets.detection import fddb, landmark_boxes, wider_face
from datasets.detection import voc as face_boxes
from datasets.detection.boxed_photos import BoxedPhoto, BoxedPhotos, JoinedSources, PhotoSource
from datasets.detection.canvases import FaceCanvases
from datasets.detection.centers import center_batch
from datasets.detection.mosaics import Mosaics
from datasets.inventory import files
from datasets.loader import Cut
from datasets.photo_formats import PHOTO_SUFFIXES
from engine import devices as processors
from engine.fit import Fit, Objective
from engine.record import ErrorMeasure, RunRecord
from evaluation.detection import FoundBoxes, SizeRange, average_precision, judge
from gluon_models.detector import centernet, network
from gluon_models.detector.network import SETTINGS, Recipe, build_detector, find_boxes, initialise
from gluon_models.detector.objective import DetectorObjective, DetectorSamples
from gluon_models.detector.weights import fill_detector, load_backbone, save_detector
from training import options as training
from training.landmark_training import show_progress
from training.options import CommandLine
from training.settings import TrainingSettings

DATASETS = ("rendered", "300w", "one_face", "face_boxes", "wider_face", "fddb", "pts")
OF_ONE_FACE = ("rendered", "300w", "one_face")
LEAST_SIZE = 24.0  # pixels: validation is on faces from here on [B9]
VALIDATION_PHOTOS = 200  # at most, evenly spread over those there are [B9]

ERROR = "one_minus_ap"  # in the log: runs are compared by the average precision

Pair = "tuple[Any, Any]"
Samples = Callable[[Sequence[BoxedPhoto], Sequence[int]], "list[np.ndarray]"]
FindsBoxes = Callable[[np.ndarray], "tuple[np.ndarray, np.ndarray]"]


RECIPES = {name: {**variants, centernet.NAME: centernet.RECIPE} for name, variants in network.RECIPES.items()}


@dataclass(frozen=True)
class DetectorSettings(TrainingSettings):
    """The detector's own options."""

    imagenet: str | None = option(None, "initial weights of the backbone: Gluon's resnet50_v1", metavar="FILE")
    backbone: str | None = option(None, "initial weights of centernet_slim's backbone: resnet18_slim", metavar="FILE")
    backgrounds: str | None = option(None, "centernet_slim: photos without faces to train on", metavar="DIR")
    max_photos: int = option(0, "train on the first photos only, to try things out; 0 trains on all", least=0)


COMMAND_LINE = CommandLine(__doc__, (*SETTINGS, centernet.NAME), DATASETS, RECIPES, DetectorSettings)


class PhotoBatches:
    """Shuffled batches of one epoch after another; photos that do not fill the last batch are dropped for that epoch.

    Args:
        source: where photos come from.
        samples: makes arrays of them.
        batch_size: photos in a batch; the network is built for this number.
        seed: of the order and of each photo's random changes.
        cut: this worker's part of each batch, all by default. Batches are made whole, as their photos share one size.
    """

    def __init__(
        self, source: PhotoSource, samples: Samples, batch_size: int, seed: int, cut: Cut | None = None
    ) -> None:
        if len(source) < batch_size:
            raise ValueError(f"{len(source)} training photos do not fill a batch of {batch_size}: lower --batch-size")
        self._source, self._samples = source, samples
        self._batch_size, self._seed, self._cut = batch_size, seed, cut

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
            whole = self._samples(photos, (self._seed, epoch, start))
            yield [array[self._cut.of(self._batch_size)] for array in whole] if self._cut else whole


def recipes_for(model: str, dataset: str) -> dict[str, Recipe]:
    """What each name of `RECIPES` means for a network."""
    return {name: variants[model if model in variants else ""] for name, variants in RECIPES.items()}


def load_source(name: str, root: str | None, settings: DetectorSettings) -> Pair:
    """Training and validation photos of one data set; faces for those of `OF_ONE_FACE`.

    Raises:
        ValueError, FileNotFoundError: the data is not there.
    """
    if name != "rendered" and root is None:
        raise ValueError(f"--dataset {name} needs its folder: pass --data DIR")
    if name in OF_ONE_FACE:
        own = "pts" if name == "one_face" else name
        given = (settings.allow_missing, settings.rendered_count, settings.seed, settings.official_split)
        faces, validation = training_pair(own, root, *given)
        faces, validation = landmark_boxes.without_afw(faces), landmark_boxes.without_afw(validation)
        if settings.cache:
            faces = CachedFaces(faces, settings.workers, show_progress)
        return faces, validation
    if name == "wider_face":
        return wider_face.load(root).for_training(), wider_face.load(root, "val")
    load: Callable[..., BoxedPhotos] = {"fddb": fddb.load, "pts": landmark_boxes.load}.get(name, face_boxes.load)
    photos = load(root, settings.allow_missing) if name == "face_boxes" else load(root)
    return photos.part("train").for_training(), photos.part("validation")


def make_validate(source: PhotoSource, find: FindsBoxes, seed: int) -> Callable[[HybridBlock], dict[str, float]]:
    """Average precision at an IoU of one half, on the same photos every time."""
    chosen = np.unique(np.linspace(0, len(source) - 1, min(len(source), VALIDATION_PHOTOS)).astype(int))

    def validate(net: HybridBlock) -> dict[str, float]:
        found = []
        for index in chosen:
            photo = source.sample(int(index), np.random.default_rng((seed, int(index))))
            found.append(FoundBoxes(*find(photo.image), photo.boxes, photo.ignored))
        large, every = (average_precision(judge(found, SizeRange(least))) for least in (LEAST_SIZE, 0.0))
        return {ERROR: 1 - large, "average_precision": large, "average_precision_all_sizes": every}

    return validate


def load_sources(settings: DetectorSettings) -> Pair:
    """Training photos of all data sets, and validation photos of the first."""
    named = [(settings.dataset, settings.data), *training.further_data(settings, DATASETS)]
    pairs = [load_source(name, root, settings) for name, root in named]
    validation = FaceCanvases(pairs[0][1]) if named[0][0] in OF_ONE_FACE else pairs[0][1]
    train: Any
    if settings.model == centernet.NAME:
        faces = [faces for (name, _), (faces, _) in zip(named, pairs) if name in OF_ONE_FACE]
        whole = [photos for (name, _), (photos, _) in zip(named, pairs) if name not in OF_ONE_FACE]
        photos = JoinedSources(tuple(whole or map(FaceCanvases, faces)))
        train = Mosaics(photos, tuple(faces), tuple(backgrounds(settings.backgrounds)))
    else:
        every = [FaceCanvases(each) if name in OF_ONE_FACE else each for (name, _), (each, _) in zip(named, pairs)]
        train = JoinedSources(tuple(every))
    return FirstPhotos(train, settings.max_photos) if settings.max_photos else train, validation


def backgrounds(folder: str | None) -> list[Path]:
    """The photos without faces in a folder, sorted; none without a folder."""
    return files(Path(folder), PHOTO_SUFFIXES) if folder else []


class FirstPhotos:
    """The first photos of a source."""

    def __init__(self, source: PhotoSource, count: int) -> None:
        self._source, self._count = source, min(count, len(source))

    def __len__(self) -> int:
        return self._count

    def sample(self, index: int, rng: np.random.Generator) -> Any:
        """The photo of this number."""
        return self._source.sample(index, rng)


class Training(NamedTuple):
    """What differs between the two kinds of detectors.

    Attributes:
        net: initialised with random weights.
        samples: photos, seed -> arrays of a batch.
        objective: of the training loop.
        find: photo -> boxes and scores.
    """

    net: HybridBlock
    samples: Samples
    objective: Objective
    find: FindsBoxes


def train_faster_rcnn(settings: DetectorSettings, recipe: Recipe, devices: list[mx.Context], workers: int) -> Training:
    """Faster R-CNN with random weights.

    Raises:
        ValueError: a batch cannot be divided evenly among the devices of all workers.
    """
    share, left = divmod(recipe.batch_size, workers * len(devices))
    if left or not share:
        raise ValueError(f"--batch-size {recipe.batch_size} does not divide evenly among {workers * len(devices)} GPUs")
    net = build_detector(settings.model, share)
    initialise(net, devices, settings.seed)
    samples = DetectorSamples(net, recipe.flip_probability, (recipe.smallest_scale, recipe.largest_scale))
    return Training(net, samples, DetectorObjective(), lambda image: find_boxes(net, image, devices[0]))


def train_centernet(settings: DetectorSettings, devices: list[mx.Context]) -> Training:
    """The small detector with random weights."""
    net = centernet.CenterNet()
    centernet.initialise(net, devices, settings.seed)

    def samples(photos: Sequence[BoxedPhoto], seed: Sequence[int]) -> list[np.ndarray]:
        return center_batch(photos, centernet.STRIDE)

    return Training(net, samples, centernet.CenterObjective(devices), centernet.CenterFinder(net, devices[0]))


def fill_network(net: HybridBlock, settings: DetectorSettings) -> None:
    """Gives a detector the weights that a new run starts from; a resumed one has its own."""
    small = settings.model == centernet.NAME
    if small and settings.backbone:
        centernet.fill_backbone(net, settings.backbone)
    if not small and settings.imagenet:
        load_backbone(net, settings.imagenet)
    if not (small or settings.imagenet or settings.init):
        print("the backbone starts from random weights and its first stage keeps them: pass --imagenet FILE")
    if settings.init:
        fill_detector(net, settings.init)


def main(argv: Sequence[str] | None = None) -> int:
    """Trains one detector as the command line says."""
    settings, recipe, arguments = COMMAND_LINE.parse(argv, recipes_for)
    options = training.fit_options(settings, recipe)
    with training.join_workers(settings, recipe) as team, training.start_folder(settings, team) as folder:
        devices = processors.contexts(settings.gpus)
        settings = training.prepare(settings, devices)
        source, validation = load_sources(settings)
        small = settings.model == centernet.NAME
        made = train_centernet(settings, devices) if small else train_faster_rcnn(settings, recipe, devices, team.size)
        if not settings.resume:
            fill_network(made.net, settings)
        cut = Cut(team.rank, team.size, len(devices))
        batches = PhotoBatches(source, made.samples, recipe.batch_size, settings.seed, cut)
        print(f"{len(source)} training photos, {min(len(validation), VALIDATION_PHOTOS)} for validation")
        fit = Fit(
            made.net,
            batches,
            made.objective,
            make_validate(validation, made.find, settings.seed),
            ErrorMeasure(ERROR, "validation 1 - AP"),
            lambda best: save_detector(best, folder / "best.params", settings.model),
            options,
            devices,
            team=team,
        )
        record = RunRecord(folder, arguments, training.device_names(devices, team))
        state = fit.run(folder, record, arguments, resume=bool(settings.resume))
        best = f"{100 * (1 - state.best):.1f} %" if state.best_epoch else "none"
        print(f"best average precision {best} in epoch {state.best_epoch}: {folder / 'best.params'}")
    return 0


if __name__ == "__main__":
    cli.run(main)
