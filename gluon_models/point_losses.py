"""Losses on points that the training commands know by name."""

from __future__ import annotations

from typing import Any

from mxnet.gluon import nn

from gluon_models.ffld import PointLoss

MSE = "mse"
POINT_LOSSES = (MSE, *PointLoss.KINDS)


class MeanSquaredError(nn.HybridBlock):
    """Mean of the squared differences over all coordinates of the annotated landmarks, x and y apart, per face."""

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
