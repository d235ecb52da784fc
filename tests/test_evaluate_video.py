"""The measures of a video by hand, and the whole command on a few frames."""

import json
import re

import numpy as np
import pytest

from tools import evaluate_video
from tools.evaluate_video import Measured, figures, found_by_all, jitter, nearest


def test_jitter_is_what_the_error_moves_by():
    errors = np.zeros((4, 1, 2, 2))
    errors[:, 0, 0] = (0.3, -0.2)  # wrong, but at rest
    assert jitter(errors) == 0
    errors[::2, 0, 1, 0] = 0.04  # to and fro: each step is 0.04 for one of two points
    assert jitter(errors) == pytest.approx(0.04 / np.sqrt(2))
    errors[2] = np.nan  # a frame in which the face was not found
    assert jitter(errors) == pytest.approx(0.04 / np.sqrt(2))


def test_figures_by_hand():
    errors = np.full((5, 2, 3, 2), 0.0)
    errors[..., 0] = 0.03
    errors[2, 1] = np.nan
    compared = np.ones((5, 2), bool)
    compared[0] = False
    errors[0] = 9.0  # found, but not by the other way
    row = figures(Measured(errors, 4, [1, 3], 2.5), compared)
    assert row == {
        "nme": pytest.approx(0.03),
        "jitter": pytest.approx(0.0),
        "missed": 1,
        "false": 4,
        "numbers_per_face": 2.0,
        "frames_per_second": 2.0,
    }


def test_errors_are_compared_where_all_have_them():
    one, other = np.zeros((4, 2, 3, 2)), np.zeros((4, 2, 3, 2))
    one[0, 0], other[3, 1] = np.nan, np.nan
    found = found_by_all([Measured(each, 0, [1, 1], 1.0) for each in (one, other)])
    np.testing.assert_array_equal(found, [[False, True], [True, True], [True, True], [True, False]])
    one[1:, 0], one[:3, 1] = np.nan, np.nan
    with pytest.raises(ValueError, match="in two frames in a row"):
        found_by_all([Measured(one, 0, [1, 1], 1.0)])


def test_a_face_is_of_the_nearest_true_one_that_is_free():
    square = np.array([[0.0, 0], [10, 0], [0, 10], [10, 10]])
    truth = np.stack([square, square + 30])
    assert nearest(square + 1, truth, {0, 1}) == 0
    assert nearest(square + 29, truth, {0, 1}) == 1
    assert nearest(square + 29, truth, {0}) is None
    assert nearest(square + 10, truth, {0, 1}) is None


def test_a_short_video_is_followed_with_the_shipped_network(tmp_path, capsys):
    text = ["--frames", "5", "--faces", "1", "--side", "240", "--seed", "1", "--smooth", "0.3", "--detector", "haar"]
    assert evaluate_video.main([*text, "--gpus", "none", "--out", str(tmp_path)]) == 0
    rows = json.loads((tmp_path / "video.json").read_text(encoding="utf-8"))["results"]
    assert list(rows) == ["each frame by itself", "followed", "followed, smoothed 0.3 Hz"]
    for row in rows.values():
        assert row["nme"] < 0.08
        assert (row["missed"], row["false"], row["numbers_per_face"]) == (0, 0, 1.0)
    assert rows["followed, smoothed 0.3 Hz"]["jitter"] != rows["followed"]["jitter"]
    assert len(re.findall(r"^(each|followed)", capsys.readouterr().out, re.MULTILINE)) == 3
    assert (tmp_path / "video.avi").stat().st_size > 10_000
