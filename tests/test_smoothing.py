"""The One-Euro filter against its paper's algorithm, one number at a time, and what the filters are for."""

import numpy as np
import pytest

from inference.smoothing import LONGEST_GAP, FaceSmoother, OneEuroFilter, carry

RATE = 25.0


def papers_filter(values, cutoff_hz, beta, speed_cutoff_hz, rate):
    """Algorithm 1 of the paper, for one number."""

    def alpha(cutoff):
        tau = 1.0 / (2 * np.pi * cutoff)
        return 1.0 / (1.0 + tau * rate)

    shown, last, speed = [values[0]], values[0], 0.0
    for value in values[1:]:
        speed = alpha(speed_cutoff_hz) * (value - last) * rate + (1 - alpha(speed_cutoff_hz)) * speed
        share = alpha(cutoff_hz + beta * abs(speed))
        last = share * value + (1 - share) * last
        shown.append(last)
    return np.array(shown)


def test_it_is_the_papers_filter():
    values = np.cumsum(np.random.default_rng(0).normal(0, 4, 60))
    points = np.zeros((60, 1, 2))
    points[:, 0, 0] = values
    one = OneEuroFilter(points[0], 0.7, 5.0, 2.0)
    found = [points[0, 0, 0]] + [one(each, 1 / RATE, 100.0)[0, 0] for each in points[1:]]
    np.testing.assert_allclose(found, 100 * papers_filter(values / 100, 0.7, 5.0, 2.0, RATE), atol=1e-9)


def turned(points, degrees, zoom=1.0, shift=(0.0, 0.0)):
    angle = np.deg2rad(degrees)
    return zoom * points @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) + shift


def test_carrying_undoes_a_similarity_and_nothing_else():
    face = np.random.default_rng(0).normal(0, 30, (20, 2))
    moved = turned(face, 25, 1.4, (7, -3))
    np.testing.assert_allclose(carry(face, moved), moved)
    talking = face.copy()
    talking[:3] += (0, 9)
    carried = carry(face, talking)
    assert np.linalg.norm(carried - talking, axis=1)[:3].min() > 5
    # No similarity of the face is nearer.
    best = ((carried - talking) ** 2).sum()
    for other in (carried + 0.1, turned(carried - carried.mean(0), 0.5) + carried.mean(0), 1.005 * carried):
        assert ((other - talking) ** 2).sum() > best


def smoothed(points, cutoff_hz=1.0, size=100.0):
    smooth = FaceSmoother(cutoff_hz)
    return np.stack([smooth(each, index / RATE, size) for index, each in enumerate(points)])


def test_size_and_direction_do_not_matter():
    points = np.random.default_rng(1).normal(0, 5, (30, 6, 2)).cumsum(axis=0)
    expected = 3 * turned(smoothed(points), 53)
    np.testing.assert_allclose(smoothed(3 * turned(points, 53), size=300.0), expected, atol=1e-6)


def test_trembling_goes_and_movement_is_followed():
    rng = np.random.default_rng(2)
    face = rng.normal(0, 30, (68, 2))
    noise = rng.normal(0, 1, (150, 68, 2))
    trembling = [np.diff(smoothed(face + noise, hertz), axis=0)[20:].std() for hertz in (1.0, 0.2)]
    assert trembling[0] < 0.35 * np.diff(noise, axis=0).std()
    assert trembling[1] < 0.8 * trembling[0]
    # A face that crosses its own size in a second and nods meanwhile; noise apart, it lags by less than a hundredth.
    steps = np.arange(100) / RATE
    moving = np.stack([turned(face, 20 * np.sin(3 * t), 1.0, (100 * t, 0)) for t in steps])
    assert np.linalg.norm(smoothed(moving) - moving, axis=2)[10:].mean() < 1.0
    # And it is calmer within itself all the same: what is left of the noise is that of the face as a whole.
    left = smoothed(moving + noise[:100]) - moving
    within = left - left.mean(axis=1, keepdims=True)
    assert within[20:].std() < 0.75


def test_after_a_gap_it_starts_anew():
    face = np.random.default_rng(3).normal(0, 30, (5, 2))
    smooth = FaceSmoother()
    smooth(face, 0.0, 100.0)
    np.testing.assert_array_equal(smooth(face + 50, LONGEST_GAP + 0.1, 100.0), face + 50)
    moved = face + 50
    moved[0] += 10
    assert (smooth(moved, LONGEST_GAP + 0.14, 100.0)[0] < moved[0]).all()


@pytest.mark.parametrize("cutoff", [0.0, -1.0, float("nan")])
def test_a_cutoff_that_lets_nothing_pass_is_refused(cutoff):
    with pytest.raises(ValueError, match="give more than 0"):
        FaceSmoother(cutoff)
