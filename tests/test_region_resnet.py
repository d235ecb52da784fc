"""Region ResNets: parts against the markups, cuts against SciPy, cascades and losses by hand, stem, export."""

import re

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd
from scipy.ndimage import map_coordinates

from datasets.markups import MARKUPS, get_markup
from gluon_models import get_model, get_spec
from gluon_models.blocks import freeze, parameter_count
from gluon_models.regions import objective as region_objective
from gluon_models.regions.bound import TrueBoxes
from gluon_models.regions.crop import MARGIN, OFFSET, PartCut, gather, landmark_boxes, put_back, widen
from gluon_models.regions.network import (
    IMAGENET_DEVIATION,
    IMAGENET_MEAN,
    Design,
    RegionResNet,
    is_frozen,
    load_stem,
    networks_of,
)
from gluon_models.regions.objective import RegionObjective, part_boxes
from gluon_models.regions.parts import JAW, LANDMARKS, PARTS, parts_of
from inference.exported import Exporter, read_mxnet, read_onnx, write_onnx

SPEC = get_spec("region_parts")
SMALL = {"channels": (8, 8, 16)}
EYES = (36, 45)


def draw(shape, seed, low=0.0, high=1.0):
    return np.random.RandomState(seed).uniform(low, high, shape).astype("float32")


def build(name, num_landmarks=68, **design):
    """A network of few channels at its random start."""
    mx.random.seed(5)
    net = get_model(name, num_landmarks=num_landmarks, **{**SMALL, **design})
    net.initialize(mx.init.Xavier())
    net(mx.nd.zeros((1, 3, 224, 224)))
    return net


@pytest.fixture(scope="module")
def faces():
    return mx.nd.array(draw((2, 3, 224, 224), seed=1))


class TestParts:
    @pytest.mark.parametrize("markup", [each for each in MARKUPS if each.num_landmarks > 5], ids=lambda each: each.name)
    def test_they_are_the_regions_of_the_markup(self, markup):
        known = LANDMARKS[markup.num_landmarks]
        for part in (*PARTS, JAW):
            expected = [k for region in part.regions for k in markup.regions.get(region, ())]
            assert sorted(known[part.name]) == sorted(expected)

    @pytest.mark.parametrize("num_landmarks", sorted(LANDMARKS))
    def test_every_landmark_is_placed_once_and_comes_back_to_its_place(self, num_landmarks):
        layout = parts_of(num_landmarks)
        joined = [k for group in (layout.rest, *layout.indices) for k in group]
        assert sorted(joined) == list(range(num_landmarks))
        assert [joined[place] for place in layout.order] == list(range(num_landmarks))
        jaw = get_markup(num_landmarks).regions.get("jaw", ())
        assert set(jaw) <= set(layout.rest)

    def test_68_points_leave_the_jaw_and_51_nothing(self):
        assert parts_of(68).rest == tuple(range(17))
        assert parts_of(51).rest == ()
        assert parts_of(68, with_jaw=True).rest == ()
        assert parts_of(68, with_jaw=True).parts[-1] == (JAW, tuple(range(17)))

    @pytest.mark.parametrize("name", ["region_parts", "region_boxes"])
    def test_a_markup_without_regions_is_refused(self, name):
        with pytest.raises(ValueError, match="5 landmarks have no known regions to cut: take a markup of") as refusal:
            get_model(name, num_landmarks=5)
        assert re.findall(r"\d+", str(refusal.value))[1:] == "19 21 29 49 51 68 98 106 194".split()
        with pytest.raises(ValueError, match="51 landmarks have no outline to cut"):
            get_model(name, num_landmarks=51, jaw_network=True)
        get_model("region_direct", num_landmarks=5)


def cut_in_scipy(image, box, size):
    """image (C, S, S), box (4,) fractions -> (C, H, W): bilinear, zero beyond the edge."""
    side = image.shape[1]
    (x0, y0, x1, y1), (height, width) = np.asarray(box, float) * side, size
    x = x0 + (np.arange(width) + 0.5) / width * (x1 - x0) - 0.5
    y = y0 + (np.arange(height) + 0.5) / height * (y1 - y0) - 0.5
    grid = np.meshgrid(y, x, indexing="ij")
    return np.stack([map_coordinates(channel, grid, order=1, mode="grid-constant") for channel in image])


class TestCut:
    side, size = 24, (7, 11)
    boxes = np.array([[0.2, 0.3, 0.7, 0.8], [-0.2, 0.55, 0.4, 1.3], [0.0, 0.0, 1.0, 1.0]])

    @pytest.mark.parametrize("hybrid", [False, True])
    def test_it_is_scipys_interpolation(self, hybrid):
        images = draw((3, 3, self.side, self.side), seed=3)
        block = PartCut(self.size, self.side)
        block.hybridize(hybrid, static_alloc=hybrid, static_shape=hybrid)
        found = block(mx.nd.array(images), mx.nd.array(self.boxes)).asnumpy()
        expected = [cut_in_scipy(image, box, self.size) for image, box in zip(images, self.boxes)]
        np.testing.assert_allclose(found, expected, atol=1e-5)
        assert (found[1, :, :, 0] == 0).all()  # a whole column beyond the edge

    def test_gradient_to_the_box_by_finite_differences(self):
        # Interpolation of a plane has no corners that a step could cross, as long as the box is inside.
        y, x = np.mgrid[: self.side, : self.side]
        images = mx.nd.array(np.stack([2.0 * x + y, x - 3.0 * y, 0.5 * y])[None])
        block, weight = PartCut(self.size, self.side), mx.nd.array(draw((1, 3, *self.size), seed=4))
        start = self.boxes[:1]
        boxes = mx.nd.array(start)
        boxes.attach_grad()
        with autograd.record():
            total = (block(images, boxes) * weight).sum()
        total.backward()
        step = 0.01
        for side in range(4):
            move = step * np.eye(4)[[side]]
            ends = [
                float((block(images, mx.nd.array(each)) * weight).sum().asscalar())
                for each in (start + move, start - move)
            ]
            slope = (ends[0] - ends[1]) / (2 * step)
            assert boxes.grad.asnumpy()[0, side] == pytest.approx(slope, rel=1e-2)
            assert abs(slope) > 100

    def test_true_points_come_back_through_cut_resize_and_restore(self):
        """A bright spot under each point is found in the cut, and put back within a twentieth of a pixel."""
        side, points = 224, np.array([[60.3, 91.8], [101.7, 80.2], [84.0, 120.5], [131.6, 118.9]])
        y, x = np.mgrid[:side, :side]
        spots = np.stack([np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * 2.5**2)) for px, py in points])
        images = mx.nd.array(np.repeat(spots[:, None], 3, axis=1))
        tight = np.concatenate([points.min(axis=0), points.max(axis=0)])
        offsets = mx.nd.array(draw((4, 4), seed=8, low=-OFFSET, high=OFFSET))
        boxes = widen(mx.nd, mx.nd.array(np.repeat((tight[None] + 0.5) / side, 4, axis=0)), offsets)
        for size in {part.size for part in PARTS}:
            cut = PartCut(size, side)(images, boxes).asnumpy()[:, 0]
            rows, columns = np.mgrid[: size[0], : size[1]]
            total = cut.sum(axis=(1, 2))
            found = np.stack([(cut * axis).sum(axis=(1, 2)) / total for axis in (columns, rows)], axis=1)
            fractions = (found + 0.5) / np.array(size[::-1])
            back = put_back(mx.nd, mx.nd.array(fractions[:, None]), boxes).asnumpy()[:, 0] * side - 0.5
            np.testing.assert_allclose(back, points, atol=0.05)


class TestBoxes:
    points = np.array([[[0.2, 0.5], [0.4, 0.3], [0.3, 0.6], [0.9, 0.9]], [[0.0, 0.1], [0.5, 0.2], [0.1, 0.4], [0, 0]]])

    def test_gather_is_indexing(self):
        points = mx.nd.array(draw((2, 9, 2), seed=2))
        for indices in ((0,), (2, 3, 4), (8, 1, 2, 0), tuple(range(9))):
            np.testing.assert_array_equal(gather(mx.nd, points, indices).asnumpy(), points.asnumpy()[:, list(indices)])

    def test_tight_boxes_with_room_by_hand(self):
        boxes = landmark_boxes(mx.nd, mx.nd.array(self.points), [(0, 1, 2), (3,)])
        np.testing.assert_allclose(boxes[0].asnumpy(), [[0.2, 0.3, 0.4, 0.6], [0.0, 0.1, 0.5, 0.4]], rtol=1e-6)
        np.testing.assert_allclose(boxes[1].asnumpy(), [[0.9, 0.9, 0.9, 0.9], [0, 0, 0, 0]], rtol=1e-6)
        # A fifth of the longer side, 0.3 and 0.5, on every side.
        expected = [[0.14, 0.24, 0.46, 0.66], [-0.1, 0.0, 0.6, 0.5]]
        np.testing.assert_allclose(widen(mx.nd, boxes[0]).asnumpy(), expected, atol=1e-6)
        moved = widen(mx.nd, boxes[0], mx.nd.array([[0.1, 0, 0, -0.1], [0, 0, 0.1, 0]])).asnumpy()
        np.testing.assert_allclose(moved - expected, [[0.03, 0, 0, -0.03], [0, 0, 0.05, 0]], atol=1e-6)
        np.testing.assert_allclose(widen(mx.nd, boxes[1]).asnumpy()[1], [-0.01, -0.01, 0.01, 0.01], rtol=1e-6)

    def test_no_offset_takes_a_landmark_out_of_its_box(self):
        assert OFFSET < MARGIN

    def test_boxes_of_the_objective_are_those_of_the_network(self):
        expected = landmark_boxes(mx.nd, mx.nd.array(self.points), [(0, 1, 2), (1, 3)])
        found = part_boxes(self.points, [(0, 1, 2), (1, 3)])
        np.testing.assert_allclose(found, np.stack([box.asnumpy() for box in expected], axis=1), rtol=1e-6)
        missing = self.points.copy()
        missing[0, 3] = np.nan
        assert np.isnan(part_boxes(missing, [(0, 1, 2), (1, 3)])).all(axis=2).tolist() == [[False, True], [False] * 2]


class TestNetworks:
    def test_the_input_is_the_papers(self):
        for name in ("region_direct", "region_parts", "region_boxes"):
            spec = get_spec(name)
            assert (spec.size, spec.colour, spec.output, spec.box_margin) == (224, "rgb", "points", 0.25)
            np.testing.assert_allclose((255 - np.array(spec.mean)) * np.array(spec.scale), 1)
            np.testing.assert_array_equal(spec.mean, 0)

    def test_the_paper_network_has_the_count_worked_out_by_hand(self):
        net = get_model("region_direct")
        net.initialize()
        assert net(mx.nd.zeros((1, 3, 224, 224))).shape == (1, 68, 2)
        blocks = sum(
            c * n + 9 * n * n + n * d + c * d + 2 * (2 * n + 2 * d)
            for c, n, d in ((64, 64, 256), (256, 128, 512), (512, 256, 1024))
        )
        # 224 / 4 = 56, halved by each of three blocks to 7, by the pooling to 3.
        assert parameter_count(net) == 7 * 7 * 3 * 64 + 2 * 64 + blocks + 3 * 3 * 1024 * 136 + 136

    def test_all_networks_together_take_less_than_40_megabytes(self):
        net = get_model("region_boxes", jaw_network=True)
        net.initialize()
        net(mx.nd.zeros((1, 3, 224, 224)))
        assert len(networks_of(net)) == 7
        assert 30e6 < 4 * parameter_count(net) < 40e6

    def test_parts_take_one_block_less_and_boxes_16_outputs(self):
        net = build("region_boxes")
        assert [len(each.blocks) for each in networks_of(net)] == [3, 3, 2, 2, 2, 2]
        outputs = [each.points.weight.shape[0] for each in networks_of(net)]
        assert outputs == [136, 16, 2 * 11, 2 * 11, 2 * 9, 2 * 20]

    def test_answers_start_at_the_centre_and_never_go_below_zero(self, faces):
        net = build("region_direct")
        assert np.abs(net(faces).asnumpy() - 0.5).max() < 0.1
        net.points.bias.set_data(mx.nd.full((136,), -1000))
        np.testing.assert_array_equal(net(faces).asnumpy(), 0)

    def test_dropout_is_on_the_features_in_training_alone(self, faces):
        net = build("region_direct", dropout=0.5)
        np.testing.assert_array_equal(net(faces).asnumpy(), net(faces).asnumpy())
        with autograd.train_mode():
            dropped = [net.dropout(mx.nd.ones((1, 4000))).asnumpy() for _ in range(2)]
        assert np.abs(dropped[0] - dropped[1]).max() > 0
        assert (dropped[0] == 0).mean() == pytest.approx(0.5, abs=0.05)

    def test_adam_learns_and_silences_no_output(self):
        """The paper's rate and loss on a few flat faces: an output that a step throws below zero would stay there."""
        net = build("region_direct", channels=(64, 128, 256), dropout=0.0)
        trainer = mx.gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 1e-3})
        faces = mx.nd.array(draw((4, 3, 1, 1), seed=3)) * mx.nd.array(draw((1, 3, 224, 224), seed=4))
        truth = mx.nd.array(draw((4, 68, 2), seed=5, low=0.2, high=0.8)) * 224
        errors = []
        for _ in range(12):
            with autograd.record():
                answers = net(faces) * 224
                loss = (answers - truth).square().mean(axis=(1, 2))
            loss.backward()
            trainer.step(4)
            errors.append(float(loss.mean().asscalar()))
        assert (answers.asnumpy() > 0).all()
        assert errors[-1] < 0.6 * errors[0]

    def test_blocks_units_and_dense_layers_are_free(self, faces):
        net = build("region_direct", channels=(8, 16), units=(2, 3), dense_layers=3, dense_width=10)
        assert net(faces).shape == (2, 68, 2)
        assert [len(block) for block in net.blocks] == [2, 3]
        assert [layer.weight.shape for layer in net.hidden] == [(10, 7 * 7 * 16), (10, 10)]


def place_part(net, faces, boxes):
    """What one part network answers, with the cut in SciPy; boxes (N, 4) as they are cut."""
    cuts = np.stack([cut_in_scipy(face, box, net.part.size) for face, box in zip(faces.asnumpy(), boxes)])
    fractions = net.net(mx.nd.array(cuts)).asnumpy()
    low, high = boxes[:, None, :2], boxes[:, None, 2:]
    return low + fractions * (high - low)


def room(tight):
    longer = (tight[:, 2:] - tight[:, :2]).max(axis=1, keepdims=True)
    return tight + MARGIN * longer * np.array([-1, -1, 1, 1])


def tight_boxes(points, indices):
    chosen = points[:, list(indices)]
    return np.concatenate([chosen.min(axis=1), chosen.max(axis=1)], axis=1)


class TestCascades:
    def test_parts_are_cut_about_the_direct_points(self, faces):
        net = build("region_parts")
        net.direct.points.bias.set_data(mx.nd.array(draw((136,), seed=12, low=-70, high=70)))
        direct = net.direct(faces).asnumpy()
        expected = direct.copy()
        for part, indices in zip(net.parts, net.layout.indices):
            expected[:, list(indices)] = place_part(part, faces, room(tight_boxes(direct, indices)))
        found = net(faces).asnumpy()
        np.testing.assert_allclose(found, expected, atol=1e-4)
        np.testing.assert_allclose(found[:, :17], direct[:, :17], rtol=1e-6)  # the jaw
        assert np.abs(found[:, 17:] - direct[:, 17:]).max() > 0.01

    def test_parts_are_cut_by_the_box_network(self, faces):
        net = build("region_boxes")
        corners = np.array([[0.1, 0.2, 0.5, 0.4], [0.5, 0.2, 0.9, 0.4], [0.4, 0.3, 0.6, 0.6], [0.3, 0.6, 0.7, 0.8]])
        net.boxes.net.points.weight.set_data(mx.nd.zeros(net.boxes.net.points.weight.shape))
        net.boxes.net.points.bias.set_data(mx.nd.array(224 * corners.ravel() - 112))
        expected = net.direct(faces).asnumpy()
        for part, indices, box in zip(net.parts, net.layout.indices, corners):
            expected[:, list(indices)] = place_part(part, faces, room(np.repeat(box[None], 2, axis=0)))
        np.testing.assert_allclose(net(faces).asnumpy(), expected, atol=1e-4)

    def test_the_bound_cuts_parts_about_the_true_points(self, faces):
        net = build("region_boxes", jaw_network=True)
        truth = draw((2, 68, 2), seed=6, low=0.2, high=0.8)
        expected = np.zeros_like(truth)
        for part, indices in zip(net.parts, net.layout.indices):
            expected[:, list(indices)] = place_part(part, faces, room(tight_boxes(truth, indices)))
        np.testing.assert_allclose(TrueBoxes(net)(faces, mx.nd.array(truth)).asnumpy(), expected, atol=1e-4)

    def test_51_points_need_no_direct_network_where_boxes_are_answered(self, faces):
        net = build("region_boxes", num_landmarks=51)
        assert net.direct is None
        assert net(faces).shape == (2, 51, 2)

    @pytest.mark.parametrize("name", ["region_parts", "region_boxes"])
    def test_one_graph_trains_and_exports_as_one_file(self, name, faces, tmp_path):
        net = build(name)
        expected = net(faces).asnumpy()
        net.hybridize(static_alloc=True, static_shape=True)
        np.testing.assert_allclose(net(faces).asnumpy(), expected, atol=1e-5)
        with autograd.record():
            loss = net(faces).square().sum()
        loss.backward()
        for parameter in net.collect_params().values():
            assert parameter.grad_req == "null" or np.isfinite(parameter.grad().asnumpy()).all(), parameter.name
        crops = draw((3, 224, 224, 3), seed=7, high=255).astype("uint8")
        exporter = Exporter(net, SPEC, raw_input=True, ctx=mx.cpu())
        files = exporter.write_mxnet(tmp_path / "net", crops)
        write_onnx(*files, tmp_path / "net.onnx", exporter.feed(crops), exporter.shapes(crops))
        for run in (read_mxnet(*files, mx.cpu()), read_onnx(tmp_path / "net.onnx")):
            for count in (1, 3):
                assert exporter.largest_difference(run, crops[:count]) < 0.1


def silence(net):
    """Lets a network answer the centre of what it sees, whatever that is."""
    for each in networks_of(net):
        each.points.weight.set_data(mx.nd.zeros(each.points.weight.shape))


class TestObjective:
    def arrays(self, count=2):
        points = draw((count, 68, 2), seed=9, low=40, high=180)
        return draw((count, 224, 224, 3), seed=7, high=255).astype("uint8"), points

    def test_mean_squared_errors_by_hand(self, monkeypatch):
        monkeypatch.setattr(region_objective, "OFFSET", 0.0)
        net = build("region_boxes")
        silence(net)
        crops, points = self.arrays()
        points[1, 3] = np.nan  # of the jaw, so of no box
        terms = RegionObjective("mse", SPEC, EYES, [mx.cpu()])(net, (crops, points), mx.cpu())
        assert list(terms) == ["direct", "boxes", *(part.name for part in PARTS)]
        centre = 0.5 * 224 - 0.5
        expected = np.nanmean((points - centre) ** 2, axis=(1, 2))
        np.testing.assert_allclose(terms["direct"].asnumpy(), expected, rtol=1e-4)
        boxes = np.stack([tight_boxes(points, LANDMARKS[68][part.name]) for part in PARTS], axis=1)
        np.testing.assert_allclose(terms["boxes"].asnumpy(), ((boxes - centre) ** 2).mean(axis=(1, 2)), rtol=1e-4)
        for i, part in enumerate(PARTS):
            # Room is the same on opposite sides, so that the middle stays.
            middle = 0.5 * (boxes[:, i, :2] + boxes[:, i, 2:])
            errors = points[:, list(LANDMARKS[68][part.name])] - middle[:, None]
            np.testing.assert_allclose(terms[part.name].asnumpy(), (errors**2).mean(axis=(1, 2)), rtol=1e-4)

    def test_boxes_move_at_random_but_by_the_seed(self):
        net = build("region_parts")
        silence(net)
        objective, arrays = RegionObjective("mse", SPEC, EYES, [mx.cpu()]), self.arrays()

        def losses(seed):
            mx.random.seed(seed)
            return objective(net, arrays, mx.cpu())["nose"].asnumpy()

        np.testing.assert_array_equal(losses(1), losses(1))
        assert np.abs(losses(1) - losses(2)).min() > 0

    def test_a_part_without_landmarks_costs_nothing(self):
        net = build("region_boxes")
        crops, points = self.arrays()
        points[0, 27:36] = np.nan
        terms = RegionObjective("mse", SPEC, EYES, [mx.cpu()])(net, (crops, points), mx.cpu())
        assert terms["nose"].asnumpy()[0] == 0
        assert all(np.isfinite(term.asnumpy()).all() for term in terms.values())

    def test_frozen_networks_have_no_term_and_no_gradient(self):
        net = build("region_boxes")
        objective, arrays = RegionObjective("normalized_l1", SPEC, EYES, [mx.cpu()]), self.arrays()
        freeze(net.direct)
        freeze(net.parts)
        assert is_frozen(net.parts)
        assert not is_frozen(net)
        assert list(objective(net, arrays, mx.cpu())) == ["boxes"]

    def test_networks_learn_apart_in_one_graph(self):
        """Hybridized and recorded: a network's gradient is that of its own term alone."""
        net = build("region_boxes", dropout=0.0)
        net.hybridize(static_alloc=True, static_shape=True)
        objective, arrays = RegionObjective("mse", SPEC, EYES, [mx.cpu()]), self.arrays()

        def gradient(*names):
            mx.random.seed(3)
            with autograd.record():
                terms = objective(net, arrays, mx.cpu())
                loss = sum(terms[name] for name in names or terms)
            loss.backward()
            return net.parts[2].net.stem[0].weight.grad().asnumpy()

        alone = gradient("nose")
        assert np.abs(alone).max() > 0
        np.testing.assert_allclose(gradient(), alone, rtol=1e-3, atol=1e-4 * np.abs(alone).max())


class TestStem:
    names = ("features.0.weight", *(f"features.1.{name}" for name in ("gamma", "beta", "running_mean", "running_var")))

    def stored(self):
        shapes = ((64, 3, 7, 7), *[(64,)] * 4)
        values = {name: draw(shape, seed, -1) for seed, (name, shape) in enumerate(zip(self.names, shapes))}
        values["features.1.running_var"] = np.abs(values["features.1.running_var"]) + 0.5
        return {name: mx.nd.array(value) for name, value in values.items()}

    def test_a_smaller_resnet_is_refused_though_its_stem_has_the_shape(self, faces, tmp_path):
        net = RegionResNet(5, Design((8, 8), (1, 1)))
        net.initialize()
        net(faces)
        for side in (3, 1):  # ResNet-18's next convolution and ResNet-50's
            path = tmp_path / f"{side}.params"
            mx.nd.save(str(path), {**self.stored(), "features.4.0.body.0.weight": mx.nd.ones((64, 64, side, side))})
        with pytest.raises(ValueError, match=r"3\.params does not hold resnet50_v1"):
            load_stem(net, tmp_path / "3.params")
        load_stem(net, tmp_path / "1.params")

    def test_it_answers_what_it_did_on_imagenets_input(self, faces, tmp_path):
        stored = self.stored()
        mx.nd.save(str(tmp_path / "zoo.params"), stored)
        net = RegionResNet(5, Design((8, 8), (1, 1)))
        net.initialize()
        net(faces)
        load_stem(net, tmp_path / "zoo.params")
        mean, deviation = (np.array(each, "float32")[:, None, None] for each in (IMAGENET_MEAN, IMAGENET_DEVIATION))
        normalized = mx.nd.array((faces.asnumpy() - mean) / deviation)
        maps = mx.nd.Convolution(
            normalized, stored[self.names[0]], None, (7, 7), (2, 2), pad=(3, 3), num_filter=64, no_bias=True
        )
        expected = mx.nd.relu(
            mx.nd.BatchNorm(maps, *(stored[name] for name in self.names[1:]), fix_gamma=False, eps=1e-5)
        )
        inner = np.s_[:, :, 2:-2, 2:-2]  # at the edge the zeros around stand for other colours
        np.testing.assert_allclose(net.stem(faces).asnumpy()[inner], expected.asnumpy()[inner], rtol=1e-3, atol=1e-3)
        assert expected.asnumpy().max() > 1
