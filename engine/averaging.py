"""Exponential moving average of a network's weights, which is validated and saved instead of the last weights."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Iterator

import mxnet as mx
from mxnet.gluon import Block


class WeightAverage:
    """Keeps decay * average + (1 - decay) * weights, including the running statistics of batch normalization.

    The decay grows with the number of updates n as (1 + n) / (10 + n) up to its final value, so that early averages
    forget the random start.
    """

    def __init__(self, net: Block, decay: float) -> None:
        self._parameters = net.collect_params()
        self._decay = decay
        self.updates = 0
        self.values = {name: p.data(p.list_ctx()[0]).copy() for name, p in self._parameters.items()}

    def update(self) -> None:
        """Adds the network's current weights to the average."""
        self.updates += 1
        keep = min(self._decay, (1 + self.updates) / (10 + self.updates))
        for name, parameter in self._parameters.items():
            average = self.values[name]
            average += (1 - keep) * (parameter.data(average.context) - average)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Sets the averaged weights within a with block."""
        present = {name: p.data(p.list_ctx()[0]).copy() for name, p in self._parameters.items()}
        self._set(self.values)
        try:
            yield
        finally:
            self._set(present)

    def _set(self, values: dict[str, mx.nd.NDArray]) -> None:
        for name, parameter in self._parameters.items():
            parameter.set_data(values[name])
