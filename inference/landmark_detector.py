"""Landmarks of every face of an image: a face detector and a landmark network joined."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple, Sequence

import numpy as np

from datasets.markup import from_dict
from datasets.markups import Markup, markup_named
from gluon_models import load_weights, shipped_weights
from gluon_models.weights import WeightsInfo
from inference.detections import Detection
from inference.detectors import DEFAULT_DETECTOR, CorrectedDetector, FaceDetector, get_detector
from inference.given_boxes import as_detections
from inference.pipeline import PointPredictor, locate_in_images
from inference.shape_model import load_shape_model
from inference.training_boxes import training_box


class LocatedFace(NamedTuple):
    """One face of an image; pixels count from 0 and may lie beyond the border.

    Attributes:
        box: (4,) float64 x0, y0, x1, y1, the box the landmarks were first sought in.
        points: (K, 2) float64, x then y.
        score: of the detector, larger is surer; 1 for given boxes.
    """

    box: np.ndarray
    points: np.ndarray
    score: float


class LandmarkDetector:
    """Finds faces and their landmarks.

    Args:
        predictor: the landmark network.
        detector: finds the faces; it must return the box the network was trained on.
        markup: of the network's points.
    """

    def __init__(self, predictor: PointPredictor, detector: FaceDetector, markup: Markup) -> None:
        self.predictor, self.detector, self.markup = predictor, detector, markup
        self._made_of: tuple[Any, ...] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles read the weights again: Gluon's blocks can be neither copied nor pickled."""
        if self._made_of is None:
            raise TypeError("only a LandmarkDetector of from_pretrained can be copied or pickled: make it by that")
        return type(self).from_pretrained, self._made_of

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | os.PathLike[str],
        detector: str | FaceDetector = DEFAULT_DETECTOR,
        ctx: Any = None,
        model: str | None = None,
        decoding: str | None = None,
        shape_model: str | os.PathLike[str] | None = None,
    ) -> LandmarkDetector:
        """Joins trained weights and a detector.

        Args:
            name_or_path: a network whose weights ship, such as "resnet18_slim", or a .params file, its .json beside it.
            detector: a name that `get_detector` takes, or what it returned; or a detector of your own, which must
                return the box that the network was trained on.
            ctx: one MXNet context; CPU by default.
            model: the network that the weights must be of; any if None.
            decoding: how heatmaps become points, one of `datasets.heatmaps.DECODINGS`.
            shape_model: .npz that train_lgcn.py wrote, to fit to the heatmaps instead.

        Raises:
            ValueError, FileNotFoundError: weights, a detector or a shape model that are not there or damaged, or what
                is for heatmaps given for a network that returns points.
        """
        weights = find_weights(name_or_path)
        net, info = load_weights(weights, model, ctx)
        found_by = get_detector(detector, context=ctx) if isinstance(detector, str) else detector
        fitted = load_shape_model(shape_model) if shape_model else None
        markup = markup_of(info)
        predictor = PointPredictor(net, info.spec, ctx, decoding=decoding, shape_model=fitted, markup=markup)
        fits = isinstance(found_by, CorrectedDetector)
        joined = cls(predictor, found_by.then(training_box(info)) if fits else found_by, markup)
        joined._made_of = (weights, found_by, ctx, model, decoding, shape_model)
        return joined

    def __call__(self, image: np.ndarray, name: str = "") -> list[LocatedFace]:
        """Faces of an image with their landmarks, in the detector's order.

        Args:
            image: (H, W, 3) uint8 RGB.
            name: of the image's file, for boxes that are given by name.

        Raises:
            ValueError: the array is no such image.
        """
        check_image(image)
        return self._landmarks([image], [self.detector(image, name)], self._passes())[0]

    def detect(self, image: np.ndarray, boxes: Sequence[Sequence[float]] | np.ndarray) -> list[LocatedFace]:
        """Landmarks in given boxes, all sent through the network together.

        Args:
            image: (H, W, 3) uint8 RGB.
            boxes: (n, 4) x0, y0, x1, y1 in its pixels, tight around the landmarks; they may cross the border. A fifth
                column is the score.

        Raises:
            ValueError: the array is no such image, or a box has no area, lies outside it or is not in pixels.
        """
        check_image(image)
        return self._landmarks([image], [as_detections(boxes)], 1)[0]

    def detect_batch(
        self, images: Sequence[np.ndarray], boxes: Sequence[Sequence[Sequence[float]] | np.ndarray] | None = None
    ) -> list[list[LocatedFace]]:
        """Faces of several images, of any sizes, their crops sent through the network together.

        Args:
            images: (H, W, 3) uint8 RGB each.
            boxes: for each image (n, 4) as `detect` takes them; the detector finds them if None.

        Returns:
            The faces of each image.

        Raises:
            ValueError: an array is no such image, a box lies outside its image, or not every image has boxes.
        """
        for image in images:
            check_image(image)
        if boxes is None:
            return self._landmarks(images, [self.detector(image) for image in images], self._passes())
        if len(boxes) != len(images):
            raise ValueError(f"{len(boxes)} lists of boxes for {len(images)} images: give one for each image")
        return self._landmarks(images, [as_detections(each) for each in boxes], 1)

    def _passes(self) -> int:
        return getattr(self.detector, "passes", 1)

    def _landmarks(
        self, images: Sequence[np.ndarray], found: Sequence[Sequence[Detection]], passes: int
    ) -> list[list[LocatedFace]]:
        faces: list[list[LocatedFace]] = [[] for _ in images]
        owners = [number for number, each in enumerate(found) for _ in each]
        detections = [detection for each in found for detection in each]
        for number, detection in zip(owners, detections):
            _check_overlap(detection.box, images[number])
        if detections:
            boxes = [detection.box for detection in detections]
            points_image = locate_in_images(self.predictor, [images[number] for number in owners], boxes, passes)
            for number, (box, score), points in zip(owners, detections, points_image):
                faces[number].append(LocatedFace(box, points, score))
        return faces


def markup_of(info: WeightsInfo) -> Markup:
    """The markup of a network's points, by its name or, of a user's own, by what the weights file says of it.

    Raises:
        ValueError: it is not known, or badly described.
    """
    if info.markup_definition is None:
        return markup_named(info.markup)
    return from_dict(info.markup_definition, info.overrides.get("num_landmarks"))


def find_weights(name_or_path: str | os.PathLike[str]) -> Path:
    """The weights file that a path or the name of shipped weights stands for.

    Raises:
        FileNotFoundError: a path that does not exist.
        ValueError: no weights ship under the name, or they are damaged.
    """
    path = Path(name_or_path)
    if path.suffix == ".params" or path.is_file():
        return path
    return shipped_weights(str(name_or_path))


def check_image(image: Any) -> None:
    """ValueError, with what to do about it, unless `image` is (H, W, 3) uint8 with at least one pixel."""
    if not isinstance(image, np.ndarray):
        raise ValueError(f"the image is a {type(image).__name__}: pass the array of datasets.images.read_image(path)")
    if image.size == 0:
        raise ValueError(f"the image is empty, {image.shape}: pass one with at least one pixel")
    if image.ndim == 2:
        raise ValueError(f"the image is gray, {image.shape}: make it RGB with np.stack([image] * 3, axis=-1)")
    if image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"the image has shape {image.shape}: pass one RGB image (height, width, 3)")
    if image.dtype != np.uint8:
        raise ValueError(f"the image is {image.dtype}: make it uint8; if it is 0 to 1, (image * 255).astype(np.uint8)")


def _check_overlap(box: np.ndarray, image: np.ndarray) -> None:
    height, width = image.shape[:2]
    x0, y0, x1, y1 = box
    # A crop of the box from 0 to W shows W whole pixels, so a box that ends at 0 shows none.
    if x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height:
        shown = [round(float(value), 1) for value in box]
        raise ValueError(f"face box {shown} lies outside the image of {width} x {height} pixels: give it in its pixels")
