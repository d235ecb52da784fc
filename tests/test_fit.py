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
from mxnet.contrib import amp
from mxnet.gluon import nn

from common.files import write_text
from engine import fit
from engine.averaging import WeightAverage
from engine.checkpoint import LAST, read_progress
from engine.clipping import clip_global_norm
from engine.fit import Fit, FitOptions
from engine.losses import NotFinite
from engine.record import ErrorMeasure, RunRecord, best_error, draw_curve
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
    loop = Fit(net, batches, objective, validate, error, lambda each: saved.append(1), options, list(contexts))
    state = loop.run(folder, RunRecord(folder, {"seed": 0}, ["cpu(0)"]), {"seed": 0}, resume)
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


@pytest.fixture
def loss_scaling(monkeypatch):
    """Scales losses as float16 on a GPU does, while the CPU goes on in float32."""
    monkeypatch.setattr(fit, "half_precision", lambda context: "float16")
    monkeypatch.setattr(amp.amp, "_amp_initialized", True)
    monkeypatch.setattr(amp.amp, "_amp_loss_scale_initialized", True)  # each trainer has a scaler of its own


@pytest.mark.parametrize("contexts", [[mx.cpu()], [mx.cpu(0), mx.cpu(1)]])
def test_clipping_bounds_the_gradient_without_its_loss_scale(tmp_path, loss_scaling, contexts):
    net = nn.Dense(1, in_units=1, use_bias=False)
    net.initialize(mx.init.Constant(0.0), ctx=contexts)
    batch = (np.array([[1.0], [1.0]], "f"), np.array([[0.03], [100.0]], "f"))
    run(tmp_path / "run", net, FixedBatches([batch]), sgd(0.5, 1, clip_norm=0.1, amp=True), contexts)
    assert weights(net)[0].item() == pytest.approx(0.5 * 0.1, rel=1e-4)
    # The gradient -2 * (0.03 + 0.01) / 2 lies within the bound.
    batch = (np.array([[1.0], [1.0]], "f"), np.array([[0.08], [0.06]], "f"))
    run(tmp_path / "small", net, FixedBatches([batch]), sgd(0.5, 1, clip_norm=0.1, amp=True), contexts)
    assert weights(net)[0].item() == pytest.approx(0.05 + 0.5 * 0.04, rel=1e-4)


def test_a_resumed_run_keeps_the_loss_scale(tmp_path, loss_scaling):
    """Gradients of 1e34 overflow at the first scale, 2 ** 16; MXNet needs two skipped steps to come down to 2 ** 15."""

    def linear(net, arrays, context):
        return {"linear": 1e36 + net(mx.nd.array(arrays[0], context)).sum(axis=1)}

    batch, options = [(np.array([[1e34]], "f"),)], sgd(1e-35, 5, amp=True)
    whole, parted = one_weight(), one_weight()
    run(tmp_path / "whole", whole, FixedBatches(batch), options, objective=linear)
    assert weights(whole)[0].item() == pytest.approx(-0.3)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parted", parted, FixedBatches(batch, 2), options, objective=linear)
    run(tmp_path / "parted", parted, FixedBatches(batch), options, objective=linear, resume=True)
    assert weights(parted)[0].item() == weights(whole)[0].item()


@pytest.mark.parametrize(("before", "after"), [((0,), (0, 1)), ((1,), (0,)), ((0, 1), (1, 2))])
def test_a_run_resumed_on_other_devices_takes_the_same_steps(tmp_path, before, after):
    options = FitOptions(Schedule("constant", 1e-2, 4), "adam")
    alone = make_net([mx.cpu()])
    run(tmp_path / "alone", alone, FixedBatches(random_batches()), options)
    contexts = [mx.cpu(number) for number in before]
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "moved", make_net(contexts), FixedBatches(random_batches(), 2), options, contexts)
    contexts = [mx.cpu(number) for number in after]
    moved = make_net(contexts)
    run(tmp_path / "moved", moved, FixedBatches(random_batches()), options, contexts, resume=True)
    for parameter, expected in zip(moved.collect_params().values(), weights(alone)):
        for context in contexts:
            np.testing.assert_allclose(parameter.data(context).asnumpy(), expected, atol=1e-6)


def test_what_is_validated_on_several_devices_is_what_is_saved(tmp_path):
    contexts = [mx.cpu(0), mx.cpu(1)]
    net, seen, saved = nn.BatchNorm(in_channels=1), [], {}
    net.initialize(ctx=contexts)
    net.hybridize()
    # The first device gets the first two samples. Before its first update MXNet sets all devices to the first one's
    # statistics, so only the second batch differs: its means are 1 and 5, its variances 1 and 4.
    samples = np.array([[[0.0], [2.0], [0.0], [2.0]], [[0.0], [2.0], [3.0], [7.0]]], "f")
    batches = [(each, np.zeros((4, 1), "f")) for each in samples]
    inputs = np.array([[1.0]], "f")

    def validate(net):
        seen.append([net(mx.nd.array(inputs, context)).asscalar() for context in contexts])
        net.save_parameters(str(tmp_path / "best.params"))
        saved.update(mx.nd.load(str(tmp_path / "best.params")))
        return {"distance": 1.0}

    run(tmp_path / "run", net, FixedBatches(batches), sgd(0.0, 1), contexts, validate=validate)
    assert saved["running_mean"].asscalar() == pytest.approx(0.9 * 0.1 + 0.1 * 3)
    assert saved["running_var"].asscalar() == pytest.approx(0.9 + 0.1 * 2.5)
    assert seen == [pytest.approx([(1 - 0.39) / np.sqrt(1.15 + 1e-5)] * 2)]


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


def test_the_curve_has_whole_epochs_and_numbers_beside_its_losses():
    losses = (0.31, 0.12, 0.06)
    history = [{"epoch": k, "loss": loss, "nme": loss / 5} for k, loss in enumerate(losses, 1)]
    left, right = draw_curve(history, ErrorMeasure("nme", "validation NME")).axes
    shown = [label.get_text() for label in left.get_yticklabels()]
    assert {"0.1", "0.2"} <= set(shown)
    assert not any("$" in text or "e" in text for text in shown)  # such as $10^{-1}$
    for axes in (left, right):
        assert all(float(tick).is_integer() for tick in axes.get_xticks())
    np.testing.assert_allclose(right.lines[0].get_ydata(), [6.2, 2.4, 1.2])


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
    with pytest.raises(NotFinite, match=r"epoch 1, step 1 \(squared 4; second inf\)"):
        run(tmp_path / "run", one_weight(2.0), FixedBatches([batch]), sgd(0.1, 3), objective=objective)
    assert not (tmp_path / "run" / LAST).exists()


@pytest.mark.parametrize(("step", "count"), [(1, 8), (5, 6), (3, 3)])
def test_a_loss_that_is_read_late_still_names_its_step(tmp_path, step, count):
    def objective(net, arrays, context):
        each = squared_error(net, arrays, context)
        return {"squared": each["squared"] * mx.nd.array(arrays[1][:, 0], context)}

    batches = [(np.ones((1, 1), "f"), np.full((1, 1), value, "f")) for value in range(1, count + 1)]
    batches[step - 1][1][:] = np.nan
    with pytest.raises(NotFinite, match=rf"epoch 1, step {step} \(squared nan\)"):
        run(tmp_path / "run", one_weight(2.0), FixedBatches(batches), sgd(1e-3, 3), objective=objective)
    assert not (tmp_path / "run" / LAST).exists()


def wide_net():
    mx.random.seed(3)
    net = nn.HybridSequential()
    for channels in (3, 8, 8, 8):
        net.add(nn.Conv2D(8, 3, padding=1, in_channels=channels), nn.BatchNorm(in_channels=8), nn.Activation("relu"))
    net.initialize(mx.init.Xavier())
    net.hybridize(static_alloc=True, static_shape=True)
    return net


def test_a_run_that_waits_for_no_step_equals_one_that_does(tmp_path, monkeypatch):
    """The running statistics are what MXNet's engine does not order by itself."""

    def mean_square(net, arrays, context):
        return {"square": mx.nd.square(net(mx.nd.array(arrays[0], context))).mean(axis=(1, 2, 3))}

    rng = np.random.default_rng(0)
    batches = FixedBatches([(rng.normal(size=(4, 3, 24, 24)).astype("f") + k,) for k in range(12)])
    options = sgd(0.1, 1, average_decay=0.9, clip_norm=0.01)
    free, _ = run(tmp_path / "free", wide_net(), batches, options, objective=mean_square)
    update = WeightAverage.update

    def waiting_update(average):
        mx.nd.waitall()
        update(average)
        mx.nd.waitall()

    monkeypatch.setattr(WeightAverage, "update", waiting_update)
    waiting, _ = run(tmp_path / "waiting", wide_net(), batches, options, objective=mean_square)
    assert [line["loss"] for line in free.history] == [line["loss"] for line in waiting.history]
    with np.load(tmp_path / "free" / LAST) as one, np.load(tmp_path / "waiting" / LAST) as two:
        for name in one.files:
            if name.startswith(("weights/", "average/", "optimizer/")):
                np.testing.assert_array_equal(one[name], two[name])


@pytest.mark.parametrize("largest", [1e-3, 3.0, 1e3])
def test_clipping_by_one_sum_is_gluons(largest):
    rng = np.random.default_rng(0)
    values = [rng.normal(size=shape).astype("f") for shape in ((64, 3, 3, 3), (64,), (10, 64))]
    ours, gluons = ([mx.nd.array(value) for value in values] for _ in range(2))
    clip_global_norm(ours, largest)
    mx.gluon.utils.clip_global_norm(gluons, largest, check_isfinite=False)
    for one, two in zip(ours, gluons):
        np.testing.assert_allclose(one.asnumpy(), two.asnumpy(), rtol=1e-6)


def test_clipping_of_no_gradient_leaves_it():
    nothing = mx.nd.zeros((3, 2))
    clip_global_norm([nothing], 0.1)
    np.testing.assert_array_equal(nothing.asnumpy(), 0)


@pytest.mark.parametrize("error", [float("nan"), float("inf")])
def test_a_validation_that_is_not_finite_stops_like_such_a_loss(tmp_path, error):
    batch = (np.ones((1, 1), "f"), np.zeros((1, 1), "f"))
    with pytest.raises(NotFinite, match=r"validation is not finite in epoch 2 \(.*(nan|inf).*\): lower --lr"):
        run(tmp_path / "run", one_weight(2.0), FixedBatches([batch]), sgd(0.1, 3), validate=scripted((0.5, error, 0.1)))
    assert read_progress(tmp_path / "run").epoch == 1


def test_a_resumed_run_that_has_nothing_to_train_says_so(tmp_path, capsys):
    batches = FixedBatches(random_batches())
    run(tmp_path / "run", make_net([mx.cpu()]), batches, sgd(0.1, 3))
    run(tmp_path / "run", make_net([mx.cpu()]), batches, sgd(0.1, 3), resume=True)
    assert "all 3 epochs are trained, nothing is left to do; --epochs N goes on" in capsys.readouterr().out
    with pytest.raises(ValueError, match="trained 3 epochs, more than --epochs 2"):
        run(tmp_path / "run", make_net([mx.cpu()]), batches, sgd(0.1, 2), resume=True)
    state, _ = run(tmp_path / "run", make_net([mx.cpu()]), batches, sgd(0.1, 5), resume=True)
    assert state.epoch == 5


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
