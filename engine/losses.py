"""The loss of an epoch, read some steps late, so that neither the host nor the device waits for the other."""

from __future__ import annotations

import math
from collections import deque
from typing import Mapping, NamedTuple, Sequence

import mxnet as mx
import numpy as np

from engine.distributed import Team

STEPS_BEHIND = 3  # steps that may be on their way on the device while the host prepares further ones

Terms = Mapping[str, mx.nd.NDArray]


class NotFinite(ValueError):
    """The loss or the validation error is no longer finite; the message holds every term."""


class _Step(NamedTuple):
    number: int
    samples: int
    sums: Sequence[mx.nd.NDArray]
    terms: Sequence[Terms]


class EpochLoss:
    """Adds up the losses of one epoch's steps in their order.

    Args:
        epoch: counted from 1, for messages.
        team: the workers whose losses are added up.

    Attributes:
        samples: in the steps read so far.
        total: sum of their losses.
    """

    def __init__(self, epoch: int, team: Team | None = None) -> None:
        self._epoch, self._steps, self._team = epoch, 0, team or Team()
        self._waiting: deque[_Step] = deque()
        self.samples, self.total = 0, 0.0

    @property
    def mean(self) -> float:
        """Loss of a sample in the steps read so far, NaN before the first."""
        return self.total / self.samples if self.samples else math.nan

    def add(self, samples: int, terms: Sequence[Terms], losses: Sequence[mx.nd.NDArray]) -> None:
        """Takes the losses of a step, and reads those of the step `STEPS_BEHIND` before it.

        Args:
            samples: in the step, over all devices of all workers.
            terms: of each device, (N,) by name.
            losses: their sums, (N,) of each device.

        Raises:
            NotFinite: the loss that was read is not finite.
        """
        self._steps += 1
        # Detached: an array that remembers how it was computed keeps the memory of that step.
        kept = [{name: term.detach() for name, term in each.items()} for each in terms]
        self._waiting.append(_Step(self._steps, samples, [loss.sum() for loss in losses], kept))
        if len(self._waiting) > STEPS_BEHIND:
            self._read()

    def finish(self) -> None:
        """Reads what is left.

        Raises:
            NotFinite: one is not finite.
        """
        while self._waiting:
            self._read()

    def _read(self) -> None:
        step = self._waiting.popleft()
        own = sum(float(each.asscalar()) for each in step.sums)
        loss = float(self._team.total(np.array([own]))[0])
        if not math.isfinite(own):
            raise NotFinite(self._explain(step))
        if not math.isfinite(loss):
            place = f"epoch {self._epoch}, step {step.number}"
            raise NotFinite(f"the loss of another worker is not finite in {place}: see its message")
        self.samples += step.samples
        self.total += loss

    def _explain(self, step: _Step) -> str:
        pairs = ((name, float(term.mean().asscalar())) for each in step.terms for name, term in each.items())
        values = "; ".join(f"{name} {value:.4g}" for name, value in pairs)
        place = f"epoch {self._epoch}, step {step.number}"
        return f"the loss is not finite in {place} ({values}): lower --lr, or check the data"
