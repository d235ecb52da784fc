"""Quoted figures beside ours: DeepPose's squared error by hand, LGCN's count of faces."""

import numpy as np
import pytest

from evaluation.protocols import get_protocol
from evaluation.summary import Evaluation
from report.quoted import quoted_lines, squared_errors


def evaluation_of(model, dataset, subset, shifts, points=68):
    """Faces of 100 x 80 px whose points are all off by a shift (x, y) of each; NaN for one that was not found."""
    truth = np.tile(np.linspace((0.0, 0.0), (100.0, 80.0), points), (len(shifts), 1, 1))
    boxes = np.tile([0.0, 0.0, 100.0, 80.0], (len(shifts), 1))
    predicted = truth + np.asarray(shifts)[:, None]
    names = [str(k) for k in range(len(shifts))]
    return Evaluation(model, get_protocol(dataset, subset), names, predicted, truth, {}, len(names), boxes=boxes)


def test_squared_pixels_of_the_crop_by_hand():
    result = evaluation_of("deeppose_resnet18", "helen194", "test", [(5, 0), (0, 50), (np.nan, np.nan)], 194)
    # The crop's side is 1.25 * 100 px of the photo and 256 px of the crop; half of the coordinates are off.
    expected = [(5 * 256 / 125) ** 2 / 2, (50 * 256 / 125) ** 2 / 2]
    np.testing.assert_allclose(squared_errors(result, 0.25)[:2], expected)
    assert np.isnan(squared_errors(result, 0.25)[2])
    (line,) = quoted_lines(result, 0.25)
    assert f"{np.mean(expected):.2f} px², 1 of 2 faces above 200 | paper: 27.84" in line
    assert "8.00 in validation" in line


def test_faces_above_a_tenth_are_counted():
    # The outer eye corners, 36 and 45 of 68, lie 9 of 67 steps of 128.06 px apart: 17.2 px.
    result = evaluation_of("lgcn_64 + shape model", "300w", "full", [(1.7, 0), (1.8, 0), (np.nan, np.nan)])
    assert quoted_lines(result, 0.17) == ["faces above 10 %: 2 of 3 | paper: 4 of 689, lgcn_128 with shape model"]
    assert quoted_lines(evaluation_of("ffld_resnet18", "300w", "full", [(1, 0)]), 0.25) == []


def test_without_boxes_there_are_no_pixels_of_the_crop():
    with pytest.raises(ValueError, match="need the boxes"):
        squared_errors(Evaluation("m", get_protocol("300w", "full"), [], np.zeros((0, 68, 2)), None, {}, 0), 0.1)
