"""The measuring itself: a clock that is known, sums by hand, and one short run of everything."""

import importlib.util
import itertools
import json
import os
import re
from dataclasses import asdict, replace

import mxnet as mx
import numpy as np
import pytest

from datasets import catalog
from datasets.render.faces import RenderedFaces
from engine import timing
from gluon_models import list_models
from tools import benchmark
from tools.benchmark import Setting
from tools.peers.compare import describe_peers, summarise_peer, summarise_rounds
from training.discovery import find_trainings
from training.plan import Plan

SETTING = Setting(seconds=0.1, workers=1, gpus="none", seed=0)


def test_every_network_can_be_trained_here():
    assert sorted(find_trainings()) == list_models()


def test_rate_leaves_the_first_step_out(monkeypatch):
    now = itertools.count()  # each look at the clock is a second later
    monkeypatch.setattr(timing, "monotonic", lambda: float(next(now)))
    # Looked at 0; then 1, 2, 3 and 4 before a step each of 8 faces, 5 ends it, and 6 is the end.
    assert timing.rate(itertools.chain([1000], itertools.repeat(8)), seconds=5) == pytest.approx(4 * 8 / 6)


def test_prediction_is_timed_alone_and_in_batches(monkeypatch):
    clock, sizes = [0.0], []

    def predict(crops):
        sizes.append(len(crops))
        # The first of each kind is slow and does not count; one face takes 1, 2, 3, ... seconds, a batch 32.
        alone = sizes.count(1) - 1
        clock[0] += 1000 if sizes.count(len(crops)) == 1 else (alone if len(crops) == 1 else 32)

    monkeypatch.setattr(timing, "monotonic", lambda: clock[0])
    cost = timing.time_prediction(predict, np.zeros((3, 2, 2, 3), np.uint8), seconds=66)
    assert sizes == [1] * 12 + [64] * 4  # 1 + 2 + ... + 11 = 66; 3 * 32 is the first that reaches 66
    # Of 1 to 11 seconds the middle is 6, and a tenth of the way in from either end are 2 and 10.
    assert (cost.milliseconds, cost.milliseconds_10, cost.milliseconds_90) == pytest.approx((6000, 2000, 10000))
    assert cost.faces_per_second == pytest.approx(64 / 32)
    assert cost.memory_megabytes > 50


def test_flat_heatmaps_of_random_weights_in_eight_bits_are_timed_without_points(monkeypatch):
    def time_prediction(run, crops, seconds):
        if isinstance(run, benchmark.PointPredictor):
            raise ValueError("a heatmap is flat")
        assert run(crops[:1]).shape == (1, 68, 2)
        return timing.PredictionCost(1.0, 1.0, 1.0, 64.0, 100.0)

    make_network = benchmark.make_network
    monkeypatch.setattr(benchmark, "make_network", lambda *given: (make_network(*given)[0], False))
    monkeypatch.setattr(benchmark, "int8_twin", lambda net, spec, crops: net)
    monkeypatch.setattr(benchmark, "time_prediction", time_prediction)
    cost = benchmark.measure_prediction("resnet18_slim", "int8", RenderedFaces(2, 0, 64), SETTING)
    assert (cost["milliseconds"], cost["pipeline"]) == (1.0, None)


def test_the_peak_is_of_the_faster_product(monkeypatch):
    monkeypatch.setattr(benchmark, "MATRIX_SIDE", 100)
    taken = iter(([0.5, 0.02], [0.01, 0.03]))
    monkeypatch.setattr(benchmark, "durations", lambda run, seconds: (run(), np.array(next(taken)))[1])
    assert benchmark.peak_gflops(mx.cpu(), 1.0) == pytest.approx(2 * 100**3 / 0.01 / 1e9)


@pytest.fixture
def costs(monkeypatch):
    """Stands in for the processes: the figures are known."""
    figures = {
        "milliseconds": 5.0,
        "milliseconds_10": 4.0,
        "milliseconds_90": 7.0,
        "faces_per_second": 100.0,
        "memory_megabytes": 300.0,
        "pipeline": {"photos_per_second": 20.0, "faces_per_photo": 0.75, "passes": 2},
    }
    trained = {
        "batch_size": 32,
        "loader_from_files": 9.0,
        "loader_from_memory": 8.0,
        "faces_per_second": 7.0,
        "memory_megabytes": 900.0,
    }
    answers = {("float32",): figures, ("int8",): {"missing": "no int8 form"}}

    def answer(measure, model, *arguments):
        return dict(trained if measure is benchmark.measure_training else answers[arguments[:1]])

    monkeypatch.setattr(benchmark, "in_own_process", answer)


def test_the_share_of_the_peak_by_hand(costs):
    values = benchmark.measure_model("resnet18_slim", None, SETTING, peak=50.0)
    reached = 2 * values["multiply_adds"] * 100 / 1e9
    assert values["float32"]["gflops"] == pytest.approx(reached)
    assert values["float32"]["share_of_peak"] == pytest.approx(reached / 50)
    # 706,998 at 19 landmarks (test_model_summary.py), and 129 for each further number of the last layer.
    assert values["parameters"] == 706_998 + 129 * 2 * (68 - 19)
    assert "no int8 form" in benchmark.describe_cost("resnet18_slim", values)


def test_a_short_run(monkeypatch, tmp_path, capsys):
    """All in this process, as three more of them would take ten seconds to start."""
    monkeypatch.setattr(benchmark, "in_own_process", lambda measure, *arguments: measure(*arguments))
    monkeypatch.setattr(benchmark, "PHOTOS", 2)
    monkeypatch.setattr(benchmark, "MATRIX_SIDE", 128)
    monkeypatch.setattr(timing, "PREDICTION_BATCH", 4)
    path = tmp_path / "cost.json"
    assert benchmark.main(["--seconds", "0.05", "--workers", "1", "--gpus", "none", "--json", str(path)]) == 0
    printed = capsys.readouterr().out
    assert len(re.findall(r"(\d+\.?\d*) faces/s", printed)) == 5
    values = json.loads(path.read_text())
    assert values["setting"] == {"seconds": 0.05, "workers": 1, "gpus": "none", "seed": 0}
    cost = values["models"]["resnet18_slim"]
    for precision in ("float32", "int8"):
        each = cost[precision]
        assert 0 < each["milliseconds_10"] <= each["milliseconds"] <= each["milliseconds_90"]
        assert min(each["faces_per_second"], each["pipeline"]["photos_per_second"], each["gflops"]) > 0
        assert each["pipeline"]["passes"] == 2  # its weights ship
        assert each["memory_megabytes"] > 100
    assert min(cost["training"].values()) > 0


def test_a_process_of_its_own():
    assert benchmark.in_own_process(os.getpid) != os.getpid()
    ended = benchmark.in_own_process(os._exit, 9)
    assert ended == {"missing": "the system ended the process, most likely for want of memory"}


def test_rounds_of_peers_by_hand():
    ours = [{"milliseconds": t, "faces_per_second": f, "memory_megabytes": 100} for t, f in ((1, 50), (2, 40), (4, 10))]
    peer = [{"milliseconds": t, "faces_per_second": f, "memory_megabytes": 300} for t, f in ((3, 10), (4, 20), (6, 30))]
    found = summarise_peer(peer, "resnet18_slim", ours)
    # In the rounds ours takes 1/3, 1/2 and 2/3 of the time alone, and does 5, 2 and 1/3 times as much in batches.
    assert found == {
        "milliseconds": 4,
        "faces_per_second": 20,
        "memory_megabytes": 300,
        "ours": "resnet18_slim",
        "ours_faster_one": 2,
        "ours_faster_batch": 2,
    }
    failed = [{"missing": "no compiler"}]
    peers = {"ours": summarise_rounds(ours), "theirs": found, "none": summarise_peer(failed, "ours", failed)}
    assert describe_peers(peers).splitlines()[3].endswith("no compiler")


def test_a_missing_peer_is_one_line_and_nothing_is_measured(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in ("torch", "dlib") else found(name))
    with pytest.raises(ValueError, match=r"--peers needs dlib and torch: pip install -r requirements-peers.txt"):
        benchmark.main(["--peers", "--gpus", "none"])


def test_the_paper_recipes_are_rows_of_a_table(monkeypatch, capsys):
    plan = Plan("m", 2000, 200, 50, 64, [(1, 0.1)], 1.5, 30, 0.5, 0.01, 1.6, 2.0, 30.0, 3.25)
    answers = iter([asdict(plan), {"missing": "no memory"}])
    monkeypatch.setattr(benchmark, "in_own_process", lambda measure, model, steps, setting: next(answers))
    kept = []
    benchmark.measure_recipes(["m", "n"], 30, SETTING, lambda figures: kept.append(list(figures["recipes"])))
    heads, rule, row, missing, parts = capsys.readouterr().out.splitlines()
    assert row == plan.row()
    assert heads.count("|") == rule.count("|") == row.count("|")
    assert missing == "`n`: no memory"
    assert parts == f"`m`, {plan.cost_text()}"
    assert kept == [["m"], ["m", "n"]]


def test_a_fault_leaves_the_figures_of_the_networks_before_it(monkeypatch, tmp_path):
    def measure(model, *_):
        if model == "deeppose_resnet18":
            raise AttributeError(model)
        return {"of": model}

    monkeypatch.setattr(benchmark, "measure_model", measure)
    monkeypatch.setattr(benchmark, "describe_cost", lambda model, values: model)
    monkeypatch.setattr(benchmark, "list_models", lambda: ["resnet18_slim", "deeppose_resnet18"])
    monkeypatch.setattr(benchmark, "peak_gflops", lambda *_: 100.0)
    path = tmp_path / "cost.json"
    with pytest.raises(AttributeError):
        benchmark.main(["--model", "all", "--json", str(path), "--gpus", "none"])
    assert json.loads(path.read_text())["models"] == {"resnet18_slim": {"of": "resnet18_slim"}}


@pytest.mark.slow  # Trains: only so is it certain that the measured steps are the script's.
def test_the_steps_of_a_paper_recipe_are_measured(monkeypatch):
    small = lambda count, seed, side: RenderedFaces(2 if seed == catalog.VALIDATION_SEED else count, seed, 96)  # noqa: E731
    monkeypatch.setattr(catalog, "RenderedFaces", small)
    plan = benchmark.measure_recipe("resnet18_slim", 1, replace(SETTING, workers=0, gpus="none"))
    assert (plan["model"], plan["batch_size"], plan["epochs"], plan["faces"]) == ("resnet18_slim", 64, 350, 2000)
    assert min(value for name, value in plan.items() if name.endswith("_seconds")) > 0
    assert plan["peak_gigabytes"] > plan["planned_gigabytes"] > 0.3
