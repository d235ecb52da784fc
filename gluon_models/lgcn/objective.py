"""LGCN's objective (Sec. 3.2.4): crops in, the weighted errors of both subnets' heatmaps out."""

from __future__ import annotations

from typing import Any, NamedTuple, Sequence

import mxnet as mx
import numpy as np
from mxnet.gluon import nn

from gluon_models.lgcn.network import LGCN, SIGMAS, band_matrices
from gluon_models.objective import BatchObjective
from gluon_models.spec import InputSpec, NetworkInput, upload_crops

LOSSES = ("square", "square_eq4", "square_slopes", "cross_entropy")
SCALE = 0.05  # of every loss; the authors' code [L9]
SLOPE_WEIGHT = 20.0  # of the squared error of slopes beside that of heights [L36]
OUTPUTS = ("local", "full")


class HeatmapWeights(NamedTuple):
    """The weight of each heatmap.

    Attributes:
        landmarks: (N, K), the weights of Eq. 3.
        labelled: (N, K), 1 where the landmark is labelled, else 0.
        background: (N,), the weight that Eq. 3 gives a labelled landmark that is not visible.
    """

    landmarks: np.ndarray
    labelled: np.ndarray
    background: np.ndarray


def heatmap_weights(points_crop: np.ndarray, size: int) -> HeatmapWeights:
    """Eq. 3 for points (N, K, 2) of crops of `size` pixels.

    NaN is not labelled. A point beyond the crop [L17] is labelled and not visible, so a crop without a face is one
    whose points are all far outside [L19].
    """
    labelled = np.isfinite(points_crop).all(axis=2)
    known = np.where(labelled[..., None], points_crop, -1.0)
    visible = ((known >= -0.5) & (known < size - 0.5)).all(axis=2)
    background = 0.1 + 0.5 * visible.mean(axis=1)
    return HeatmapWeights(visible + labelled * background[:, None], labelled.astype(float), background)


class PointHeatmaps(nn.HybridBlock):
    """Ground-truth heatmaps: each point shared out bilinearly among the four pixels about it (Sec. 3.1).

    Parts beyond the border are lost [L18].

    Args:
        blurs: convolve the heatmaps with K (Eq. 1), as in Eq. 4.
    """

    def __init__(self, blurs: bool, **kwargs: Any):
        super().__init__(**kwargs)
        self._blurs = blurs

    def hybrid_forward(self, F, heatmaps, points, labelled):
        """heatmaps (N, C, H, W) give the size, points (N, K, 2) in their cells, labelled (N, K) -> (N, K, H, W)."""
        across = F.broadcast_mul(_shares(F, heatmaps, points, 0), F.expand_dims(labelled, 2))
        down = _shares(F, heatmaps, points, 1)
        if not self._blurs:
            return _outer(F, down, across)
        # A point's map is a product of two profiles, and so is its convolution with each of the Gaussians.
        total = 0
        for along_x, along_y in zip(band_matrices(F, heatmaps, 3), band_matrices(F, heatmaps, 2)):
            total = total + _outer(F, F.dot(down, along_y), F.dot(across, along_x))
        return total / len(SIGMAS)


def _shares(F, heatmaps, points, coordinate):
    """Linear interpolation along x (coordinate 0) or y (1): points (N, K, 2) -> shares (N, K, S) of each pixel."""
    places = F.slice_axis(points, axis=2, begin=coordinate, end=coordinate + 1)
    pixels = F.reshape(F.BlockGrad(F.contrib.arange_like(heatmaps, axis=3 - coordinate)), (1, 1, -1))
    return F.relu(1 - F.abs(F.broadcast_sub(places, pixels)))


def _outer(F, down, across):
    """Profiles (N, K, H) and (N, K, W) -> heatmaps (N, K, H, W)."""
    return F.broadcast_mul(F.expand_dims(down, 3), F.expand_dims(across, 2))


class HeatmapSquares(nn.HybridBlock):
    """The squared error of one set of heatmaps in Eq. 4, over cells and landmarks, times `SCALE`.

    Args:
        weighted: by Eq. 3; else every labelled landmark counts alike.
        slopes: count the error of the differences between neighbouring cells too, SLOPE_WEIGHT times [L36].
    """

    def __init__(self, weighted: bool = True, slopes: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self._weighted, self._slopes = weighted, slopes

    def hybrid_forward(self, F, heatmaps, targets, weights, labelled):
        """heatmaps, targets (N, K, H, W), weights and labelled as in HeatmapWeights -> (N,)."""
        errors = heatmaps - targets
        each = F.sum(F.square(errors), axis=(2, 3))
        if self._slopes:
            each = each + SLOPE_WEIGHT * (_squared_slopes(F, errors, 2) + _squared_slopes(F, errors, 3))
        return SCALE * F.sum(each * (weights if self._weighted else labelled), axis=1)


def _squared_slopes(F, heatmaps, axis):
    """Maps (N, K, H, W) -> (N, K), the sum of the squared differences between neighbours along an axis."""
    later, earlier = (
        F.slice_axis(heatmaps, axis=axis, begin=1, end=None),
        F.slice_axis(heatmaps, axis=axis, begin=0, end=-1),
    )
    return F.sum(F.square(later - earlier), axis=(2, 3))


class HeatmapCrossEntropy(nn.HybridBlock):
    """Cross entropy in each cell between landmarks and background, over the cells, times `SCALE` [L11].

    Where the targets of several landmarks sum to more than 1 they share the cell; the rest up to 1 is background.
    Landmarks that are not labelled do not count.
    """

    def hybrid_forward(self, F, heatmaps, targets, weights, labelled, background):
        """heatmaps (N, K + 1, H, W) before softmax, targets (N, K, H, W), then as in HeatmapWeights -> (N,)."""
        shares = F.broadcast_div(targets, F.maximum(F.sum(targets, axis=1, keepdims=True), 1.0))
        rest = 1 - F.sum(shares, axis=1, keepdims=True)
        landmarks = F.slice_axis(heatmaps, axis=1, begin=0, end=-1)
        others = F.slice_axis(heatmaps, axis=1, begin=-1, end=None)
        excluded = F.reshape((labelled - 1) * 1e4, (0, 0, 1, 1))
        landmarks = F.broadcast_add(landmarks, excluded)
        top = F.BlockGrad(F.maximum(F.max(landmarks, axis=1, keepdims=True), others))
        total = top + F.log(F.sum(F.exp(F.broadcast_sub(landmarks, top)), axis=1, keepdims=True) + F.exp(others - top))
        of_landmarks = F.sum(shares * F.broadcast_sub(total, landmarks), axis=(2, 3))
        of_background = F.sum(rest * (total - others), axis=(1, 2, 3))
        return SCALE * (F.sum(weights * of_landmarks, axis=1) + background * of_background)


class HeatmapLosses(nn.HybridBlock):
    """The network and its losses in one graph.

    Args:
        net: the network to train.
        loss: "square" (Eq. 4 as the authors' code has it: both terms weighted), "square_eq4" (as printed: only that of
            the local-context subnet), "square_slopes" (the first, with slopes [L36]) or "cross_entropy".

    Raises:
        ValueError: the loss is not known, or does not go with the network's number of heatmaps.
    """

    def __init__(self, net: LGCN, loss: str, **kwargs: Any):
        super().__init__(**kwargs)
        if loss not in LOSSES:
            raise ValueError(f"unknown loss '{loss}': choose one of {', '.join(LOSSES)}")
        if net.background != (loss == "cross_entropy"):
            raise ValueError(f"the loss {loss} does not go with a network whose background is {net.background}")
        self.net = net
        self.targets = PointHeatmaps(net.blurs_targets)
        self.losses = nn.HybridSequential()
        for output in OUTPUTS:
            weighted = output == "local" or loss != "square_eq4"
            squares = HeatmapSquares(weighted, slopes=loss == "square_slopes")
            self.losses.add(HeatmapCrossEntropy() if net.background else squares)

    def hybrid_forward(self, F, faces, points, weights, labelled, *background):
        """faces (N, 1, H, W), points (N, K, 2) in pixels, 0 where not labelled, HeatmapWeights -> (N,) of each term.

        The background's weight is left out where it has no heatmap: MXNet warns of unused inputs.
        """
        outputs = self.net.cascade(faces)
        targets = F.BlockGrad(self.targets(outputs[0], points, labelled))
        terms = zip(self.losses, outputs)
        return tuple(loss(heatmaps, targets, weights, labelled, *background) for loss, heatmaps in terms)


class HeatmapObjective(BatchObjective):
    """Compares the heatmaps of both subnets with the targets of the annotated points.

    Args:
        net: the network to train.
        loss: see HeatmapLosses, also for what is refused.
        spec: how the network sees a face.
        contexts: devices that batches will come on.
    """

    def __init__(self, net: LGCN, loss: str, spec: InputSpec, contexts: Sequence[mx.Context]) -> None:
        self._input, self._size = NetworkInput(spec, contexts), spec.size
        self._losses = HeatmapLosses(net, loss)
        net.save_memory()
        # With static shapes MXNet keeps more than twice the memory: 1.4 GB instead of 0.6 per face of 96 px.
        self._losses.hybridize(static_alloc=True, static_shape=False)

    def prepare(self, net: LGCN, arrays: Sequence[np.ndarray], context: mx.Context) -> Sequence[Any]:
        """Uploads crops (N, S, S, 3) uint8 and what follows from points_crop (N, K, 2), see heatmap_weights."""
        crops, points_crop = arrays
        weights = heatmap_weights(points_crop, self._size)
        known = np.where(weights.labelled[..., None] > 0, points_crop, 0)
        used = (known, *weights) if net.background else (known, *weights[:2])
        return upload_crops(crops, context), [mx.nd.array(each, context) for each in used]

    def losses(self, net: LGCN, prepared: Sequence[Any], context: mx.Context) -> dict[str, mx.nd.NDArray]:
        """{"local": (N,), "full": (N,)}; without global context there is no "full".

        The network must be the one that the objective was built for.
        """
        crops, targets = prepared
        terms = self._losses(self._input.normalized(crops), *targets)
        return dict(zip(OUTPUTS, terms if isinstance(terms, (tuple, list)) else [terms]))
