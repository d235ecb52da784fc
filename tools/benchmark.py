"""Measures what networks cost on this machine: their size, time and memory, and how much of the machine they use.

The photos are rendered faces of 490 pixels, saved as JPEG in a temporary folder: the size of 300-W's photos cropped to
twice the face. Training is that of the cpu recipe. Weights are random where none ship. Prediction and training each run
in a process of their own, whose memory is what is reported. Run it while nothing else does.

--peers measures others' networks in turn with ours, each in a process of its own, and prints ratios.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import tempfile
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Callable, Iterator, Sequence

import mxnet as mx
import numpy as np
from mxnet import autograd
from mxnet.gluon import HybridBlock, Trainer

import train_deeppose
import train_ffld
import train_hourglass
import train_lgcn
import train_regions
from common import cli
from common.files import write_text
from datasets import pts_folder
from datasets.annotated_photos import AnnotatedPhotos
from datasets.augment import TrainingCrop
from datasets.cache import CachedFaces
from datasets.faces import FaceDataset
from datasets.images import read_image, write_image
from datasets.loader import Batch, Loader
from datasets.markups import IBUG_68
from datasets.pts_files import write_pts
from datasets.render.faces import RenderedFaces
from engine import devices
from engine.fit import Objective
from engine.record import git_state, versions
from engine.timing import durations, peak_memory_megabytes, rate, time_prediction
from gluon_models import get_model, get_spec, list_models, load_weights, shipped_weights
from gluon_models.__main__ import add_up, summarize
from inference.detectors import Detection, get_detector
from inference.landmark_detector import LandmarkDetector
from inference.pipeline import PointPredictor, crop_dataset
from inference.quantized import NotQuantizable, int8_twin
from tools.peers.compare import check_peers, compare_with_peers, describe_peers
from training import options as training
from training.landmark_training import LandmarkTraining, Recipe

SCRIPTS = (train_deeppose, train_ffld, train_hourglass, train_lgcn, train_regions)
TRAININGS: dict[str, LandmarkTraining] = {name: each.TRAINING for each in SCRIPTS for name in each.TRAINING.models}
ALL = "all"
PRECISIONS = ("float32", "int8")
PHOTOS, PHOTO_SIZE = 64, 490
EPOCH = 8192  # faces; photos repeat, so that workers do not pause between epochs
MATRIX_SIDE = 2048  # of the product that the machine's peak is measured with


@dataclass(frozen=True)
class Setting:
    """How to measure, on what.

    Attributes:
        seconds: length of each measurement.
        workers: processes that prepare faces.
        gpus: see `engine.devices.contexts`.
        seed: of faces and weights.
    """

    seconds: float
    workers: int
    gpus: str | None
    seed: int


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.make_parser(__doc__)
    models = f"a network, or {ALL}: " + ", ".join(list_models())
    parser.add_argument("--model", choices=(*list_models(), ALL), default="resnet18_slim", metavar="NAME", help=models)
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes that prepare faces")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each measurement")
    parser.add_argument("--json", metavar="FILE", help="write the figures there, too")
    parser.add_argument("--peers", action="store_true", help="compare with PyTorch, FAN and dlib instead")
    cli.add_device_arguments(parser)
    return parser


def write_photos(folder: Path, seed: int) -> AnnotatedPhotos:
    """Rendered faces as JPEG and .pts files."""
    for face in RenderedFaces(PHOTOS, seed, PHOTO_SIZE):
        write_image(folder / f"{face.name}.jpg", face.image)
        write_pts(folder / f"{face.name}.pts", face.points_image)
    return pts_folder.load(folder)


def make_network(model: str, ctx: mx.Context, seed: int) -> tuple[HybridBlock, bool]:
    """A network of 68 landmarks with the weights that ship, and whether any do."""
    try:
        return load_weights(shipped_weights(model), model, ctx)[0], True
    except (ValueError, FileNotFoundError):
        net, spec = get_model(model, num_landmarks=IBUG_68.num_landmarks), get_spec(model)
        training.initialise(net, (1, len(spec.mean), spec.size, spec.size), [ctx], seed)
        return net, False


def peak_gflops(ctx: mx.Context, seconds: float) -> float:
    """Multiplications and additions per second, in 1e9, of a large float32 matrix product: the faster of two libraries.

    MXNet's dot is OpenBLAS's or cuBLAS's, its dense layer oneDNN's or cuBLAS's.
    """
    left, right = (mx.nd.random.uniform(-1, 1, (MATRIX_SIDE, MATRIX_SIDE), ctx=ctx) for _ in range(2))

    def dense() -> mx.nd.NDArray:
        return mx.nd.FullyConnected(left, right, num_hidden=MATRIX_SIDE, no_bias=True, flatten=False)

    products: tuple[Callable[[], mx.nd.NDArray], ...] = (lambda: mx.nd.dot(left, right), dense)
    best = min(durations(lambda run=run: run().wait_to_read(), seconds).min() for run in products)
    return 2 * MATRIX_SIDE**3 / best / 1e9


def photo_rate(predictor: PointPredictor, photos: AnnotatedPhotos, passes: int, seconds: float) -> dict[str, float]:
    """Photos per second from the file to points of the image, boxes by OpenCV's cascade, and the faces it found."""
    found_by = get_detector("haar")

    def detect(image: np.ndarray, name: str) -> list[Detection]:
        return found_by(image, name)

    detect.passes = passes  # type: ignore[attr-defined]
    locate_faces = LandmarkDetector(predictor, detect, photos.markup)
    found = []

    def each_photo() -> Iterator[int]:
        for path in itertools.cycle(photos.image_paths):
            found.append(len(locate_faces(read_image(path), path.name)))
            yield 1

    photos_per_second = rate(each_photo(), seconds)
    return {"photos_per_second": photos_per_second, "faces_per_photo": float(np.mean(found)), "looks": passes}


def measure_prediction(model: str, precision: str, photos: AnnotatedPhotos, setting: Setting) -> dict[str, Any]:
    """Prediction by a network, and the whole way from photos to points; {"missing": why} where it has no int8 form."""
    ctx, spec = devices.contexts(setting.gpus)[0], get_spec(model)
    int8 = precision == "int8"
    ctx = mx.cpu() if int8 else ctx
    net, trained = make_network(model, ctx, setting.seed)
    crops = crop_dataset(photos, spec).crops
    try:
        predictor = PointPredictor(int8_twin(net, spec, crops) if int8 else net, spec, ctx)
    except NotQuantizable as error:
        return {"missing": str(error)}
    # A second look is at the box of the first points, which is none where the weights are random.
    passes = get_detector("haar").passes if trained else 1
    try:
        cost = asdict(time_prediction(predictor, crops, setting.seconds))
        return {**cost, "pipeline": photo_rate(predictor, photos, passes, setting.seconds)}
    except ValueError:
        if trained or not int8:
            raise
        # Random weights in eight bits may answer flat maps, in which there are no points to read.
        return {**asdict(time_prediction(predictor.answer, crops, setting.seconds)), "pipeline": None}


def make_loader(faces: FaceDataset, model: str, recipe: Recipe, setting: Setting) -> Loader:
    """Batches as in training with the recipe."""
    spec = get_spec(model)
    crop = TrainingCrop(spec.size, spec.box_margin, faces.markup, TRAININGS[model].augmentation(recipe))
    order = np.resize(np.arange(len(faces)), EPOCH)
    return Loader(faces, crop, recipe.batch_size, setting.seed, setting.workers, order)


def len_of(batch: Batch) -> int:
    """Faces in a batch."""
    return len(batch.crops)


def endless(loader: Loader) -> Iterator[Batch]:
    """Epoch after epoch."""
    return itertools.chain.from_iterable(map(loader.epoch, itertools.count()))


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


def measure_training(model: str, photos: AnnotatedPhotos, setting: Setting) -> dict[str, float]:
    """Loading of training crops, and training with the photos in memory; faces per second."""
    ctx, spec = devices.contexts(setting.gpus)[0], get_spec(model)
    recipe = TRAININGS[model].recipes_for(model, "300w")["cpu"]
    with make_loader(photos, model, recipe, setting) as loader:
        from_files = rate(map(len_of, endless(loader)), setting.seconds)
    faces = CachedFaces(photos)
    with make_loader(faces, model, recipe, setting) as loader:
        from_memory = rate(map(len_of, endless(loader)), setting.seconds)
    net = get_model(model, num_landmarks=faces.markup.num_landmarks)
    training.initialise(net, (1, len(spec.mean), spec.size, spec.size), [ctx], setting.seed)
    objective = TRAININGS[model].make_objective(net, recipe, spec, faces.markup, [ctx])
    with make_loader(faces, model, recipe, setting) as loader:
        trained = rate(updates(net, endless(loader), objective, ctx), setting.seconds)
    return {
        "batch_size": recipe.batch_size,
        "loader_from_files": from_files,
        "loader_from_memory": from_memory,
        "faces_per_second": trained,
        "memory_megabytes": peak_memory_megabytes(),
    }


def in_own_process(measure: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """What a function answers in a process that does nothing else; {"missing": why} where that was ended."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(measure, *arguments).result()
        except BrokenProcessPool:
            return {"missing": "the system ended the process, most likely for want of memory"}


def measure_model(model: str, photos: AnnotatedPhotos, setting: Setting, peak: float) -> dict[str, Any]:
    """All that is measured of one network, as plain JSON types."""
    spec = get_spec(model)
    net = get_model(model, num_landmarks=IBUG_68.num_landmarks)
    total = add_up(summarize(net, (1, len(spec.mean), spec.size, spec.size), depth=1))
    values: dict[str, Any] = {"parameters": total.parameters, "multiply_adds": total.multiply_adds}
    for precision in PRECISIONS:
        values[precision] = in_own_process(measure_prediction, model, precision, photos, setting)
        if "faces_per_second" in values[precision]:
            reached = 2 * total.multiply_adds * values[precision]["faces_per_second"] / 1e9
            values[precision].update(gflops=reached, share_of_peak=reached / peak)
    values["training"] = in_own_process(measure_training, model, photos, setting)
    return values


def measure_models(models: Sequence[str], photos: AnnotatedPhotos, setting: Setting) -> dict[str, Any]:
    """The machine's peak and each network's figures, printed as they come."""
    peak = peak_gflops(devices.contexts(setting.gpus)[0], setting.seconds)
    print(f"the machine's peak: {peak:.0f} GFLOP/s in float32, by a product of large matrices")
    values = {}
    for model in models:
        values[model] = measure_model(model, photos, setting, peak)
        print(describe_cost(model, values[model]), flush=True)
    return {"peak_gflops": peak, "models": values}


def describe_cost(model: str, values: dict[str, Any]) -> str:
    """The figures of one network as lines to read."""
    lines = [
        f"{model}: {values['parameters']:,} parameters, {values['multiply_adds'] / 1e6:,.0f} million multiply-adds"
    ]
    for precision in PRECISIONS:
        lines += _prediction_lines(precision, values[precision])
    trained = values["training"]
    if "missing" in trained:
        return "\n".join([*lines, f"  training: {trained['missing']}"])
    return "\n".join(
        [
            *lines,
            _line("loading from JPEG files", f"{trained['loader_from_files']:.0f} faces/s"),
            _line("loading from memory (--cache)", f"{trained['loader_from_memory']:.0f} faces/s"),
            _line(
                f"training, batch {trained['batch_size']}, from memory", f"{trained['faces_per_second']:.1f} faces/s"
            ),
            _line("  memory at most", f"{trained['memory_megabytes']:.0f} MB"),
        ]
    )


def _prediction_lines(precision: str, cost: dict[str, Any]) -> list[str]:
    if "missing" in cost:
        return [f"  {precision}: {cost['missing']}"]
    middle, low, high = (cost[key] for key in ("milliseconds", "milliseconds_10", "milliseconds_90"))
    pipeline, whole = cost["pipeline"], "flat maps: the weights are random"
    if pipeline:
        found = f"{pipeline['faces_per_photo']:.2f} faces found in each, {pipeline['looks']} looks"
        whole = f"{pipeline['photos_per_second']:.1f} photos/s, {found}"
    return [
        _line(f"{precision}, one face", f"{middle:.2f} ms, 80 % of them {low:.2f} to {high:.2f}"),
        _line(f"{precision}, batch 64", f"{cost['faces_per_second']:.1f} faces/s"),
        _line("  of float32's peak", f"{cost['gflops']:.0f} GFLOP/s, {100 * cost['share_of_peak']:.0f} %"),
        _line("  memory at most", f"{cost['memory_megabytes']:.0f} MB"),
        _line("  photo -> box -> crop -> network -> points", whole),
    ]


def _line(what: str, figure: str) -> str:
    return f"  {what:<44}{figure}"


def machine(setting: Setting) -> dict[str, Any]:
    """Where the figures are from."""
    return {
        "processors": os.cpu_count(),
        "load_average_at_start": round(os.getloadavg()[0], 2),
        "device": str(devices.contexts(setting.gpus)[0]),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
        "versions": versions(),
        "git": git_state(),
        "setting": asdict(setting),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Measures what the command line names."""
    arguments = make_parser().parse_args(argv)
    if arguments.workers < 0 or not arguments.seconds > 0:
        raise ValueError("--workers must be at least 0 and --seconds more than 0")
    setting = Setting(arguments.seconds, arguments.workers, arguments.gpus, arguments.seed)
    ctx, values = devices.contexts(setting.gpus)[0], machine(setting)
    if arguments.peers:
        check_peers()
    print(devices.idle_cores_advice([ctx]) or "MXNet works on all cores")
    load = values["load_average_at_start"]
    print(f"{os.cpu_count()} processors, load average {load} at the start, {setting.workers} workers, network on {ctx}")
    with tempfile.TemporaryDirectory() as folder:
        photos = write_photos(Path(folder), setting.seed)
        if arguments.peers:

            def ours(model: str) -> dict[str, Any]:
                return in_own_process(measure_prediction, model, "float32", photos, setting)

            values["peers"] = compare_with_peers(ours, setting.seconds, setting.seed)
            print(describe_peers(values["peers"]))
        else:
            models = list_models() if arguments.model == ALL else [arguments.model]
            values.update(measure_models(models, photos, setting))
    if arguments.json:
        write_text(arguments.json, json.dumps(values, indent=2) + "\n")
        print(f"wrote {arguments.json}")
    return 0


if __name__ == "__main__":
    cli.run(main)
