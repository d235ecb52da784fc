"""What a training would take: faces, steps, learning rates, memory, and time at the speed of some measured steps."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from time import monotonic
from typing import Any, Callable, Iterator, Protocol, Sequence

import mxnet as mx
import numpy as np
from mxnet import autograd
from mxnet.gluon import HybridBlock, Trainer

from datasets.loader import Loader
from engine.feed import Objective
from engine.fit import FitOptions
from engine.timing import peak_memory_megabytes

STEPS = 10
SHOWN_RATES = 8  # at most


class Rates(Protocol):
    """A learning-rate schedule."""

    def rate(self, epochs_done: float) -> float:
        """Learning rate after `epochs_done` epochs."""
        ...


@dataclass(frozen=True)
class Plan:
    """What a run by one recipe takes.

    Attributes:
        model: name of the network.
        faces: samples of one epoch.
        validation_faces: in each validation.
        epochs: of the whole run.
        batch_size: over all devices.
        rates: (epoch from which it holds, learning rate), the first one from epoch 1.
        planned_gigabytes: of one step on each device, see `engine.memory`.
        measured_steps: how many were measured.
        step_seconds: of one step with loading, the mean of the measured ones.
        validation_seconds: of one validation.
        peak_gigabytes: of this process, not of GPUs.
    """

    model: str
    faces: int
    validation_faces: int
    epochs: int
    batch_size: int
    rates: Sequence[tuple[int, float]]
    planned_gigabytes: float
    measured_steps: int
    step_seconds: float
    validation_seconds: float
    peak_gigabytes: float

    @property
    def steps(self) -> int:
        """Steps of one epoch."""
        return -(-self.faces // self.batch_size)

    @property
    def faces_per_second(self) -> float:
        """Of training, without validation."""
        return self.batch_size / self.step_seconds

    @property
    def hours(self) -> float:
        """Of the whole run, with a validation after each epoch."""
        return self.epochs * (self.steps * self.step_seconds + self.validation_seconds) / 3600

    def text(self) -> str:
        """The plan in lines to read."""
        seen, steps = self.epochs * self.faces, self.epochs * self.steps
        rates = ", ".join(f"{rate:.3g} from epoch {epoch}" for epoch, rate in self.rates)
        measured = f"{self.measured_steps} measured steps of {self.step_seconds:.2f} s"
        return "\n".join(
            [
                f"{self.model}: {self.faces:,} faces an epoch, {self.epochs} epochs, {seen:,} faces in all",
                f"  steps          {self.steps:,} an epoch, {steps:,} in all, batch {self.batch_size}",
                f"  learning rate  {rates}",
                f"  memory         MXNet plans {self.planned_gigabytes:.1f} GB for a step on each device; "
                f"this process took {self.peak_gigabytes:.1f} GB at most",
                f"  time           {self.hours:,.1f} hours, by {measured} ({self.faces_per_second:.1f} faces/s) and "
                f"{self.validation_seconds:.0f} s for {self.validation_faces:,} validation faces",
            ]
        )

    def row(self) -> str:
        """A line of the table in docs/reproduce.md."""
        cells = (
            f"`{self.model}`",
            str(self.batch_size),
            f"{self.step_seconds:.2f}",
            f"{self.faces_per_second:.1f}",
            f"{self.validation_seconds:.1f} for {self.validation_faces}",
            f"{self.planned_gigabytes:.1f}",
            f"{self.peak_gigabytes:.1f}",
        )
        return f"| {' | '.join(cells)} |"


ROW_HEADS = (
    "| network | batch | seconds a step | faces/s | seconds a validation | GB planned | GB measured |\n"
    "|---|---|---|---|---|---|---|"
)


def rate_changes(schedule: Rates, epochs: int) -> list[tuple[int, float]]:
    """(epoch, rate) at the first epoch and wherever the rate of an epoch's start is another one than before.

    Of a rate that changes in every epoch, a few evenly spread epochs.
    """
    starts = [(epoch + 1, schedule.rate(epoch)) for epoch in range(epochs)]
    changes = starts[:1] + [after for before, after in zip(starts, starts[1:]) if after[1] != before[1]]
    if len(changes) <= SHOWN_RATES:
        return changes
    return [changes[round(k * (len(changes) - 1) / (SHOWN_RATES - 1))] for k in range(SHOWN_RATES)]


def measure_plan(
    model: str,
    net: HybridBlock,
    loader: Loader,
    faces: int,
    objective: Objective,
    validate: Callable[[HybridBlock], dict[str, Any]],
    validation_faces: int,
    options: FitOptions,
    devices: Sequence[mx.Context],
    batch_size: int,
    planned_gigabytes: float,
    steps: int = STEPS,
) -> Plan:
    """Measures some steps and a validation, without learning anything; see `Plan` and `measure_steps`."""
    epochs = options.schedule.epochs
    step_seconds = measure_steps(net, loader, objective, options, devices, steps)
    validation_seconds = measure_validation(validate, net)
    return Plan(
        model,
        faces,
        validation_faces,
        epochs,
        batch_size,
        rate_changes(options.schedule, epochs),
        planned_gigabytes,
        steps,
        step_seconds,
        validation_seconds,
        peak_memory_megabytes() / 1024,
    )


def measure_steps(
    net: HybridBlock,
    loader: Loader,
    objective: Objective,
    options: FitOptions,
    devices: Sequence[mx.Context],
    count: int = STEPS,
) -> float:
    """Seconds of one training step with loading, at a learning rate of 0; a first step does not count.

    Raises:
        ValueError: fewer than one step.
    """
    if count < 1:
        raise ValueError(f"{count} steps: measure 1 or more")
    settings = {**(options.optimizer_settings or {}), "learning_rate": 0.0, "wd": 0.0}
    trainer = Trainer(net.collect_params(), options.optimizer, settings, update_on_kvstore=False)
    batches = _endless(loader)
    start = 0.0
    for number, batch in enumerate(itertools.islice(batches, count + 1)):
        parts = [np.array_split(array, len(devices)) for array in batch]
        with autograd.record():
            losses = [sum(objective(net, part, device).values()) for device, *part in zip(devices, *parts)]
        autograd.backward(losses)
        trainer.step(len(batch[0]))
        mx.nd.waitall()
        start = start if number else monotonic()
    return (monotonic() - start) / count


def measure_validation(validate: Callable[[HybridBlock], dict[str, Any]], net: HybridBlock) -> float:
    """Seconds of one validation."""
    start = monotonic()
    validate(net)
    return monotonic() - start


def _endless(loader: Loader) -> Iterator[Sequence[Any]]:
    return itertools.chain.from_iterable(map(loader.epoch, itertools.count()))
