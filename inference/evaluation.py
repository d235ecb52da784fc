"""Evaluation as functions: a network, the faces of a subset, their boxes -> arrays; and the same faces made harder."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Callable, Iterable, NamedTuple

import mxnet as mx
import numpy as np

from datasets.catalog import SubsetInfo, load_subset
from datasets.conversions import convert
from datasets.degradations import DEGRADATIONS, plain_view
from datasets.faces import Face, FaceDataset
from datasets.geometry import compose
from datasets.markups import Markup
from datasets.render.faces import RenderedFaces
from evaluation.boxes import check_inside, closest_box, given_box
from evaluation.metrics import known_normalizers
from evaluation.protocols import Protocol, get_protocol
from evaluation.published import WITH_SHAPE_MODEL
from evaluation.stress import Curve, make_levels
from evaluation.summary import Evaluation
from gluon_models import load_weights
from gluon_models.weights import WeightsInfo
from inference.detectors import DEFAULT_DETECTOR, BoxCorrection, CorrectedDetector, get_detector
from inference.ensembles import AugmentedPredictor, DropoutEnsemble
from inference.landmark_detector import markup_of
from inference.pipeline import (
    PointPredictor,
    PredictedFaces,
    Predictor,
    StagePredictor,
    crop_dataset,
    crop_faces,
    predict_dataset,
    to_image,
)
from inference.quantized import calibration_faces, int8_twin
from inference.shape_model import load_shape_model
from inference.training_boxes import SAME_BOX

TEST_SEED = 2_000_003  # of rendered faces that neither training nor validation sees
ENSEMBLES = ("dropout", "augmentation")
Progress = Callable[[Iterable[int]], Iterable[int]]


class SubsetFaces(NamedTuple):
    """The faces of a subset, what is known of it, and how it is scored."""

    faces: FaceDataset
    info: SubsetInfo
    protocol: Protocol


def load_faces(
    dataset: str, subset: str, *, root: str | None = None, allow_missing: bool = False, count: int = 500, seed: int = 0
) -> SubsetFaces:
    """Loads the faces to measure on.

    Args:
        dataset: a name of the catalog, or "rendered".
        subset: its part.
        root: folder of the data set; rendered faces need none.
        allow_missing: whether a part of the subset will do.
        count: of rendered faces.
        seed: of rendered faces.

    Raises:
        ValueError, FileNotFoundError: a subset that is not known, or not there.
    """
    protocol = get_protocol(dataset, subset)
    if dataset == "rendered":
        return SubsetFaces(RenderedFaces(count, TEST_SEED + seed), SubsetInfo(count), protocol)
    faces, info = load_subset(dataset, root, subset, allow_missing)
    return SubsetFaces(faces, info, scored_by(protocol, faces.markup))


def scored_by(protocol: Protocol, markup: Markup) -> Protocol:
    """A protocol whose normalizer the markup has points for: that of the markup where it lacks the protocol's own."""
    if protocol.normalizer in (*known_normalizers(markup), "face_size"):
        return protocol
    return dataclasses.replace(protocol, normalizer=markup.normalizer)


class ConvertedPredictor:
    """A network whose points are converted to another markup, see `datasets.conversions`.

    Args:
        predictor: the network.
        source: markup of its points.
        target: markup to convert them to.

    Raises:
        ValueError: there is no exact conversion.
    """

    def __init__(self, predictor: Predictor, source: Markup, target: Markup) -> None:
        self.spec, self.batch_size = predictor.spec, predictor.batch_size
        self._predictor, self._source, self._target = predictor, source, target
        convert(np.zeros((source.num_landmarks, 2)), source, target)

    def __call__(self, crops: np.ndarray) -> np.ndarray:
        """Crops (n, S, S, 3) uint8 RGB -> points_crop (n, K, 2), in pixels of the crop."""
        return convert(self._predictor(crops), self._source, self._target)


class BoxSource(NamedTuple):
    """Where the boxes of faces come from.

    Attributes:
        kind: as `evaluation.protocols.box_text` knows it.
        find: from a face to its box (4,), or to None if it is not found; None takes the data set's own boxes.
        passes: of the network over each face.
    """

    kind: str
    find: Callable[[Face], np.ndarray | None] | None = None
    passes: int = 1


def box_source(
    boxes: str,
    true_boxes: str = "truth",
    *,
    detector: str = DEFAULT_DETECTOR,
    context: mx.Context | None = None,
    box: BoxCorrection = SAME_BOX,
    converted: BoxCorrection = SAME_BOX,
) -> BoxSource:
    """The boxes that a user asks for.

    Args:
        boxes: "truth", "detector" or the JSON file that has them.
        true_boxes: what the data set's own boxes are, from its protocol.
        detector: name of the detector.
        context: that the detector runs on.
        box: that the network was trained on, see `inference.training_boxes.training_box`.
        converted: from the true boxes to those that the network was trained on, where its markup is another.
    """
    if boxes == "truth":
        if converted == SAME_BOX:
            return BoxSource(true_boxes)
        return BoxSource("converted", lambda face: converted.apply(face.box))
    if boxes == "detector":
        found_by = get_detector(detector, context=context)
        kind, choose = detector, closest_box
        detect = found_by.then(box) if isinstance(found_by, CorrectedDetector) else found_by
    else:
        kind, choose, detect = "file", given_box, get_detector("file", boxes)

    def find(face: Face) -> np.ndarray | None:
        found = choose([each.box for each in detect(face.image, face.name)], converted.apply(face.box))
        return None if found is None else check_inside(found, face.image)

    return BoxSource(kind, find, getattr(detect, "passes", 1))


def load_predictor(
    weights: Path,
    model: str,
    context: mx.Context,
    *,
    batch_size: int = 64,
    decoding: str | None = None,
    shape_model: str | Path | None = None,
    shape_prior: bool = False,
    ensemble: str | None = None,
    int8: bool = False,
    seed: int = 0,
) -> tuple[Predictor, WeightsInfo]:
    """A trained network, ready to run on crops, and what its weights file says.

    Args:
        weights: parameters with their .json.
        model: name of the network.
        context: where it runs; the CPU for an int8 twin.
        batch_size: crops that run together at most.
        decoding: how heatmaps become points.
        shape_model: file of one that is fitted to the heatmaps instead.
        shape_prior: see `inference.shape_model.ShapeFitter`.
        ensemble: one of ENSEMBLES.
        int8: whether its int8 twin takes its place.
        seed: of dropped units, and of the faces that set the twin's ranges.

    Raises:
        ValueError: options that this network cannot follow, or weights of another one.
    """
    net, info = load_weights(weights, model, context)
    if int8:
        net = int8_twin(net, info.spec, crop_dataset(calibration_faces(seed), info.spec).crops)
    if ensemble == "dropout":
        mx.random.seed(seed)
        net = DropoutEnsemble(net)
    fitted = load_shape_model(shape_model) if shape_model else None
    markup = markup_of(info)
    predictor = PointPredictor(net, info.spec, context, batch_size, decoding, fitted, shape_prior, markup)
    if ensemble == "augmentation":
        return AugmentedPredictor(predictor, markup), info
    return predictor, info


def predict_faces(
    predictor: Predictor, faces: FaceDataset, boxes: BoxSource, progress: Progress = iter
) -> PredictedFaces:
    """Predicts every face, at every stage of a network that has several.

    Args:
        predictor: the network.
        faces: of a subset, or of a part of it.
        boxes: what they are cropped by.
        progress: wraps the indices, to show a bar.
    """
    has_stages = isinstance(predictor, PointPredictor) and predictor.has_stages
    runner = StagePredictor(predictor) if has_stages else predictor
    return predict_dataset(runner, faces, boxes.find, progress, boxes.passes)


def evaluate(
    predictor: Predictor,
    subset: SubsetFaces,
    boxes: BoxSource,
    *,
    model: str,
    point_shift: float = 0.0,
    progress: Progress = iter,
) -> Evaluation:
    """Predicts the faces of a subset and compares; arguments and errors as in `predict_faces` and `compared`."""
    predicted = predict_faces(predictor, subset.faces, boxes, progress)
    return compared(predicted, subset, model=model, point_shift=point_shift)


def compared(predicted: PredictedFaces, subset: SubsetFaces, *, model: str, point_shift: float = 0.0) -> Evaluation:
    """Compares what was predicted for a subset with its annotation.

    Args:
        predicted: for its faces, in their order.
        subset: the faces.
        model: name of the network, for the published figures.
        point_shift: pixels added to x and y of every predicted point.

    Raises:
        ValueError: the network predicts NaN.
    """
    faces, info, protocol = subset
    if np.isnan(predicted.points_image[[name not in predicted.skipped for name in faces.names]]).any():
        raise ValueError("the network predicts points that are no numbers: its weights are damaged, use others")
    stages = predicted.points_image.reshape(len(faces), -1, *predicted.truth_image.shape[1:]) + point_shift
    *earlier, last = np.ascontiguousarray(stages.swapaxes(0, 1))
    return Evaluation(
        model=model,
        protocol=protocol,
        names=faces.names,
        predicted=last,
        truth=predicted.truth_image,
        skipped=predicted.skipped,
        expected=info.expected,
        present=info.present,
        face_sizes=info.face_sizes,
        earlier_stages=earlier,
        boxes=predicted.boxes,
        markup=faces.markup,
    )


def evaluated_name(model: str, shape_model: object) -> str:
    """The name under which published figures of a network are found, by itself or with a shape model."""
    return model + (WITH_SHAPE_MODEL if shape_model else "")


def stress_curves(
    predictor: Predictor,
    faces: FaceDataset,
    evaluation: Evaluation,
    *,
    count: int | None = None,
    point_shift: float = 0.0,
    seed: int = 0,
    progress: Progress = iter,
) -> list[Curve]:
    """The errors, in the primary normalizer, of the faces that were found as they are made harder.

    Args:
        predictor: the network.
        faces: of the evaluation.
        evaluation: from `evaluate`, whose boxes are taken.
        count: take so many of the faces that were found, evenly spread; all if None.
        point_shift: as in `evaluate`.
        seed: of the degradations' draws.
        progress: wraps the indices, to show a bar.
    """
    found = np.flatnonzero(evaluation.found)
    kept = min(count or len(found), len(found))
    chosen = found[np.linspace(0, len(found) - 1, kept).round().astype(int)]
    predicted = [_harder_points(predictor, faces[k], evaluation.boxes[k], (seed, k)) for k in progress(chosen)]
    levels = iter(np.stack(predicted, axis=1) + point_shift)
    part = dataclasses.replace(
        evaluation,
        names=[evaluation.names[k] for k in chosen],
        truth=evaluation.truth[chosen],
        face_sizes=None if evaluation.face_sizes is None else evaluation.face_sizes[chosen],
        earlier_stages=(),
    )
    curves = []
    for each in DEGRADATIONS:
        scored = (dataclasses.replace(part, predicted=next(levels)) for _ in each.amounts)
        errors = np.stack([level.errors(evaluation.protocol.normalizer) for level in scored])
        made = make_levels(each.amounts, errors, evaluation.protocol.failure_threshold)
        curves.append(Curve(each.name, each.title, each.unit, each.neutral, made))
    return curves


def _harder_points(predictor: Predictor, face: Face, box: np.ndarray, seed: tuple[int, int]) -> np.ndarray:
    """Points (m, K, 2) in pixels of the photo, at each amount of each degradation; `seed` is (run's, face's number)."""
    view, crops, matrices = plain_view(face.image, box), [], []
    for number, degradation in enumerate(DEGRADATIONS):
        for amount in degradation.amounts:
            # The same draws at every amount, so that a curve shows the amount alone.
            changed = degradation(view, amount, np.random.default_rng((seed[0], number, seed[1])))
            crop, matrix = crop_faces(changed.image, [changed.box], predictor.spec)
            crops.append(crop[0])
            matrices.append(compose(matrix[0], changed.matrix))
    return to_image(predictor(np.stack(crops)), np.stack(matrices))
