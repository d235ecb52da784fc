"""The training loop that every script uses."""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Callable, Iterator, Protocol, Sequence

import mxnet as mx
import numpy as np
from mxnet import autograd
from mxnet.contrib import amp
from mxnet.gluon import HybridBlock, Trainer
from tqdm import tqdm

from common.ahead import read_ahead
from common.cli import says_what_is_kept
from engine.averaging import WeightAverage, share_running_statistics
from engine.checkpoint import Progress, load_checkpoint, save_checkpoint
from engine.clipping import clip_global_norm
from engine.devices import half_precision
from engine.distributed import Team
from engine.feed import Objective, ReadyBatch, losses_of, uploaded
from engine.losses import EpochLoss, NotFinite
from engine.record import ErrorMeasure, RunRecord
from engine.schedule import Schedule


class EpochSource(Protocol):
    """Batches by epoch, each a sequence of arrays whose first axis counts the samples.

    Of several workers each has as many batches, and of every batch its own part, which may hold no sample.
    """

    def __len__(self) -> int: ...

    def epoch(self, epoch: int) -> Iterator[Sequence[np.ndarray]]:
        """The batches of one epoch; they depend on its number alone."""
        ...


@dataclass(frozen=True)
class FitOptions:
    """Options of a run.

    Attributes:
        schedule: learning rate and number of epochs.
        optimizer: MXNet's name.
        optimizer_settings: its settings besides the rate, such as {"wd": 5e-4}.
        clip_norm: largest norm of the gradient over all parameters, per sample; 0 for no clipping.
        average_decay: of the weight average; 0 for none.
        patience: epochs without a better validation before the run stops; 0 for never.
        amp: half precision, which `engine.devices.use_half_precision` has turned on.
        validate_every: epochs between validations; the last epoch is always validated.
        seed: of randomness inside the network, such as dropout.
    """

    schedule: Schedule
    optimizer: str = "adam"
    optimizer_settings: dict[str, Any] | None = None
    clip_norm: float = 0.0
    average_decay: float = 0.0
    patience: int = 0
    amp: bool = False
    validate_every: int = 1
    seed: int = 0


_REMEDY = "lower --lr, or look at the data"


class Fit:
    """Trains one network.

    Args:
        net: initialised on `contexts`, hybridized, and run once.
        batches: source of the samples.
        objective: (net, arrays, context) -> {term: (N,) loss of each sample}, whose terms are added; or one in two
            parts, the first of which is done ahead (engine/feed.py).
        validate: net -> numbers for the log, among them `error`.
        error: the number that validation is judged by; lower is better.
        save_best: called with the network whenever validation improved.
        options: of the run.
        contexts: devices; a batch is divided among them.
        before_epoch: called before each epoch with the log of the earlier ones, by a resumed run too.
        team: the workers that train the network together, each with its own part of every batch; the first validates,
            writes and decides.
    """

    def __init__(
        self,
        net: HybridBlock,
        batches: EpochSource,
        objective: Objective,
        validate: Callable[[HybridBlock], dict[str, float]],
        error: ErrorMeasure,
        save_best: Callable[[HybridBlock], None],
        options: FitOptions,
        contexts: list[mx.Context],
        before_epoch: Callable[[list[dict[str, Any]]], None] = lambda history: None,
        team: Team | None = None,
    ) -> None:
        self._net, self._batches, self._objective = net, batches, objective
        self._team = team or Team()
        self._before_epoch = before_epoch
        self._validate, self._error, self._save_best = validate, error, save_best
        self._options, self._contexts = options, contexts
        settings = {"learning_rate": options.schedule.rate(0), **(options.optimizer_settings or {})}
        # In the network's own order: a dictionary is sorted by names, whose numbers depend on what was built before.
        parameters = list(net.collect_params().values())
        self._trainer = Trainer(parameters, options.optimizer, settings, self._team.store, update_on_kvstore=False)
        averages = options.average_decay and self._team.first
        self._average = WeightAverage(net, options.average_decay) if averages else None
        self._scaled = options.amp and half_precision(contexts[0]) == "float16"  # bfloat16 reaches as far as float32
        if self._scaled:
            amp.init_trainer(self._trainer)

    def run(self, folder: Path, record: RunRecord, arguments: dict[str, Any], resume: bool = False) -> Progress:
        """Trains to the last epoch or until patience ends, writing a checkpoint after each epoch.

        Raises:
            NotFinite: the loss or the validation error is no longer finite.
            ValueError: a resumed run has trained more epochs than are asked for.
            OSError: a file could not be written; the previous checkpoint is intact.
        """
        state, first = Progress(arguments=arguments), self._team.first
        self._team.start(self._trainer)
        if resume:
            state = load_checkpoint(folder, self._net, self._trainer, self._average)
            state.arguments = arguments
        steps = len(self._batches)
        self._team.agree(
            {
                "their number of steps": steps,
                "--gpus": len(self._contexts),
                "RUN/last.npz": (state.epoch, state.history),
            }
        )
        if first:
            record.start(state.history)
        epochs = self._options.schedule.epochs
        saved = state.epoch
        if resume:
            self._check_end(state, epochs)
        done, total = state.epoch * steps, epochs * steps
        bar = tqdm(total=total, initial=done, unit="batch", mininterval=1, disable=None if first else True)
        with bar, says_what_is_kept(lambda: _kept_text(saved, folder)):
            while state.epoch < epochs and not self._out_of_patience(state):
                self._one_epoch(state, bar)
                if self._average is not None:
                    state.average_updates = self._average.updates
                if first:
                    save_checkpoint(folder, self._net, self._trainer, self._average, state)
                    record.epoch(state.history, self._error)
                saved = state.epoch
                if bar.disable:
                    print(_epoch_text(state, epochs, self._error), flush=True)
        if first:
            record.finish({"best_error": state.best, "best_epoch": state.best_epoch, "epochs": state.epoch})
        return state

    def _check_end(self, state: Progress, epochs: int) -> None:
        """Says where nothing is left to train, and refuses fewer epochs than were trained."""
        if state.epoch > epochs:
            raise ValueError(f"the run has trained {state.epoch} epochs, more than --epochs {epochs}: name more")
        if state.epoch == epochs:
            print(f"all {epochs} epochs are trained, nothing is left to do; --epochs N goes on")
        elif self._out_of_patience(state):
            print(f"no better for {state.epoch - state.best_epoch} epochs, so nothing is left to do; see --patience")

    def _out_of_patience(self, state: Progress) -> bool:
        return 0 < self._options.patience <= state.epoch - state.best_epoch

    def _one_epoch(self, state: Progress, bar: tqdm) -> None:
        # Seeded in each epoch: MXNet cannot save the state of its generator, and a resumed run must draw the same.
        mx.random.seed(1_000_003 * self._options.seed + state.epoch + 500_009 * self._team.rank)
        start, loss = monotonic(), EpochLoss(state.epoch + 1, self._team)
        self._before_epoch(state.history)
        source = uploaded(self._batches.epoch(state.epoch), self._net, self._objective, self._contexts)
        with closing(source), closing(read_ahead(source, count=1)) as ready:
            for number, batch in enumerate(ready):
                self._trainer.set_learning_rate(self._options.schedule.rate(state.epoch + number / len(self._batches)))
                self._step(batch, loss)
                bar.update()
                shown = {"epoch": state.epoch + 1, "loss": f"{loss.mean:.4g}", "best": f"{100 * state.best:.2f}%"}
                bar.set_postfix(shown, refresh=False)
        loss.finish()
        # The engine orders reads behind writes, but for those of the running statistics (engine/averaging.py).
        mx.nd.waitall()
        # What is validated must be what is saved, and what a resumed run starts from on every device.
        share_running_statistics(self._net, self._team)
        state.epoch += 1
        line = {
            "epoch": state.epoch,
            "loss": loss.mean,
            "learning_rate": self._trainer.learning_rate,
            "faces_per_second": round(loss.samples / (monotonic() - start), 1),
        }
        due = state.epoch % self._options.validate_every == 0 or state.epoch == self._options.schedule.epochs
        if due and self._team.first:
            line.update(self._validated(state))
        line["seconds"] = round(monotonic() - start, 1)
        line, state.best, state.best_epoch = self._team.from_first([line, state.best, state.best_epoch])
        state.history.append(line)

    def _step(self, batch: ReadyBatch, loss: EpochLoss) -> None:
        """One update, which the devices may finish later; `loss` gets its losses."""
        terms = []
        with autograd.record():
            for context, part, weight in zip(self._contexts, batch.parts, batch.weights):
                part_terms = losses_of(self._objective)(self._net, part, context)
                terms.append({name: weight * term for name, term in part_terms.items()})
            losses = [sum(each.values()) for each in terms]
            if self._scaled:
                with amp.scale_loss(losses, self._trainer) as scaled:
                    autograd.backward(scaled)
        if not self._scaled:
            autograd.backward(losses)
        count = int(self._team.total(np.array([float(batch.samples)]))[0])
        loss.add(count, terms, losses)
        self._trainer.allreduce_grads()
        if self._options.clip_norm:
            if self._scaled:
                amp.unscale(self._trainer)  # the gradients carry the loss scale until here
            self._clip(count)
        self._trainer.update(count)
        if self._average is not None:
            self._average.update()

    def _clip(self, count: int) -> None:
        for context in self._contexts:
            gradients = [p.grad(context) for p in self._net.collect_params().values() if p.grad_req != "null"]
            clip_global_norm(gradients, self._options.clip_norm * count)

    def _validated(self, state: Progress) -> dict[str, float]:
        if self._average is None:
            return self._measure(state)
        with self._average.applied():
            return self._measure(state)

    def _measure(self, state: Progress) -> dict[str, float]:
        numbers = self._validate(self._net)
        if not math.isfinite(numbers[self._error.key]):
            values = "; ".join(f"{name} {value:.4g}" for name, value in numbers.items())
            raise NotFinite(f"validation is not finite in epoch {state.epoch} ({values}): {_REMEDY}")
        if numbers[self._error.key] < state.best:
            state.best, state.best_epoch = numbers[self._error.key], state.epoch
            self._save_best(self._net)
        return numbers


def _kept_text(epochs: int, folder: Path) -> str:
    if not epochs:
        return f"no epoch was finished, {folder} can be removed"
    return f"{epochs} epochs are kept, go on with --resume {folder}"


def _epoch_text(state: Progress, epochs: int, error: ErrorMeasure) -> str:
    line = state.history[-1]
    measured = f", {error.text} {100 * line[error.key]:.2f} %" if error.key in line else ""
    left = (epochs - state.epoch) * line["seconds"] / 60
    return f"epoch {state.epoch} of {epochs}: loss {line['loss']:.4g}{measured}, about {left:.0f} minutes left"
