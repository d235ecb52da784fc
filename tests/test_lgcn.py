"""The local-global context network: counts, kernel, maps, losses and export, against the paper and other libraries."""

from dataclasses import replace

import mxnet as mx
import numpy as np
import onnxruntime
import pytest
from mxnet import autograd
from mxnet import onnx as mx_onnx
from mxnet.gluon import SymbolBlock
from scipy.ndimage import convolve
from scipy.special import log_softmax

from engine.memory import training_megabytes
from gluon_models import get_model
from gluon_models.blocks import parameter_count
from gluon_models.lgcn.network import LGCN, SPEC, Activation, KernelConvolution, dense_kernel, lgcn_64, lgcn_128
from gluon_models.lgcn.objective import (
    HeatmapCrossEntropy,
    HeatmapObjective,
    HeatmapSquares,
    PointHeatmaps,
    heatmap_weights,
)
from gluon_models.spec import Normalize

CPU = [mx.cpu()]
NAN = np.nan


def build(seed=0, **settings):
    """A small network whose layers keep the size of what goes through them, as trained normalization does."""
    net = LGCN(**{"num_landmarks": 5, "filters": 8, **settings})
    net.initialize()
    net(mx.nd.zeros((1, 1, 8, 8)))
    rng = np.random.RandomState(seed)
    for parameter in net.collect_params().values():
        if parameter.name.endswith("weight"):
            inputs = np.prod(parameter.shape[1:])
            parameter.set_data(mx.nd.array(rng.normal(0, 10 * np.sqrt(2 / inputs), parameter.shape)))
        elif parameter.name.endswith(("bias", "beta")):
            parameter.set_data(mx.nd.array(rng.normal(0, 0.1, parameter.shape)))
    return net


def count(net):
    net.initialize()
    net(mx.nd.zeros((1, 1, 8, 8)))
    return parameter_count(net)


class TestNetwork:
    def test_the_papers_counts(self):
        # 2.5 M of the 128-filter network are in five 5x5 and ten 3x3 convolutions.
        assert count(lgcn_128()) == 4_192_468
        assert count(lgcn_64()) == 1_096_980

    def test_the_side_branch_is_what_the_paper_leaves_out(self):
        # Its 1x1 convolution with bias and normalization, and the 3x3 weights that look at its maps.
        side = (64 * 68 + 68) + 2 * 68 + 9 * 68 * 64
        assert count(lgcn_64(side_branch=False)) == 1_096_980 - side
        assert count(lgcn_128(side_branch=False)) == 4_105_224

    def test_what_it_sees_is_the_authors_input(self):
        crops = np.zeros((1, 2, 2, 3), np.uint8)
        crops[0, 0, 1], crops[0, 1, 0], crops[0, 1, 1] = 128, 255, (255, 0, 0)
        normalize = Normalize(SPEC)
        normalize.initialize()
        gray = np.array([[0, 128], [255, 0.299 * 255]])
        np.testing.assert_allclose(
            normalize(mx.nd.array(crops, dtype="uint8")).asnumpy()[0, 0], (gray / 128 - 1) * 0.1, atol=1e-6
        )

    def test_the_start_is_he_normal_times_0_141421(self):
        mx.random.seed(3)
        net = lgcn_64()
        net.initialize(mx.init.Xavier())
        net(mx.nd.zeros((1, 1, 8, 8)))
        layers = net.cascade.local_context.layers
        weights = [layers[i].weight.data().asnumpy() for i in (0, 2, 20)]
        weights.append(np.hstack([each.weight.data().asnumpy() for each in net.cascade.global_context.first]))
        for weight in weights:
            inputs = np.prod(weight.shape[1:])
            assert weight.std() == pytest.approx(0.141421 * np.sqrt(2 / inputs), rel=0.05)
        assert np.abs(layers[0].bias.data().asnumpy()).max() == 0

    def test_each_layer_is_a_tenth_of_relu_and_drops_a_tenth(self):
        block = Activation()
        block.initialize()
        x = mx.nd.array(np.random.RandomState(0).normal(3, 2, (4, 2, 50, 50)))
        np.testing.assert_allclose(block(x).asnumpy(), 0.1 * np.maximum(x.asnumpy(), 0), rtol=1e-4)
        with autograd.train_mode():
            got = block(x).asnumpy()
        normal = (x.asnumpy() - x.asnumpy().mean((0, 2, 3), keepdims=True)) / x.asnumpy().std((0, 2, 3), keepdims=True)
        kept = got != 0
        assert (kept.sum() / (normal > 0).sum()) == pytest.approx(0.9, abs=0.01)
        np.testing.assert_allclose(got[kept], 0.1 * normal[kept] / 0.9, rtol=1e-3, atol=1e-5)

    def test_the_answer_is_equation_2(self):
        net = build()
        faces = mx.nd.random.uniform(-0.1, 0.1, (2, 1, 24, 24))
        maps, side = (each.asnumpy() for each in net.cascade.local_context(faces))
        blurred = [blur_with_scipy(each) * 0.01 for each in (maps, side)]
        local, full = (each.asnumpy() for each in net.cascade(faces))
        np.testing.assert_allclose(local, blurred[0], atol=1e-5)
        corrections = net.cascade.global_context(*map(mx.nd.array, blurred)).asnumpy()
        np.testing.assert_allclose(full, blurred[0] + corrections, atol=1e-5)
        assert np.abs(corrections).max() > 1e-4
        np.testing.assert_array_equal(net(faces).asnumpy(), full)

    def test_the_convolutions_after_the_side_branch_are_one_over_both_sets(self):
        net = build()
        first = net.cascade.global_context.first
        sets = [np.random.RandomState(i).normal(0, 1, (1, 5, 20, 20)).astype("f") for i in range(2)]
        weight = np.concatenate([each.weight.data().asnumpy() for each in first], axis=1)
        joined = mx.nd.Convolution(
            mx.nd.array(np.concatenate(sets, axis=1)),
            mx.nd.array(weight),
            first[0].bias.data(),
            kernel=(3, 3),
            dilate=(4, 4),
            pad=(4, 4),
            num_filter=8,
        )
        apart = first[0](mx.nd.array(sets[0])) + first[1](mx.nd.array(sets[1]))
        np.testing.assert_allclose(apart.asnumpy(), joined.asnumpy(), rtol=1e-5, atol=1e-4)
        assert first[1].bias is None

    def test_shifting_the_image_shifts_the_maps(self):
        net = build()
        picture = np.zeros((1, 1, 200, 216), "f")
        picture[:, :, 90:106, 95:111] = np.random.RandomState(1).uniform(-0.1, 0.1, (16, 16))
        moved = np.roll(picture, (3, -5), axis=(2, 3))
        maps, moved_maps = net(mx.nd.array(picture)).asnumpy(), net(mx.nd.array(moved)).asnumpy()
        assert maps.shape == (1, 5, 200, 216)
        # A cell sees 20 pixels by the local layers, 22 by the kernel, 28 by the dilated ones; border effects reach so
        # far, and 3 layers of zeros more at most.
        inner = np.s_[:, :, 80:-80, 80:-80]
        np.testing.assert_allclose(moved_maps[inner], np.roll(maps, (3, -5), axis=(2, 3))[inner], atol=3e-5)
        assert np.ptp(maps[inner]) > 1e-3

    def test_any_size_by_one_hybridized_network(self):
        net = build()
        faces = [mx.nd.random.uniform(-0.1, 0.1, (1, 1, *shape)) for shape in ((24, 24), (31, 50), (24, 24))]
        expected = [net(each).asnumpy() for each in faces]
        net.hybridize(static_alloc=True, static_shape=True)
        for face, answer in zip(faces, expected):
            np.testing.assert_allclose(net(face).asnumpy(), answer, atol=1e-5)

    def test_dropout_goes_on_at_prediction_when_asked(self):
        net = build()
        net.hybridize()
        faces = mx.nd.random.uniform(-0.1, 0.1, (1, 1, 24, 24))
        plain = net(faces).asnumpy()
        net.sample_dropout()
        first, second = net(faces).asnumpy(), net(faces).asnumpy()
        assert np.abs(first - second).max() > 1e-4
        net.sample_dropout(False)
        np.testing.assert_allclose(net(faces).asnumpy(), plain, atol=1e-6)

    def test_dropout_can_be_left_out_of_training(self):
        faces = mx.nd.random.uniform(-0.1, 0.1, (1, 1, 24, 24))

        def answers(net):
            net.hybridize()
            with autograd.train_mode():
                return [net(faces).asnumpy() for _ in range(2)]

        first, second = answers(build())
        assert np.abs(first - second).max() > 1e-4
        first, second = answers(build(dropout=0.0))
        np.testing.assert_array_equal(first, second)

    def test_with_a_background_the_answers_are_shares_of_each_cell(self):
        net = build(background=True)
        faces = mx.nd.random.uniform(-0.1, 0.1, (2, 1, 24, 24))
        logits = net.cascade(faces)[-1].asnumpy()
        assert logits.shape == (2, 6, 24, 24)
        expected = np.exp(log_softmax(logits, axis=1))[:, :5]
        np.testing.assert_allclose(net(faces).asnumpy(), expected, atol=1e-6)

    @pytest.mark.parametrize(
        ("settings", "answers", "gain"),
        [
            ({"kernel": "labels"}, 2, 1.0),
            ({"kernel": "none", "side_branch": False, "global_context": False}, 1, 1.0),
            ({"side_branch": False, "global_context": False}, 1, 0.01),
        ],
    )
    def test_without_its_parts(self, settings, answers, gain):
        net = build(**settings)
        faces = mx.nd.random.uniform(-0.1, 0.1, (1, 1, 24, 24))
        maps = net.cascade(faces)
        assert len(maps) == answers
        local = net.cascade.local_context(faces)[0].asnumpy()
        expected = blur_with_scipy(local) * gain if settings.get("kernel", "implicit") == "implicit" else local
        np.testing.assert_allclose(maps[0].asnumpy(), expected, atol=1e-5)

    @pytest.mark.parametrize("background", [False, True])
    def test_export(self, tmp_path, background):
        net = build(background=background)
        faces = mx.nd.random.uniform(-0.1, 0.1, (2, 1, 24, 24))
        expected = net(faces).asnumpy()
        net.hybridize()
        net(faces)
        net.export(str(tmp_path / "net"))
        symbol, params = str(tmp_path / "net-symbol.json"), str(tmp_path / "net-0000.params")
        with pytest.warns(UserWarning, match="Cannot decide type"):
            again = SymbolBlock.imports(symbol, ["data"], params)
        np.testing.assert_allclose(again(faces).asnumpy(), expected, atol=1e-5)
        path = tmp_path / "net.onnx"
        mx_onnx.export_model(symbol, params, [faces.shape], ["float32"], str(path))
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        (got,) = session.run(None, {"data": faces.asnumpy()})
        # The two runtimes add up hundreds of float32 products in different orders.
        np.testing.assert_allclose(got, expected, atol=1e-4 * np.abs(expected).max())


def blur_with_scipy(maps):
    """Dense convolution with the kernel of Eq. 1, zeros around the maps (N, C, H, W)."""
    return convolve(maps.astype(float), dense_kernel()[None, None], mode="constant")


class TestKernel:
    def test_it_is_the_papers(self):
        kernel = dense_kernel()
        assert kernel.shape == (45, 45)
        assert kernel[22, 22] == 1
        assert kernel[22, 23] == pytest.approx(0.903277, abs=1e-6)
        assert kernel.sum() == pytest.approx(202.271, abs=1e-3)

    def test_it_is_equation_1_where_no_gaussian_is_cut(self):
        x, y = 1, 2
        normal = [np.exp(-(x * x + y * y) / (2 * s * s)) / (2 * np.pi * s * s) for s in (1, 3, 5, 7, 9)]
        expected = 2 * np.pi / 5 * sum((2 * s - 1) ** 2 * normal[s - 1] for s in range(1, 6))
        assert dense_kernel()[22 + y, 22 + x] == pytest.approx(expected)

    @pytest.mark.parametrize("shape", [(1, 3, 96, 96), (2, 1, 20, 33), (1, 2, 1, 60)])
    def test_passes_equal_the_dense_convolution(self, shape):
        # Points, as targets are, and maps as large as the network's.
        maps = (np.random.RandomState(0).uniform(0, 1, shape) < 0.01).astype("f")
        np.testing.assert_allclose(KernelConvolution()(mx.nd.array(maps)).asnumpy(), blur_with_scipy(maps), atol=1e-5)
        maps = np.random.RandomState(0).normal(0, 0.05, shape).astype("f")
        np.testing.assert_allclose(KernelConvolution()(mx.nd.array(maps)).asnumpy(), blur_with_scipy(maps), atol=1e-5)

    def test_its_gradient_is_the_same_convolution(self):
        maps = mx.nd.random.normal(0, 1, (1, 2, 30, 26))
        upstream = mx.nd.random.normal(0, 1, (1, 2, 30, 26))
        for hybrid in (False, True):
            block = KernelConvolution()
            block.hybridize(hybrid)
            maps.attach_grad()
            with autograd.record():
                answer = block(maps)
            answer.backward(upstream)
            # K is symmetric, so the transposed convolution is the convolution.
            np.testing.assert_allclose(maps.grad.asnumpy(), blur_with_scipy(upstream.asnumpy()), atol=1e-4)


class TestTargets:
    def test_a_point_is_shared_among_four_pixels(self):
        points = mx.nd.array([[[2.25, 1.5], [0.0, 3.0], [4.5, -0.25], [9.0, 9.0]]])
        maps = PointHeatmaps(blurs=False)(mx.nd.zeros((1, 1, 4, 5)), points, mx.nd.ones((1, 4))).asnumpy()[0]
        expected = np.zeros((4, 4, 5))
        expected[0, 1, 2:4] = expected[0, 2, 2:4] = 0.375, 0.125
        expected[1, 3, 0] = 1
        expected[2, 0, 4] = 0.5 * 0.75  # the rest lies beyond the border
        np.testing.assert_allclose(maps, expected, atol=1e-6)

    def test_blurred_targets_are_the_maps_convolved_with_the_kernel(self):
        points = mx.nd.array(np.random.RandomState(0).uniform(-3, 40, (2, 6, 2)))
        labelled = mx.nd.array(np.random.RandomState(1).uniform(0, 1, (2, 6)) < 0.8)
        like = mx.nd.zeros((2, 6, 30, 38))
        plain = PointHeatmaps(blurs=False)(like, points, labelled).asnumpy()
        blurred = PointHeatmaps(blurs=True)
        blurred.hybridize()
        np.testing.assert_allclose(blurred(like, points, labelled).asnumpy(), blur_with_scipy(plain), atol=1e-5)
        assert (plain.sum((2, 3)) > 0).sum() < labelled.sum().asscalar()  # some lie outside


class TestLoss:
    def test_weights_by_hand(self):
        # Four landmarks: seen, beyond the crop, not labelled, seen on the outermost pixel.
        points = np.array([[[5.0, 5.0], [96.0, 5.0], [NAN, NAN], [95.4, -0.5]]])
        weights = heatmap_weights(points, 96)
        # Half of the four are to be seen: 0.5 / 2 = 0.25 for each labelled one, 0.1 besides, 1 for those seen.
        np.testing.assert_allclose(weights.landmarks, [[1.35, 0.35, 0, 1.35]])
        np.testing.assert_allclose(weights.labelled, [[1, 1, 0, 1]])
        np.testing.assert_allclose(weights.background, [0.35])

    def test_a_picture_without_a_face_counts_a_tenth(self):
        weights = heatmap_weights(np.full((1, 68, 2), -1000.0), 96)
        np.testing.assert_allclose(weights.landmarks, 0.1)
        np.testing.assert_allclose(weights.background, 0.1)
        assert weights.labelled.all()

    def test_squares_by_hand(self):
        maps = mx.nd.array(np.arange(4).reshape(1, 2, 1, 2))
        targets = mx.nd.zeros((1, 2, 1, 2))
        weights, labelled = mx.nd.array([[2.0, 0.5]]), mx.nd.array([[1.0, 1.0]])
        # Sums of squares over the cells: 0 + 1 and 4 + 9.
        assert HeatmapSquares()(maps, targets, weights, labelled).asscalar() == pytest.approx(0.05 * (2 + 6.5))
        assert HeatmapSquares(False)(maps, targets, weights, labelled).asscalar() == pytest.approx(0.05 * 14)

    def test_slopes_by_hand(self):
        errors = np.zeros((1, 1, 3, 3), "f")
        errors[0, 0, 1, 1], errors[0, 0, 0, 2] = 2.0, 1.0
        one = mx.nd.ones((1, 1))
        loss = HeatmapSquares(slopes=True)(mx.nd.array(errors), mx.nd.zeros((1, 1, 3, 3)), one, one)
        # Heights 4 + 1; down the columns 2 steps of 2 and one of 1, along the rows the same.
        assert loss.asscalar() == pytest.approx(0.05 * (5 + 20 * (9 + 9)))

    def test_cross_entropy_by_hand(self):
        # One cell, two landmarks and background with logits 1, 2, 0.5.
        logits = np.array([1.0, 2.0, 0.5])
        targets, weights = [0.9, 0.3], [1.5, 0.4]
        maps = mx.nd.array(logits.reshape(1, 3, 1, 1))
        got = HeatmapCrossEntropy()(
            maps, mx.nd.array(targets).reshape((1, 2, 1, 1)), mx.nd.array([weights]), mx.nd.ones((1, 2)), mx.nd.ones(1)
        )
        logs = log_softmax(logits)  # the targets share the cell as 0.75 and 0.25, and nothing is left
        assert got.asscalar() == pytest.approx(-0.05 * (1.5 * 0.75 * logs[0] + 0.4 * 0.25 * logs[1]))

        # The second one not labelled: its logit is out, the first takes 0.9, background 0.1 at weight 0.6.
        targets, labelled = mx.nd.array([0.9, 0.0]).reshape((1, 2, 1, 1)), mx.nd.array([[1.0, 0.0]])
        got = HeatmapCrossEntropy()(maps, targets, mx.nd.array([[1.5, 0.0]]), labelled, mx.nd.array([0.6]))
        logs = log_softmax(logits[[0, 2]])
        assert got.asscalar() == pytest.approx(-0.05 * (1.5 * 0.9 * logs[0] + 0.6 * 0.1 * logs[1]))

    @pytest.mark.parametrize("loss", ["square", "square_eq4", "square_slopes", "cross_entropy"])
    def test_objective(self, loss):
        """Both terms recomputed with NumPy and SciPy from the network's own maps."""
        net = build(background=loss == "cross_entropy")
        objective = HeatmapObjective(net, loss, replace(SPEC, size=24), CPU)
        rng = np.random.RandomState(0)
        crops = rng.randint(0, 256, (2, 24, 24, 3)).astype(np.uint8)
        points = rng.uniform(-4, 27, (2, 5, 2))
        points[0, 3] = NAN
        terms = objective(net, (crops, points.astype("f")), mx.cpu())
        gray = (crops @ [0.299, 0.587, 0.114]).astype("f")[:, None]
        answers = [each.asnumpy() for each in net.cascade(mx.nd.array((gray / 128 - 1) * 0.1))]
        weights = heatmap_weights(points, 24)
        targets = blur_with_scipy(bilinear(points, 24))
        for name, maps in zip(("local", "full"), answers):
            each = weights.landmarks if name == "local" or loss != "square_eq4" else weights.labelled
            if loss == "cross_entropy":
                maps = np.concatenate([np.where(np.isnan(points[:, :, :1, None]), -1e9, maps[:, :-1]), maps[:, -1:]], 1)
                shares = targets / np.maximum(1, targets.sum(1, keepdims=True))
                shares = np.concatenate([shares, 1 - shares.sum(1, keepdims=True)], axis=1)
                each = np.concatenate([each, weights.background[:, None]], axis=1)
                errors = -(shares * log_softmax(maps, axis=1)).sum((2, 3))
            else:
                errors = ((maps - targets) ** 2).sum((2, 3))
            if loss == "square_slopes":
                slopes = (np.diff(maps - targets, axis=axis) for axis in (2, 3))
                errors = errors + 20 * sum((each_axis**2).sum((2, 3)) for each_axis in slopes)
            np.testing.assert_allclose(terms[name].asnumpy(), 0.05 * (each * errors).sum(1), rtol=1e-4)

    def test_a_missing_landmark_moves_nothing(self):
        net = build()
        objective = HeatmapObjective(net, "square", replace(SPEC, size=24), CPU)
        crops = np.random.RandomState(0).randint(0, 256, (1, 24, 24, 3)).astype(np.uint8)
        points = np.full((1, 5, 2), 12.0, "f")
        points[0, 2] = NAN
        with autograd.record():
            loss = sum(objective(net, (crops, points), mx.cpu()).values())
        loss.backward()
        gradient = net.cascade.global_context.maps.weight.grad().asnumpy()
        assert np.abs(gradient[2]).max() == 0
        assert (np.abs(gradient[[0, 1, 3, 4]]).max(axis=(1, 2, 3)) > 0).all()

    def test_the_local_subnet_is_taught_by_both_terms_and_by_finite_differences(self):
        net = build(side_branch=False, num_landmarks=2, filters=4)
        objective = HeatmapObjective(net, "square", replace(SPEC, size=24), CPU)
        crops = np.random.RandomState(0).randint(0, 256, (2, 24, 24, 3)).astype(np.uint8)
        points = np.random.RandomState(1).uniform(2, 21, (2, 2, 2)).astype("f")
        bias = net.cascade.local_context.maps.bias

        def total(value):
            bias.set_data(mx.nd.array(value))
            return sum(float(each.sum().asscalar()) for each in objective(net, (crops, points), mx.cpu()).values())

        start = bias.data().asnumpy()
        with autograd.record(train_mode=False):
            loss = sum(objective(net, (crops, points), mx.cpu()).values())
        loss.backward(train_mode=False)
        gradient = bias.grad().asnumpy()
        step = np.array([0.02, 0.0], "f")
        assert gradient[0] == pytest.approx((total(start + step) - total(start - step)) / 0.04, rel=0.02)


def bilinear(points, size):
    """Each labelled point's map (N, K, size, size), pixel by pixel."""
    maps = np.zeros((*points.shape[:2], size, size))
    for index in np.ndindex(*points.shape[:2]):
        if np.isfinite(points[index]).all():
            x, y = points[index]
            left, top = int(np.floor(x)), int(np.floor(y))
            for column, share_x in ((left, left + 1 - x), (left + 1, x - left)):
                for row, share_y in ((top, top + 1 - y), (top + 1, y - top)):
                    if 0 <= column < size and 0 <= row < size:
                        maps[(*index, row, column)] += share_x * share_y
    return maps


def test_a_few_steps_find_the_points_of_one_face():
    """Both subnets learn: after some steps the maps peak at the points."""
    mx.random.seed(1)
    net = LGCN(num_landmarks=3, filters=8)
    net.initialize()
    objective = HeatmapObjective(net, "square", replace(SPEC, size=32), CPU)
    crops = np.random.RandomState(0).randint(0, 256, (2, 32, 32, 3)).astype(np.uint8)
    points = np.array([[[8, 9], [20, 11], [14, 22]], [[10, 20], [16, 8], [24, 24]]], "f")
    net(mx.nd.zeros((1, 1, 32, 32)))
    trainer = mx.gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 5e-3})
    losses = []
    for _ in range(60):
        with autograd.record():
            terms = objective(net, (crops, points), mx.cpu())
            loss = terms["local"] + terms["full"]
        loss.backward()
        trainer.step(2)
        losses.append(float(loss.mean().asscalar()))
    assert losses[-1] < 0.3 * losses[0]


def test_saving_memory_changes_no_number_and_plans_less():
    """ReLU, gain and dropout commute, as their factors are not negative."""
    faces, results, planned = mx.nd.random.uniform(-0.1, 0.1, (2, 1, 96, 96)), [], []
    for saves in (False, True):
        mx.random.seed(0)
        net = get_model("lgcn_64", num_landmarks=5, filters=8)
        net.initialize(mx.init.Xavier())
        net(faces)
        planned.append(training_megabytes(net, (64, 1, 96, 96)))
        if saves:
            net.save_memory()
            planned.append(training_megabytes(net, (64, 1, 96, 96)))
        mx.random.seed(1)
        with mx.autograd.record():
            loss = (net(faces) ** 2).sum()
        loss.backward()
        results.append([net(faces), *(p.grad() for p in net.collect_params().values() if p.grad_req != "null")])
    for usual, saved in zip(*results):
        np.testing.assert_array_equal(usual.asnumpy(), saved.asnumpy())
    assert planned[2] < 0.9 * planned[1] == 0.9 * planned[0]
