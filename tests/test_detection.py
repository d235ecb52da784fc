"""Average precision and recall: by hand, and against GluonCV's metric for PASCAL VOC."""

import math

import mxnet as mx
import numpy as np
import pytest

from common.boxes import overlaps
from evaluation.boxes import overlap
from evaluation.detection import FoundBoxes, SizeRange, average_precision, judge, precision_at, recall_at
from gluon_models.detector.gluoncv_parts import out_of_sight

with out_of_sight("torch"):
    from gluoncv.utils.metrics.voc_detection import VOCMApMetric


def square(x, y, side):
    return [x, y, x + side, y + side]


def found(boxes, scores, truth, ignored=None):
    truth = np.array(truth, float).reshape(-1, 4)
    flags = np.zeros(len(truth), bool) if ignored is None else np.array(ignored)
    return FoundBoxes(np.array(boxes, float).reshape(-1, 4), np.array(scores, float), truth, flags)


def test_overlaps_by_hand_and_by_counting_pixels():
    first, second = np.array([square(0, 0, 10)]), np.array([square(5, 0, 10), square(20, 0, 5), square(0, 0, 10)])
    np.testing.assert_allclose(overlaps(first, second), [[50 / 150, 0, 1]])
    rng = np.random.default_rng(0)
    many = np.hstack([rng.integers(0, 20, (9, 2)), rng.integers(21, 40, (9, 2))])
    masks = np.array([np.outer(*(np.isin(range(40), range(*box[axis::2])) for axis in (0, 1))) for box in many])
    each = [[(one & other).sum() / (one | other).sum() for other in masks] for one in masks]
    np.testing.assert_allclose(overlaps(many, many), each)
    assert overlap(many[0], many[1]) == pytest.approx(each[0][1])
    assert overlaps(np.zeros((0, 4)), many).shape == (0, 9)


def test_average_precision_by_hand():
    """Three faces; by score: right, wrong, right. Precision 1, 1/2, 2/3 at recall 1/3, 1/3, 2/3."""
    truth = [square(0, 0, 10), square(50, 0, 10), square(100, 0, 10)]
    photo = found([square(0, 0, 10), square(200, 0, 10), square(51, 0, 10)], [0.9, 0.8, 0.7], truth)
    verdicts = judge([photo])
    assert verdicts.right.tolist() == [True, False, True]
    assert average_precision(verdicts) == pytest.approx(1 / 3 * 1 + 1 / 3 * 2 / 3)
    assert recall_at(verdicts, 0.75) == pytest.approx(1 / 3)
    assert precision_at(verdicts, 0.75) == pytest.approx(1 / 2)
    assert recall_at(verdicts, 0.7) == pytest.approx(2 / 3)


def test_a_face_counts_once_and_the_surest_has_it():
    photo = found([square(1, 0, 10), square(0, 0, 10)], [0.5, 0.9], [square(0, 0, 10)])
    verdicts = judge([photo])
    assert list(zip(verdicts.scores, verdicts.right)) == [(0.9, True), (0.5, False)]


def test_half_is_enough_and_less_is_not():
    """10 by 5 px of 10 by 10 px are exactly one half."""
    assert judge([found([[0, 0, 10, 5]], [1], [square(0, 0, 10)])]).right.tolist() == [True]
    assert judge([found([[0, 0, 10, 4.99]], [1], [square(0, 0, 10)])]).right.tolist() == [False]


def test_sizes_outside_the_range_count_neither_way():
    truth = [square(0, 0, 30), square(100, 0, 10), square(200, 0, 30)]
    boxes = [square(0, 0, 30), square(100, 0, 10), square(300, 0, 10), square(400, 0, 30)]
    photo = found(boxes, [0.9, 0.8, 0.7, 0.6], truth, ignored=[False, False, True])
    verdicts = judge([photo], SizeRange(24.0))
    # The second is on a small face, the third on nothing but small; the fourth is wrong.
    assert verdicts.scores.tolist() == [0.9, 0.6]
    assert verdicts.right.tolist() == [True, False]
    assert verdicts.faces == 1
    assert average_precision(verdicts) == 1.0
    small = judge([photo], SizeRange(0.0, 24.0))
    assert (small.scores.tolist(), small.right.tolist(), small.faces) == ([0.8, 0.7], [True, False], 1)


def test_a_face_that_counts_is_taken_before_an_ignored_one():
    photo = found([square(0, 0, 10)], [1.0], [[0, 0, 10, 10], [0, 0, 10, 8]], ignored=[True, False])
    assert judge([photo]).right.tolist() == [True]


def test_without_faces_there_is_no_number():
    verdicts = judge([found([square(0, 0, 10)], [0.9], [])])
    assert math.isnan(average_precision(verdicts))
    assert math.isnan(recall_at(verdicts, 0.5))
    assert precision_at(verdicts, 0.5) == 0.0
    assert math.isnan(average_precision(judge([])))


def test_agrees_with_gluoncv():
    """Random photos, some boxes ignored as PASCAL's difficult ones are; true boxes lie apart, where the rules agree."""
    rng = np.random.default_rng(1)
    metric = VOCMApMetric(iou_thresh=0.5, class_names=["face"])
    photos = []
    for _ in range(30):
        places = rng.permutation(16)[: rng.integers(1, 8)]
        truth = np.array([square(60 * (k % 4), 60 * (k // 4), rng.uniform(10, 40)) for k in places])
        ignored = rng.random(len(truth)) < 0.2
        repeated = np.repeat(truth, rng.integers(0, 3, len(truth)), axis=0)
        wrong = np.array([square(*rng.uniform(0, 200, 2), 20) for _ in range(3)])
        boxes = np.vstack([repeated + rng.normal(0, 3, repeated.shape), wrong])
        scores = rng.random(len(boxes))
        photos.append(FoundBoxes(boxes, scores, truth, ignored))
        last_pixel = np.array([0, 0, 1, 1])  # PASCAL's boxes end with the last pixel that is in them
        classes = [np.zeros((len(each), 1)) for each in (boxes, truth)]
        batch = (boxes - last_pixel, classes[0], scores[:, None], truth - last_pixel, classes[1], ignored[:, None])
        metric.update(*(mx.nd.array(values[None]) for values in batch))
    ours = average_precision(judge(photos))
    assert 0.2 < ours < 0.9
    assert ours == pytest.approx(metric.get()[1][0], abs=1e-5)
