"""FFLD: crop and gradients against SciPy and Eq. 12, CropNet and Align Loss by hand, stages, training, export."""

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd
from scipy.ndimage import map_coordinates

from gluon_models import describe, get_model, get_spec, save_weights
from gluon_models.blocks import parameter_count
from gluon_models.ffld.crop import AlignLoss, PatchCrop
from gluon_models.ffld.network import CropNet
from gluon_models.ffld.objective import RefinementObjective
from gluon_models.points import PointLoss
from gluon_models.weights import fill
from inference.exported import Exporter, read_mxnet, read_onnx, write_onnx

SPEC = get_spec("ffld_resnet18")
EYES = (0, 1)


def draw(shape, seed):
    return np.random.RandomState(seed).normal(0, 1, shape)


def build(num_landmarks=5, name="ffld_resnet18", active=True, **settings):
    """The network at its random start; `active` puts points inside the maps and lets the CropNets correct them."""
    mx.random.seed(3)
    net = get_model(name, num_landmarks=num_landmarks, **settings)
    net.initialize(mx.init.Xavier())
    net(mx.nd.zeros((1, 3, 224, 224)))
    if active:
        weight = net.cascade.baseline.points.weight
        weight.set_data(0.1 * weight.data())
    for k, refinement in enumerate(net.cascade.refinements if active else ()):
        weight = refinement.cropnet.offsets.weight
        weight.set_data(mx.nd.array(0.1 * draw(weight.shape, seed=k)))
    return net


def faces(count, seed=0):
    return mx.nd.array(draw((count, 3, 224, 224), seed))


def to_fractions(places, size):
    """Places on a map of that size, counted in its cells -> fractions of the crop."""
    return (np.asarray(places, float) + 0.5) / size


class TestParameters:
    @pytest.mark.parametrize(("num_landmarks", "count"), [(19, 1_463_536), (29, 1_630_256), (68, 2_280_464)])
    def test_resnet18_has_the_papers_count(self, num_landmarks, count):
        assert parameter_count(build(num_landmarks)) == count

    @pytest.mark.parametrize("num_stages", [1, 2, 3])
    def test_every_stage_brings_a_selection_and_a_cropnet(self, num_stages):
        cropnet = 2 * 76 + 9 * 76 * 128 + 9 * 128 * 128 + 76 * 128 + 3 * 2 * 128 + 128 * 38 + 38
        assert cropnet == 250_558
        selections = 76 * sum((32, 16, 16)[:num_stages])
        assert parameter_count(build(19, num_stages=num_stages)) == 706_998 + selections + num_stages * cropnet

    def test_resnet50_takes_the_same_levels(self):
        # The baseline at 68 landmarks has 1,550,744 (test_models.py); its last layer 512 * 2 + 2 per landmark.
        baseline = 1_550_744 - 49 * (512 * 2 + 2)
        assert parameter_count(build(19, "ffld_resnet50")) == baseline + 76 * (128 + 64 + 16) + 3 * 250_558


SIZE, CHANNELS = 20, 6
# Inside, at every edge and corner, partly and wholly outside; whole cells, halves and anything between.
PLACES = np.array(
    [
        [[9.5, 9.5], [4.3, 12.8], [0.0, 0.0], [19.0, 3.25], [-3.6, 8.1]],
        [[-0.2, 20.4], [7.0, 7.5], [-40.0, 5.5], [60.1, 90.7], [18.75, 18.6]],
    ]
)
LANDMARKS = PLACES.shape[1]


def crop_block(weights, size=SIZE, hybrid=False):
    block = PatchCrop(len(weights) // 4, weights.shape[1], size)
    block.initialize()
    block.selection.set_data(mx.nd.array(weights))
    block.hybridize(hybrid, static_alloc=hybrid, static_shape=hybrid)
    return block


def crop_in_scipy(maps, places, weights):
    """maps (N, C, S, S), places (N, K, 2) in cells, weights (4K, C) -> (N, 4K, 8, 8)."""
    patches = np.zeros((len(maps), len(weights), 8, 8))
    offsets = np.arange(8) - 3.5
    for face, row in np.ndindex(*patches.shape[:2]):
        x, y = places[face, row // 4]
        grid = np.meshgrid(y + offsets, x + offsets, indexing="ij")
        channel = np.tensordot(weights[row], maps[face], axes=1)
        # "grid-constant": a place between the edge and a whole cell beyond it still sees the edge, as in Eq. 5.
        patches[face, row] = map_coordinates(channel, grid, order=1, mode="grid-constant", cval=0)
    return patches


class TestCrop:
    maps = draw((2, CHANNELS, SIZE, SIZE), seed=1)
    weights = draw((4 * LANDMARKS, CHANNELS), seed=2)

    def cropped(self, maps, places):
        return crop_block(self.weights)(mx.nd.array(maps), mx.nd.array(to_fractions(places, SIZE))).asnumpy()

    def test_patches_are_equation_5(self):
        expected = crop_in_scipy(self.maps, PLACES, self.weights)
        np.testing.assert_allclose(self.cropped(self.maps, PLACES), expected, atol=2e-5)
        assert (expected[1, 8:16] == 0).all()  # the two landmarks far outside
        assert (np.abs(expected).max(axis=(2, 3)) > 0).sum() == 2 * 4 * LANDMARKS - 8

    @pytest.mark.parametrize("count", [1, 2])
    def test_hybridized_at_any_batch_size(self, count):
        block = crop_block(self.weights, hybrid=True)
        for faces_here in (2, count):
            maps, places = draw((faces_here, CHANNELS, SIZE, SIZE), seed=count), PLACES[[0, 1, 0]][:faces_here]
            found = block(mx.nd.array(maps), mx.nd.array(to_fractions(places, SIZE))).asnumpy()
            np.testing.assert_allclose(found, crop_in_scipy(maps, places, self.weights), atol=2e-5)

    def gradients(self, hybrid):
        """Of the sum of patches times `self.head`, to map, places in cells and selection."""
        block = crop_block(self.weights, hybrid=hybrid)
        maps, points = mx.nd.array(self.maps), mx.nd.array(to_fractions(PLACES, SIZE))
        maps.attach_grad()
        points.attach_grad()
        with autograd.record():
            patches = block(maps, points)
        patches.backward(mx.nd.array(self.head))
        return maps.grad.asnumpy(), points.grad.asnumpy() / SIZE, block.selection.grad().asnumpy()

    head = draw((2, 4 * LANDMARKS, 8, 8), seed=3)

    @pytest.mark.parametrize("hybrid", [False, True])
    def test_gradients_are_those_of_finite_differences(self, hybrid):
        to_map, to_places, to_weights = self.gradients(hybrid)

        def value(maps=self.maps, places=PLACES, weights=self.weights):
            return (crop_in_scipy(maps, places, weights) * self.head).sum()

        # Eq. 5 is linear in the map, in the selection and, between whole cells, in each coordinate: any step will do.
        rng = np.random.RandomState(4)
        for place in [tuple(rng.randint(0, n) for n in self.maps.shape) for _ in range(60)] + [(0, 0, 0, 0)]:
            step = np.zeros_like(self.maps)
            step[place] = 1
            assert to_map[place] == pytest.approx(value(maps=self.maps + step) - value(), abs=1e-3), place
        for place in [tuple(rng.randint(0, n) for n in self.weights.shape) for _ in range(20)]:
            step = np.zeros_like(self.weights)
            step[place] = 1
            assert to_weights[place] == pytest.approx(value(weights=self.weights + step) - value(), abs=1e-3), place
        checked = 0
        for place in np.ndindex(*PLACES.shape):
            if abs((PLACES[place] - 0.5) % 1) < 0.01:
                continue  # the patch lies on whole cells, where Eq. 5 has a corner
            step = np.zeros_like(PLACES)
            step[place] = 0.01
            slope = (value(places=PLACES + step) - value(places=PLACES - step)) / 0.02
            assert to_places[place] == pytest.approx(slope, abs=2e-3), place
            checked += 1
        assert checked >= 14

    def test_no_gradient_where_equation_5_has_a_corner(self):
        # Floor and ceiling are one there, and the terms of Eq. 12 cancel.
        _, to_places, _ = self.gradients(hybrid=False)
        assert (to_places[0, 0] == 0).all()

    def test_the_location_gradient_is_equation_12(self):
        """Eq. 12 as printed, floor, ceiling and all, with I = 0 beyond the map."""
        channel = np.tensordot(self.weights[4], self.maps[0], axes=1)  # of landmark 1's first channel
        x, y = PLACES[0, 1]

        def cell(n, m):
            return channel[n, m] if 0 <= n < SIZE and 0 <= m < SIZE else 0.0

        expected = np.zeros((8, 8))
        for q, p in np.ndindex(8, 8):
            y_q, x_p = y - 3.5 + q, x - 3.5 + p
            up, down, left, right = (int(f(v)) for v in (y_q, x_p) for f in (np.floor, np.ceil))
            y_d, y_u = 1 - (y_q - up), 1 - (down - y_q)
            expected[q, p] = (cell(up, right) - cell(up, left)) * y_d + (cell(down, right) - cell(down, left)) * y_u
        for q, p in [(0, 0), (0, 7), (3, 4), (7, 0)]:
            self.head = np.zeros((2, 4 * LANDMARKS, 8, 8))
            self.head[0, 4, q, p] = 1
            assert self.gradients(hybrid=True)[1][0, 1, 0] == pytest.approx(expected[q, p], abs=1e-4), (q, p)

    def test_the_location_gradient_by_hand(self):
        # I = 3 m + 7 n + 100, and Eq. 12 gives 3 along x and 7 along y wherever four cells of the map are around.
        rows, columns = np.mgrid[:SIZE, :SIZE]
        plane = mx.nd.array((3 * columns + 7 * rows + 100)[None, None])
        weights = np.array([[1.0], [0], [0], [0]])

        def slopes(place, q, p):
            points = mx.nd.array(to_fractions([[place]], SIZE))
            points.attach_grad()
            block = crop_block(weights)
            with autograd.record():
                value = block(plane, points)[0, 0, q, p]
            value.backward()
            return value.asscalar(), points.grad.asnumpy()[0, 0] / SIZE

        value, slope = slopes((9.25, 6.75), q=2, p=5)  # x_5 = 10.75, y_2 = 5.25
        assert value == pytest.approx(3 * 10.75 + 7 * 5.25 + 100, abs=1e-3)
        np.testing.assert_allclose(slope, [3, 7], rtol=1e-4)
        value, slope = slopes((2.75, 6.75), q=2, p=0)  # x_0 = -0.75: a quarter of column 0, at y_2 = 5.25 136.75
        assert value == pytest.approx(0.25 * 136.75, abs=1e-3)
        np.testing.assert_allclose(slope, [136.75, 0.25 * 7], rtol=1e-4)
        value, slope = slopes((9.25, 15.75), q=7, p=5)  # y_7 = 19.25: three quarters of row 19, at x_5 = 10.75 265.25
        assert value == pytest.approx(0.75 * 265.25, abs=1e-3)
        np.testing.assert_allclose(slope, [0.75 * 3, -265.25], rtol=1e-4)
        assert slopes((-9.25, 6.75), q=2, p=5)[0] == 0


class TestCropNet:
    def test_by_hand(self):
        net = CropNet(num_landmarks=1)
        net.initialize()
        patches = np.zeros((1, 4, 8, 8))
        net(mx.nd.array(patches))
        for parameter in net.collect_params().values():
            if parameter.name.endswith("weight"):
                parameter.set_data(mx.nd.zeros(parameter.shape))
            elif parameter.name.endswith("var"):
                parameter.set_data(mx.nd.full(parameter.shape, 1 - 1e-5))  # batch normalization adds the rest
        first, second, shortcut = (
            parameter for name, parameter in net.block.collect_params().items() if name.endswith("weight")
        )

        def put(parameter, place, value):
            values = parameter.data().asnumpy()
            values[place] = value
            parameter.set_data(mx.nd.array(values))

        put(net.norm.beta, 1, 0.5)  # channel 1 gains one half
        put(first, (5, 0, 1, 1), 1)  # channel 0 passes to channel 5,
        put(second, (5, 5, 1, 2), 3)  # where each cell takes three times its right neighbour,
        put(shortcut, (5, 1, 0, 0), 2)  # and twice channel 1 is added.
        put(net.offsets.weight, (0, 5), 1)
        put(net.offsets.weight, (1, 5), -10)
        put(net.offsets.bias, 1, 4)
        patches[0, 0, 3, 6], patches[0, 0, 1, 1] = 7, -50  # the ReLU between takes the -50
        patches[0, 1, 3, 5], patches[0, 1, 6, 6] = 2, 9
        # At (3, 5): 3 * 7 + 2 * (2 + 0.5) = 26; at (6, 6): 2 * (9 + 0.5) = 19; elsewhere 2 * 0.5. The largest is 26.
        np.testing.assert_allclose(net(mx.nd.array(patches)).asnumpy(), [[[26, -256]]], rtol=1e-5)


class TestStages:
    def test_untrained_stages_leave_the_baselines_points(self):
        net = build(active=False)
        answers = [answer.asnumpy() for answer in net.cascade(faces(2))]
        assert len(answers) == 4
        np.testing.assert_array_equal(answers[0], net.cascade.baseline(faces(2)).asnumpy())
        for answer in answers[1:]:
            np.testing.assert_array_equal(answer, answers[0])

    def test_each_stage_crops_at_the_points_of_the_one_before(self):
        net = build(num_stages=3)
        answers = [answer.asnumpy() for answer in net.cascade(faces(2))]
        points, maps = net.cascade.baseline.with_maps(mx.nd, faces(2))
        assert [each.shape for each in maps] == [(2, 32, 28, 28), (2, 16, 56, 56), (2, 16, 112, 112)]
        assert len(answers) == 4
        np.testing.assert_allclose(answers[0], points.asnumpy(), rtol=1e-5)
        for stage, refinement in enumerate(net.cascade.refinements):
            size = maps[stage].shape[-1]
            places = answers[stage] * size - 0.5
            patches = crop_in_scipy(maps[stage].asnumpy(), places, refinement.crop.selection.data().asnumpy())
            cells = refinement.cropnet(mx.nd.array(patches)).asnumpy()
            assert np.abs(cells).max() > 0.01
            np.testing.assert_allclose(answers[stage + 1], answers[stage] + cells / size, atol=1e-5)
        np.testing.assert_array_equal(net(faces(2)).asnumpy(), answers[-1])

    def test_hybridized_is_the_same_at_several_batch_sizes(self):
        net = build(68)
        expected = [answer.asnumpy() for answer in net.cascade(faces(3))]
        net.hybridize(static_alloc=True, static_shape=True)
        for count in (3, 1, 2, 3):
            for found, here in zip(net.cascade(faces(3)[:count]), expected):
                np.testing.assert_allclose(found.asnumpy(), here[:count], rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(net(faces(3)[:count]).asnumpy(), expected[-1][:count], rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("num_landmarks", [19, 68])
    def test_hybridized_gradients_are_the_same(self, num_landmarks):
        # At counts whose channels are, and are not, multiples of what oneDNN packs together.
        found = []
        for hybrid in (False, True):
            net = build(num_landmarks)
            net.hybridize(hybrid, static_alloc=hybrid, static_shape=hybrid)
            with autograd.record():
                loss = sum((answer - 0.3).square().sum() for answer in net.cascade(faces(2)))
            loss.backward()
            found.append([p.grad().asnumpy() for p in net.collect_params().values() if p.grad_req != "null"])
        for plain, hybrid in zip(*found):
            np.testing.assert_allclose(hybrid, plain, rtol=1e-2, atol=1e-3 * np.abs(plain).max())

    def test_it_starts_from_a_trained_baseline(self, tmp_path):
        baseline = get_model("resnet18_slim", num_landmarks=19)
        baseline.initialize(mx.init.Xavier())
        expected = baseline(faces(1)).asnumpy()
        save_weights(baseline, tmp_path / "best.params", describe("resnet18_slim", "aflw_19", num_landmarks=19))
        net = build(19, active=False)
        fill(net.cascade.baseline, tmp_path / "best.params")
        np.testing.assert_array_equal(net(faces(1)).asnumpy(), expected)


class TestTable6:
    """Which parameters hear of a loss on the last stage alone."""

    def reached(self, **settings):
        net = build(num_stages=2, **settings)
        net.hybridize(static_alloc=True, static_shape=True)
        with autograd.record():
            loss = (net(faces(2)) - 0.3).square().sum()
        loss.backward()

        def largest(block):
            gradients = [p.grad() for p in block.collect_params().values() if p.grad_req != "null"]
            return {float(gradient.abs().max().asscalar()) > 0 for gradient in gradients}

        baseline, refinements = net.cascade.baseline, net.cascade.refinements
        return {
            "up to the 56 x 56 map": largest(baseline.stem) | largest(baseline.stages[0]),
            "from the 56 x 56 map on": largest(baseline.stages[1]) | largest(baseline.points),
            "first refinement": largest(refinements[0]),
            "last refinement": largest(refinements[1]),
        }

    @pytest.mark.parametrize(
        ("maps", "locations", "to_map", "beyond"),
        [
            (True, True, {True}, {True}),
            (False, True, {True}, {True}),
            (True, False, {True}, {False}),
            (False, False, {False}, {False}),
        ],
    )
    def test_gradients_reach(self, maps, locations, to_map, beyond):
        assert self.reached(map_gradient=maps, location_gradient=locations) == {
            "up to the 56 x 56 map": to_map,
            "from the 56 x 56 map on": beyond,
            "first refinement": beyond,
            "last refinement": {True},
        }

    def test_the_map_is_trained_differently_without_its_own_gradient(self):
        gradients = []
        for maps in (True, False):
            net = build(num_stages=1, map_gradient=maps)
            with autograd.record():
                loss = (net(faces(2)) - 0.3).square().sum()
            loss.backward()
            gradients.append(net.cascade.baseline.stem[0].weight.grad().asnumpy())
        assert np.abs(gradients[0] - gradients[1]).max() > 0.01 * np.abs(gradients[1]).max()


class TestAlignLoss:
    """One landmark on a map that is dark but for the cell (9, 8), its one channel selected twofold."""

    truth = (8.5, 9.5)

    def loss(self, predicted, gaussian=True, known=1, truth=truth):
        maps = np.zeros((1, 1, SIZE, SIZE))
        maps[0, 0, 9, 8] = 3
        crop = crop_block(np.array([[2.0], [0], [0], [0]]))
        loss = AlignLoss(crop)
        loss.hybridize()
        arrays = [mx.nd.array(a) for a in (maps, to_fractions([[predicted]], SIZE), to_fractions([[truth]], SIZE))]
        for array in arrays:
            array.attach_grad()
        if not gaussian:
            loss(*arrays, mx.nd.array([[[known]]]))
            loss.remove_gaussian()
        with autograd.record():
            found = loss(*arrays, mx.nd.array([[[known]]]))
        found.backward()
        assert found.shape == (1,)
        return found.asscalar(), [array.grad.asnumpy() for array in arrays], crop.selection.grad().asnumpy()

    def test_zero_at_the_truth(self):
        assert self.loss(self.truth)[0] == 0

    def test_by_hand_without_the_gaussian(self):
        # One cell to the right, and 2 * 3 stands one cell further left in the patch: off by 6 in two places.
        assert self.loss((9.5, 9.5), gaussian=False)[0] == pytest.approx(2 * 6**2)
        # A quarter of a cell down: 6 becomes 4.5 and its neighbour 1.5.
        assert self.loss((8.5, 9.75), gaussian=False)[0] == pytest.approx(2 * 1.5**2, rel=1e-4)

    def test_by_hand_with_the_gaussian(self):
        # exp(-1/2) = 0.60653 to either side of 1, over their sum 2.21306: 0.27407, 0.45186, 0.27407. Two such bumps,
        # one cell apart, differ by 0.27407, 0.17780, -0.17780, -0.27407 along x.
        along_x = 2 * (0.27407**2 + 0.17780**2)
        along_y = 2 * 0.27407**2 + 0.45186**2
        assert self.loss((9.5, 9.5))[0] == pytest.approx(6**2 * along_x * along_y, rel=1e-4)

    def test_zeros_lie_around_the_patch(self):
        # The patch at (4.5, 5.5) spans the columns 1 to 8, rows 2 to 9: the bright cell is its last corner, and of its
        # bump only 2 x 2 cells are inside; the patch at (-9, -9) is dark.
        inside = (0.45186**2 + 0.27407**2) ** 2
        assert self.loss((-9, -9), truth=(4.5, 5.5))[0] == pytest.approx(6**2 * inside, rel=1e-4)

    def test_a_landmark_not_annotated_costs_nothing(self):
        value, (_, to_points, _), _ = self.loss((9.5, 9.75), known=0)
        assert value == 0
        assert (to_points == 0).all()

    @pytest.mark.parametrize("gaussian", [True, False])
    def test_its_gradient_moves_the_points_and_nothing_else(self, gaussian):
        _, (to_map, to_points, _), to_selection = self.loss((8.75, 9.25), gaussian)
        ends = [self.loss((8.75 + step, 9.25), gaussian)[0] for step in (0.01, -0.01)]
        assert to_points[0, 0, 0] / SIZE == pytest.approx((ends[0] - ends[1]) / 0.02, rel=1e-2)
        assert to_points[0, 0, 0] > 0 > to_points[0, 0, 1]
        assert (to_map == 0).all()
        assert (to_selection == 0).all()


def batch(num_landmarks=5, count=2):
    """Crops and points that cover the crop, the second landmark of the last face not annotated."""
    crops = np.random.RandomState(5).randint(0, 256, (count, 224, 224, 3)).astype("uint8")
    points = np.random.RandomState(6).uniform(40, 180, (count, num_landmarks, 2)).astype("float32")
    points[-1, 2] = np.nan
    return crops, points


def objective(net, losses):
    return RefinementObjective(net, losses, SPEC, EYES, [mx.cpu()])


class TestObjective:
    @pytest.mark.parametrize(
        "losses", [("normalized_l2", "l2", "l1", "align"), ("l1", "normalized_l1+normalized_l2", "align+l1", "l1")]
    )
    def test_any_loss_at_any_stage(self, losses):
        net, (crops, points_crop) = build(), batch()
        terms = objective(net, losses)(net, (crops, points_crop), mx.cpu())
        expected_names = [f"stage {i} {kind}" for i, kinds in enumerate(losses) for kind in kinds.split("+")]
        assert list(terms) == expected_names
        seen = mx.nd.array((crops.transpose(0, 3, 1, 2) - 127.5) / 127.5)
        _, maps = net.cascade.baseline.with_maps(mx.nd, seen)
        answers = net.cascade(seen)
        known = np.isfinite(points_crop).all(axis=2, keepdims=True)
        truth = np.where(known, points_crop, 0)
        distance = np.linalg.norm(points_crop[:, 0] - points_crop[:, 1], axis=1)
        for name, term in terms.items():
            stage, kind = int(name.split()[1]), name.split()[2]
            if kind == "align":
                level = max(stage, 1) - 1
                loss = AlignLoss(net.cascade.refinements[level].crop)
                expected = loss(maps[level], answers[stage], mx.nd.array((truth + 0.5) / 224), mx.nd.array(known))
            else:
                arrays = answers[stage].asnumpy() * 224 - 0.5, truth, known, distance
                expected = PointLoss(kind)(*map(mx.nd.array, arrays))
            np.testing.assert_allclose(term.asnumpy(), expected.asnumpy(), rtol=1e-3)
            assert (expected.asnumpy() > 0).all()

    def test_the_gaussian_is_removed_from_every_stage(self):
        net, arrays = build(), batch()
        chosen = objective(net, ("l1", "align", "l1", "align"))
        smooth = chosen(net, arrays, mx.cpu())
        chosen.remove_gaussian()
        plain = chosen(net, arrays, mx.cpu())
        for name in ("stage 1 align", "stage 3 align"):
            assert (plain[name].asnumpy() > smooth[name].asnumpy()).all()
        np.testing.assert_array_equal(plain["stage 2 l1"].asnumpy(), smooth["stage 2 l1"].asnumpy())

    @pytest.mark.parametrize("kind", ["l1", "align", "normalized_l1"])
    def test_eye_corners_are_asked_for_by_those_who_divide(self, kind):
        net, (crops, points_crop) = build(num_stages=1), batch()
        points_crop[0, 0] = np.nan
        chosen = objective(net, ("l1", kind))
        if kind == "normalized_l1":
            with pytest.raises(ValueError, match="no outer eye corners"):
                chosen(net, (crops, points_crop), mx.cpu())
        else:
            assert np.isfinite(chosen(net, (crops, points_crop), mx.cpu())[f"stage 1 {kind}"].asnumpy()).all()


@pytest.mark.slow  # MXNet's converter of symbols to ONNX takes about ten seconds for this network
def test_exported_files_answer_the_last_stage(tmp_path):
    net = build(19)
    crops = batch(count=3)[0]
    exporter = Exporter(net, SPEC, raw_input=False, ctx=mx.cpu())
    last = exporter.output(crops)
    assert np.abs(last - net.cascade(mx.nd.array(exporter.feed(crops)))[0].asnumpy()).max() > 1e-3
    files = exporter.write_mxnet(tmp_path / "net", crops)
    write_onnx(*files, tmp_path / "net.onnx", exporter.feed(crops), exporter.shapes(crops))
    for run in (read_mxnet(*files, mx.cpu()), read_onnx(tmp_path / "net.onnx")):
        for count in (1, 3):
            np.testing.assert_allclose(run(exporter.feed(crops[:count])), last[:count], rtol=1e-3, atol=1e-5)
