"""What a network that answers score maps is trained on: crops in, for each stack the loss of each face out."""

from __future__ import annotations

from typing import Callable, Sequence

import mxnet as mx
import numpy as np
from mxnet.gluon import HybridBlock

from gluon_models.hourglass import MapLoss
from gluon_models.spec import InputSpec, NetworkInput

Encode = Callable[[np.ndarray], "tuple[np.ndarray, np.ndarray]"]


class HeatmapObjective:
    """Compares the maps of every stack with those of the annotated points.

    Args:
        encode: points_crop (N, K, 2), NaN where not annotated -> target maps (N, K, H, W) and whether each landmark
            counts (N, K), as `datasets.heatmaps.HeatmapCodec.encode`.
        spec: how the network sees a face.
        contexts: devices that batches will come on.
    """

    def __init__(self, encode: Encode, spec: InputSpec, contexts: Sequence[mx.Context]) -> None:
        self._encode = encode
        self._input = NetworkInput(spec, contexts)
        self._loss = MapLoss()
        self._loss.hybridize(static_alloc=True, static_shape=True)

    def __call__(self, net: HybridBlock, arrays: Sequence[np.ndarray], context: mx.Context) -> dict[str, mx.nd.NDArray]:
        """Crops (N, S, S, 3) uint8 and points_crop (N, K, 2), NaN where not annotated -> {"stack 1": (N,), ...}.

        `net.cascade` answers the maps of every stack, as `gluon_models.hourglass.StackedHourglass`'s.
        """
        crops, points_crop = arrays
        target, known = (mx.nd.array(each, context) for each in self._encode(points_crop))
        answers = net.cascade(self._input(crops, context))
        return {f"stack {i}": self._loss(maps, target, known) for i, maps in enumerate(answers, start=1)}
