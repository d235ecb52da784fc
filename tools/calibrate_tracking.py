"""Measures how well two passes tell a face from background, which decides when the tracker loses a face.

The faces are 300-W's validation faces in boxes disturbed as those of a moving face; as many background boxes come from
photos with all faces annotated (VOC XML). For each network the table shows the disagreement of both passes, the faces
lost and the background boxes accepted at the current threshold, and the landmark error of one pass beside that of the
mean of two. No test face takes part.
"""

from __future__ import annotations

import argparse
from typing import NamedTuple, Sequence

import mxnet as mx
import numpy as np

from common import cli
from datasets.catalog import training_pair
from datasets.detection import voc as face_boxes
from datasets.detection.boxed_photos import BoxedPhotos
from datasets.faces import FaceDataset
from engine import devices
from evaluation.metrics import nme
from gluon_models import load_weights
from inference.landmark_detector import find_weights, markup_of
from inference.pipeline import PointPredictor, locate
from inference.tilt import TiltedBox
from inference.tracking import LARGEST_DISAGREEMENT, locate_twice

MODELS = ("ffld_resnet18", "resnet18_slim", "ffld_resnet18_rendered")
DISTURBANCE = 0.04  # standard deviation of each side of a face's box, a fraction of its length
SIDES = (30.0, 200.0)  # pixels, of boxes elsewhere
DISTANCE = 0.15  # of such a box's side, at least, to any annotated face
TRIES = 40  # in one photo


class Place(NamedTuple):
    """A box (4,) in an image (H, W, 3), and the points (K, 2) of the face in it, if there is one."""

    image: np.ndarray
    box: np.ndarray
    points_image: np.ndarray | None = None


class Measured(NamedTuple):
    """What a network makes of faces and of boxes elsewhere.

    Attributes:
        faces: (n,) disagreements.
        elsewhere: (m,) disagreements.
        errors: (n, 2) inter-ocular NME, a fraction: of one pass in the middle, of the mean of two.
    """

    faces: np.ndarray
    elsewhere: np.ndarray
    errors: np.ndarray


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = cli.make_parser(__doc__)
    parser.add_argument("--data", metavar="DIR", type=cli.path, required=True, help="folder of 300-W")
    parser.add_argument("--allow-missing", action="store_true", help="measure on the photos that are there")
    parser.add_argument(
        "--photos", metavar="DIR", type=cli.path, required=True, help="folder of photos with all faces annotated"
    )
    parser.add_argument("--models", nargs="+", default=list(MODELS), help="landmark networks, by name or file")
    parser.add_argument("--count", type=cli.count, default=100, help="number of faces, and of background boxes")
    cli.add_device_arguments(parser)
    return parser.parse_args(argv)


def places_of_faces(faces: FaceDataset, count: int, rng: np.random.Generator) -> list[Place]:
    """Faces, evenly spread over the data set, in disturbed boxes."""
    places = []
    for index in np.linspace(0, len(faces) - 1, min(count, len(faces))).round().astype(int):
        face = faces[int(index)]
        lengths = np.tile(face.box[2:] - face.box[:2], 2)
        places.append(Place(face.image, face.box + rng.normal(0, DISTURBANCE, 4) * lengths, face.points_image))
    return places


def places_elsewhere(photos: BoxedPhotos, count: int, rng: np.random.Generator) -> list[Place]:
    """Square boxes away from all faces, at most two in a photo; ValueError if the photos have no room for any."""
    places: list[Place] = []
    for index in rng.permutation(len(photos)):
        if len(places) >= count:
            break
        photo = photos[int(index)]
        free = [box for box in random_squares(photo.image, rng) if is_away(box, photo.boxes)]
        places += [Place(photo.image, box) for box in free[:2]]
    if not places:
        raise ValueError("no photo has a place without a face: name other photos")
    return places[:count]


def random_squares(image: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Boxes (4,) inside an image, as large as faces are."""
    height, width = image.shape[:2]
    largest = min(SIDES[1], 0.6 * min(height, width))
    if largest <= SIDES[0]:
        return []
    sides = rng.uniform(SIDES[0], largest, TRIES)
    corners = rng.uniform(0, 1, (TRIES, 2)) * (np.array([width, height]) - sides[:, None])
    return list(np.hstack([corners, corners + sides[:, None]]))


def is_away(box: np.ndarray, faces: np.ndarray) -> bool:
    """Whether a box (4,) keeps its distance to all of (n, 4)."""
    room = DISTANCE * (box[2] - box[0])
    apart = (faces[:, :2] > box[2:] + room) | (faces[:, 2:] < box[:2] - room)
    return bool(apart.any(axis=1).all())


def measure(predictor: PointPredictor, faces: Sequence[Place], elsewhere: Sequence[Place]) -> Measured:
    """Runs the network at every place, once in the middle and twice beside it."""
    disagreements, errors = [], []
    for image, box, points_image in cli.progress([*faces, *elsewhere], "measuring", unit="box"):
        passes = locate_twice(predictor, image, [TiltedBox(box)])
        disagreements.append(passes.disagreements[0])
        if points_image is not None:
            predictions = (locate(predictor, image, [box]), passes.points)
            errors.append([nme(points, points_image[None], "outer_eye")[0] for points in predictions])
    return Measured(*np.split(np.array(disagreements), [len(faces)]), np.array(errors))


def area_under_roc(faces: np.ndarray, elsewhere: np.ndarray) -> float:
    """How often a face disagrees less than a box elsewhere, ties half."""
    smaller, equal = faces[:, None] < elsewhere, faces[:, None] == elsewhere
    return float((smaller + 0.5 * equal).mean())


def table(rows: dict[str, Measured]) -> str:
    """A line for each network."""
    head = f"{'weights':24} {'faces: 50, 99 %, largest':>26} {'elsewhere: smallest, 5, 50 %':>30} {'ROC area':>9}"
    lines = [f"{head} {'lost %':>7} {'taken %':>8} {'NME 1 pass %':>13} {'2 passes %':>10}"]
    for name, row in rows.items():
        own = ", ".join(f"{value:.3f}" for value in np.percentile(row.faces, [50, 99, 100]))
        other = ", ".join(f"{value:.3f}" for value in np.percentile(row.elsewhere, [0, 5, 50]))
        lost, taken = (row.faces > LARGEST_DISAGREEMENT).mean(), (row.elsewhere <= LARGEST_DISAGREEMENT).mean()
        one, two = 100 * row.errors.mean(axis=0)
        area = area_under_roc(row.faces, row.elsewhere)
        lines.append(
            f"{name:24} {own:>26} {other:>30} {area:9.4f} {100 * lost:7.1f} {100 * taken:8.1f} {one:13.2f} {two:10.2f}"
        )
    return "\n".join(lines)


def load_predictor(name: str, context: mx.Context) -> PointPredictor:
    """A landmark network by the name of shipped weights or a file."""
    net, info = load_weights(find_weights(name), None, context)
    return PointPredictor(net, info.spec, context, markup=markup_of(info))


def main(argv: Sequence[str] | None = None) -> int:
    """Measures as the command line says."""
    arguments = parse(argv)
    rng = np.random.default_rng(arguments.seed)
    _, validation = training_pair("300w", arguments.data, arguments.allow_missing)
    faces = places_of_faces(validation, arguments.count, rng)
    elsewhere = places_elsewhere(face_boxes.load(arguments.photos), arguments.count, rng)
    context = devices.contexts(arguments.gpus)[0]
    rows = {name: measure(load_predictor(name, context), faces, elsewhere) for name in arguments.models}
    print(f"{len(faces)} faces, {len(elsewhere)} boxes elsewhere, threshold {LARGEST_DISAGREEMENT}")
    print(table(rows))
    return 0


if __name__ == "__main__":
    cli.run(main)
