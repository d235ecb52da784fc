"""Networks for tests: not trained, but with parameters and inputs that are reproducible and of a sane size."""

import mxnet as mx
import numpy as np

from datasets.markups import get_markup
from gluon_models import describe, get_model, save_weights


def draw(shape, seed, low=-1.0, high=1.0):
    """Random numbers, float32."""
    return np.random.RandomState(seed).uniform(low, high, shape).astype("float32")


def fill(net, seed=0):
    """Sets every parameter, running statistics included, to numbers that depend on the seed and the order alone."""
    for k, parameter in enumerate(net.collect_params().values()):
        values = np.random.RandomState((seed, k)).normal(0, 1, parameter.shape)
        if parameter.name.endswith(("gamma", "running_var")):
            values = 1 + 0.2 * np.tanh(values)
        elif parameter.name.endswith("weight"):
            values *= np.sqrt(1 / np.prod(parameter.shape[1:]))
        else:
            values *= 0.1
        parameter.set_data(mx.nd.array(values))


def start_lively(net, seed=0, gain=10.0):
    """Sets the weights of convolutions at random, so large that maps differ from place to place."""
    mx.random.seed(seed)
    for parameter in net.collect_params().values():
        if parameter.name.endswith("weight"):
            inputs = np.prod(parameter.shape[1:])
            parameter.set_data(mx.nd.random.normal(0, gain * np.sqrt(2 / inputs), parameter.shape))


def save_random(path, model, num_landmarks=68, change=lambda net: None, **settings):
    """Saves a network at its random start, after `change(net)`; returns the network."""
    info = describe(model, get_markup(num_landmarks).name, num_landmarks=num_landmarks, **settings)
    mx.random.seed(5)
    net = get_model(info.model, **info.overrides)
    net.initialize(mx.init.Xavier())
    net(mx.nd.zeros((1, len(info.spec.mean), info.spec.size, info.spec.size)))
    change(net)
    save_weights(net, path, info)
    return net
