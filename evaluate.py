"""Measures a network's landmarks on a data set's faces and prints them beside the paper's figures.

Writes metrics.json, errors.npy (one fraction per face), errors.csv, predictions.npy (pixels), ced.png, faces.png and
report.html; with --stress also stress.json, stress.md and stress.png, of the same faces made harder by known amounts.
Exits with 1 when a face could not be read or found; such faces are listed.
"""

from __future__ import annotations

import argparse
import dataclasses
import shlex
import sys
from pathlib import Path
from typing import Callable, Iterable, Optional, Sequence

import mxnet as mx
import numpy as np
from tqdm import tqdm

from common import cli
from common.files import make_folder
from datasets.catalog import CATALOG, TEST_DATASETS, SubsetInfo, chosen_subset, load_subset
from datasets.degradations import DEGRADATIONS, plain_view
from datasets.faces import Face, FaceDataset
from datasets.geometry import compose, crop_matrix, square_box, transform_points, warp_image
from datasets.heatmaps import DECODINGS
from datasets.render.faces import RenderedFaces
from engine import devices
from engine.record import git_state, versions
from evaluation.boxes import check_inside, closest_box, given_box
from evaluation.protocols import box_text, get_protocol
from evaluation.published import WITH_SHAPE_MODEL
from evaluation.stress import Curve, make_levels
from evaluation.summary import Evaluation
from gluon_models import file_sha256, list_models, load_weights, shipped_weights
from gluon_models.lgcn.network import LGCN
from gluon_models.weights import WeightsInfo
from inference.detectors import DEFAULT_DETECTOR, DETECTORS, get_detector
from inference.ensembles import ANSWERS, AugmentedPredictor, DropoutEnsemble
from inference.landmark_detector import markup_named
from inference.pipeline import PointPredictor, StagePredictor, crop_dataset, crop_faces, predict_dataset, to_image
from inference.quantized import calibration_faces, int8_twin
from inference.shape_model import load_shape_model
from report.evaluation_report import extreme_faces, write_report, write_stress
from report.plots import Picture

TEST_SEED = 2_000_003  # of rendered faces that neither training nor validation sees
PICTURE_SIDE = 192  # pixels
PICTURE_MARGIN = 0.6  # of the longer side of the face's true box
BOXES_HELP = """what a face is cropped by: its true box, which is the tight one of its landmarks or AFLW's own, a
detector's, or a JSON file {"name": [x0, y0, x1, y1], ...} in pixels"""
ENSEMBLES = ("dropout", "augmentation")
ENSEMBLE_HELP = f"""the mean of {ANSWERS} answers to each face: with other units dropped each time (lgcn_64, lgcn_128),
or to copies of the crop"""
INT8_HELP = """run the twin whose convolutions are in eight bits, as export.py --int8 makes it: on the CPU, its ranges
from rendered faces"""
SHIFT_HELP = """pixels added to x and y of every predicted point before it is compared; FAN's own measuring adds 1.75,
see docs/protocols.md"""
BoxRule = Callable[[int, np.ndarray], Optional[np.ndarray]]


class SeenFaces:
    """A data set that remembers the true points and boxes of the faces it has handed out, to read each but once."""

    def __init__(self, dataset: FaceDataset) -> None:
        self.markup, self.names, self._dataset = dataset.markup, dataset.names, dataset
        self.truth = np.full((len(dataset), self.markup.num_landmarks, 2), np.nan)
        self.boxes = np.full((len(dataset), 4), np.nan)

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Face:
        face = self._dataset[index]
        self.truth[index], self.boxes[index] = face.points_image, face.box
        return face


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line; without --data the faces are rendered."""
    parser = cli.make_parser(__doc__)
    parser.add_argument("--model", choices=list_models(), required=True, help="the network")
    parser.add_argument("--weights", metavar="FILE", help="a .params with its .json; the shipped one if left out")
    parser.add_argument("--dataset", choices=TEST_DATASETS, help="300w if --data is given, else rendered")
    parser.add_argument("--data", metavar="DIR", help="folder of the data set; rendered faces need none")
    parser.add_argument("--subset", help=f"part of the data set, the first if left out. {_subsets_help()}")
    parser.add_argument("--boxes", metavar="truth|detector|FILE", default="truth", help=BOXES_HELP)
    finder = "whose boxes --boxes detector takes"
    parser.add_argument("--detector", choices=DETECTORS, default=DEFAULT_DETECTOR, help=finder)
    parser.add_argument("--decoding", choices=DECODINGS, help=f"how heatmaps become points ({DECODINGS[0]})")
    shape = "shape.npz that train_lgcn.py wrote, fitted to the heatmaps"
    parser.add_argument("--shape-model", metavar="FILE", help=shape)
    parser.add_argument("--ensemble", choices=ENSEMBLES, help=ENSEMBLE_HELP)
    parser.add_argument("--int8", action="store_true", help=INT8_HELP)
    parser.add_argument("--point-shift", type=float, default=0.0, help=SHIFT_HELP)
    parser.add_argument("--allow-missing", action="store_true", help="measure the part of the subset that is there")
    stress = "measure the same faces turned, boxed badly, blurred, noisy, compressed, small, covered, dark and bright"
    parser.add_argument("--stress", action="store_true", help=stress)
    parser.add_argument(
        "--stress-faces", type=int, metavar="N", help="of so many of the faces found, evenly taken; all if left out"
    )
    parser.add_argument("--count", type=int, default=500, help="rendered faces")
    parser.add_argument("--batch-size", type=int, default=64, help="faces run together at most")
    parser.add_argument("--out", metavar="DIR", required=True, help="folder for the report")
    cli.add_device_arguments(parser)
    arguments = parser.parse_args(argv)
    for name in ("count", "batch_size", "stress_faces"):
        if getattr(arguments, name) is not None and getattr(arguments, name) < 1:
            raise ValueError(f"--{name.replace('_', '-')} must be at least 1, not {getattr(arguments, name)}")
    if arguments.int8 and arguments.ensemble == "dropout":
        raise ValueError("--int8 with --ensemble dropout: the twin drops no units; take augmentation")
    arguments.dataset = arguments.dataset or ("300w" if arguments.data else "rendered")
    arguments.subset = chosen_subset(arguments.dataset, arguments.subset)
    return arguments


def _subsets_help() -> str:
    return "; ".join(f"{name}: {', '.join(entry.measured)}" for name, entry in CATALOG.items())


def load_faces(arguments: argparse.Namespace) -> tuple[FaceDataset, SubsetInfo]:
    """The faces that the command line asks for."""
    if arguments.dataset == "rendered":
        print(f"without --data: on {arguments.count} rendered faces", file=sys.stderr)
        return RenderedFaces(arguments.count, TEST_SEED + arguments.seed), SubsetInfo(arguments.count)
    return load_subset(arguments.dataset, arguments.data, arguments.subset, arguments.allow_missing)


def box_rule(arguments: argparse.Namespace, faces: SeenFaces, true_boxes: str) -> tuple[str, BoxRule | None, int]:
    """What --boxes asks for: their kind, (index, image) -> box or None, and how often the network looks at each face.

    The rule is None itself for the true boxes.
    """
    if arguments.boxes == "truth":
        return true_boxes, None, 1
    if arguments.boxes == "detector":
        context = devices.contexts(arguments.gpus)[0]
        kind, choose, detect = arguments.detector, closest_box, get_detector(arguments.detector, context=context)
    else:
        kind, choose, detect = "file", given_box, get_detector("file", arguments.boxes)

    def rule(index: int, image: np.ndarray) -> np.ndarray | None:
        box = choose([each.box for each in detect(image, faces.names[index])], faces.boxes[index])
        return None if box is None else check_inside(box, image)

    return kind, rule, getattr(detect, "passes", 1)


def picture(faces: SeenFaces, index: int, predicted: np.ndarray, error: float) -> Picture:
    """The face with room around it, its points in pixels of that crop."""
    face = faces[index]
    matrix = crop_matrix(square_box(face.box, PICTURE_MARGIN), PICTURE_SIDE)
    points = (transform_points(each, matrix) for each in (predicted, face.points_image))
    return Picture(warp_image(face.image, matrix, PICTURE_SIDE), *points, face.name, error)


def show_progress(indices: Iterable[int]) -> Iterable[int]:
    """A bar over the faces, where there is a terminal to show it."""
    return tqdm(indices, "evaluating", unit="face", disable=None)


def load_predictor(
    arguments: argparse.Namespace, weights: Path, context: mx.Context
) -> tuple[PointPredictor | AugmentedPredictor, WeightsInfo]:
    """The network as the command line has it answer, and what its weights file says."""
    net, info = load_weights(weights, arguments.model, context)
    if arguments.int8:
        net = int8_twin(net, info.spec, crop_dataset(calibration_faces(arguments.seed), info.spec).crops)
    if arguments.ensemble == "dropout":
        if not isinstance(net, LGCN):
            raise ValueError(f"--ensemble dropout: {arguments.model} drops no units; take augmentation")
        mx.random.seed(arguments.seed)
        net = DropoutEnsemble(net)
    shape_model = load_shape_model(arguments.shape_model) if arguments.shape_model else None
    predictor = PointPredictor(net, info.spec, context, arguments.batch_size, arguments.decoding, shape_model)
    if arguments.ensemble == "augmentation":
        return AugmentedPredictor(predictor, markup_named(info.markup)), info
    return predictor, info


def predict(
    predictor: PointPredictor | StagePredictor | AugmentedPredictor,
    faces: SeenFaces,
    boxes: BoxRule | None,
    passes: int,
) -> tuple[np.ndarray, dict[str, str]]:
    """Points (stages, n, K, 2) in pixels of the photos, and why faces were left out; shows a progress bar."""
    predicted, skipped = predict_dataset(predictor, faces, boxes, show_progress, passes)
    if np.isnan(predicted[[name not in skipped for name in faces.names]]).any():
        raise ValueError("the network answers with points that are no numbers: its weights are spoilt, use others")
    stages = predicted.reshape(len(faces), -1, *faces.truth.shape[1:])
    return np.ascontiguousarray(stages.swapaxes(0, 1)), skipped


def with_stages(
    predictor: PointPredictor | AugmentedPredictor, arguments: argparse.Namespace
) -> PointPredictor | StagePredictor | AugmentedPredictor:
    """The same with the answers of every stage, where they come from the one look that the last one's comes from."""
    plain = isinstance(predictor, PointPredictor) and not (arguments.shape_model or arguments.int8)
    return StagePredictor(predictor) if plain else predictor


def stress_curves(
    predictor: PointPredictor | AugmentedPredictor,
    faces: SeenFaces,
    boxes: BoxRule | None,
    result: Evaluation,
    arguments: argparse.Namespace,
) -> list[Curve]:
    """The errors of the faces that were found as they are made harder, in the normaliser of record; shows a bar."""
    found = np.flatnonzero(result.found)
    count = min(arguments.stress_faces or len(found), len(found))
    chosen = found[np.linspace(0, len(found) - 1, count).round().astype(int)]
    predicted = [harder_points(predictor, faces, boxes, index, arguments.seed) for index in show_progress(chosen)]
    levels = iter(np.stack(predicted, axis=1) + arguments.point_shift)
    part = dataclasses.replace(
        result,
        names=[faces.names[index] for index in chosen],
        truth=result.truth[chosen],
        face_sizes=None if result.face_sizes is None else result.face_sizes[chosen],
        earlier_stages=(),
    )
    curves = []
    for each in DEGRADATIONS:
        errors = [
            dataclasses.replace(part, predicted=next(levels)).errors(result.protocol.normalizer) for _ in each.amounts
        ]
        made = make_levels(each.amounts, np.stack(errors), result.protocol.failure_threshold)
        curves.append(Curve(each.name, each.title, each.unit, each.neutral, made))
    return curves


def harder_points(
    predictor: PointPredictor | AugmentedPredictor, faces: SeenFaces, boxes: BoxRule | None, index: int, seed: int
) -> np.ndarray:
    """Points (m, K, 2) in pixels of the photo, of a face that can be found, at each amount of each degradation."""
    face = faces[index]
    box = face.box if boxes is None else boxes(index, face.image)
    view, crops, matrices = plain_view(face.image, box), [], []
    for number, degradation in enumerate(DEGRADATIONS):
        for amount in degradation.amounts:
            # The same draws at every amount, so that a curve shows the amount alone.
            changed = degradation(view, amount, np.random.default_rng((seed, number, index)))
            crop, matrix = crop_faces(changed.image, [changed.box], predictor.spec)
            crops.append(crop[0])
            matrices.append(compose(matrix[0], changed.matrix))
    return to_image(predictor(np.stack(crops)), np.stack(matrices))


def answer_text(arguments: argparse.Namespace) -> dict[str, str]:
    """Where boxes came from and how answers became points, where that is not as ever, for the record."""
    text = {name: getattr(arguments, name) for name in ("decoding", "ensemble") if getattr(arguments, name)}
    if arguments.shape_model:
        text["shape_model"] = Path(arguments.shape_model).name
        text["shape_model_sha256"] = file_sha256(arguments.shape_model)
    if arguments.int8:
        text["precision"] = "int8"
    if arguments.boxes == "detector":
        text["detector"] = arguments.detector
    return text


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluates; 1 if a face had to be left out, else 0."""
    arguments = parse(argv)
    context = mx.cpu() if arguments.int8 else devices.contexts(arguments.gpus)[0]
    weights = Path(arguments.weights) if arguments.weights else shipped_weights(arguments.model)
    predictor, info = load_predictor(arguments, weights, context)
    protocol = get_protocol(arguments.dataset, arguments.subset)
    stored, about = load_faces(arguments)
    faces = SeenFaces(stored)
    if info.markup != faces.markup.name:
        raise ValueError(f"{weights} places {info.markup} points, but these faces have those of {faces.markup.name}")
    rule, boxes, passes = box_rule(arguments, faces, protocol.true_boxes)
    out = make_folder(arguments.out)
    stages, skipped = predict(with_stages(predictor, arguments), faces, boxes, passes)
    *earlier, predicted = stages + arguments.point_shift
    result = Evaluation(
        model=arguments.model + (WITH_SHAPE_MODEL if arguments.shape_model else ""),
        protocol=protocol,
        names=faces.names,
        predicted=predicted,
        truth=faces.truth,
        skipped=skipped,
        expected=about.expected,
        present=about.present,
        face_sizes=about.face_sizes,
        earlier_stages=earlier,
    )
    errors = result.errors(protocol.normalizer)
    shown = [[picture(faces, k, predicted[k], errors[k]) for k in indices] for indices in extreme_faces(errors)]
    record = {
        "model": arguments.model,
        **answer_text(arguments),
        "command": shlex.join(["evaluate.py", *(sys.argv[1:] if argv is None else argv)]),
        "seed": arguments.seed,
        "weights": weights.name,
        "weights_sha256": file_sha256(weights),
        "boxes": arguments.boxes,
        "point_shift": arguments.point_shift,
        "box_margin": info.spec.box_margin,
        "device": str(context),
        "versions": versions(),
        "git": git_state(),
        "missing": list(about.missing),
    }
    print(write_report(out, result, record, box_text(rule, info.spec.box_margin), *shown))
    if arguments.stress and result.found.any():
        curves = stress_curves(predictor, faces, boxes, result, arguments)
        print("\n" + write_stress(out, result, curves, record))
    print(f"\nopen {out / 'report.html'}")
    for name, reason in skipped.items():
        print(f"left out: {name}: {reason}", file=sys.stderr)
    return 1 if skipped else 0


if __name__ == "__main__":
    cli.run(main)
