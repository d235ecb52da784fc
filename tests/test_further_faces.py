"""Training on the faces of several data sets, and FFLD from two files."""

from pathlib import Path

import mxnet as mx
import numpy as np
import pytest

import train_ffld
from datasets import ibug_300w
from datasets.ibug_300w import is_validation, write_pts
from datasets.images import write_image
from datasets.markups import IBUG_68
from gluon_models import describe, get_model, save_weights
from training import chosen_faces
from training.options import initialise

NAMES = ("12", "42", "123", "7")


def load(*text):
    settings, recipe, _ = train_ffld.TRAINING.parse(["--out", "run", "--rendered-count", "20", *map(str, text)])
    return train_ffld.TRAINING.load_faces(settings, recipe)


@pytest.fixture
def folder(tmp_path):
    """Four photos of one's own with their points; one would be for validation if they were the only ones."""
    for number, name in enumerate(NAMES):
        write_image(tmp_path / f"{name}.png", np.full((20, 20, 3), number, np.uint8))
        write_pts(tmp_path / f"{name}.pts", np.random.default_rng(number).uniform(2, 17, (68, 2)))
    return tmp_path


def test_all_training_faces_are_trained_on_where_validation_is_on_a_subset(tmp_path, monkeypatch, capsys):
    """Two faces in each of 300-W's folders: as the region paper's 3,148 and the full subset (Sec. 3) [R19]."""
    monkeypatch.setattr(ibug_300w, "PARTS", dict.fromkeys(ibug_300w.PARTS, 2))
    for part in ibug_300w.PARTS:
        for number in (1, 2):
            name = f"{part}/image_{number}"
            (tmp_path / part).mkdir(parents=True, exist_ok=True)
            write_image(tmp_path / f"{name}.png", np.zeros((40, 40, 3), np.uint8))
            write_pts(tmp_path / f"{name}.pts", np.random.default_rng(number).uniform(2, 37, (68, 2)))
    train, validation = load("--dataset", "300w", "--data", tmp_path, "--validate-on", "full")
    folders = [{str(Path(name).parent) for name in faces.names} for faces in (train, validation)]
    assert (len(train), len(validation)) == (6, 6)
    assert folders == [{"afw", "helen/trainset", "lfpw/trainset"}, {"helen/testset", "lfpw/testset", "ibug"}]
    assert "so they are no test any more" in capsys.readouterr().out


def test_training_faces_are_joined_and_validation_stays_that_of_the_first(folder):
    train, validation = load("--more", f"pts={folder}", "--more", f"pts={folder}")
    alone = load()
    assert validation.names == alone[1].names
    assert train.names == [*alone[0].names, *sorted(NAMES), *sorted(NAMES)]
    np.testing.assert_array_equal(train[20].image[0, 0], [NAMES.index(sorted(NAMES)[0])] * 3)


def test_only_further_faces_with_the_name_of_a_validation_photo_are_left_out(folder, tmp_path_factory, capsys):
    held = [name for name in NAMES if is_validation(name)]
    assert len(held) == 1
    other = tmp_path_factory.mktemp("other")
    for name in ("42_1", "13", *held):  # "42_1" is no face of the photo "42" in a folder of one's own
        write_image(other / f"{name}.png", np.zeros((20, 20, 3), np.uint8))
        write_pts(other / f"{name}.pts", np.random.default_rng(0).uniform(2, 17, (68, 2)))
    train, validation = load("--dataset", "pts", "--data", folder, "--more", f"pts={other}")
    assert sorted(validation.names) == held
    assert sorted(train.names) == sorted([*set(NAMES) - set(held), "42_1", "13"])
    assert "--more pts: 2 faces" in capsys.readouterr().out


def test_a_single_photo_joins(folder):
    for name in NAMES[:3]:
        (folder / f"{name}.png").unlink()
        (folder / f"{name}.pts").unlink()
    train, _ = load("--more", f"pts={folder}")
    assert (len(train), train.names[-1]) == (21, "7")


def test_rendered_faces_join_photos(folder):
    train, validation = load("--dataset", "pts", "--data", folder, "--more", "rendered")
    assert (len(train), len(validation)) == (3 + 20, 1)


def test_poses_are_balanced_over_joined_photos_but_not_over_rendered_ones(folder):
    train, _ = load("--dataset", "pts", "--data", folder, "--more", f"pts={folder}")
    np.testing.assert_array_equal(train.points[4], train[4].points_image)
    mixed, _ = load("--dataset", "pts", "--data", folder, "--more", "rendered")
    with pytest.raises(ValueError, match="drawn one by one"):
        _ = mixed.points


def test_data_sets_of_other_points_do_not_join(folder, monkeypatch):
    monkeypatch.setattr(chosen_faces, "further_faces", lambda *given: Other())
    with pytest.raises(ValueError, match="it has cofw_29 landmarks, the training faces ibug_68"):
        load("--more", f"pts={folder}")


class Other:
    class markup:
        name = "cofw_29"

    names = ()

    def __len__(self):
        return 0


@pytest.mark.parametrize("text", ["pts", "nothing=DIR"])
def test_what_more_does_not_know(text):
    with pytest.raises(ValueError, match="write NAME=DIR with one of"):
        load("--more", text)


def stored(model, folder, seed):
    net = get_model(model, num_landmarks=68)
    initialise(net, (1, 3, 64, 64), [mx.cpu()], seed)
    save_weights(net, folder / f"{model}.params", describe(model, "ibug_68", num_landmarks=68))
    return net


def context_of(text):
    settings, recipe, _ = train_ffld.TRAINING.parse(list(text))
    return train_ffld.TRAINING.make_context(settings, recipe, IBUG_68, [mx.cpu()])


def first_weight(net):
    return net.stem[0].weight.data().asnumpy()


def test_a_baseline_takes_the_place_of_the_one_in_the_file_and_the_refinements_stay(tmp_path):
    whole, baseline = stored("ffld_resnet18", tmp_path, 1), stored("resnet18_slim", tmp_path, 2)
    text = ["--model", "ffld_resnet18", "--out", "run", "--init", tmp_path / "ffld_resnet18.params"]
    text += ["--baseline", tmp_path / "resnet18_slim.params"]
    net = get_model("ffld_resnet18", num_landmarks=68)
    train_ffld.TRAINING.fill_network(net, context_of(map(str, text)))
    np.testing.assert_array_equal(first_weight(net.cascade.baseline), first_weight(baseline))
    found, expected = (each._collect_params_with_prefix() for each in (net, whole))
    refinements = [name for name in found if "baseline" not in name]
    assert refinements
    for name in refinements:
        np.testing.assert_array_equal(found[name].data().asnumpy(), expected[name].data().asnumpy())


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("ffld_resnet50", "name weights of resnet50_slim"),
        ("resnet18_slim", "resnet18_slim is a baseline itself, use --init"),
    ],
)
def test_a_baseline_of_another_network(tmp_path, model, message):
    stored("resnet18_slim", tmp_path, 0)
    text = ["--model", model, "--out", "run", "--baseline", str(tmp_path / "resnet18_slim.params")]
    with pytest.raises(ValueError, match=message):
        train_ffld.TRAINING.fill_network(None, context_of(text))
