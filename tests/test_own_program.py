"""The networks in a program of one's own: exported files, other folders, threads, copies, several photos at once."""

import copy
import json
import os
import pickle
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import export
from datasets.images import write_image
from datasets.render.faces import RenderedFaces
from gluon_models import get_model, get_spec
from inference import LandmarkDetector
from inference.detectors import HaarDetector
from inference.pipeline import PointPredictor

ROOT = Path(__file__).resolve().parent.parent
NAME = "resnet18_slim"


def rendered(count, size):
    return [face.image for face in (RenderedFaces(count, 5, size)[k] for k in range(count))]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    prefix = tmp_path_factory.mktemp("exported") / "face"
    assert export.main(["--model", NAME, "--out", str(prefix), "--onnx", "--raw-input", "--gpus", "none"]) == 0
    return prefix


def run(folder, *argv, **environment):
    """A fresh interpreter outside the checkout."""
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, "-W", "ignore", *map(str, argv)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env={**kept, **environment})


@pytest.mark.parametrize(("script", "size"), [("use_exported.py", 1501), ("use_exported_mxnet.py", 260)])
def test_an_exported_network_finds_the_points_of_this_project(exported, tmp_path, script, size):
    shutil.copy(ROOT / "examples" / script, tmp_path)
    photo = rendered(1, size)[0]
    write_image(tmp_path / "photo.png", photo)
    # The crop of 224 pixels shows the larger face at a quarter, which averages first.
    box = np.array([0.21, 0.3, 0.74, 0.83]) * size
    finished = run(tmp_path, script, exported, "photo.png", *box)
    assert finished.returncode == 0, finished.stderr
    (face,) = LandmarkDetector.from_pretrained(NAME, "whole").detect(photo, [box])
    points = np.array([line.split() for line in finished.stdout.splitlines()], float)
    assert np.abs(points - face.points).max() < 0.1


def test_two_exported_networks_take_a_photo_to_the_points_of_its_faces(exported, tmp_path):
    assert export.main(["--model", "centernet_slim", "--out", str(tmp_path / "found"), "--onnx", "--gpus", "none"]) == 0
    for script in ("photo_to_points.py", "use_exported.py"):
        shutil.copy(ROOT / "examples" / script, tmp_path)
    photo = np.pad(np.hstack(rendered(2, 260)), ((20, 0), (0, 50), (0, 0)))
    write_image(tmp_path / "photo.png", photo)
    finished = run(tmp_path, "photo_to_points.py", "found", exported, "photo.png")
    assert finished.returncode == 0, finished.stderr
    faces = LandmarkDetector.from_pretrained(NAME, "centernet_slim")(photo)
    assert len(faces) == 2
    for line, face in zip(finished.stdout.splitlines(), faces):
        assert np.abs(np.array(json.loads(line)) - face.points).max() < 0.1


FROM_ELSEWHERE = """
import sys
sys.path.insert(int(sys.argv[2]), sys.argv[1])
{first}
from inference import LandmarkDetector
print(LandmarkDetector.__module__)
"""


def test_the_project_is_imported_beside_another_package_called_datasets(tmp_path):
    other = tmp_path / "site" / "datasets"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("load_dataset = None\n")
    environment = {"PYTHONPATH": str(other.parent)}
    finished = run(tmp_path, "-c", FROM_ELSEWHERE.format(first=""), ROOT, 0, **environment)
    assert finished.stdout.split() == ["inference.landmark_detector"], finished.stderr
    for first, place in (("import datasets", 0), ("", 1000)):
        place = 1000 if first else place
        finished = run(tmp_path, "-c", FROM_ELSEWHERE.format(first=first), ROOT, place, **environment)
        assert "put this checkout first" in finished.stderr.splitlines()[-1]
        assert str(other) in finished.stderr.splitlines()[-1]


def together(detector, photos, times, threads=4):
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(detector, photos * times))


def same_faces(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected):
        np.testing.assert_array_equal(one.box, other.box)
        # Crops that run beside others differ in the last bits, and so does the angle by which the next ones are turned.
        np.testing.assert_allclose(one.points, other.points, atol=5e-3)


@pytest.mark.parametrize(("name", "times"), [("haar", 3), ("faster_rcnn", 1), ("centernet_slim", 2)])
def test_threads_find_what_one_finds_from_the_first_call_on(name, times):
    photos = [photo for size in (240, 320, 400) for photo in rendered(1, size)]
    detector = LandmarkDetector.from_pretrained(NAME, name)
    found = together(detector, photos, times)
    alone = [detector(photo) for photo in photos]
    assert sum(map(len, alone)) >= 2
    for faces, expected in zip(found, alone * times):
        same_faces(faces, expected)


def test_a_cascade_is_not_shared_by_threads():
    photos = [np.pad(photo, ((20 * k, 0), (10 * k, 0), (0, 0))) for k, photo in enumerate(rendered(6, 300))]
    detector = HaarDetector()
    for found, expected in zip(together(detector, photos, 5, 8), [detector(photo) for photo in photos] * 5):
        np.testing.assert_array_equal([each.box for each in found], [each.box for each in expected])


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda detector: pickle.loads(pickle.dumps(detector))])
@pytest.mark.parametrize("name", ["haar", "whole"])
def test_copies_and_pickles_find_the_same(duplicate, name):
    detector = LandmarkDetector.from_pretrained(NAME, name)
    photo = rendered(1, 300)[0]
    other = duplicate(detector)
    assert other.predictor.net is not detector.predictor.net
    same_faces(other(photo), detector(photo))


def test_the_default_detector_is_pickled_by_its_weights():
    detector = LandmarkDetector.from_pretrained(NAME)
    photo = rendered(1, 240)[0]
    same_faces(pickle.loads(pickle.dumps(detector))(photo), detector(photo))


def test_one_made_by_hand_says_why_it_cannot_be_pickled():
    made = LandmarkDetector.from_pretrained(NAME, "whole")
    by_hand = LandmarkDetector(PointPredictor(get_model(NAME), get_spec(NAME)), made.detector, made.markup)
    with pytest.raises(TypeError, match="from_pretrained"):
        pickle.dumps(by_hand)


def test_any_number_of_boxes_runs_in_groups_of_three_sizes(monkeypatch):
    detector = LandmarkDetector.from_pretrained(NAME, "whole")
    photo = rendered(1, 260)[0]
    boxes = np.array([[50.0 + k, 70, 200, 220 + k] for k in range(19)])
    each = [detector.detect(photo, [box])[0] for box in boxes]
    answer, sizes = detector.predictor.output, []
    monkeypatch.setattr(detector.predictor, "output", lambda crops: sizes.append(len(crops)) or answer(crops))
    same_faces(detector.detect(photo, boxes), each)
    assert sizes == [8, 8, 2, 1]


def test_several_photos_at_once():
    detector = LandmarkDetector.from_pretrained(NAME, "haar")
    photos = [rendered(1, 300)[0], np.zeros((120, 90, 3), np.uint8), rendered(2, 400)[1]]
    found = detector.detect_batch(photos)
    assert [len(faces) for faces in found] == [1, 0, 1]
    for faces, photo in zip(found, photos):
        same_faces(faces, detector(photo))
    boxes = [[[60, 80, 210, 230]], [], [[90, 110, 290, 320], [80, 100, 280, 310]]]
    for faces, photo, given in zip(detector.detect_batch(photos, boxes), photos, boxes):
        same_faces(faces, detector.detect(photo, given))
    with pytest.raises(ValueError, match="2 lists of boxes for 3 images"):
        detector.detect_batch(photos, boxes[:2])
