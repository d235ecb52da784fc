"""Every training script's default network and recipe takes a step, in which it has crashed before."""

import importlib

import pytest

from datasets import catalog
from engine.feed import uploaded
from engine.fit import Fit
from engine.losses import EpochLoss
from training.discovery import ROOT, training_scripts

DETECTOR = "train_detector"
SCRIPTS = [path.stem for path in training_scripts(ROOT) if path.stem != DETECTOR]
# Fewer and smaller than the defaults, which take minutes and gigabytes; all else is as it is.
SMALL = ["--rendered-count", "16", "--workers", "0", "--epochs", "1", "--gpus", "none"]


def one_step(fit, state, bar):
    """In the place of an epoch: one batch, and no validation."""
    loss = EpochLoss(1)
    fit._step(next(uploaded(fit._batches.epoch(0), fit._net, fit._objective, fit._contexts)), loss)
    loss.finish()
    state.epoch += 1
    state.history.append({"epoch": 1, "loss": loss.mean, "seconds": 0.0})


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_default_command_takes_a_step(name, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Fit, "_one_epoch", one_step)
    monkeypatch.setattr(catalog, "RENDERED_SIDE", 96)
    script = importlib.import_module(name)
    text = [*SMALL, "--batch-size", "1", "--out", str(tmp_path / "run")]
    text += ["--samples", "160"] if name == "train_deeppose" else []
    assert script.TRAINING.main(text) == 0
    assert (tmp_path / "run" / "last.npz").is_file()


def test_the_default_detector_takes_a_step(tmp_path, monkeypatch, capsys):
    """Its first run, which settles its shapes, was of a picture too small for the proposals it is to make."""
    monkeypatch.setattr(Fit, "_one_epoch", one_step)
    text = [*SMALL, "--rendered-count", "2", "--smallest-scale", "0.5", "--largest-scale", "0.5"]
    text += ["--out", str(tmp_path / "run")]
    assert importlib.import_module(DETECTOR).main(text) == 0
    assert (tmp_path / "run" / "last.npz").is_file()
