"""The losses of FFLD (Sec. 4) as functions of where the predicted point is, for its Fig. 6."""

from __future__ import annotations

import cv2
import mxnet as mx
import numpy as np

from figures.ffld_drawing import Landscapes
from gluon_models.ffld.crop import AlignLoss, PatchCrop
from gluon_models.points import PointLoss

REACH, STEP = 8.0, 0.5  # cells: one patch to each side
HEATMAP_SIGMA = 1.5  # cells; not stated


def contour_map(size: int) -> tuple[np.ndarray, np.ndarray]:
    """An artificial map (size, size) of a bright face contour, and the fraction (2,) where a landmark lies on it.

    The contour is a circle's arc, about a cell wide; the landmark is where its normal points down to the left.
    """
    landmark = np.full(2, (size - 1) / 2)
    radius = 0.6 * size
    centre = landmark + radius * np.array([np.sqrt(0.5), -np.sqrt(0.5)])
    y, x = np.mgrid[:size, :size]
    distance = np.hypot(x - centre[0], y - centre[1]) - radius
    return np.exp(-0.5 * distance**2), (landmark + 0.5) / size


def landscapes(name: str, maps: mx.nd.NDArray, selection: mx.nd.NDArray, truth: np.ndarray) -> Landscapes:
    """Every loss on a grid of predicted points about the true one.

    Args:
        name: what the map is.
        maps: (1, C, size, size).
        selection: (4, C) of the landmark.
        truth: (2,) fractions of the crop.
    """
    size = maps.shape[2]
    offsets = np.arange(-REACH, REACH + STEP / 2, STEP)
    grid = np.stack(np.meshgrid(offsets, offsets), axis=-1)  # rows move along y
    losses = {
        "L2": _point_loss("l2", grid),
        "L1": _point_loss("l1", grid),
        "heatmap L2": heatmap_loss(grid),
        "Align Loss": _align_loss(maps, selection, truth, truth + grid / size, smooth=True),
        "Align Loss, no Gaussian": _align_loss(maps, selection, truth, truth + grid / size, smooth=False),
    }
    ticks = truth * size - 0.5 + grid
    selected = np.tensordot(selection.asnumpy(), maps[0].asnumpy(), axes=1)
    strongest = selected[selected.var(axis=(1, 2)).argmax()].astype(np.float32)
    window = cv2.remap(strongest, ticks[..., 0].astype(np.float32), ticks[..., 1].astype(np.float32), cv2.INTER_LINEAR)
    return Landscapes(name, window, losses, REACH)


def _point_loss(kind: str, offsets: np.ndarray) -> np.ndarray:
    """The loss (G, G) where the prediction is off by (G, G, 2)."""
    predicted = mx.nd.array(offsets.reshape(-1, 1, 2))
    known = mx.nd.ones((len(predicted), 1, 1))
    return PointLoss(kind)(predicted, mx.nd.zeros_like(predicted), known).asnumpy().reshape(offsets.shape[:2])


def heatmap_loss(offsets: np.ndarray) -> np.ndarray:
    """The squared difference, summed over a map without end, of two Gaussians off by (..., 2) cells, over its limit."""
    return 1 - np.exp(-(offsets**2).sum(axis=-1) / (4 * HEATMAP_SIGMA**2))


def _align_loss(
    maps: mx.nd.NDArray, selection: mx.nd.NDArray, truth: np.ndarray, predicted: np.ndarray, smooth: bool
) -> np.ndarray:
    """Eq. 2 (G, G) for predicted points (G, G, 2) and one true one (2,), all fractions of the crop."""
    crop = PatchCrop(1, maps.shape[1], maps.shape[2])
    loss = AlignLoss(crop)
    loss.initialize()
    crop.selection.set_data(selection)
    if not smooth:
        loss.remove_gaussian()
    count = len(predicted)
    many = mx.nd.repeat(maps.as_in_context(mx.cpu()), count, axis=0)
    at_truth = mx.nd.array(np.tile(truth, (count, 1, 1)))
    known = mx.nd.ones((count, 1, 1))
    return np.stack([loss(many, mx.nd.array(row[:, None]), at_truth, known).asnumpy() for row in predicted])
