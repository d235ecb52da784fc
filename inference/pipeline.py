"""The one way of a face: box, crop by one matrix, network, the matrix back.

Validation during training, evaluation and prediction all take it.
"""

from __future__ import annotations

from typing import Any, Callable, Iterable, Iterator, NamedTuple, Protocol, Sequence

import mxnet as mx
import numpy as np
from mxnet.gluon import HybridBlock

from datasets.faces import Face, FaceDataset
from datasets.geometry import invert, transform_points, warp_image
from datasets.heatmaps import HeatmapCodec
from datasets.markups import Markup
from gluon_models.spec import NETWORK_LOCK, InputSpec, NetworkInput
from inference.fused import fused
from inference.shape_model import PAPER_SIDE, ShapeFitter, ShapeModel
from inference.tilt import TiltedBox, is_tilted, upright_box

BATCH_SIZE = 64  # crops that run together at most, unless a caller says otherwise
MOST_TURNS = 2  # passes more, each in a crop turned further


class Predictor(Protocol):
    """From crops to points, as `PointPredictor`, `StagePredictor` and `inference.ensembles.AugmentedPredictor` do."""

    @property
    def spec(self) -> InputSpec:
        """How the network sees a face."""
        ...

    @property
    def batch_size(self) -> int:
        """Crops that run together at most."""
        ...

    @property
    def markup(self) -> Markup | None:
        """Of its points; without it tilted faces are not cropped upright."""
        ...

    def __call__(self, crops: np.ndarray) -> np.ndarray:
        """Crops (n, S, S, 3) uint8 RGB -> points_crop (n, K, 2) or (n, stages, K, 2)."""
        ...


class PointPredictor:
    """Runs a network on crops; on a CPU in the form that oneDNN fuses, whose outputs differ by rounding.

    Make a new one after the network's parameters have changed.

    Args:
        net: initialised, its parameters on `ctx`.
        spec: how it sees a face.
        ctx: one context; CPU by default.
        batch_size: crops run together at most.
        decoding: how heatmaps become points, see `datasets.heatmaps`; the spec's if None.
        shape_model: fitted to the heatmaps instead (LGCN, Sec. 3.3).
        shape_prior: see `inference.shape_model.ShapeFitter`.
        markup: of the points; without it tilted faces are not cropped upright.

    Attributes:
        run: the network as this device runs it.

    Raises:
        ValueError: a decoding or a shape model for a network that predicts points, or both of them.
    """

    def __init__(
        self,
        net: HybridBlock,
        spec: InputSpec,
        ctx: Any = None,
        batch_size: int = BATCH_SIZE,
        decoding: str | None = None,
        shape_model: ShapeModel | None = None,
        shape_prior: bool = False,
        markup: Markup | None = None,
    ) -> None:
        if spec.output != "heatmaps" and (decoding or shape_model):
            raise ValueError("this network predicts points, not heatmaps: leave out the decoding and the shape model")
        if decoding and shape_model:
            raise ValueError("a shape model needs no decoding of the heatmaps: give one of the two")
        self.net, self.spec, self.markup = net, spec, markup
        self._decoding = decoding or spec.decoding
        self._fitter = shape_fitter(shape_model, spec, shape_prior) if shape_model else None
        self._ctx = ctx or mx.cpu()
        faces_at_once = 1 if spec.output == "heatmaps" else 8  # whose layers stay in a processor's cache, measured
        values_at_once = faces_at_once * len(spec.mean) * spec.size**2
        self.run = fused(net, values_at_once) if self._ctx.device_type == "cpu" else net
        self.batch_size = batch_size
        self._input = NetworkInput(spec, [self._ctx])

    def __call__(self, crops: np.ndarray) -> np.ndarray:
        """Crops (n, S, S, 3) uint8 RGB -> points_crop (n, K, 2) float64, in pixels of the crop."""
        return np.concatenate([self._points(self.output(part)) for part in _parts(crops, self.batch_size)])

    def stages(self, crops: np.ndarray) -> np.ndarray:
        """Crops -> the points of every stage (n, stages, K, 2), the last as `__call__` returns them.

        A network without `all_stages` counts as one stage.
        """
        return np.concatenate([self._stages(part) for part in _parts(crops, self.batch_size)])

    @property
    def has_stages(self) -> bool:
        """Whether the network has several outputs that are read alike; a shape model reads the last one alone."""
        return self._fitter is None and hasattr(self.net, "all_stages")

    def output(self, crops: np.ndarray) -> np.ndarray:
        """The network's output for crops (n, H, W, 3), all run at once: points or heatmaps, float32."""
        with NETWORK_LOCK:
            return _numbers(self.run(self._input(crops, self._ctx)))

    def _stages(self, crops: np.ndarray) -> np.ndarray:
        with NETWORK_LOCK:
            faces = self._input(crops, self._ctx)
            outputs = self.run.all_stages(faces) if hasattr(self.run, "all_stages") else [self.run(faces)]
            # One after another, as heatmaps take much memory.
            return np.stack([self._points(_numbers(output)) for output in outputs], axis=1)

    def _points(self, output: np.ndarray) -> np.ndarray:
        if self._fitter is None:
            return points_from_output(output, self.spec, self._decoding)
        points_heatmap = np.stack([self._fitter(heatmaps).points for heatmaps in output])
        return heatmap_codec(self.spec).to_crop(points_heatmap)


def _numbers(output: mx.nd.NDArray) -> np.ndarray:
    """An output as float32, whatever the network's precision; NumPy has no bfloat16."""
    return output.astype("float32", copy=False).asnumpy()


class StagePredictor:
    """Predicts the points of all stages of a network, (n, stages, K, 2), in the place of a PointPredictor.

    Args:
        predictor: of the network.
    """

    def __init__(self, predictor: PointPredictor) -> None:
        self.spec, self.batch_size, self.markup = predictor.spec, predictor.batch_size, predictor.markup
        self._predictor = predictor

    def __call__(self, crops: np.ndarray) -> np.ndarray:
        """Crops (n, S, S, 3) uint8 RGB -> points_crop (n, stages, K, 2), in pixels of the crop."""
        return self._predictor.stages(crops)


def shape_fitter(model: ShapeModel, spec: InputSpec, prior: bool = False) -> ShapeFitter:
    """Fits a shape model to the heatmaps of a network."""
    return ShapeFitter(model, spec.size / PAPER_SIDE / spec.stride, prior)


def heatmap_codec(spec: InputSpec) -> HeatmapCodec:
    """Takes heatmaps of a network to points of its crops."""
    return HeatmapCodec(spec.size // spec.stride, spec.stride, spec.sigma)


def points_from_output(output: np.ndarray, spec: InputSpec, decoding: str | None = None) -> np.ndarray:
    """A network's output, points (n, K, 2) or heatmaps (n, K, H, W) -> points_crop (n, K, 2) float64."""
    if spec.output == "heatmaps":
        return heatmap_codec(spec).decode(output, decoding or spec.decoding)
    return points_from_fractions(output.astype(np.float64), spec.size)


def points_from_fractions(fractions: np.ndarray, size: int) -> np.ndarray:
    """Fractions of the crop (..., 2) -> pixels of the crop."""
    return fractions * size - 0.5


def crop_faces(image: np.ndarray, boxes: Sequence[np.ndarray], spec: InputSpec) -> tuple[np.ndarray, np.ndarray]:
    """Cuts faces out of one image, see `crop_places`."""
    return crop_places([image] * len(boxes), [TiltedBox(box) for box in boxes], spec)


def crop_places(
    images: Sequence[np.ndarray], places: Sequence[TiltedBox], spec: InputSpec
) -> tuple[np.ndarray, np.ndarray]:
    """Cuts a face out of each image.

    Returns:
        crops (n, S, S, 3) uint8 and matrices (n, 2, 3), image to crop.
    """
    matrices = np.stack([place.matrix(spec) for place in places])
    return np.stack([warp_image(image, matrix, spec.size) for image, matrix in zip(images, matrices)]), matrices


def locate(predictor: Predictor, image: np.ndarray, boxes: Sequence[np.ndarray], passes: int = 1) -> np.ndarray:
    """Landmarks (n, K, 2) in pixels of the image for n boxes (4,) in it, n at least 1; or (n, stages, K, 2).

    Each pass after the first crops by the tight box of the points before it, turned upright, so the source of the box
    matters less. A face that turns out to be tilted in its crop gets up to `MOST_TURNS` passes more.

    Raises:
        ValueError: a box without area, or a network that predicts NaN.
    """
    return locate_in_images(predictor, [image] * len(boxes), boxes, passes)


def locate_in_images(
    predictor: Predictor, images: Sequence[np.ndarray], boxes: Sequence[np.ndarray], passes: int = 1
) -> np.ndarray:
    """As `locate`, of n boxes each with its own image."""
    places = [TiltedBox(box) for box in boxes]
    points_image = locate_at(predictor, images, places)
    for number in range(1, passes + MOST_TURNS):
        last_stage = points_image if points_image.ndim == 3 else points_image[:, -1]
        following = [upright_box(points, predictor.markup) for points in last_stage]
        again = [k for k, (old, new) in enumerate(zip(places, following)) if number < passes or is_tilted(new, old)]
        if not again:
            break
        places = [new if k in again else old for k, (old, new) in enumerate(zip(places, following))]
        points_image[again] = locate_at(predictor, [images[k] for k in again], [places[k] for k in again])
    return points_image


def locate_at(predictor: Predictor, images: Sequence[np.ndarray], places: Sequence[TiltedBox]) -> np.ndarray:
    """Landmarks (n, K, 2) by one pass over n places, at least one, each with its own image; errors as of `locate`."""
    found = []
    for part in _groups(list(zip(images, places))):
        crops, matrices = crop_places(*zip(*part), predictor.spec)
        found.append(to_image(predictor(crops), matrices))
    points_image = np.concatenate(found)
    if not np.isfinite(points_image).all():
        raise ValueError("the network predicts points that are no numbers: its weights are damaged, use others")
    return points_image


def _parts(boxes: Sequence[np.ndarray], size: int) -> Iterator[Sequence[np.ndarray]]:
    """At most `size` at a time, so that the crops of hundreds of faces need no more memory than those of a batch."""
    for start in range(0, len(boxes), size):
        yield boxes[start : start + size]


GROUP_SIZES = (8, 2, 1)  # faces of a photo that run together


def _groups(faces: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Faces in groups of few sizes: MXNet keeps memory for each number of faces that it ever ran together."""
    start = 0
    while start < len(faces):
        size = next(size for size in GROUP_SIZES if size <= len(faces) - start)
        yield faces[start : start + size]
        start += size


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


def predict_cropped(predictor: Predictor, faces: CroppedFaces) -> np.ndarray:
    """Landmarks (n, K, 2) in pixels of each face's image, or (n, stages, K, 2)."""
    return to_image(predictor(faces.crops), faces.matrices)


class PredictedFaces(NamedTuple):
    """What a network predicts for the n faces of a data set, beside what is annotated.

    Attributes:
        points_image: (n, K, 2) pixels of the photos, or (n, stages, K, 2); NaN for a face that was left out.
        truth_image: (n, K, 2) pixels; NaN for a face that could not be read.
        boxes: (n, 4) pixels, what each face was cropped by at first; NaN for a face that was left out.
        skipped: why a face was left out, by its name.
    """

    points_image: np.ndarray
    truth_image: np.ndarray
    boxes: np.ndarray
    skipped: dict[str, str]


def predict_dataset(
    predictor: Predictor,
    dataset: FaceDataset,
    find_box: Callable[[Face], np.ndarray | None] | None = None,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
    passes: int = 1,
) -> PredictedFaces:
    """Predicts every face of a data set, which is read once, and goes on past faces that cannot be read or found.

    Args:
        predictor: the network.
        dataset: the faces.
        find_box: from a face to its box (4,), or to None if it is not found; by default the data set's own box.
        progress: wraps the indices, to show a bar.
        passes: over each face, see `locate`; with more than one, faces run one by one.
    """
    count, num_landmarks = len(dataset), dataset.markup.num_landmarks
    truth, boxes = np.full((count, num_landmarks, 2), np.nan), np.full((count, 4), np.nan)
    points: dict[int, np.ndarray] = {}
    skipped: dict[str, str] = {}
    waiting: list[tuple[int, np.ndarray, np.ndarray]] = []

    def run() -> None:
        if waiting:
            indices, crops, matrices = zip(*waiting)
            points.update(zip(indices, to_image(predictor(np.stack(crops)), np.stack(matrices))))
            waiting.clear()

    for index in progress(range(count)):
        try:
            face = dataset[index]
            truth[index] = face.points_image
            box = face.box if find_box is None else find_box(face)
            if box is None:
                skipped[dataset.names[index]] = "no face was found"
                continue
            if passes > 1:
                points[index] = locate(predictor, face.image, [box], passes)[0]
            else:
                crops, matrices = crop_faces(face.image, [box], predictor.spec)
                waiting.append((index, crops[0], matrices[0]))
            boxes[index] = box
        except (OSError, ValueError) as error:
            skipped[dataset.names[index]] = str(error)
        # Whatever face is left out, the others run together with the same ones.
        if (index + 1) % predictor.batch_size == 0:
            run()
    run()
    return PredictedFaces(_by_face(points, count, num_landmarks), truth, boxes, skipped)


def _by_face(points: dict[int, np.ndarray], count: int, num_landmarks: int) -> np.ndarray:
    """Points (..., K, 2) of some of `count` faces, by index -> (count, ..., K, 2), NaN for the others."""
    stages = next(iter(points.values())).shape[:-2] if points else ()
    together = np.full((count, *stages, num_landmarks, 2), np.nan)
    for index, face in points.items():
        together[index] = face
    return together
