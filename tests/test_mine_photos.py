"""Photos on which the small detector errs: what is an error by hand, and the written folder as training reads it."""

import numpy as np

from datasets.catalog import training_pair
from datasets.detection import voc
from datasets.detection.landmark_boxes import face_box
from datasets.images import write_image
from datasets.pts_files import write_pts
from datasets.render.faces import RenderedFaces
from inference.detectors import Detection
from tools import mine_photos
from tools.mine_photos import mined

FACE = np.array([100.0, 100, 200, 220])
SIZE = (600, 300)
NONE = np.zeros((0, 4))


def boxes(*rows):
    return np.array(rows, float).reshape(-1, 4)


def test_what_faster_rcnn_does_not_see_is_an_error():
    seen = boxes([105, 95, 200, 225], [10, 10, 40, 40])
    found = mined(SIZE, FACE, seen, boxes([101, 99, 198, 221]), np.array([1.0]))
    np.testing.assert_array_equal(found.boxes, [FACE])
    assert found.ignored.tolist() == [False]


def test_without_an_error_there_is_nothing_to_learn():
    assert mined(SIZE, FACE, boxes(FACE), NONE, np.zeros(0)) is None
    assert mined(SIZE, FACE, NONE, NONE, np.zeros(0)) is None
    assert mined(SIZE, FACE, boxes([560, 100, 599, 140], [300, 0, 340, 40]), NONE, np.zeros(0)) is None  # cut off
    further = boxes([10, 10, 40, 40])
    assert mined(SIZE, FACE, further, further + 2, np.array([0.3])) is None


def test_further_faces_are_sure_or_ignored_and_so_are_small_errors():
    others = boxes([300, 100, 380, 200], [10, 10, 60, 70], [400, 10, 440, 60])
    seen = np.concatenate([others[:2], boxes([250, 250, 290, 290], [500, 40, 512, 52])])
    found = mined(SIZE, FACE, seen, others, np.array([0.95, 0.5, 0.2]))
    np.testing.assert_array_equal(found.boxes, [FACE, others[0], others[1], [500, 40, 512, 52]])
    assert found.ignored.tolist() == [False, False, True, True]


def test_annotations_are_read_as_they_were_written(tmp_path):
    written = boxes([0, 1.5, 20.25, 40], [3, 4, 5, 6])
    voc.write_voc(tmp_path / "a.xml", "é.png", written, np.array([False, True]))
    name, read, difficult = voc.read_voc(tmp_path / "a.xml")
    assert (name, difficult.tolist()) == ("é.png", [False, True])
    np.testing.assert_array_equal(read, written)


def test_photos_with_an_error_become_a_folder_to_train_on(tmp_path, monkeypatch, capsys, refused):
    (tmp_path / "faces").mkdir()
    for index, face in enumerate(RenderedFaces(3, size=96)):
        write_image(tmp_path / "faces" / f"{index}.png", face.image)
        write_pts(tmp_path / "faces" / f"{index}.pts", face.points_image)
    further = Detection(boxes([70, 3, 90, 28])[0], 0.99)
    monkeypatch.setattr(mine_photos, "load_detector", lambda path, context: path)
    monkeypatch.setattr(mine_photos, "center_finder", lambda *_: lambda image, least: (boxes([3, 3, 23, 23]), [0.4]))
    monkeypatch.setattr(mine_photos, "FasterRcnnDetector", lambda **_: lambda image: [further])
    text = ["--dataset", "pts", "--data", str(tmp_path / "faces"), "--out", str(tmp_path / "out"), "--gpus", "none"]
    assert mine_photos.main(text) == 0
    assert "2 of 2 photos" in capsys.readouterr().out  # the third is for validation
    photos = voc.load(tmp_path / "out")
    face = training_pair("pts", str(tmp_path / "faces"))[0][1]
    np.testing.assert_array_equal(photos[1].image, face.image)
    np.testing.assert_allclose(photos[1].boxes, [face_box(face.points_image), [70, 3, 90, 28]], atol=0.01)
    assert photos[1].ignored.tolist() == [False, False]
    refused(lambda: mine_photos.main(text), "is not empty: name a new folder")
