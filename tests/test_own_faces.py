"""A user's own photos and points from predict.py over training to evaluate.py, with networks that predict constants."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_evaluate_script import FRACTIONS, MODEL, save_constant_network

import evaluate
import predict
import train_ffld
import train_regions
from datasets.faces import Face
from datasets.images import write_image
from datasets.markup import from_dict, to_dict
from datasets.pts_files import read_pts, write_pts
from datasets.render.faces import RenderedFaces
from gluon_models import describe
from gluon_models.weights import read_info
from inference.landmark_detector import LandmarkDetector, markup_of
from report import evaluation_report
from training import advice

SHIPPED = Path(evaluate.__file__).parent / "weights" / f"{MODEL}.params"
OWN = {"name": "mine_2", "flip_pairs": [[0, 1], [3, 4]], "outer_eye_corners": [0, 1], "lines": [[3, 4]]}
FIVE = (36, 45, 30, 48, 54)  # of the 68: what the own markup marks, and two points more
BOX = [10, 12, 90, 100]


@pytest.fixture(autouse=True)
def _undrawn(monkeypatch):
    """Pictures take most of a run's time."""
    monkeypatch.setattr(evaluation_report, "_pictures", lambda *_: [])


@pytest.fixture(scope="module")
def constant(tmp_path_factory):
    return save_constant_network(tmp_path_factory.mktemp("weights") / "constant.params", FRACTIONS, 68)


def fill(folder, count, landmarks, side=120):
    folder.mkdir()
    for index, face in enumerate(RenderedFaces(count, seed=77, size=side)):
        write_image(folder / f"{index}.png", face.image)
        write_pts(folder / f"{index}.pts", face.points_image[list(landmarks)])
    return folder


def measured(weights, folder, out, *more):
    text = [
        "--model",
        MODEL,
        "--weights",
        weights,
        "--dataset",
        "pts",
        "--data",
        folder,
        "--out",
        out,
        "--gpus",
        "none",
    ]
    assert evaluate.main([*map(str, text), *map(str, more)]) == 0
    return np.load(out / "errors.npy"), json.loads((out / "metrics.json").read_text())


def test_what_predict_writes_for_a_phones_photo_is_right_for_evaluate(constant, tmp_path):
    """A photo that is stored on its side: predict.py's own points, as labels, are without error."""
    exif = Image.Exif()
    exif[0x0112] = 8
    stored = np.random.default_rng(0).integers(0, 256, (100, 160, 3), np.uint8)
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.fromarray(stored).save(photos / "me.jpg", exif=exif)
    (tmp_path / "boxes.json").write_text(json.dumps({"me.jpg": BOX}))
    common = ["--boxes", str(tmp_path / "boxes.json")]
    predict.main([str(photos), "--out", str(tmp_path / "found"), "--weights", str(constant), *common, "--gpus", "none"])
    about = json.loads((tmp_path / "found" / "me.json").read_text())
    assert (about["width"], about["height"]) == (100, 160)
    shutil.copy(tmp_path / "found" / "me_1.pts", photos / "me_1.pts")
    errors, _ = measured(constant, photos, tmp_path / "out", *common)
    assert errors == pytest.approx([0], abs=1e-4)


def test_points_of_68_are_measured_on_faces_with_five(constant, tmp_path, capsys):
    folder = tmp_path / "five"
    folder.mkdir()
    face = RenderedFaces(1, seed=77, size=120)[0]
    write_image(folder / "x.png", face.image)
    truth = np.array([[40.0, 50], [70, 90], [55, 70], [45, 80], [70, 85]])
    write_pts(folder / "x.pts", truth)
    (tmp_path / "boxes.json").write_text(json.dumps({"x": BOX}))
    errors, metrics = measured(constant, folder, tmp_path / "out", "--boxes", tmp_path / "boxes.json")
    assert "ibug_68 points of the network are converted to insightface_5" in capsys.readouterr().err
    side = 1.25 * 88
    corner = np.array([50 - side / 2, 56 - side / 2])
    all_points = corner + FRACTIONS * side - 0.5
    predicted = np.array([all_points[list(k)].mean(axis=0) for k in ((36, 39), (42, 45), (30,), (48,), (54,))])
    assert metrics["normalizer"] == "pupil"
    assert errors == pytest.approx([np.linalg.norm(predicted - truth, axis=1).mean() / 50], abs=1e-4)
    assert len(metrics["truth_sha256"]) == 1


@pytest.fixture(scope="module")
def own_weights(tmp_path_factory):
    """A network of five points of a user's own markup."""
    path = save_constant_network(tmp_path_factory.mktemp("own") / "own.params", FRACTIONS[:5], 5)
    info = describe(MODEL, "mine_2", num_landmarks=5)
    about = {**info.as_dict(), "markup_definition": to_dict(from_dict(OWN, 5))}
    path.with_suffix(".json").write_text(json.dumps(about))
    return path


def test_an_own_markup_travels_with_the_weights(own_weights, tmp_path):
    markup = markup_of(read_info(own_weights))
    assert (markup.name, markup.flip_order, markup.outer_eye_corners) == ("mine_2", (1, 0, 2, 4, 3), (0, 1))
    detector = LandmarkDetector.from_pretrained(own_weights, "whole")
    assert detector(np.zeros((50, 50, 3), np.uint8))[0].points.shape == (5, 2)
    folder = fill(tmp_path / "own", 2, FIVE)
    (folder / "markup.json").write_text(json.dumps(OWN))
    errors, metrics = measured(own_weights, folder, tmp_path / "out")
    assert metrics["normalizer"] == "outer_eye"
    predicted = np.load(tmp_path / "out" / "predictions.npy")
    truth = np.stack([read_pts(folder / f"{k}.pts") for k in range(2)])
    distances = np.linalg.norm(predicted - truth, axis=2).mean(axis=1)
    np.testing.assert_allclose(errors, distances / np.linalg.norm(truth[:, 0] - truth[:, 1], axis=1), rtol=1e-4)
    assert list(metrics["results"]) == ["outer_eye", "box_geometric", "box_diagonal", "box_mean"]


def test_names_that_are_not_utf_8_are_measured_and_drawn(constant, tmp_path, monkeypatch):
    monkeypatch.undo()  # with pictures
    folder = fill(tmp_path / "latin", 1, range(68))
    name = os.fsdecode("é".encode("latin-1"))
    for suffix in ("png", "pts"):
        (folder / f"0.{suffix}").rename(folder / f"{name}.{suffix}")
    _, metrics = measured(constant, folder, tmp_path / "out")
    assert metrics["names"] == [name]
    assert b"\xe9" in (tmp_path / "out" / "errors.csv").read_bytes()
    assert (tmp_path / "out" / "report.html").exists()


def test_a_training_from_weights_of_another_number_of_points(tmp_path, capsys):
    """Twelve photos with five points of one's own, from a network of 68: what fits is loaded, and all is said."""
    folder = fill(tmp_path / "own", 12, FIVE, 96)
    (folder / "markup.json").write_text(json.dumps(OWN))
    text = ["--init", SHIPPED, "--dataset", "pts", "--data", folder, "--out", tmp_path / "run", "--epochs", 1]
    settings = ["--recipe", "cpu", "--lr", "1e-4", "--batch-size", 6, "--workers", 0, "--gpus", "none"]
    assert train_ffld.TRAINING.main([*map(str, text), *map(str, settings)]) == 0
    said = capsys.readouterr().out
    assert "is of 68 landmarks, not 5: all layers that fit are loaded; no exact conversion to mine_2 is" in said
    assert "known, so these start from random weights: points\n" in said
    assert "its error says little; label more photos" in said
    assert re.search(r"finds \d+ of 11 training faces: the box of their points is 0\.\d+ as wide", said)
    info = read_info(tmp_path / "run" / "best.params")
    assert (info.markup, markup_of(info)) == ("mine_2", from_dict(OWN, 5))
    # Outer eye corners and mouth: 0.6 of a rendered face's width, half of its height.
    assert [info.training_box[key] for key in ("width", "height")] == pytest.approx([0.6, 0.5], abs=0.1)
    assert info.spec.box_margin == pytest.approx(1.25 / info.training_box["width"] - 1, abs=1e-3)
    errors, _ = measured(tmp_path / "run" / "best.params", folder, tmp_path / "out", "--subset", "validation")
    assert len(errors) >= 1


def test_a_network_of_regions_refuses_points_whose_regions_it_does_not_know(tmp_path):
    folder = fill(tmp_path / "own", 4, range(68), 64)
    (folder / "markup.json").write_text('{"name": "other"}')
    text = ["--dataset", "pts", "--data", str(folder), "--out", str(tmp_path / "run"), "--recipe", "cpu"]
    with pytest.raises(ValueError, match="the regions of other points are not known here"):
        train_regions.TRAINING.main([*text, "--gpus", "none", "--workers", "0"])


def test_the_mean_face_is_that_of_the_training_faces():
    """Boxes of side 10: the mean of two training faces, put into the box of the only validation face."""
    image, box = np.zeros((60, 60, 3), np.uint8), np.array([0.0, 0, 10, 10])
    first, second = np.array([[0.0, 0], [10, 10], [2, 4]]), np.array([[20.0, 20], [30, 30], [26, 28]])
    other = np.array([[30.0, 30], [50, 50], [50, 30]])
    training = [Face(image, first, box, "a"), Face(image, second, box + 20, "b")]
    predicted, truth = advice.mean_face_points(training, [Face(image, other, np.array([30.0, 30, 50, 50]), "c")])
    np.testing.assert_allclose(predicted, [[[30, 30], [50, 50], [38, 42]]])
    np.testing.assert_array_equal(truth, [other])
