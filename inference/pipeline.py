"""The one way of a face: box, crop by one matrix, network, the matrix back.

Validation during training, evaluation and prediction all go through here.
"""

from __future__ import annotations

from typing import Any, Callable, Iterable, Iterator, NamedTuple, Sequence

import mxnet as mx
import numpy as np
from mxnet.gluon import HybridBlock

from datasets.faces import FaceDataset
from datasets.geometry import crop_matrix, invert, landmark_box, square_box, transform_points, warp_image
from datasets.heatmaps import DECODINGS, HeatmapCodec
from gluon_models.spec import InputSpec, NetworkInput
from inference.shape_model import PAPER_SIDE, ShapeFitter, ShapeModel


class PointPredictor:
    """Runs a network on crops.

    Args:
        net: initialised, its parameters on `ctx`.
        spec: how it sees a face.
        ctx: one context; CPU by default.
        batch_size: crops run together at most.
        decoding: how heatmaps become points, see `datasets.heatmaps`; its first if None.
        shape_model: fitted to the heatmaps instead (LGCN, Sec. 3.3).

    Raises:
        ValueError: a decoding or a shape model for a network that answers points, or both of them.
    """

    def __init__(
        self,
        net: HybridBlock,
        spec: InputSpec,
        ctx: Any = None,
        batch_size: int = 64,
        decoding: str | None = None,
        shape_model: ShapeModel | None = None,
    ) -> None:
        if spec.output != "heatmaps" and (decoding or shape_model):
            raise ValueError("this network answers points, not heatmaps: leave out the decoding and the shape model")
        if decoding and shape_model:
            raise ValueError("a shape model needs no decoding of the heatmaps: give one of the two")
        self.net, self.spec = net, spec
        self._decoding = decoding or DECODINGS[0]
        self._fitter = shape_fitter(shape_model, spec) if shape_model else None
        self._ctx = ctx or mx.cpu()
        self.batch_size = batch_size
        self._input = NetworkInput(spec, [self._ctx])

    def __call__(self, crops: np.ndarray) -> np.ndarray:
        """Crops (n, S, S, 3) uint8 RGB -> points_crop (n, K, 2) float64, in pixels of the crop."""
        return np.concatenate([self._points(self.answer(part)) for part in _parts(crops, self.batch_size)])

    def stages(self, crops: np.ndarray) -> np.ndarray:
        """The same of every stage of the network, (n, stages, K, 2), the last being the network's own answer.

        A network has stages if it has a method `all_stages`, else it is one itself.
        """
        return np.concatenate([self._stages(part) for part in _parts(crops, self.batch_size)])

    def answer(self, crops: np.ndarray) -> np.ndarray:
        """What the network says of crops (n, H, W, 3), all run at once."""
        return _numbers(self.net(self._input(crops, self._ctx)))

    def _stages(self, crops: np.ndarray) -> np.ndarray:
        faces = self._input(crops, self._ctx)
        answers = self.net.all_stages(faces) if hasattr(self.net, "all_stages") else [self.net(faces)]
        # One after another, as maps take much memory.
        return np.stack([self._points(_numbers(answer)) for answer in answers], axis=1)

    def _points(self, answer: np.ndarray) -> np.ndarray:
        if self._fitter is None:
            return points_from_answer(answer, self.spec, self._decoding)
        points_heatmap = np.stack([self._fitter(maps).points for maps in answer])
        return map_codec(self.spec).to_crop(points_heatmap)


def _numbers(answer: mx.nd.NDArray) -> np.ndarray:
    """An answer as float32, in whichever precision the network gave it; NumPy has no bfloat16."""
    return answer.astype("float32", copy=False).asnumpy()


class StagePredictor:
    """Answers with the points of all stages of a network, (n, stages, K, 2), in the place of a PointPredictor.

    Args:
        predictor: of the network.
    """

    def __init__(self, predictor: PointPredictor) -> None:
        self.spec, self.batch_size, self._predictor = predictor.spec, predictor.batch_size, predictor

    def __call__(self, crops: np.ndarray) -> np.ndarray:
        """Crops (n, S, S, 3) uint8 RGB -> points_crop (n, stages, K, 2), in pixels of the crop."""
        return self._predictor.stages(crops)


def shape_fitter(model: ShapeModel, spec: InputSpec) -> ShapeFitter:
    """Fits a shape model to the heatmaps of a network."""
    return ShapeFitter(model, spec.size / PAPER_SIDE / spec.stride)


def map_codec(spec: InputSpec) -> HeatmapCodec:
    """Takes heatmaps of a network to points of its crops."""
    return HeatmapCodec(spec.size // spec.stride, spec.stride, spec.sigma)


def points_from_answer(answer: np.ndarray, spec: InputSpec, decoding: str = DECODINGS[0]) -> np.ndarray:
    """A network's answer, points (n, K, 2) or heatmaps (n, K, H, W) -> points_crop (n, K, 2) float64."""
    if spec.output == "heatmaps":
        return map_codec(spec).decode(answer, decoding)
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


def locate(
    predictor: PointPredictor | StagePredictor, image: np.ndarray, boxes: Sequence[np.ndarray], passes: int = 1
) -> np.ndarray:
    """Landmarks (n, K, 2) in pixels of the image for n boxes (4,) in it, n at least 1; or (n, stages, K, 2).

    Each look after the first one is at the tight box of the points before it: where a box comes from matters less then.

    Raises:
        ValueError: a box without area, or a network that answers with no numbers.
    """
    for _ in range(passes):
        points_image = np.concatenate([_look(predictor, image, part) for part in _parts(boxes, predictor.batch_size)])
        if not np.isfinite(points_image).all():
            raise ValueError("the network answers with points that are no numbers: its weights are spoilt, use others")
        boxes = [landmark_box(points if points.ndim == 2 else points[-1]) for points in points_image]
    return points_image


def _look(predictor: PointPredictor | StagePredictor, image: np.ndarray, boxes: Sequence[np.ndarray]) -> np.ndarray:
    crops, matrices = crop_faces(image, boxes, predictor.spec)
    return to_image(predictor(crops), matrices)


def _parts(boxes: Sequence[np.ndarray], size: int) -> Iterator[Sequence[np.ndarray]]:
    """At most `size` at a time, so that the crops of hundreds of faces need no more memory than those of a batch."""
    for start in range(0, len(boxes), size):
        yield boxes[start : start + size]


def to_image(points_crop: np.ndarray, matrices: np.ndarray) -> np.ndarray:
    """Points (n, ..., 2) of n crops back to their images through matrices (n, 2, 3), image to crop."""
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


def predict_cropped(predictor: PointPredictor | StagePredictor, faces: CroppedFaces) -> np.ndarray:
    """Landmarks (n, K, 2) in pixels of each face's image, or (n, stages, K, 2)."""
    return to_image(predictor(faces.crops), faces.matrices)


def predict_dataset(
    predictor: PointPredictor | StagePredictor,
    dataset: FaceDataset,
    boxes: Callable[[int, np.ndarray], np.ndarray | None] | None = None,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
    passes: int = 1,
) -> tuple[np.ndarray, dict[str, str]]:
    """Landmarks of every face of a data set, going on past faces that cannot be read or found.

    Args:
        predictor: the network.
        dataset: the faces.
        boxes: (index, image) -> box (4,) or None for a face that was not found; the data set's own boxes if left out.
        progress: wraps the indices, to show a bar.
        passes: at each face, see `locate`; with more than one, faces run one by one.

    Returns:
        points_image (n, K, 2), NaN for a face left out, and the reason for each such face by its name. A StagePredictor
        makes it (n, stages, K, 2), unless all are left out.
    """
    points: dict[int, np.ndarray] = {}
    skipped: dict[str, str] = {}
    waiting: list[tuple[int, np.ndarray, np.ndarray]] = []

    def answer() -> None:
        if waiting:
            indices, crops, matrices = zip(*waiting)
            points.update(zip(indices, to_image(predictor(np.stack(crops)), np.stack(matrices))))
            waiting.clear()

    for index in progress(range(len(dataset))):
        try:
            face = dataset[index]
            box = face.box if boxes is None else boxes(index, face.image)
            if box is None:
                skipped[dataset.names[index]] = "no face was found"
                continue
            if passes > 1:
                points[index] = locate(predictor, face.image, [box], passes)[0]
                continue
            crops, matrices = crop_faces(face.image, [box], predictor.spec)
            waiting.append((index, crops[0], matrices[0]))
        except (OSError, ValueError) as error:
            skipped[dataset.names[index]] = str(error)
        if len(waiting) == predictor.batch_size:
            answer()
    answer()
    return _by_face(points, len(dataset), dataset.markup.num_landmarks), skipped


def _by_face(points: dict[int, np.ndarray], count: int, num_landmarks: int) -> np.ndarray:
    """Points (..., K, 2) of some of `count` faces, by index -> (count, ..., K, 2), NaN for the others."""
    stages = next(iter(points.values())).shape[:-2] if points else ()
    together = np.full((count, *stages, num_landmarks, 2), np.nan)
    for index, face in points.items():
        together[index] = face
    return together
