"""DeepPose: the network against the model zoo's, ImageNet weights, saliency by finite differences, fixed samples."""

from dataclasses import replace

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn
from mxnet.gluon.model_zoo.vision import resnet18_v1

import train_deeppose
from datasets.augment import Augmentation, TrainingCrop
from datasets.fixed_samples import Chosen, FixedSamples, split_samples
from datasets.geometry import square_box
from datasets.markups import IBUG_68
from datasets.render.faces import RenderedFaces
from evaluation.metrics import nme
from figures.saliency import draw_saliency, pixel_gradients, saliency_maps
from gluon_models import InputSpec, get_model, get_spec
from gluon_models.deeppose import load_features
from gluon_models.points import make_point_loss
from training.landmark_training import LandmarkTraining
from untrained import draw

SPEC = get_spec("deeppose_resnet18")


@pytest.fixture(scope="module")
def net():
    mx.random.seed(2)
    net = get_model("deeppose_resnet18", num_landmarks=68)
    net.initialize(mx.init.Xavier())
    net(mx.nd.zeros((1, 3, 64, 64)))
    return net


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """The model zoo's ResNet-18 at random, and its parameters as a file."""
    mx.random.seed(4)
    twin = resnet18_v1(classes=136)
    twin.initialize(mx.init.Xavier())
    twin(mx.nd.zeros((1, 3, 64, 64)))
    for parameter in twin.collect_params().values():
        if parameter.name.endswith("running_mean"):
            parameter.set_data(mx.nd.array(draw(parameter.shape, 1)))
    path = tmp_path_factory.mktemp("zoo") / "resnet18.params"
    twin.save_parameters(str(path))
    return twin, path


class TestNetwork:
    def test_194_landmarks_by_default_and_the_count_of_resnet18(self):
        net = get_model("deeppose_resnet18")
        net.initialize()
        assert net(mx.nd.zeros((1, 3, 64, 64))).shape == (1, 194, 2)
        count = sum(np.prod(p.shape) for p in net.collect_params().values() if p.grad_req != "null")
        # ResNet-18 has 11,689,512 with 1,000 classes (He et al.), 513 of them per class.
        assert count == 11_689_512 - 513 * 1000 + 513 * 388

    def test_with_the_zoos_weights_it_is_the_zoos_network(self, zoo, net):
        twin, path = zoo
        assert load_features(net, path) == []
        net.points.weight.set_data(twin.output.weight.data())
        net.points.bias.set_data(twin.output.bias.data())
        faces = mx.nd.array(draw((2, 3, 64, 64), seed=3))
        expected = twin(faces).asnumpy().reshape(2, 68, 2) + 0.5
        np.testing.assert_allclose(net(faces).asnumpy(), expected, rtol=1e-4, atol=1e-5)

    def test_what_a_file_of_the_first_stages_lacks_is_named_and_left(self, zoo, net, tmp_path):
        stored = mx.nd.load(str(zoo[1]))
        first = {name: value.astype("float16") for name, value in stored.items() if name < "features.7"}
        mx.nd.save(str(tmp_path / "first.params"), first)
        kept = net.features[7][0].body[0].weight.data().asnumpy()
        lacking = load_features(net, tmp_path / "first.params")
        assert lacking
        assert all(name.startswith("features.7.") for name in lacking)
        np.testing.assert_array_equal(net.features[7][0].body[0].weight.data().asnumpy(), kept)
        expected = stored["features.6.0.body.0.weight"].asnumpy()
        np.testing.assert_allclose(net.features[6][0].body[0].weight.data().asnumpy(), expected, atol=1e-3)


class TestMeanSquaredError:
    def test_by_hand(self):
        truth = np.array([[[10, 10], [20, 20], [0, 0]], [[50, 40], [30, 30], [60, 60]], [[0, 0]] * 3], float)
        predicted = np.array([[[13, 14], [21, 20], [77, 99]], [[48, 42], [30, 30], [65, 48]], [[9, 9]] * 3], float)
        known = np.array([[[1], [1], [0]], [[1]] * 3, [[0]] * 3], float)
        found = make_point_loss("mse")(*map(mx.nd.array, (predicted, truth, known)))
        np.testing.assert_allclose(found.asnumpy(), [(9 + 16 + 1) / 4, (4 + 4 + 25 + 144) / 6, 0], rtol=1e-6)


class Smooth(nn.HybridBlock):
    """A network without corners, so that finite differences are exact."""

    def __init__(self):
        super().__init__()
        with self.name_scope():
            self.first = nn.Conv2D(4, 3, 2, 1, activation="softrelu")
            self.norm = nn.BatchNorm()
            self.dropout = nn.Dropout(0.5)
            self.points = nn.Dense(6)

    def hybrid_forward(self, F, x):
        return F.reshape(self.points(self.dropout(self.norm(self.first(x)))), (-1, 3, 2)) + 0.5


class TestSaliency:
    spec = InputSpec(12, "rgb", (120.0, 110.0, 100.0), (1 / 60, 1 / 58, 1 / 57), 0.1, "points")

    def losses(self, net, crops, truth):
        inputs = (crops - np.array(self.spec.mean)) * np.array(self.spec.scale)
        predicted = net(mx.nd.array(inputs.transpose(0, 3, 1, 2))).asnumpy().astype(float) * 12 - 0.5
        return np.nanmean((predicted - truth) ** 2, axis=(1, 2))

    @pytest.mark.parametrize("hybrid", [False, True])
    def test_by_finite_differences(self, hybrid):
        mx.random.seed(1)
        net = Smooth()
        net.initialize(mx.init.Xavier())
        net.hybridize(hybrid, static_alloc=hybrid, static_shape=hybrid)
        crops = draw((2, 12, 12, 3), seed=5, low=0, high=255).astype("uint8")
        truth = draw((2, 3, 2), seed=6, low=0, high=12).astype(float)
        truth[1, 2] = np.nan
        found = pixel_gradients(net, self.spec, crops, truth)
        for place in ((3, 4, 0), (7, 7, 1), (11, 0, 2)):
            ends = []
            for step in (2.0, -2.0):
                moved = crops.astype(float)
                moved[(slice(None), *place)] += step
                ends.append(self.losses(net, moved, truth))
            expected = (ends[0] - ends[1]) / 4
            np.testing.assert_allclose(found[(slice(None), *place)], expected, rtol=2e-2, atol=1e-5)
            assert np.abs(expected).max() > 1e-3

    def test_the_whole_network_by_finite_differences_along_a_direction(self, net):
        spec = replace(SPEC, size=64)
        crops = draw((1, 64, 64, 3), seed=5, low=60, high=200).astype("uint8")
        truth = draw((1, 68, 2), seed=6, low=0, high=64).astype(float)
        before = net(mx.nd.ones((1, 3, 64, 64))).asnumpy()
        gradient = pixel_gradients(net, spec, crops, truth)
        np.testing.assert_array_equal(net(mx.nd.ones((1, 3, 64, 64))).asnumpy(), before)  # nothing was learnt
        direction = gradient / np.abs(gradient).max()
        ends = []
        for step in (0.2, -0.2):
            inputs = (crops + step * direction - np.array(spec.mean)) * np.array(spec.scale)
            predicted = net(mx.nd.array(inputs.transpose(0, 3, 1, 2))).asnumpy().astype(float) * 64 - 0.5
            ends.append(np.mean((predicted - truth) ** 2))
        assert (ends[0] - ends[1]) / 0.4 == pytest.approx((gradient * direction).sum(), rel=0.02)

    def test_maps_and_pictures(self):
        gradients = np.zeros((1, 4, 4, 3))
        gradients[0, 1, 2] = (0.5, -2.0, 1.0)
        gradients[0, 0, 0] = (0.0, 0.2, 0.0)
        maps = saliency_maps(gradients)
        assert (maps[0, 1, 2], maps[0, 0, 0], maps[0, 3, 3]) == (2.0, 0.2, 0.0)
        picture = draw_saliency(maps[0]).astype(int)
        assert picture.shape == (4, 4, 3)
        assert picture[1, 2].sum() > picture[0, 0].sum() > picture[3, 3].sum()
        assert picture[1, 2, 0] > 200  # the pale end is yellow: much red, less blue
        assert (draw_saliency(np.zeros((4, 4))) < 10).all()


class TestFixedSamples:
    faces = RenderedFaces(3, seed=1, size=96)
    setting = Augmentation(rotation_degrees=20, scale_fraction=0.1, shift_fraction=0.05)

    def samples(self, count=8, seed=0, side=60):
        return FixedSamples(self.faces, count, self.setting, SPEC.box_margin, seed, side)

    def test_first_all_faces_as_they_are_then_changed_copies(self):
        samples = self.samples()
        assert len(samples) == 8
        assert samples.sources.tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
        assert samples.names[4] == f"{self.faces.names[1]}#1"
        plain = TrainingCrop(60, SPEC.box_margin, IBUG_68, Augmentation())
        crop, points = plain(self.faces[1], np.random.default_rng(0))
        np.testing.assert_array_equal(samples[1].image, crop)
        np.testing.assert_allclose(samples[1].points_image, points, atol=1e-4)
        assert np.abs(samples[4].image.astype(int) - crop).max() > 20
        assert np.abs(samples[4].image.astype(int) - samples[7].image).max() > 20

    def test_a_sample_is_the_same_in_every_epoch_and_another_by_another_seed(self):
        np.testing.assert_array_equal(self.samples()[5].image, self.samples()[5].image)
        assert (self.samples()[5].image != self.samples(seed=1)[5].image).any()

    def test_the_networks_crop_is_the_whole_picture(self):
        sample = self.samples()[5]
        crop, points = TrainingCrop(60, SPEC.box_margin, IBUG_68, Augmentation())(sample, np.random.default_rng(0))
        np.testing.assert_array_equal(crop, sample.image)
        np.testing.assert_allclose(points, sample.points_image, atol=1e-4)
        # Of 100 by 80 pixels about (50, 40): a square of 1.25 times 100.
        np.testing.assert_allclose(square_box((0, 0, 100, 80), SPEC.box_margin), [-12.5, -22.5, 112.5, 102.5])
        # Sec. III: 300 x 300, then 256 x 256.
        assert FixedSamples(self.faces, 3, self.setting, SPEC.box_margin)[0].image.shape == (300, 300, 3)
        assert SPEC.size == 256

    def test_fewer_samples_than_faces_are_refused(self):
        with pytest.raises(ValueError, match="2 samples of 3 faces: take at least as many"):
            self.samples(count=2)

    def test_a_split_of_the_samples_has_copies_of_one_face_on_both_sides(self):
        samples = self.samples(count=30)
        train, validation = split_samples(samples, 0.2)
        assert (len(train), len(validation)) == (24, 6)
        assert set(train.names) | set(validation.names) == set(samples.names)
        assert not set(train.names) & set(validation.names)
        shown = [{name.split("#")[0] for name in part.names} for part in (train, validation)]
        assert shown[0] & shown[1]
        np.testing.assert_array_equal(train[3].image, samples[samples.names.index(train.names[3])].image)

    def test_data_sets_one_behind_the_other(self):
        other = RenderedFaces(2, seed=9, size=96)
        joined = Chosen([self.faces, other])
        assert (len(joined), joined.markup) == (5, IBUG_68)
        np.testing.assert_array_equal(joined[4].points_image, other[1].points_image)


class TestCommand:
    def recipe_of(self, *text):
        return train_deeppose.TRAINING.parse(["--out", "run", *text])[:2]

    def test_the_defaults_are_the_papers(self):
        settings, recipe = self.recipe_of()
        options = train_deeppose.TRAINING.fit_options(settings, recipe)
        # Sec. III; batch, rate and decay are not printed (D3, D4), nor how far samples are changed (D5).
        assert (options.schedule.epochs, recipe.samples, options.optimizer, recipe.loss) == (100, 8000, "adam", "mse")
        assert (recipe.batch_size, options.optimizer_settings) == (32, {"wd": 1e-5})
        assert [options.schedule.rate(done) for done in (0, 99)] == pytest.approx([1e-3, 1e-3])
        geometry = (recipe.rotation_degrees, recipe.scale_fraction, recipe.shift_fraction, recipe.flip_probability)
        assert (*geometry, recipe.brightness_fraction, recipe.contrast_fraction) == (20, 0.1, 0.05, 0, 0.2, 0.2)
        assert recipe.average_decay == 0
        # D6.
        settings, recipe = self.recipe_of("--recipe", "cpu")
        options = train_deeppose.TRAINING.fit_options(settings, recipe)
        assert (options.schedule.epochs, recipe.samples, recipe.loss) == (40, 0, "normalized_l1")
        assert options.optimizer_settings == {"wd": 5e-4}
        assert [options.schedule.rate(done) for done in (1, 40)] == pytest.approx([1e-3, 0], rel=0.01, abs=1e-9)
        assert (recipe.flip_probability, recipe.average_decay) == (0.5, 0.998)

    @pytest.mark.parametrize("split", ["before", "after"])
    def test_samples_are_parted_before_or_after_they_are_made(self, split, monkeypatch):
        faces = RenderedFaces(20, seed=1, size=96)
        parted = Chosen([faces], range(17)), Chosen([faces], range(17, 20))
        monkeypatch.setattr(LandmarkTraining, "load_faces", lambda *_: parted)
        arguments, recipe = self.recipe_of("--samples", "200", "--split", split)
        train, validation = train_deeppose.TRAINING.load_faces(arguments, recipe)
        assert (len(train), len(validation)) == (180, 20)
        shared = {name.split("#")[0] for name in train.names} & {name.split("#")[0] for name in validation.names}
        assert bool(shared) == (split == "after")
        # What changes the samples is done: none is changed once more in an epoch.
        assert train_deeppose.TRAINING.augmentation(recipe) == Augmentation()

    def test_without_samples_faces_change_in_every_epoch(self):
        arguments, recipe = self.recipe_of("--recipe", "cpu", "--rendered-count", "20")
        train, _ = train_deeppose.TRAINING.load_faces(arguments, recipe)
        assert len(train) == 20
        setting = train_deeppose.TRAINING.augmentation(recipe)
        assert (setting.rotation_degrees, setting.brightness_fraction, setting.contrast_fraction) == (30.0, 0.2, 0.2)

    def test_imagenets_weights_are_filled_in_and_what_lacks_is_said(self, zoo, net, tmp_path, capsys):
        stored = {name: value for name, value in mx.nd.load(str(zoo[1])).items() if name < "features.7.1"}
        mx.nd.save(str(tmp_path / "first.params"), stored)
        chosen = self.recipe_of("--imagenet", str(tmp_path / "first.params"))
        train_deeppose.TRAINING.fill_network(net, train_deeppose.TRAINING.make_context(*chosen, IBUG_68, [mx.cpu()]))
        assert "holds all layers but features.7.1.body.0, features.7.1.body.1" in capsys.readouterr().out

    def test_validation_measures_nme_and_the_mean_squared_error(self, net):
        faces = RenderedFaces(2, seed=4, size=96)
        spec = replace(SPEC, size=64)
        context = train_deeppose.TRAINING.make_context(*self.recipe_of(), IBUG_68, [mx.cpu()])
        context = replace(context, info=replace(context.info, spec=spec))
        validate = train_deeppose.TRAINING.make_validate(faces, context)
        numbers = validate(lambda x: mx.nd.full((2, 68, 2), 0.5))
        centre = 31.5
        plain = TrainingCrop(64, spec.box_margin, IBUG_68, Augmentation())
        truth = np.stack([plain(faces[k], np.random.default_rng(0))[1] for k in range(2)])
        assert numbers["mse"] == pytest.approx(np.mean((truth - centre) ** 2), rel=1e-4)
        expected = nme(np.full(truth.shape, centre), truth.astype(float), "outer_eye").mean()
        assert numbers["nme"] == pytest.approx(expected, rel=1e-4)
