"""Found faces against annotated ones, by hand."""

import numpy as np
import pytest

from figures.found_faces import FoundFaces, judge, rates

SHAPE = np.array([[0.0, 0.0], [80, 0], [40, 50], [0, 45], [80, 45]])  # sqrt(80 * 50) = 63.2


def photo(found, truth):
    """Faces at x, with scores, and annotated ones at x."""
    points = np.array([np.add(SHAPE, (x, 0)) for x, _ in found]).reshape(-1, 5, 2)
    return FoundFaces(points, np.array([score for _, score in found]), np.array([np.add(SHAPE, (x, 0)) for x in truth]))


def test_a_face_is_right_within_8_percent_of_its_box():
    limit = 0.08 * np.sqrt(80 * 50)
    near = photo([(0, 0.5), (limit - 0.01 + 500, 0.9), (1000 + limit + 0.01, 0.8)], [0, 500, 1000])
    assert judge(near).tolist() == [0, 1, -1]


def test_the_surer_of_two_takes_a_face_and_the_other_one_is_false():
    assert judge(photo([(0, 0.5), (1, 0.9)], [0])).tolist() == [-1, 0]
    # Each takes the nearest that is left.
    assert judge(photo([(1, 0.9), (2, 0.8)], [0, 2])).tolist() == [0, 1]


def test_rates_by_hand():
    photos = [photo([(0, 0.9), (300, 0.4)], [0, 600]), photo([(5, 0.6)], []), photo([], [0])]
    photos[1] = photos[1]._replace(truth=np.zeros((0, 5, 2)))
    half, all_ = rates(photos, [0.5, 0.3])
    assert (half.threshold, half.found, half.false) == (0.5, pytest.approx(1 / 3), pytest.approx(1 / 3))
    assert (all_.found, all_.false) == (pytest.approx(1 / 3), pytest.approx(2 / 3))
    assert np.isnan(rates(photos[1:2], [0.5])[0].found)
    with pytest.raises(ValueError, match="no photo"):
        rates([], [0.5])


def test_faces_too_small_are_neither_missed_nor_false():
    large = photo([(0, 0.9), (500, 0.8), (900, 0.7)], [0, 500])
    small = large.truth.copy()
    small[1] = 500 + (small[1] - 500) / 2  # 40 pixels wide
    mixed = FoundFaces(np.stack([large.points[0], small[1], large.points[2]]), large.scores, small)
    (counted,) = rates([mixed], [0.75], least_side=80)
    assert (counted.found, counted.false) == (1.0, 0.0)
    assert rates([mixed], [0.5], least_side=80)[0].false == 1.0
    assert rates([mixed], [0.85], least_side=40)[0].found == 0.5
    assert rates([mixed._replace(truth=small[:1])], [0.75], least_side=80)[0].false == 1.0
