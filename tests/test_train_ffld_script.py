"""train_ffld.py as a user runs it, on a few photos: a run, an interruption, a resumed run, bad input."""

import json
import multiprocessing
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import train_ffld
from gluon_models import load_weights
from training import options

ROOT = Path(__file__).resolve().parent.parent
SMALL = "--recipe cpu --dataset pts --epochs 3 --batch-size 3 --workers 1 --gpus none".split()


@pytest.mark.slow  # A process and two trainings: only so is it certain that an interrupted one continues bit for bit.
def test_an_interrupted_run_continues_bit_for_bit(tmp_path, few_photos, capsys):
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    text = [*SMALL, "--epochs", "8", "--data", few_photos]  # an epoch takes a moment: seven are left to stop it in
    process = subprocess.Popen(
        [sys.executable, "train_ffld.py", *text, "--out", str(parted)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    log = parted / "log.jsonl"
    while process.poll() is None and not (log.exists() and log.read_text().count("\n")):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "stopped by the user" in errors
    assert log.read_text().count("\n") < 8

    assert train_ffld.TRAINING.main(["--resume", str(parted)]) == 0
    assert train_ffld.TRAINING.main([*text, "--out", str(whole)]) == 0
    printed = capsys.readouterr().out
    assert "5 training faces, 2 for validation" in printed
    assert "epoch 8 of 8" in printed
    with np.load(whole / "last.npz") as one, np.load(parted / "last.npz") as two:
        for name in one.files:
            if name.startswith(("weights/", "average/")):
                np.testing.assert_array_equal(one[name], two[name])
    assert (whole / "best.params").read_bytes() == (parted / "best.params").read_bytes()

    record = json.loads((whole / "run.json").read_text())
    assert record["arguments"]["data"] == few_photos
    assert record["result"]["epochs"] == 8
    net, info = load_weights(whole / "best.params")
    assert (info.model, info.markup, info.overrides) == ("resnet18_slim", "ibug_68", {"num_landmarks": 68})


def test_workers_are_forked_before_the_network_is_on_a_device(tmp_path, monkeypatch):
    earlier, found = set(multiprocessing.active_children()), []

    def stop(*arguments):
        found.extend(set(multiprocessing.active_children()) - earlier)
        raise ValueError("far enough")

    monkeypatch.setattr(options, "initialise", stop)
    with pytest.raises(ValueError, match="far enough"):
        train_ffld.TRAINING.main(["--rendered-count", "4", "--workers", "2", "--cache", "--out", str(tmp_path / "run")])
    assert len(found) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (["--dataset", "300w", "--out", "{new}"], "--dataset 300w needs --data DIR"),
        (["--data", "{new}", "--out", "{new}.run"], "there is no such folder"),
        (["--out", "{new}", "--gpus", "17"], "GPUs here; run make check-gpu"),
        (["--out", "{new}", "--loss", "wing"], "unknown loss 'wing': choose one of normalized_l2, l2, l1"),
        (["--out", "{new}", "--init", "{new}.params"], "new.params is not there"),
        (["--out", "{new}", "--model", "ffld_resnet18", "--loss", "l2/wing"], "unknown loss 'wing'"),
        (["--out", "{new}", "--model", "ffld_resnet18", "--loss", "l2"], "1 to 3 refinement stages, not 0"),
        (["--resume", "{new}"], "--resume takes the folder of a run"),
    ],
)
def test_bad_input_is_one_line_and_code_2(tmp_path, refused, text, message):
    new = str(tmp_path / "new")
    filled = [word.replace("{new}", new) for word in text]
    filled += [] if "--resume" in text else ["--rendered-count", "8"]
    refused(lambda: train_ffld.TRAINING.main(filled), message)
