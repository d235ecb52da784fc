"""Measures the correction that takes a face detector's boxes to those the landmark networks are trained on.

It writes the medians over 300-W's training faces of HELEN and LFPW, without the validation faces, under the detector's
name. On the validation faces it then compares landmarks in true boxes with landmarks in corrected ones, after one pass
and after two. No test face takes part.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any, NamedTuple, Sequence

import mxnet as mx
import numpy as np

from common import cli
from common.files import write_text
from common.readers import read_json
from datasets.catalog import training_pair
from datasets.faces import FaceDataset
from engine import devices
from evaluation.boxes import closest_box, overlap
from evaluation.metrics import nme
from gluon_models import load_weights
from inference.detectors import (
    CORRECTIONS_FILE,
    DETECTORS,
    NETWORKS,
    BoxCorrection,
    FaceDetector,
    HaarDetector,
    relative_boxes,
)
from inference.landmark_detector import find_weights, markup_of
from inference.pipeline import PointPredictor, locate

MEASURED_ON = ("helen/", "lfpw/")
LEAST_OVERLAP = 0.3  # of the union of the detector's own box and the true one, to be of the same face


class Measured(NamedTuple):
    """A correction and how sure it is.

    Attributes:
        correction: the medians over the faces found.
        spread: (4,) the interquartile ranges.
        faces: number of annotated faces.
        missed: number of them that the detector did not find.
    """

    correction: BoxCorrection
    spread: np.ndarray
    faces: int
    missed: int


class Row(NamedTuple):
    """Landmarks in one kind of box.

    Attributes:
        boxes: in words.
        errors: (n,) NME over the outer eye corners' distance, a fraction; NaN for faces that were not found.
    """

    boxes: str
    errors: np.ndarray


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = cli.make_parser(__doc__)
    parser.add_argument("--detector", choices=DETECTORS, default="haar", help="detector to calibrate")
    parser.add_argument(
        "--detector-weights", metavar="FILE", type=cli.path, help="weights of a network (default: the shipped ones)"
    )
    parser.add_argument("--data", metavar="DIR", type=cli.path, required=True, help="folder of 300-W")
    parser.add_argument("--allow-missing", action="store_true", help="measure on the photos that are there")
    parser.add_argument(
        "--max-faces", type=cli.count_or_none, default=0, help="faces of each part, evenly spread; 0 for all"
    )
    parser.add_argument("--model", default="ffld_resnet18", help="landmark network of the comparison, by name or file")
    out = (
        f"JSON file of corrections to update, such as inference/{CORRECTIONS_FILE.name}; without it nothing is written"
    )
    parser.add_argument("--out", metavar="FILE", type=cli.path, help=out)
    cli.add_device_arguments(parser)
    return parser.parse_args(argv)


def make_detector(name: str, weights: str | None, context: mx.Context) -> FaceDetector:
    """The detector with its uncorrected boxes."""
    return NETWORKS[name](weights, context=context) if name in NETWORKS else HaarDetector()


def load_parts(data: str, allow_missing: bool, max_faces: int) -> tuple[FaceDataset, FaceDataset]:
    """Faces to measure on, and faces to compare on."""
    train, validation = training_pair("300w", data, allow_missing)
    own = [index for index, name in enumerate(train.names) if name.startswith(MEASURED_ON)]
    return some_of(train.subset(own), max_faces), some_of(validation, max_faces)


def some_of(faces: Any, most: int) -> Any:
    """At most so many of a data set's faces, evenly spread; all for 0."""
    count = min(most or len(faces), len(faces))
    return faces.subset(np.linspace(0, len(faces) - 1, count).round().astype(int))


def measure(detector: FaceDetector, faces: FaceDataset) -> Measured:
    """The correction of a detector on faces with tight landmark boxes.

    Raises:
        ValueError: it finds fewer than two of them.
    """
    rows = []
    for index in cli.progress(range(len(faces)), "measuring"):
        face = faces[index]
        found = [box for box, _ in detector(face.image, face.name)]
        box = max(found, key=lambda each: overlap(each, face.box), default=None)
        if box is not None and overlap(box, face.box) >= LEAST_OVERLAP:
            rows.append(relative_boxes(box[None], face.box[None])[0])
    if len(rows) < 2:
        raise ValueError(f"the detector found {len(rows)} of {len(faces)} faces, too few for a correction")
    low, middle, high = np.percentile(rows, [25, 50, 75], axis=0)
    # Faces have no preferred side: what is left of the first median is chance.
    correction = BoxCorrection(0.0, *(float(value) for value in middle[1:]))
    return Measured(correction, high - low, len(faces), len(faces) - len(rows))


def compare(
    predictor: PointPredictor, detector: FaceDetector, correction: BoxCorrection, faces: FaceDataset
) -> list[Row]:
    """Landmarks of each face in its true box and in the detector's, both after one pass and after two."""
    errors = np.full((4, len(faces)), np.nan)
    for index in cli.progress(range(len(faces)), "comparing"):
        face = faces[index]
        found = [correction.apply(box) for box, _ in detector(face.image, face.name)]
        box = closest_box(found, face.box)
        for row, (start, passes) in enumerate(((face.box, 1), (face.box, 2), (box, 1), (box, 2))):
            if start is not None:
                points_image = locate(predictor, face.image, [start], passes)
                errors[row, index] = nme(points_image, face.points_image[None], "outer_eye")[0]
    text = ("true", "true, two passes", "detector's", "detector's, two passes")
    return [Row(each, values) for each, values in zip(text, errors)]


def table(rows: Sequence[Row]) -> str:
    """A line for each kind of box; errors over the faces that all of them have."""
    shared = np.isfinite([row.errors for row in rows]).all(axis=0)
    base = rows[0].errors[shared].mean()
    head = f"{'boxes':26} {'NME %':>6} {'to true':>8} {'median %':>9} {'above 8 %':>10} {'missed':>7}"
    lines = [f"{head}   on {shared.sum()} faces"]
    for row in rows:
        errors = row.errors[shared]
        change = f"{100 * (errors.mean() / base - 1):+.1f} %"
        missed = int(np.isnan(row.errors).sum())
        lines.append(
            f"{row.boxes:26} {100 * errors.mean():6.2f} {change:>8} {100 * np.median(errors):9.2f} "
            f"{100 * (errors > 0.08).mean():10.1f} {missed:7}"
        )
    return "\n".join(lines)


def write_correction(path: Path, name: str, measured: Measured, command: str) -> None:
    """Puts a detector's entry in the place of its earlier one; the file's other entries stay.

    Raises:
        ValueError: the file is there and holds no corrections.
    """
    entries = read_json(path, "this is no file of box corrections; name another with --out") if path.is_file() else {}
    entries[name] = {
        "correction": {key: round(value, 3) for key, value in measured.correction._asdict().items()},
        "interquartile_range": [round(float(value), 3) for value in measured.spread],
        "faces": measured.faces,
        "missed": measured.missed,
        "measured_on": "300-W training faces of HELEN and LFPW without those of validation",
        "command": command,
    }
    write_text(path, json.dumps(entries, indent=2) + "\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Measures as the command line says."""
    arguments = parse(argv)
    if arguments.out:
        cli.output_file(arguments.out)
    context = devices.contexts(arguments.gpus)[0]
    detector = make_detector(arguments.detector, arguments.detector_weights, context)
    train, validation = load_parts(arguments.data, arguments.allow_missing, arguments.max_faces)
    net, info = load_weights(find_weights(arguments.model), None, context)
    measured = measure(detector, train)
    rounded = ", ".join(f"{key} {value:.3f}" for key, value in measured.correction._asdict().items())
    print(f"{arguments.detector}: {rounded}; {measured.missed} of {measured.faces} faces not found")
    print(f"interquartile ranges: {', '.join(f'{value:.3f}' for value in measured.spread)}")
    predictor = PointPredictor(net, info.spec, context, markup=markup_of(info))
    print(table(compare(predictor, detector, measured.correction, validation)))
    if arguments.out:
        given = sys.argv[1:] if argv is None else list(argv)
        public = ["DIR" if each == arguments.data else each for each in given]
        command = shlex.join(["python", "-m", "tools.calibrate_detector", *public])
        write_correction(Path(arguments.out), arguments.detector, measured, command)
        print(f"written: {arguments.out}")
    return 0


if __name__ == "__main__":
    cli.run(main)
