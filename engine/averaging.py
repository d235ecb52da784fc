"""Averages of a network: of its weights over time, and of its running statistics over devices."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Iterator

import mxnet as mx
import numpy as np
from mxnet.gluon import Block

from engine.distributed import Team

RUNNING_STATISTICS = ("running_mean", "running_var")  # the ends of their names in Gluon


class WeightAverage:
    """Keeps decay * average + (1 - decay) * weights, including the running statistics of batch normalization.

    The average is validated and saved in place of the last weights.

    The decay grows with the number of updates n as (1 + n) / (10 + n) up to its final value, so that early averages
    forget the random start.
    """

    def __init__(self, net: Block, decay: float) -> None:
        self._parameters = net.collect_params()
        self._statistics = [p for name, p in self._parameters.items() if name.endswith(RUNNING_STATISTICS)]
        self._decay = decay
        self.updates = 0
        self.values = {name: p.data(p.list_ctx()[0]).copy() for name, p in self._parameters.items()}

    def update(self) -> None:
        """Adds the network's current weights to the average."""
        self.updates += 1
        keep = min(self._decay, (1 + self.updates) / (10 + self.updates))
        self._order_statistics()
        for name, parameter in self._parameters.items():
            average = self.values[name]
            average += (1 - keep) * (parameter.data(average.context) - average)
        self._order_statistics()

    def _order_statistics(self) -> None:
        """Lets reads of the running statistics wait for the steps before, and steps for the reads before.

        A hybridized pass (of batch normalization: backward on a CPU, forward with cuDNN) writes them where MXNet's
        engine knows of a read alone. A write that changes nothing waits for that read, and is waited for.
        """
        for parameter in self._statistics:
            data = parameter.data(parameter.list_ctx()[0])
            mx.nd.identity(data, out=data)

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


def share_running_statistics(net: Block, team: Team) -> None:
    """Sets the running statistics of batch normalization on every device of every worker to their mean over all.

    Each device keeps those of its own part of every batch, while the weights are the same on all of them.
    """
    shared = [each for each in net.collect_params().values() if each.name.endswith(RUNNING_STATISTICS)]
    devices = team.size * len(shared[0].list_ctx()) if shared else 1
    if devices == 1:
        return
    sums = [np.sum([data.asnumpy() for data in each.list_data()], axis=0) for each in shared]
    means = team.total(np.concatenate([each.ravel() for each in sums])) / devices
    for parameter, values in zip(shared, np.split(means, np.cumsum([each.size for each in sums])[:-1])):
        parameter.set_data(mx.nd.array(values.reshape(parameter.shape)))
