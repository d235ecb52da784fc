"""Measures face detectors on photos with boxes: average precision and recall at an overlap of one half, by size."""

from __future__ import annotations

import argparse
import json
from time import perf_counter
from typing import Any, Callable, Sequence

import numpy as np
from tqdm import tqdm

from datasets import face_boxes, fddb, landmark_boxes, wider_face
from datasets.boxed_photos import PARTS, BoxedPhotos
from engine import cli, devices
from engine.files import make_folder, write_text
from evaluation.detection import FoundBoxes, SizeRange, average_precision, judge, precision_at, recall_at
from inference.detectors import Detection, FaceDetector, FasterRcnnDetector, HaarDetector

DATASETS = ("face_boxes", "wider_face", "fddb", "pts")
DETECTORS = ("faster_rcnn", "haar")
LEAST_SCORE = 0.5  # recall is read there for the network
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


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = cli.make_parser(__doc__)
    parser.add_argument("--detector", choices=DETECTORS, action="append", help="may be repeated; both if not given")
    parser.add_argument("--weights", metavar="FILE", help="of faster_rcnn; those that ship if not given")
    parser.add_argument("--nms", type=float, default=0.3, help="of two boxes that overlap more the surer stays")
    parser.add_argument("--dataset", choices=DATASETS, default=DATASETS[0], help="pts are photos with landmark files")
    parser.add_argument("--data", metavar="DIR", required=True, help="folder of the data set")
    parser.add_argument("--part", choices=(*PARTS, "all"), default="held_out", help="of the photos, by their names")
    parser.add_argument("--least-score", type=float, default=LEAST_SCORE, help="of faster_rcnn, where recall is read")
    parser.add_argument("--max-photos", type=int, default=0, help="measure on the first so many; 0 for all")
    parser.add_argument("--out", metavar="DIR", help="folder for detection.json")
    cli.add_device_arguments(parser)
    return parser.parse_args(words)


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


def make_detector(name: str, arguments: argparse.Namespace) -> FaceDetector:
    """A detector that answers with its own kind of box, all of them however unsure."""
    if name == "haar":
        return HaarDetector()
    context = devices.contexts(arguments.gpus)[0]
    return FasterRcnnDetector(arguments.weights, 0.0, arguments.nms, context)


def measure(detector: FaceDetector, photos: BoxedPhotos, least_score: float) -> dict[str, Any]:
    """Numbers of one detector on photos; the time of a photo is that of the detector alone."""
    found, seconds = [], 0.0
    for index in tqdm(range(len(photos)), "detecting", unit="photo", disable=None):
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
    return {"photos": len(photos), "seconds_per_photo": seconds / len(photos), "sizes": rows}


def as_found(detections: Sequence[Detection], truth: np.ndarray, ignored: np.ndarray) -> FoundBoxes:
    """What a detector found in a photo beside what is there."""
    boxes = np.array([box for box, _ in detections]).reshape(-1, 4)
    return FoundBoxes(boxes, np.array([score for _, score in detections]), truth, ignored)


def table(results: dict[str, dict[str, Any]]) -> str:
    """A row for every detector and range of sizes; NaN where there is nothing to count."""
    lines = [f"{'detector':12} {'size, px':>9} {'faces':>6} {'AP %':>6} {'recall %':>9} {'precision %':>12}"]
    for name, result in results.items():
        for label, row in result["sizes"].items():
            average, recall, precision = (100 * row[key] for key in ("average_precision", "recall", "precision"))
            lines.append(f"{name:12} {label:>9} {row['faces']:6} {average:6.1f} {recall:9.1f} {precision:12.1f}")
        lines.append(f"{name:12} {result['seconds_per_photo']:.3f} seconds a photo, {result['photos']} photos")
    return "\n".join(lines)


def without_nan(value: Any) -> Any:
    """The same with None for numbers that are none, which JSON has no word for."""
    if isinstance(value, dict):
        return {key: without_nan(each) for key, each in value.items()}
    return None if isinstance(value, float) and np.isnan(value) else value


def main(words: Sequence[str] | None = None) -> int:
    """Measures as the command line says."""
    arguments = parse(words)
    photos = load_photos(arguments)
    # The cascade's votes have no scale of their own: all that it answers counts as found.
    least = {"faster_rcnn": arguments.least_score, "haar": -np.inf}
    names = arguments.detector or DETECTORS
    results = {name: measure(make_detector(name, arguments), photos, least[name]) for name in names}
    print(table(results))
    if arguments.out:
        write_text(make_folder(arguments.out) / "detection.json", json.dumps(without_nan(results), indent=2) + "\n")
    return 0


if __name__ == "__main__":
    cli.run(main)
