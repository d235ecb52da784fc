"""Trains the face detector (gluon_models/detector/network.py); --recipe paper is GluonCV's own.

The data sets 300w and rendered hold photos of one large face, which are shrunk and placed in larger canvases. AFW is
left out of 300-W, since its whole photos test the detector.
"""

from __future__ import annotations

from common import cli  # first: Ctrl-C while the others are imported shows no traceback

# isort: split
from dataclasses import dataclass
from typing import Any, Callable, Iterator, Sequence

import mxnet as mx
import numpy as np

from common.options import option
from datasets.cache import CachedFaces
from datasets.catalog import training_pair
from datasets.detection import fddb, landmark_boxes, wider_face
from datasets.detection import voc as face_boxes
from datasets.detection.boxed_photos import BoxedPhotos, JoinedSources, PhotoSource
from datasets.detection.canvases import FaceCanvases
from datasets.faces import FaceDataset
from engine import devices as processors
from engine.fit import Fit
from engine.record import ErrorMeasure, RunRecord
from evaluation.detection import FoundBoxes, SizeRange, average_precision, judge
from gluon_models.detector.gluoncv_parts import FasterRCNN
from gluon_models.detector.network import RECIPES, SETTINGS, Recipe, build_detector, find_boxes, initialise
from gluon_models.detector.objective import DetectorObjective, DetectorSamples
from gluon_models.detector.weights import fill_detector, load_backbone, save_detector
from training import options as training
from training.landmark_training import show_progress
from training.options import CommandLine
from training.settings import TrainingSettings

DATASETS = ("rendered", "300w", "face_boxes", "wider_face", "fddb", "pts")
LEAST_SIZE = 24.0  # pixels: validation is on faces from here on [B9]
VALIDATION_PHOTOS = 200  # at most, evenly spread over those there are [B9]

ERROR = "one_minus_ap"  # in the log: runs are compared by the average precision

Pair = "tuple[PhotoSource, PhotoSource]"


@dataclass(frozen=True)
class DetectorSettings(TrainingSettings):
    """The detector's own options."""

    imagenet: str | None = option(None, "initial weights of the backbone: Gluon's resnet50_v1", metavar="FILE")
    max_photos: int = option(0, "train on the first photos only, to try things out; 0 trains on all", least=0)


COMMAND_LINE = CommandLine(__doc__, tuple(SETTINGS), DATASETS, RECIPES, DetectorSettings)


class PhotoBatches:
    """Shuffled batches of one epoch after another; photos that do not fill the last batch are dropped for that epoch.

    Args:
        source: where photos come from.
        samples: makes arrays of them.
        batch_size: photos in a batch; the network is built for this number.
        seed: of the order and of each photo's random changes.
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


def load_source(name: str, root: str | None, settings: DetectorSettings) -> Pair:
    """Training and validation photos of one data set.

    Raises:
        ValueError, FileNotFoundError: the data is not there.
    """
    if name != "rendered" and root is None:
        raise ValueError(f"--dataset {name} needs its folder: pass --data DIR")
    if name in ("rendered", "300w"):
        given = (settings.allow_missing, settings.rendered_count, settings.seed, settings.official_split)
        faces, validation = training_pair(name, root, *given)
        faces, validation = without_afw(faces), without_afw(validation)
        if settings.cache:
            faces = CachedFaces(faces, settings.workers, show_progress)
        return FaceCanvases(faces), FaceCanvases(validation)
    if name == "wider_face":
        return wider_face.load(root).for_training(), wider_face.load(root, "val")
    load: Callable[..., BoxedPhotos] = {"fddb": fddb.load, "pts": landmark_boxes.load}.get(name, face_boxes.load)
    photos = load(root, settings.allow_missing) if name == "face_boxes" else load(root)
    return photos.part("train").for_training(), photos.part("validation")


def without_afw(faces: FaceDataset) -> FaceDataset:
    """The faces of 300-W without AFW's, whose whole photos test the detector [B11]."""
    kept = [k for k, name in enumerate(faces.names) if not name.startswith("afw/")]
    return faces if len(kept) == len(faces) else faces.subset(kept)


def make_validate(source: PhotoSource, context: mx.Context, seed: int) -> Callable[[FasterRCNN], dict[str, float]]:
    """Average precision at an IoU of one half, on the same photos every time."""
    chosen = np.unique(np.linspace(0, len(source) - 1, min(len(source), VALIDATION_PHOTOS)).astype(int))

    def validate(net: FasterRCNN) -> dict[str, float]:
        found = []
        for index in chosen:
            photo = source.sample(int(index), np.random.default_rng((seed, int(index))))
            found.append(FoundBoxes(*find_boxes(net, photo.image, context), photo.boxes, photo.ignored))
        large, every = (average_precision(judge(found, SizeRange(least))) for least in (LEAST_SIZE, 0.0))
        return {ERROR: 1 - large, "average_precision": large, "average_precision_all_sizes": every}

    return validate


def load_sources(settings: DetectorSettings) -> Pair:
    """Training photos of all data sets, and validation photos of the first."""
    train, validation = load_source(settings.dataset, settings.data, settings)
    further = training.further_data(settings, DATASETS)
    more = [load_source(name, root, settings)[0] for name, root in further]
    joined: Any = JoinedSources((train, *more))
    return FirstPhotos(joined, settings.max_photos) if settings.max_photos else joined, validation


class FirstPhotos:
    """The first photos of a source."""

    def __init__(self, source: PhotoSource, count: int) -> None:
        self._source, self._count = source, min(count, len(source))

    def __len__(self) -> int:
        return self._count

    def sample(self, index: int, rng: np.random.Generator) -> Any:
        """The photo of this number."""
        return self._source.sample(index, rng)


def make_network(settings: DetectorSettings, recipe: Recipe, devices: list[mx.Context]) -> FasterRCNN:
    """The detector with the weights it starts from.

    Raises:
        ValueError: a batch cannot be divided evenly among the devices.
    """
    share, left = divmod(recipe.batch_size, len(devices))
    if left or not share:
        raise ValueError(f"--batch-size {recipe.batch_size} does not divide evenly among {len(devices)} GPUs")
    net = build_detector(settings.model, share)
    initialise(net, devices, settings.seed)
    if settings.imagenet:
        load_backbone(net, settings.imagenet)
    if settings.init:
        fill_detector(net, settings.init)
    if not (settings.imagenet or settings.init or settings.resume):
        print("the backbone starts from random weights and its first stage keeps them: pass --imagenet FILE")
    return net


def main(argv: Sequence[str] | None = None) -> int:
    """Trains one detector as the command line says."""
    settings, recipe, arguments = COMMAND_LINE.parse(argv)
    devices = processors.contexts(settings.gpus)
    settings = training.prepare(settings, devices)
    source, validation = load_sources(settings)
    net = make_network(settings, recipe, devices)
    samples = DetectorSamples(net, recipe.flip_probability, (recipe.smallest_scale, recipe.largest_scale))
    batches = PhotoBatches(source, samples, recipe.batch_size, settings.seed)
    with training.start_folder(settings) as folder:
        print(f"{len(source)} training photos, {min(len(validation), VALIDATION_PHOTOS)} for validation")
        fit = Fit(
            net,
            batches,
            DetectorObjective(),
            make_validate(validation, devices[0], settings.seed),
            ErrorMeasure(ERROR, "validation 1 - AP"),
            lambda best: save_detector(best, folder / "best.params", settings.model),
            training.fit_options(settings, recipe),
            devices,
        )
        record = RunRecord(folder, arguments, [str(device) for device in devices])
        state = fit.run(folder, record, arguments, resume=bool(settings.resume))
        best = f"{100 * (1 - state.best):.1f} %" if state.best_epoch else "none"
        print(f"best average precision {best} in epoch {state.best_epoch}: {folder / 'best.params'}")
    return 0


if __name__ == "__main__":
    cli.run(main)
