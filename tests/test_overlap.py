"""Frames are read and written beside the computation, in order, and their errors arrive."""

from contextlib import closing
from threading import Event

import pytest

from common.ahead import read_ahead
from inference.media.overlap import one_behind

SECONDS = 10


def test_items_are_made_while_one_is_in_use():
    made = [Event() for _ in range(5)]

    def items():
        for number, event in enumerate(made):
            event.set()
            yield number

    taken = []
    for item in read_ahead(items(), count=2):
        assert made[min(item + 2, 4)].wait(SECONDS)
        taken.append(item)
    assert taken == [0, 1, 2, 3, 4]


def test_closing_waits_for_what_is_being_made():
    released, ended = Event(), []

    def items():
        yield 0
        released.wait(SECONDS)
        ended.append(True)
        yield 1

    with closing(read_ahead(items(), count=1)) as reading:
        assert next(reading) == 0
        released.set()
    assert ended


def test_an_error_in_reading_comes_where_its_item_would():
    def items():
        yield 0
        raise ValueError("broken")

    reading = read_ahead(items())
    assert next(reading) == 0
    with pytest.raises(ValueError, match="broken"):
        next(reading)


def test_work_runs_beside_and_its_results_come_one_call_later():
    begun, released = Event(), Event()

    def work(number):
        begun.set()
        assert released.wait(SECONDS)
        return 10 * number

    with one_behind(work) as start:
        assert start(1) is None
        assert begun.wait(SECONDS)  # while this thread goes on
        released.set()
        assert start(2) == 10


@pytest.mark.parametrize("calls", [1, 2])
def test_an_error_in_writing_is_never_lost(calls):
    def work():
        raise OSError("full")

    def write():
        with one_behind(work) as start:
            for _ in range(calls):
                start()

    with pytest.raises(OSError, match="full"):
        write()
