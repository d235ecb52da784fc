"""predict.py: its files, messages and exit codes for bad input, once as a process of its own."""

import errno
import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib import cbook
from PIL import Image

import predict
from common import cli
from datasets.ibug_300w import read_pts
from datasets.images import read_image
from inference.landmark_detector import LandmarkDetector
from inference.media import output_folder, photo_files
from inference.media.video_reader import Frame
from inference.pipeline import locate
from untrained import save_random

ROOT = Path(__file__).resolve().parent.parent
HOPPER = Path(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))
BOX = [160, 150, 370, 360]  # of the face in it


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """An untrained network; its points are anywhere, but always the same."""
    path = tmp_path_factory.mktemp("weights") / "random.params"
    save_random(path, "resnet18_slim")
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

    def call(*text, out=tmp_path / "out", own=()):
        own = own or ("--weights", weights)
        if not {"--detector", "--boxes"} & set(text):
            own = (*own, "--detector", "haar")  # loads faster than the default
        text = [str(word) for word in (*text, "--out", out, *own, "--gpus", "none")]
        with pytest.raises(SystemExit) as stop:
            cli.run(lambda: predict.main(text))
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
    assert done.stdout == f"1 face in 1 photo: {out}\n"
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
        "detector": "centernet_slim",
        "markup": "ibug_68",
    }
    np.testing.assert_allclose(face["box"], BOX, atol=30)
    assert 0.3 < face["score"] <= 1
    predictor = LandmarkDetector.from_pretrained(weights, "whole").predictor
    (expected,) = locate(predictor, read_image(HOPPER), [np.array(face["box"])], passes=2)
    # The box in the JSON is rounded, and random weights spread the points over some thousand pixels.
    np.testing.assert_allclose(face["points"], expected, atol=1.0)
    # A .pts file counts from 1 as it stands.
    rows = (out / "grace_hopper_1.pts").read_text(encoding="ascii").splitlines()
    np.testing.assert_allclose([float(word) for word in rows[3].split()], np.add(face["points"][0], 1), atol=2e-3)
    np.testing.assert_allclose(read_pts(out / "grace_hopper_1.pts"), face["points"], atol=2e-3)
    picture = read_image(out / "grace_hopper.png")
    assert picture.shape == (600, 512, 3)
    assert (picture != read_image(HOPPER)).any()


def test_a_folder_with_given_boxes(run, photos, tmp_path):
    code, text, error = run(photos, "--boxes", tmp_path / "boxes.json")
    assert code == 0
    assert error == ""  # and no progress bar where there is no terminal
    assert f"{photos / 'c.PNG'}: no face was found; give its box with --boxes" in text
    assert f"3 faces in 3 photos: {tmp_path / 'out'}" in text
    names = ["a.json", "a.png", "a_1.pts", "b b.json", "b b.png", "b b_1.pts", "b b_2.pts", "c.json", "c.png"]
    assert sorted(content_of(tmp_path / "out")) == names
    faces = json.loads((tmp_path / "out" / "b b.json").read_text(encoding="utf-8"))["faces"]
    assert [face["box"] for face in faces] == [[-5, 5, 20, 30], [40, 20, 70, 70]]
    assert json.loads((tmp_path / "out" / "c.json").read_text(encoding="utf-8"))["faces"] == []


def test_the_parts_of_several_processes_are_what_one_writes(run, photos, tmp_path):
    """The second run starts from the last part, as processes side by side may."""
    boxes = ("--boxes", tmp_path / "boxes.json")
    run(photos, *boxes, "--csv", out=tmp_path / "whole")
    for part in ("2/2", "1/2"):
        assert run(photos, *boxes, "--shard", part, out=tmp_path / "parts")[0] == 0
    refused(run(photos, *boxes, "--csv", "--shard", "1/2", out=tmp_path / "parts"), "--csv needs all parts")
    run(photos, *boxes, "--csv", "--resume", out=tmp_path / "parts")
    assert content_of(tmp_path / "parts") == content_of(tmp_path / "whole")


def test_bad_photos_of_a_folder_are_listed_and_the_others_done(run, photos, tmp_path):
    (photos / "empty.jpg").touch()
    (photos / "text.png").write_text("not a picture", encoding="utf-8")
    (photos / "cut.jpg").write_bytes(HOPPER.read_bytes()[:3000])
    boxes = {"a": [90, 5, 120, 30], "b b": [5, 5, 30, 30], "empty": [], "cut": [], "text": []}
    (tmp_path / "boxes.json").write_text(json.dumps(boxes), encoding="utf-8")
    code, text, error = run(photos, "--boxes", tmp_path / "boxes.json")
    assert code == 1
    assert "1 face in 1 of 6 photos" in text
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
    code, text, _ = run(photos / "*.png", photos / "a.png", photos / "[bc]*", "--detector", "whole")
    assert (code, text) == (0, f"3 faces in 3 photos: {tmp_path / 'out'}\n")


@pytest.mark.parametrize("word", ["missing.jpg", "*.tif"])
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


# Photos of all kinds


def gray(width, height):
    return Image.fromarray(np.full((height, width, 3), 90, np.uint8))


def palette_with_transparency(path):
    picture = gray(40, 30).quantize(4)
    picture.save(path, transparency=0)


def animation(path):
    frames = [Image.fromarray(np.full((30, 40), level, np.uint8)) for level in (40, 120, 200)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


ODD_PHOTOS = {
    "point.png": lambda path: gray(1, 1).save(path),
    "line.png": lambda path: gray(3000, 1).save(path),
    "cmyk.jpg": lambda path: gray(40, 30).convert("CMYK").save(path),
    "palette.png": lambda path: gray(40, 30).quantize(4).save(path),
    "palette_alpha.png": palette_with_transparency,
    "deep.png": lambda path: Image.fromarray(np.full((30, 40), 30000, np.uint16)).save(path),
    "moving.gif": animation,
}


def test_photos_of_odd_kinds(run, tmp_path):
    folder = tmp_path / "odd"
    folder.mkdir()
    for name, make in ODD_PHOTOS.items():
        make(folder / name)
    assert run(folder, "--detector", "whole")[::2] == (0, "")
    for name in ODD_PHOTOS:
        content = json.loads((tmp_path / "out" / f"{Path(name).stem}.json").read_text(encoding="utf-8"))
        with Image.open(folder / name) as picture:
            assert (content["width"], content["height"]) == picture.size
        assert len(content["faces"]) == 1


# Videos


def write_video(path, count=6, size=(80, 60)):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25.0, size)
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    for k in range(count):
        writer.write(np.roll(noise, k, axis=1))
    writer.release()
    return path


def lines_of(folder, stem):
    return [json.loads(line) for line in (folder / f"{stem}.jsonl").read_text(encoding="utf-8").splitlines()]


ALONE = ("--no-tracking", "--detector", "whole")  # an untrained network finds nothing that it could follow


def test_a_video(run, tmp_path):
    video, out = write_video(tmp_path / "clip.avi"), tmp_path / "out"
    code, text, error = run(video, *ALONE)
    assert (code, error) == (0, "")
    assert text == f"{video}: 6 faces in 6 frames\nwritten to {out}\n"
    assert sorted(content_of(out)) == ["clip.json", "clip.jsonl", "clip.mp4"]
    lines = lines_of(out, "clip")
    assert [line["frame"] for line in lines] == list(range(6))
    assert [line["seconds"] for line in lines] == [0.0, 0.04, 0.08, 0.12, 0.16, 0.2]
    (face,) = lines[3]["faces"]
    assert face["box"] == [0, 0, 80, 60]
    assert face["id"] is None
    assert np.array(face["points"]).shape == (68, 2)
    content = json.loads((out / "clip.json").read_text(encoding="utf-8"))
    assert (content["video"], content["width"], content["height"]) == (str(video), 80, 60)
    assert (content["frames"], content["broken_frames"], content["missing_frames"]) == (6, [], 0)
    assert (content["frames_per_second"], content["lines"], content["model"]) == (25, "clip.jsonl", "resnet18_slim")
    drawn = cv2.VideoCapture(str(out / "clip.mp4"))
    assert [drawn.get(key) for key in (cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FPS)] == [6, 25]


def test_results_without_copies_are_the_same(run, photos, tmp_path):
    video, plain, copied = write_video(tmp_path / "clip.avi"), tmp_path / "plain", tmp_path / "copied"
    sources = (photos / "a.png", video)
    assert run(*sources, *ALONE, "--no-copies", out=plain)[0] == run(*sources, *ALONE, out=copied)[0] == 0
    assert sorted(content_of(plain)) == ["a.json", "a_1.pts", "clip.json", "clip.jsonl"]
    assert sorted(set(content_of(copied)) - set(content_of(plain))) == ["a.png", "clip.mp4"]
    assert (plain / "clip.jsonl").read_bytes() == (copied / "clip.jsonl").read_bytes()
    assert (plain / "a_1.pts").read_bytes() == (copied / "a_1.pts").read_bytes()
    refused(run(*sources, *ALONE, "--resume", out=plain), "was made with copies none, not None")
    refused(run(*sources, *ALONE, "--no-copies", "--indices"), "leave out --no-copies")


def test_an_untrained_network_follows_nothing(run, tmp_path):
    video = write_video(tmp_path / "clip.avi", 3)
    code, text, _ = run("--smooth", video, "--boxes", boxes_file(tmp_path))
    assert code == 0
    assert json.loads((tmp_path / "out" / "clip.json").read_text(encoding="utf-8"))["smoothing_hz"] == 1
    assert "clip.avi: 0 faces in 3 frames" in text
    assert [line["faces"] for line in lines_of(tmp_path / "out", "clip")] == [[], [], []]


def boxes_file(folder):
    path = folder / "given.json"
    path.write_text("[[10, 10, 60, 50]]", encoding="utf-8")
    return path


def test_a_video_with_broken_frames_is_done_and_listed(run, tmp_path):
    video = write_video(tmp_path / "clip.avi")
    data = bytearray(video.read_bytes())
    start = [match.start() for match in re.finditer(b"\xff\xd8\xff", data)]
    data[start[2] : start[2] + 500] = bytes(500)
    video.write_bytes(data[: start[5]])
    code, text, error = run(video, *ALONE)
    assert code == 1
    assert "4 faces in 4 frames" in text
    assert error == f"left out: frames of {video}: 1 could not be decoded\n"
    assert [line["frame"] for line in lines_of(tmp_path / "out", "clip")] == [0, 1, 3, 4]
    content = json.loads((tmp_path / "out" / "clip.json").read_text(encoding="utf-8"))
    assert (content["frames"], content["broken_frames"]) == (4, [2])


def test_videos_without_frames_or_that_are_none(run, tmp_path):
    video = write_video(tmp_path / "clip.avi")
    data = video.read_bytes()
    (tmp_path / "header.avi").write_bytes(data[: data.find(b"\xff\xd8\xff")])
    (tmp_path / "text.mp4").write_text("no video", encoding="utf-8")
    refused(run(tmp_path / "header.avi", *ALONE), tmp_path / "header.avi", "no frame of it can be decoded")
    refused(run(tmp_path / "text.mp4", *ALONE), tmp_path / "text.mp4", "not a video that can be read")
    assert content_of(tmp_path / "out") == {}
    code, text, error = run(tmp_path / "header.avi", tmp_path / "text.mp4", video, *ALONE)
    assert code == 1
    assert "clip.avi: 6 faces in 6 frames" in text
    assert error.count("left out: ") == 2


class Interrupted:
    """A camera that shows three frames; then somebody presses Ctrl-C."""

    def __init__(self, *text):
        self.left = 3

    def isOpened(self):
        return True

    def get(self, key):
        return 25.0 if key == cv2.CAP_PROP_FPS else 0.0

    def read(self):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return True, np.zeros((60, 80, 3), np.uint8)

    def release(self):
        pass


def test_a_camera_ends_with_ctrl_c_and_keeps_its_frames(run, tmp_path, monkeypatch):
    real = cv2.VideoCapture
    monkeypatch.setattr(cv2, "VideoCapture", lambda source, *more: real(source, *more) if more else Interrupted())
    code, text, _ = run("0", *ALONE)
    assert code == 0
    assert "camera 0: 3 faces in 3 frames" in text
    assert sorted(content_of(tmp_path / "out")) == ["camera_0.json", "camera_0.jsonl", "camera_0.mp4"]
    assert len(lines_of(tmp_path / "out", "camera_0")) == 3


def test_a_video_that_is_interrupted_leaves_nothing(run, tmp_path, monkeypatch):
    video = write_video(tmp_path / "clip.avi")
    assert run(video, *ALONE, "--max-frames", "1")[0] == 0
    before = content_of(tmp_path / "out")
    monkeypatch.setattr(cv2, "VideoCapture", Interrupted)
    assert run(video, *ALONE, "--overwrite")[0] == 130
    assert content_of(tmp_path / "out") == before


def test_videos_are_overwritten_only_on_request_and_never_the_input(run, photos, tmp_path):
    out, video = tmp_path / "out", write_video(tmp_path / "a.avi", 2)
    assert run(photos / "a.png", "--boxes", boxes_file(tmp_path))[0] == 0
    assert "a_1.pts" in content_of(out)
    refused(run(video, *ALONE), out / "a.json", "--overwrite")
    # What an earlier run wrote for a photo of this stem goes as a whole.
    assert run(video, *ALONE, "--overwrite")[0] == 0
    assert sorted(content_of(out)) == ["a.json", "a.jsonl", "a.mp4"]
    before = content_of(out)
    refused(run(out / "a.mp4", *ALONE, "--overwrite"), out / "a.mp4", "would replace this video")
    assert content_of(out) == before


def test_a_folder_that_must_not_be_written_to(run, photos, tmp_path, monkeypatch):
    # Who runs tests as root may write anywhere.
    monkeypatch.setattr(output_folder.os, "access", lambda path, mode: False)
    refused(run(photos / "a.png", *ALONE), tmp_path / "out", "no permission to write here")


def test_a_display_is_asked_for_first(run, photos, tmp_path, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    refused(run(photos / "a.png", *ALONE, "--show"), "--show: no window can be opened here")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("kind", "milliseconds"), [("video", 1), ("photos", 0)])
def test_what_is_shown_until_q_is_pressed(run, photos, tmp_path, monkeypatch, kind, milliseconds):
    shown = []

    class Screen:
        def __init__(self, title):
            pass

        def show(self, image, milliseconds):
            shown.append((image.shape, milliseconds))
            return len(shown) < 2  # then q is pressed

    monkeypatch.setattr(predict, "check_display", lambda: None)
    monkeypatch.setattr(predict, "Window", Screen)
    shows = write_video(tmp_path / "clip.avi") if kind == "video" else photos
    code, text, _ = run(shows, *ALONE, "--show")
    assert code == 0
    assert shown == [((60, 80, 3), milliseconds)] * 2
    # A video ends with its window; photos are all written.
    assert ("2 faces in 2 frames" if kind == "video" else "3 faces in 3 photos") in text


def test_a_network_that_finds_faces_itself_is_followed_on_crops():
    asked = []
    follow = predict.follow_faces(lambda image, name: [], lambda: asked.append("crops"), "clip.avi", 5, None)
    assert follow(Frame(0, 0.0, np.zeros((9, 9, 3), np.uint8))) == []
    assert asked == ["crops"]


@pytest.mark.parametrize("option", [("--crops", "arcface_112"), ("--indices",)])
def test_options_of_photos_are_not_dropped_for_videos(run, tmp_path, option):
    refused(
        run(write_video(tmp_path / "clip.avi", 1), *option), f"{option[0]} is for photos, and there are only videos"
    )


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        (("--redetect", "0"), "--redetect: '0' is not a whole number from 1"),
        (("--max-frames", "0"), "--max-frames: '0' is not a whole number from 1"),
        (("--smooth", "--cutoff", "0"), "--cutoff: '0' is not a number above 0"),
        (("--smooth", "--no-tracking"), "--smooth needs tracking"),
        (("--redetect", "9", "--no-tracking"), "--redetect is for tracking"),
        (("--cutoff", "2"), "--cutoff is that of --smooth"),
    ],
)
def test_video_options_that_cannot_be(run, photos, text, advice):
    refused(run(photos / "a.png", *text), advice)
