"""What every training script shares on its command line."""

import json

import mxnet as mx
import pytest

from engine.checkpoint import Progress
from gluon_models.ffld.network import AFLW_RECIPE, CPU_RECIPE, RECIPE
from training import options as training
from training.recipe_options import chosen_recipe

RECIPES = {"paper": {"": RECIPE, "aflw": AFLW_RECIPE}, "cpu": {"": CPU_RECIPE}}
CHOICES = {"paper": RECIPE, "cpu": CPU_RECIPE}


def parser():
    return training.make_parser("", ["resnet18_slim"], ["rendered", "300w"], RECIPES)


def test_the_defaults_are_the_papers():
    recipe = chosen_recipe(parser().parse_args([]), CHOICES)
    # FFLD, Sec. 6.6.
    assert (recipe.epochs, recipe.learning_rate, recipe.decay_factor, recipe.decay_epochs) == (350, 1e-4, 0.3, 50)
    assert (recipe.batch_size, recipe.weight_decay, recipe.schedule) == (64, 5e-4, "step")
    assert (recipe.scale_fraction, recipe.shift_fraction, recipe.rotation_degrees) == (0.2, 0.1, 20.0)


def test_an_option_changes_one_value_of_the_named_recipe():
    arguments = parser().parse_args(["--recipe", "cpu", "--lr", "0.5", "--photometric", "off"])
    recipe = chosen_recipe(arguments, CHOICES)
    assert (recipe.learning_rate, recipe.photometric) == (0.5, False)
    assert (recipe.epochs, recipe.loss) == (CPU_RECIPE.epochs, CPU_RECIPE.loss)


def test_help_shows_every_recipes_value_and_unit():
    text = " ".join(parser().format_help().split())
    assert "--lr RATE at the start (paper 0.0001, cpu 0.001)" in text
    assert "in degrees (paper 20.0, cpu 30.0)" in text
    assert "--epochs EPOCHS passes over the training faces (paper 350 [aflw 56], cpu 240)" in text


def test_data_alone_means_300w_and_nothing_means_rendered_faces(capsys):
    assert training.parse(parser(), ["--data", "d", "--out", "o"]).dataset == "300w"
    assert training.parse(parser(), ["--out", "o"]).dataset == "rendered"
    assert "rendered faces" in capsys.readouterr().out


@pytest.mark.parametrize("text", [["--epochs", "0"], ["--batch-size", "0"], ["--workers", "-1"]])
def test_numbers_that_cannot_be_are_refused(text):
    with pytest.raises(ValueError, match=f"{text[0]} must be at least"):
        training.parse(parser(), ["--out", "o", *text])


def test_a_run_needs_a_folder_and_does_not_overwrite_one(tmp_path):
    with pytest.raises(ValueError, match="--out RUN is missing"):
        training.parse(parser(), [])
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(ValueError, match="it finished no epoch, remove it"):
        training.start_folder(training.parse(parser(), ["--out", str(tmp_path)]))
    (tmp_path / "last.npz").write_bytes(b"")
    with pytest.raises(ValueError, match="go on with --resume"):
        training.start_folder(training.parse(parser(), ["--out", str(tmp_path)]))


def test_resume_takes_the_runs_own_settings_but_for_the_machine(tmp_path, monkeypatch):
    stored = vars(training.parse(parser(), ["--out", "first", "--lr", "0.25", "--seed", "7", "--workers", "9"]))
    state = Progress(epoch=3, arguments=json.loads(json.dumps(stored)))
    monkeypatch.setattr(training, "read_progress", lambda folder: state)
    resumed = training.parse(parser(), ["--resume", str(tmp_path), "--workers", "1", "--lr", "9"])
    assert (resumed.learning_rate, resumed.seed, resumed.workers) == (0.25, 7, 1)
    assert resumed.out == resumed.resume == str(tmp_path)


def test_amp_is_turned_on_where_the_processor_has_it_and_else_declined(monkeypatch, capsys):
    turned_on = []
    monkeypatch.setattr(training, "use_half_precision", turned_on.append)
    arguments = parser().parse_args(["--amp"])
    monkeypatch.setattr(training, "half_precision", lambda context: "bfloat16")
    training.prepare(arguments, [mx.cpu()])
    assert (turned_on, arguments.amp) == ([mx.cpu()], True)
    monkeypatch.setattr(training, "half_precision", lambda context: None)
    training.prepare(arguments, [mx.cpu()])
    assert (turned_on, arguments.amp) == ([mx.cpu()], False)
    assert "no bfloat16" in capsys.readouterr().out
