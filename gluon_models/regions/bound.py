"""The bound of the region networks' Fig. 6: their parts cut by boxes about the annotated points."""

from __future__ import annotations

from typing import Any

import mxnet as mx
import numpy as np
from mxnet.gluon import nn

from gluon_models.regions.crop import landmark_boxes
from gluon_models.regions.network import RegionCascade
from gluon_models.spec import InputSpec, NetworkInput


class TrueBoxes(nn.HybridBlock):
    """The bound of Fig. 6: a trained cascade whose parts are cut by boxes about the annotated points.

    Args:
        cascade: shares its parameters.
    """

    def __init__(self, cascade: RegionCascade, **kwargs: Any):
        super().__init__(**kwargs)
        self.cascade = cascade

    def hybrid_forward(self, F, faces, truth):
        """faces (N, 3, 224, 224), truth (N, K, 2) fractions of the crop -> (N, K, 2) fractions of the crop."""
        cascade = self.cascade
        direct = cascade.direct(faces) if cascade.direct else None
        return cascade.assemble(F, faces, direct, landmark_boxes(F, truth, cascade.layout.indices))


def predict_with_true_boxes(
    cascade: RegionCascade,
    spec: InputSpec,
    crops: np.ndarray,
    truth_crop: np.ndarray,
    context: mx.Context,
    batch_size: int = 64,
) -> np.ndarray:
    """Crops (n, S, S, 3) and their annotated points (n, K, 2) -> points_crop (n, K, 2) in pixels of the crop."""
    net, prepare, parts = TrueBoxes(cascade), NetworkInput(spec, [context]), []
    truth = (truth_crop + 0.5) / spec.size
    for start in range(0, len(truth), batch_size):
        chosen = slice(start, start + batch_size)
        parts.append(net(prepare(crops[chosen], context), mx.nd.array(truth[chosen], context)).asnumpy())
    return np.concatenate(parts).astype(np.float64) * spec.size - 0.5
