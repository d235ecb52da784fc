"""Measures face detectors on photos with boxes: average precision and recall at an overlap of one half, by size.

With --out it writes metrics.json, from which tools/ship.py ships a detector.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from time import perf_counter
from typing import Any, Callable, Mapping, Sequence

import mxnet as mx
import numpy as np

from common import cli
from common.files import write_set
from datasets.detection import fddb, landmark_boxes, wider_face
from datasets.detection import voc as face_boxes
from datasets.detection.boxed_photos import PARTS, BoxedPhotos
from engine import devices
from engine.record import git_state, versions
from evaluation.detection import LEAST_OVERLAP, FoundBoxes, SizeRange, average_precision, judge, precision_at, recall_at
from gluon_models import file_sha256, shipped_weights
from gluon_models.detector.weights import detector_name
from inference.detectors import DEFAULT_DETECTOR, DETECTORS, NETWORKS, Detection, FaceDetector, HaarDetector, network_of
from report.outputs import json_bytes
from report.tables import detected_cells

DATASETS = ("face_boxes", "wider_face", "fddb", "pts")
# Sizes are sqrt(width * height) of the true box in pixels of the photo.
SIZES = {
    "all": SizeRange(),
    "below 24": SizeRange(0, 24),
    "24 to 40": SizeRange(24, 40),
    "40 to 80": SizeRange(40, 80),
    "from 80": SizeRange(80),
    "from 24": SizeRange(24),
    "from 40": SizeRange(40),
}


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = cli.make_parser(__doc__)
    chosen = f"may be repeated, with one network (default: that of --weights, else {DEFAULT_DETECTOR}, and haar)"
    parser.add_argument("--detector", choices=DETECTORS, action="append", help=chosen)
    parser.add_argument("--weights", metavar="FILE", type=cli.path, help="of the network (default: the shipped ones)")
    parser.add_argument("--nms", type=cli.fraction, default=0.3, help="IoU at which the lower-scoring box is dropped")
    parser.add_argument("--dataset", choices=DATASETS, default=DATASETS[0], help="pts: photos with landmark files")
    parser.add_argument("--data", metavar="DIR", type=cli.path, required=True, help="folder of the data set")
    parser.add_argument("--part", choices=(*PARTS, "all"), default="held_out", help="part of the photos")
    parser.add_argument("--title", metavar="TEXT", help="names the photos in tables (default: data set and part)")
    read_at = "score of the network to read recall and precision at (default: its own)"
    parser.add_argument("--least-score", type=cli.fraction, help=read_at)
    parser.add_argument(
        "--max-photos", type=cli.count_or_none, default=0, help="measure on the first N photos; 0 for all"
    )
    parser.add_argument("--out", metavar="DIR", type=cli.path, help="folder for metrics.json")
    cli.add_device_arguments(parser)
    arguments = parser.parse_args(argv)
    arguments.title = arguments.title or f"{arguments.dataset}, {arguments.part}"
    return arguments


def choose_network(arguments: argparse.Namespace) -> None:
    """Fills in what the command line leaves to the weights: the detectors, the network among them and its score.

    Raises:
        FileNotFoundError, ValueError: the weights are of no detector, or --detector names not one network for them.
    """
    if not arguments.detector:
        own = network_of(arguments.weights) if arguments.weights else DEFAULT_DETECTOR
        arguments.detector = [own, "haar"]
    networks = [name for name in arguments.detector if name in NETWORKS]
    if len(networks) > 1:
        raise ValueError(f"--detector {' and '.join(networks)}: measure one network at a time, as a record is of one")
    if arguments.weights and not networks:
        raise ValueError("--weights: the detector haar has none; leave one of the two options out")
    arguments.network = networks[0] if networks else None
    if arguments.network and arguments.least_score is None:
        arguments.least_score = NETWORKS[arguments.network].least_score


def load_photos(arguments: argparse.Namespace) -> BoxedPhotos:
    """The photos that the command line asks for.

    Raises:
        ValueError, FileNotFoundError: data that is not there.
    """
    load: Callable[..., BoxedPhotos] = {
        "face_boxes": face_boxes.load,
        "wider_face": lambda root: wider_face.load(root, "val"),
        "fddb": fddb.load,
        "pts": landmark_boxes.load,
    }[arguments.dataset]
    photos = load(arguments.data)
    photos = photos if arguments.part == "all" else photos.part(arguments.part)
    return photos.subset(range(min(len(photos), arguments.max_photos or len(photos))))


def find_weights(arguments: argparse.Namespace) -> Path | None:
    """The network's file; None if none is measured.

    Raises:
        FileNotFoundError, ValueError: none ships, or it is not the one of the index.
    """
    if arguments.network is None:
        return None
    return Path(arguments.weights) if arguments.weights else shipped_weights(arguments.network)


def make_detector(name: str, weights: Path | None, overlap: float, context: mx.Context) -> FaceDetector:
    """A detector that returns its own kind of box at any score."""
    return NETWORKS[name](weights, 0.0, overlap, context) if name in NETWORKS else HaarDetector()


def measure(detector: FaceDetector, photos: BoxedPhotos, least_score: float) -> dict[str, Any]:
    """Numbers of one detector on photos; the time of a photo is that of the detector alone."""
    found, seconds = [], 0.0
    for index in cli.progress(range(len(photos)), "detecting", unit="photo"):
        photo = photos[index]
        start = perf_counter()
        boxes = detector(photo.image, photo.name)
        seconds += perf_counter() - start
        found.append(as_found(boxes, photo.boxes, photo.ignored))
    rows = {}
    for label, sizes in SIZES.items():
        verdicts = judge(found, sizes)
        rows[label] = {
            "faces": verdicts.faces,
            "average_precision": average_precision(verdicts),
            "recall": recall_at(verdicts, least_score),
            "precision": precision_at(verdicts, least_score),
        }
    return {"seconds_per_photo": seconds / len(photos), "sizes": rows}


def terminal_table(evaluation: Mapping[str, Any]) -> str:
    """A line for each detector and range of sizes."""
    lines = [f"{evaluation['title']}: {evaluation['photos']:,} photos"]
    lines.append(f"{'detector':14} {'size, px':>9} {'faces':>6} {'AP %':>6} {'recall %':>9} {'precision %':>12}")
    for name, result in evaluation["results"].items():
        for label, row in result["sizes"].items():
            faces, average, recall, precision = detected_cells(row)
            lines.append(f"{name:14} {label:>9} {faces:>6} {average:>6} {recall:>9} {precision:>12}")
        lines.append(f"{name:14} {result['seconds_per_photo']:.3f} seconds a photo")
    return "\n".join(lines)


def as_found(detections: Sequence[Detection], truth: np.ndarray, ignored: np.ndarray) -> FoundBoxes:
    """What a detector found in a photo beside what is there."""
    boxes = np.array([box for box, _ in detections]).reshape(-1, 4)
    return FoundBoxes(boxes, np.array([score for _, score in detections]), truth, ignored)


def what_made_it(
    arguments: argparse.Namespace, given: Sequence[str], weights: Path | None, context: mx.Context
) -> dict[str, Any]:
    """The record beside the figures; keys as in evaluate.py's."""
    return {
        "model": weights and detector_name(weights),
        "dataset": arguments.dataset,
        "subset": arguments.part,
        "title": arguments.title,
        "command": shlex.join(["python", "-m", "tools.evaluate_detector", *given]),
        "weights": weights and weights.name,
        "weights_sha256": weights and file_sha256(weights),
        "nms": arguments.nms,
        "least_score": arguments.least_score,
        "least_overlap": LEAST_OVERLAP,
        "device": str(context),
        "versions": versions(),
        "git": git_state(),
        "units": "shares are fractions; sizes are sqrt(width * height) of true boxes in pixels of the photo",
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Measures as the command line says."""
    arguments = parse(argv)
    if arguments.out:
        cli.output_folder(arguments.out)
    context = devices.contexts(arguments.gpus)[0]
    choose_network(arguments)
    weights = find_weights(arguments)
    photos = load_photos(arguments)
    made = what_made_it(arguments, sys.argv[1:] if argv is None else argv, weights, context)
    results = {}
    for name in arguments.detector:
        # The cascade's votes have no common scale: every box that it returns counts as found.
        least = arguments.least_score if name in NETWORKS else -np.inf
        results[name] = measure(make_detector(name, weights, arguments.nms, context), photos, least)
    content = json_bytes({**made, "photos": len(photos), "results": results})
    print(terminal_table(json.loads(content)))  # what is shown is what is written
    if arguments.out:
        write_set(Path(arguments.out), {"metrics.json": content})
    return 0


if __name__ == "__main__":
    cli.run(main)
