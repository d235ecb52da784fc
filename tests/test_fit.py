"""The training loop against updates worked out by hand, and what it leaves on the disk."""

import errno
import json
import os
import signal
import subprocess
import sys
import time

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn

from common.files import write_text
from engine.averaging import WeightAverage
from engine.checkpoint import LAST, read_progress
from engine.fit import Fit, FitOptions, NotFinite
from engine.record import ErrorMeasure, RunRecord, best_error
from engine.schedule import Schedule


class FixedBatches:
    """The same batches in every epoch; epoch e can be asked to fail, as a kill would end the run there."""

    def __init__(self, batches, fails_in=None):
        self._batches, self._fails_in = batches, fails_in

    def __len__(self):
        return len(self._batches)

    def epoch(self, epoch):
        if epoch == self._fails_in:
            raise KeyboardInterrupt
        yield from self._batches


def squared_error(net, arrays, context):
    inputs, targets = (mx.nd.array(array, context) for array in arrays)
    return {"squared": mx.nd.square(net(inputs) - targets).sum(axis=1)}


def make_net(contexts, dropout=0.0):
    mx.random.seed(3)
    net = nn.HybridSequential()
    net.add(nn.Dense(4, activation="tanh", in_units=2), nn.Dropout(dropout), nn.Dense(1, in_units=4))
    net.initialize(mx.init.Xavier(), ctx=contexts)
    net.hybridize()
    return net


def one_weight(value=0.0):
    net = nn.Dense(1, in_units=1, use_bias=False)
    net.initialize(mx.init.Constant(value))
    return net


def random_batches(count=3, size=6):
    rng = np.random.default_rng(0)
    return [(rng.normal(size=(size, 2)).astype("f"), rng.normal(size=(size, 1)).astype("f")) for _ in range(count)]


CPU = (mx.cpu(),)


def run(folder, net, batches, options, contexts=CPU, resume=False, validate=None, objective=squared_error):
    folder.mkdir(exist_ok=True)
    saved = []
    validate = validate or (lambda each: {"distance": 1.0})
    error = ErrorMeasure("distance", "validation distance")
    fit = Fit(net, batches, objective, validate, error, lambda each: saved.append(1), options, list(contexts))
    state = fit.run(folder, RunRecord(folder, {"seed": 0}, ["cpu(0)"]), {"seed": 0}, resume)
    return state, saved


def weights(net):
    return [p.data(p.list_ctx()[0]).asnumpy() for p in net.collect_params().values()]


def scripted(values=(0.5, 0.4, 0.6, 0.3, 0.2)):
    remaining = iter(values)
    return lambda net: {"distance": next(remaining)}


def sgd(rate, epochs, **settings):
    return FitOptions(Schedule("constant", rate, epochs), optimizer="sgd", **settings)


def test_one_step_of_gradient_descent_by_hand(tmp_path):
    net = one_weight(1.0)
    inputs, targets = np.array([[1.0], [2.0]], "f"), np.array([[3.0], [0.0]], "f")
    run(tmp_path / "run", net, FixedBatches([(inputs, targets)]), sgd(0.1, 1))
    # The mean over the two samples of 2 * (w x - t) * x at w = 1: (2 * -2 * 1 + 2 * 2 * 2) / 2 = 2.
    assert weights(net)[0].item() == pytest.approx(1.0 - 0.1 * 2.0)


def test_two_devices_take_the_same_step_as_one(tmp_path):
    batches = random_batches(size=5)
    alone, both = make_net([mx.cpu()]), make_net([mx.cpu(0), mx.cpu(1)])
    run(tmp_path / "one", alone, FixedBatches(batches), sgd(0.1, 2))
    run(tmp_path / "two", both, FixedBatches(batches), sgd(0.1, 2), [mx.cpu(0), mx.cpu(1)])
    for one, two in zip(weights(alone), weights(both)):
        np.testing.assert_allclose(one, two, rtol=1e-5)
    for parameter in both.collect_params().values():
        first, second = (parameter.data(context).asnumpy() for context in (mx.cpu(0), mx.cpu(1)))
        np.testing.assert_array_equal(first, second)


def test_a_batch_smaller_than_the_devices_is_trained_on_all_the_same(tmp_path):
    single = [(np.array([[1.0]], "f"), np.array([[1.0]], "f"))]
    net = nn.Dense(1, in_units=1, use_bias=False)
    net.initialize(mx.init.Constant(0.0), ctx=[mx.cpu(0), mx.cpu(1)])
    run(tmp_path / "run", net, FixedBatches(single), sgd(0.1, 1), [mx.cpu(0), mx.cpu(1)])
    assert [net.weight.data(mx.cpu(i)).asscalar() for i in (0, 1)] == pytest.approx([0.2, 0.2])


def test_clipping_bounds_the_gradient_of_a_sample(tmp_path):
    net = one_weight()
    batch = (np.array([[1.0]], "f"), np.array([[100.0]], "f"))
    run(tmp_path / "run", net, FixedBatches([batch]), sgd(0.5, 1, clip_norm=0.1))
    assert weights(net)[0].item() == pytest.approx(0.5 * 0.1, rel=1e-4)


def test_the_average_follows_its_formula():
    net = one_weight(0.0)
    average = WeightAverage(net, decay=0.2)
    expected = 0.0
    for number, value in enumerate((1.0, 2.0, -4.0), start=1):
        net.weight.set_data(mx.nd.array([[value]]))
        average.update()
        keep = min(0.2, (1 + number) / (10 + number))
        expected = keep * expected + (1 - keep) * value
    with average.applied():
        assert net.weight.data().asscalar() == pytest.approx(expected)
    assert net.weight.data().asscalar() == -4.0


OPTIMIZERS = {"adam": {"wd": 1e-3}, "sgd": {"momentum": 0.9}, "rmsprop": {}, "nadam": {}}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("devices", [1, 2])
def test_resume_continues_bit_for_bit(tmp_path, optimizer, devices):
    settings, contexts = OPTIMIZERS[optimizer], [mx.cpu(number) for number in range(devices)]
    schedule = Schedule("cosine", 1e-2, 5)
    options = FitOptions(schedule, optimizer, settings, average_decay=0.9, seed=4)
    whole, parted = make_net(contexts, dropout=0.5), make_net(contexts, dropout=0.5)
    first, _ = run(tmp_path / "whole", whole, FixedBatches(random_batches()), options, contexts, validate=scripted())
    interrupted = scripted()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parted", parted, FixedBatches(random_batches(), 2), options, contexts, validate=interrupted)
    continued, batches = make_net(contexts, dropout=0.5), FixedBatches(random_batches())
    second, _ = run(tmp_path / "parted", continued, batches, options, contexts, resume=True, validate=interrupted)
    for one, two in zip(weights(whole), weights(continued)):
        np.testing.assert_array_equal(one, two)
    assert [line["loss"] for line in first.history] == [line["loss"] for line in second.history]
    assert (first.best, first.best_epoch) == (second.best, second.best_epoch) == (0.2, 5)
    with np.load(tmp_path / "whole" / LAST) as one, np.load(tmp_path / "parted" / LAST) as two:
        for name in one.files:
            if name.startswith(("weights/", "average/")):
                np.testing.assert_array_equal(one[name], two[name])
    logged = (tmp_path / "parted" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in logged] == [1, 2, 3, 4, 5]


def test_best_is_saved_only_when_validation_improves_and_patience_ends_the_run(tmp_path):
    state, saved = run(
        tmp_path / "run",
        one_weight(),
        FixedBatches([(np.ones((1, 1), "f"), np.ones((1, 1), "f"))]),
        sgd(0.1, 6, patience=2),
        validate=scripted((0.5, 0.6, 0.4, 0.7, 0.8, 0.1)),
    )
    assert (state.epoch, state.best_epoch, state.best, len(saved)) == (5, 3, 0.4, 2)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["result"] == {"best_error": 0.4, "best_epoch": 3, "epochs": 5}
    assert best_error(record) == best_error({"result": {"best_nme": 0.4}}) == 0.4  # as older runs call it
    assert record["arguments"] == {"seed": 0}
    assert {"commit", "dirty"} == set(record["git"])
    assert (tmp_path / "run" / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert list((tmp_path / "run").glob("events.out.tfevents.*"))


def test_a_loss_that_is_not_finite_stops_with_every_term(tmp_path):
    def objective(net, arrays, context):
        good = squared_error(net, arrays, context)
        return {**good, "second": good["squared"] * np.inf}

    batch = (np.ones((1, 1), "f"), np.zeros((1, 1), "f"))
    with pytest.raises(NotFinite, match=r"epoch 1 \(squared 4; second inf\)"):
        run(tmp_path / "run", one_weight(2.0), FixedBatches([batch]), sgd(0.1, 3), objective=objective)
    assert not (tmp_path / "run" / LAST).exists()


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    batches = FixedBatches([(np.ones((1, 1), "f"), np.ones((1, 1), "f"))])
    calls = []
    real = os.fsync

    def full_after_two_epochs(descriptor):
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith(LAST):
            calls.append(1)
            if len(calls) == 3:
                raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full_after_two_epochs)
    with pytest.raises(OSError, match=rf"{LAST}: No space left on device; free the space"):
        run(tmp_path / "run", one_weight(), batches, sgd(0.1, 5))
    assert read_progress(tmp_path / "run").epoch == 2
    assert not list((tmp_path / "run").glob(".*"))


def test_a_damaged_checkpoint_and_one_of_another_network_are_named(tmp_path):
    batches = FixedBatches(random_batches())
    run(tmp_path / "run", make_net([mx.cpu()]), batches, sgd(0.1, 1))
    other = nn.Dense(7, in_units=2)
    other.initialize()
    with pytest.raises(ValueError, match="another network"):
        run(tmp_path / "run", other, batches, sgd(0.1, 2), resume=True)
    path = tmp_path / "run" / LAST
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match="damaged"):
        read_progress(tmp_path / "run")
    with pytest.raises(FileNotFoundError, match="--resume"):
        read_progress(tmp_path)


WRITER = """
import sys
from common.files import write_text
n = 0
while True:
    n += 1
    write_text(sys.argv[1], f"{n}:" + "x" * 2_000_000 + ":end")
"""


def test_a_kill_while_writing_leaves_a_whole_file(tmp_path):
    path = tmp_path / "state"
    write_text(path, "0::end")
    for _ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)])
        time.sleep(0.35)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        assert path.read_text().endswith(":end")
