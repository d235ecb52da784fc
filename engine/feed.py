"""Batches on their way to the devices, so that a thread can load and upload the next one ahead of its step."""

from __future__ import annotations

from typing import Any, Callable, Generator, Iterable, Iterator, NamedTuple, Protocol, Sequence, Union

import mxnet as mx
import numpy as np
from mxnet.gluon import HybridBlock

Losses = Callable[[HybridBlock, Any, mx.Context], "dict[str, mx.nd.NDArray]"]


class TwoPartObjective(Protocol):
    """An objective whose first part needs no turn of the network, and may be done ahead by another thread."""

    def prepare(self, net: HybridBlock, arrays: Sequence[np.ndarray], context: mx.Context) -> Any:
        """Puts on the device what the losses need; it draws nothing at random."""
        ...

    def losses(self, net: HybridBlock, prepared: Any, context: mx.Context) -> dict[str, mx.nd.NDArray]:
        """{term: (N,) loss of each sample} of what `prepare` returned; the terms are added."""
        ...


Objective = Union[
    Callable[[HybridBlock, Sequence[np.ndarray], mx.Context], "dict[str, mx.nd.NDArray]"], TwoPartObjective
]


class ReadyBatch(NamedTuple):
    """A batch on the devices.

    Attributes:
        samples: in it.
        parts: what the objective prepared for each device.
        weights: of each device's losses; 0 for a device that has no sample of its own.
    """

    samples: int
    parts: list[Any]
    weights: list[float]


def uploaded(
    batches: Iterable[Sequence[np.ndarray]], net: HybridBlock, objective: Objective, contexts: Sequence[mx.Context]
) -> Generator[ReadyBatch, None, None]:
    """Each batch divided among the devices, and prepared there where the objective has such a part.

    Where other workers have all samples of a batch, one of an earlier batch takes part at weight 0.

    Raises:
        ValueError: the first batch has no sample for this worker.
    """
    prepare = getattr(objective, "prepare", lambda net, arrays, context: arrays)
    filler: list[np.ndarray] | None = None
    for arrays in batches:
        if len(arrays[0]):
            filler = [array[:1].copy() for array in arrays]
            shares = list(_shares(arrays, len(contexts)))
        elif filler is not None:
            shares = [(filler, 0.0)] * len(contexts)
        else:
            raise ValueError("an epoch has fewer samples than there are devices: use fewer workers")
        parts = [prepare(net, share, context) for (share, _), context in zip(shares, contexts)]
        yield ReadyBatch(len(arrays[0]), parts, [weight for _, weight in shares])


def losses_of(objective: Objective) -> Losses:
    """The part of an objective that takes what was `uploaded`."""
    return getattr(objective, "losses", objective)


def _shares(arrays: Sequence[np.ndarray], devices: int) -> Iterator[tuple[list[np.ndarray], float]]:
    """Divides a batch among devices; a device without samples gets the first one at weight 0."""
    used = min(devices, len(arrays[0]))
    for part in zip(*(np.array_split(array, used) for array in arrays)):
        yield list(part), 1.0
    for _ in range(devices - used):
        yield [array[:1] for array in arrays], 0.0
