"""Learning rates as a function of the epochs done, so that a resumed run needs no further state."""

from __future__ import annotations

import math
from dataclasses import dataclass

KINDS = ("step", "milestones", "cosine", "constant")


@dataclass(frozen=True)
class Schedule:
    """Learning rate over a run.

    Attributes:
        kind: "step" (times decay_factor every decay_epochs), "milestones" (the same after each of them), "cosine" (to 0
            at the end) or "constant".
        learning_rate: at the start, after the warm-up.
        epochs: length of the run.
        decay_factor: of "step" and "milestones".
        decay_epochs: of "step".
        decay_milestones: of "milestones": epochs after which the rate falls.
        warmup_epochs: the rate rises linearly from 0 over these.
    """

    kind: str
    learning_rate: float
    epochs: int
    decay_factor: float = 0.1
    decay_epochs: int = 1
    decay_milestones: tuple[int, ...] = ()
    warmup_epochs: float = 0.0

    def __post_init__(self) -> None:
        """Raises ValueError for a kind that is not known."""
        if self.kind not in KINDS:
            raise ValueError(f"unknown --schedule '{self.kind}': choose one of {', '.join(KINDS)}")

    def rate(self, epochs_done: float) -> float:
        """Learning rate after `epochs_done` epochs, fractions included."""
        warmup = min(1.0, (epochs_done + 1e-3) / self.warmup_epochs) if self.warmup_epochs else 1.0
        if self.kind == "step":
            return warmup * self.learning_rate * self.decay_factor ** int(epochs_done / self.decay_epochs)
        if self.kind == "milestones":
            passed = sum(epochs_done >= milestone for milestone in self.decay_milestones)
            return warmup * self.learning_rate * self.decay_factor**passed
        if self.kind == "cosine":
            return warmup * self.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, epochs_done / self.epochs)))
        return warmup * self.learning_rate
