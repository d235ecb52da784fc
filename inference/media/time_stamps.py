"""What the time stamps of a video's frames tell; some of them may be missing or wrong."""

from __future__ import annotations

from typing import Sequence

import numpy as np

USUAL_RATE = 25.0  # frames per second where a video does not say
_SHORTEST_STEP = 1e-6  # seconds; less is the rounding of equal times
_LONGEST_STEP = 366 * 86_400.0  # seconds; FFmpeg's stamp for a time that it does not know is centuries away


class Clock:
    """Seconds since the first frame, which grow from frame to frame.

    Args:
        period: seconds from a frame to the next where the time stamps do not tell.
    """

    def __init__(self, period: float) -> None:
        self._period = period
        self._origin: float | None = None
        self._last = self._seconds = 0.0

    def __call__(self, stamp: float, frames: int = 1) -> float:
        """The time of a frame by its stamp in seconds, `frames` after the last one."""
        if self._origin is None:
            self._origin = self._last = stamp
            return 0.0
        step = stamp - self._origin - self._seconds
        if not _SHORTEST_STEP < step <= _LONGEST_STEP:
            step = stamp - self._last
            if _SHORTEST_STEP < step <= _LONGEST_STEP:  # the stamps began again before the last frame
                self._origin = self._last - self._seconds
            else:
                step = frames * self._period
        self._seconds += step
        self._last = stamp
        return self._seconds


def rate_of(stamps: Sequence[float]) -> float:
    """Frames per second of frames at `stamps` seconds, pauses left out; 0 if they do not tell."""
    steps = np.diff(stamps)
    steps = steps[(steps > _SHORTEST_STEP) & (steps <= _LONGEST_STEP)]
    return round(float(1 / steps[steps < 2 * np.median(steps)].mean()), 2) if len(steps) else 0.0
