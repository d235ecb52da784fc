"""Measures the cost of networks on this machine: size, time, memory, and the share of the machine's peak they reach.

The photos are rendered faces of 490 pixels, saved as JPEG in a temporary folder: the size of 300-W's photos cropped to
twice the face. Training uses the cpu recipe. Weights are random where none ship. Prediction and training each run in a
process of their own, whose memory is reported. Run it on an idle machine.

--recipe paper measures training alone, at the paper's own batch and size: some steps and a validation of 200 faces, by
the training script itself. It prints lines for the table in docs/reproduce.md.

--peers measures other people's networks in turn with ours, each in a process of its own, and prints ratios.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import tempfile
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Callable, Iterator, Sequence

import mxnet as mx
import numpy as np
from mxnet import autograd
from mxnet.gluon import HybridBlock, Trainer

from common import cli
from common.files import write_text
from datasets import pts_folder
from datasets.annotated_photos import AnnotatedPhotos
from datasets.cache import CachedFaces
from datasets.faces import FaceDataset
from datasets.images import read_image, write_image
from datasets.loader import Batch, Loader
from datasets.markups import IBUG_68
from datasets.pts_files import write_pts
from datasets.render.faces import RenderedFaces
from datasets.workers import run_alone
from engine import devices as processors
from engine.feed import Objective
from engine.record import git_state, versions
from engine.timing import durations, peak_memory_megabytes, rate, time_prediction
from gluon_models import get_model, list_models, load_weights, shipped_weights
from gluon_models.__main__ import add_up, summarize
from gluon_models.weights import shipped_spec
from inference.detectors import Detection, get_detector
from inference.landmark_detector import LandmarkDetector
from inference.pipeline import PointPredictor, crop_dataset
from inference.quantized import NotQuantizable, int8_twin
from report.costs import describe_cost
from tools.peers.compare import check_peers, compare_with_peers, describe_peers
from training import options as training
from training.discovery import find_trainings
from training.landmark_training import LandmarkTraining, TrainingContext
from training.plan import ROW_HEADS, Plan

ALL = "all"
PRECISIONS = ("float32", "int8")
PHOTOS, PHOTO_SIZE = 64, 490
EPOCH = 8192  # faces; photos repeat, so that workers do not pause between epochs
MATRIX_SIDE = 2048  # of the product that the machine's peak is measured with

Keep = Callable[[dict[str, Any]], None]  # takes the figures of all networks so far


@dataclass(frozen=True)
class Setting:
    """How to measure.

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
    parser.add_argument(
        "--workers", type=cli.count_or_none, default=os.cpu_count(), help="processes that prepare faces"
    )
    parser.add_argument("--seconds", type=cli.positive, default=10.0, help="length of each measurement")
    parser.add_argument("--json", metavar="FILE", type=cli.path, help="write the figures to this file, too")
    steps = "training by this recipe alone (see above); cpu is what else is measured here by"
    parser.add_argument("--recipe", choices=("cpu", "paper"), default="cpu", help=steps)
    parser.add_argument("--steps", type=cli.count, default=30, help="steps that --recipe paper measures")
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
    """A network of 68 landmarks and whether weights ship for it; else they are random."""
    try:
        return load_weights(shipped_weights(model), model, ctx)[0], True
    except (ValueError, FileNotFoundError):
        net, spec = get_model(model, num_landmarks=IBUG_68.num_landmarks), shipped_spec(model)
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


class HaarDetector:
    """OpenCV's cascade, followed by another number of passes of the network than usual."""

    def __init__(self, passes: int) -> None:
        self.passes, self._detect = passes, get_detector("haar")

    def __call__(self, image: np.ndarray, name: str) -> list[Detection]:
        """The faces of an image, see `inference.detectors.FaceDetector`."""
        return self._detect(image, name)


def photo_rate(predictor: PointPredictor, photos: AnnotatedPhotos, passes: int, seconds: float) -> dict[str, float]:
    """Photos per second from the file to points in the image, with the boxes of OpenCV's cascade; faces it found."""
    locate_faces = LandmarkDetector(predictor, HaarDetector(passes), photos.markup)
    found = []

    def each_photo() -> Iterator[int]:
        for path in itertools.cycle(photos.image_paths):
            found.append(len(locate_faces(read_image(path), path.name)))
            yield 1

    photos_per_second = rate(each_photo(), seconds)
    return {"photos_per_second": photos_per_second, "faces_per_photo": float(np.mean(found)), "passes": passes}


def measure_prediction(model: str, precision: str, photos: AnnotatedPhotos, setting: Setting) -> dict[str, Any]:
    """Cost of prediction, and of the whole way from photos to points; {"missing": why} without an int8 form."""
    ctx, spec = processors.contexts(setting.gpus)[0], shipped_spec(model)
    int8 = precision == "int8"
    ctx = mx.cpu() if int8 else ctx
    net, trained = make_network(model, ctx, setting.seed)
    crops = crop_dataset(photos, spec).crops
    try:
        predictor = PointPredictor(int8_twin(net, spec, crops) if int8 else net, spec, ctx)
    except NotQuantizable as error:
        return {"missing": str(error)}
    # A second pass takes the box of the first points, which is none where the weights are random.
    passes = get_detector("haar").passes if trained else 1
    try:
        cost = asdict(time_prediction(predictor, crops, setting.seconds))
        return {**cost, "pipeline": photo_rate(predictor, photos, passes, setting.seconds)}
    except ValueError:
        if trained or not int8:
            raise
        # Random weights in eight bits may give flat heatmaps, in which there are no points to find.
        return {**asdict(time_prediction(predictor.output, crops, setting.seconds)), "pipeline": None}


def training_of(model: str, setting: Setting) -> tuple[LandmarkTraining, TrainingContext]:
    """The training of a network by its cpu recipe, or by its first one where it has none."""
    script = find_trainings()[model]
    recipes = script.recipes_for(model, "300w")
    recipe = recipes.get("cpu") or next(iter(recipes.values()))
    settings = script.settings_type(model=model, seed=setting.seed, workers=setting.workers)
    context = script.make_context(settings, recipe, IBUG_68, processors.contexts(setting.gpus)[:1])
    return script, replace(context, info=replace(context.info, spec=shipped_spec(model)))


def make_loader(faces: FaceDataset, script: LandmarkTraining, context: TrainingContext) -> Loader:
    """Batches as in training."""
    order, settings = np.resize(np.arange(len(faces)), EPOCH), context.settings
    crop, size = script.make_crop(context), context.recipe.batch_size
    return Loader(faces, crop, size, settings.seed, settings.workers, order)


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
    script, context = training_of(model, setting)
    with make_loader(photos, script, context) as loader:
        from_files = rate(map(len_of, endless(loader)), setting.seconds)
    faces = CachedFaces(photos)
    with make_loader(faces, script, context) as loader:
        from_memory = rate(map(len_of, endless(loader)), setting.seconds)
    spec, device = context.spec, context.devices[0]
    net = get_model(model, **context.info.overrides)
    training.initialise(net, (1, len(spec.mean), spec.size, spec.size), [device], setting.seed)
    objective = script.make_objective(net, context)
    with make_loader(faces, script, context) as loader:
        trained = rate(updates(net, endless(loader), objective, device), setting.seconds)
    return {
        "batch_size": context.recipe.batch_size,
        "loader_from_files": from_files,
        "loader_from_memory": from_memory,
        "faces_per_second": trained,
        "memory_megabytes": peak_memory_megabytes(),
    }


def measure_recipe(model: str, steps: int, setting: Setting) -> dict[str, Any]:
    """The plan of training a network by its paper's recipe on rendered faces, as a dictionary."""
    script = find_trainings()[model]
    argv = ["--model", model, "--recipe", "paper", "--dry-run", "--seed", str(setting.seed)]
    argv += ["--workers", str(setting.workers), *(["--gpus", setting.gpus] if setting.gpus else [])]
    settings, recipe, _ = script.parse(argv)
    return asdict(script.plan(settings, recipe, steps))


def measure_recipes(models: Sequence[str], steps: int, setting: Setting, keep: Keep) -> None:
    """The plans of several networks, each in a process of its own; prints and keeps them as they come."""
    print(ROW_HEADS)
    plans = {}
    for model in models:
        plans[model] = in_own_process(measure_recipe, model, steps, setting)
        missing = plans[model].get("missing")
        print(f"`{model}`: {missing}" if missing else Plan(**plans[model]).row(), flush=True)
        keep({"recipes": plans})
    for model, values in plans.items():
        if "missing" not in values:
            print(f"`{model}`, {Plan(**values).cost_text()}")


def in_own_process(measure: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """Calls a function in a process that does nothing else; {"missing": why} where the system ended it."""
    try:
        return run_alone(measure, *arguments)
    except BrokenProcessPool:
        return {"missing": "the system ended the process, most likely for want of memory"}


def measure_model(model: str, photos: AnnotatedPhotos, setting: Setting, peak: float) -> dict[str, Any]:
    """Measures one network; plain JSON types."""
    spec = shipped_spec(model)
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


def measure_models(models: Sequence[str], photos: AnnotatedPhotos, setting: Setting, keep: Keep) -> None:
    """The machine's peak and each network's figures, printed and kept as they come."""
    peak = peak_gflops(processors.contexts(setting.gpus)[0], setting.seconds)
    print(f"the machine's peak: {peak:.0f} GFLOP/s in float32, by a product of large matrices")
    values = {}
    for model in models:
        values[model] = measure_model(model, photos, setting, peak)
        print(describe_cost(model, values[model]), flush=True)
        keep({"peak_gflops": peak, "models": values})


def machine(setting: Setting) -> dict[str, Any]:
    """The machine and versions that were measured."""
    return {
        "processors": os.cpu_count(),
        "load_average_at_start": round(os.getloadavg()[0], 2),
        "device": str(processors.contexts(setting.gpus)[0]),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
        "versions": versions(),
        "git": git_state(),
        "setting": asdict(setting),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Measures the networks that the command line names."""
    arguments = make_parser().parse_args(argv)
    if arguments.json:
        cli.output_file(arguments.json)
    setting = Setting(arguments.seconds, arguments.workers, arguments.gpus, arguments.seed)
    ctx, values = processors.contexts(setting.gpus)[0], machine(setting)
    if arguments.peers:
        check_peers()
    print(processors.idle_cores_advice([ctx]) or "MXNet works on all cores")
    load = values["load_average_at_start"]
    print(f"{os.cpu_count()} processors, load average {load} at the start, {setting.workers} workers, network on {ctx}")
    models = list_models() if arguments.model == ALL else [arguments.model]

    def keep(figures: dict[str, Any]) -> None:
        values.update(figures)
        if arguments.json:
            write_text(arguments.json, json.dumps(values, indent=2) + "\n")

    kept = f"{arguments.json} holds the figures above, if any" if arguments.json else "the figures above stand"
    with tempfile.TemporaryDirectory() as folder, cli.says_what_is_kept(lambda: kept):
        photos = write_photos(Path(folder), setting.seed)
        if arguments.peers:

            def ours(model: str) -> dict[str, Any]:
                return in_own_process(measure_prediction, model, "float32", photos, setting)

            keep({"peers": compare_with_peers(ours, setting.seconds, setting.seed)})
            print(describe_peers(values["peers"]))
        elif arguments.recipe == "paper":
            measure_recipes(models, arguments.steps, setting, keep)
        else:
            measure_models(models, photos, setting, keep)
    if arguments.json:
        print(f"wrote {arguments.json}")
    return 0


if __name__ == "__main__":
    cli.run(main)
