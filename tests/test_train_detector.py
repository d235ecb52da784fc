"""train_detector.py and tools/evaluate_detector.py: command lines, a run and its resumption, measuring."""

import hashlib
import json
import math
import shlex
import shutil

import numpy as np
import pytest

import train_detector
from datasets.detection import landmark_boxes
from datasets.detection.boxed_photos import BoxedPhoto, part_of
from datasets.images import write_image
from datasets.loader import Cut
from datasets.render.faces import RenderedFaces
from gluon_models.detector import network as face_detector
from gluon_models.detector.network import Setting
from gluon_models.weights import halve, shipped_weights
from inference.detectors import CenterNetDetector, Detection, FasterRcnnDetector
from tools import evaluate_detector
from training import options as training

SMALL = "--model faster_rcnn_fpn --rendered-count 3 --max-photos 2 --workers 0 --gpus none --lr 0.001".split()


@pytest.fixture
def small_setting(monkeypatch):
    monkeypatch.setitem(
        face_detector.SETTINGS, "faster_rcnn_fpn", Setting(64, 128, 16, 16, 32, 16, (60, 20), (200, 100))
    )
    monkeypatch.setattr(train_detector, "VALIDATION_PHOTOS", 2)


def chosen(*text):
    return train_detector.COMMAND_LINE.parse(["--out", "run", *text])[:2]


def test_the_defaults_are_gluoncvs():
    arguments, recipe = chosen()
    assert (arguments.model, arguments.dataset) == ("faster_rcnn", "rendered")
    options = training.fit_options(arguments, recipe)
    assert (options.optimizer, options.optimizer_settings) == ("sgd", {"wd": 5e-4, "momentum": 0.9})
    rates = [options.schedule.rate(epoch) for epoch in (0, 13, 14, 19)]
    np.testing.assert_allclose(rates, [1e-3, 1e-3, 1e-4, 1e-4])
    assert (options.schedule.epochs, recipe.batch_size) == (20, 1)


def test_the_cpu_recipe_varies_sizes_and_ends_at_zero():
    arguments, recipe = chosen("--recipe", "cpu")
    assert (recipe.smallest_scale, recipe.largest_scale) == (0.7, 1.3)
    schedule = training.fit_options(arguments, recipe).schedule
    assert schedule.rate(recipe.epochs) == pytest.approx(0)


class Sizes:
    """A source whose photos say by their size which one they are."""

    def __len__(self):
        return 5

    def sample(self, index, rng):
        return BoxedPhoto(np.zeros((10 + index, 20, 3)), rng.random((1, 4)), np.zeros(1, bool), str(index))


def test_an_epoch_takes_every_photo_once_and_depends_on_its_number_alone():
    def samples(photos, seed):
        return [(len(photo.image), photo.boxes.tolist()) for photo in photos] + [seed]

    batches = train_detector.PhotoBatches(Sizes(), samples, 2, seed=4)
    first, again, second = list(batches.epoch(0)), list(batches.epoch(0)), list(batches.epoch(1))
    assert len(first) == len(batches) == 2
    assert first == again
    sizes = [size for batch in first for size, _ in batch[:2]]
    assert len(set(sizes)) == 4
    assert [size for batch in second for size, _ in batch[:2]] != sizes
    assert [batch[2] for batch in first] == [(4, 0, 0), (4, 0, 2)]
    with pytest.raises(ValueError, match="5 training photos do not fill a batch of 6: lower --batch-size"):
        train_detector.PhotoBatches(Sizes(), samples, 6, seed=0)


def test_workers_part_the_batches_of_one():
    def samples(photos, seed):
        return [np.array([photo.image.shape for photo in photos]), np.stack([photo.boxes for photo in photos])]

    whole, *parts = (
        train_detector.PhotoBatches(Sizes(), samples, 3, 4, cut).epoch(0) for cut in (None, Cut(0, 2), Cut(1, 2))
    )
    for batch, first, second in zip(whole, *parts):
        assert (len(first[0]), len(second[0])) == (2, 1)
        for each, *own in zip(batch, first, second):
            np.testing.assert_array_equal(np.concatenate(own), each)


def test_whole_photos_of_afw_test_the_detector():
    class Named(RenderedFaces):
        names = ("afw/1_1", "helen/trainset/2", "lfpw/trainset/afw")

        def __init__(self):
            pass

        def subset(self, indices):
            return [self.names[k] for k in indices]

    assert landmark_boxes.without_afw(Named()) == ["helen/trainset/2", "lfpw/trainset/afw"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (["--more", "face_boxes"], "--more face_boxes: write NAME=DIR with one of"),
        (["--dataset", "fddb"], "--dataset fddb needs its folder: pass --data DIR"),
        (["--dataset", "face_boxes", "--data", "missing"], "missing: has no folder 'annotations'"),
        ([*SMALL, "--batch-size", "3"], "2 training photos do not fill a batch of 3"),
        ([*SMALL, "--imagenet", "missing.params"], "missing.params: there is no such file"),
    ],
)
def test_bad_input_is_said_in_one_line(text, message, tmp_path, small_setting):
    with pytest.raises((ValueError, OSError), match=message):
        train_detector.main([*text, "--out", str(tmp_path / "run")])


def test_the_small_detector_trains_and_its_weights_find_boxes(tmp_path, monkeypatch):
    monkeypatch.setattr(train_detector, "VALIDATION_PHOTOS", 1)
    start = tmp_path / "start.params"
    halve(shipped_weights("resnet18_slim"), start)
    text = ["--model", "centernet_slim", *SMALL[2:], "--epochs", "1", "--batch-size", "2", "--out", str(tmp_path)]
    assert train_detector.main([*text, "--backbone", str(start)]) == 0
    start.unlink()  # which a resumed run does without
    assert train_detector.main(["--resume", str(tmp_path), "--gpus", "none"]) == 0
    (line,) = map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines())
    assert math.isfinite(line["loss"])
    assert CenterNetDetector(tmp_path / "best.params", 0.0)(RenderedFaces(1, size=96)[0].image)


@pytest.mark.slow  # Two short trainings: only so is it certain that a resumed one continues bit for bit.
def test_a_run_resumes_bit_for_bit_and_its_weights_find_boxes(tmp_path, small_setting, monkeypatch, capsys):
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    train_epoch = train_detector.Fit._one_epoch

    def one_epoch(self, state, bar):
        """Keeps the run as an interruption after its first epoch leaves it."""
        if state.epoch == 1 and not parted.exists():
            shutil.copytree(whole, parted)
        train_epoch(self, state, bar)

    monkeypatch.setattr(train_detector.Fit, "_one_epoch", one_epoch)
    train_detector.main([*SMALL, "--epochs", "2", "--out", str(whole)])
    log = [json.loads(line) for line in (whole / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in log] == [1, 2]
    assert all(math.isfinite(line["loss"]) for line in log)
    assert log[1]["one_minus_ap"] == 1 - log[1]["average_precision"]
    assert f"validation 1 - AP {100 * log[1]['one_minus_ap']:.2f} %" in capsys.readouterr().out
    assert (parted / "log.jsonl").read_text().count("\n") == 1
    train_detector.main(["--resume", str(parted), "--gpus", "none"])
    with np.load(whole / "last.npz") as one, np.load(parted / "last.npz") as two:
        weights = [name for name in one.files if name.startswith("weights/")]
        assert len(weights) > 100
        for name in weights:
            np.testing.assert_array_equal(one[name], two[name])
    assert (whole / "best.params").read_bytes() == (parted / "best.params").read_bytes()
    detector = FasterRcnnDetector(whole / "best.params", least_score=0.0)
    assert all(0 < score <= 1 and box.shape == (4,) for box, score in detector(RenderedFaces(1, size=96)[0].image))


def write_voc(folder, name, image, boxes):
    for each in ("annotations", "images"):
        (folder / each).mkdir(exist_ok=True)
    edges = ("xmin", "ymin", "xmax", "ymax")
    objects = "".join(
        "<object><bndbox>"
        + "".join(f"<{edge}>{value + 1}</{edge}>" for edge, value in zip(edges, box))
        + "</bndbox></object>"
        for box in boxes
    )
    text = f"<annotation><filename>{name}.png</filename>{objects}</annotation>"
    (folder / "annotations" / f"{name}.xml").write_text(text)
    write_image(folder / "images" / f"{name}.png", image)


class Half:
    """A detector that knows one of two faces in every photo, and answers one box that is not there."""

    least_score = 0.9

    def __init__(self, *settings):
        self.settings = settings

    def __call__(self, image, name=""):
        return [Detection(np.array([10.0, 10, 60, 60]), 0.9), Detection(np.array([300.0, 10, 350, 60]), 0.8)]


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Folder of the photos that `Half` looks at, and how many of them are held out."""
    names = [f"photo_{k}" for k in range(30)]
    for name in names:
        write_voc(tmp_path, name, np.zeros((100, 400, 3), np.uint8), [[10, 10, 60, 60], [100, 10, 120, 30]])
    monkeypatch.setattr(evaluate_detector, "HaarDetector", Half)
    monkeypatch.setitem(evaluate_detector.NETWORKS, "faster_rcnn", Half)
    return tmp_path, sum(part_of(name) == "held_out" for name in names)


def test_measuring(photos, capsys):
    folder, held_out = photos
    text = ["--detector", "haar", "--data", str(folder), "--out", str(folder / "out"), "--gpus", "none"]
    assert evaluate_detector.main(text) == 0
    record = json.loads((folder / "out" / "metrics.json").read_text())
    assert record["weights_sha256"] is None
    assert (record["nms"], record["least_score"]) == (0.3, None)
    assert record["photos"] == held_out > 0
    result = record["results"]["haar"]
    assert result["sizes"]["all"]["faces"] == 2 * held_out
    # The right boxes are the surest: precision 1 up to the recall of 1/2.
    assert result["sizes"]["all"]["average_precision"] == pytest.approx(0.5)
    assert result["sizes"]["all"]["precision"] == pytest.approx(0.5)
    assert result["sizes"]["from 40"]["recall"] == 1
    assert result["sizes"]["below 24"]["recall"] == 0
    assert result["sizes"]["from 80"]["recall"] is None
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["haar", "from", "40", str(held_out), "100.0", "100.0", "50.0"] in rows
    assert ["haar", "from", "80", "0", "-", "-", "-"] in rows


def test_weights_of_no_measured_network_are_refused(photos):
    text = ["--detector", "haar", "--weights", "missing.params", "--data", str(photos[0]), "--gpus", "none"]
    with pytest.raises(ValueError, match="haar has none"):
        evaluate_detector.main(text)


def test_the_record_says_what_was_measured_on_what(photos):
    folder, _ = photos
    weights = folder / "best.params"
    weights.write_bytes(b"learnt")
    weights.with_suffix(".json").write_text('{"detector": "faster_rcnn_fpn"}')
    text = ["--weights", str(weights), "--data", str(folder), "--part", "all", "--title", "30 blank photos"]
    text += ["--least-score", "0.85", "--nms", "0.4", "--gpus", "none", "--out", str(folder / "out")]
    assert evaluate_detector.main(text) == 0
    record = json.loads((folder / "out" / "metrics.json").read_text())
    assert (record["dataset"], record["subset"], record["title"]) == ("face_boxes", "all", "30 blank photos")
    assert (record["model"], record["weights"], record["photos"]) == ("faster_rcnn_fpn", "best.params", 30)
    assert record["weights_sha256"] == hashlib.sha256(b"learnt").hexdigest()
    assert shlex.split(record["command"]) == ["python", "-m", "tools.evaluate_detector", *text]
    assert (record["nms"], record["least_score"], record["device"]) == (0.4, 0.85, "cpu(0)")
    assert set(record["git"]) == {"commit", "dirty"}
    # The network's second box is less sure than 0.85; the cascade's votes have no such scale.
    precisions = {name: each["sizes"]["all"]["precision"] for name, each in record["results"].items()}
    assert precisions == {"faster_rcnn": 1.0, "haar": 0.5}


def test_the_network_answers_all_its_boxes_and_no_weights_is_said(photos, monkeypatch):
    folder, _ = photos
    made = evaluate_detector.make_detector("faster_rcnn", folder / "a.params", 0.4, "cpu")
    assert made.settings == (folder / "a.params", 0.0, 0.4, "cpu")
    with pytest.raises(FileNotFoundError, match=r"a\.params is not there"):
        evaluate_detector.main(["--weights", str(folder / "a.params"), "--data", str(folder), "--gpus", "none"])
    monkeypatch.setitem(evaluate_detector.NETWORKS, "haar", Half)
    with pytest.raises(ValueError, match="no weights ship for 'haar'"):
        evaluate_detector.main(["--detector", "haar", "--data", str(folder), "--gpus", "none"])
    with pytest.raises(ValueError, match="measure one network at a time"):
        evaluate_detector.main(["--data", str(folder), "--gpus", "none"])
