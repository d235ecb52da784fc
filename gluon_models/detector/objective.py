"""The face detector's objective: GluonCV's transform, targets and four losses."""

from __future__ import annotations

import random
from typing import Any, Sequence

import mxnet as mx
import numpy as np
from mxnet import gluon

from gluon_models.detector.gluoncv_parts import FasterRCNN, FasterRCNNDefaultTrainTransform, FasterRCNNTrainBatchify
from gluon_models.detector.network import limit_short_side
from gluon_models.objective import BatchObjective

RPN_TRANSITION, BOX_TRANSITION = 1 / 9, 1.0  # where the box losses turn from squared to absolute [B5]


class DetectorSamples:
    """Turns photos and boxes into batches of arrays; random as GluonCV's transform is.

    Args:
        net: initialised; sets sizes and anchors.
        flip_probability: share of mirrored photos.
        scales: smallest and largest size of a photo, as shares of the detector's own.
    """

    def __init__(self, net: FasterRCNN, flip_probability: float, scales: tuple[float, float]) -> None:
        short = tuple(round(net.short * scale) for scale in scales)
        several = net.num_stages > 1
        self._limit = 2 * short[1]
        self._transform = FasterRCNNDefaultTrainTransform(
            short, net.max_size, net, flip_p=flip_probability, ashape=net.ashape, multi_stage=several
        )
        self._batchify = FasterRCNNTrainBatchify(net)

    def __call__(self, photos: Sequence[tuple[np.ndarray, np.ndarray]], seed: Sequence[int]) -> list[np.ndarray]:
        """A batch of photos, padded with black to the size of the largest.

        Args:
            photos: image (H, W, 3) uint8 RGB and boxes (n, 4), n > 0, of each.
            seed: of all that is random in it.

        Returns:
            images (N, 3, H, W), labels (N, M, 5), which are boxes and class or all -1, and for the A anchors classes
            (N, A) of 1, 0 or -1 for neither, box targets (N, A, 4) and which of these count (N, A, 4).
        """
        # GluonCV draws from the generators of Python and NumPy that all code shares; what others draw stays as it was.
        states = random.getstate(), np.random.get_state()  # noqa: NPY002
        first, second = np.random.SeedSequence(seed).generate_state(2)
        random.seed(int(first))
        np.random.seed(second)  # noqa: NPY002
        try:
            images, labels, *targets = self._batchify([self._one(image, boxes) for image, boxes in photos])
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002
        # GluonCV divides targets among devices, of which this is told one.
        return [array.asnumpy() for array in (images, labels, *(shards[0] for shards in targets))]

    def _one(self, image: np.ndarray, boxes: np.ndarray) -> tuple[mx.nd.NDArray, ...]:
        small = limit_short_side(image, self._limit)
        size, small_size = (np.array([each.shape[1], each.shape[0]] * 2, np.float64) for each in (image, small))
        # Regions never reach beyond the photo, so neither may what they are compared with.
        inside = np.clip(boxes, 0, size) * small_size / size
        label = np.hstack([inside, np.zeros((len(boxes), 1))])
        return self._transform(mx.nd.array(small, dtype="uint8"), label)


class DetectorObjective(BatchObjective):
    """GluonCV's losses: class and box of the anchors, class and box of the regions, each summed over what counts."""

    def __init__(self) -> None:
        self._anchor_class = gluon.loss.SigmoidBinaryCrossEntropyLoss(from_sigmoid=False)
        self._anchor_box = gluon.loss.HuberLoss(rho=RPN_TRANSITION)
        self._region_class = gluon.loss.SoftmaxCrossEntropyLoss()
        self._region_box = gluon.loss.HuberLoss(rho=BOX_TRANSITION)

    def prepare(self, net: FasterRCNN, arrays: Sequence[np.ndarray], context: mx.Context) -> Sequence[Any]:
        """Uploads arrays as `DetectorSamples` makes them."""
        return [mx.nd.array(array, context) for array in arrays]

    def losses(self, net: FasterRCNN, prepared: Sequence[Any], context: mx.Context) -> dict[str, mx.nd.NDArray]:
        """Losses (N,) of each photo, by name."""
        images, labels, classes, boxes, box_masks = prepared
        outputs = net(images, labels[:, :, :4], labels[:, :, 4:5])
        region_scores, region_boxes, _, _, _, scores, offsets, _, region_classes, region_targets, region_masks, _ = (
            outputs
        )
        # GluonCV takes each sum over the number of samples that count, in all photos of a device together.
        counted = classes >= 0
        anchors = counted.sum() / len(images)
        regions = (region_classes >= 0).sum() / len(images)
        region_counted = region_classes.expand_dims(-1) >= 0
        return {
            "anchor_class": self._anchor_class(scores.squeeze(axis=-1), classes, counted) * classes[0].size / anchors,
            "anchor_box": self._anchor_box(offsets, boxes, box_masks) * offsets[0].size / anchors,
            "region_class": self._region_class(region_scores, region_classes, region_counted)
            * region_classes[0].size
            / regions,
            "region_box": self._region_box(region_boxes, region_targets, region_masks) * region_boxes[0].size / regions,
        }
