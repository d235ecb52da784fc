"""Which pixels a network's error depends on: the gradient of the loss to the crop (DeepPose on Helen, Fig. 6) [D13]."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Iterator

import cv2
import mxnet as mx
import numpy as np
from mxnet import autograd
from mxnet.gluon import HybridBlock, nn

from gluon_models.spec import InputSpec, Normalize


def pixel_gradients(
    net: HybridBlock, spec: InputSpec, crops: np.ndarray, truth_crop: np.ndarray, context: Any = None
) -> np.ndarray:
    """The derivative of each face's mean squared error to each value of its crop.

    Args:
        net: predicts points; its parameters on `context`. It is not hybridized any more afterwards.
        spec: how it sees a face.
        crops: (n, S, S, 3) uint8 RGB.
        truth_crop: (n, K, 2) in pixels of the crop; NaN where not annotated.
        context: CPU by default.

    Returns:
        (n, S, S, 3) squared pixels per grey level, of the mean over the annotated coordinates.
    """
    context = context or mx.cpu()
    normalize = Normalize(spec)
    normalize.initialize(ctx=context)
    pixels = mx.nd.array(crops, context, dtype="float32")
    pixels.attach_grad()
    known = np.isfinite(truth_crop)
    weight = mx.nd.array(known / np.maximum(known.sum(axis=(1, 2), keepdims=True), 1), context)
    truth = mx.nd.array(np.where(known, truth_crop, 0), context)
    with _as_in_prediction(net), autograd.record():
        predicted = net(normalize(pixels)) * spec.size - 0.5
        loss = ((predicted - truth).square() * weight).sum()
    loss.backward()
    return pixels.grad.asnumpy()


@contextmanager
def _as_in_prediction(net: HybridBlock) -> Iterator[None]:
    """Lets a network in training mode predict as in use: by its running statistics, without dropout.

    In prediction mode MXNet 1.9.1 gets gradients wrong, of max-pooling on a CPU and of normalization on a GPU.
    """
    # A graph that is compiled already would go on as before.
    net.hybridize(False)
    norms, dropouts = (_blocks_of(net, kind) for kind in (nn.BatchNorm, nn.Dropout))
    rates = [block._rate for block in dropouts]
    for block in norms:
        block._kwargs["use_global_stats"] = True
    for block in dropouts:
        block._rate = 0
    try:
        yield
    finally:
        for block in norms:
            block._kwargs["use_global_stats"] = False
        for block, rate in zip(dropouts, rates):
            block._rate = rate


def _blocks_of(net: HybridBlock, kind: type) -> list[Any]:
    """All blocks of a kind in a network."""
    found: list[Any] = []
    net.apply(lambda block: found.append(block) if isinstance(block, kind) else None)
    return found


def saliency_maps(gradients: np.ndarray) -> np.ndarray:
    """Gradients (n, S, S, 3) -> (n, S, S): the largest size over the three colours."""
    return np.abs(gradients).max(axis=3)


def draw_saliency(saliency: np.ndarray) -> np.ndarray:
    """A map (S, S) as a picture (S, S, 3) uint8 RGB, from black for 0 to pale yellow for its largest value."""
    largest = float(saliency.max())
    levels = np.uint8(np.round(255 * saliency / largest)) if largest > 0 else np.zeros(saliency.shape, np.uint8)
    return cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
