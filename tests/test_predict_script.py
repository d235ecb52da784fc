"""predict.py: its files, its words and exit codes for bad input, once as a process of its own."""

import errno
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest
from matplotlib import cbook
from PIL import Image

import predict
from datasets.ibug_300w import read_pts
from datasets.images import read_image
from engine import cli
from gluon_models import describe, get_model, save_weights
from inference import photo_files
from inference.landmark_detector import LandmarkDetector

ROOT = Path(__file__).resolve().parent.parent
HOPPER = Path(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))
BOX = [160, 150, 370, 360]  # of the face in it


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """An untrained network; its points are anywhere, but always the same."""
    mx.random.seed(0)
    net = get_model("resnet18_slim")
    net.initialize(mx.init.Xavier())
    net(mx.nd.zeros((1, 3, 224, 224)))
    path = tmp_path_factory.mktemp("weights") / "random.params"
    save_weights(net, path, describe("resnet18_slim", "ibug_68", num_landmarks=68))
    return path


@pytest.fixture
def photos(tmp_path):
    """A folder of three small photos, and boxes.json beside it."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, level in (("a.png", 60), ("b b.jpg", 120), ("c.PNG", 180)):
        Image.fromarray(np.full((60, 80, 3), level, np.uint8)).save(folder / name)
    (folder / "notes.txt").write_text("no photo", encoding="utf-8")
    boxes = {"a": [[10, 10, 40, 50]], "b b.jpg": [[-5, 5, 20, 30], [40, 20, 70, 70]], "c": []}
    (tmp_path / "boxes.json").write_text(json.dumps(boxes), encoding="utf-8")
    return folder


@pytest.fixture
def run(tmp_path, weights, capsys):
    """Runs the script in this process as the command line would; returns its exit code, output and errors."""

    def call(*words, out=tmp_path / "out", own=()):
        own = own or ("--weights", weights)
        words = [str(word) for word in (*words, "--out", out, *own, "--gpus", "none")]
        with pytest.raises(SystemExit) as stop:
            cli.run(lambda: predict.main(words))
        captured = capsys.readouterr()
        return stop.value.code, captured.out, captured.err

    return call


def content_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def refused(answer, *parts):
    """Exit code 2 and exactly one line of error that holds all parts."""
    code, _, error = answer
    assert code == 2
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert error.endswith("\n")
    for part in parts:
        assert str(part) in error


def test_one_photo_as_a_process_of_its_own(tmp_path, weights):
    out = tmp_path / "new" / "folder"
    command = [sys.executable, "predict.py", HOPPER, "--out", out, "--weights", weights, "--gpus", "none"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"1 face in 1 of 1 photos: {out}\n"
    assert sorted(content_of(out)) == ["grace_hopper.json", "grace_hopper.png", "grace_hopper_1.pts"]
    content = json.loads((out / "grace_hopper.json").read_text(encoding="utf-8"))
    (face,) = content.pop("faces")
    assert "(0, 0)" in content.pop("coordinates")
    assert content == {
        "image": str(HOPPER),
        "width": 512,
        "height": 600,
        "model": "resnet18_slim",
        "weights": "random.params",
        "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "detector": "haar",
        "markup": "ibug_68",
    }
    (expected,) = LandmarkDetector.from_pretrained(weights)(read_image(HOPPER))
    np.testing.assert_allclose(face["points"], expected.points, atol=2e-3)
    np.testing.assert_allclose(face["box"], expected.box, atol=1e-3)
    assert face["score"] == pytest.approx(expected.score, abs=1e-3)
    # A .pts file counts from 1 as it stands.
    rows = (out / "grace_hopper_1.pts").read_text(encoding="ascii").splitlines()
    np.testing.assert_allclose([float(word) for word in rows[3].split()], expected.points[0] + 1, atol=2e-3)
    np.testing.assert_allclose(read_pts(out / "grace_hopper_1.pts"), expected.points, atol=2e-3)
    picture = read_image(out / "grace_hopper.png")
    assert picture.shape == (600, 512, 3)
    assert (picture != read_image(HOPPER)).any()


def test_a_folder_with_given_boxes(run, photos, tmp_path):
    code, words, error = run(photos, "--boxes", tmp_path / "boxes.json")
    assert code == 0
    assert error == ""  # and no progress bar where there is no terminal
    assert f"{photos / 'c.PNG'}: no face was found; give its box with --boxes" in words
    assert f"3 faces in 3 of 3 photos: {tmp_path / 'out'}" in words
    names = ["a.json", "a.png", "a_1.pts", "b b.json", "b b.png", "b b_1.pts", "b b_2.pts", "c.json", "c.png"]
    assert sorted(content_of(tmp_path / "out")) == names
    faces = json.loads((tmp_path / "out" / "b b.json").read_text(encoding="utf-8"))["faces"]
    assert [face["box"] for face in faces] == [[-5, 5, 20, 30], [40, 20, 70, 70]]
    assert json.loads((tmp_path / "out" / "c.json").read_text(encoding="utf-8"))["faces"] == []


def test_bad_photos_of_a_folder_are_listed_and_the_others_done(run, photos, tmp_path):
    (photos / "empty.jpg").touch()
    (photos / "text.png").write_text("not a picture", encoding="utf-8")
    (photos / "cut.jpg").write_bytes(HOPPER.read_bytes()[:3000])
    boxes = {"a": [90, 5, 120, 30], "b b": [5, 5, 30, 30], "empty": [], "cut": [], "text": []}
    (tmp_path / "boxes.json").write_text(json.dumps(boxes), encoding="utf-8")
    code, words, error = run(photos, "--boxes", tmp_path / "boxes.json")
    assert code == 1
    assert "1 face in 1 of 6 photos" in words
    lines = [line for line in error.splitlines() if line.startswith("left out: ")]
    assert len(lines) == 5
    reasons = {"a.png": "lies outside the image of 80 x 60", "c.PNG": "has no entry 'c.PNG'"}
    reasons.update({"empty.jpg": "empty", "text.png": "", "cut.jpg": "truncated"})
    for name, reason in reasons.items():
        (line,) = (line for line in lines if str(photos / name) in line)
        assert reason in line
    assert sorted(content_of(tmp_path / "out")) == ["b b.json", "b b.png", "b b_1.pts"]


def test_a_single_bad_photo_is_an_error(run, photos, tmp_path):
    (photos / "cut.jpg").write_bytes(HOPPER.read_bytes()[:3000])
    refused(run(photos / "cut.jpg"), photos / "cut.jpg", "truncated")
    (tmp_path / "boxes.json").write_text("[100, 10, 120, 30]", encoding="utf-8")
    refused(run(photos / "a.png", "--boxes", tmp_path / "boxes.json"), photos / "a.png", "outside the image")
    assert content_of(tmp_path / "out") == {}


def test_globs_and_repeated_photos(run, photos, tmp_path):
    code, words, _ = run(photos / "*.png", photos / "a.png", photos / "[bc]*", "--detector", "whole")
    assert (code, words) == (0, f"3 faces in 3 of 3 photos: {tmp_path / 'out'}\n")


@pytest.mark.parametrize("word", ["missing.jpg", "missing", "*.tif"])
def test_nothing_to_work_on_is_an_error(run, photos, word, tmp_path):
    refused(run(photos / word), photos / word, "check the path")
    (tmp_path / "void").mkdir()
    refused(run(tmp_path / "void"), tmp_path / "void", "no photo is there")
    assert not (tmp_path / "out").exists()


def test_two_photos_of_one_stem_are_refused_before_any_work(run, photos, tmp_path):
    other = tmp_path / "a.jpg"
    shutil.copy(HOPPER, other)
    refused(run(photos, other), photos / "a.png", other, "would both become a.json")
    assert not (tmp_path / "out").exists()


def test_earlier_outputs_are_replaced_only_on_request(run, photos, tmp_path):
    out, boxes = tmp_path / "out", ("--boxes", tmp_path / "boxes.json")
    assert run(photos / "b b.jpg", *boxes)[0] == 0
    before = content_of(out)
    refused(run(photos, *boxes), out / "b b.json", "--overwrite")
    assert content_of(out) == before
    (tmp_path / "boxes.json").write_text("[[5, 5, 30, 30]]", encoding="utf-8")
    assert run(photos / "b b.jpg", *boxes, "--overwrite")[0] == 0
    # One face now: the second face's file of the earlier run is gone with it.
    assert sorted(content_of(out)) == ["b b.json", "b b.png", "b b_1.pts"]
    assert content_of(out)["b b_1.pts"] != before["b b_1.pts"]


def test_photos_and_files_of_others_are_never_overwritten(run, photos, tmp_path):
    before = content_of(photos)
    for more in ((), ("--overwrite",)):
        refused(run(photos / "a.png", *more, out=photos), photos / "a.png", "would replace this photo")
    annotation = photos / "b b_1.pts"
    annotation.write_text("by hand", encoding="ascii")
    refused(run(photos / "b b.jpg", "--overwrite", out=photos), annotation, "not of an earlier run")
    annotation.unlink()
    assert content_of(photos) == before


def test_an_output_folder_that_cannot_be_used(run, photos, tmp_path):
    blocked = tmp_path / "blocked"
    blocked.write_text("a file", encoding="utf-8")
    refused(run(photos, out=blocked), blocked)
    refused(run(photos, out=blocked / "below"), blocked)
    assert blocked.read_text(encoding="utf-8") == "a file"


def test_a_full_disk_leaves_the_earlier_files(run, photos, tmp_path, monkeypatch):
    boxes = ("--boxes", tmp_path / "boxes.json")
    assert run(photos / "b b.jpg", *boxes)[0] == 0
    before = content_of(tmp_path / "out")

    def full(path, points):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(photo_files, "write_pts", full)
    refused(run(photos / "b b.jpg", *boxes, "--overwrite"), tmp_path / "out", "b b.jpg", "No space left on device")
    assert content_of(tmp_path / "out") == before


def test_a_photo_is_turned_upright_as_its_tag_says(run, tmp_path):
    turned = Image.fromarray(np.rot90(read_image(HOPPER)))
    tag = Image.Exif()
    tag[0x0112] = 6  # to be shown turned clockwise
    turned.save(tmp_path / "turned.jpg", exif=tag, quality=95)
    assert turned.size == (600, 512)
    assert run(tmp_path / "turned.jpg")[0] == 0
    content = json.loads((tmp_path / "out" / "turned.json").read_text(encoding="utf-8"))
    assert (content["width"], content["height"]) == (512, 600)
    np.testing.assert_allclose(content["faces"][0]["box"], BOX, atol=30)
    assert read_image(tmp_path / "out" / "turned.png").shape == (600, 512, 3)


def test_weights_that_do_not_fit(run, photos, weights, tmp_path):
    photo = photos / "a.png"
    refused(run(photo, own=("--weights", tmp_path / "none.params")), "none.params")
    refused(run(photo, own=("--weights", weights, "--model", "resnet50_slim")), weights, "not of resnet50_slim")
    cut = tmp_path / "cut.params"
    cut.write_bytes(weights.read_bytes()[:5000])
    shutil.copy(weights.with_suffix(".json"), cut.with_suffix(".json"))
    refused(run(photo, own=("--weights", cut)), cut, "cut short")
    assert not (tmp_path / "out").exists()


def test_boxes_and_detector_must_go_together(run, photos, tmp_path):
    refused(run(photos, "--boxes", tmp_path / "boxes.json", "--detector", "haar"), "'haar' takes no file of boxes")
    refused(run(photos, "--detector", "file"), "'file' needs a file of boxes")
    refused(run(photos, "--boxes", tmp_path / "none.json"), tmp_path / "none.json", "no such file")


def test_help_names_units(capsys):
    with pytest.raises(SystemExit) as stop:
        predict.main(["--help"])
    assert stop.value.code == 0
    words = " ".join(capsys.readouterr().out.split())
    for part in ("0-based in the JSON, 1-based in .pts", "in pixels of the upright photo", "Exit code 0"):
        assert part in words
