"""Measures whether the landmark network tells false faces of the default detector from true ones.

Every box of the detector is passed twice through the landmark network, in crops shifted to opposite sides; a box counts
if both place the points alike. Prints recall and precision for each limit, and with --out writes them as JSON.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from typing import Any, Sequence

import numpy as np
from tqdm import tqdm

from common import cli
from common.files import write_text
from datasets.detection import voc
from datasets.geometry import landmark_box
from evaluation.detection import FoundBoxes, SizeRange, judge, precision_at, recall_at
from gluon_models import load_weights, shipped_weights
from inference.detectors import FASTER_RCNN_CORRECTION, FasterRcnnDetector
from inference.pipeline import PointPredictor, locate
from inference.tracking import locate_twice

MODEL = "ffld_resnet18"
SCORES = (0.5, 0.8, 0.9)
LIMITS = (None, 0.045, 0.06, 0.09, 0.12)  # of the disagreement; None: no second opinion
SIZES = (24, 40)  # pixels, least sqrt(width * height) of a true box


def disagreements(predictor: PointPredictor, image: np.ndarray, boxes: Sequence[np.ndarray]) -> np.ndarray:
    """How far two shifted crops place the points of tight boxes (n, 4) apart, (n,), over sqrt(w h)."""
    if not len(boxes):
        return np.zeros(0)
    settled = [landmark_box(points) for points in locate(predictor, image, boxes)]
    return locate_twice(predictor, image, settled).disagreements


def confirmed(photo: FoundBoxes, apart: np.ndarray, score: float, limit: float | None) -> FoundBoxes:
    """The boxes of a photo that have at least this score and at most this disagreement."""
    kept = (photo.scores >= score) & ((limit is None) | (apart <= (limit or 0.0)))
    return photo._replace(boxes=photo.boxes[kept], scores=photo.scores[kept])


def table(found: Sequence[FoundBoxes], apart: Sequence[np.ndarray]) -> list[dict[str, Any]]:
    """Recall and precision for each size, score and limit."""
    rows = []
    for size in SIZES:
        for score in SCORES:
            for limit in LIMITS:
                kept = [confirmed(*pair, score, limit) for pair in zip(found, apart)]
                verdicts = judge(kept, SizeRange(size))
                recall, precision = (round(float(at(verdicts, score)), 4) for at in (recall_at, precision_at))
                row = {"faces_from": size, "least_score": score, "largest_disagreement": limit}
                rows.append({**row, "recall": recall, "precision": precision})
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Measures on the held-out photos."""
    parser: argparse.ArgumentParser = cli.make_parser(__doc__)
    parser.add_argument("--data", metavar="DIR", type=cli.path, required=True, help="folder of face_boxes")
    parser.add_argument("--out", metavar="FILE", type=cli.path, help="JSON file for the figures")
    arguments = parser.parse_args(argv)
    if arguments.out:
        cli.output_file(arguments.out)
    net, info = load_weights(shipped_weights(MODEL))
    predictor, detector = PointPredictor(net, info.spec), FasterRcnnDetector(None, min(SCORES))
    photos = voc.load(arguments.data).part("held_out")
    found, apart = [], []
    for index in tqdm(range(len(photos)), "detecting", unit="photo", disable=None):
        photo = photos[index]
        faces = detector(photo.image, photo.name)
        boxes = np.array([face.box for face in faces]).reshape(-1, 4)
        found.append(FoundBoxes(boxes, np.array([face.score for face in faces]), photo.boxes, photo.ignored))
        tight = [FASTER_RCNN_CORRECTION.apply(box) for box in boxes]
        apart.append(disagreements(predictor, photo.image, tight))
    rows = table(found, apart)
    for row in rows:
        print("  ".join(f"{key} {value}" for key, value in row.items()))
    if arguments.out:
        command = shlex.join(["python", "-m", "tools.second_opinion", *(sys.argv[1:] if argv is None else argv)])
        record = {"command": command, "model": MODEL, "photos": len(photos), "rows": rows}
        write_text(arguments.out, json.dumps(record, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    cli.run(main)
