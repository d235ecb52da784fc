"""Bootstrap intervals and sign-flip tests against values by hand, the normal approximation and SciPy."""

import numpy as np
import pytest
from scipy import stats

from evaluation import resampling
from evaluation.resampling import mean_intervals, paired_difference, sign_flip_p_value


def test_two_faces_by_hand():
    """Drawn twice, the mean of 0 and 1 is 0, one half or 1; each end comes up a quarter of the time."""
    assert mean_intervals(np.array([[0.0, 1.0]])) == [(0.0, 1.0)]


def test_ten_faces_of_which_one_differs():
    """It is drawn k times with the chance of a binomial of 10 and 0.1: 0 to 3 times in 95 %, as 4 has 1.3 %."""
    values = np.zeros((1, 10))
    values[0, 4] = 1.0
    assert stats.binom.ppf([0.025, 0.975], 10, 0.1).tolist() == [0, 3]
    assert mean_intervals(values)[0] == pytest.approx((0.0, 0.3))


def test_many_faces_as_the_normal_distribution_has_it():
    values = np.random.default_rng(1).normal(5, 2, 400)
    (interval,) = mean_intervals(values[None])
    half = 1.96 * values.std() / 20
    assert interval == pytest.approx((values.mean() - half, values.mean() + half), abs=0.05 * half)


def test_a_face_without_a_value_is_left_out_of_its_mean_alone():
    lacking, other = mean_intervals(np.array([[3.0, np.nan, 3.0], [1.0, 2.0, 3.0]]))
    assert lacking == (3.0, 3.0)
    assert other == (1.0, 3.0)
    assert np.isnan(mean_intervals(np.full((1, 4), np.nan))[0]).all()


def test_all_quantities_see_the_same_draws():
    values = np.random.default_rng(2).gamma(3, 1, 50)
    first, second = mean_intervals(np.stack([values, values + 1]))
    assert np.subtract(second, first) == pytest.approx([1, 1])


def test_the_seed_decides_and_portions_do_not_matter(monkeypatch):
    values = np.random.default_rng(3).gamma(3, 1, (2, 40))
    whole = mean_intervals(values, rounds=500, seed=4)
    assert mean_intervals(values, rounds=500, seed=4) == whole
    assert mean_intervals(values, rounds=500, seed=5) != whole
    monkeypatch.setattr(resampling, "_AT_ONCE", 40 * 7)
    for low_and_high, expected in zip(mean_intervals(values, rounds=500, seed=4), whole):
        assert low_and_high == pytest.approx(expected)


@pytest.mark.parametrize(
    ("differences", "p_value"),
    [
        ([1, 2, 3], 2 / 8),  # only all plus and all minus reach 6
        ([3, -1], 1.0),  # the sums are 4, 2, -2 and -4
        ([1, 1, 1, 1, -1], 12 / 32),  # 5 ways each to 3 and -3, one each to 5 and -5
        ([0.0, 0.0], 1.0),
        ([0.1, 0.2, 0.3], 2 / 8),
    ],
)
def test_all_ways_of_few_signs(differences, p_value):
    assert sign_flip_p_value(np.array(differences, float)) == p_value


def test_drawn_signs_come_near_to_all_ways():
    differences = np.random.default_rng(6).normal(0.5, 1, 12)
    exact = sign_flip_p_value(differences, rounds=5000)
    assert 0.02 < exact < 0.5
    assert sign_flip_p_value(differences, rounds=4000) == pytest.approx(exact, abs=0.03)


def test_many_faces_as_students_test_has_it():
    differences = np.random.default_rng(7).normal(0.17, 1, 300)
    expected = stats.ttest_1samp(differences, 0).pvalue
    assert 0.01 < expected < 0.5
    assert sign_flip_p_value(differences) == pytest.approx(expected, abs=0.02)


def test_a_p_value_is_never_0():
    assert sign_flip_p_value(np.ones(100), rounds=99) == 1 / 100


def test_paired_difference():
    first, second = np.array([0.02, 0.05, np.nan, 0.04]), np.array([0.03, 0.07, 0.01, np.nan])
    found = paired_difference(first, second)
    assert found.mean == pytest.approx(0.015)
    assert found.interval == pytest.approx((0.01, 0.02))
    assert found.p_value == 0.5  # both signs agree in two of four ways
    assert found.faces == 2


def test_nothing_in_common():
    with pytest.raises(ValueError, match="no face was measured by both"):
        paired_difference(np.array([0.1, np.nan]), np.array([np.nan, 0.1]))
