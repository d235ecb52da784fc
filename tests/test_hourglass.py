"""The modified stacked hourglass: blocks in NumPy, counts by hand, gradients, training, export, ImageNet weights."""

import json
from dataclasses import replace

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd
from mxnet.gluon.model_zoo import vision

import untrained
from datasets.heatmaps import HeatmapCodec
from datasets.markups import IBUG_68
from gluon_models import get_model, get_spec, hourglass
from gluon_models.__main__ import summarize
from gluon_models.blocks import lies_on_gpu
from gluon_models.hourglass import (
    SPEC,
    HeatmapLoss,
    HeatmapObjective,
    Hourglass,
    Lambda,
    LambdaBlock,
    OriginalBlock,
    Parts,
    Stack,
    StackMerge,
    load_backbone,
    target_heatmaps,
)
from inference.exported import Exporter, describe_graph, read_mxnet, read_onnx, write_onnx
from untrained import draw

SIDE, STRIDE = 32, 4  # of the crops and maps here; the network takes any side that halves often enough


def fill(block, seed=0):
    """Sets every parameter to reproducible numbers of a sane size, lambdas to other ones than the 1 they start at."""
    untrained.fill(block, seed)
    for k, parameter in enumerate(block.collect_params(".*lambda$").values()):
        values = np.random.RandomState((seed, k)).normal(0, 1, parameter.shape)
        parameter.set_data(mx.nd.array(0.6 + 0.2 * np.tanh(values)))


def built(block, *shapes):
    """The block with settled shapes and parameters as `fill` sets them."""
    block.initialize()
    block(*(mx.nd.zeros(shape) for shape in shapes))
    fill(block)
    return block


def small_net(**settings):
    """Two stacks of depth 2 and 16 channels on maps of 8 x 8 cells, 5 landmarks."""
    settings = {"num_landmarks": 5, "stacks": 2, "channels": 16, "depth": 2, "backbone_stride": STRIDE, **settings}
    mx.random.seed(0)
    net = get_model("hourglass_resnet50", **settings)
    net.initialize(mx.init.Xavier())
    net(mx.nd.zeros((1, 3, SIDE, SIDE)))
    return net


def faces(count=2, seed=1):
    return mx.nd.array(draw((count, 3, SIDE, SIDE), seed))


def convolve(maps, weight):
    """maps (C, H, W), weight (D, C, k, k) -> (D, H, W), zeros around."""
    kernel = weight.shape[-1]
    padded = np.pad(maps, [(0, 0), (kernel // 2,) * 2, (kernel // 2,) * 2])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), axis=(1, 2))
    return np.einsum("chwij,dcij->dhw", windows, weight)


class NumpyTwin:
    """Runs a block's layers in NumPy, taking its parameters by their paths, such as "body.0.0.weight"."""

    def __init__(self, block):
        parameters = block._collect_params_with_prefix()
        self._values = {path: each.data().asnumpy().astype(float) for path, each in parameters.items()}

    def __getitem__(self, path):
        return self._values[path]

    def conv_bn(self, maps, path):
        x = convolve(maps, self[f"{path}.0.weight"])
        gamma, beta, mean, variance = (
            self[f"{path}.1.{name}"][:, None, None] for name in ("gamma", "beta", "running_mean", "running_var")
        )
        return (x - mean) / np.sqrt(variance + 1e-5) * gamma + beta

    def body(self, maps, path):
        x = np.maximum(self.conv_bn(maps, f"{path}body.0"), 0)
        x = np.maximum(self.conv_bn(x, f"{path}body.1"), 0)
        return self.conv_bn(x, f"{path}body.2")

    def lambda_block(self, maps, path=""):
        """y = F(x) + lambda * x + BN(Conv1x1(ReLU(x)))."""
        active = np.maximum(maps, 0)
        return (
            self.body(active, path) + self[f"{path}scale.factor"].item() * maps + self.conv_bn(active, f"{path}branch")
        )

    def hourglass(self, maps, depth, path=""):
        height, width = maps.shape[1:]
        low = maps.reshape(-1, height // 2, 2, width // 2, 2).max(axis=(2, 4))
        low = self.lambda_block(low, f"{path}before.")
        inner = f"{path}inner."
        low = self.hourglass(low, depth - 1, inner) if depth > 1 else self.lambda_block(low, inner)
        low = self.lambda_block(low, f"{path}after.")
        return low.repeat(2, axis=1).repeat(2, axis=2) + self.conv_bn(maps, f"{path}skip")


class TestBlocks:
    def test_lambda_block_is_the_papers_sentence(self):
        block = built(LambdaBlock(16), (1, 16, 6, 6))
        maps = draw((16, 6, 6), seed=2)
        twin = NumpyTwin(block)
        assert abs(twin["scale.factor"].item() - 1) > 0.01
        np.testing.assert_allclose(block(mx.nd.array(maps[None])).asnumpy()[0], twin.lambda_block(maps), atol=1e-5)

    def test_original_block_in_numpy(self):
        block = built(OriginalBlock(16), (1, 16, 6, 6))
        maps = draw((16, 6, 6), seed=3)
        expected = NumpyTwin(block).body(np.maximum(maps, 0), "") + maps
        np.testing.assert_allclose(block(mx.nd.array(maps[None])).asnumpy()[0], expected, atol=1e-5)

    @pytest.mark.parametrize("hybrid", [False, True])
    def test_a_lambdas_product_on_a_gpu_is_its_convolution_on_a_cpu(self, monkeypatch, hybrid):
        x, weight = mx.nd.array(draw((2, 16, 3, 5), seed=4)), mx.nd.array(draw((2, 16, 3, 5), seed=5))
        found = []
        for on_gpu in (False, True):
            monkeypatch.setattr(hourglass, "lies_on_gpu", lambda parameter, on_gpu=on_gpu: on_gpu)
            block = Lambda(16)
            block.initialize()
            block.hybridize(hybrid)
            block.factor.set_data(mx.nd.full((1, 1, 1, 1), 0.3))
            x.attach_grad()
            with autograd.record():
                y = block(x)
            y.backward(weight)
            found.append([each.asnumpy() for each in (y, x.grad, block.factor.grad())])
        operators = {node["op"] for node in json.loads(block(mx.sym.var("x")).tojson())["nodes"]}
        assert operators == {"null", "broadcast_mul"}
        for convolution, product in zip(*found):
            np.testing.assert_allclose(product, convolution, rtol=1e-5)

    def test_where_a_parameter_lies(self):
        block = Lambda(16)
        assert not lies_on_gpu(block.factor)
        block.initialize()
        assert not lies_on_gpu(block.factor)
        block.factor.list_ctx = lambda: [mx.gpu(0)]
        assert lies_on_gpu(block.factor)

    @pytest.mark.parametrize("hybrid", [False, True])
    def test_lambda_multiplies_and_its_gradient_is_the_product(self, hybrid):
        block = Lambda(16)
        block.initialize(mx.init.Xavier())
        block.hybridize(hybrid)
        assert block.factor.data().asscalar() == 1
        block.factor.set_data(mx.nd.full((1, 1, 1, 1), 0.25))
        x, weight = mx.nd.array(draw((2, 16, 3, 5), seed=4)), mx.nd.array(draw((2, 16, 3, 5), seed=5))
        x.attach_grad()
        with autograd.record():
            answer = block(x)
            total = (answer * weight).sum()
        total.backward()
        np.testing.assert_allclose(answer.asnumpy(), 0.25 * x.asnumpy(), rtol=1e-6)
        np.testing.assert_allclose(x.grad.asnumpy(), 0.25 * weight.asnumpy(), rtol=1e-6)
        expected = (x.asnumpy() * weight.asnumpy()).sum()
        np.testing.assert_allclose(block.factor.grad().asscalar(), expected, rtol=1e-4)

    def test_hourglass_in_numpy(self):
        block = built(Hourglass(2, Parts(16)), (1, 16, 8, 12))
        maps = draw((16, 8, 12), seed=6)
        found = block(mx.nd.array(maps[None])).asnumpy()[0]
        np.testing.assert_allclose(found, NumpyTwin(block).hourglass(maps, 2), atol=1e-4)

    def test_stack_in_numpy(self):
        block = built(Stack(3, 1, Parts(16), "xavier"), (1, 16, 4, 4))
        maps, twin = draw((16, 4, 4), seed=7), NumpyTwin(block)
        features = twin.lambda_block(twin.hourglass(maps, 1, "hourglass."), "block.")
        features = np.maximum(twin.conv_bn(features, "features"), 0)
        scores = convolve(features, twin["score.weight"]) + twin["score.bias"][:, None, None]
        found = block(mx.nd.array(maps[None]))
        np.testing.assert_allclose(found[0].asnumpy()[0], features, atol=1e-4)
        np.testing.assert_allclose(found[1].asnumpy()[0], scores, atol=1e-4)

    @pytest.mark.parametrize("merge_lambda", [False, True])
    def test_stacks_are_joined_in_numpy(self, merge_lambda):
        shapes = (1, 16, 4, 4), (1, 16, 4, 4), (1, 3, 4, 4)
        block = built(StackMerge(Parts(16, merge_lambda=merge_lambda)), *shapes)
        start, features, maps = (draw(shape, seed) for seed, shape in enumerate(shapes))
        twin = NumpyTwin(block)
        factor = twin["merge.factor"].item() if merge_lambda else 1
        expected = twin.conv_bn(features[0], "features") + twin.conv_bn(maps[0], "maps") + factor * start[0]
        found = block(*map(mx.nd.array, (start, features, maps)))
        np.testing.assert_allclose(found.asnumpy()[0], expected, atol=1e-5)


# Parameters by hand; a convolution has none but its weights, its normalization two for each channel.
NARROW = 256 // 4
BODY = (256 * NARROW + 2 * NARROW) + (9 * NARROW * NARROW + 2 * NARROW) + (NARROW * 256 + 2 * 256)
ONE_BY_ONE = 256 * 256 + 2 * 256
LAMBDA_BLOCK = BODY + ONE_BY_ONE + 1
SCORE = 256 * 68 + 68
MERGE = ONE_BY_ONE + 68 * 256 + 2 * 256


def bottlenecks(count, channels, in_channels):
    """Gluon's: biases on the 1x1 convolutions, which its normalization makes void."""
    narrow = channels // 4
    each = narrow + 2 * narrow + 9 * narrow * narrow + 2 * narrow + narrow * channels + channels + 2 * channels
    first = in_channels * narrow + each + in_channels * channels + 2 * channels
    return first + (count - 1) * (channels * narrow + each)


BACKBONES = {
    4: 7 * 7 * 3 * 64 + 2 * 64 + bottlenecks(3, 256, 64),
    8: 7 * 7 * 3 * 64 + 2 * 64 + bottlenecks(3, 256, 64) + bottlenecks(4, 512, 256),
    16: 7 * 7 * 3 * 64 + 2 * 64 + bottlenecks(3, 256, 64) + bottlenecks(4, 512, 256) + bottlenecks(6, 1024, 512),
}
OUT_CHANNELS = {4: 256, 8: 512, 16: 1024}


def count_of(**settings):
    rows = summarize(get_model("hourglass_resnet50", **settings), (1, 3, 256, 256), depth=1)
    return sum(row.parameters for row in rows)


class TestNetwork:
    @pytest.mark.parametrize("stride", [4, 8, 16])
    def test_parameters_by_hand(self, stride):
        hourglass = 4 * (2 * LAMBDA_BLOCK + ONE_BY_ONE) + LAMBDA_BLOCK
        stack = hourglass + LAMBDA_BLOCK + ONE_BY_ONE + SCORE
        expected = BACKBONES[stride] + (OUT_CHANNELS[stride] * 256 + 512) + stack
        assert count_of(stacks=1, backbone_stride=stride) == expected
        if stride == SPEC.stride:
            # The default: three more stacks, each behind a merge; the last one builds none.
            assert expected + 3 * (stack + MERGE) == 8_680_760

    def test_parameters_of_the_options_by_hand(self):
        settings = {"stacks": 2, "depth": 3}
        usual = count_of(**settings)
        blocks = 2 * (2 * 3 + 1 + 1)
        assert usual - count_of(**settings, block="original") == blocks * (ONE_BY_ONE + 1)
        assert usual - count_of(**settings, block="lambda_fixed") == blocks
        assert count_of(**settings, skip="residual") - usual == 2 * 3 * (LAMBDA_BLOCK - ONE_BY_ONE)
        assert count_of(**settings, merge_lambda=True) - usual == 2 * 3 + 1

    @pytest.mark.parametrize(("version", "stride", "stages"), [("v1", 8, 2), ("v2", 16, 3)])
    def test_the_backbone_is_the_model_zoos_first_stages(self, version, stride, stages):
        net = small_net(stacks=1, depth=1, backbone_stride=stride, backbone_version=version)
        fill(net)
        zoo = getattr(vision, f"resnet50_{version}")()
        zoo.initialize()
        zoo(mx.nd.zeros((1, 3, SIDE, SIDE)))
        ours = net.cascade.backbone._collect_params_with_prefix()
        theirs = zoo.features._collect_params_with_prefix()
        last = 3 + stages + (version == "v2")
        for path, parameter in ours.items():
            if int(path.split(".")[0]) <= last:
                theirs[path].set_data(parameter.data())
        expected = faces()
        for layer in list(zoo.features)[: last + 1]:
            expected = layer(expected)
        if version == "v2":
            norm = ours[f"{last + 1}.gamma"], ours[f"{last + 1}.beta"]
            mean, variance = ours[f"{last + 1}.running_mean"], ours[f"{last + 1}.running_var"]
            gamma, beta, mean, variance = (each.data().reshape((1, -1, 1, 1)) for each in (*norm, mean, variance))
            expected = mx.nd.relu((expected - mean) / (variance + 1e-5).sqrt() * gamma + beta)
        found = net.cascade.backbone(faces())
        assert found.shape == (2, OUT_CHANNELS[stride], SIDE // stride, SIDE // stride)
        np.testing.assert_allclose(found.asnumpy(), expected.asnumpy(), rtol=1e-4, atol=1e-4)

    def test_the_network_answers_the_last_stacks_maps(self):
        net = small_net(stacks=3)
        fill(net)
        answers = [maps.asnumpy() for maps in net.cascade(faces())]
        assert [maps.shape for maps in answers] == [(2, 5, SIDE // STRIDE, SIDE // STRIDE)] * 3
        assert np.abs(answers[2] - answers[1]).max() > 1e-3
        np.testing.assert_array_equal(net(faces()).asnumpy(), answers[2])
        net.hybridize(static_alloc=True, static_shape=True)
        np.testing.assert_allclose(net(faces()).asnumpy(), answers[2], rtol=1e-4, atol=1e-5)
        for found, expected in zip(net.cascade(faces()), answers):
            np.testing.assert_allclose(found.asnumpy(), expected, rtol=1e-4, atol=1e-5)

    def test_each_stack_starts_from_the_merge_of_the_one_before(self):
        net = small_net(stacks=2)
        fill(net)
        cascade = net.cascade
        start = cascade.reduce(cascade.backbone(faces()))
        features, maps = cascade.stacks[0](start)
        _, expected = cascade.stacks[1](cascade.merges[0](start, features, maps))
        np.testing.assert_array_equal(net(faces()).asnumpy(), expected.asnumpy())

    def test_score_maps_start_at_zero_where_asked(self):
        assert np.abs(small_net()(faces()).asnumpy()).max() > 1e-3
        net = small_net(score_init="zeros")
        for maps in net.cascade(faces()):
            assert (maps.asnumpy() == 0).all()
        assert np.abs(net.cascade.stacks[0].features[0].weight.data().asnumpy()).max() > 0

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"backbone_stride": 32}, "no backbone of stride 32: choose 4, 8 or 16"),
            ({"block": "mu"}, "unknown block 'mu': choose one of lambda, lambda_fixed, original"),
            ({"depth": 6}, "depth 6"),
            ({"stacks": 0}, "0 stacks"),
            ({"frozen_stages": 4}, "a backbone of stride 8 has no 4 stages to freeze"),
        ],
    )
    def test_settings_that_cannot_be_are_refused(self, settings, message):
        with pytest.raises(ValueError, match=message):
            get_model("hourglass_resnet50", **settings)

    def test_spec_follows_the_backbones_stride(self):
        assert (SPEC.size, SPEC.stride, SPEC.output, SPEC.box_margin) == (256, 8, "heatmaps", 0.1)
        assert get_spec("hourglass_resnet50") == SPEC
        assert get_spec("hourglass_resnet50", num_landmarks=19, backbone_stride=16).stride == 16


TINY = replace(SPEC, size=SIDE, stride=STRIDE)
CODEC = HeatmapCodec(SIDE // STRIDE, STRIDE, SPEC.sigma)


def batch(count=4, num_landmarks=5):
    crops = np.random.RandomState(8).randint(0, 256, (count, SIDE, SIDE, 3)).astype(np.uint8)
    points_crop = np.random.RandomState(9).uniform(2, 30, (count, num_landmarks, 2)).astype("float32")
    points_crop[-1, 2] = np.nan
    return crops, points_crop


def objective(stride=STRIDE):
    return HeatmapObjective(HeatmapCodec(SIDE // stride, stride, SPEC.sigma).profiles, TINY, [mx.cpu()])


class TestTraining:
    def test_map_loss_by_hand(self):
        predicted, target = draw((2, 3, 4, 4), seed=10), draw((2, 3, 4, 4), seed=11)
        known = np.array([[1, 1, 0], [0, 0, 0]], "float32")
        found = HeatmapLoss()(*map(mx.nd.array, (predicted, target, known))).asnumpy()
        expected = ((predicted[0, :2] - target[0, :2]) ** 2).sum() / (2 * 16)
        np.testing.assert_allclose(found, [expected, 0], rtol=1e-5)

    def test_every_stack_is_compared_with_the_same_targets(self):
        net = small_net(stacks=3)
        fill(net)
        crops, points_crop = batch()
        terms = objective()(net, (crops, points_crop), mx.cpu())
        assert list(terms) == ["stack 1", "stack 2", "stack 3"]
        seen = (crops - np.array(SPEC.mean)) * np.array(SPEC.scale)
        target, known = CODEC.encode(points_crop)
        assert known.sum() == known.size - 1
        for maps, term in zip(net.cascade(mx.nd.array(seen.transpose(0, 3, 1, 2))), terms.values()):
            squares = ((maps.asnumpy() - target) ** 2).mean(axis=(2, 3))
            expected = np.where(known, squares, 0).sum(axis=1) / known.sum(axis=1)
            np.testing.assert_allclose(term.asnumpy(), expected, rtol=1e-3)

    def test_targets_made_on_the_device_are_the_codecs_to_the_last_bit(self):
        codec = HeatmapCodec(32, 8, 1.0)
        points_crop = np.random.RandomState(3).uniform(-20, 276, (6, 68, 2))
        points_crop[0, 0] = np.nan
        profiles, _ = codec.profiles(points_crop)
        expected, visible = codec.encode(points_crop)
        assert 0 < visible.sum() < visible.size
        np.testing.assert_array_equal(target_heatmaps(mx.nd.array(profiles)).asnumpy(), expected)

    def test_a_landmark_that_is_missing_moves_nothing(self):
        net = small_net(stacks=1)
        net.hybridize(static_alloc=True, static_shape=True)
        crops, points_crop = batch()
        points_crop[:, 3] = np.nan
        points_crop[:, 4] = -20  # beyond the crop
        with autograd.record():
            total = objective()(net, (crops, points_crop), mx.cpu())["stack 1"].sum()
        total.backward()
        gradient = np.abs(net.cascade.stacks[0].score.weight.grad().asnumpy()).max(axis=(1, 2, 3))
        assert (gradient[3:] == 0).all()
        assert (gradient[:3] > 0).all()

    @pytest.mark.parametrize("merge_lambda", [False, True])
    def test_every_lambda_receives_gradient_and_moves(self, merge_lambda):
        net = small_net(merge_lambda=merge_lambda)
        net.hybridize(static_alloc=True, static_shape=True)
        lambdas = {name: each for name, each in net.collect_params().items() if name.endswith("lambda")}
        # For each stack five blocks in an hourglass of depth 2 and one behind it; merges: two levels, and one between.
        assert len(lambdas) == 2 * 6 + (2 * 2 + 1 if merge_lambda else 0)
        assert all(each.data().asscalar() == 1 for each in lambdas.values())
        trainer = mx.gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 1e-3})
        terms, losses, farthest = objective(), [], dict.fromkeys(lambdas, 0.0)
        for _ in range(6):
            with autograd.record():
                total = sum(terms(net, batch(), mx.cpu()).values())
            total.backward()
            assert all(abs(each.grad().asscalar()) > 0 for each in lambdas.values())
            trainer.step(4)
            losses.append(total.mean().asscalar())
            for name, each in lambdas.items():
                farthest[name] = max(farthest[name], abs(each.data().asscalar() - 1))
        assert losses[-1] < 0.9 * losses[0]
        # Adam's first step is as long as the learning rate, whatever the gradient's size.
        assert min(farthest.values()) > 5e-4, farthest

    def test_a_fixed_lambda_stays_one(self):
        net = small_net(block="lambda_fixed")
        lambdas = [each for name, each in net.collect_params().items() if name.endswith("lambda")]
        assert len(lambdas) == 12
        trainer = mx.gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 1e-2})
        with autograd.record():
            total = sum(objective()(net, batch(), mx.cpu()).values())
        total.backward()
        trainer.step(4)
        assert all(each.data().asscalar() == 1 for each in lambdas)

    @pytest.mark.parametrize(("stages", "layers", "hybrid"), [(1, 4, False), (3, 6, True)])
    def test_frozen_stages_stay_and_the_rest_trains(self, stages, layers, hybrid):
        net = small_net(frozen_stages=stages, backbone_stride=8)
        net.hybridize(hybrid, static_alloc=hybrid, static_shape=hybrid)
        trainer = mx.gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 1e-2, "wd": 1e-2})
        matrices = {k: each for k, each in net._collect_params_with_prefix().items() if k.endswith("weight")}
        before = {path: each.data().asnumpy() for path, each in matrices.items()}
        with autograd.record():
            total = sum(objective(stride=8)(net, batch(), mx.cpu()).values())
        total.backward()
        trainer.step(4)
        stayed = {path for path, each in matrices.items() if (each.data().asnumpy() == before[path]).all()}
        frozen = tuple(f"cascade.backbone.{layer}." for layer in range(layers))
        assert stayed == {path for path in matrices if path.startswith(frozen)}
        assert len(stayed) == {1: 1, 2: 11, 3: 24}[stages]

    @pytest.mark.parametrize("hybrid", [False, True])
    def test_frozen_stages_see_a_face_in_training_as_in_use(self, hybrid):
        """Two stages; the batch's own statistics, far from the running ones of a new network, change nothing."""
        net = small_net(frozen_stages=2, backbone_stride=8)
        frozen = mx.gluon.nn.HybridSequential()
        frozen.add(*list(net.cascade.backbone)[:5])
        frozen.hybridize(hybrid)
        faces = mx.nd.random.normal(3.0, 2.0, (4, 3, SIDE, SIDE))
        with autograd.train_mode():
            trained = frozen(faces)
        np.testing.assert_allclose(trained.asnumpy(), frozen(faces).asnumpy(), rtol=1e-3, atol=1e-5)
        with autograd.train_mode():
            free = net.cascade.backbone[5](trained)
        assert not np.allclose(free.asnumpy(), net.cascade.backbone[5](trained).asnumpy(), rtol=0.1)

    @pytest.mark.parametrize(
        "settings",
        [
            {"score_init": "zeros"},
            {"block": "original", "skip": "residual", "num_landmarks": 19},
            {"backbone_version": "v2", "num_landmarks": 68},
            {"backbone_stride": 16, "depth": 1},
            {"backbone_stride": 8, "channels": 32},
        ],
        ids=lambda settings: " ".join(map(str, settings.values())),
    )
    def test_hybridized_gradients_are_those_operator_by_operator(self, settings):
        net = small_net(**settings)
        crops, points_crop = batch(2, settings.get("num_landmarks", 5))
        terms = objective(settings.get("backbone_stride", STRIDE))
        gradients = []
        for hybrid in (False, True):
            net.hybridize(hybrid, static_alloc=hybrid, static_shape=hybrid)
            with autograd.record():
                total = sum(terms(net, (crops, points_crop), mx.cpu()).values())
            total.backward()
            scores = [stack.score.weight.grad().asnumpy() for stack in net.cascade.stacks]
            gradients.append([*scores, net.cascade.reduce[0].weight.grad().asnumpy()])
        for plain, hybridized in zip(*gradients):
            assert np.isfinite(plain).all()
            np.testing.assert_allclose(hybridized, plain, rtol=1e-2, atol=1e-3 * np.abs(plain).max() + 1e-12)


def save_as_float16(net, path):
    """As the model zoo's files, matrices in half precision."""
    values = {name: each.data() for name, each in net._collect_params_with_prefix().items()}
    mx.nd.save(str(path), {name: each.astype("float16") if each.ndim == 4 else each for name, each in values.items()})


def zoo_file(path, name="resnet50_v1", classes=3):
    zoo = getattr(vision, name)(classes=classes)
    zoo.initialize()
    zoo(mx.nd.zeros((1, 3, SIDE, SIDE)))
    for seed, layer in enumerate(list(zoo.features)[:6]):
        fill(layer, seed)
    save_as_float16(zoo, path)
    return zoo


class TestBackboneWeights:
    def test_version_1_fills_all_of_the_backbone_and_nothing_else(self, tmp_path):
        zoo, net = zoo_file(tmp_path / "zoo.params"), small_net()
        before = net.cascade.reduce[0].weight.data().asnumpy()
        assert load_backbone(net, tmp_path / "zoo.params") == []
        theirs = zoo.features._collect_params_with_prefix()
        for path, parameter in net.cascade.backbone._collect_params_with_prefix().items():
            assert parameter.data().dtype == np.float32
            np.testing.assert_allclose(parameter.data().asnumpy(), theirs[path].data().asnumpy(), rtol=1e-3, atol=1e-6)
        np.testing.assert_array_equal(net.cascade.reduce[0].weight.data().asnumpy(), before)

    def test_version_2_lacks_the_normalization_that_ends_the_backbone(self, tmp_path):
        zoo_file(tmp_path / "zoo.params", "resnet50_v2")
        left = load_backbone(small_net(backbone_version="v2"), tmp_path / "zoo.params")
        names = ("gamma", "beta", "running_mean", "running_var")
        assert sorted(left) == sorted(f"features.6.{name}" for name in names)

    @pytest.mark.parametrize(("stored", "version"), [("resnet50_v2", "v1"), ("resnet18_v2", "v2")])
    def test_another_variant_says_which_was_expected(self, tmp_path, stored, version):
        zoo_file(tmp_path / "zoo.params", stored)
        with pytest.raises(ValueError, match=f"zoo.params does not hold resnet50_{version}: name parameters") as error:
            load_backbone(small_net(backbone_version=version), tmp_path / "zoo.params")
        assert "\n" not in str(error.value)

    def test_no_file_and_no_parameters(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="there is no such file; name parameters of Gluon's resnet50_v1"):
            load_backbone(small_net(), tmp_path / "none.params")
        (tmp_path / "text.params").write_text("not parameters")
        with pytest.raises(ValueError, match="cut short or no parameters file"):
            load_backbone(small_net(), tmp_path / "text.params")
        mx.nd.save(str(tmp_path / "list.params"), [mx.nd.zeros(3)])
        with pytest.raises(ValueError, match="does not hold resnet50_v1"):
            load_backbone(small_net(), tmp_path / "list.params")

    @pytest.mark.data
    def test_imagenet_weights(self, face_data):
        path = face_data("weights/resnet50_v1_imagenet.params")
        for stride in (8, 16):
            net = small_net(backbone_stride=stride, depth=1)
            assert load_backbone(net, path) == []
            # Trained statistics: the first normalization's are those of natural pictures' edges, far from 0 and 1.
            assert np.abs(net.cascade.backbone[1].running_var.data().asnumpy() - 1).max() > 0.5
            # Normalized input gives the next layers about unit size; untrained weights would not care about colour.
            assert 0.1 < net.cascade.backbone(faces()).asnumpy().std() < 10


def test_exported_files_answer_the_last_stacks_maps(tmp_path):
    net = small_net()
    fill(net)
    crops, _ = batch(3)
    exporter = Exporter(net, TINY, raw_input=True, ctx=mx.cpu())
    last = exporter.output(crops)
    normalized = (crops - np.array(SPEC.mean)) * np.array(SPEC.scale)
    stacks = net.cascade(mx.nd.array(normalized.transpose(0, 3, 1, 2)))
    np.testing.assert_allclose(last, stacks[1].asnumpy(), rtol=1e-3, atol=1e-4)
    assert np.abs(last - stacks[0].asnumpy()).max() > 1e-2
    files = exporter.write_mxnet(tmp_path / "net", crops)
    write_onnx(*files, tmp_path / "net.onnx", exporter.feed(crops), exporter.shapes(crops))
    for run in (read_mxnet(*files, mx.cpu()), read_onnx(tmp_path / "net.onnx")):
        for count in (1, 3):
            np.testing.assert_allclose(run(exporter.feed(crops[:count])), last[:count], rtol=1e-3, atol=1e-4)
            assert exporter.largest_difference(run, crops[:count]) < 0.05


def test_the_exported_files_instructions_lead_to_the_codecs_points():
    described = describe_graph(SPEC, False, IBUG_68)
    assert described["output"]["name"] == "heatmaps"
    assert described["output"]["shape"] == ["N", 68, 32, 32]
    maps, _ = CODEC.encode(np.array([[[13.0, 21.0]]]))
    row, column = np.unravel_index(maps[0, 0].argmax(), maps[0, 0].shape)
    a, b = (np.log(maps[0, 0, row, column + step] / maps[0, 0, row, column]) for step in (-1, 1))
    x_cell = column + (a - b) / (2 * (a + b))
    assert "x_cell = c + (a - b) / (2 * (a + b))" in described["use"]["heatmap_to_cell"]
    assert described["use"]["cell_to_crop"].startswith("x_crop = (x_cell + 0.5) * 8 - 0.5")
    assert (x_cell + 0.5) * STRIDE - 0.5 == pytest.approx(13.0, abs=1e-3)
