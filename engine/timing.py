"""Times repeated steps and measures the memory of this process."""

from __future__ import annotations

import resource
from dataclasses import dataclass
from time import monotonic
from typing import Any, Callable, Iterator

import numpy as np

PREDICTION_BATCH = 64


@dataclass(frozen=True)
class PredictionCost:
    """The cost of prediction by a network.

    Attributes:
        milliseconds: for one face alone, the median.
        milliseconds_10: its 10th percentile.
        milliseconds_90: its 90th percentile.
        faces_per_second: of batches of `PREDICTION_BATCH`.
        memory_megabytes: peak of this process, libraries included.
    """

    milliseconds: float
    milliseconds_10: float
    milliseconds_90: float
    faces_per_second: float
    memory_megabytes: float


def rate(counts: Iterator[int], seconds: float) -> float:
    """Faces per second of an endless iterator over numbers of faces done; the first step is not counted."""
    next(counts)
    start, done = monotonic(), 0
    while monotonic() - start < seconds:
        done += next(counts)
    return done / (monotonic() - start)


def durations(run: Callable[[], Any], seconds: float) -> np.ndarray:
    """Seconds of each run, (n,), as many as fit and at least one; the first does not count."""
    run()
    taken, start = [], monotonic()
    while not taken or monotonic() - start < seconds:
        begun = monotonic()
        run()
        taken.append(monotonic() - begun)
    return np.array(taken)


def time_prediction(predict: Callable[[np.ndarray], Any], crops: np.ndarray, seconds: float) -> PredictionCost:
    """Predicts the first of the crops (n, S, S, 3) alone, then a batch of them; each for `seconds`."""
    batch = np.resize(crops, (PREDICTION_BATCH, *crops.shape[1:]))
    low, middle, high = 1000 * np.percentile(durations(lambda: predict(crops[:1]), seconds), (10, 50, 90))
    faces_per_second = PREDICTION_BATCH / durations(lambda: predict(batch), seconds).mean()
    return PredictionCost(float(middle), float(low), float(high), float(faces_per_second), peak_memory_megabytes())


def peak_memory_megabytes() -> float:
    """Peak memory of this process, without that on GPUs."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
