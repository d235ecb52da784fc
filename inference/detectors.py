"""Where the faces of an image are: OpenCV's cascade, boxes from a file, or the whole image, behind one interface.

The landmark networks are trained on the tight box around a face's landmarks, from the brows to the chin. Whatever box a
detector finds by itself, those of `get_detector` return that one, so detectors can be exchanged.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any, Mapping, NamedTuple, Protocol

import cv2
import mxnet as mx
import numpy as np
from mxnet.gluon import HybridBlock

from common.readers import read_json
from gluon_models.detector import centernet
from gluon_models.detector.network import find_boxes
from gluon_models.detector.weights import detector_name, load_detector
from gluon_models.spec import NETWORK_LOCK
from gluon_models.weights import shipped_weights
from inference.detections import TIGHT_BOX, Detection
from inference.fused import Network, fused
from inference.given_boxes import FileDetector

# MXNet and oneDNN keep what they prepared for each shape, without end by default, and photos come in all shapes. These
# numbers hold the last few; both libraries read them when a network first runs.
os.environ.setdefault("MXNET_MKLDNN_CACHE_NUM", "100")
os.environ.setdefault("DNNL_PRIMITIVE_CACHE_CAPACITY", "200")


class FaceDetector(Protocol):
    """Finds the faces of an image.

    Attributes:
        box_kind: which box it returns, in words.
        passes: how often the landmark network must run on a face, see `inference.pipeline.locate`; 1 if left out.
    """

    box_kind: str

    def __call__(self, image: np.ndarray, name: str = "") -> list[Detection]:
        """Faces of image (H, W, 3) uint8 RGB; `name` is its file name, for detectors that know images by name."""
        ...


class BoxCorrection(NamedTuple):
    """Takes a detector's box to the box the networks are trained on; fractions of the detector's width and height.

    Attributes:
        shift_x: from the centre of the detector's box to the other's.
        shift_y: the same downwards.
        width: of the other box.
        height: of the other box.
    """

    shift_x: float
    shift_y: float
    width: float
    height: float

    def apply(self, box: np.ndarray) -> np.ndarray:
        """The corrected box (4,) of a detector's box (4,)."""
        size = box[2:] - box[:2]
        centre = 0.5 * (box[:2] + box[2:]) + size * (self.shift_x, self.shift_y)
        half = 0.5 * size * (self.width, self.height)
        return np.concatenate([centre - half, centre + half])

    def then(self, other: BoxCorrection) -> BoxCorrection:
        """This correction and then another as one."""
        shift_x, shift_y = self.shift_x + self.width * other.shift_x, self.shift_y + self.height * other.shift_y
        return BoxCorrection(shift_x, shift_y, self.width * other.width, self.height * other.height)

    def inverse(self) -> BoxCorrection:
        """What takes the corrected box back."""
        width, height = self.width, self.height
        return BoxCorrection(-self.shift_x / width, -self.shift_y / height, 1 / width, 1 / height)


def relative_boxes(detected: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """What takes boxes (n, 4) to wanted ones (n, 4), as rows of `BoxCorrection`; the median row is the correction."""
    size = detected[:, 2:] - detected[:, :2]
    shift = 0.5 * (wanted[:, :2] + wanted[:, 2:] - detected[:, :2] - detected[:, 2:])
    return np.hstack([shift / size, (wanted[:, 2:] - wanted[:, :2]) / size])


# Measured by tools/calibrate_detector.py; each entry says on what.
CORRECTIONS_FILE = Path(__file__).with_name("box_corrections.json")
CORRECTIONS = {name: BoxCorrection(**entry["correction"]) for name, entry in read_json(CORRECTIONS_FILE).items()}


class HaarDetector:
    """OpenCV's bundled cascade for upright faces that look roughly into the camera.

    Of the bundled ones alt2 finds the most of 150 training faces of 300-W (AFW and HELEN): 130, with 8 boxes elsewhere;
    alt finds 127 with 2, default, asking 5 neighbours instead of 3, 127 with 21. Equalising the histogram first, as is
    often advised, loses faces: 125.
    """

    box_kind = "square from the middle of the forehead to the lower lip or chin"
    _DETECTION_SIDE = 1000  # pixels of the photo's longer side; larger photos are scaled down to it for detection alone
    _MIN_FACE = 24  # pixels there
    _MERGE_OVERLAP = 0.4  # of the smaller box

    def __call__(self, image: np.ndarray, name: str = "") -> list[Detection]:
        """Faces of image (H, W, 3), the largest first; the score is v / (1 + v) of the last stage's sum of votes v."""
        height, width = image.shape[:2]
        zoom = min(1.0, self._DETECTION_SIDE / max(height, width))
        small = (max(1, round(width * zoom)), max(1, round(height * zoom)))
        gray = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), small, interpolation=cv2.INTER_AREA)
        found, _, votes = _cascade().detectMultiScale3(
            gray, 1.1, 3, 0, (self._MIN_FACE, self._MIN_FACE), outputRejectLevels=True
        )
        factors = np.array([width / small[0], height / small[1]] * 2)
        boxes = np.array([(x, y, x + w, y + h) for x, y, w, h in found], float).reshape(-1, 4) * factors
        scores = [max(float(vote), 0.0) / (1 + max(float(vote), 0.0)) for vote in np.ravel(votes)]
        detections = [Detection(box, score) for box, score in zip(boxes, scores)]
        return merge_overlapping(detections, self._MERGE_OVERLAP)


_OF_THREAD = threading.local()


def _cascade() -> cv2.CascadeClassifier:
    """This thread's own cascade: one that threads share returns other faces, or ends the process."""
    if not hasattr(_OF_THREAD, "cascade"):
        file = os.path.join(cv2.data.haarcascades, "haarcascade_frontalface_alt2.xml")
        _OF_THREAD.cascade = cv2.CascadeClassifier(file)
    return _OF_THREAD.cascade


LARGEST_OVERLAP = 0.3  # IoU above which the lower-scoring of two boxes is dropped [B12]


class NetworkDetector:
    """A network that `train_detector.py` trained.

    Args:
        weights: a file that it wrote; the one that ships if None.
        least_score: boxes below are left out, 0 to 1; the detector's own if None.
        largest_overlap: IoU above which the lower-scoring of two boxes is dropped.
        context: where it runs; the CPU if None.

    Raises:
        FileNotFoundError, ValueError: no weights are there, or they do not fit.
    """

    name: str  # of the detector, and of the weights that ship
    least_score: float  # of a face; docs/face_detector.md says how it was chosen
    box_kind = "box from the lower forehead to the chin, as wide as the face"

    def __init__(
        self,
        weights: str | os.PathLike[str] | None = None,
        least_score: float | None = None,
        largest_overlap: float = LARGEST_OVERLAP,
        context: mx.Context | None = None,
    ) -> None:
        self._least_score = self.least_score if least_score is None else least_score
        if not (0 <= self._least_score <= 1 and 0 <= largest_overlap <= 1):
            raise ValueError(f"score {least_score} and overlap {largest_overlap} of a face detector are 0 to 1")
        path = shipped_weights(self.name) if weights is None else weights
        if network_of(path) != self.name:
            raise ValueError(f"{path} holds weights of another detector than {self.name}: name its own with --detector")
        self._context, self._largest_overlap = context or mx.cpu(), largest_overlap
        self._prepare(load_detector(path, self._context))
        self._made_of = (path, least_score, largest_overlap, context)

    def _prepare(self, net: HybridBlock) -> None:
        """Keeps what finds the faces."""
        raise NotImplementedError

    def _find(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Boxes (n, 4) of image (H, W, 3) and their scores (n,), the highest first."""
        raise NotImplementedError

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles read the weights again: Gluon's blocks can be neither copied nor pickled."""
        return type(self), self._made_of

    def __call__(self, image: np.ndarray, name: str = "") -> list[Detection]:
        """Faces of image (H, W, 3), the surest first; the score is the network's probability."""
        with NETWORK_LOCK:
            boxes, scores = self._find(image)
        return [Detection(box, float(score)) for box, score in zip(boxes, scores) if score >= self._least_score]


def network_of(weights: str | os.PathLike[str]) -> str:
    """The name in `NETWORKS` of the detector that a weights file is of; errors as `detector_name`'s."""
    return centernet.NAME if detector_name(weights) == centernet.NAME else FasterRcnnDetector.name


class FasterRcnnDetector(NetworkDetector):
    """GluonCV's Faster R-CNN."""

    name = "faster_rcnn"
    least_score = 0.9  # [B12]

    def _prepare(self, net: HybridBlock) -> None:
        net.set_nms(nms_thresh=self._largest_overlap, nms_topk=-1, post_nms=-1)
        self._net = net

    def _find(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return find_boxes(self._net, image, self._context)


class CenterNetDetector(NetworkDetector):
    """The small one-stage detector, on a CPU as oneDNN fuses it."""

    name = centernet.NAME
    least_score = 0.3  # [B17]

    def _prepare(self, net: HybridBlock) -> None:
        self._finder = center_finder(net, self._context)

    def _find(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self._finder(image, self._least_score, self._largest_overlap)


def center_finder(
    net: HybridBlock, context: mx.Context, looks: Mapping[str, centernet.Look] = centernet.LOOKS
) -> centernet.CenterFinder:
    """What finds faces by a `centernet_slim`, on a CPU as oneDNN fuses it."""

    def fuse_on_cpu(block: HybridBlock) -> Network:
        return fused(block, np.inf) if context.device_type == "cpu" else block

    return centernet.CenterFinder(net, context, fuse_on_cpu, looks)


def merge_overlapping(detections: list[Detection], largest_overlap: float) -> list[Detection]:
    """Leaves out boxes that share more than this fraction of their area with a larger one; the largest comes first.

    Of equally large ones the leftmost: OpenCV's order of them is another one each time that it searches in parallel.
    """
    kept: list[Detection] = []
    for candidate in sorted(detections, key=lambda each: (-_area(each.box), *each.box)):
        if all(overlap(candidate.box, other.box) <= largest_overlap for other in kept):
            kept.append(candidate)
    return kept


def _area(box: np.ndarray) -> float:
    return float(np.prod(np.clip(box[2:] - box[:2], 0, None)))


def overlap(box: np.ndarray, other: np.ndarray) -> float:
    """What share of the smaller of two boxes (4,) the other covers; 0 if one is empty."""
    common = np.concatenate([np.maximum(box[:2], other[:2]), np.minimum(box[2:], other[2:])])
    smaller = min(_area(box), _area(other))
    return _area(common) / smaller if smaller > 0 else 0.0


class CorrectedDetector:
    """A detector whose boxes are brought to the tight landmark box.

    That is right in the middle, not for each face, so a second pass is needed: docs/video.md has its gain.

    Args:
        detector: what finds the faces.
        correction: measured for its boxes.
        min_score: of the faces that are kept.
        min_face: longer side of the smallest corrected box that is kept, pixels.
    """

    box_kind = TIGHT_BOX
    passes = 2

    def __init__(
        self, detector: FaceDetector, correction: BoxCorrection, min_score: float = 0.0, min_face: float = 0.0
    ) -> None:
        self._detector, self._correction = detector, correction
        self._min_score, self._min_face = min_score, min_face

    def then(self, correction: BoxCorrection) -> CorrectedDetector:
        """The same detector with boxes that are corrected once more, and measured by --min-face after that."""
        return type(self)(self._detector, self._correction.then(correction), self._min_score, self._min_face)

    def __call__(self, image: np.ndarray, name: str = "") -> list[Detection]:
        """Faces of image (H, W, 3)."""
        found = [Detection(self._correction.apply(box), score) for box, score in self._detector(image, name)]
        return [
            each
            for each in found
            if each.score >= self._min_score and (each.box[2:] - each.box[:2]).max() >= self._min_face
        ]


class WholeImage:
    """The image itself is the face's box: for pictures that are cut out tightly around one face."""

    box_kind = TIGHT_BOX

    def __call__(self, image: np.ndarray, name: str = "") -> list[Detection]:
        """One face as large as image (H, W, 3); a box from 0 to W is what a crop of W whole pixels shows."""
        height, width = image.shape[:2]
        return [Detection(np.array([0.0, 0.0, width, height]), 1.0)]


NETWORKS: dict[str, type[NetworkDetector]] = {each.name: each for each in (FasterRcnnDetector, CenterNetDetector)}
DETECTORS = ("haar", *NETWORKS)  # search photos for faces
DEFAULT_DETECTOR = CenterNetDetector.name
BOX_SOURCES = (*DETECTORS, "file", "whole")


def get_detector(
    name: str,
    boxes: str | os.PathLike[str] | None = None,
    weights: str | os.PathLike[str] | None = None,
    context: mx.Context | None = None,
    min_score: float | None = None,
    min_face: float = 0.0,
) -> FaceDetector:
    """A detector that returns tight landmark boxes.

    Args:
        name: "haar" (OpenCV's cascade), one of `NETWORKS`, "file" (given boxes) or "whole" (the image is the face).
        boxes: JSON file for "file", see `FileDetector`.
        weights: of one of `NETWORKS`; those that ship if None.
        context: that a network runs on; the CPU if None.
        min_score: of a face that one of `DETECTORS` finds, 0 to 1; the detector's own if None.
        min_face: longer side of the smallest face's tight box that is kept, pixels.

    Raises:
        ValueError: an unknown name, boxes missing, boxes or weights given in vain, or no weights ship.
        FileNotFoundError: the file of boxes or the weights are not there.
    """
    if name not in BOX_SOURCES:
        raise ValueError(f"unknown detector '{name}': choose one of {', '.join(BOX_SOURCES)}")
    if (name == "file") != (boxes is not None):
        needs = "needs a" if name == "file" else "takes no"
        raise ValueError(f"detector '{name}' {needs} file of boxes: such a file and the detector 'file' go together")
    if weights is not None and name not in NETWORKS:
        raise ValueError(f"detector '{name}' takes no weights: such a file goes with {' or '.join(NETWORKS)}")
    if name not in DETECTORS and (min_score is not None or min_face):
        raise ValueError(f"detector '{name}' finds no faces: least scores and sizes are for {' and '.join(DETECTORS)}")
    if min_score is not None and not 0 <= min_score <= 1:
        raise ValueError(f"the least score of a face is 0 to 1, not {min_score:g}")
    if name == "haar":
        return CorrectedDetector(HaarDetector(), CORRECTIONS["haar"], min_score or 0.0, min_face)
    if name in NETWORKS:
        finds = NETWORKS[name](weights, min_score, context=context)
        return CorrectedDetector(finds, CORRECTIONS[name], 0.0, min_face)
    return WholeImage() if boxes is None else FileDetector(boxes)
