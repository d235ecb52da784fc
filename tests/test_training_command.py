"""What every training script shares on its command line."""

import json
import re
from dataclasses import dataclass, replace

import mxnet as mx
import pytest

from common.options import option
from common.recipe import LandmarkRecipe
from engine.checkpoint import Progress
from engine.distributed import Team
from gluon_models.ffld.network import AFLW_RECIPE, CPU_RECIPE, RECIPE
from training import options as training
from training.settings import LandmarkSettings

RECIPES = {"paper": {"": RECIPE, "aflw": AFLW_RECIPE}, "cpu": {"": CPU_RECIPE}}


LINE = training.CommandLine("", ["resnet18_slim"], ["rendered", "300w"], RECIPES, LandmarkSettings)


def parse(*text):
    return LINE.parse(["--out", "o", *text])


def test_an_option_changes_one_value_of_the_named_recipe():
    recipe = parse("--recipe", "cpu", "--lr", "0.5", "--photometric", "off").recipe
    assert recipe == replace(CPU_RECIPE, learning_rate=0.5, photometric=False)


def test_a_new_field_of_a_recipe_is_an_option_and_a_field_that_is_none_has_none():
    @dataclass(frozen=True)
    class Invented(LandmarkRecipe):
        epochs: int = 3  # its help is the base's
        taps: tuple[int, ...] = option((1, 2), "filter taps", flag="tap")

    line = training.CommandLine("", ["m"], ["rendered"], {"paper": {"": Invented()}}, LandmarkSettings)
    text = " ".join(line.make_parser().format_help().split())
    assert "--tap TAPS filter taps (paper 1,2)" in text
    assert "passes over the training set (paper 3)" in text
    assert "--momentum" not in text
    assert line.parse(["--out", "o", "--tap", "4,5"]).recipe == Invented(taps=(4, 5))


def test_help_lists_what_to_train_and_the_recipe_apart():
    _, first, second = re.split(r"\n(?=what to train|the recipe)", LINE.make_parser().format_help())
    assert first.startswith("what to train, and how to run it:")
    assert second.startswith("the recipe:")
    options = [set(re.findall(r"^  (--[a-z-]+)", group, re.MULTILINE)) for group in (first, second)]
    assert {"--dataset", "--data", "--out", "--resume", "--seed"} <= options[0]
    assert {"--recipe", "--epochs", "--lr", "--batch-size"} <= options[1]
    assert not options[0] & options[1]


def test_data_alone_means_300w_and_nothing_means_rendered_faces(capsys):
    assert parse("--data", "d").settings.dataset == "300w"
    settings = parse().settings
    assert settings.dataset == "rendered"
    training.prepare(settings, [mx.cpu()])
    assert "rendered faces" in capsys.readouterr().out


@pytest.mark.parametrize("text", [["--epochs", "0"], ["--workers", "-1"]])
def test_numbers_that_cannot_be_are_refused(text):
    with pytest.raises(ValueError, match=f"{text[0]} must be at least"):
        parse(*text)


@pytest.mark.parametrize(
    ("text", "message"),
    [(["--lr", "0"], "--lr must be more than 0, not 0"), (["--wd", "-0.1"], "--wd must be at least 0")],
)
def test_rates_that_cannot_be_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse(*text)


@pytest.mark.parametrize("option", ["--lr", "--wd", "--average-decay"])
@pytest.mark.parametrize("value", ["nan", "inf"])
def test_what_is_not_finite_is_no_rate(option, value):
    with pytest.raises(ValueError, match=f"{option}: '{value}' is not a number"):
        parse(option, value)


def test_a_run_needs_a_folder_and_does_not_overwrite_one(tmp_path):
    with pytest.raises(ValueError, match="--out RUN is missing"):
        LINE.parse([])
    settings = LandmarkSettings(out=str(tmp_path))
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(ValueError, match="it finished no epoch, remove it"), training.start_folder(settings, Team()):
        pass
    (tmp_path / "last.npz").write_bytes(b"")
    with pytest.raises(ValueError, match="continue it with --resume"), training.start_folder(settings, Team()):
        pass


def test_resume_takes_the_runs_own_settings_but_for_the_machine(tmp_path, monkeypatch):
    stored = parse(
        "--lr", "0.25", "--photometric", "on", "--seed", "7", "--workers", "9", "--more", "rendered"
    ).arguments
    state = Progress(epoch=3, arguments=json.loads(json.dumps(stored)))
    monkeypatch.setattr(training, "read_progress", lambda folder: state)
    resumed = LINE.parse(["--resume", str(tmp_path), "--workers", "1", "--lr", "0.25"])
    assert resumed.recipe == replace(RECIPE, learning_rate=0.25, photometric=True)
    assert (resumed.settings.seed, resumed.settings.workers, resumed.settings.more) == (7, 1, ("rendered",))
    assert resumed.settings.out == resumed.settings.resume == str(tmp_path)


class TestOptionsBesideResume:
    @pytest.fixture
    def resume(self, tmp_path, monkeypatch):
        """Resumes a run of FFLD's recipe for CPUs, with further options."""
        stored = parse("--recipe", "cpu", "--lr", "0.25", "--epochs", "9", "--patience", "4", "--cache").arguments
        state = Progress(epoch=3, arguments=json.loads(json.dumps(stored)))
        monkeypatch.setattr(training, "read_progress", lambda folder: state)
        return lambda *text: LINE.parse(["--resume", str(tmp_path), *text])

    def test_how_long_and_on_what_may_change(self, resume):
        settings, recipe, arguments = resume(
            *(
                "--epochs",
                "20",
                "--dataset",
                "rendered",
                "--data",
                "elsewhere",
                "--more",
                "300w=there",
                "--patience",
                "0",
            )
        )
        assert (recipe.epochs, recipe.learning_rate) == (20, 0.25)
        assert (settings.data, settings.more, settings.patience, settings.cache) == (
            "elsewhere",
            ("300w=there",),
            0,
            True,
        )
        assert (arguments["epochs"], arguments["data"]) == (20, "elsewhere")  # what the next checkpoint will hold

    def test_without_any_all_is_the_runs_own(self, resume):
        settings, recipe, _ = resume()
        assert (recipe.epochs, settings.patience, settings.cache) == (9, 4, True)

    @pytest.mark.parametrize(
        ("text", "own"),
        [
            (["--lr", "0.1"], "--lr 0.25, not 0.1"),
            (["--batch-size", "7"], f"--batch-size {CPU_RECIPE.batch_size}, not 7"),
            (["--recipe", "paper"], "--recipe cpu, not paper"),
            (["--seed", "3"], "--seed 0, not 3"),
            (["--dataset", "300w"], "--dataset rendered, not 300w"),
            (["--photometric", "off"], f"--photometric {CPU_RECIPE.photometric}, not False"),
            (["--out", "elsewhere"], "this run has --out"),
            (["--init", "some.params"], "--init None, not some.params"),
        ],
    )
    def test_what_would_make_another_run_is_refused_with_both_values(self, resume, text, own):
        with pytest.raises(ValueError, match=own):
            resume(*text)

    def test_the_same_value_is_no_change(self, resume):
        assert resume("--lr", "0.25", "--recipe", "cpu", "--seed", "0").recipe.learning_rate == 0.25


def test_older_checkpoints_hold_switches_as_they_were_typed(tmp_path, monkeypatch):
    @dataclass(frozen=True)
    class Switched(LandmarkSettings):
        first: bool = option(True, "")
        second: bool = option(False, "")

    state = Progress(arguments={**parse().arguments, "first": "off", "second": "on"})
    monkeypatch.setattr(training, "read_progress", lambda folder: state)
    settings = replace(LINE, settings_type=Switched).parse(["--resume", str(tmp_path)]).settings
    assert (settings.first, settings.second) == (False, True)


def test_amp_is_turned_on_where_the_processor_has_it_and_else_declined(monkeypatch, capsys):
    turned_on = []
    monkeypatch.setattr(training, "use_half_precision", turned_on.append)
    settings = LandmarkSettings(amp=True)
    monkeypatch.setattr(training, "half_precision", lambda context: "bfloat16")
    assert training.prepare(settings, [mx.cpu()]) == settings
    assert turned_on == [mx.cpu()]
    monkeypatch.setattr(training, "half_precision", lambda context: None)
    assert training.prepare(settings, [mx.cpu()]) == LandmarkSettings()
    assert turned_on == [mx.cpu()]
    assert "no bfloat16" in capsys.readouterr().out
