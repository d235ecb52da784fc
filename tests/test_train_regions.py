"""What train_regions.py makes of a command line: recipe, networks, where they start from, what is trained, and runs."""

import json

import mxnet as mx
import numpy as np
import pytest

import train_regions
from datasets.markups import get_markup
from datasets.render.faces import RenderedFaces
from engine.fit import Fit
from gluon_models import describe, get_model, get_spec, save_weights
from gluon_models.regions.bound import TrueBoxes, predict_with_true_boxes
from gluon_models.regions.network import RECIPE, is_frozen
from inference.pipeline import crop_dataset
from training import options as training

CPU = [mx.cpu()]
SPEC = get_spec("region_direct")
SMALL = {"num_landmarks": 68, "channels": [8, 8, 16], "dropout": 0.5, "dense_layers": 1}


def recipe_of(*text):
    return train_regions.TRAINING.parse(["--out", "run", *text])[:2]


def context_of(*text):
    return train_regions.TRAINING.make_context(*recipe_of(*text), get_markup(68), CPU)


def network(model, seed=0, **settings):
    net = get_model(model, **{**SMALL, **settings})
    training.initialise(net, (1, 3, 224, 224), CPU, seed)
    return net


def saved(folder, model, seed, **settings):
    """Weights of a network as a run leaves them."""
    path = folder / f"{model}.params"
    info = describe(model, get_markup(settings.get("num_landmarks", 68)).name, **{**SMALL, **settings})
    save_weights(network(model, seed, **settings), path, info)
    return str(path)


def values(net):
    return [parameter.data().asnumpy() for parameter in net.collect_params().values()]


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(values(one), values(other)))


def test_the_defaults_are_the_papers():
    arguments, recipe = recipe_of()
    # Sec. 5.2: Adam, 0.001, batch 16, MSE, 50 epochs, early stopping, dropout 0.5, one dense layer.
    options = train_regions.TRAINING.fit_options(arguments, recipe)
    assert (options.optimizer, options.optimizer_settings, recipe.loss) == ("adam", {"wd": 0}, "mse")
    assert [options.schedule.rate(done) for done in (0, 49)] == pytest.approx([1e-3, 1e-3])
    assert (options.schedule.epochs, options.patience, recipe.batch_size) == (50, 10, 16)
    assert (recipe.dropout, arguments.dense_layers, arguments.blocks) == (0.5, 1, 3)
    # R4.
    arguments, recipe = recipe_of("--recipe", "cpu")
    options = train_regions.TRAINING.fit_options(arguments, recipe)
    assert (options.schedule.epochs, options.optimizer_settings, recipe.batch_size) == (100, {"wd": 5e-4}, 32)
    assert [options.schedule.rate(done) for done in (1, 100)] == pytest.approx([1e-3, 0], rel=0.01, abs=1e-9)
    assert (recipe.loss, recipe.dropout, recipe.average_decay) == ("normalized_l1", 0.2, 0.998)
    changed = train_regions.TRAINING.augmentation(recipe)
    assert min(changed.scale_fraction, changed.shift_fraction, changed.contrast_fraction) > 0
    assert min(changed.blur_probability, changed.noise_probability, changed.occlusion_probability) > 0


def test_brightness_shear_flip_and_rotation_are_the_augmentation():
    setting = train_regions.TRAINING.augmentation(RECIPE)
    changed = {name for name, value in vars(setting).items() if value and not name.startswith(("blur_s", "noise_s"))}
    assert changed - {"occlusion_fraction"} == {
        *("rotation_degrees", "shear_fraction", "flip_probability", "brightness_fraction")
    }
    assert (setting.rotation_degrees, setting.shear_fraction) == (15, 0.1)
    assert (setting.flip_probability, setting.brightness_fraction) == (0.5, 0.2)


@pytest.mark.parametrize("model", train_regions.MODELS)
def test_the_network_that_is_asked_for(model):
    info = context_of("--model", model, "--dense-layers", "2", "--dropout", "0.25", "--jaw-network", "on").info
    jaw = {} if model == "region_direct" else {"jaw_network": True}
    assert info.overrides == {"num_landmarks": 68, "dropout": 0.25, "dense_layers": 2, **jaw}
    get_model(info.model, **info.overrides)
    fewer = context_of("--model", model, "--blocks", "2").info
    assert (fewer.overrides["channels"], fewer.overrides["units"]) == ([256, 512], [1, 1])
    get_model(fewer.model, **fewer.overrides)
    with pytest.raises(ValueError, match="--blocks 4: there are 3 at most"):
        context_of("--blocks", "4")


class TestStart:
    def start(self, net, model, path, *text):
        train_regions.TRAINING.start_from(net, path, context_of("--model", model, *text))

    def test_parts_take_the_direct_network_and_leave_it(self, tmp_path):
        net, direct = network("region_parts"), network("region_direct", seed=3)
        parts = values(net.parts)
        self.start(net, "region_parts", saved(tmp_path, "region_direct", seed=3))
        assert same(net.direct, direct)
        assert (is_frozen(net.direct), is_frozen(net.parts)) == (True, False)
        assert all(np.array_equal(a, b) for a, b in zip(values(net.parts), parts))

    def test_boxes_take_direct_network_and_parts_and_leave_both(self, tmp_path):
        net, parts = network("region_boxes"), network("region_parts", seed=4)
        self.start(net, "region_boxes", saved(tmp_path, "region_parts", seed=4))
        assert same(net.direct, parts.direct)
        assert same(net.parts, parts.parts)
        assert [is_frozen(each) for each in (net.direct, net.parts, net.boxes)] == [True, True, False]

    def test_the_box_network_starts_from_the_direct_features(self, tmp_path):
        net = network("region_boxes")
        last = values(net.boxes.net.points)
        path = saved(tmp_path, "region_parts", seed=4)
        before = values(net.boxes)
        self.start(net, "region_boxes", path)
        assert all(np.array_equal(a, b) for a, b in zip(values(net.boxes), before))  # the paper recipe
        self.start(net, "region_boxes", path, "--recipe", "cpu")
        parts = network("region_parts", seed=4)
        for of in ("stem", "blocks"):
            assert same(getattr(net.boxes.net, of), getattr(parts.direct, of))
        assert all(np.array_equal(a, b) for a, b in zip(values(net.boxes.net.points), last))

    def test_a_model_of_the_same_name_goes_on_as_a_whole(self, tmp_path):
        net = network("region_parts")
        self.start(net, "region_parts", saved(tmp_path, "region_parts", seed=5))
        assert same(net, network("region_parts", seed=5))
        assert not is_frozen(net.direct)

    def test_networks_of_another_shape_or_kind_are_refused(self, tmp_path):
        with pytest.raises(ValueError, match="belongs to networks with other landmarks or layers"):
            self.start(network("region_parts"), "region_parts", saved(tmp_path, "region_direct", 0, num_landmarks=51))
        with pytest.raises(ValueError, match="belongs to another network"):
            self.start(network("region_direct"), "region_direct", saved(tmp_path, "region_parts", 0))

    def test_every_network_starts_from_imagenets_first_convolution(self, tmp_path):
        stored = {"features.0.weight": mx.nd.ones((64, 3, 7, 7))}
        stored.update({f"features.1.{name}": mx.nd.ones(64) for name in ("gamma", "beta", "running_mean")})
        stored["features.1.running_var"] = mx.nd.ones(64)
        mx.nd.save(str(tmp_path / "zoo.params"), stored)
        net = network("region_boxes")
        context = context_of("--model", "region_boxes", "--imagenet", str(tmp_path / "zoo.params"))
        train_regions.TRAINING.fill_network(net, context)
        for each in (net.direct, net.boxes.net, *(part.net for part in net.parts)):
            # One over ImageNet's deviation of each colour.
            np.testing.assert_allclose(
                each.stem[0].weight.data().asnumpy()[5, :, 0, 0], 1 / np.array([0.229, 0.224, 0.225])
            )


def test_validation_measures_the_cascade_the_direct_network_and_the_bound():
    faces = RenderedFaces(2, 0, 128)
    net = network("region_boxes", seed=2)
    measured = train_regions.TRAINING.make_validate(faces, context_of())(net)
    assert list(measured) == ["nme", "nme_true_boxes", "nme_direct"]
    assert len(set(measured.values())) == 3
    alone = train_regions.TRAINING.make_validate(faces, context_of())(net.direct)
    assert alone == {"nme": measured["nme_direct"]}


def test_the_bound_is_cut_by_the_annotated_points_whatever_the_batch():
    net = network("region_parts", seed=2)
    cropped = crop_dataset(RenderedFaces(3, 0, 128), SPEC)
    pairs = zip(cropped.truth_image, cropped.matrices)
    truth_crop = np.stack([truth @ matrix[:, :2].T + matrix[:, 2] for truth, matrix in pairs])
    found = predict_with_true_boxes(net, SPEC, cropped.crops, truth_crop, CPU[0], batch_size=2)
    pixels = mx.nd.array(cropped.crops[1:2].transpose(0, 3, 1, 2) / 255)
    fractions = TrueBoxes(net)(pixels, mx.nd.array((truth_crop[1:2] + 0.5) / 224)).asnumpy()[0]
    expected = fractions * 224 - 0.5
    np.testing.assert_allclose(found[1], expected, atol=1e-2)


def interrupt_after(monkeypatch, epochs):
    """Lets training end, as by Ctrl-C, once so many epochs are done."""
    train_epoch = Fit._one_epoch

    def one_epoch(fit, state, bar):
        if state.epoch == epochs:
            raise KeyboardInterrupt
        train_epoch(fit, state, bar)

    monkeypatch.setattr(Fit, "_one_epoch", one_epoch)


@pytest.mark.slow  # Four trainings: a command for each approach, from the weights of the one before, one in two parts.
def test_one_command_trains_each_approach_and_an_interrupted_run_goes_on(tmp_path, monkeypatch, few_photos):
    thin = lambda settings, recipe, markup: describe(settings.model, markup.name, **SMALL)  # noqa: E731
    monkeypatch.setattr(train_regions.TRAINING, "describe_network", thin)
    small = f"--dataset pts --data {few_photos} --batch-size 3 --workers 0 --gpus none".split()
    files = {model: tmp_path / model / "best.params" for model in train_regions.MODELS}
    run = train_regions.TRAINING.main
    run(["--model", "region_direct", "--epochs", "1", *small, "--out", str(tmp_path / "region_direct")])
    before = ["--init", str(files["region_direct"])]
    run(["--model", "region_parts", "--epochs", "1", *small, *before, "--out", str(tmp_path / "region_parts")])
    before = ["--init", str(files["region_parts"])]
    boxes = tmp_path / "region_boxes"
    with monkeypatch.context() as patch:
        interrupt_after(patch, 1)
        with pytest.raises(KeyboardInterrupt):
            run(["--model", "region_boxes", "--epochs", "2", *small, *before, "--out", str(boxes)])
    stored = {model: mx.nd.load(str(files[model])) for model in ("region_direct", "region_parts")}
    files["region_parts"].unlink()  # A resumed run reads its own weights alone, and freezes what it froze before.
    run(["--resume", str(boxes)])
    stored["region_boxes"] = mx.nd.load(str(files["region_boxes"]))
    lines = [json.loads(line) for line in (boxes / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    assert {"nme", "nme_true_boxes", "nme_direct"} <= set(lines[0])
    # The box network alone has learnt: what the commands before have trained is in its file as it was.
    assert lines[0]["nme_direct"] == lines[1]["nme_direct"]
    assert lines[0]["loss"] != lines[1]["loss"]
    for name, value in stored["region_direct"].items():
        np.testing.assert_array_equal(stored["region_boxes"][f"direct.{name}"].asnumpy(), value.asnumpy())
    for name, value in stored["region_parts"].items():
        np.testing.assert_array_equal(stored["region_boxes"][name].asnumpy(), value.asnumpy())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (["--loss", "wing"], "unknown loss 'wing': choose one of mse, normalized_l2"),
        (["--dense-layers", "0"], "0 dense layers: a network needs 1 or more"),
        (["--imagenet", "{new}.params"], "there is no such file; name parameters of Gluon's resnet50_v1"),
        (["--init", "{new}.params"], "new.params is not there"),
    ],
)
def test_bad_input_is_one_line_and_code_2(tmp_path, refused, text, message):
    new = str(tmp_path / "new")
    filled = [word.replace("{new}", new) for word in [*text, "--out", "{new}", "--rendered-count", "8"]]
    refused(lambda: train_regions.TRAINING.main([*filled, "--gpus", "none"]), message)
