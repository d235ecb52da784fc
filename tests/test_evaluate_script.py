"""evaluate.py from its command line to its files, with a network whose prediction is known.

The network's last layer ignores its input and always predicts the same fractions of the crop, so the face's box alone
decides where its points lie in a photo.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest
import scipy.io

import evaluate
from datasets import aflw
from datasets.degradations import DEGRADATIONS
from datasets.ibug_300w import load, write_pts
from datasets.images import write_image
from datasets.render.faces import RenderedFaces
from evaluation.protocols import box_text
from gluon_models import get_spec, shipped_weights
from inference import evaluation, quantized
from inference.detectors import DETECTORS, Detection
from inference.evaluation import TEST_SEED
from report import evaluation_report
from untrained import save_random

ROOT = Path(__file__).resolve().parent.parent
MODEL = "resnet18_slim"
FRACTIONS = np.random.default_rng(4).uniform(0.2, 0.8, size=(68, 2))
FRACTIONS[36:48] /= 2  # the eyes above the mouth and side by side: an upright face
FRACTIONS[42:48, 0] += 0.4
FRACTIONS[48:, 1] += 0.4
MARGIN = get_spec(MODEL).box_margin


@pytest.fixture(autouse=True)
def _undrawn(monkeypatch):
    """Pictures take most of a run's time; test_report.py and the one run as a process have them."""
    monkeypatch.setattr(evaluation_report, "_pictures", lambda *_: [])


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return save_constant_network(tmp_path_factory.mktemp("weights") / "constant.params", FRACTIONS, 68)


@pytest.fixture
def photos(tmp_path):
    """Four rendered faces laid out as HELEN's test half of 300-W, of which 330 are expected."""
    folder = tmp_path / "data" / "helen" / "testset"
    folder.mkdir(parents=True)
    for index, face in enumerate(RenderedFaces(4, seed=77)):
        write_image(folder / f"{index}.png", face.image)
        write_pts(folder / f"{index}.pts", face.points_image)
    return tmp_path / "data"


def save_constant_network(path, fractions, num_landmarks):
    def set_points(net):
        net.points.weight.set_data(mx.nd.zeros_like(net.points.weight.data()))
        net.points.bias.set_data(mx.nd.array(fractions.ravel() - 0.5))  # the network counts from the crop's centre

    save_random(path, MODEL, num_landmarks, set_points)
    return path


def expected_points(box):
    """Where the constant answer lies in the photo: the crop is the square of (1 + margin) times the longer side."""
    x0, y0, x1, y1 = box
    side = (1 + MARGIN) * max(x1 - x0, y1 - y0)
    corner = np.array([(x0 + x1 - side) / 2, (y0 + y1 - side) / 2])
    return corner + FRACTIONS * side - 0.5


def expected_errors(truth, predicted):
    distances = np.sqrt(((predicted - truth) ** 2).sum(axis=2)).mean(axis=1)
    return distances / np.hypot(*(truth[:, 45] - truth[:, 36]).T)


def tight_box(points):
    return np.concatenate([points.min(axis=0), points.max(axis=0)])


def text(weights, out, *more):
    return ["--model", MODEL, "--weights", str(weights), "--out", str(out), "--gpus", "none", *map(str, more)]


def on_photos(weights, out, photos, *more):
    return text(weights, out, "--data", photos, "--subset", "helen_test", "--allow-missing", *more)


def run(arguments):
    command = [sys.executable, str(ROOT / "evaluate.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300, env=os.environ)


def metrics_of(out):
    return json.loads((out / "metrics.json").read_text(encoding="utf-8"))


def test_rendered_faces_from_the_command_line(weights, tmp_path):
    done = run(text(weights, tmp_path / "out", "--count", 5, "--batch-size", 2))
    assert done.returncode == 0, done.stderr
    assert "on 5 rendered faces" in done.stderr
    faces = RenderedFaces(5, TEST_SEED)
    truth = np.stack([face.points_image for face in (faces[index] for index in range(5))])
    predicted = np.stack([expected_points(tight_box(points)) for points in truth])
    np.testing.assert_allclose(np.load(tmp_path / "out" / "predictions.npy"), predicted, atol=1e-3)
    errors = np.load(tmp_path / "out" / "errors.npy")
    np.testing.assert_allclose(errors, expected_errors(truth, predicted), atol=1e-4)
    metrics = metrics_of(tmp_path / "out")
    assert metrics["results"]["outer_eye"]["mean"] == pytest.approx(errors.mean())
    assert f"{100 * errors.mean():.2f}" in done.stdout
    assert "rendered faces" in done.stdout
    assert (metrics["model"], metrics["dataset"], metrics["subset"]) == (MODEL, "rendered", "test")
    assert (metrics["boxes"], metrics["box_margin"]) == ("truth", MARGIN)
    assert len(metrics["weights_sha256"]) == 64
    assert metrics["command"].startswith(f"evaluate.py --model {MODEL}")
    assert metrics["seed"] == 0
    assert "stages" not in metrics  # of this network there is but one
    assert metrics["versions"]["mxnet"] == mx.__version__
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "metrics.json", "errors.npy", "errors.csv", "predictions.npy", "ced.png", "faces.png", "report.html"
    }  # fmt: skip


def test_a_photo_that_cannot_be_read_is_listed_and_the_others_are_measured(weights, photos, tmp_path, capsys):
    broken = photos / "helen" / "testset" / "2.png"
    broken.write_bytes(broken.read_bytes()[:3000])
    assert evaluate.main(on_photos(weights, tmp_path / "out", photos)) == 1
    shown = capsys.readouterr()
    listed = [line for line in shown.err.splitlines() if line.startswith("left out:")]
    assert len(listed) == 1
    assert str(broken) in listed[0]
    errors = np.load(tmp_path / "out" / "errors.npy")
    np.testing.assert_array_equal(np.isnan(errors), [False, False, True, False])
    truth = load(photos, "helen_test", allow_missing=True).points
    predicted = np.stack([expected_points(tight_box(points)) for points in truth])
    np.testing.assert_allclose(errors[[0, 1, 3]], expected_errors(truth, predicted)[[0, 1, 3]], atol=1e-4)
    assert "3 of 330 faces" in shown.out
    assert "(4.38)" in shown.out
    assert metrics_of(tmp_path / "out")["skipped"].keys() == {"helen/testset/2"}


def test_the_parts_of_several_processes_are_merged_to_what_one_measures(photos, tmp_path, capsys, refused):
    """Two batches in three parts, of which one is empty."""
    weights, small = shipped_weights("resnet18_slim"), ("--batch-size", "2")
    broken = photos / "helen" / "testset" / "2.png"
    broken.write_bytes(broken.read_bytes()[:3000])
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert evaluate.main(on_photos(weights, whole, photos, *small)) == 1
    expected = capsys.readouterr().out.replace(str(whole), str(parts))
    for part, code in (("3/3", 0), ("2/3", 1)):
        assert evaluate.main(on_photos(weights, parts, photos, *small, "--shard", part)) == code
    refused(lambda: evaluate.main(on_photos(weights, parts, photos, *small, "--merge", "3")), "part_1_of_3.npz")
    assert evaluate.main(on_photos(weights, parts, photos, *small, "--shard", "1/3")) == 0
    capsys.readouterr()
    assert evaluate.main(on_photos(weights, parts, photos, *small, "--merge", "3")) == 1
    assert capsys.readouterr().out == expected
    for name in ("predictions.npy", "errors.npy"):
        np.testing.assert_array_equal(np.load(whole / name), np.load(parts / name))
    one, other = metrics_of(whole), metrics_of(parts)
    assert {key for key in one if one[key] != other[key]} == {"command"}
    refused(
        lambda: evaluate.main(on_photos(weights, parts, photos, *small, "--merge", "3", "--seed", "1")), "another seed"
    )


def test_missing_weights_are_one_line_and_exit_code_2(tmp_path, refused):
    refused(lambda: evaluate.main(text(tmp_path / "nothing.params", tmp_path / "out")), "nothing.params")
    assert not (tmp_path / "out").exists()


def test_the_order_and_the_batch_size_do_not_matter(weights, photos):
    faces = evaluation.load_faces("300w", "helen_test", root=str(photos), allow_missing=True)
    found = []
    for size in (1, 3):
        predictor, _ = evaluation.load_predictor(weights, MODEL, mx.cpu(), batch_size=size)
        result = evaluation.evaluate(predictor, faces, evaluation.box_source("truth"), model=MODEL)
        np.testing.assert_array_equal(result.boxes, [tight_box(points) for points in result.truth])
        found.append(result.predicted)
    np.testing.assert_allclose(*found, atol=1e-3)


@pytest.mark.parametrize("detector", DETECTORS)
def test_a_report_can_name_every_detector(detector):
    assert box_text(detector, 0.25).startswith("faces are cropped with a margin of 25 % about the boxes of")


def test_a_detector_of_imprecise_boxes_takes_two_passes():
    """Its boxes are right on average alone, so the network runs again on the box of its own points."""
    assert evaluation.box_source("detector", detector="haar").passes == 2
    assert evaluation.box_source("truth").passes == 1


def test_boxes_of_a_file(weights, photos, tmp_path, capsys):
    boxes = {
        "helen/testset/0": [40, 60, 150, 160],
        "helen/testset/1": [500, 10, 600, 90],
        "helen/testset/3": [10.5, 20.25, 90, 100],
        "2": [],
    }
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    assert evaluate.main(on_photos(weights, tmp_path / "out", photos, "--boxes", tmp_path / "boxes.json")) == 1
    predicted = np.load(tmp_path / "out" / "predictions.npy")
    for index in (0, 3):
        np.testing.assert_allclose(predicted[index], expected_points(boxes[f"helen/testset/{index}"]), atol=1e-3)
    assert np.isnan(predicted[[1, 2]]).all()
    shown = capsys.readouterr()
    assert "left out: helen/testset/1: its box 500, 10, 600, 90 is outside its image of 224 by 224" in shown.err
    assert "left out: helen/testset/2: no face was found" in shown.err
    assert "the boxes of a file" in shown.out
    metrics = metrics_of(tmp_path / "out")
    assert metrics["boxes"] == str(tmp_path / "boxes.json")
    assert metrics["results"]["outer_eye"]["failure_rate"]["0.10"] >= 0.5


def test_boxes_of_a_detector(weights, photos, tmp_path, monkeypatch, capsys):
    """Of two detections the one on the annotated face is taken; a photo without any is listed."""
    truth = load(photos, "helen_test", allow_missing=True).points
    boxes = [tight_box(points) + np.array([2, 2, 6, 6]) for points in truth]
    calls = iter(range(4))

    def detect(image, name):
        index = next(calls)
        assert name == f"helen/testset/{index}"
        return [] if index == 1 else [Detection(np.array([0.0, 0, 9, 9]), 0.99), Detection(boxes[index], 0.5)]

    asked = []
    monkeypatch.setattr(evaluation, "get_detector", lambda name, context: asked.append(name) or detect)
    text = ("--boxes", "detector", "--detector", "faster_rcnn")
    assert evaluate.main(on_photos(weights, tmp_path / "out", photos, *text)) == 1
    assert asked == ["faster_rcnn"]
    record = json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))
    assert (record["boxes"], record["detector"]) == ("detector", "faster_rcnn")
    predicted = np.load(tmp_path / "out" / "predictions.npy")
    for index in (0, 2, 3):
        np.testing.assert_allclose(predicted[index], expected_points(boxes[index]), atol=1e-3)
    assert "left out: helen/testset/1: no face was found" in capsys.readouterr().err


def stressed(out):
    return {curve["name"]: curve for curve in json.loads((out / "stress.json").read_text(encoding="utf-8"))["curves"]}


def test_the_twin_in_eight_bits_is_what_is_measured(tmp_path, monkeypatch):
    """Its points are near those of float32, but not the same; the record says what answered."""
    monkeypatch.setattr(quantized, "CALIBRATION_FACES", 8)
    shipped, found = str(ROOT / "weights" / "resnet18_slim_rendered.params"), {}
    for name, more in (("float32", []), ("int8", ["--int8"])):
        out = tmp_path / name
        evaluate.main(
            ["--model", MODEL, "--weights", shipped, "--count", "4", "--gpus", "none", "--out", str(out), *more]
        )
        found[name] = np.load(out / "predictions.npy")
    shift = np.linalg.norm(found["int8"] - found["float32"], axis=-1)
    assert 0.01 < shift.mean() < 1.5  # pixels of photos of 320
    records = [json.loads((tmp_path / name / "metrics.json").read_text()) for name in found]
    assert [record.get("precision") for record in records] == [None, "int8"]


@pytest.mark.parametrize(("flags", "noted"), [("sse avx2", True), ("avx2 avx_vnni", False), ("avx512_vnni", False)])
def test_a_cpu_without_8_bit_dot_products_is_noted(tmp_path, flags, noted):
    (tmp_path / "cpuinfo").write_text(f"processor : 0\nflags\t\t: fpu {flags} x\n")
    assert ("saturate" in quantized.cpu_note(tmp_path / "cpuinfo")) == noted
    assert quantized.cpu_note(tmp_path / "none") == ""


def test_stress(weights, tmp_path, capsys):
    """The network looks at nothing: only what moves its box or turns the picture can change where its points lie."""
    asked = text(weights, tmp_path / "out", "--count", 2, "--seed", 5, "--stress")
    assert evaluate.main(asked) == 0
    shown = capsys.readouterr().out
    faces = RenderedFaces(2, TEST_SEED + 5)
    truth = np.stack([faces[index].points_image for index in range(2)])
    boxes = np.stack([tight_box(points) for points in truth])
    plain = expected_errors(truth, np.stack([expected_points(box) for box in boxes])).mean()
    curves = stressed(tmp_path / "out")
    assert list(curves) == [each.name for each in DEGRADATIONS]
    for name in ("blur", "noise", "jpeg", "resolution", "occlusion", "brightness"):
        np.testing.assert_allclose([level[1] for level in curves[name]["levels"]], plain, atol=1e-4)
    middles = np.tile(0.5 * (boxes[:, :2] + boxes[:, 2:]), 2)
    for amount, mean, (low, high), _ in curves["box_scale"]["levels"]:
        scaled = middles + amount * (boxes - middles)
        each = expected_errors(truth, np.stack([expected_points(box) for box in scaled]))
        assert mean == pytest.approx(each.mean(), abs=1e-4)
        assert (low, high) == pytest.approx((each.min(), each.max()), abs=1e-4)  # both are the same half of the time
    turned = []
    for index, (box, middle) in enumerate(zip(boxes, middles[:, :2] - 0.5)):
        side = np.random.default_rng((5, 0, index)).choice((-1, 1))
        x, y = (expected_points(box) - middle).T
        turned.append(middle + side * np.stack([y, -x], axis=1))  # back by a quarter
    quarter = {level[0]: level[1] for level in curves["rotation"]["levels"]}[90]
    assert quarter == pytest.approx(expected_errors(truth, np.stack(turned)).mean(), abs=1e-4)
    table = (tmp_path / "out" / "stress.md").read_text(encoding="utf-8")
    assert f"| 0.9: {100 * curves['box_scale']['levels'][2][1]:.2f} (" in table
    assert f"| 1: **{100 * plain:.2f} (" in table
    assert table.split("\n\n")[2] in shown + "\n"
    assert (tmp_path / "out" / "stress.png").read_bytes().startswith(b"\x89PNG")


def test_stress_takes_its_part_of_the_faces_that_were_found(weights, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(
        evaluation, "DEGRADATIONS", [each for each in DEGRADATIONS if each.name in ("blur", "rotation")]
    )
    (photos / "helen" / "testset" / "3.png").write_bytes(b"no picture")
    asked = on_photos(weights, tmp_path / "out", photos, "--stress", "--stress-faces", 2)
    assert evaluate.main(asked) == 1
    errors = np.load(tmp_path / "out" / "errors.npy")
    curves = stressed(tmp_path / "out")
    assert curves["blur"]["levels"][0][1] == pytest.approx((errors[0] + errors[2]) / 2, abs=1e-4)
    assert evaluate.main([*asked, "--batch-size", "7"]) == 1
    again = stressed(tmp_path / "out")
    for name, curve in curves.items():
        means = [[level[1] for level in each["levels"]] for each in (curve, again[name])]
        np.testing.assert_allclose(*means, atol=1e-6)


def test_aflw_is_cropped_by_its_own_boxes_and_measured_over_their_size(tmp_path, monkeypatch, capsys):
    """Four faces of a list of six, of which one photo is lost."""
    monkeypatch.setattr(aflw, "SUBSETS", {"train": 2, "full": 4, "frontal": 3})
    photos = [f"0/image{number:05}.png" for number in range(6)]
    faces = [RenderedFaces(6, seed=78)[number] for number in range(6)]
    (tmp_path / "0").mkdir()
    for photo, face in list(zip(photos, faces))[:5]:
        write_image(tmp_path / photo, face.image)
    points = np.stack([face.points_image[:19] for face in faces])
    boxes = np.stack([np.add(tight_box(each), (-8, -8, 9, 11)) for each in points]).round()
    visible = np.ones((6, 19), np.uint8)
    visible[2, 4] = 0
    fields = {
        "bbox": boxes[:, [0, 2, 1, 3]],
        "data": points.transpose(0, 2, 1).reshape(6, -1),
        "mask_new": visible,
        "nameList": np.array(photos, object)[:, None],
        "ra": np.arange(1, 7),
    }
    scipy.io.savemat(tmp_path / "AFLWinfo_release.mat", fields)
    weights = save_constant_network(tmp_path / "19.params", FRACTIONS[:19], 19)
    asked = text(weights, tmp_path / "out", "--dataset", "aflw", "--data", tmp_path)
    with pytest.raises(
        FileNotFoundError, match=r"image00005\.png is not there\): complete it, or pass --allow-missing"
    ):
        evaluate.main(asked)
    assert evaluate.main([*asked, "--allow-missing"]) == 0
    shown = capsys.readouterr().out
    metrics = metrics_of(tmp_path / "out")
    assert (metrics["subset"], metrics["normalizer"], metrics["faces"]["expected"]) == ("full", "face_size", 4)
    assert set(metrics["results"]) == {"face_size", "box_geometric", "box_diagonal", "box_mean"}
    predicted = np.stack([expected_points(box)[:19] for box in boxes[2:5]])
    np.testing.assert_allclose(np.load(tmp_path / "out" / "predictions.npy"), predicted, atol=1e-3)
    distances = np.linalg.norm(predicted - points[2:5], axis=2).mean(axis=1)
    sizes = np.sqrt((boxes[2:5, 2] - boxes[2:5, 0]) * (boxes[2:5, 3] - boxes[2:5, 1]))
    np.testing.assert_allclose(np.load(tmp_path / "out" / "errors.npy"), distances / sizes, atol=1e-4)
    assert "3 of the 4 faces of full are here" in shown
    assert "about the boxes that come with the data set" in shown
    assert "(2.30)" in shown


def test_weights_of_another_markup(photos, tmp_path):
    other = save_constant_network(tmp_path / "other.params", FRACTIONS[:51], 51)
    with pytest.raises(ValueError, match="ibug_51 points, but these faces have those of ibug_68"):
        evaluate.main(on_photos(other, tmp_path / "out", photos))


def test_spoilt_weights_are_not_taken_for_missed_faces(photos, tmp_path):
    spoilt = save_constant_network(tmp_path / "spoilt.params", FRACTIONS * np.nan, 68)
    with pytest.raises(ValueError, match="no numbers"):
        evaluate.main(on_photos(spoilt, tmp_path / "out", photos))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--count", "0"], "--count: .* from 1"),
        (["--batch-size", "0"], "--batch-size: .* from 1"),
        (["--stress", "--stress-faces", "0"], "--stress-faces: .* from 1"),
        (["--int8", "--ensemble", "dropout"], "the int8 twin has no dropout; use --ensemble augmentation"),
        (["--detector", "haar"], "--detector is for --boxes detector: add it, or leave both out"),
        (["--shape-prior"], "--shape-prior is for --shape-model"),
        (["--stress-faces", "3"], "--stress-faces is for --stress"),
        (["--dataset", "300w"], "--data DIR"),
        (["--dataset", "cofw", "--subset", "common"], "cofw has no subset 'common': choose one of test, train"),
        (["--data", "nowhere/at all"], "nowhere/at all"),
        (["--count", "2", "--boxes", "no.json"], r"no\.json: there is no such file"),
    ],
)
def test_bad_arguments(weights, tmp_path, more, message):
    with pytest.raises((ValueError, OSError), match=message) as error:
        evaluate.main(text(weights, tmp_path / "out", *more))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()
