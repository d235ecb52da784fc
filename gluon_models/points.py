"""Losses on points, and the objective of networks that output points: crops in, the loss of each face out."""

from __future__ import annotations

from typing import Any, NamedTuple, Sequence

import mxnet as mx
import numpy as np
from mxnet.gluon import HybridBlock, nn

from gluon_models.objective import BatchObjective
from gluon_models.spec import InputSpec, NetworkInput, upload_crops


class PointLoss(nn.HybridBlock):
    """The losses on points of FFLD (its Sec. 4), per face, over the annotated landmarks [F12].

    Args:
        kind: "normalized_l2" (Eq. 1, squared distance over the inter-ocular distance [F6]), "l2" (squared distance),
            "l1", or "normalized_l1" (ours, FFLD's ledger [F5]: absolute error over the inter-ocular distance).

    Raises:
        ValueError: `kind` is not known.
    """

    KINDS: tuple[str, ...] = ("normalized_l2", "l2", "l1", "normalized_l1")

    def __init__(self, kind: str, **kwargs: Any):
        super().__init__(**kwargs)
        if kind not in self.KINDS:
            raise ValueError(f"unknown loss '{kind}': choose one of {', '.join(self.KINDS)}")
        self._squared = kind.endswith("l2")
        self.normalized = kind.startswith("normalized")

    def hybrid_forward(self, F, predicted, truth, known, eye_distance=None):
        """predicted, truth (N, K, 2), known (N, K, 1) of 0 or 1, eye_distance (N,), all in one unit -> (N,).

        Only a normalized loss needs the distance.
        """
        error = F.broadcast_mul(predicted - truth, known)
        each = F.square(error) if self._squared else F.abs(error)
        total = F.sum(each, axis=(1, 2))
        return total / eye_distance if self.normalized else total


MSE = "mse"
POINT_LOSSES = (MSE, *PointLoss.KINDS)


class MeanSquaredError(nn.HybridBlock):
    """Mean squared difference over all coordinates of the annotated landmarks, x and y apart, per face [R14]."""

    normalized = False

    def hybrid_forward(self, F, predicted, truth, known, eye_distance=None):
        """predicted, truth (N, K, 2), known (N, K, 1) of 0 or 1 -> (N,); 0 for a face without annotated landmarks."""
        error = F.broadcast_mul(predicted - truth, known)
        count = F.maximum(2 * F.sum(known, axis=(1, 2)), 1)
        return F.sum(F.square(error), axis=(1, 2)) / count


def make_point_loss(kind: str, **kwargs: Any) -> nn.HybridBlock:
    """The named loss, (predicted, truth, known, eye_distance) -> (N,).

    Raises:
        ValueError: `kind` is none of `POINT_LOSSES`.
    """
    if kind not in POINT_LOSSES:
        raise ValueError(f"unknown loss '{kind}': choose one of {', '.join(POINT_LOSSES)}")
    return MeanSquaredError(**kwargs) if kind == MSE else PointLoss(kind, **kwargs)


class PointTargets(NamedTuple):
    """The annotation that points are compared with.

    Attributes:
        truth: (N, K, 2) in pixels of the crop, 0 where not annotated.
        known: (N, K, 1), 1 where annotated, else 0.
        eye_distance: (N,) between the outer corners of right and left eye, in pixels of the crop; where faces show one
            eye only, sqrt(width * height) of the box of the landmarks instead.
    """

    truth: mx.nd.NDArray
    known: mx.nd.NDArray
    eye_distance: mx.nd.NDArray


def point_targets(
    points_crop: np.ndarray, eye_corners: Sequence[int] | None, normalized: bool, context: mx.Context
) -> PointTargets:
    """Prepares annotated points (N, K, 2), NaN where not annotated, for a loss.

    Args:
        points_crop: in pixels of the crop.
        eye_corners: the outer corners of right and left eye; None for faces in profile, whose distance would vanish.
        normalized: whether the loss divides by that distance.
        context: device of the loss.

    Raises:
        ValueError: the loss is `normalized`, and a face has no eye corners to normalize by.
    """
    known = np.isfinite(points_crop).all(axis=2, keepdims=True)
    eye_distance = _box_size(points_crop) if eye_corners is None else _distance(points_crop, eye_corners)
    if normalized and not np.isfinite(eye_distance).all():
        raise ValueError("a training face has no outer eye corners: leave such faces out, or use --loss l1 or l2")
    arrays = np.where(known, points_crop, 0), known, eye_distance
    return PointTargets(*(mx.nd.array(array, context) for array in arrays))


def _distance(points: np.ndarray, pair: Sequence[int]) -> np.ndarray:
    """(N,) between two of the points."""
    return np.linalg.norm(points[:, pair[0]] - points[:, pair[1]], axis=1)


def _box_size(points: np.ndarray) -> np.ndarray:
    """(N,) sqrt(width * height) of the tight box of the annotated points."""
    return np.sqrt(np.prod(np.nanmax(points, axis=1) - np.nanmin(points, axis=1), axis=1))


class PointObjective(BatchObjective):
    """Compares a network's points with the annotated ones, in pixels of the crop.

    Args:
        loss: (predicted, truth, known, eye_distance) -> (N,), as `PointLoss`; its `normalized` says
            whether it divides by that distance.
        spec: how the network sees a face.
        eye_corners: the outer corners of right and left eye, whose distance normalizes the loss; None for the size of
            the box of the landmarks.
        contexts: devices that batches will come on.
    """

    def __init__(
        self, loss: HybridBlock, spec: InputSpec, eye_corners: tuple[int, int] | None, contexts: Sequence[mx.Context]
    ) -> None:
        self._loss, self._size, self._eye_corners = loss, spec.size, eye_corners
        self._input = NetworkInput(spec, contexts)

    def prepare(self, net: HybridBlock, arrays: Sequence[np.ndarray], context: mx.Context) -> Sequence[Any]:
        """Uploads crops (N, S, S, 3) uint8 and points_crop (N, K, 2), NaN where not annotated."""
        crops, points_crop = arrays
        targets = point_targets(points_crop, self._eye_corners, self._loss.normalized, context)
        return upload_crops(crops, context), targets

    def losses(self, net: HybridBlock, prepared: Sequence[Any], context: mx.Context) -> dict[str, mx.nd.NDArray]:
        """{"points": (N,)}."""
        crops, targets = prepared
        predicted = net(self._input.normalized(crops)) * self._size - 0.5
        return {"points": self._loss(predicted, *targets)}
