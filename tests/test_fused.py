"""Networks as oneDNN fuses them, against the same networks run operator by operator."""

import json

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn

import untrained
from datasets.render.faces import RenderedFaces
from gluon_models import get_model, get_spec, load_weights, shipped_weights
from gluon_models.spec import NetworkInput
from inference.fused import FusedNetwork, fuse, fused
from inference.pipeline import crop_dataset, points_from_output

SHIPPED = (
    "resnet18_slim",
    "resnet50_slim",
    "ffld_resnet18",
    "ffld_resnet50",
    "lgcn_64",
    "deeppose_resnet18",
    "region_direct",
    "region_boxes",
    "region_parts",
    "hourglass_resnet50",
)


@pytest.mark.parametrize("name", ["resnet18_slim", "deeppose_resnet18"])
def test_a_cpu_normalizes_crops_as_mxnet_does(name):
    crops = np.random.default_rng(0).integers(0, 256, (3, 20, 24, 3), np.uint8)
    prepare = NetworkInput(get_spec(name), [mx.cpu(), mx.cpu(1)])
    expected = prepare.normalized(mx.nd.array(crops, dtype="uint8")).asnumpy()
    for context in (mx.cpu(), mx.cpu(1)):
        made = prepare(crops, context)
        assert made.context == context
        np.testing.assert_array_equal(made.asnumpy(), expected)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_network_keeps_its_points(name):
    net, info = load_weights(shipped_weights(name))
    crops = crop_dataset(RenderedFaces(2, seed=5), info.spec).crops
    faces = NetworkInput(info.spec, [mx.cpu()])(crops, mx.cpu())
    pixels = [points_from_output(each(faces).asnumpy(), info.spec) for each in (net, fused(net, 10**9))]
    assert np.ptp(pixels[0], axis=1).min() > 0.2 * info.spec.size  # it does find a face
    np.testing.assert_allclose(pixels[1], pixels[0], atol=3e-4)


def operators(symbol):
    return [node["op"] for node in json.loads(symbol.tojson())["nodes"]]


def test_normalization_relus_and_sums_are_fused():
    symbol = get_model("resnet18_slim")(mx.sym.var("data"))
    before, after = operators(symbol), operators(fuse(symbol))
    assert before.count("BatchNorm") == before.count("Convolution") == after.count("_sg_mkldnn_conv") == 20
    assert not {"BatchNorm", "Convolution", "relu", "Activation", "elemwise_add"} & set(after)
    assert set(symbol.list_arguments()) == set(fuse(symbol).list_arguments())


@pytest.mark.parametrize("scale", [2, 3])
def test_maps_are_enlarged_by_a_convolution(scale):
    maps = mx.sym.Activation(mx.sym.Convolution(mx.sym.var("data"), kernel=(1, 1), num_filter=5), act_type="relu")
    symbol = mx.sym.UpSampling(maps + 1, scale=scale, sample_type="nearest")
    small = mx.nd.array(untrained.draw((2, 3, 4, 6), seed=1))
    weights = {name: mx.nd.array(untrained.draw(shape, seed=2)) for name, shape in arguments_of(symbol, small.shape)}
    expected, made = (each.bind(mx.cpu(), {"data": small, **weights}).forward() for each in (symbol, fuse(symbol)))
    assert operators(fuse(symbol)).count("UpSampling") == 0
    np.testing.assert_allclose(made[0].asnumpy(), expected[0].asnumpy(), rtol=1e-5)
    np.testing.assert_array_equal(made[0].asnumpy()[0, 0, :scale, :scale], made[0].asnumpy()[0, 0, 0, 0])


def test_maps_whose_channels_no_convolution_tells_stay_as_they_are():
    both = mx.sym.concat(mx.sym.Convolution(mx.sym.var("data"), kernel=(1, 1), num_filter=5), mx.sym.var("data"))
    for maps in (both, mx.sym.var("data")):
        assert "UpSampling" in operators(fuse(mx.sym.UpSampling(maps, scale=2, sample_type="nearest")))


def arguments_of(symbol, shape):
    return [each for each in zip(symbol.list_arguments(), symbol.infer_shape(data=shape)[0]) if each[0] != "data"]


def lgcn():
    net = get_model("lgcn_64", num_landmarks=5, filters=4)
    net.initialize()
    net(mx.nd.zeros((1, 1, 96, 96)))
    untrained.fill(net)
    return net


def test_pictures_of_any_size_and_number_follow_one_another():
    net = lgcn()
    twin = FusedNetwork(
        net, values_at_once=2 * 96 * 96
    )  # three faces run as two and one, the large picture without static shapes
    for shape in ((1, 1, 96, 96), (3, 1, 96, 96), (1, 1, 160, 128), (2, 1, 96, 96), (1, 1, 64, 96)):
        faces = mx.nd.array(untrained.draw(shape, seed=1))
        expected = net(faces).asnumpy()
        np.testing.assert_allclose(twin(faces).asnumpy(), expected, atol=1e-4 * np.abs(expected).max())
        for stage, own in zip(twin.all_stages(faces), net.all_stages(faces)):
            np.testing.assert_allclose(stage.asnumpy(), own.asnumpy(), atol=1e-4 * np.abs(own.asnumpy()).max())


def test_a_network_of_one_stage_has_one_output():
    net = get_model("hourglass_resnet50", num_landmarks=2, stacks=1, channels=16, depth=1, backbone_stride=4)
    net.initialize()
    faces = mx.nd.array(untrained.draw((2, 3, 64, 64), seed=1))
    (expected,) = net.all_stages(faces)
    (found,) = FusedNetwork(net, faces.size).all_stages(faces)
    np.testing.assert_allclose(found.asnumpy(), expected.asnumpy(), atol=1e-4 * np.abs(expected.asnumpy()).max())


def test_between_two_validations_parameters_may_change():
    net, faces = lgcn(), mx.nd.array(untrained.draw((1, 1, 96, 96), seed=1))
    first = FusedNetwork(net, 10**9)(faces).asnumpy()
    untrained.fill(net, seed=3)
    expected = net(faces).asnumpy()
    assert np.abs(first - expected).max() > 0.1 * np.abs(expected).max()
    again = FusedNetwork(net, 10**9)(faces).asnumpy()
    np.testing.assert_allclose(again, expected, atol=1e-4 * np.abs(expected).max())


class Halved(nn.HybridBlock):
    """A network in half precision, as MXNet's own makes it: a cast that no CPU needs to compute."""

    def hybrid_forward(self, F, faces):
        return F.amp_cast(F.amp_cast(faces, dtype="float16"), dtype="float32")


def test_half_precision_and_what_is_no_network_run_as_they_are():
    faces = mx.nd.array([[1 / 3]])
    assert fused(Halved(), 0)(faces).asscalar() == np.float16(1 / 3)
    assert fused(abs, 0) is abs
