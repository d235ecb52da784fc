"""The box that a detected face is cropped by, for networks of other points than the detector's box is tight around."""

import dataclasses
import json
import pickle
from collections import namedtuple

import numpy as np
import pytest
from test_evaluate_script import FRACTIONS, MODEL, save_constant_network

import export
from datasets.conversions import convert
from datasets.faces import Face
from datasets.geometry import landmark_box
from datasets.ibug_300w import load
from datasets.markups import IBUG_51, IBUG_68, INSIGHTFACE_5, get_markup
from gluon_models.weights import describe, read_info
from inference import training_boxes
from inference.detections import Detection
from inference.detectors import BoxCorrection, CorrectedDetector, relative_boxes
from inference.evaluation import box_source
from inference.exported import describe_graph
from inference.landmark_detector import LandmarkDetector, markup_of
from inference.training_boxes import KNOWN_BOXES, SAME_BOX, measure_box, own_box, training_box, whole_face_margin

FACE = np.array([0.0, 0, 100, 100])
DOWN, UP = BoxCorrection(0.0, 0.1, 0.8, 0.8), BoxCorrection(0.0, -0.1, 0.5, 0.25)
Faces = namedtuple("Faces", "faces markup")
Faces.__len__ = lambda self: len(self.faces)
Faces.__getitem__ = lambda self, index: self.faces[index]


class Finds:
    """A detector that finds the same box in every photo, and one elsewhere."""

    def __call__(self, image, name=""):
        return [Detection(FACE + 500, 0.5), Detection(FACE, 0.9)]


@pytest.fixture(scope="module")
def five(tmp_path_factory):
    return save_constant_network(tmp_path_factory.mktemp("five") / "five.params", FRACTIONS[:5], 5)


def test_two_corrections_are_one():
    # By hand: centre (50, 50) to (50, 60), size 80; then 8 upwards, 40 by 20.
    assert DOWN.then(UP).apply(FACE).tolist() == pytest.approx([30, 42, 70, 62])
    assert DOWN.then(DOWN.inverse()) == pytest.approx(SAME_BOX)


def test_a_network_of_five_points_is_given_their_box(five):
    detector = LandmarkDetector.from_pretrained(five, CorrectedDetector(Finds(), DOWN))
    image = np.zeros((700, 700, 3), np.uint8)
    # The face's box is (10, 20) to (90, 100); that of eyes and mouth is 0.455 and 0.507 of it, 0.069 of it higher.
    expected = [50 - 18.2, 60 - 5.52 - 20.28, 50 + 18.2, 60 - 5.52 + 20.28]
    for each in (detector, pickle.loads(pickle.dumps(detector))):
        assert each(image)[1].box.tolist() == pytest.approx(expected)


def test_what_training_measured_comes_before_what_the_markup_says(five):
    info = read_info(five)
    assert training_box(info) == KNOWN_BOXES["insightface_5"]
    assert training_box(dataclasses.replace(info, training_box=UP._asdict())) == UP
    assert training_box(dataclasses.replace(info, markup_definition={"names": list("abcde")})) == SAME_BOX
    assert training_box(describe(MODEL, "ibug_68", num_landmarks=68)) == SAME_BOX


def test_the_median_over_the_faces_that_are_found(monkeypatch):
    monkeypatch.setattr(training_boxes, "get_detector", lambda name: Finds())
    image, points = np.zeros((9, 9, 3), np.uint8), np.zeros((7, 2))
    boxes = [[30, 40, 70, 60], [30, 42, 70, 62], [30, 44, 70, 64], [30, 42, 70, 66], [30, 42, 70, 58], [900, 0, 950, 9]]
    faces = [Face(image, points, np.array(box, float), str(box)) for box in boxes]
    measured = measure_box(Faces(faces, get_markup(7)))
    # Centres are 50, 52, 54, 54, 50 and heights 20, 20, 20, 24, 16 of 100; the last face was not found.
    assert measured == (BoxCorrection(0.0, 0.02, 0.4, 0.2), 5, 6)
    assert measure_box(Faces(faces[:4], get_markup(7))) == (None, 4, 4)


def test_the_margin_that_shows_the_whole_face():
    five = KNOWN_BOXES["insightface_5"]
    assert whole_face_margin(0.25, five) == pytest.approx(1.25 / 0.507 - 1, abs=1e-3)
    assert whole_face_margin(0.25, SAME_BOX) == whole_face_margin(0.25, BoxCorrection(0, 0, 1.2, 1.5)) == 0.25


def test_a_network_of_68_on_faces_with_five_gets_the_whole_faces_box():
    info = describe(MODEL, "ibug_68", num_landmarks=68)
    assert own_box(INSIGHTFACE_5, info).apply(KNOWN_BOXES["insightface_5"].apply(FACE)) == pytest.approx(FACE)
    assert own_box(IBUG_68, info) == own_box(get_markup(7), info) == SAME_BOX
    boxes = box_source("truth", converted=UP)
    assert boxes.kind == "converted"
    face = Face(np.zeros((9, 9, 3), np.uint8), np.zeros((5, 2)), FACE, "x")
    assert boxes.find(face).tolist() == pytest.approx([25, 27.5, 75, 52.5])


def test_the_exported_json_has_the_networks_own_box(five, tmp_path):
    said = describe_graph(read_info(five).spec, False, markup_of(read_info(five)), training_box(read_info(five)))
    haar = said["use"]["detector_box_to_landmark_box"]["haar"]
    # 0.154 - 0.848 * 0.069, 0.865 * 0.455, 0.848 * 0.507
    assert [haar[key] for key in ("shift_x", "shift_y", "width", "height")] == [0.0, 0.0955, 0.3936, 0.4299]
    export.main(["--model", MODEL, "--weights", str(five), "--out", str(tmp_path / "five"), "--gpus", "none"])
    assert json.loads((tmp_path / "five.json").read_text())["use"] == said["use"]


@pytest.mark.parametrize("box", [{"width": 1}, {**UP._asdict(), "height": 0}, {**UP._asdict(), "shift_x": "0"}, []])
def test_a_damaged_box_is_refused(five, tmp_path, box):
    about = {**json.loads(five.with_suffix(".json").read_text()), "training_box": box}
    (tmp_path / "x.params").touch()
    (tmp_path / "x.json").write_text(json.dumps(about))
    with pytest.raises(ValueError, match="training_box"):
        read_info(tmp_path / "x.params")


@pytest.mark.data
def test_known_boxes_are_what_300w_training_photos_say(face_data):
    faces = load(face_data("300w"), "train", allow_missing=True)
    points = faces.points[[name.startswith(("helen/", "lfpw/")) for name in faces.names]]
    whole = np.stack([landmark_box(each) for each in points])
    for markup in (IBUG_51, INSIGHTFACE_5):
        part = np.stack([landmark_box(each) for each in convert(points, IBUG_68, markup)])
        rows = relative_boxes(whole, part)
        np.testing.assert_allclose(np.median(rows, axis=0), KNOWN_BOXES[markup.name], atol=0.005)
