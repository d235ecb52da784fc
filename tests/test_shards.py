"""Parts of the work of several processes."""

import argparse

import pytest

from common.shards import Shard, shard


@pytest.mark.parametrize("length", [0, 2, 7, 12])
def test_parts_follow_one_another_and_differ_by_one_at_most(length):
    parts = [Shard(number, 5).of(length) for number in range(1, 6)]
    assert [place for part in parts for place in part] == list(range(length))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_parts_are_whole_batches():
    assert [list(Shard(number, 2).of(7, 3)) for number in (1, 2)] == [[0, 1, 2, 3, 4, 5], [6]]
    assert [len(Shard(number, 3).of(4, 2)) for number in (1, 2, 3)] == [2, 2, 0]


def test_a_part_is_typed_as_number_and_count():
    assert shard("2/4") == Shard(2, 4)
    assert shard("2/12").name == "02_of_12"
    for text in ("0/4", "5/4", "1/0", "1", "1/4/4", "a/b", "-1/4", "²/4"):
        with pytest.raises(argparse.ArgumentTypeError, match="not a part such as 2/4"):
            shard(text)
