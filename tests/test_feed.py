"""The thread that loads and uploads one batch ahead."""

import threading

import mxnet as mx
import numpy as np
import pytest

from engine.feed import one_ahead, uploaded


def numbers(made, count=4):
    for number in range(count):
        made.append(number)
        yield number


def test_the_next_item_is_made_while_one_is_used():
    made, gate = [], threading.Event()

    def gated():
        for number in numbers(made, 3):
            yield number
            gate.set()

    items = one_ahead(gated())
    assert next(items) == 0
    assert gate.wait(10)  # nobody has asked for the second one
    assert list(items) == [1, 2]
    assert made == [0, 1, 2]


def test_what_fails_ahead_fails_in_its_turn():
    def failing():
        yield 1
        raise ValueError("11.jpg is damaged")

    items = one_ahead(failing())
    assert next(items) == 1
    with pytest.raises(ValueError, match=r"11\.jpg is damaged"):
        next(items)


def test_leaving_early_closes_the_source_and_ends_the_thread():
    closed, before = [], threading.active_count()

    def source():
        try:
            yield from numbers([])
        finally:
            closed.append(True)

    items = one_ahead(source())
    next(items)
    items.close()
    assert closed == [True]
    assert threading.active_count() == before


class Doubled:
    """Prepares on the device, in whatever thread it is called."""

    def prepare(self, net, arrays, context):
        return mx.nd.array(2 * arrays[0], context)


def test_a_batch_is_divided_and_prepared_on_its_devices():
    contexts = [mx.cpu(0), mx.cpu(1)]
    whole, single = (np.arange(5.0), np.arange(1.0) + 7)
    first, second = list(one_ahead(uploaded([(whole,), (single,)], None, Doubled(), contexts)))
    assert (first.samples, second.samples) == (5, 1)
    assert [part.asnumpy().tolist() for part in first.parts] == [[0, 2, 4], [6, 8]]
    assert [part.context for part in first.parts] == contexts
    assert [part.asnumpy().tolist() for part in second.parts] == [[14], [14]]
    assert (first.weights, second.weights) == ([1, 1], [1, 0])
