"""FFLD and its baselines for its figures: stage by stage."""

from __future__ import annotations

import mxnet as mx
import numpy as np

from figures.networks import TrainedNetwork
from gluon_models.ffld.network import FFLD, SlimResNet

BASELINES, WITH_CROPNETS = ("resnet18_slim", "resnet50_slim"), ("ffld_resnet18", "ffld_resnet50")


class StagedNetwork(TrainedNetwork):
    """A trained network that returns the points of all its stages; a baseline has one.

    Args:
        path: a .params file with its .json, or the name of weights that ship.
        context: where it runs.

    Attributes:
        baseline: FFLD's, or the network itself.
    """

    def __init__(self, path: str, context: mx.Context) -> None:
        super().__init__(path, (*BASELINES, *WITH_CROPNETS), context)
        self.baseline: SlimResNet = self.net.cascade.baseline if isinstance(self.net, FFLD) else self.net

    def refined(self) -> FFLD:
        """The network, which must have refinements; ValueError if it is a baseline."""
        if not isinstance(self.net, FFLD):
            raise ValueError(f"{self.source} has no CropNets: name weights of {' or '.join(WITH_CROPNETS)}")
        return self.net

    def stages(self, crops: np.ndarray) -> np.ndarray:
        """Crops (n, S, S, 3) -> points_crop (stages, n, K, 2) of the baseline network and of each refinement."""
        return self._predictor.stages(crops).swapaxes(0, 1)

    def points(self, crops: np.ndarray) -> np.ndarray:
        """Crops (n, S, S, 3) -> points_crop (n, K, 2) of the last stage."""
        return self.stages(crops)[-1]
