"""What the landmark network knows of a face: how sure its points are, and whether there is a face at all."""

from __future__ import annotations

from typing import NamedTuple, Sequence

import numpy as np

from datasets.geometry import landmark_box
from inference.detectors import Detection, FaceDetector
from inference.pipeline import PointPredictor, crop_faces, locate_in_images
from inference.tracking import LARGEST_DISAGREEMENT, locate_twice


class PointConfidence(NamedTuple):
    """How sure a network is of its points.

    Attributes:
        kind: "peak_height", the largest value of a point's heatmap, 0 to 1, larger is surer; or "disagreement",
            how far two shifted crops place a point apart, over sqrt(w h) of the points' box, smaller is surer.
        values: (n, K), of each face's points.
    """

    kind: str
    values: np.ndarray


def point_confidence(predictor: PointPredictor, image: np.ndarray, points: Sequence[np.ndarray]) -> PointConfidence:
    """Confidence of faces' points (K, 2) in an image (H, W, 3), from one pass more, or two.

    The stages of one network say little: FFLD's last two agree within 0.15 % of the box on faces and on noise alike.
    """
    boxes = [landmark_box(each) for each in points]
    if predictor.spec.output == "heatmaps":
        peaks = [predictor.answer(crop_faces(image, [box], predictor.spec)[0]).max(axis=(2, 3)) for box in boxes]
        return PointConfidence("peak_height", np.clip(np.concatenate(peaks), 0, 1))
    return PointConfidence("disagreement", locate_twice(predictor, image, boxes).distances)


def disagreements(predictor: PointPredictor, image: np.ndarray, boxes: Sequence[np.ndarray]) -> np.ndarray:
    """How far two shifted crops place the points of tight boxes (n, 4) apart, (n,); large where there is no face."""
    if not len(boxes):
        return np.zeros(0)
    settled = [landmark_box(points) for points in locate_in_images(predictor, [image] * len(boxes), boxes)]
    return locate_twice(predictor, image, settled).disagreements


class ConfirmedDetector:
    """A detector whose faces count only where the landmark network sees one too.

    Args:
        detector: finds tight boxes.
        predictor: the landmark network.
    """

    def __init__(self, detector: FaceDetector, predictor: PointPredictor) -> None:
        self.box_kind, self.passes = detector.box_kind, getattr(detector, "passes", 1)
        self._detector, self._predictor = detector, predictor

    def __call__(self, image: np.ndarray, name: str = "") -> list[Detection]:
        """Faces of image (H, W, 3)."""
        found = self._detector(image, name)
        apart = disagreements(self._predictor, image, [each.box for each in found])
        return [each for each, distance in zip(found, apart) if distance <= LARGEST_DISAGREEMENT]
