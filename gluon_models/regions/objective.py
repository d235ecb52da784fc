"""The region networks' objective: one loss per network, all from the same crops."""

from __future__ import annotations

from typing import Any, NamedTuple, Sequence

import mxnet as mx
import numpy as np
from mxnet import autograd

from gluon_models.objective import BatchObjective
from gluon_models.points import make_point_loss, point_targets
from gluon_models.regions.crop import OFFSET, widen
from gluon_models.regions.network import RegionCascade, is_frozen
from gluon_models.regions.parts import PARTS, Indices
from gluon_models.spec import InputSpec, NetworkInput, upload_crops


class Targets(NamedTuple):
    """What the points of one network are compared with: truth (N, any, 2) in pixels of the crop and known (N, any, 1).

    Attributes:
        truth: see above.
        known: see above.
        box: (N, 4) of the part as fractions of the crop, None for networks that see the whole face.
    """

    truth: mx.nd.NDArray
    known: mx.nd.NDArray
    box: mx.nd.NDArray | None = None


class RegionObjective(BatchObjective):
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

    def prepare(self, net: RegionCascade, arrays: Sequence[np.ndarray], context: mx.Context) -> Sequence[Any]:
        """Uploads crops (N, S, S, 3) uint8 and, for each network, points_crop (N, K, 2), NaN where not annotated."""
        crops, points_crop = arrays
        eye_distance = point_targets(points_crop, self._eye_corners, self._loss.normalized, context).eye_distance
        boxes_crop = part_boxes(points_crop, net.layout.indices)
        targets = {}
        if net.direct and not is_frozen(net.direct):
            targets["direct"] = _targets(points_crop, context)
        if net.boxes and not is_frozen(net.boxes):
            targets["boxes"] = _targets(boxes_crop[:, : len(PARTS)].reshape(len(crops), -1, 2), context)
        for network, indices, box in zip(net.parts, net.layout.indices, boxes_crop.swapaxes(0, 1)):
            if not is_frozen(network):
                placed = mx.nd.array(self._fractions(box), context)
                targets[network.part.name] = _targets(points_crop[:, list(indices)], context)._replace(box=placed)
        return upload_crops(crops, context), eye_distance, targets

    def losses(self, net: RegionCascade, prepared: Sequence[Any], context: mx.Context) -> dict[str, mx.nd.NDArray]:
        """The (N,) of each network; networks that are frozen have no term."""
        crops, eye_distance, targets = prepared
        faces = self._input.normalized(crops)
        networks = {"direct": net.direct, "boxes": net.boxes, **{each.part.name: each for each in net.parts}}
        terms = {}
        for name, (truth, known, box) in targets.items():
            fractions = networks[name](*(faces,) if box is None else (faces, _moved(box)))
            terms[name] = self._loss(fractions.reshape(truth.shape) * self._size - 0.5, truth, known, eye_distance)
        return terms

    def _fractions(self, boxes_crop: np.ndarray) -> np.ndarray:
        """Boxes (N, 4) in pixels of the crop -> fractions; the crop itself for parts without landmarks.

        On such a part no loss counts.
        """
        whole = np.array([-0.5, -0.5, self._size - 0.5, self._size - 0.5])
        return (np.where(np.isfinite(boxes_crop), boxes_crop, whole) + 0.5) / self._size


def _targets(points_crop: np.ndarray, context: mx.Context) -> Targets:
    truth, known, _ = point_targets(points_crop, (0, 0), False, context)
    return Targets(truth, known)


def _moved(boxes: mx.nd.NDArray) -> mx.nd.NDArray:
    """Boxes (N, 4) as fractions -> the same with room around them and their sides moved at random."""
    with autograd.pause():
        return widen(mx.nd, boxes, mx.nd.random.uniform(-OFFSET, OFFSET, boxes.shape, ctx=boxes.context))


def part_boxes(points_crop: np.ndarray, parts: Sequence[Indices]) -> np.ndarray:
    """The tight box of each part's landmarks: (N, K, 2) -> (N, parts, 4), NaN where one of them is not annotated."""
    each = [points_crop[:, list(indices)] for indices in parts]
    return np.stack([np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1) for points in each], axis=1)
