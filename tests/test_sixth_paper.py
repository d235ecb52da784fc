"""A sixth paper is one file: an invented one is trained, evaluated, applied to a photo, exported and measured."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib import cbook

import evaluate
import export
import predict
from datasets import catalog
from engine import timing
from gluon_models import get_model, registry
from tools import benchmark
from training.discovery import find_trainings

PAPER = '''
"""Trains mean-field landmark regression, an invented paper."""

from dataclasses import dataclass

import mxnet as mx
from mxnet.gluon import nn

from common import cli
from common.options import option
from common.recipe import LandmarkRecipe
from gluon_models import InputSpec, register
from gluon_models.points import PointObjective, make_point_loss
from training.landmark_training import LandmarkTraining

SPEC = InputSpec(64, "rgb", (127.5,) * 3, (1 / 127.5,) * 3, box_margin=0.25, output="points")


@dataclass(frozen=True)
class Recipe(LandmarkRecipe):
    epochs: int = 60  # Sec. 4.1
    learning_rate: float = 1e-3  # Sec. 4.1
    loss: str = "l1"  # Sec. 3.3
    sharpness: float = option(4.0, "factor on the maps before their softmax")  # Sec. 3.2


class MeanField(nn.HybridBlock):
    """faces (N, 3, 64, 64) -> (N, K, 2), the centres of mass of K softmax maps."""

    def __init__(self, num_landmarks=68, sharpness=4.0):
        super().__init__()
        self._sharpness, places = sharpness, (mx.nd.arange(16) + 0.5) / 16
        with self.name_scope():
            self.trunk = nn.HybridSequential()
            for stride in (2, 2):
                self.trunk.add(nn.Conv2D(8, 3, stride, 1, use_bias=False), nn.BatchNorm(), nn.Activation("relu"))
            self.score = nn.Conv2D(num_landmarks, 1)
            self.places = self.params.get_constant("places", places.reshape((1, 1, 16)))

    def hybrid_forward(self, F, faces, places):
        maps = F.reshape(self.score(self.trunk(faces)) * self._sharpness, (0, 0, -1))
        weights = F.reshape(F.softmax(maps, axis=-1), (0, 0, 16, 16))
        return F.stack(*(F.sum(F.broadcast_mul(F.sum(weights, axis=k), places), axis=2) for k in (2, 3)), axis=2)


register("meanfield", MeanField, SPEC)


class MeanFieldTraining(LandmarkTraining):
    def make_objective(self, net, context):
        loss = make_point_loss(context.recipe.loss)
        return PointObjective(loss, context.spec, context.markup.outer_eye_corners, context.devices)


TRAINING = MeanFieldTraining(__doc__, ("meanfield",), {"paper": {"": Recipe()}})

if __name__ == "__main__":
    cli.run(TRAINING.main)
'''
CPU = ("--gpus", "none")
HOPPER = Path(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))


@pytest.fixture
def script(tmp_path, monkeypatch):
    """The paper's file in a folder of its own; nothing of it is known afterwards."""
    monkeypatch.setattr(registry, "_MODELS", dict(registry._MODELS))
    (tmp_path / "train_meanfield.py").write_text(PAPER.lstrip())
    yield tmp_path
    sys.modules.pop("train_meanfield", None)


def test_an_invented_paper_goes_the_whole_way(script, monkeypatch, capsys):
    run, out = script / "run", script / "out"
    monkeypatch.setattr(catalog, "RENDERED_SIDE", 96)
    trainings = find_trainings(script)
    assert list(trainings) == ["meanfield"]
    small = "--rendered-count 12 --batch-size 6 --epochs 2 --workers 0 --sharpness 2".split()
    assert trainings["meanfield"].main([*small, *CPU, "--out", str(run)]) == 0
    assert "best validation NME" in capsys.readouterr().out
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert log[1]["loss"] < log[0]["loss"]

    own = ["--model", "meanfield", "--weights", str(run / "best.params")]
    assert evaluate.main([*own, "--count", "3", *CPU, "--out", str(out / "evaluated")]) == 0
    errors = np.load(out / "evaluated" / "errors.npy")
    assert errors.shape == (3,)
    assert np.isfinite(errors).all()

    (script / "boxes.json").write_text(json.dumps({HOPPER.name: [[160, 150, 370, 360]]}))
    boxes = ["--boxes", str(script / "boxes.json")]
    assert predict.main([str(HOPPER), *own, *boxes, *CPU, "--out", str(out / "predicted")]) == 0
    assert {"grace_hopper.json", "grace_hopper.png"} <= {path.name for path in (out / "predicted").iterdir()}

    assert export.main([*own, *CPU, "--out", str(out / "exported")]) == 0
    written = json.loads((out / "exported.json").read_text())
    assert written["model"] == "meanfield"
    assert max(written["largest_difference_pixels"].values()) < 0.01

    (script / "photos").mkdir()
    monkeypatch.setattr(benchmark, "PHOTOS", 2)
    photos, setting = benchmark.write_photos(script / "photos", 0), benchmark.Setting(0.05, 0, "none", 0)
    monkeypatch.setattr(timing, "PREDICTION_BATCH", 4)
    monkeypatch.setattr(benchmark, "find_trainings", lambda: trainings)
    assert benchmark.measure_prediction("meanfield", "float32", photos, setting)["faces_per_second"] > 0
    assert benchmark.measure_training("meanfield", photos, setting)["faces_per_second"] > 0


def test_a_name_is_taken_once(script):
    find_trainings(script)
    with pytest.raises(ValueError, match="there is a model 'meanfield' already"):
        registry.register("meanfield", get_model, registry.get_spec("meanfield"))
