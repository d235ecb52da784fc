"""The one way of a face: box, crop by one matrix, network, the matrix back.

Validation during training, evaluation and prediction all go through here.
"""

from __future__ import annotations

from typing import Any, Callable, Iterable, NamedTuple, Sequence

import mxnet as mx
import numpy as np
from mxnet.gluon import HybridBlock

from datasets.faces import FaceDataset
from datasets.geometry import crop_matrix, invert, square_box, transform_points, warp_image
from datasets.heatmaps import DECODINGS, HeatmapCodec
from gluon_models.spec import InputSpec, NetworkInput


class PointPredictor:
    """Runs a network on crops.

    Args:
        net: initialised, its parameters on `ctx`.
        spec: how it sees a face.
        ctx: one context; CPU by default.
        batch_size: crops run together at most.
        decoding: how heatmaps become points, see `datasets.heatmaps`; a network that answers points needs none.
    """

    def __init__(
        self, net: HybridBlock, spec: InputSpec, ctx: Any = None, batch_size: int = 64, decoding: str = DECODINGS[0]
    ) -> None:
        self.net, self.spec, self._decoding = net, spec, decoding
        self._ctx = ctx or mx.cpu()
        self.batch_size = batch_size
        self._input = NetworkInput(spec, [self._ctx])

    def __call__(self, crops: np.ndarray) -> np.ndarray:
        """Crops (n, S, S, 3) uint8 RGB -> points_crop (n, K, 2) float64, in pixels of the crop."""
        parts = [crops[i : i + self.batch_size] for i in range(0, len(crops), self.batch_size)]
        answers = (self.net(self._input(part, self._ctx)).asnumpy() for part in parts)
        return np.concatenate([points_from_answer(answer, self.spec, self._decoding) for answer in answers])


def points_from_answer(answer: np.ndarray, spec: InputSpec, decoding: str = DECODINGS[0]) -> np.ndarray:
    """A network's answer, points (n, K, 2) or heatmaps (n, K, H, W) -> points_crop (n, K, 2) float64."""
    if spec.output == "heatmaps":
        return HeatmapCodec(spec.size // spec.stride, spec.stride, spec.sigma).decode(answer, decoding)
    return points_from_fractions(answer.astype(np.float64), spec.size)


def points_from_fractions(fractions: np.ndarray, size: int) -> np.ndarray:
    """Fractions of the crop (..., 2) -> pixels of the crop."""
    return fractions * size - 0.5


def crop_faces(image: np.ndarray, boxes: Sequence[np.ndarray], spec: InputSpec) -> tuple[np.ndarray, np.ndarray]:
    """Cuts faces out of one image.

    Returns:
        crops (n, S, S, 3) uint8 and matrices (n, 2, 3), image to crop.
    """
    matrices = np.stack([crop_matrix(square_box(box, spec.box_margin), spec.size) for box in boxes])
    return np.stack([warp_image(image, matrix, spec.size) for matrix in matrices]), matrices


def locate(predictor: PointPredictor, image: np.ndarray, boxes: Sequence[np.ndarray]) -> np.ndarray:
    """Landmarks (n, K, 2) in pixels of the image for n boxes (4,) in it."""
    crops, matrices = crop_faces(image, boxes, predictor.spec)
    return to_image(predictor(crops), matrices)


def to_image(points_crop: np.ndarray, matrices: np.ndarray) -> np.ndarray:
    """Points (n, K, 2) of crops back to their images through matrices (n, 2, 3), image to crop."""
    return np.stack([transform_points(points, invert(matrix)) for points, matrix in zip(points_crop, matrices)])


class CroppedFaces(NamedTuple):
    """Plain crops of a data set, ready for a network.

    Attributes:
        crops: (n, S, S, 3) uint8.
        matrices: (n, 2, 3), image to crop.
        truth_image: (n, K, 2), the annotated points in pixels of their images.
    """

    crops: np.ndarray
    matrices: np.ndarray
    truth_image: np.ndarray


def crop_dataset(dataset: FaceDataset, spec: InputSpec, progress: Callable[[Iterable[int]], Iterable[int]] = iter):
    """Plain crops of every face by its own box."""
    crops, matrices, truth = [], [], []
    for index in progress(range(len(dataset))):
        face = dataset[index]
        crop, matrix = crop_faces(face.image, [face.box], spec)
        crops.append(crop)
        matrices.append(matrix)
        truth.append(face.points_image)
    return CroppedFaces(np.concatenate(crops), np.concatenate(matrices), np.stack(truth))


def predict_cropped(predictor: PointPredictor, faces: CroppedFaces) -> np.ndarray:
    """Landmarks (n, K, 2) in pixels of each face's image."""
    return to_image(predictor(faces.crops), faces.matrices)


def predict_dataset(
    predictor: PointPredictor,
    dataset: FaceDataset,
    boxes: Callable[[int, np.ndarray], np.ndarray | None] | None = None,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> tuple[np.ndarray, dict[str, str]]:
    """Landmarks of every face of a data set, going on past faces that cannot be read or found.

    Args:
        predictor: the network.
        dataset: the faces.
        boxes: (index, image) -> box (4,) or None for a face that was not found; the data set's own boxes if left out.
        progress: wraps the indices, to show a bar.

    Returns:
        points_image (n, K, 2), NaN for a face left out, and the reason for each such face by its name.
    """
    points = np.full((len(dataset), dataset.markup.num_landmarks, 2), np.nan)
    skipped: dict[str, str] = {}
    waiting: list[tuple[int, np.ndarray, np.ndarray]] = []

    def answer() -> None:
        if waiting:
            indices, crops, matrices = zip(*waiting)
            points[list(indices)] = to_image(predictor(np.stack(crops)), np.stack(matrices))
            waiting.clear()

    for index in progress(range(len(dataset))):
        try:
            face = dataset[index]
            box = face.box if boxes is None else boxes(index, face.image)
            if box is None:
                skipped[dataset.names[index]] = "no face was found"
                continue
            crops, matrices = crop_faces(face.image, [box], predictor.spec)
            waiting.append((index, crops[0], matrices[0]))
        except (OSError, ValueError) as error:
            skipped[dataset.names[index]] = str(error)
        if len(waiting) == predictor.batch_size:
            answer()
    answer()
    return points, skipped
