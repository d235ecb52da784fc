"""Landmarks of a video without jitter: One-Euro filters, in the face's own frame first.

G. Casiez, N. Roussel, D. Vogel, "1 Euro filter: a simple speed-based low-pass filter for noisy input in interactive
systems", CHI 2012: a low-pass filter whose cutoff rises with speed, so that what rests does not tremble and what moves
does not lag. Points of a face mostly move because all of it does, at a speed at which the filter lets noise pass too.
So the last frame's points are first carried along by the similarity transform that takes them best to the new ones;
only what is left over is filtered strongly, and then the whole face lightly. docs/video.md has the comparison.

Lengths are divided by the face's size, so that one setting serves faces of all sizes, and the speed is that of a point,
not of each coordinate, so that it does not matter which way it moves.
"""

from __future__ import annotations

import numpy as np

from inference.shape_model import kabsch

CUTOFF_HZ = 1.0  # of a point at rest
SHAPE_PER_SPEED = 5.0  # Hz for each face size per second, within the face
PLACE_PER_SPEED = 200.0  # the same, of the face as a whole
SHAPE_SPEED_CUTOFF_HZ = 1.0  # of the speed itself; the paper's value
PLACE_SPEED_CUTOFF_HZ = 3.0  # the face as a whole starts and stops faster
LONGEST_GAP = 0.5  # seconds; after a longer one the filters start over


def low_pass_share(cutoff_hz: np.ndarray | float, seconds: float) -> np.ndarray | float:
    """What share of a new value a low-pass filter takes over after so many seconds (the paper's alpha)."""
    return 1.0 / (1.0 + 1.0 / (2 * np.pi * cutoff_hz * seconds))


class OneEuroFilter:
    """The paper's filter for points that belong together.

    Args:
        points: (K, 2) the first ones.
        cutoff_hz: of a point at rest.
        per_speed: Hz that are added for each face size per second.
        speed_cutoff_hz: of the speed itself.
    """

    def __init__(self, points: np.ndarray, cutoff_hz: float, per_speed: float, speed_cutoff_hz: float) -> None:
        self.points = points
        self._velocity = np.zeros_like(points)
        self._cutoff_hz, self._per_speed, self._speed_cutoff_hz = cutoff_hz, per_speed, speed_cutoff_hz

    def __call__(self, points: np.ndarray, gap: float, size: float, start: np.ndarray | None = None) -> np.ndarray:
        """New points (K, 2) after `gap` seconds on a face of `size` pixels -> smoothed ones (K, 2).

        The last smoothed points are taken to be at `start` (K, 2) by now, or where they were.
        """
        start = self.points if start is None else start
        velocity = (points - start) / gap
        self._velocity = self._velocity + low_pass_share(self._speed_cutoff_hz, gap) * (velocity - self._velocity)
        speed = np.linalg.norm(self._velocity, axis=1, keepdims=True) / size
        share = low_pass_share(self._cutoff_hz + self._per_speed * speed, gap)
        self.points = start + share * (points - start)
        return self.points


class FaceSmoother:
    """Smooths the points of one face, frame after frame.

    Args:
        cutoff_hz: of a face at rest; smaller is calmer.

    Raises:
        ValueError: the cutoff is not positive.
    """

    def __init__(self, cutoff_hz: float = CUTOFF_HZ) -> None:
        if not cutoff_hz > 0:
            raise ValueError(f"a filter with a cutoff of {cutoff_hz} Hz lets nothing pass: give more than 0")
        self._cutoff_hz = cutoff_hz
        self._seconds = -np.inf
        self._start(np.zeros((0, 2)))

    def _start(self, points: np.ndarray) -> None:
        self._shape = OneEuroFilter(points, self._cutoff_hz, SHAPE_PER_SPEED, SHAPE_SPEED_CUTOFF_HZ)
        self._place = OneEuroFilter(points, self._cutoff_hz, PLACE_PER_SPEED, PLACE_SPEED_CUTOFF_HZ)

    def __call__(self, points: np.ndarray, seconds: float, size: float) -> np.ndarray:
        """Points (K, 2) at a time and a size of the face, both lengths in pixels -> smoothed points (K, 2)."""
        gap = seconds - self._seconds
        self._seconds = seconds
        if not 0 < gap <= LONGEST_GAP:
            self._start(points)
            return points
        shaped = self._shape(points, gap, size, carry(self._shape.points, points))
        return self._place(shaped, gap, size)


def carry(points: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Points (K, 2) turned, enlarged and moved as a whole to lie as near to target (K, 2) as they can."""
    turned = (points - points.mean(axis=0)) @ kabsch(points, target).T
    centre = target.mean(axis=0)
    return centre + turned * ((turned * (target - centre)).sum() / max((turned**2).sum(), 1e-12))
