"""What train_lgcn.py makes of a command line: recipe, rates, network, validation, shape model; and a run of it."""

import json
from contextlib import nullcontext
from dataclasses import replace

import mxnet as mx
import numpy as np
import pytest

import train_lgcn
from datasets.images import write_image
from datasets.markups import get_markup
from datasets.render.faces import RenderedFaces
from engine.distributed import Team
from evaluation.metrics import nme
from gluon_models import InputSpec, get_model, get_spec, load_weights, save_weights, shipped_weights
from gluon_models.lgcn.network import RECIPE
from inference.ensembles import DropoutEnsemble
from inference.pipeline import PointPredictor, crop_dataset, predict_cropped
from inference.shape_model import load_shape_model
from training import options as training
from untrained import start_lively

CPU = [mx.cpu()]
TINY = "--filters 4 --variants 1 --rendered-count 14 --batch-size 7 --workers 0 --gpus none --recipe cpu".split()


def chosen(*text):
    return train_lgcn.TRAINING.parse(["--out", "run", *text])[:2]


def network(*text):
    context = train_lgcn.TRAINING.make_context(*chosen("--filters", "4", *text), get_markup(68), CPU)
    net = get_model(context.info.model, **context.info.overrides)
    training.initialise(net, (1, len(context.spec.mean), 96, 96), CPU, seed=0)
    return net, context


def test_the_defaults_are_the_papers():
    arguments, recipe = chosen()
    assert arguments.model == "lgcn_128"
    # Sec. 4.
    assert (recipe.batch_size, recipe.epochs, recipe.gradient_clip) == (20, 75, 0.1)
    assert (recipe.rotation_degrees, recipe.scale_fraction, recipe.flip_probability) == (30.0, 0.125, 0.5)
    assert recipe.variants == 18
    setting = train_lgcn.TRAINING.augmentation(recipe)
    assert (setting.shift_fraction, setting.blur_probability, setting.occlusion_probability) == (0, 0, 0)


def test_the_authors_have_their_own_batch_and_epochs():
    _, recipe = chosen("--recipe", "authors")
    assert replace(recipe, batch_size=20, epochs=75, loss="square_eq4", side_branch=False) == RECIPE
    assert (recipe.batch_size, recipe.epochs) == (16, 100)


def test_the_authors_rates():
    schedule = train_lgcn.AuthorsSchedule(1e-3, 75)
    starts = {0: 1e-3, 10: 5e-4, 20: 2e-4, 30: 1e-4, 40: 5e-5, 50: 2e-5}
    for start, rate in starts.items():
        assert schedule.rate(start) == pytest.approx(rate)
        assert schedule.rate(start + 9.99) == pytest.approx(rate)
    assert schedule.rate(74.9) == pytest.approx(2e-5)
    assert train_lgcn.AuthorsSchedule(1e-3, 75, warmup_epochs=2.0).rate(1) == pytest.approx(5e-4, rel=0.01)


def test_a_step_is_the_authors_frameworks():
    """Momentum SGD of CNTK: v = 0.9 v + 0.1 g with g the sum over the batch, clipped at 0.1 per face; w -= 1e-3 v."""
    arguments, recipe = chosen("--batch-size", "4")
    options = train_lgcn.TRAINING.fit_options(arguments, recipe)
    assert options.schedule.epochs == 75
    weight = mx.gluon.Parameter("w", shape=(2,), init=mx.init.Constant(1.0))
    weight.initialize()
    settings = {"learning_rate": options.schedule.rate(0), **options.optimizer_settings}
    trainer = mx.gluon.Trainer({"w": weight}, options.optimizer, settings)
    expected, velocity = np.ones(2), np.zeros(2)
    for sums in ([0.2, 9.0], [-0.1, 9.0]):
        with mx.autograd.record():
            loss = (weight.data() * mx.nd.array(sums)).sum()
        loss.backward()
        trainer.step(4)
        velocity = 0.9 * velocity + 0.1 * np.clip(sums, -0.4, 0.4)
        expected -= 1e-3 * velocity
    np.testing.assert_allclose(weight.data().asnumpy(), expected, rtol=1e-6)


def test_the_cpu_recipe_is_adam_on_the_mean():
    options = train_lgcn.TRAINING.fit_options(*chosen("--recipe", "cpu", "--lr", "0.5", "--warmup-epochs", "0"))
    assert (options.optimizer, options.schedule.kind, options.schedule.rate(0)) == ("adam", "cosine", 0.5)
    assert "momentum" not in options.optimizer_settings


def test_the_papers_dropout_and_that_of_the_cpu_recipe():
    shares = []
    for text in ([], ["--recipe", "cpu"], ["--dropout", "0.3"]):
        net, context = network("--side-branch", "on", *text)
        first = net.cascade.local_context.layers[1]
        shares.append(first.dropout)
    assert shares == [0.1, 0.0, 0.3]
    assert net.cascade.local_context.side[1].dropout == 0


def test_the_weights_say_what_share_was_dropped(tmp_path):
    net, context = network("--dropout", "0.3")
    save_weights(net, tmp_path / "best.params", context.info)
    loaded, _ = load_weights(tmp_path / "best.params")
    assert (loaded.dropout, loaded.cascade.global_context.layers[0].dropout) == (0.3, 0.3)
    # A next run may drop another share.
    other, context = network("--dropout", "0")
    train_lgcn.TRAINING.start_from(other, str(tmp_path / "best.params"), context)
    np.testing.assert_array_equal(values(other), values(net))
    assert other.cascade.global_context.layers[0].dropout == 0
    # The shipped file's last runs dropped nothing.
    for never in (other, load_weights(shipped_weights("lgcn_64"))[0]):
        with pytest.raises(ValueError, match="no dropout to sample: choose the augmentation ensemble"):
            DropoutEnsemble(never)
    with pytest.raises(ValueError, match=r"a dropout of 1\.5 is no share of the features"):
        get_model("lgcn_64", dropout=1.5)


def values(net):
    return np.concatenate([parameter.data().asnumpy().ravel() for parameter in net.collect_params().values()])


def test_switches_reach_the_network():
    _, context = network("--side-branch", "off", "--kernel", "none", "--global-context", "off", "--model", "lgcn_64")
    assert context.info.overrides == {
        "num_landmarks": 68,
        "side_branch": False,
        "kernel": "none",
        "global_context": False,
        "background": False,
        "dropout": 0.1,
        "filters": 4,
    }
    net, context = network("--loss", "cross_entropy")
    assert net.background
    objective = train_lgcn.TRAINING.make_objective(net, context)
    crops, points = np.zeros((1, 96, 96, 3), np.uint8), np.full((1, 68, 2), 50, "f")
    assert list(objective(net, (crops, points), mx.cpu())) == ["local", "full"]


def test_the_paper_recipe_reads_whole_cells_and_the_cpu_recipe_between_them():
    assert [network(*text)[1].spec.decoding for text in ((), ("--recipe", "cpu"))] == ["argmax", "subpixel"]


def test_smaller_crops_are_of_the_same_network():
    smaller, usual = network("--size", "48")[1].info, network()[1].info
    assert smaller == replace(usual, spec=replace(usual.spec, size=48))
    assert usual.spec.size == 96  # Sec. 3.1


@pytest.mark.parametrize("colour", ["rgb", "hsv"])
def test_colours_come_in_three_channels_of_the_grays_range(colour):
    spec, gray = network("--colour", colour)[1].spec, network()[1].spec
    assert spec == replace(gray, colour=colour, mean=gray.mean * 3, scale=gray.scale * 3)
    assert InputSpec.from_dict(spec.as_dict()) == spec


def load(*text):
    settings, recipe = chosen(*text)
    faces, validation = train_lgcn.TRAINING.load_faces(settings, recipe)
    context = train_lgcn.TRAINING.make_context(settings, recipe, faces.markup, CPU)
    return train_lgcn.TRAINING.epoch_faces(faces, context), validation


def test_every_face_comes_as_often_as_it_has_variants():
    faces, validation = load("--rendered-count", "5", "--variants", "3")
    assert len(faces) == 15
    assert len(validation) == 16
    assert sorted(faces.names) == sorted(3 * list(RenderedFaces(5, 0, 320).names))


def test_windows_without_a_face_come_beside_the_faces(tmp_path):
    write_image(tmp_path / "a.png", np.full((90, 120, 3), 77, np.uint8))
    text = ("--rendered-count", "5", "--variants", "2", "--background", str(tmp_path), "--loss", "square")
    faces, validation = load(*text)
    # Sec. 4.3: 30,000 windows beside 18 variants of 90 % of 3,148 faces.
    assert round(30000 / (18 * 0.9 * 3148), 2) == 0.59
    assert len(faces) == 10 + 6
    assert len(validation) == 16
    assert [np.isfinite(faces[k].points_image).all() and faces[k].points_image.min() > -1000 for k in (9, 10)] == [1, 0]
    assert len(load(*text, "--background-share", "0.2")[0]) == 12
    with pytest.raises(ValueError, match="must be more than 0"):
        load(*text, "--background-share", "0")
    with pytest.raises(ValueError, match="--background: Eq. 4 as printed"):
        load(*text[:-2])


def test_validation_measures_both_subnets():
    net, context = network()
    net.cascade.local_context.maps.bias.set_data(mx.nd.arange(68))
    net.cascade.global_context.maps.bias.set_data(-mx.nd.arange(68))
    start_lively(net)
    faces = RenderedFaces(2, 0, 96)
    measured = train_lgcn.TRAINING.make_validate(faces, context)(net)
    assert list(measured) == ["nme", "nme_stage_0", "nme_stage_1"]
    cropped = crop_dataset(faces, context.spec)
    for name, answer in (("nme_stage_0", lambda x: net.cascade(x)[0]), ("nme_stage_1", net)):
        points = predict_cropped(PointPredictor(answer, context.spec), cropped)
        expected = nme(points, cropped.truth_image, "outer_eye").mean()
        # Layers that run as one round otherwise, and maps at random tell peaks of nearly the same height apart.
        assert measured[name] == pytest.approx(expected, rel=1e-4)
    assert measured["nme_stage_0"] != measured["nme_stage_1"]


@pytest.mark.slow  # Renders faces, trains, validates: only so is it certain that weights and shape model get written.
def test_a_run_and_its_resumption(tmp_path, capsys, few_photos):
    out = str(tmp_path / "run")
    text = ["--dataset", "pts", "--data", few_photos, "--more", "rendered", "--size", "48", "--epochs", "1"]
    assert train_lgcn.TRAINING.main([*TINY, *text, "--out", out]) == 0
    assert "19 training faces, 2 for validation" in capsys.readouterr().out
    model = load_shape_model(tmp_path / "run" / "shape.npz")
    assert model.components.shape == (12, 68, 2)
    net, info = load_weights(tmp_path / "run" / "best.params")
    assert (info.model, info.markup, info.spec) == ("lgcn_128", "ibug_68", replace(get_spec("lgcn_128"), size=48))
    assert np.isfinite(net(mx.nd.zeros((1, 1, 40, 56))).asnumpy()).all()
    assert train_lgcn.TRAINING.main(["--resume", out]) == 0
    lines = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1]


class Second(Team):
    """The second of two workers, whose first one has the same numbers."""

    rank, size = 1, 2

    def total(self, values):
        return 2 * values


def test_only_the_first_worker_writes_weights_and_shape_model(tmp_path, monkeypatch, few_photos):
    monkeypatch.setattr(training, "join_workers", lambda *_: nullcontext(Second()))
    out = tmp_path / "run"
    text = ["--dataset", "pts", "--data", few_photos, "--size", "32", "--epochs", "1", "--out", str(out)]
    assert train_lgcn.TRAINING.main([*TINY, *text]) == 0
    assert not out.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (["--size", "31"], "--size must be at least 32"),
        (["--loss", "wing"], "unknown loss 'wing': choose one of square"),
        (["--global-context", "off"], "leave both out or neither"),
    ],
)
def test_bad_input_is_one_line_and_code_2(tmp_path, refused, text, message):
    refused(lambda: train_lgcn.TRAINING.main([*TINY, "--out", str(tmp_path / "new"), *text]), message)
