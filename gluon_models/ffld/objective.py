"""FFLD's objective (Sec. 4): crops in, the losses chosen for each stage out."""

from __future__ import annotations

from typing import Any, Sequence

import mxnet as mx
import numpy as np
from mxnet.gluon import nn

from gluon_models.ffld.crop import AlignLoss
from gluon_models.ffld.network import FFLD
from gluon_models.objective import BatchObjective
from gluon_models.points import PointLoss, point_targets
from gluon_models.spec import InputSpec, NetworkInput, upload_crops

ALIGN = "align"
STAGE_LOSSES = (*PointLoss.KINDS, ALIGN)


class StageLosses(nn.HybridBlock):
    """The network and its losses in one graph, so that feature maps need not leave it for Align Loss.

    The losses on points are in pixels of the crop, Align Loss in values of the selected feature map: for a refinement
    its own CropNet's, for the baseline network the first CropNet's [F21].

    Args:
        net: the network to train.
        losses: of the baseline network, then of every refinement; each one of `STAGE_LOSSES`, or several joined with
            "+", which are added.
        size: side of the crop in pixels.

    Attributes:
        names: of the terms, such as "stage 3 align".
        normalized: whether any of them divides by the inter-ocular distance.

    Raises:
        ValueError: a loss is not known, or their number is not that of the network's stages and its baseline.
    """

    def __init__(self, net: FFLD, losses: Sequence[str], size: int, **kwargs: Any):
        super().__init__(**kwargs)
        wanted = net.num_stages + 1
        if len(losses) != wanted:
            raise ValueError(f"{len(losses)} losses for a baseline network and its refinements: name {wanted} in all")
        self._size = size
        self._places = [(stage, kind) for stage, kinds in enumerate(losses) for kind in kinds.split("+")]
        self.names = [f"stage {stage} {kind}" for stage, kind in self._places]
        self.normalized = any(kind.startswith("normalized") for _, kind in self._places)
        self.net = net
        self.losses = nn.HybridSequential()
        self.losses.add(*(_make_loss(kind, net, stage) for stage, kind in self._places))

    def remove_gaussian(self) -> None:
        """Makes Align Loss compare patches without smoothing them (Sec. 6.6)."""
        for loss in self.losses:
            if isinstance(loss, AlignLoss):
                loss.remove_gaussian()
        self._clear_cached_op()

    def hybrid_forward(self, F, faces, truth, known, *eye_distance):
        """faces (N, 3, S, S), then as PointLoss takes them in pixels of the crop -> the (N,) of each term.

        The distance is left out where nothing is normalized: MXNet warns of unused inputs.
        """
        stages, maps = self.net.cascade.with_maps(F, faces)
        terms = []
        for (stage, kind), loss in zip(self._places, self.losses):
            points = stages[stage]
            if kind == ALIGN:
                terms.append(loss(maps[_level(stage)], points, (truth + 0.5) / self._size, known))
            else:
                terms.append(loss(points * self._size - 0.5, truth, known, *eye_distance))
        return tuple(terms)


class RefinementObjective(BatchObjective):
    """Compares the points of the baseline network and of every refinement with the annotated ones.

    Args:
        net: the network to train.
        losses: see StageLosses, also for what is refused.
        spec: how the network sees a face.
        eye_corners: the outer corners of right and left eye, whose distance normalizes some of the losses; None for the
            size of the box of the landmarks [F26].
        contexts: devices that batches will come on.

    Attributes:
        smooths: whether Align Loss is among the losses and smooths the patches.
    """

    def __init__(
        self,
        net: FFLD,
        losses: Sequence[str],
        spec: InputSpec,
        eye_corners: tuple[int, int] | None,
        contexts: Sequence[mx.Context],
    ) -> None:
        self._eye_corners = eye_corners
        self._input = NetworkInput(spec, contexts)
        self._losses = StageLosses(net, losses, spec.size)
        self._losses.hybridize(static_alloc=True, static_shape=True)
        self.smooths = any(ALIGN in kinds.split("+") for kinds in losses)

    def remove_gaussian(self) -> None:
        """Makes Align Loss compare patches without smoothing them (Sec. 6.6)."""
        self._losses.remove_gaussian()
        self.smooths = False

    def prepare(self, net: FFLD, arrays: Sequence[np.ndarray], context: mx.Context) -> Sequence[Any]:
        """Uploads crops (N, S, S, 3) uint8 and points_crop (N, K, 2), NaN where not annotated."""
        crops, points_crop = arrays
        targets = point_targets(points_crop, self._eye_corners, self._losses.normalized, context)
        return upload_crops(crops, context), targets if self._losses.normalized else targets[:2]

    def losses(self, net: FFLD, prepared: Sequence[Any], context: mx.Context) -> dict[str, mx.nd.NDArray]:
        """{"stage 0 l1": (N,), ...}; the network must be the one that the objective was built for."""
        crops, targets = prepared
        terms = self._losses(self._input.normalized(crops), *targets)
        return dict(zip(self._losses.names, terms))


def _level(stage: int) -> int:
    """Index of a stage's feature map; 0 is the baseline network's stage."""
    return max(stage, 1) - 1


def _make_loss(kind: str, net: FFLD, stage: int) -> nn.HybridBlock:
    """The named loss for one stage."""
    if kind not in STAGE_LOSSES:
        raise ValueError(f"unknown loss '{kind}': choose one of {', '.join(STAGE_LOSSES)}")
    return AlignLoss(net.cascade.refinements[_level(stage)].crop) if kind == ALIGN else PointLoss(kind)
