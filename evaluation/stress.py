"""How errors grow as faces are made harder: the figures of a stress test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping, NamedTuple, Sequence

import numpy as np

from evaluation.metrics import failure_rate, mean_of_known
from evaluation.resampling import Interval, mean_intervals


class Level(NamedTuple):
    """The figures at one amount of a degradation.

    Attributes:
        amount: How much of it.
        mean: Error over the faces, a fraction.
        mean_interval: Where the mean lies with 95 % confidence, by resampling the faces.
        failure_rate: Share of the faces above the protocol's threshold.
    """

    amount: float
    mean: float
    mean_interval: Interval
    failure_rate: float


@dataclass(frozen=True)
class Curve:
    """One degradation's figures.

    Attributes:
        name: Short, such as "blur".
        title: In words.
        unit: What an amount counts.
        neutral: The amount that leaves faces as they are.
        levels: In the order of the axis.
    """

    name: str
    title: str
    unit: str
    neutral: float
    levels: tuple[Level, ...]

    @classmethod
    def from_json(cls, values: Mapping) -> Curve:
        """What `report.outputs.json_bytes` wrote of a curve."""
        levels = tuple(Level(amount, mean, Interval(*ends), rate) for amount, mean, ends, rate in values["levels"])
        return cls(values["name"], values["title"], values["unit"], values["neutral"], levels)


def make_levels(amounts: Sequence[float], errors: np.ndarray, threshold: float) -> tuple[Level, ...]:
    """The figures of a degradation.

    Args:
        amounts: m of them.
        errors: (m, n) fractions of the same n faces; NaN for a face that could not be measured.
        threshold: A face fails above this error.
    """
    intervals = mean_intervals(errors)
    return tuple(
        Level(amount, float(mean_of_known(each, axis=0)), interval, failure_rate(each, threshold))
        for amount, each, interval in zip(amounts, errors, intervals)
    )
