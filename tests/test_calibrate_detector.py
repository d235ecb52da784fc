"""The correction of a detector's boxes: found again where it is known, written beside others, and compared."""

import json

import mxnet as mx
import numpy as np
import pytest

from datasets.faces import Face
from datasets.markups import IBUG_68
from gluon_models import InputSpec
from inference.detectors import BoxCorrection, Detection
from inference.pipeline import PointPredictor
from tools import calibrate_detector
from tools.calibrate_detector import Measured, Row, compare, measure, table, write_correction

TRUE = BoxCorrection(0.0, 0.15, 0.9, 0.8)
SPEC = InputSpec(size=16, colour="rgb", mean=(0.0,) * 3, scale=(1.0,) * 3, box_margin=0.0, output="points")


class Faces:
    """Faces without a picture: boxes here and there, points in rows in them."""

    markup = IBUG_68

    def __init__(self, count):
        corners = np.random.default_rng(0).uniform(0, 100, (count, 2))
        sizes = np.random.default_rng(1).uniform(30, 60, (count, 2))
        self.boxes, self.names = np.hstack([corners, corners + sizes]), [f"{k}" for k in range(count)]

    def __len__(self):
        return len(self.boxes)

    def __getitem__(self, index):
        x0, y0, x1, y1 = self.boxes[index]
        rows = np.linspace([x0, y0], [x1, y1], 68)
        return Face(np.zeros((200, 200, 3), np.uint8), rows, self.boxes[index], self.names[index])


class Inverse:
    """Finds the boxes that TRUE takes to the right ones, but for a nudge; misses each tenth face."""

    box_kind = "some box"

    def __init__(self, faces, nudge=0.0):
        self.faces, self.nudge = faces, nudge

    def __call__(self, image, name=""):
        index = int(name)
        x0, y0, x1, y1 = self.faces.boxes[index]
        size = np.array([x1 - x0, y1 - y0]) / TRUE[2:]
        centre = np.array([x0 + x1, y0 + y1]) / 2 - size * TRUE[:2] + self.nudge * size * (-1) ** index
        elsewhere = Detection(np.array([180.0, 180, 199, 199]), 9.0)
        if index % 10 == 9:
            return [elsewhere]
        return [elsewhere, Detection(np.concatenate([centre - size / 2, centre + size / 2]), 1.0)]


def test_a_known_correction_is_found_again():
    faces = Faces(40)
    found = measure(Inverse(faces, nudge=0.02), faces)
    np.testing.assert_allclose(found.correction, TRUE, atol=0.021)
    np.testing.assert_allclose(found.correction[2:], TRUE[2:])
    assert found.correction.shift_x == 0
    np.testing.assert_allclose(found.spread, [0.04, 0.04, 0, 0], atol=1e-6)
    assert (found.faces, found.missed) == (40, 4)


def test_a_detector_that_finds_nothing_has_no_correction():
    with pytest.raises(ValueError, match="found 0 of 5 faces"):
        measure(lambda image, name: [], Faces(5))


class Diagonal:
    """Answers the diagonal of the crop: right if the box is."""

    def __call__(self, crops):
        steps = np.linspace(0, 1, 68)
        return mx.nd.array(np.repeat(np.stack([steps, steps], -1)[None], crops.shape[0], axis=0))


def test_landmarks_are_compared_from_box_to_box():
    faces = Faces(20)
    for box in faces.boxes:  # squares, whose diagonal is theirs
        box[3] = box[1] + box[2] - box[0]
    rows = compare(PointPredictor(Diagonal(), SPEC), Inverse(faces, 0.1), TRUE, faces)
    assert [row.boxes for row in rows] == ["true", "true, two passes", "detector's", "detector's, two passes"]
    assert [int(np.isnan(row.errors).sum()) for row in rows] == [0, 0, 2, 2]
    true, _, detected, _ = (np.nanmean(row.errors) for row in rows)
    assert true < 0.15 < detected  # half a pixel, and a tenth of the face, of points 36 to 45


def test_the_table_is_over_faces_that_all_have():
    errors = np.array([0.02, 0.04, 0.5])
    lines = table([Row("true", errors), Row("detector's", np.array([0.03, 0.09, np.nan]))]).splitlines()
    assert lines[0].endswith("on 2 faces")
    assert lines[1].split() == ["true", "3.00", "+0.0", "%", "3.00", "0.0", "0"]
    assert lines[2].split() == ["detector's", "6.00", "+100.0", "%", "6.00", "50.0", "1"]


def test_an_entry_is_replaced_and_the_others_stay(tmp_path):
    path = tmp_path / "corrections.json"
    measured = Measured(BoxCorrection(0.0, 0.12345, 0.9, 0.8), np.array([0.1, 0.2, 0.3, 0.4]), 50, 3)
    write_correction(path, "haar", measured, "first")
    write_correction(path, "faster_rcnn", measured, "second")
    write_correction(path, "haar", measured._replace(missed=4), "third")
    entries = json.loads(path.read_text(encoding="utf-8"))
    assert [(name, each["missed"], each["command"]) for name, each in entries.items()] == [
        ("haar", 4, "third"),
        ("faster_rcnn", 3, "second"),
    ]
    assert entries["haar"]["correction"] == {"shift_x": 0.0, "shift_y": 0.123, "width": 0.9, "height": 0.8}
    path.write_text("[1]", encoding="utf-8")
    with pytest.raises(ValueError, match="no file of box corrections"):
        write_correction(path, "haar", measured, "fourth")


def test_a_missing_data_set_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="300-W"):
        calibrate_detector.main(["--data", str(tmp_path), "--gpus", "none"])
