"""What a training would take: faces, steps, learning rates, memory, and time at the speed of some measured steps."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from time import monotonic
from typing import Any, Callable, Generator, Iterator, NamedTuple, Protocol, Sequence

import mxnet as mx
from mxnet import autograd
from mxnet.gluon import HybridBlock, Trainer

from common.ahead import read_ahead
from datasets.loader import Loader
from engine.feed import Objective, ReadyBatch, losses_of, uploaded
from engine.fit import FitOptions
from engine.timing import peak_memory_megabytes

STEPS = 10
SHOWN_RATES = 8  # at most


class Rates(Protocol):
    """A learning-rate schedule."""

    def rate(self, epochs_done: float) -> float:
        """Learning rate after `epochs_done` epochs."""
        ...


class StepCost(NamedTuple):
    """Seconds of a training step, each the mean of some measured ones.

    Attributes:
        loading: making a batch, in the processes of --workers.
        upload: bringing it to the devices.
        device: the step itself on a batch that is there.
        whole: all of them at once, as training does it.
    """

    loading: float
    upload: float
    device: float
    whole: float


PACE = {
    "loading": "loading sets the pace: more --workers, --cache, or --augment-on device",
    "upload": "uploading sets the pace",
    "device": "the device sets the pace: loading keeps up with it",
}
"""What to say of the slowest part of a step."""


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
        loading_seconds: of one batch, see StepCost.
        upload_seconds: of one batch.
        device_seconds: of one step on a batch that is on the device.
        step_seconds: of one step with all of it.
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
    loading_seconds: float
    upload_seconds: float
    device_seconds: float
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

    @property
    def bottleneck(self) -> str:
        """The slowest part of a step, and what to do about it."""
        parts = {"loading": self.loading_seconds, "upload": self.upload_seconds, "device": self.device_seconds}
        return PACE[max(parts, key=lambda name: parts[name])]

    def cost_text(self) -> str:
        """How fast each part of a step is, and validation; and which part of a step is the slowest."""
        parts = (
            ("loading", self.loading_seconds),
            ("upload", self.upload_seconds),
            ("step on the device", self.device_seconds),
            ("all at once", self.step_seconds),
        )
        each = ", ".join(f"{name} {self.batch_size / seconds:,.0f}" for name, seconds in parts)
        validation = f"validation {self.validation_faces / self.validation_seconds:,.0f}"
        return f"faces/s: {each}, {validation}; {self.bottleneck}"

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
                f"  parts          {self.cost_text()}",
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
            f"{self.loading_seconds:.3f}, {self.upload_seconds:.4f}, {self.device_seconds:.3f}",
            f"{self.validation_seconds:.1f} for {self.validation_faces}",
            f"{self.planned_gigabytes:.1f}",
            f"{self.peak_gigabytes:.1f}",
        )
        return f"| {' | '.join(cells)} |"


ROW_HEADS = (
    "| network | batch | seconds a step | faces/s | loading, upload, device (s) | seconds a validation | GB planned | "
    "GB measured |\n|---|---|---|---|---|---|---|---|"
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
    """Measures some steps and a validation of a network that is not kept; see `Plan` and `measure_steps`."""
    epochs = options.schedule.epochs
    cost = measure_steps(net, loader, objective, options, devices, steps)
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
        *cost,
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
) -> StepCost:
    """Measures training steps as they are taken, and what they consist of, at a learning rate close to 0.

    A first step does not count; each part is measured over a third as many steps.

    Raises:
        ValueError: fewer than one step.
    """
    if count < 1:
        raise ValueError(f"{count} steps: measure 1 or more")
    # Not 0: a head that starts at zero would go on answering flat heatmaps, which validation refuses.
    settings = {**(options.optimizer_settings or {}), "learning_rate": 1e-6, "wd": 0.0}
    trainer = Trainer(net.collect_params(), options.optimizer, settings, update_on_kvstore=False)

    def step(batch: ReadyBatch) -> None:
        with autograd.record():
            parts = zip(devices, batch.parts, batch.weights)
            terms = [(losses_of(objective)(net, part, device), weight) for device, part, weight in parts]
            losses = [weight * sum(each.values()) for each, weight in terms]
        autograd.backward(losses)
        trainer.step(batch.samples)

    fewer, batches = (count + 2) // 3, _endless(loader)
    ready = uploaded(batches, net, objective, devices)
    whole = _seconds(map(step, read_ahead(ready, count=1)), count)
    arrays = next(batches)
    loading = _seconds(batches, fewer)
    batches.close()
    loader.close()  # workers that go on would slow a step that a CPU takes
    again = uploaded(itertools.repeat(arrays), net, objective, devices)
    upload = _seconds(again, fewer)
    return StepCost(loading, upload, _seconds(map(step, itertools.repeat(next(again))), fewer), whole)


def _seconds(work: Iterator[Any], count: int) -> float:
    """Seconds of each of `count` items of work with all that it started on the devices, without the first item."""
    next(work)
    mx.nd.waitall()
    start = monotonic()
    for _ in itertools.islice(work, count):
        pass
    mx.nd.waitall()
    return (monotonic() - start) / count


def measure_validation(validate: Callable[[HybridBlock], dict[str, Any]], net: HybridBlock) -> float:
    """Seconds of one validation."""
    start = monotonic()
    validate(net)
    return monotonic() - start


def _endless(loader: Loader) -> Generator[Sequence[Any], None, None]:
    for epoch in itertools.count():
        yield from loader.epoch(epoch)
