"""The errors of every stage in the files of evaluate.py, of an FFLD whose stages predict what they are set to."""

import json

import mxnet as mx
import numpy as np
import pytest

import evaluate
from datasets.degradations import DEGRADATIONS
from datasets.geometry import square_box
from datasets.ibug_300w import write_pts
from datasets.images import write_image
from datasets.render.faces import RenderedFaces
from gluon_models import get_spec
from inference import evaluation
from inference.evaluation import TEST_SEED
from report import evaluation_report
from untrained import save_random

MODEL = "ffld_resnet18"
FRACTIONS = np.random.default_rng(4).uniform(0.3, 0.7, size=(68, 2))
# Cells of the maps by which each refinement moves all points; the maps are of 28 and 56 cells.
MOVES = ((2.0, -1.0), (-3.0, 1.0))
STAGES = np.cumsum([FRACTIONS, np.broadcast_to(np.divide(MOVES[0], 28), (68, 2)), np.full((68, 2), MOVES[1]) / 56], 0)


@pytest.fixture(autouse=True)
def _undrawn(monkeypatch):
    monkeypatch.setattr(evaluation_report, "_pictures", lambda *_: [])


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    def set_stages(net):
        first = net.cascade.baseline.points
        first.weight.set_data(mx.nd.zeros_like(first.weight.data()))
        first.bias.set_data(mx.nd.array(FRACTIONS.ravel() - 0.5))  # the network counts from the crop's centre
        for refinement, move in zip(net.cascade.refinements, MOVES):
            last = refinement.cropnet.offsets
            last.weight.set_data(mx.nd.zeros_like(last.weight.data()))
            last.bias.set_data(mx.nd.array(np.tile(move, 68)))

    path = tmp_path_factory.mktemp("weights") / "moves.params"
    save_random(path, MODEL, change=set_stages, num_stages=2)
    return path


def evaluated(weights, out, *more):
    text = ["--model", MODEL, "--weights", weights, "--out", out, "--gpus", "none", *more]
    code = evaluate.main(list(map(str, text)))
    return code, json.loads((out / "metrics.json").read_text(encoding="utf-8"))


def expected_errors(faces, shift=0.0):
    """(stages, n) errors over the distance of the outer corners of the eyes; a crop shows the square about its face."""
    errors = []
    for face in faces:
        truth = face.points_image
        box = np.concatenate([truth.min(axis=0), truth.max(axis=0)])
        x0, y0, x1, _ = square_box(box, get_spec(MODEL).box_margin)
        points = (x0, y0) + STAGES * (x1 - x0) - 0.5 + shift
        errors.append(np.linalg.norm(points - truth, axis=2).mean(axis=1) / np.linalg.norm(truth[45] - truth[36]))
    return np.transpose(errors)


@pytest.mark.parametrize(("more", "shift"), [((), 0.0), (("--point-shift", 1.75, "--batch-size", 2), 1.75)])
def test_every_stage_is_measured_and_the_last_is_the_headline(weights, tmp_path, more, shift):
    code, metrics = evaluated(weights, tmp_path / "out", "--count", 3, *more)
    faces = RenderedFaces(3, TEST_SEED)
    errors = expected_errors([faces[index] for index in range(3)], shift)
    assert code == 0
    assert [each["stage"] for each in metrics["stages"]] == [0, 1, 2]
    np.testing.assert_allclose([each["mean"] for each in metrics["stages"]], errors.mean(axis=1), atol=1e-5)
    np.testing.assert_allclose([each["median"] for each in metrics["stages"]], np.median(errors, axis=1), atol=1e-5)
    headline = metrics["results"][metrics["normalizer"]]
    assert metrics["stages"][-1] == {"stage": 2, "mean": headline["mean"], "median": headline["median"]}
    np.testing.assert_allclose(np.load(tmp_path / "out" / "errors.npy"), errors[-1], atol=1e-5)


def test_a_photo_that_cannot_be_read_counts_at_no_stage(weights, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    faces = [RenderedFaces(3, seed=77)[index] for index in range(3)]
    for index, face in enumerate(faces):
        write_image(folder / f"{index}.png", face.image)
        write_pts(folder / f"{index}.pts", face.points_image)
    (folder / "1.png").write_bytes(b"no picture")
    code, metrics = evaluated(weights, tmp_path / "out", "--dataset", "pts", "--data", folder)
    assert code == 1
    errors = expected_errors([faces[0], faces[2]])
    np.testing.assert_allclose([each["mean"] for each in metrics["stages"]], errors.mean(axis=1), atol=1e-4)


def test_faces_made_harder_are_measured_at_the_last_stage(weights, tmp_path, monkeypatch):
    """The network looks at nothing, so that a face without light is as hard as any."""
    monkeypatch.setattr(evaluation, "DEGRADATIONS", [each for each in DEGRADATIONS if each.name == "brightness"])
    _, metrics = evaluated(weights, tmp_path / "out", "--count", 1, "--stress")
    curves = json.loads((tmp_path / "out" / "stress.json").read_text(encoding="utf-8"))["curves"]
    (darkened,) = [curve["levels"] for curve in curves if curve["name"] == "brightness"]
    assert [level[1] for level in darkened] == pytest.approx([metrics["stages"][-1]["mean"]] * len(darkened), abs=1e-4)
