"""tools/study.py: the command of every run, what is not run again, and the table by hand."""

import json
from pathlib import Path

import pytest

import train_deeppose
import train_ffld
import train_hourglass
import train_lgcn
import train_regions
from tools import study
from training import studies
from training.discovery import training_of

TINY = studies.Study(
    "tiny", "somewhere", "train_lgcn.py --epochs 4", (studies.Cell("A/A", "--size 48"), studies.Cell("B", "", 3.5))
)
SCORES = {("size_48", 0): 0.04, ("size_48", 1): 0.05, ("recipe", 0): 0.031, ("recipe", 1): 0.033}


def nme_of(run):
    cell, seed = run.rsplit("-", 1)
    return SCORES[cell, int(seed)]


def arguments(script, *text):
    """What run.json says a run was started with."""
    return training_of(script).parse([*text, "--out", "run"]).arguments


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setitem(studies.STUDIES, "tiny", TINY)


@pytest.fixture
def trainings(tiny, stub_trainings):
    return stub_trainings(nme_of)


def test_every_cell_with_every_seed_and_the_table_by_hand(trainings, tmp_path, capsys):
    out = tmp_path / "out"
    study.main(["tiny", "--seeds", "0,1", "--out", str(out), "--data", "d"])
    assert trainings.commands[0] == [
        *"train_lgcn.py --epochs 4 --size 48 --data d --seed 0 --out".split(),
        str(out / "size_48-0"),
    ]
    assert [Path(text[-1]).name for text in trainings.commands] == ["size_48-0", "recipe-0", "size_48-1", "recipe-1"]
    # Means 4.5 and 3.2; deviations of two values are their difference over sqrt(2).
    assert (out / "tiny.md").read_text().splitlines() == [
        "| cell | seed 0 | seed 1 | mean ± deviation | paper (somewhere) |",
        "|---|---|---|---|---|",
        "| A/A | 4.00 % | 5.00 % | 4.50 ± 0.71 % | |",
        "| B | 3.10 % | 3.30 % | 3.20 ± 0.14 % | 3.50 % |",
    ]
    record = json.loads((out / "tiny.json").read_text())
    assert record["rows"][1]["mean"] == pytest.approx(3.2)
    assert (record["published_on"], record["seeds"]) == ("somewhere", [0, 1])
    assert (out / "tiny.png").stat().st_size > 5000
    assert "4.50 ± 0.71" in capsys.readouterr().out


def test_a_finished_run_is_kept_and_an_interrupted_one_resumed(trainings, tmp_path):
    finished, interrupted = tmp_path / "size_48-0", tmp_path / "recipe-0"
    for folder in (finished, interrupted):
        folder.mkdir()
    given = {"arguments": arguments("train_lgcn.py", "--epochs", "4")}
    wide = {**given["arguments"], "size": 48, "workers": 77}
    result = {"best_nme": 0.02, "best_epoch": 1}
    (finished / "run.json").write_text(json.dumps({"arguments": wide, "result": result}))
    (finished / "log.jsonl").write_text(json.dumps({"nme": 0.02}) + "\n")
    (interrupted / "run.json").write_text(json.dumps(given))
    (interrupted / study.LAST).write_bytes(b"")
    study.main(["tiny", "--seeds", "0", "--out", str(tmp_path)])
    # Its settings are its own, but what may change, such as --validate-every, is asked for again.
    assert trainings.commands == [["train_lgcn.py", "--epochs", "4", "--seed", "0", "--resume", str(interrupted)]]
    assert json.loads((tmp_path / "tiny.json").read_text())["rows"][0]["values"] == [2.0]


@pytest.mark.parametrize(
    ("command", "further", "message"),
    [
        ("train_lgcn.py --epochs 4", ["--epochs", "8"], "a run with --epochs 4, and this one has --epochs 8"),
        ("train_lgcn.py --epochs 4", ["--data", "e"], "a run with --data d, and this one has --data e"),
        ("train_lgcn.py --epochs 4", ["--lr", "0.1"], "a run with no --lr, and this one has --lr 0.1"),
        ("train_regions.py --epochs 4", [], "a run with --model lgcn_128, and this one has --model region_direct"),
    ],
)
def test_a_run_of_other_options_or_another_script_is_refused(
    trainings, tmp_path, monkeypatch, refused, command, further, message
):
    common = ["tiny", "--seeds", "0", "--out", str(tmp_path), "--data", "d"]
    study.main(common)
    study.main([*common, "--workers", "1"])  # of the machine alone
    assert len(trainings.commands) == 2
    other = studies.Study("tiny", "somewhere", command, (studies.Cell("B", ""),))
    monkeypatch.setitem(studies.STUDIES, "tiny", other)
    refused(lambda: study.main([*common, *further]), f"{tmp_path / 'recipe-0'} holds {message}: name another --out")


def test_a_run_that_was_interrupted_before_its_first_epoch_ended_starts_again(trainings, tmp_path):
    begun = tmp_path / "size_48-0"
    begun.mkdir()
    given = arguments("train_lgcn.py", "--epochs", "4", "--size", "48")
    (begun / "run.json").write_text(json.dumps({"arguments": given}))
    study.main(["tiny", "--seeds", "0", "--out", str(tmp_path)])
    assert "--resume" not in trainings.commands[0]
    assert trainings.commands[0][-1] == str(begun)
    assert json.loads((begun / "run.json").read_text())["result"]["best_error"] == 0.04


def test_a_study_may_compare_squared_errors(monkeypatch, tmp_path, capsys):
    cell = studies.Cell("A", "", 8.0)
    monkeypatch.setitem(studies.STUDIES, "tiny", studies.Study("t", "?", "train_deeppose.py", (cell,), studies.MSE))
    for seed, error in enumerate((20.0, 24.0)):
        folder = tmp_path / f"recipe-{seed}"
        folder.mkdir()
        given = arguments("train_deeppose.py", "--seed", str(seed))
        (folder / "run.json").write_text(json.dumps({"arguments": given, "result": {"best_nme": 0.02}}))
        # The lowest loss is not that of the epoch with the lowest NME, and an epoch without validation has neither.
        lines = [{"nme": 0.03, "mse": error}, {"nme": 0.02, "mse": 30.0}, {"loss": 1.0}]
        (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    study.main(["tiny", "--seeds", "0,1", "--out", str(tmp_path)])
    # The deviation of 20 and 24 is their difference over sqrt(2).
    assert "| A | 20.00 px² | 24.00 px² | 22.00 ± 2.83 px² | 8.00 px² |" in capsys.readouterr().out
    assert json.loads((tmp_path / "tiny.json").read_text())["unit"] == "px²"


def test_a_training_that_fails_is_named(tiny, stub_trainings, tmp_path, refused):
    stub_trainings(nme_of, fails=["recipe-0"])
    refused(lambda: study.main(["tiny", "--seeds", "0", "--out", str(tmp_path)]), "cell 'B' with seed 0 failed")
    assert study.result_of(tmp_path / "size_48-0") == 0.04


def test_seeds_are_numbers(tmp_path):
    with pytest.raises(ValueError, match="--seeds: 'a' is not a whole number"):
        study.main(["ffld_losses", "--seeds", "a", "--out", str(tmp_path)])


@pytest.mark.parametrize(
    ("name", "training", "switched"),
    [
        ("lgcn_kernel", train_lgcn.TRAINING, {"kernel", "side_branch", "global_context"}),
        ("lgcn_loss", train_lgcn.TRAINING, {"loss"}),
        ("ffld_norm", train_ffld.TRAINING, {"loss"}),
        ("hourglass_decay", train_hourglass.TRAINING, {"loss", "decays_all"}),
        ("region_blocks", train_regions.TRAINING, {"blocks"}),
        ("region_dropout", train_regions.TRAINING, {"dropout"}),
        ("region_jaw", train_regions.TRAINING, {"jaw_network"}),
        ("region_dense_layers", train_regions.TRAINING, {"dense_layers"}),
        ("region_optimizer", train_regions.TRAINING, {"optimizer"}),
        ("region_batch_size", train_regions.TRAINING, {"batch_size"}),
        (
            "region_augmentation",
            train_regions.TRAINING,
            {"rotation_degrees", "shear_fraction", "flip_probability", "brightness_fraction"},
        ),
        ("deeppose_split", train_deeppose.TRAINING, {"split"}),
        ("ffld_losses", train_ffld.TRAINING, {"loss"}),
        ("ffld_gradients", train_ffld.TRAINING, {"map_gradient", "location_gradient"}),
        ("hourglass", train_hourglass.TRAINING, {"block", "skip"}),
        ("hourglass_decay_imagenet", train_hourglass.TRAINING, {"loss", "decays_all"}),
        ("lgcn_colour", train_lgcn.TRAINING, {"colour"}),
        ("region_stem", train_regions.TRAINING, {"imagenet"}),
    ],
)
def test_the_cells_of_a_study_differ_in_what_it_compares_alone(name, training, switched):
    found, settings = studies.STUDIES[name], []
    for cell in found.cells:
        script, *text = study.run_command(found, cell, 0, ["--data", "d"], Path("same"))
        assert script == f"{type(training).__module__}.py"
        chosen, recipe, _ = training.parse(text)
        settings.append({**vars(chosen), **vars(recipe)})
    differing = {key for one in settings for key in one if one[key] != settings[0].get(key)}
    assert differing == switched
    assert len({study.folder_name(cell, 0) for cell in found.cells}) == len(found.cells)
