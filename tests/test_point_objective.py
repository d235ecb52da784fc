"""What points are compared with, by hand."""

import mxnet as mx
import numpy as np
import pytest

from gluon_models.points import point_targets

POINTS = np.array([[[10.0, 20], [40, 60], [np.nan, np.nan]], [[5, 5], [8, 9], [29, 5]]], "f")


def test_the_distance_between_the_eye_corners_and_what_is_annotated():
    targets = point_targets(POINTS, (0, 1), True, mx.cpu())
    np.testing.assert_allclose(targets.eye_distance.asnumpy(), [50, 5])
    np.testing.assert_array_equal(targets.known.asnumpy()[..., 0], [[1, 1, 0], [1, 1, 1]])
    np.testing.assert_array_equal(targets.truth.asnumpy()[0, 2], [0, 0])


def test_faces_in_profile_are_measured_by_their_box():
    targets = point_targets(POINTS, None, True, mx.cpu())
    np.testing.assert_allclose(targets.eye_distance.asnumpy(), np.sqrt([30 * 40, 24 * 4]), rtol=1e-6)


def test_a_face_without_eye_corners_is_refused_where_they_are_needed():
    with pytest.raises(ValueError, match="no outer eye corners"):
        point_targets(POINTS, (0, 2), True, mx.cpu())
    assert np.isnan(point_targets(POINTS, (0, 2), False, mx.cpu()).eye_distance.asnumpy()[0])
