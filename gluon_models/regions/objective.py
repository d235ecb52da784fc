"""The region networks' objective: one loss per network, all from the same crops."""

from __future__ import annotations

from typing import Callable, Sequence

import mxnet as mx
import numpy as np
from mxnet import autograd

from gluon_models.points import make_point_loss, point_targets
from gluon_models.regions.crop import OFFSET, widen
from gluon_models.regions.network import RegionCascade, is_frozen
from gluon_models.regions.parts import PARTS, Indices
from gluon_models.spec import InputSpec, NetworkInput


class RegionObjective:
    """The direct network's points, the box network's corners and every part's points, each against the annotation.

    The networks share no parameter, so that adding their losses trains each of them as if alone [R12]. A part is cut
    by the box of its annotated points with each side moved at random (Sec. 4: "an offset with a small random noise").
    All errors are in pixels of the face crop.

    Args:
        loss: one of `gluon_models.points.POINT_LOSSES`.
        spec: how the networks see a face.
        eye_corners: the outer corners of right and left eye, whose distance normalizes some of the losses; None for the
            size of the box of the landmarks.
        contexts: devices that batches will come on.
    """

    def __init__(
        self, loss: str, spec: InputSpec, eye_corners: tuple[int, int] | None, contexts: Sequence[mx.Context]
    ) -> None:
        self._loss, self._size, self._eye_corners = make_point_loss(loss), spec.size, eye_corners
        self._input = NetworkInput(spec, contexts)

    def __call__(
        self, net: RegionCascade, arrays: Sequence[np.ndarray], context: mx.Context
    ) -> dict[str, mx.nd.NDArray]:
        """Crops (N, S, S, 3) uint8 and points_crop (N, K, 2), NaN where not annotated -> the (N,) of each network.

        Networks that are frozen have no term.
        """
        crops, points_crop = arrays
        faces = self._input(crops, context)
        compare = self._comparison(points_crop, context)
        boxes_crop = part_boxes(points_crop, net.layout.indices)
        terms = {}
        if net.direct and not is_frozen(net.direct):
            terms["direct"] = compare(net.direct(faces), points_crop)
        if net.boxes and not is_frozen(net.boxes):
            corners = boxes_crop[:, : len(PARTS)].reshape(len(crops), -1, 2)
            terms["boxes"] = compare(net.boxes(faces).reshape(corners.shape), corners)
        for network, indices, box in zip(net.parts, net.layout.indices, boxes_crop.swapaxes(0, 1)):
            if not is_frozen(network):
                placed = network(faces, self._moved(box, context))
                terms[network.part.name] = compare(placed, points_crop[:, list(indices)])
        return terms

    def _comparison(
        self, points_crop: np.ndarray, context: mx.Context
    ) -> Callable[[mx.nd.NDArray, np.ndarray], mx.nd.NDArray]:
        """A function that compares fractions with pixels of these faces' crops, both (N, any, 2) -> loss (N,)."""
        eye_distance = point_targets(points_crop, self._eye_corners, self._loss.normalized, context).eye_distance

        def compare(fractions: mx.nd.NDArray, truth_crop: np.ndarray) -> mx.nd.NDArray:
            truth, known, _ = point_targets(truth_crop, (0, 0), False, context)
            return self._loss(fractions * self._size - 0.5, truth, known, eye_distance)

        return compare

    def _moved(self, boxes_crop: np.ndarray, context: mx.Context) -> mx.nd.NDArray:
        """Boxes (N, 4) in pixels of the crop -> fractions, with room around them and their sides moved at random."""
        # The crop itself stands for the box of a part without landmarks, on which no loss counts.
        whole = np.array([-0.5, -0.5, self._size - 0.5, self._size - 0.5])
        boxes_crop = np.where(np.isfinite(boxes_crop), boxes_crop, whole)
        with autograd.pause():
            boxes = mx.nd.array((boxes_crop + 0.5) / self._size, context)
            offsets = mx.nd.random.uniform(-OFFSET, OFFSET, boxes.shape, ctx=context)
            return widen(mx.nd, boxes, offsets)


def part_boxes(points_crop: np.ndarray, parts: Sequence[Indices]) -> np.ndarray:
    """The tight box of each part's landmarks: (N, K, 2) -> (N, parts, 4), NaN where one of them is not annotated."""
    each = [points_crop[:, list(indices)] for indices in parts]
    return np.stack([np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1) for points in each], axis=1)
