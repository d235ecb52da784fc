"""Measures a network's landmarks on a data set's faces and prints them beside the paper's figures.

Writes metrics.json, errors.npy (one fraction per face), errors.csv, predictions.npy (pixels), ced.png, faces.png and
report.html; with --stress also stress.json, stress.md and stress.png, of the same faces made harder by known amounts.
Exits with 1 when a face could not be read or found; such faces are listed.
"""

from __future__ import annotations

from common import cli  # first: Ctrl-C while the others are imported shows no traceback

# isort: split
import argparse
import hashlib
import os
import shlex
import sys
from pathlib import Path
from typing import Any, Iterable, NamedTuple, Sequence

import mxnet as mx
import numpy as np

from common.files import exclusive
from common.shards import WHOLE, add_shard_argument
from datasets.catalog import CATALOG, TEST_DATASETS, chosen_subset
from datasets.faces import Face, FaceDataset
from datasets.fixed_samples import Chosen
from datasets.geometry import crop_matrix, square_box, transform_points, warp_image
from datasets.heatmaps import DECODINGS
from engine import devices
from engine.record import git_state, versions
from evaluation.protocols import box_text
from gluon_models import file_sha256, list_models, shipped_weights
from gluon_models.weights import WeightsInfo
from inference.detectors import DEFAULT_DETECTOR, DETECTORS
from inference.ensembles import MEMBERS
from inference.evaluation import (
    ENSEMBLES,
    BoxSource,
    ConvertedPredictor,
    SubsetFaces,
    box_source,
    compared,
    evaluated_name,
    load_faces,
    load_predictor,
    predict_faces,
    stress_curves,
)
from inference.landmark_detector import markup_of
from inference.partial_predictions import read_parts, write_part
from inference.pipeline import PredictedFaces, Predictor
from inference.quantized import cpu_note
from inference.training_boxes import own_box, training_box
from report.evaluation_report import extreme_faces, write_report, write_stress
from report.plots import Picture
from report.quoted import quoted_lines

PICTURE_SIDE = 192  # pixels
PICTURE_MARGIN = 0.6  # of the longer side of the face's true box
BOXES_HELP = """source of the box that a face is cropped by: its true box (tight about its landmarks, or AFLW's own), a
detector, or a JSON file {"name": [x0, y0, x1, y1], ...} in pixels"""
ENSEMBLE_HELP = f"""average {MEMBERS} predictions per face: over dropout masks (networks with dropout) or over changed
copies of the crop"""
INT8_HELP = "run the int8 twin, as export.py --int8 makes it: on the CPU, calibrated on rendered faces"
SHIFT_HELP = """pixels added to x and y of every predicted point before it is compared; FAN's own measuring adds 1.75,
see docs/protocols.md"""
STRESS_HELP = """also measure the same faces rotated, badly boxed, blurred, noisy, compressed, small, covered, dark and
bright"""


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line; without --data the faces are rendered."""
    parser = cli.make_parser(__doc__)
    parser.add_argument("--model", choices=list_models(), required=True, help="the network")
    parser.add_argument(
        "--weights", metavar="FILE", type=cli.path, help="a .params with its .json (default: the shipped one)"
    )
    parser.add_argument("--dataset", choices=TEST_DATASETS, help="default: 300w if --data is given, else rendered")
    parser.add_argument("--data", metavar="DIR", type=cli.path, help="folder of the data set; rendered faces need none")
    subsets = "; ".join(f"{name}: {', '.join(entry.measured)}" for name, entry in CATALOG.items())
    parser.add_argument("--subset", help=f"part of the data set (default: its first). {subsets}")
    parser.add_argument("--boxes", metavar="truth|detector|FILE", default="truth", help=BOXES_HELP)
    detector = f"detector for --boxes detector (default: {DEFAULT_DETECTOR})"
    parser.add_argument("--detector", choices=DETECTORS, help=detector)
    parser.add_argument("--decoding", choices=DECODINGS, help="how heatmaps become points (default: as in training)")
    shape = "a shape model (shape.npz of a training run) to fit to the heatmaps instead"
    parser.add_argument("--shape-model", metavar="FILE", type=cli.path, help=shape)
    prior = "with --shape-model: keep components small, which costs accuracy (docs/lgcn.md, L22)"
    parser.add_argument("--shape-prior", action="store_true", help=prior)
    parser.add_argument("--ensemble", choices=ENSEMBLES, help=ENSEMBLE_HELP)
    parser.add_argument("--int8", action="store_true", help=INT8_HELP)
    parser.add_argument("--point-shift", type=cli.number, default=0.0, help=SHIFT_HELP)
    parser.add_argument("--allow-missing", action="store_true", help="accept an incomplete subset")
    parser.add_argument("--stress", action="store_true", help=STRESS_HELP)
    faces = "faces for --stress, evenly spread over those that were found (default: all)"
    parser.add_argument("--stress-faces", type=cli.count, metavar="N", help=faces)
    parser.add_argument("--count", type=cli.count, default=500, help="number of rendered faces")
    parser.add_argument("--batch-size", type=cli.count, default=64, help="most faces that run together")
    parser.add_argument("--out", metavar="DIR", type=cli.path, required=True, help="folder for the report")
    add_shard_argument(parser)
    merge = "report on all N parts that --shard wrote to --out with the same options"
    parser.add_argument("--merge", type=cli.count, metavar="N", help=merge)
    cli.add_device_arguments(parser)
    arguments = parser.parse_args(argv)
    if arguments.int8 and arguments.ensemble == "dropout":
        raise ValueError("--int8 with --ensemble dropout: the int8 twin has no dropout; use --ensemble augmentation")
    if arguments.merge and arguments.shard != WHOLE:
        raise ValueError("--shard measures a part, --merge joins all of them: give one of the two")
    for option, is_given, needed, is_there in (
        ("--detector", arguments.detector, "--boxes detector", arguments.boxes == "detector"),
        ("--shape-prior", arguments.shape_prior, "--shape-model", arguments.shape_model),
        ("--stress-faces", arguments.stress_faces, "--stress", arguments.stress),
    ):
        if is_given and not is_there:
            raise ValueError(f"{option} is for {needed}: add it, or leave both out")
    arguments.detector = arguments.detector or DEFAULT_DETECTOR
    arguments.dataset = arguments.dataset or ("300w" if arguments.data else "rendered")
    arguments.subset = chosen_subset(arguments.dataset, arguments.subset)
    return arguments


def picture(face: Face, predicted: np.ndarray, error: float) -> Picture:
    """A face with room around it, its points in pixels of that crop."""
    matrix = crop_matrix(square_box(face.box, PICTURE_MARGIN), PICTURE_SIDE)
    points = (transform_points(each, matrix) for each in (predicted, face.points_image))
    return Picture(warp_image(face.image, matrix, PICTURE_SIDE), *points, face.name, error)


def show_progress(indices: Iterable[int]) -> Iterable[int]:
    """Shows how many of the faces are done."""
    return cli.progress(indices, "evaluating")


def chosen_options(arguments: argparse.Namespace) -> dict[str, str]:
    """The options that change predictions, where they are not the defaults, for the record."""
    chosen = {name: getattr(arguments, name) for name in ("decoding", "ensemble") if getattr(arguments, name)}
    if arguments.shape_model:
        chosen["shape_model"] = Path(arguments.shape_model).name
        chosen["shape_model_sha256"] = file_sha256(arguments.shape_model)
        chosen["shape_prior"] = "on" if arguments.shape_prior else "off"
    if arguments.int8:
        chosen["precision"] = "int8"
    if arguments.boxes == "detector":
        chosen["detector"] = arguments.detector
    return chosen


def shared_settings(arguments: argparse.Namespace, weights: Path, faces: FaceDataset) -> dict[str, Any]:
    """What the parts of an evaluation must have in common."""
    names = ("model", "dataset", "subset", "boxes", "seed", "batch_size")
    given = {name: getattr(arguments, name) for name in names}
    listed = hashlib.sha256(os.fsencode("\n".join(faces.names))).hexdigest()
    return {**given, **chosen_options(arguments), "weights": file_sha256(weights), "faces": listed}


class Evaluated(NamedTuple):
    """What is measured, and on which faces.

    Attributes:
        weights: their file.
        info: what it says.
        predictor: the network, with the points of the faces' markup.
        subset: the faces.
        boxes: where the network is told the faces are.
        device: that it runs on.
    """

    weights: Path
    info: WeightsInfo
    predictor: Predictor
    subset: SubsetFaces
    boxes: BoxSource
    device: str


def load(arguments: argparse.Namespace) -> Evaluated:
    """What the command line names; ValueError or FileNotFoundError if it is not there, or does not go together."""
    context = mx.cpu() if arguments.int8 else devices.contexts(arguments.gpus)[0]
    weights = Path(arguments.weights) if arguments.weights else shipped_weights(arguments.model)
    predictor, info = load_predictor(
        weights,
        arguments.model,
        context,
        batch_size=arguments.batch_size,
        decoding=arguments.decoding,
        shape_model=arguments.shape_model,
        shape_prior=arguments.shape_prior,
        ensemble=arguments.ensemble,
        int8=arguments.int8,
        seed=arguments.seed,
    )
    subset = load_faces(
        arguments.dataset,
        arguments.subset,
        root=arguments.data,
        allow_missing=arguments.allow_missing,
        count=arguments.count,
        seed=arguments.seed,
    )
    markup = subset.faces.markup
    if arguments.dataset == "rendered":
        print(f"without --data: on {arguments.count} rendered faces", file=sys.stderr)
    if info.markup != markup.name:
        try:
            predictor = ConvertedPredictor(predictor, markup_of(info), markup)
        except ValueError as error:
            text = f"{weights} places {info.markup} points, but these faces have those of {markup.name}"
            raise ValueError(f"{text}: {error}") from None
        print(f"{info.markup} points of the network are converted to {markup.name}", file=sys.stderr)
    boxes = box_source(
        arguments.boxes,
        subset.protocol.true_boxes,
        detector=arguments.detector,
        context=context,
        box=training_box(info),
        converted=own_box(markup, info),
    )
    return Evaluated(weights, info, predictor, subset, boxes, str(context))


def write_shard(arguments: argparse.Namespace, evaluated: Evaluated, out: Path, shared: dict[str, Any]) -> int:
    """Predicts the faces of --shard alone, for --merge to join; 1 if one had to be left out, else 0."""
    faces, predictor = evaluated.subset.faces, evaluated.predictor
    part = Chosen([faces], arguments.shard.of(len(faces), predictor.batch_size))
    predicted = predict_faces(predictor, part, evaluated.boxes, show_progress)
    path = write_part(out, arguments.shard, predicted, shared)
    print(f"{len(part)} of {len(faces)} faces: {path}; --merge {arguments.shard.count} reports on all parts")
    return 1 if predicted.skipped else 0


def make_record(arguments: argparse.Namespace, evaluated: Evaluated, argv: Sequence[str]) -> dict[str, Any]:
    """How the figures came about."""
    return {
        "model": arguments.model,
        **chosen_options(arguments),
        "command": shlex.join(["evaluate.py", *argv]),
        "seed": arguments.seed,
        "weights": evaluated.weights.name,
        "weights_sha256": file_sha256(evaluated.weights),
        "boxes": arguments.boxes,
        "point_shift": arguments.point_shift,
        "box_margin": evaluated.info.spec.box_margin,
        "device": evaluated.device,
        "versions": versions(),
        "git": git_state(),
        "missing": list(evaluated.subset.info.missing),
    }


def report(
    arguments: argparse.Namespace, evaluated: Evaluated, predicted: PredictedFaces, out: Path, record: dict[str, Any]
) -> int:
    """Writes and prints the figures of all faces; 1 if one had to be left out, else 0."""
    faces, margin = evaluated.subset.faces, evaluated.info.spec.box_margin
    name = evaluated_name(arguments.model, arguments.shape_model)
    result = compared(predicted, evaluated.subset, model=name, point_shift=arguments.point_shift)
    errors = result.errors(evaluated.subset.protocol.normalizer)
    shown = [[picture(faces[k], result.predicted[k], errors[k]) for k in chosen] for chosen in extreme_faces(errors)]
    print(write_report(out, result, record, box_text(evaluated.boxes.kind, margin), *shown))
    print(*("\n" + line for line in quoted_lines(result, margin)), sep="", end="")
    if arguments.stress and result.found.any():
        curves = stress_curves(
            evaluated.predictor,
            faces,
            result,
            count=arguments.stress_faces,
            point_shift=arguments.point_shift,
            seed=arguments.seed,
            progress=show_progress,
        )
        print("\n" + write_stress(out, result, curves, record))
    print(f"\nopen {out / 'report.html'}")
    for name, reason in result.skipped.items():
        print(f"left out: {cli.printable(f'{name}: {reason}')}", file=sys.stderr)
    return 1 if result.skipped else 0


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluates; 1 if a face had to be left out, else 0."""
    arguments = parse(argv)
    if arguments.int8 and cpu_note():
        print(cpu_note(), file=sys.stderr)
    evaluated = load(arguments)
    faces, predictor = evaluated.subset.faces, evaluated.predictor
    out, shared = cli.output_folder(arguments.out), shared_settings(arguments, evaluated.weights, faces)
    if arguments.shard != WHOLE:
        return write_shard(arguments, evaluated, out, shared)
    with exclusive(out, "wait for it to end, or name another --out"):
        if arguments.merge:
            predicted = read_parts(out, arguments.merge, len(faces), predictor.batch_size, shared)
        else:
            predicted = predict_faces(predictor, faces, evaluated.boxes, show_progress)
        record = make_record(arguments, evaluated, sys.argv[1:] if argv is None else argv)
        return report(arguments, evaluated, predicted, out, record)


if __name__ == "__main__":
    cli.run(main)
