"""Each metric against values worked out by hand, closed forms, and SciPy's and NumPy's own integration."""

import numpy as np
import pytest
from scipy.integrate import simpson

from datasets.ibug_300w import read_pts
from datasets.markups import MARKUPS, get_markup
from evaluation.metrics import (
    NORMALIZERS,
    auc,
    auc_shares,
    ced,
    failure_rate,
    known_normalizers,
    landmark_errors,
    lengths,
    nme,
)


def make_face():
    """A face of 68 points whose lengths are known: eyes 60 px apart at their outer corners, box 80 by 60 px."""
    points = np.full((68, 2), (50.0, 60.0))
    points[36:42] = [(20, 40), (24, 37), (30, 37), (35, 40), (30, 43), (24, 43)]
    points[42:48] = [(65, 40), (70, 37), (76, 37), (80, 40), (76, 43), (70, 43)]
    points[0], points[16], points[8] = (10, 45), (90, 45), (50, 97)
    return points


RIGHT_3_DOWN_4 = np.array([3, 4])  # 5 px

# Sums of the eyes' x: 163 and 437, so pupils at 163/6 and 437/6; corner midpoints at 27.5 and 72.5.
HAND_LENGTHS = {
    "outer_eye": 60.0,
    "pupil": (437 - 163) / 6,
    "eye_midpoint": 45.0,
    "box_geometric": np.sqrt(80 * 60),
    "box_diagonal": 100.0,
    "box_mean": 70.0,
}


@pytest.mark.parametrize("normalizer", HAND_LENGTHS)
def test_length_of_a_known_face(normalizer):
    truth = np.stack([make_face(), 2 * make_face() + 7])
    expected = HAND_LENGTHS[normalizer]
    np.testing.assert_allclose(lengths(truth, normalizer), [expected, 2 * expected])
    np.testing.assert_allclose(nme(truth + RIGHT_3_DOWN_4, truth, normalizer), [5 / expected, 5 / (2 * expected)])


def test_nme_is_the_mean_of_distances_not_the_distance_of_means():
    truth = make_face()[None]
    predicted = truth.copy()
    predicted[0, 0] += (6, 8)
    predicted[0, 1] -= (6, 8)
    assert nme(predicted, truth, "outer_eye") == pytest.approx(20 / 68 / 60)
    per_landmark = landmark_errors(predicted, truth, "outer_eye")
    assert per_landmark.shape == (1, 68)
    np.testing.assert_allclose(per_landmark[0, :3], [10 / 60, 10 / 60, 0])


def test_one_length_per_face():
    truth = np.zeros((3, 5, 2))
    predicted = truth + np.array([0, 2])
    np.testing.assert_allclose(nme(predicted, truth, np.array([10.0, 20.0, np.nan])), [0.2, 0.1, np.nan])


@pytest.mark.parametrize(("size", "expected"), [((200, 100), [2 / 150, 2 / 150]), ([(40, 40), (10, 30)], [0.05, 0.1])])
def test_image_normalizer_is_the_mean_of_width_and_height(size, expected):
    truth = np.zeros((2, 7, 2))
    np.testing.assert_allclose(nme(truth + np.array([2, 0]), truth, "image", image_size=size), expected)


def test_landmarks_that_are_not_annotated_are_left_out_of_their_face():
    truth = np.stack([make_face(), make_face()])
    predicted = truth + RIGHT_3_DOWN_4
    predicted[0, 50] += 1000
    truth[0, 50] = np.nan
    predicted[1, 51] = np.nan
    np.testing.assert_allclose(nme(predicted, truth, "outer_eye"), 5 / 60)


def test_one_lacking_coordinate_is_a_landmark_that_is_not_annotated():
    truth = make_face()[None]
    predicted = truth + RIGHT_3_DOWN_4
    truth[0, 8, 1] = np.nan  # the chin, the lowest point: the box ends at y = 60 without it
    assert nme(predicted, truth, "box_mean") == pytest.approx(5 / ((80 + 60 - 37) / 2))


def test_a_face_without_annotation_has_no_error():
    truth = np.stack([make_face(), np.full((68, 2), np.nan)])
    for normalizer in HAND_LENGTHS:
        errors = nme(np.zeros_like(truth), truth, normalizer)
        assert np.isfinite(errors[0])
        assert np.isnan(errors[1])


@pytest.mark.parametrize(
    ("lacking", "unmeasurable"),
    [(36, {"outer_eye", "pupil", "eye_midpoint"}), (39, {"pupil", "eye_midpoint"}), (41, {"pupil"}), (8, set())],
)
def test_an_eye_length_needs_all_of_its_points(lacking, unmeasurable):
    truth = make_face()[None]
    truth[0, lacking] = np.nan
    found = {name for name in HAND_LENGTHS if np.isnan(nme(truth, truth, name)[0])}
    assert found == unmeasurable


@pytest.mark.parametrize("normalizer", [*HAND_LENGTHS, np.array([3.0, 0.0])])
def test_a_length_of_zero_is_an_error_that_names_the_face(normalizer):
    truth = np.stack([make_face(), np.full((68, 2), 4.0)])
    with pytest.raises(ValueError, match=r"face 1: .*normalizer is 0"):
        nme(truth, truth, normalizer)


@pytest.mark.parametrize("wrong", [-1.0, np.inf])
def test_a_length_that_is_no_length(wrong):
    with pytest.raises(ValueError, match="face 0"):
        nme(np.zeros((1, 5, 2)), np.zeros((1, 5, 2)), np.array([wrong]))


@pytest.mark.parametrize(
    ("predicted", "truth", "normalizer", "message"),
    [
        ((2, 68, 2), (3, 68, 2), "outer_eye", "differ in shape"),
        ((68, 2), (68, 2), "outer_eye", "shape"),
        ((2, 68, 2), (2, 68, 2), "ocular", "outer_eye, pupil, eye_midpoint, box_geometric"),
        ((2, 68, 2), (2, 68, 2), "image", "image_size"),
        ((2, 68, 2), (2, 68, 2), np.ones(3), "2 faces"),
        ((2, 67, 2), (2, 67, 2), "outer_eye", "67"),
    ],
)
def test_what_cannot_be_measured_says_why(predicted, truth, normalizer, message):
    with pytest.raises(ValueError, match=message):
        nme(np.ones(predicted), np.ones(truth), normalizer)


def test_errors_do_not_change_with_the_frame():
    rng = np.random.default_rng(3)
    truth, predicted = rng.normal(size=(2, 4, 68, 2)) * 30
    for normalizer in HAND_LENGTHS:
        moved = nme(2.5 * predicted - 11, 2.5 * truth - 11, normalizer)
        np.testing.assert_allclose(moved, nme(predicted, truth, normalizer))


@pytest.mark.parametrize("markup", MARKUPS, ids=lambda markup: markup.name)
def test_every_normalizer_that_is_known_for_a_markup_works_and_no_other(markup):
    truth = np.random.default_rng(0).normal(size=(2, markup.num_landmarks, 2))
    for name in set(NORMALIZERS) - {"image"}:
        if name in known_normalizers(markup.num_landmarks):
            assert np.all(nme(truth + 1, truth, name) > 0)
        else:
            with pytest.raises(ValueError, match=markup.name):
                nme(truth, truth, name)


# --- the cumulative error distribution and what is read off it


def test_ced_and_failure_rate_count_an_error_at_the_threshold_as_good():
    errors = np.array([0.05, 0.01, 0.08, np.inf, np.nan])
    np.testing.assert_array_equal(ced(errors, [0, 0.01, 0.05, 0.0799, 0.08, 1]), [0, 0.25, 0.5, 0.5, 0.75, 0.75])
    assert failure_rate(errors, 0.08) == 0.25
    assert failure_rate(errors, 0.0799) == 0.5


def test_exact_area_of_a_step_function():
    # Two steps of height 1/2: areas (0.08 - 0.02) / 2 and (0.08 - 0.06) / 2, over 0.08.
    assert auc(np.array([0.06, 0.02]), 0.08) == pytest.approx(0.5)
    assert auc(np.array([0.0, 0.0]), 0.07) == 1
    assert auc(np.array([0.07, 0.5, np.inf]), 0.07) == 0


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ([0.0], 69 / 70),  # the first threshold is 0, and 0 < 0 is false
        ([0.03], 40 / 70),  # 30/999 is the first threshold above
        ([0.03, 0.05], 30 / 70),
        ([10 / 999], 59 / 70),  # strict: the threshold at the error itself does not count
        ([69 / 999], 0.0),  # the last of the 70 thresholds is 0.06907
        ([0.03, np.inf], 20 / 70),
    ],
)
def test_fan_rule_at_seven_per_cent(errors, expected):
    assert auc(np.array(errors), 0.07, "fan") == pytest.approx(expected, abs=1e-12)


def test_fan_rule_equals_its_published_loop():
    errors = np.random.default_rng(5).gamma(3, 0.012, size=300)
    axis = np.linspace(0, 1, 1000)
    curve = [float((errors < at).sum()) / errors.size for at in axis]
    assert auc(errors, 0.07, "fan") == pytest.approx(sum(curve[:70]) / 70)


@pytest.mark.parametrize("rule", ["exact", "simpson", "trapezoid"])
def test_uniform_errors_fill_half_the_area(rule):
    errors = (np.arange(800) + 0.5) * 1e-4  # the CED is a straight line from 0 to 1 at 0.08
    assert auc(errors, 0.08, rule) == pytest.approx(0.5, abs=1e-12)


@pytest.mark.parametrize("step", [1, 2, 201, 350, 799])
def test_grid_rules_on_a_single_step(step):
    """One face whose error lies between two grid points: the CED is 1 from grid point `step` of 800 on."""
    errors = np.array([(step - 0.5) * 1e-4])
    # Simpson's weights 1 4 2 4 ... 1 before the step sum to 3 step - 2 if it is odd, else to 3 step - 1.
    before = 3 * step - (2 if step % 2 else 1)
    assert auc(errors, 0.08, "simpson") == pytest.approx(1 - before / 2400)
    assert auc(errors, 0.08, "trapezoid") == pytest.approx(1 - (step - 0.5) / 800)
    assert auc(errors, 0.08, "exact") == pytest.approx(1 - (step - 0.5) / 800)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("exact", (49.5 + 29.5 + 9.5) / 280),
        ("fan", (49 + 29 + 9) / 280),  # thresholds 21/999, 41/999 and 61/999 are the first above
        ("simpson", (1487 + 887 + 287) / 8400),  # the steps are at grid points 205, 405 and 605 of 700, all odd
        ("trapezoid", (495.5 + 295.5 + 95.5) / 2800),
    ],
)
def test_the_worked_example_of_the_documentation(rule, expected):
    assert auc(np.array([0.0205, 0.0405, 0.0605, 0.09]), 0.07, rule) == pytest.approx(expected)


@pytest.mark.parametrize("rule", ["exact", "fan", "simpson", "trapezoid"])
def test_the_area_is_the_mean_of_what_each_face_adds(rule):
    errors = np.array([0.01, np.nan, 0.0351, np.inf])
    shares = auc_shares(errors, 0.07, rule)
    for error, share in zip(errors[[0, 2]], shares[[0, 2]]):
        assert share == auc(np.array([error]), 0.07, rule)
    assert np.isnan(shares[1])
    assert shares[3] == 0
    assert auc(errors, 0.07, rule) == pytest.approx((shares[0] + shares[2]) / 3)


@pytest.mark.parametrize("threshold", [0.05, 0.07, 0.08, 0.1])
def test_grid_rules_equal_scipy_and_numpy(threshold):
    errors = np.random.default_rng(7).gamma(3, 0.013, size=137)
    axis = np.linspace(0, threshold, round(threshold * 10000) + 1)
    curve = np.array([np.mean(errors <= at) for at in axis])
    assert auc(errors, threshold, "simpson") == pytest.approx(simpson(curve, x=axis) / threshold)
    by_numpy = np.trapz(curve, axis)  # noqa: NPY201  the pinned NumPy has no other name for it
    assert auc(errors, threshold, "trapezoid") == pytest.approx(by_numpy / threshold)
    fine = np.linspace(0, threshold, 200001)[1:] - threshold / 400000
    assert auc(errors, threshold) == pytest.approx(ced(errors, fine).mean(), abs=1e-5)


@pytest.mark.parametrize(
    ("errors", "threshold", "rule", "message"),
    [
        ([0.1], 0.07, "romberg", "exact, fan, simpson, trapezoid"),
        ([], 0.07, "exact", "no face"),
        ([-0.1], 0.07, "exact", "negative"),
        ([0.1], 0.0, "exact", "above 0"),
        ([0.1], 0.0001, "fan", "fan rule"),
    ],
)
def test_an_area_that_cannot_be_taken_says_why(errors, threshold, rule, message):
    with pytest.raises(ValueError, match=message):
        auc(np.array(errors), threshold, rule)


@pytest.mark.data
def test_the_eye_lengths_of_real_faces_stand_in_their_known_ratio(face_data):
    files = sorted(face_data("300w/helen/trainset").glob("*.pts"))
    assert len(files) >= 100
    truth = np.stack([read_pts(path) for path in files])
    measured = {name: lengths(truth, name) for name in known_normalizers(68)}
    assert np.median(measured["pupil"] / measured["outer_eye"]) == pytest.approx(0.71, abs=0.01)
    assert np.median(measured["eye_midpoint"] / measured["pupil"]) == pytest.approx(1, abs=0.02)
    assert np.all(measured["box_diagonal"] > measured["box_mean"])
    assert np.all(measured["box_mean"] >= measured["box_geometric"])
    assert get_markup(68).outer_eye_corners == (36, 45)
