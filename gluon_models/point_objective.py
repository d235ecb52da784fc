"""What a network that answers points is trained on: crops in, the loss of each face out."""

from __future__ import annotations

from typing import Sequence

import mxnet as mx
import numpy as np
from mxnet.gluon import HybridBlock

from gluon_models.spec import InputSpec, Normalize


class PointObjective:
    """Compares a network's points with the annotated ones, in pixels of the crop.

    Args:
        loss: (predicted, truth, known, eye_distance) -> (N,), as `gluon_models.ffld.PointLoss`; its `normalized` says
            whether it divides by that distance.
        spec: how the network sees a face.
        eye_corners: the outer corners of right and left eye, whose distance normalises the loss.
        contexts: devices that batches will come on.
    """

    def __init__(
        self, loss: HybridBlock, spec: InputSpec, eye_corners: tuple[int, int], contexts: Sequence[mx.Context]
    ) -> None:
        self._loss, self._size, self._eye_corners = loss, spec.size, list(eye_corners)
        self._normalize = Normalize(spec)
        self._normalize.initialize(ctx=list(contexts))

    def __call__(self, net: HybridBlock, arrays: Sequence[np.ndarray], context: mx.Context) -> dict[str, mx.nd.NDArray]:
        """Crops (N, S, S, 3) uint8 and points_crop (N, K, 2), NaN where not annotated -> {"points": (N,)}."""
        crops, points_crop = arrays
        known = np.isfinite(points_crop).all(axis=2, keepdims=True)
        corners = points_crop[:, self._eye_corners]
        eye_distance = np.linalg.norm(corners[:, 0] - corners[:, 1], axis=1)
        if self._loss.normalized and not np.isfinite(eye_distance).all():
            raise ValueError("a training face has no outer eye corners: leave such faces out, or use --loss l1 or l2")
        predicted = net(self._normalize(mx.nd.array(crops, context, dtype="uint8"))) * self._size - 0.5
        truth = mx.nd.array(np.where(known, points_crop, 0), context)
        loss = self._loss(predicted, truth, mx.nd.array(known, context), mx.nd.array(eye_distance, context))
        return {"points": loss}
