"""tools/search.py: what is drawn, what is run and not run again, the table by hand."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from tools import search

RANGES = (1e-5, 1e-2), (1e-6, 1e-3)


def nme_of(trial):
    return 0.06 + 0.01 * int(trial.rpartition("-")[2])


@pytest.fixture
def trainings(stub_trainings):
    return stub_trainings(nme_of)


def test_values_are_spread_evenly_over_the_logarithmic_ranges():
    drawn = np.log10([search.draw_trial(number, 0, *RANGES)[:2] for number in range(600)])
    for values, (low, high) in zip(drawn.T, RANGES):
        assert math.log10(low) <= values.min() < math.log10(low) + 0.05
        assert math.log10(high) - 0.05 < values.max() <= math.log10(high) + 1e-9
        # Of a uniform distribution over three decades, a third lies in each.
        thirds = np.histogram(values, bins=3, range=(math.log10(low), math.log10(high)))[0]
        assert np.abs(thirds - 200).max() < 50
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.15


def test_a_trial_depends_on_the_seed_and_its_number_alone():
    assert search.draw_trial(3, 1, *RANGES) == search.draw_trial(3, 1, *RANGES)
    assert search.draw_trial(3, 1, *RANGES) != search.draw_trial(3, 2, *RANGES)
    assert search.draw_trial(3, 1, *RANGES) != search.draw_trial(4, 1, *RANGES)


def test_every_trial_is_a_run_and_more_trials_add_to_those_before(trainings, tmp_path, capsys):
    text = ["train_deeppose.py", "--out", str(tmp_path / "out"), "--data", "d", "--seed", "7"]
    assert search.main([*text, "--trials", "2"]) == 0
    first = search.draw_trial(0, 0, [1e-5, 1e-2], [1e-6, 1e-2])
    assert trainings.commands[0] == [
        *"train_deeppose.py --data d --seed 7 --lr".split(),
        *(f"{first.learning_rate:g}", "--wd", f"{first.weight_decay:g}", "--epochs", "10"),
        *("--out", str(tmp_path / "out" / "trial-000")),
    ]
    assert f"best: --lr {first.learning_rate:g} --wd {first.weight_decay:g}" in capsys.readouterr().out
    search.main([*text, "--trials", "3"])
    assert [Path(command[-1]).name for command in trainings.commands] == ["trial-000", "trial-001", "trial-002"]
    stored = json.loads((tmp_path / "out" / "search.json").read_text())["trials"]
    assert [trial["error"] for trial in stored] == pytest.approx([6, 7, 8])
    assert (tmp_path / "out" / "search.png").read_bytes().startswith(b"\x89PNG")


def test_an_interrupted_trial_goes_on(trainings, tmp_path):
    (tmp_path / "trial-000").mkdir()
    (tmp_path / "trial-000" / "last.npz").write_bytes(b"")
    search.main(["train_deeppose.py", "--out", str(tmp_path), "--trials", "1", "--data", "d"])
    (command,) = trainings.commands
    assert command[:3] == ["train_deeppose.py", "--data", "d"]
    assert command[-2:] == ["--resume", str(tmp_path / "trial-000")]
    assert "--out" not in command


def test_a_trial_that_fails_does_not_end_the_search(stub_trainings, tmp_path, capsys):
    stub_trainings(nme_of, fails=["trial-000"])
    assert search.main(["train_deeppose.py", "--out", str(tmp_path), "--trials", "2"]) == 0
    assert "failed" in (tmp_path / "search.md").read_text().splitlines()[-1]
    assert search.main(["train_deeppose.py", "--out", str(tmp_path / "none"), "--trials", "1"]) == 1
    assert "every trial failed" in capsys.readouterr().err


def test_a_trial_of_other_values_is_refused(trainings, tmp_path, refused):
    text = ["train_deeppose.py", "--out", str(tmp_path), "--trials", "1"]
    search.main(text)
    refused(
        lambda: search.main([*text, "--epochs", "20"]), "a run with --epochs 10, and this one has --epochs 20: name"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (["--trials", "0"], "--trials: '0' is not a whole number from 1"),
        (["--lr-range", "0", "1"], "--lr-range: '0' is not a number above 0"),
        (["--wd-range", "1", "0.1"], "the lower one first"),
    ],
)
def test_bad_input_is_one_line_and_code_2(tmp_path, refused, text, message):
    refused(lambda: search.main(["train_deeppose.py", "--out", str(tmp_path), *text]), message)
