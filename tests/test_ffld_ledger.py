"""The choices of docs/ffld.md that no other test holds."""

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn

import train_ffld
from gluon_models import get_model
from gluon_models.ffld.network import CPU_RECIPE, RECIPE
from training import options as training


def test_the_paper_recipe_neither_mirrors_nor_changes_colours():
    setting = train_ffld.TRAINING.augmentation(RECIPE)
    assert (setting.rotation_degrees, setting.scale_fraction, setting.shift_fraction) == (20.0, 0.2, 0.1)
    others = {name: value for name, value in vars(setting).items() if name.endswith(("probability", "colour"))}
    assert set(others.values()) == {0.0}
    assert (setting.brightness_fraction, setting.contrast_fraction, setting.saturation_fraction) == (0.0, 0.0, 0.0)


def test_weight_decay_is_added_to_the_gradient():
    net = nn.Dense(1, in_units=1, use_bias=False)
    net.initialize(mx.init.Constant(2.0))
    trainer = mx.gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 0.1, "wd": 5e-4})
    with mx.autograd.record():
        loss = (net(mx.nd.zeros((1, 1))) * 1.0).sum()
    loss.backward()
    trainer.step(1)
    # The gradient is the decay's alone, 5e-4 * 2, and Adam's first step is the rate whatever the gradient's size; a
    # decay apart from the gradient would move the weight by 0.1 * 5e-4 * 2 only.
    assert net.weight.data().asscalar() == pytest.approx(2.0 - 0.1, rel=1e-3)


def test_the_start_depends_on_the_seed_alone():
    def start(seed):
        net = get_model("resnet18_slim", num_landmarks=5)
        training.initialise(net, (1, 3, 64, 64), [mx.cpu()], seed)
        return net.points.weight.data().asnumpy()

    np.testing.assert_array_equal(start(1), start(1))
    assert np.abs(start(1) - start(2)).max() > 0.01
    # Xavier: uniform within sqrt(3 / mean of inputs and outputs) = sqrt(3 / ((128 + 10) / 2)).
    bound = np.sqrt(3 / 69)
    assert 0.9 * bound < np.abs(start(1)).max() <= bound


def test_the_residual_branches_of_resnet50_start_at_zero():
    """[F28]: every block of an untrained network answers its shortcut alone."""
    assert (RECIPE.branch_start, CPU_RECIPE.branch_start) == ("ones", "zeros")
    net = get_model("resnet50_slim", branch_start="zeros")
    training.initialise(net, (1, 3, 64, 64), [mx.cpu()], 0)
    blocks = [block for stage in net.stages for block in stage]
    assert len(blocks) == 16
    features = net.pool(net.stem(mx.nd.random.uniform(-1, 1, (1, 3, 64, 64))))
    for block in blocks:
        shortcut = block.shortcut(features) if block.shortcut else features
        expected = mx.nd.relu(shortcut)
        features = block(features)
        np.testing.assert_array_equal(features.asnumpy(), expected.asnumpy())
    assert np.ptp(features.asnumpy()) > 0
