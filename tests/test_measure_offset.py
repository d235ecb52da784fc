"""tools/measure_offset.py: what a network learned of the annotators' offset does not change the measurement."""

from dataclasses import replace

import numpy as np
import pytest

from datasets.markup import Markup
from gluon_models import get_spec
from tools.measure_offset import BothWays, offsets_of

PAIR = Markup("pair", ("chin", "right_eye", "left_eye"), None, None, {}, ())
SIZE = 40


class Brightest:
    """Places the chin at the brightest pixel, the eyes 5 px to its left and 6 px to its right, all too far right."""

    spec, batch_size = replace(get_spec("resnet18_slim"), size=SIZE), 8

    def __init__(self, error):
        self._error = error

    def __call__(self, crops):
        rows, columns = np.divmod(crops[..., 0].reshape(len(crops), -1).argmax(axis=1), SIZE)
        chin = np.stack([columns, rows], axis=1).astype(float)[:, None]
        return chin + np.array([(self._error, 0), (self._error - 5, -9), (self._error + 6, -9)])


@pytest.mark.parametrize("error", [0.0, 2.0])
def test_both_ways_cancel_what_is_always_to_the_right(error):
    crop = np.zeros((1, SIZE, SIZE, 3), np.uint8)
    crop[0, 30, 12] = 255
    # In the mirror image the right eye is seen 5 px to the left too, so its mean distance is 5.5 px.
    expected = [[(12, 30), (6.5, 21), (17.5, 21)]]
    np.testing.assert_allclose(BothWays(Brightest(error), PAIR)(crop), expected, atol=1e-9)


def test_the_offset_is_of_the_boxs_longer_side():
    predicted = np.array([[(0.0, 0), (40, 0), (20, 60)], [(0, 0), (80, 0), (20, 60)]])
    annotated = predicted + np.array([3.0, 5.0])
    np.testing.assert_allclose(offsets_of(predicted, annotated), [3 / 60, 3 / 80])
