"""Batches divided among the devices, and uploaded by another thread than that which trains."""

import mxnet as mx
import numpy as np

from common.ahead import read_ahead
from engine.feed import uploaded


class Doubled:
    """Prepares on the device, in whatever thread it is called."""

    def prepare(self, net, arrays, context):
        return mx.nd.array(2 * arrays[0], context)


def test_a_batch_is_divided_and_prepared_on_its_devices():
    contexts = [mx.cpu(0), mx.cpu(1)]
    whole, single = (np.arange(5.0), np.arange(1.0) + 7)
    first, second = list(read_ahead(uploaded([(whole,), (single,)], None, Doubled(), contexts)))
    assert (first.samples, second.samples) == (5, 1)
    assert [part.asnumpy().tolist() for part in first.parts] == [[0, 2, 4], [6, 8]]
    assert [part.context for part in first.parts] == contexts
    assert [part.asnumpy().tolist() for part in second.parts] == [[14], [14]]
    assert (first.weights, second.weights) == ([1, 1], [1, 0])
