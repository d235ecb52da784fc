"""How far a figure may be off by the choice of faces: bootstrap intervals, paired differences, sign-flip tests.

All draws come from a seed. Mean error, failure rate and the area under the CED by each rule are means over faces of
something that one face gives, so one resampling of the faces serves them all.
"""

from __future__ import annotations

from typing import Iterator, NamedTuple

import numpy as np

LEVEL = 0.95
ROUNDS = 10_000
_AT_ONCE = 4_000_000  # draws held in memory


class Interval(NamedTuple):
    """From where to where a figure lies, by the percentiles of its bootstrap."""

    low: float
    high: float


class Difference(NamedTuple):
    """How the errors of two systems on the same faces differ, second minus first.

    Attributes:
        mean: Of the faces' differences.
        interval: Of that mean, by resampling faces with both their errors.
        p_value: Chance that a difference as large, either way, comes of swapping the systems at random face by face.
        faces: How many faces both systems were measured on.
    """

    mean: float
    interval: Interval
    p_value: float
    faces: int


def mean_intervals(values: np.ndarray, rounds: int = ROUNDS, seed: int = 0) -> list[Interval]:
    """Intervals of the means of several quantities over the same faces, by resampling the faces.

    Args:
        values: (m, n), m quantities of n faces; NaN where a face has none, and it is left out of that mean.
        rounds: Number of resamplings of the faces.
        seed: Of the draws.

    Returns:
        m intervals; NaN where no face has a value.
    """
    values = np.asarray(values, np.float64)
    known = ~np.isnan(values)
    means = np.full((rounds, len(values)), np.nan)
    filled, weight = np.where(known, values, 0.0).T, known.astype(np.float64).T
    start = 0
    for counts in _draws(values.shape[1], rounds, np.random.default_rng(seed)):
        total = counts @ weight
        part = means[start : start + len(counts)]
        np.divide(counts @ filled, total, out=part, where=total > 0)
        start += len(counts)
    tail = (1 - LEVEL) / 2
    return [_quantiles(column[~np.isnan(column)], tail) for column in means.T]


def paired_difference(first: np.ndarray, second: np.ndarray, rounds: int = ROUNDS, seed: int = 0) -> Difference:
    """How the errors of two systems on the same faces differ.

    Args:
        first: (n,) errors.
        second: (n,) errors of the same faces; a face that is NaN in either is left out.
        rounds: Of the bootstrap and of the permutation test.
        seed: Of both.

    Raises:
        ValueError: No face was measured by both.
    """
    difference = np.asarray(second, np.float64) - np.asarray(first, np.float64)
    difference = difference[~np.isnan(difference)]
    if difference.size == 0:
        raise ValueError("no face was measured by both systems")
    (interval,) = mean_intervals(difference[None], rounds, seed)
    p_value = sign_flip_p_value(difference, rounds, seed)
    return Difference(float(difference.mean()), interval, p_value, difference.size)


def sign_flip_p_value(differences: np.ndarray, rounds: int = ROUNDS, seed: int = 0) -> float:
    """Share of all ways to give differences (n,) a sign whose sum is at least as far from 0 as theirs.

    Where there are at most `rounds` ways they are all tried, else so many are drawn, and the observed one counts as one
    more, so that no p-value is 0.
    """
    reached = abs(differences.sum()) * (1 - 1e-12)  # sums of the same numbers in another order differ in the last digit
    if 2.0**differences.size <= rounds:
        ways = np.arange(2**differences.size)[:, None] >> np.arange(differences.size) & 1
        return float(np.mean(np.abs((1 - 2 * ways) @ differences) >= reached))
    rng = np.random.default_rng(seed)
    count = 0
    for size in _portions(differences.size, rounds):
        signs = 1.0 - 2.0 * rng.integers(0, 2, (size, differences.size), np.int8)
        count += int((np.abs(signs @ differences) >= reached).sum())
    return (count + 1) / (rounds + 1)


def _draws(faces: int, rounds: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """How often each face is drawn, (portion, n) at a time."""
    for size in _portions(faces, rounds):
        drawn = rng.integers(0, faces, (size, faces)) + faces * np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * faces).reshape(size, faces).astype(np.float64)


def _portions(faces: int, rounds: int) -> list[int]:
    most = max(1, _AT_ONCE // max(1, faces))
    return [min(most, rounds - done) for done in range(0, rounds, most)]


def _quantiles(means: np.ndarray, tail: float) -> Interval:
    if means.size == 0:
        return Interval(float("nan"), float("nan"))
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(float(low), float(high))
