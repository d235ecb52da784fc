"""Finds photos of one face on which the small detector errs, and writes them as whole photos to train it on.

What surrounds the face in such photos is not annotated. Where the detector sees a further face there, Faster R-CNN
decides: a face that it is sure of is one, a doubtful one is ignored, and where it sees none the detector erred. Photos
with such an error are written with PASCAL VOC annotations; train_detector.py --more face_boxes=OUT takes them.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple, Sequence

import mxnet as mx
import numpy as np

from common import cli
from common.boxes import overlaps
from common.files import exclusive, make_folder
from datasets.catalog import training_pair
from datasets.detection import voc
from datasets.detection.landmark_boxes import face_box, without_afw
from datasets.faces import FaceDataset
from datasets.images import write_image
from engine import devices
from gluon_models.detector import centernet
from gluon_models.detector.weights import load_detector
from gluon_models.weights import shipped_weights
from inference.detectors import FasterRcnnDetector, center_finder, network_of

LEAST_SCORE = 0.2  # of the small detector's errors
SURE, DOUBTFUL = 0.9, 0.3  # scores of Faster R-CNN
LARGE = centernet.Look(576, 0.0, 64)  # errors on details, at 1.8 times the first look
SAME = 0.3  # overlap of boxes of the same face
LEAST_SIZE = 16.0  # pixels of an error
BORDER = 2.0  # pixels of the photo; what reaches there is cut off


class Mined(NamedTuple):
    """The boxes of a photo to train on.

    Attributes:
        boxes: (n, 4) of faces and of what may be some, x0, y0, x1, y1 in pixels.
        ignored: (n,) bool, which of them may be none.
    """

    boxes: np.ndarray
    ignored: np.ndarray


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = cli.make_parser(__doc__)
    parser.add_argument("--weights", metavar="FILE", type=cli.path, help="of centernet_slim (default: shipped ones)")
    parser.add_argument("--dataset", choices=("300w", "pts"), default="300w", help="photos of one face each")
    parser.add_argument("--data", metavar="DIR", type=cli.path, required=True, help="folder of the data set")
    parser.add_argument("--allow-missing", action="store_true", help="look at the photos that are there")
    parser.add_argument("--out", metavar="DIR", type=cli.path, required=True, help="new folder for the photos")
    cli.add_device_arguments(parser)
    return parser.parse_args(argv)


def mined(
    size: tuple[int, int], face: np.ndarray, seen: np.ndarray, others: np.ndarray, scores: np.ndarray
) -> Mined | None:
    """What to train on; None if the small detector made no error.

    What is small or cut off by the border is no error, but ignored: Faster R-CNN does not see such faces.

    Args:
        size: width and height of the photo, pixels.
        face: (4,) the annotated face.
        seen: (n, 4) what the small detector sees.
        others: (m, 4) what Faster R-CNN sees.
        scores: (m,) its scores.
    """
    further = (scores >= DOUBTFUL) & ~_same(others, face[None])
    others, scores = others[further], scores[further]
    errors = seen[~_same(seen, np.concatenate([face[None], others]))]
    unsure = np.sqrt(np.prod(errors[:, 2:] - errors[:, :2], axis=1)) < LEAST_SIZE
    unsure |= (errors[:, :2] < BORDER).any(axis=1) | (errors[:, 2:] > np.array(size) - BORDER).any(axis=1)
    if unsure.all():
        return None
    ignored = np.concatenate([[False], scores < SURE, np.ones(unsure.sum(), bool)])
    return Mined(np.concatenate([face[None], others, errors[unsure]]), ignored)


def _same(boxes: np.ndarray, known: np.ndarray) -> np.ndarray:
    return (overlaps(boxes, known) >= SAME).any(axis=1)


class Miner:
    """Both detectors.

    Args:
        weights: of the small one; the shipped ones if None.
        context: where they run.
    """

    def __init__(self, weights: str | None, context: mx.Context) -> None:
        net = load_detector(weights or shipped_weights(centernet.NAME), context)
        looks = (centernet.LOOKS, {**centernet.LOOKS, "first": LARGE})
        self._finders = [center_finder(net, context, each) for each in looks]
        self._judge = FasterRcnnDetector(least_score=DOUBTFUL, context=context)

    def __call__(self, image: np.ndarray, face: np.ndarray) -> Mined | None:
        """What to train on of a photo (H, W, 3) with the box (4,) of its face; None without an error."""
        seen = np.concatenate([find(image, LEAST_SCORE)[0] for find in self._finders])
        if _same(seen, face[None]).all():
            return None
        found = self._judge(image)
        boxes, scores = (np.array([each[part] for each in found]) for part in (0, 1))
        return mined(image.shape[1::-1], face, seen, boxes.reshape(-1, 4), scores)


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the photos on which the detector errs.

    Raises:
        ValueError: the weights are of another detector, or the new folder is not empty.
    """
    arguments = parse(argv)
    if arguments.weights and network_of(arguments.weights) != centernet.NAME:
        raise ValueError(f"{arguments.weights} holds weights of another detector than {centernet.NAME}")
    faces = without_afw(training_pair(arguments.dataset, arguments.data, arguments.allow_missing)[0])
    out = cli.output_folder(arguments.out)
    with exclusive(out, "wait for it to end, or name another --out"):
        if any(not path.name.startswith(".") for path in out.iterdir()):
            raise ValueError(f"--out {out} is not empty: name a new folder")
        miner = Miner(arguments.weights, devices.contexts(arguments.gpus)[0])
        written = write_mined(miner, faces, out)
    print(f"{written} of {len(faces)} photos are in {out}; train with --more face_boxes={out}")
    return 0


def write_mined(miner: Miner, faces: FaceDataset, out: Path) -> int:
    """Writes the photos with an error, each before its annotation; returns how many they are."""
    images, annotations, written = make_folder(out / "images"), make_folder(out / "annotations"), 0
    for index in cli.progress(range(len(faces)), "looking"):
        face = faces[index]
        found = miner(face.image, face_box(face.points_image))
        if found is not None:
            name = f"{index:06d}.png"
            write_image(images / name, face.image)
            voc.write_voc(annotations / f"{index:06d}.xml", name, *found)
            written += 1
    return written


if __name__ == "__main__":
    cli.run(main)
