"""What the objectives of all networks share: two parts, the first of which may be done ahead of the network's turn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Sequence

import mxnet as mx
import numpy as np
from mxnet.gluon import HybridBlock


class BatchObjective(ABC):
    """The losses of a batch."""

    @abstractmethod
    def prepare(self, net: Any, arrays: Sequence[np.ndarray], context: mx.Context) -> Sequence[Any]:
        """Puts on the device what the losses need, first of all the crops; it draws nothing at random.

        Another thread may call it while the network is at work.
        """

    @abstractmethod
    def losses(self, net: Any, prepared: Sequence[Any], context: mx.Context) -> dict[str, mx.nd.NDArray]:
        """{term: (N,) loss of each sample} of what `prepare` returned; the terms are added."""

    def __call__(self, net: HybridBlock, arrays: Sequence[np.ndarray], context: mx.Context) -> dict[str, mx.nd.NDArray]:
        """Both parts in turn."""
        return self.losses(net, self.prepare(net, arrays, context), context)
