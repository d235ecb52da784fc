"""Every registered network in turn, then FFLD's baselines, losses and normalization against other implementations."""

import colorsys
import dataclasses
import json
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd
from mxnet.gluon.model_zoo.vision import BasicBlockV1, ResNetV1

from datasets.geometry import square_box
from gluon_models import InputSpec, Normalize, get_model, get_spec, list_models
from gluon_models.blocks import bottleneck_block, parameter_count
from gluon_models.points import PointLoss, PointObjective
from untrained import draw, fill

GOLDEN = Path(__file__).parent / "golden" / "models.json"
MODELS = list_models()
EYES = (36, 45)


def side(name):
    """Of the faces here: what the network is made for, half of that where it takes any size."""
    spec = get_spec(name)
    return spec.size // 2 if name.startswith("lgcn") else spec.size


def build(name, **overrides):
    """The network with settled shapes and reproducible parameters."""
    net = get_model(name, **overrides)
    net.initialize()
    net(mx.nd.zeros((1, len(get_spec(name).mean), side(name), side(name))))
    fill(net)
    if name.startswith("lgcn"):
        # Its ReLUs take a tenth; running variances of a hundredth make up for it, as those of a trained network do.
        for parameter in net.collect_params(".*running_var").values():
            parameter.set_data(0.01 * parameter.data())
    return net


def faces_for(name, count=2):
    return mx.nd.array(draw((count, len(get_spec(name).mean), side(name), side(name)), seed=1))


def answer_shape(name, num_landmarks):
    """Of one face: points, or maps."""
    spec = get_spec(name)
    cells = side(name) // spec.stride
    return (num_landmarks, 2) if spec.output == "points" else (num_landmarks, cells, cells)


@pytest.mark.parametrize("name", MODELS)
def test_forward_and_backward(name):
    net, faces, shape = build(name, num_landmarks=19), faces_for(name), (2, *answer_shape(name, 19))
    if name.startswith("lgcn"):  # it takes any size, and small faces are done sooner
        faces, shape = faces[:, :, :24, :24], (2, 19, 24, 24)
    imperative = net(faces).asnumpy()
    assert imperative.shape == shape
    assert np.isfinite(imperative).all()
    assert np.abs(imperative[0] - imperative[1]).max() > 1e-4  # the faces decide, not the biases alone
    # The batch is nothing but faces side by side.
    np.testing.assert_allclose(net(faces[1:]).asnumpy(), imperative[1:], rtol=1e-4, atol=1e-5)

    net.hybridize(static_alloc=True, static_shape=True)
    np.testing.assert_allclose(net(faces).asnumpy(), imperative, rtol=1e-4, atol=1e-5)

    with autograd.record():
        loss = (net(faces) - mx.nd.array(draw(shape, seed=2, low=0))).square().sum()
    loss.backward()
    for parameter in net.collect_params().values():
        if parameter.grad_req == "null":
            assert parameter.name.endswith(("running_mean", "running_var"))
            continue
        gradient = parameter.grad().asnumpy()
        assert np.isfinite(gradient).all(), parameter.name
        assert np.abs(gradient).max() > 0, parameter.name


@pytest.mark.parametrize("name", MODELS)
def test_output_is_what_it_was(name):
    """Shipped weights go on meaning the same; `python tests/test_models.py` writes the file again."""
    expected = json.loads(GOLDEN.read_text())[name]
    np.testing.assert_allclose(golden_output(name), expected, rtol=1e-3, atol=1e-5)


def golden_output(name):
    answer = build(name)(faces_for(name))[:, ::9].asnumpy().astype(float).round(6)
    return (answer if answer.ndim == 3 else answer[:, :, ::8, ::8]).tolist()  # of maps every eighth row and column


@pytest.mark.parametrize("ask", [get_model, get_spec])
def test_an_unknown_name_lists_the_known_ones(ask):
    with pytest.raises(ValueError, match=r"unknown model 'resnet19_slim'.*resnet18_slim, resnet50_slim"):
        ask("resnet19_slim")


def test_ffld_baselines_see_the_papers_input():
    # Sec. 6.5: 224 by 224 pixels.
    for name in ("resnet18_slim", "resnet50_slim"):
        spec = get_spec(name)
        assert (spec.size, spec.colour, spec.output, spec.stride) == (224, "rgb", "points", 1)
        # Of 100 by 80 pixels about (50, 40): a square of 1.25 times 100.
        np.testing.assert_allclose(square_box((0, 0, 100, 80), spec.box_margin), [-12.5, -22.5, 112.5, 102.5])


def test_resnet18_slim_at_19_landmarks_has_the_papers_count():
    assert parameter_count(build("resnet18_slim", num_landmarks=19)) == 706_998


def test_resnet50_slim_has_the_count_worked_out_by_hand():
    first = 7 * 7 * 3 * 16 + 2 * 16
    # Of each stage the first block, which has a projection, then the others; convolutions plus two numbers per channel.
    stage_1 = (16 * 16 + 9 * 16 * 16 + 16 * 64 + 16 * 64 + 2 * (16 + 16 + 64 + 64)) + 2 * (
        64 * 16 + 9 * 16 * 16 + 16 * 64 + 2 * (16 + 16 + 64)
    )
    stage_2 = (64 * 32 + 9 * 32 * 32 + 32 * 128 + 64 * 128 + 2 * (32 + 32 + 128 + 128)) + 3 * (
        128 * 32 + 9 * 32 * 32 + 32 * 128 + 2 * (32 + 32 + 128)
    )
    stage_3 = (128 * 64 + 9 * 64 * 64 + 64 * 256 + 128 * 256 + 2 * (64 + 64 + 256 + 256)) + 5 * (
        256 * 64 + 9 * 64 * 64 + 64 * 256 + 2 * (64 + 64 + 256)
    )
    stage_4 = (256 * 128 + 9 * 128 * 128 + 128 * 512 + 256 * 512 + 2 * (128 + 128 + 512 + 512)) + 2 * (
        512 * 128 + 9 * 128 * 128 + 128 * 512 + 2 * (128 + 128 + 512)
    )
    dense = 512 * 2 * 68 + 2 * 68
    total = first + stage_1 + stage_2 + stage_3 + stage_4 + dense
    assert total == 1_550_744
    assert parameter_count(build("resnet50_slim", num_landmarks=68)) == total


def test_resnet18_slim_is_the_model_zoos_resnet_with_other_channels():
    net = build("resnet18_slim", num_landmarks=21)
    twin = ResNetV1(BasicBlockV1, [2, 2, 2, 2], [16, 16, 32, 64, 128], classes=2 * 21)
    twin.initialize()
    faces = faces_for("resnet18_slim")
    twin(faces)
    ours, theirs = (list(each.collect_params().values()) for each in (net, twin))
    assert [parameter.shape for parameter in ours] == [parameter.shape for parameter in theirs]
    for here, there in zip(ours, theirs):
        there.set_data(here.data())
    expected = twin(faces).asnumpy().reshape(2, 21, 2) + 0.5
    np.testing.assert_allclose(net(faces).asnumpy(), expected, rtol=1e-5, atol=1e-6)


def convolve(maps, weight, stride):
    """maps (C, H, W), weight (D, C, k, k) -> (D, H / stride, W / stride), zeros around."""
    kernel = weight.shape[-1]
    padded = np.pad(maps, [(0, 0), (kernel // 2,) * 2, (kernel // 2,) * 2])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), axis=(1, 2))[:, ::stride, ::stride]
    return np.einsum("chwij,dcij->dhw", windows, weight)


def normalized(maps, gamma, beta, mean, variance):
    gamma, beta, mean, variance = (each[:, None, None] for each in (gamma, beta, mean, variance))
    return (maps - mean) / np.sqrt(variance + 1e-5) * gamma + beta


@pytest.mark.parametrize(("channels", "in_channels", "stride"), [(32, 16, 2), (32, 32, 1), (64, 16, 1)])
def test_bottleneck_block_in_numpy(channels, in_channels, stride):
    block = bottleneck_block(channels, in_channels, stride)
    block.initialize()
    maps = draw((in_channels, 10, 10), seed=4)
    block(mx.nd.array(maps[None]))
    fill(block)
    layers = [parameter.data().asnumpy().astype(float) for parameter in block.collect_params().values()]
    groups = [layers[i : i + 5] for i in range(0, len(layers), 5)]
    x = maps
    for (weight, *statistics), step in zip(groups, (1, stride, 1)):
        x = normalized(convolve(x, weight, step), *statistics)
        if weight is not groups[2][0]:
            x = np.maximum(x, 0)
    shortcut = normalized(convolve(maps, groups[3][0], stride), *groups[3][1:]) if len(groups) == 4 else maps
    np.testing.assert_allclose(block(mx.nd.array(maps[None])).asnumpy()[0], np.maximum(x + shortcut, 0), atol=1e-5)


# Two faces of three landmarks; errors by landmark (3, 4), (1, 0), not annotated, then (-2, 2), (0, 0), (5, -12).
TRUTH = np.array([[[10, 10], [20, 20], [0, 0]], [[50, 40], [30, 30], [60, 60]]], float)
PREDICTED = np.array([[[13, 14], [21, 20], [77, 99]], [[48, 42], [30, 30], [65, 48]]], float)
KNOWN = np.array([[[1], [1], [0]], [[1], [1], [1]]], float)
EYE_DISTANCE = np.array([10.0, 50.0])
BY_HAND = {
    "l2": [9 + 16 + 1, 4 + 4 + 25 + 144],
    "normalized_l2": [26 / 10, 177 / 50],
    "l1": [3 + 4 + 1, 2 + 2 + 5 + 12],
    "normalized_l1": [8 / 10, 21 / 50],
}


@pytest.mark.parametrize("kind", PointLoss.KINDS)
def test_point_loss_by_hand(kind):
    found = PointLoss(kind)(*map(mx.nd.array, (PREDICTED, TRUTH, KNOWN, EYE_DISTANCE)))
    np.testing.assert_allclose(found.asnumpy(), BY_HAND[kind], rtol=1e-6)


@pytest.mark.parametrize("kind", PointLoss.KINDS)
def test_point_loss_gradient_by_finite_differences(kind):
    loss = PointLoss(kind)
    others = list(map(mx.nd.array, (TRUTH, KNOWN, EYE_DISTANCE)))
    start = PREDICTED + 0.25  # away from where the absolute value has a corner
    predicted = mx.nd.array(start)
    predicted.attach_grad()
    with autograd.record():
        total = loss(predicted, *others).sum()
    total.backward()
    step, expected = 0.125, np.zeros_like(start)
    for place in np.ndindex(*start.shape):
        ends = []
        for sign in (1, -1):
            moved = start.copy()
            moved[place] += sign * step
            ends.append(float(loss(mx.nd.array(moved), *others).sum().asscalar()))
        expected[place] = (ends[0] - ends[1]) / (2 * step)
    np.testing.assert_allclose(predicted.grad.asnumpy(), expected, rtol=1e-3, atol=1e-3)
    assert (predicted.grad.asnumpy()[0, 2] == 0).all()


def test_an_unknown_loss_lists_the_known_ones():
    with pytest.raises(ValueError, match="unknown loss 'l3': choose one of normalized_l2, l2, l1, normalized_l1"):
        PointLoss("l3")


class FixedAnswer:
    """Stands for a network that says the same fractions (K, 2) of every face, and keeps what it was shown."""

    def __init__(self, fractions):
        self._fractions = fractions

    def __call__(self, faces):
        self.seen = faces.asnumpy()
        return mx.nd.array(np.repeat(self._fractions[None], len(faces), axis=0))


def objective(kind):
    return PointObjective(PointLoss(kind), get_spec("resnet18_slim"), EYES, [mx.cpu()])


def face_points():
    """(68, 2) at the crop's centre, but for the eye corners, 80 px apart on a level."""
    points = np.full((68, 2), 111.5)
    points[36], points[45] = (71.5, 111.5), (151.5, 111.5)
    return points


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        # A fraction of 0.5 is the crop's centre, 111.5: the eye corners are 40 px off, point 5 is 3 and 4 px off.
        ("l2", 40**2 + 40**2 + 3**2 + 4**2),
        ("normalized_l2", (40**2 + 40**2 + 3**2 + 4**2) / 80),
        ("l1", 40 + 40 + 3 + 4),
        ("normalized_l1", (40 + 40 + 3 + 4) / 80),
    ],
)
def test_the_objective_counts_in_pixels_of_the_crop(kind, expected):
    net = FixedAnswer(np.full((68, 2), 0.5))
    points = np.stack([face_points(), face_points()])
    points[:, 5] += (3, -4)
    points[1, 7] = np.nan  # not annotated: costs nothing
    crops = np.zeros((2, 224, 224, 3), np.uint8)
    crops[1, :, :, 0] = 255
    terms = objective(kind)(net, (crops, points.astype(np.float32)), mx.cpu())
    assert list(terms) == ["points"]
    np.testing.assert_allclose(terms["points"].asnumpy(), [expected, expected], rtol=1e-5)
    assert net.seen.shape == (2, 3, 224, 224)
    np.testing.assert_allclose(net.seen[1, :, 0, 0], [1, -1, -1], rtol=1e-6)


def objective_without_eye_corner(kind):
    points = face_points()[None]
    points[0, EYES[0]] = np.nan
    arrays = np.zeros((1, 224, 224, 3), np.uint8), points.astype(np.float32)
    return objective(kind)(FixedAnswer(np.full((68, 2), 0.5)), arrays, mx.cpu())["points"].asnumpy()


@pytest.mark.parametrize("kind", ["normalized_l2", "normalized_l1"])
def test_a_face_without_eye_corners_has_no_distance_to_divide_by(kind):
    with pytest.raises(ValueError, match="no outer eye corners"):
        objective_without_eye_corner(kind)


@pytest.mark.parametrize(("kind", "expected"), [("l2", 1600), ("l1", 40)])
def test_plain_losses_need_no_eye_corners(kind, expected):
    np.testing.assert_allclose(objective_without_eye_corner(kind), [expected])


def normalize(spec, crops, hybrid=False):
    block = Normalize(spec)
    block.initialize()
    block.hybridize(hybrid)
    return block(mx.nd.array(crops, dtype=crops.dtype)).asnumpy()


SMALL = InputSpec(2, "rgb", (10.0, 20.0, 30.0), (0.1, 0.5, 2.0), 0.1, "points")


@pytest.mark.parametrize("kind", ["uint8", "float32"])
@pytest.mark.parametrize("hybrid", [False, True])
def test_normalize_by_hand(kind, hybrid):
    crops = np.zeros((1, 2, 2, 3), kind)
    crops[0, 0, 1] = (20, 120, 255)  # the pixel at x = 1, y = 0
    found = normalize(SMALL, crops, hybrid)
    assert found.shape == (1, 3, 2, 2)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0, :, 0, 1], [(20 - 10) * 0.1, (120 - 20) * 0.5, (255 - 30) * 2], rtol=1e-6)
    np.testing.assert_allclose(found[0, :, 1, 0], [-1, -10, -60], rtol=1e-6)
    # Black and white by ImageNet's mean and deviation, 0.485 and 0.229 for red, and about the middle of the range.
    ends = np.array([[[[0] * 3, [255] * 3]] * 2], kind)
    imagenet = [[-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225], [0.515 / 0.229, 0.544 / 0.224, 0.594 / 0.225]]
    for name, expected in (("hourglass_resnet50", imagenet), ("resnet18_slim", [[-1] * 3, [1] * 3])):
        np.testing.assert_allclose(normalize(get_spec(name), ends, hybrid)[0, :, 0].T, expected, rtol=1e-5)


def test_normalize_gray_by_hand():
    spec = dataclasses.replace(SMALL, colour="gray", mean=(128.0,), scale=(0.1 / 128,))
    crops = np.zeros((1, 2, 2, 3), np.uint8)
    crops[0, 1, 0] = (200, 100, 50)
    found = normalize(spec, crops)
    assert found.shape == (1, 1, 2, 2)
    # 0.299 * 200 + 0.587 * 100 + 0.114 * 50 = 124.2
    np.testing.assert_allclose(found[0, 0], np.array([[-128, -128], [124.2 - 128, -128]]) * 0.1 / 128, rtol=1e-5)


@pytest.mark.parametrize("hybrid", [False, True])
def test_hue_saturation_and_value_are_pythons_own(hybrid):
    spec = dataclasses.replace(SMALL, colour="hsv", mean=(0.0,) * 3, scale=(1.0,) * 3)
    levels = np.array([0, 1, 100, 255], np.uint8)
    crops = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, 8, 8, 3)  # grays and ties included
    expected = [colorsys.rgb_to_hsv(*colour) for colour in crops.reshape(-1, 3) / 255]
    found = normalize(spec, crops, hybrid)[0].reshape(3, -1).T
    np.testing.assert_allclose(found / 255, expected, atol=1e-6)


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps({name: golden_output(name) for name in MODELS}, indent=1) + "\n")
