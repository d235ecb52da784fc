"""The plan of a training: its sums by hand, its learning rates, and a dry run that writes nothing."""

import re
from dataclasses import replace
from functools import partial

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn

import train_hourglass
import train_lgcn
import train_regions
from datasets.markups import IBUG_68
from engine.fit import FitOptions
from engine.schedule import Schedule
from training.plan import SHOWN_RATES, Plan, measure_steps, rate_changes


def test_a_plan_by_hand():
    plan = Plan("m", 2000, 200, 50, 64, [(1, 0.1)], 1.5, 10, 0.5, 0.01, 1.6, 2.0, 30.0, 3.25)
    # 31 whole batches of 64 and one of 16; 32 steps of 2 s and a validation of 30 s take 94 s, fifty times.
    assert plan.steps == 32
    assert plan.hours == pytest.approx(50 * 94 / 3600)
    assert plan.faces_per_second == pytest.approx(32)
    for part in (
        "100,000 faces in all",
        "32 an epoch, 1,600 in all, batch 64",
        "plans 1.5 GB",
        "took 3.2 GB",
        "1.3 hours",
        "faces/s: loading 128, upload 6,400, step on the device 40, all at once 32, validation 7; the device sets",
    ):
        assert part in plan.text()
    assert plan.row() == "| `m` | 64 | 2.00 | 32.0 | 0.500, 0.0100, 1.600 | 30.0 for 200 | 1.5 | 3.2 |"
    assert "more --workers" in replace(plan, loading_seconds=1.7).bottleneck
    assert replace(plan, upload_seconds=1.7).bottleneck == "uploading sets the pace"


def test_the_rates_that_a_schedule_changes_to():
    milestones = Schedule("milestones", 4e-5, 50, decay_milestones=(20, 35))
    assert [epoch for epoch, _ in rate_changes(milestones, 50)] == [1, 21, 36]
    np.testing.assert_allclose([rate for _, rate in rate_changes(milestones, 50)], [4e-5, 4e-6, 4e-7])
    assert rate_changes(Schedule("constant", 0.1, 9), 9) == [(1, 0.1)]
    shown = rate_changes(Schedule("cosine", 0.1, 100), 100)
    assert len(shown) == SHOWN_RATES
    assert (shown[0][0], shown[-1][0]) == (1, 100)


def test_a_dry_run_says_what_a_run_would_take_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(train_lgcn.TRAINING, "plan", partial(train_lgcn.TRAINING.plan, steps=1))
    small = "--model lgcn_64 --filters 4 --size 48 --rendered-count 4 --batch-size 2 --workers 0 --gpus none".split()
    assert train_lgcn.TRAINING.main([*small, "--augment-on", "device", "--epochs", "3", "--dry-run"]) == 0
    printed = capsys.readouterr().out
    # Sec. 4: each face 18 times.
    assert "lgcn_64: 72 faces an epoch, 3 epochs, 216 faces in all" in printed
    assert "36 an epoch, 108 in all, batch 2" in printed
    parts = ("loading", "upload", "step on the device", "all at once", "validation")
    assert re.search("faces/s: " + ", ".join(f"{part} [\\d,]+" for part in parts) + "; ", printed)
    assert not list(tmp_path.iterdir())


def test_no_worker_draws_on_while_the_step_on_the_device_is_measured():
    class Batches:
        events: list[str] = []

        def epoch(self, epoch):
            while True:
                yield np.ones((2, 1), np.float32), np.zeros((2, 1), np.float32)

        def close(self):
            self.events.append("close")

    def squared_error(net, arrays, context):
        Batches.events.append("step")
        return {"squared": mx.nd.square(net(mx.nd.array(arrays[0], context))).sum(axis=1)}

    net = nn.Dense(1, in_units=1)
    net.initialize()
    measure_steps(net, Batches(), squared_error, FitOptions(Schedule("constant", 0.1, 1)), [mx.cpu()], 6)
    # One unmeasured and six measured steps as they are taken; then one and two of the device alone.
    assert Batches.events == ["step"] * 7 + ["close"] + ["step"] * 3


def test_a_dry_run_takes_the_flat_heatmaps_that_a_head_of_zeros_begins_with(few_photos, monkeypatch, capsys):
    monkeypatch.setattr(train_hourglass.TRAINING, "plan", partial(train_hourglass.TRAINING.plan, steps=1))
    tiny = "--recipe cpu --stacks 1 --channels 16 --depth 2 --size 64 --batch-size 2 --workers 0 --gpus none".split()
    assert train_hourglass.TRAINING.main([*tiny, "--dataset", "pts", "--data", few_photos, "--dry-run"]) == 0
    assert "measured steps of" in capsys.readouterr().out


def test_training_from_random_weights_says_what_the_paper_starts_from():
    def advice(*text):
        settings, recipe, _ = train_regions.TRAINING.parse(["--out", "run", *text])
        context = train_regions.TRAINING.make_context(settings, recipe, IBUG_68, [])
        return train_regions.TRAINING.start_advice(context)

    assert "--imagenet resnet50_v1.params, which this writes: python -c" in advice()
    assert "zoo(pretrained=True).save_parameters('resnet50_v1.params')" in advice()
    assert advice("--imagenet", "f.params") == advice("--init", "f.params") == ""
