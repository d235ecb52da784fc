"""The measuring itself: a clock that is known, and one short run of everything."""

import itertools
import re

import pytest

import benchmark


def test_rate_leaves_the_first_step_out(monkeypatch):
    now = itertools.count()  # each look at the clock is a second later
    monkeypatch.setattr(benchmark, "monotonic", lambda: float(next(now)))
    # Looked at 0; then 1, 2, 3 and 4 before a step each of 8 faces, 5 ends it, and 6 is the end.
    assert benchmark.rate(itertools.chain([1000], itertools.repeat(8)), seconds=5) == pytest.approx(4 * 8 / 6)


def test_a_short_run(monkeypatch, capsys):
    monkeypatch.setattr(benchmark, "PHOTOS", 4)
    assert benchmark.main(["--seconds", "0.1", "--workers", "1", "--gpus", "none"]) == 0
    printed = capsys.readouterr().out
    rates = [float(number) for number in re.findall(r"(\d+) faces/s", printed)]
    assert len(rates) == 5
    assert min(rates) > 0
    assert re.search(r"memory at most \d+ MB", printed)
