"""A small one-stage face detector: quarter-width ResNet-18 and a CenterNet-like head with one class.

X. Zhou, D. Wang, P. Krähenbühl, "Objects as Points", 2019: a heatmap of centres and its focal loss; Z. Liu et al.,
"Training-Time-Friendly Network for Real-Time Object Detection", AAAI 2020: the box's four sides around every cell near
a centre; T.-Y. Lin et al., "Feature Pyramid Networks for Object Detection", CVPR 2017: the way up to stride 4.

Maps photos (N, 3, H, W), H and W multiples of 32, RGB scaled to [-1, 1], to the logits of a face's centre
(N, 1, H/4, W/4) and the logarithms of the distances to the box's left, top, right and bottom, in cells
(N, 4, H/4, W/4). `CenterBoxes` turns these into what finds faces.
Here:  python train_detector.py --model centernet_slim --dataset face_boxes --data DIR --backbone FILE --out RUN
       python -m tools.evaluate_detector --detector centernet_slim --weights RUN/best.params --data DIR

Numbers in brackets, such as [B13], point into docs/face_detector.md.
"""

from __future__ import annotations

import os
from typing import Any, Callable, Mapping, NamedTuple, Sequence

import cv2
import mxnet as mx
import numpy as np
from mxnet.gluon import nn

from common.boxes import overlaps
from gluon_models.blocks import basic_block, conv_bn
from gluon_models.detector.network import Recipe
from gluon_models.ffld.network import SPEC, resnet18_slim
from gluon_models.parameter_files import read_parameters
from gluon_models.spec import NetworkInput

NAME = "centernet_slim"
STRIDE = 4  # pixels per cell
LAST_CHANNELS = 128  # of the backbone
WIDTHS = (64, 64, 48, 32)  # channels of the maps on the way up, strides 32 to 4
PRIOR = 0.01  # probability of a face that every cell starts from
BOX_WEIGHT = 3.0  # of the loss of boxes beside that of centres
SIDE_STEP = 32  # pixels: sides of an input are multiples
LEAST_BILINEAR = 0.5  # zoom from which neighbours alone are read; the mean over areas takes as long as half the network
LEAST_RANKED = 0.02  # score from which boxes are ranked where none is asked for


class Look(NamedTuple):
    """One of the sizes at which the network sees a photo.

    Attributes:
        short_side: pixels of the photo's shorter side; the longer one has at most twice as many.
        least_face: square root of the area of the smallest face that counts, pixels at this size.
        padded_step: pixels; the sides of the input are multiples of it. A larger step makes fewer sizes, for each of
            which MXNet plans and keeps 20 MB.
    """

    short_side: int
    least_face: float
    padded_step: int


LOOKS = {"first": Look(320, 0.0, SIDE_STEP), "closer": Look(448, 0.0, 64), "farther": Look(128, 64.0, 64)}
"""The first is nearly Faster R-CNN's. On a photo that has as many pixels and a doubtful face, the closer one decides on
what that one saw; the farther one adds faces that fill the photo, where none is sure, for a quarter of its time."""
DOUBTFUL = (0.15, 0.3)  # least score of a doubtful face, and of one that counts [B17]
FULL_SIZE, SIZE_POWER = 64.0, 0.6  # pixels at a look; a smaller face scores less, by this power of its size [B17]
SAME = 0.3  # IoU of one face's boxes in both looks
SURE = 0.4  # score of a sure face

Network = Callable[[mx.nd.NDArray], mx.nd.NDArray]

RECIPE = Recipe(
    epochs=20,
    batch_size=16,
    optimizer="adam",
    learning_rate=2e-3,
    schedule="cosine",
    warmup_epochs=0.5,
    weight_decay=1e-4,
    smallest_scale=None,
    largest_scale=None,
    average_decay=0.998,
)
"""For an hour on a CPU core, from the landmark network's backbone [B16]."""


class CenterNet(nn.HybridBlock):
    """The backbone of FFLD's baseline, a pyramid down to stride 4, and two outputs there [B13]."""

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        with self.name_scope():
            slim = resnet18_slim()
            self.stem, self.pool, self.stages = slim.stem, slim.pool, slim.stages
            self.context = basic_block(LAST_CHANNELS, LAST_CHANNELS)
            self.lateral = nn.HybridSequential()
            self.smooth = nn.HybridSequential()
            for own, following in zip(WIDTHS, (*WIDTHS[1:], WIDTHS[-1])):
                self.lateral.add(conv_bn(own, 1, relu=False))
                self.smooth.add(conv_bn(following, 3))
            self.head = conv_bn(WIDTHS[-1], 3)
            self.centre = nn.Conv2D(1, 1, bias_initializer=mx.init.Constant(float(np.log(PRIOR / (1 - PRIOR)))))
            self.sides = nn.Conv2D(4, 1, bias_initializer=mx.init.Constant(1.0))

    def hybrid_forward(self, F, photos):
        """photos (N, 3, H, W) -> centre logits (N, 1, H/4, W/4) and log distances in cells (N, 4, H/4, W/4)."""
        features, maps = self.pool(self.stem(photos)), []
        for stage in self.stages:
            features = stage(features)
            maps.append(features)
        maps[-1] = self.context(maps[-1])
        joined = None
        for finer, lateral, smooth in zip(reversed(maps), self.lateral, self.smooth):
            own = lateral(finer)
            joined = smooth(own if joined is None else own + F.UpSampling(joined, scale=2, sample_type="nearest"))
        joined = self.head(joined)
        return self.centre(joined), self.sides(joined)


def initialise(net: CenterNet, contexts: Sequence[mx.Context], seed: int) -> None:
    """Random weights from `seed`, every parameter's shape settled by one run."""
    mx.random.seed(seed)
    net.initialize(mx.init.Xavier(), ctx=list(contexts))
    net.hybridize(static_alloc=True)
    for context in contexts:
        net(mx.nd.zeros((1, 3, 2 * SIDE_STEP, 2 * SIDE_STEP), ctx=context))


def fill_backbone(net: CenterNet, path: str | os.PathLike[str]) -> None:
    """Fills stem and stages from weights of `resnet18_slim`, of any number of landmarks.

    Raises:
        FileNotFoundError, ValueError: there is no such file, or it is of another network.
    """
    stored = read_parameters(path)
    own = {
        name: parameter
        for name, parameter in net._collect_params_with_prefix().items()
        if name.startswith(("stem.", "stages."))
    }
    if any(name not in stored or stored[name].shape != parameter.shape for name, parameter in own.items()):
        raise ValueError(f"{path} does not hold resnet18_slim: name weights of that network")
    for name, parameter in own.items():
        parameter.set_data(stored[name].astype("float32"))


class CenterObjective:
    """The focal loss of CenterNet on the heatmap, and the generalised IoU of the boxes, per face of the batch.

    Args:
        contexts: devices that it runs on.
    """

    def __init__(self, contexts: Sequence[mx.Context]) -> None:
        self._input = NetworkInput(SPEC, contexts)

    def __call__(self, net: CenterNet, arrays: Sequence[np.ndarray], context: mx.Context) -> dict[str, mx.nd.NDArray]:
        """Losses (N,) of each photo, by name; arrays as `datasets.detection.centers.center_batch` makes them."""
        photos = self._input(arrays[0], context)
        heat, counts, wanted, weights = (mx.nd.array(array, context) for array in arrays[1:])
        logits, sides = net(photos)
        faces = max(1.0, float(arrays[4].sum())) / len(photos)  # the weights of each add up to 1
        return {
            "centre": focal_loss(logits, heat, counts) / faces,
            "box": BOX_WEIGHT * (weights * giou_loss(distances_of(mx.nd, sides), wanted)).sum(axis=(1, 2, 3)) / faces,
        }


def distances_of(F: Any, sides: Any) -> Any:
    """The second output as distances in cells, bounded so that a first step cannot overflow."""
    return F.exp(F.clip(sides, -4, 5.5))


def focal_loss(logits: mx.nd.NDArray, heat: mx.nd.NDArray, counts: mx.nd.NDArray) -> mx.nd.NDArray:
    """CenterNet's Eq. 1, summed over cells (N,): exponents 2 on the probability, 4 on the distance from a centre."""
    log_yes = -mx.nd.Activation(-logits, "softrelu")
    log_no = -mx.nd.Activation(logits, "softrelu")
    yes = mx.nd.sigmoid(logits)
    centre = heat == 1
    loss = -mx.nd.where(centre, (1 - yes) ** 2 * log_yes, (1 - heat) ** 4 * yes**2 * log_no)
    return (loss * counts).sum(axis=(1, 2, 3))


def giou_loss(found: mx.nd.NDArray, wanted: mx.nd.NDArray) -> mx.nd.NDArray:
    """1 - generalised IoU (N, 1, h, w) of two boxes around the same cell, by their distances (N, 4, h, w) from it."""

    def extent(distances: mx.nd.NDArray) -> tuple[mx.nd.NDArray, mx.nd.NDArray]:
        left, top, right, bottom = distances.split(4, axis=1)
        return left + right, top + bottom

    def area(distances: mx.nd.NDArray) -> mx.nd.NDArray:
        width, height = extent(distances)
        return width * height

    shared = area(mx.nd.minimum(found, wanted))
    union = area(found) + area(wanted) - shared
    hull = area(mx.nd.maximum(found, wanted))
    return 1 - shared / union + (hull - union) / hull


class CenterBoxes(nn.HybridBlock):
    """What finds faces: the probability that a cell is a face's centre, and the distances from it to the box."""

    def __init__(self, net: CenterNet, **kwargs: Any):
        super().__init__(**kwargs)
        self.net = net

    def hybrid_forward(self, F, photos):
        """photos (N, 3, H, W) -> a probability and four distances in pixels (N, 5, H/4, W/4)."""
        logits, sides = self.net(photos)
        return F.concat(F.sigmoid(logits), STRIDE * distances_of(F, sides), dim=1)


def fitted_input(image: np.ndarray, look: Look) -> tuple[np.ndarray, np.ndarray]:
    """A photo (H, W, 3) uint8 RGB as the network takes it, and the factors (4,) that take the sides of boxes back.

    The photo is resized to the look and padded with black at right and bottom.
    """
    height, width = image.shape[:2]
    zoom = min(look.short_side / min(height, width), 2 * look.short_side / max(height, width))
    size = (max(1, round(width * zoom)), max(1, round(height * zoom)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if zoom < LEAST_BILINEAR else cv2.INTER_LINEAR)
    padded_sides = [max(look.short_side, -(-side // look.padded_step) * look.padded_step) for side in size]
    padded = np.zeros((padded_sides[1], padded_sides[0], 3), np.uint8)
    padded[: size[1], : size[0]] = small
    return padded, np.array([width / size[0], height / size[1]] * 2)


def read_boxes(found: np.ndarray, least_score: float) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (n, 4) in pixels of the input and their scores (n,), of cells that have no higher neighbour.

    Args:
        found: (5, h, w), the output of `CenterBoxes` for one photo.
        least_score: of a box.
    """
    peaks = found[0] == cv2.dilate(found[0], np.ones((3, 3), np.uint8))
    rows, columns = np.nonzero(peaks & (found[0] >= least_score))
    scores, *distances = found[:, rows, columns].astype(np.float64)
    centres, near, far = STRIDE * (np.stack([columns, rows]) + 0.5), np.stack(distances[:2]), np.stack(distances[2:])
    return np.concatenate([centres - near, centres + far]).T, scores


def highest_boxes(boxes: np.ndarray, scores: np.ndarray, largest_overlap: float) -> tuple[np.ndarray, np.ndarray]:
    """The boxes (n, 4) and scores (n,), the highest first, that no higher one overlaps by more than an IoU."""
    corner_and_size = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    kept = np.array(cv2.dnn.NMSBoxes(corner_and_size, scores, 0.0, largest_overlap), int)
    return boxes[kept], scores[kept]


class CenterFinder:
    """Finds the faces of photos.

    Args:
        net: filled.
        context: where it runs.
        prepare: makes what runs of the network, once for each size of input, of which there are few: memory stays
            bounded, and MXNet plans none twice when photos of several shapes follow one another.
        looks: as `LOOKS`.
    """

    def __init__(
        self,
        net: CenterNet,
        context: mx.Context,
        prepare: Callable[[CenterBoxes], Network] = lambda block: block,
        looks: Mapping[str, Look] = LOOKS,
    ) -> None:
        self._looks = looks
        self._context, self._block, self._prepare = context, CenterBoxes(net), prepare
        self._input = NetworkInput(SPEC, [context])
        self._prepared: dict[tuple[int, ...], Network] = {}

    def __call__(
        self, image: np.ndarray, least_score: float = LEAST_RANKED, largest_overlap: float = 0.3
    ) -> tuple[np.ndarray, np.ndarray]:
        """Boxes (n, 4) in pixels of image (H, W, 3) uint8 RGB and their scores (n,), the highest first."""
        least = min(least_score, DOUBTFUL[0])
        boxes, scores = highest_boxes(*self._look(image, self._looks["first"], least), largest_overlap)
        seen = boxes[scores >= DOUBTFUL[0]]
        doubtful = ((scores >= DOUBTFUL[0]) & (scores < DOUBTFUL[1])).any()
        if doubtful and min(image.shape[:2]) >= self._looks["closer"].short_side:
            boxes, scores = self._look(image, self._looks["closer"], least)
            again = (overlaps(boxes, seen) >= SAME).any(axis=1)
            boxes, scores = boxes[again], scores[again]
        if scores.max(initial=0) < SURE:
            further = self._look(image, self._looks["farther"], least)
            boxes, scores = np.concatenate([boxes, further[0]]), np.concatenate([scores, further[1]])
        counts = scores >= least_score
        return highest_boxes(boxes[counts], scores[counts], largest_overlap)

    def _look(self, image: np.ndarray, look: Look, least_score: float) -> tuple[np.ndarray, np.ndarray]:
        padded, factors = fitted_input(image, look)
        if padded.shape not in self._prepared:
            self._prepared[padded.shape] = self._prepare(self._block)
        found = self._prepared[padded.shape](self._input(padded[None], self._context))[0].asnumpy()
        boxes, scores = read_boxes(found, least_score)
        sizes = np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))
        scores = scores * np.minimum(1, sizes / FULL_SIZE) ** SIZE_POWER
        counts = (sizes >= look.least_face) & (scores >= least_score)
        return boxes[counts] * factors, scores[counts]
