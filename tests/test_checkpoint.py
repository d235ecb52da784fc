"""A checkpoint holds no code; one of an earlier version is refused, and converted by a command."""

import json
import os
import pickle

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd
from mxnet.gluon import Trainer, nn

from engine.checkpoint import LAST, Progress, load_checkpoint, read_progress, save_checkpoint
from engine.convert_checkpoint import convert

INPUTS = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)


def make(optimizer="adam"):
    mx.random.seed(5)
    net = nn.Dense(2, in_units=3)
    net.initialize(mx.init.Xavier())
    return net, Trainer(net.collect_params(), optimizer, {"learning_rate": 0.1}, update_on_kvstore=False)


def train(net, trainer, steps):
    for _ in range(steps):
        with autograd.record():
            loss = mx.nd.square(net(mx.nd.array(INPUTS))).sum()
        loss.backward()
        trainer.step(4)
    return net.weight.data().asnumpy()


def write_earlier_version(folder, net, pickled):
    """What this project wrote before: MXNet's own pickle of the optimizer as bytes of an array."""
    arrays = {f"weights/{i}": p.data().asnumpy() for i, p in enumerate(net.collect_params().values())}
    progress = json.dumps(
        {"epoch": 3, "best": 0.5, "best_epoch": 2, "average_updates": 0, "arguments": {}, "history": []}
    )
    texts = {"optimizer": np.frombuffer(pickled, np.uint8), "progress": np.frombuffer(progress.encode(), np.uint8)}
    np.savez(folder / LAST, **arrays, **texts)


class Payload:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_payload_of_an_earlier_version_is_neither_run_nor_converted(tmp_path):
    net, trainer = make()
    write_earlier_version(tmp_path, net, pickle.dumps(({0: Payload(tmp_path / "ran")}, None)))
    refusal = r"last\.npz is of an earlier version, .* convert it with: python -m engine\.convert_checkpoint "
    with pytest.raises(ValueError, match=refusal):
        read_progress(tmp_path)
    with pytest.raises(ValueError, match=refusal):
        load_checkpoint(tmp_path, net, trainer, None)
    with pytest.raises(ValueError, match=r"holds no optimizer's state \(it asks for posix\.mkdir\)"):
        convert(tmp_path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "rmsprop"])
def test_a_converted_run_goes_on_as_if_it_had_not_been_stopped(tmp_path, optimizer):
    net, trainer = make(optimizer)
    train(net, trainer, 3)
    trainer.save_states(str(tmp_path / "states"))
    write_earlier_version(tmp_path, net, (tmp_path / "states").read_bytes())
    expected = train(net, trainer, 3)
    convert(tmp_path)
    again, other = make(optimizer)
    assert load_checkpoint(tmp_path, again, other, None).epoch == 3
    np.testing.assert_array_equal(train(again, other, 3), expected)
    with pytest.raises(ValueError, match="of this version already"):
        convert(tmp_path)


def test_states_of_another_network_or_optimizer_are_refused(tmp_path):
    net, trainer = make("adam")
    train(net, trainer, 1)
    save_checkpoint(tmp_path, net, trainer, None, Progress(epoch=1))
    with pytest.raises(ValueError, match=r"last\.npz does not fit this run \(its optimizer is another one\)"):
        load_checkpoint(tmp_path, *make("ftml"), None)
    wide = nn.Dense(2, in_units=4)
    wide.initialize()
    with pytest.raises(ValueError, match="is of another network"):
        load_checkpoint(tmp_path, wide, Trainer(wide.collect_params(), "adam", update_on_kvstore=False), None)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_resumed_run_keeps_frozen_what_it_froze(tmp_path, optimizer):
    net, trainer = make(optimizer)
    net.bias.grad_req = "null"
    net.bias.set_data(mx.nd.array([3.0, 4.0]))
    train(net, trainer, 2)
    save_checkpoint(tmp_path, net, trainer, None, Progress(epoch=1))
    expected = train(net, trainer, 2)
    again, other = make(optimizer)
    load_checkpoint(tmp_path, again, other, None)
    np.testing.assert_array_equal(train(again, other, 2), expected)
    np.testing.assert_array_equal(again.bias.data().asnumpy(), [3.0, 4.0])


@pytest.mark.parametrize(
    "changes", [{"epoch": -1}, {"epoch": "3"}, {"best": None}, {"history": [1]}, {"arguments": []}]
)
def test_progress_that_makes_no_sense_is_refused(tmp_path, changes):
    net, trainer = make()
    train(net, trainer, 1)
    save_checkpoint(tmp_path, net, trainer, None, Progress(**{"epoch": 1, **changes}))
    with pytest.raises(ValueError, match=r"last\.npz: .*start a new run"):
        read_progress(tmp_path)
