"""The peers are what they are named after; skipped where they are not installed (requirements-peers.txt)."""

import mxnet as mx
import numpy as np
import pytest

from gluon_models import get_model, get_spec
from untrained import draw, fill

torch = pytest.importorskip("torch", reason="pip install -r requirements-peers.txt")
dlib = pytest.importorskip("dlib", reason="pip install -r requirements-peers.txt")
from tools.peers import dlib_twin, torch_networks  # noqa: E402


def parameters(net):
    return sum(each.numel() for each in net.parameters())


TWINS = {
    "resnet18_slim": torch_networks.SlimResNet,
    "ffld_resnet18": torch_networks.FFLD,
    "hourglass_resnet50": torch_networks.StackedHourglass,
}


@pytest.mark.parametrize("name", TWINS)
def test_a_twin_answers_as_ours_does(name):
    ours, twin, size = get_model(name, num_landmarks=68), TWINS[name](), get_spec(name).size
    ours.initialize()
    faces = draw((2, 3, size, size), 1)
    ours(mx.nd.array(faces))
    fill(ours)
    given = [each.data().asnumpy() for each in ours.collect_params().values()]
    # PyTorch counts batches too, which ours does not, and lists the layers of a network where ours does.
    wanted = [value for key, value in twin.state_dict().items() if not key.endswith("num_batches_tracked")]
    assert [tuple(value.shape) for value in wanted] == [value.shape for value in given]
    for value, number in zip(wanted, given):
        value.copy_(torch.from_numpy(number))
    with torch.inference_mode():
        answer = twin.eval()(torch.from_numpy(faces)).numpy()
    expected = ours(mx.nd.array(faces)).asnumpy()
    np.testing.assert_allclose(answer, expected, atol=1e-4 * np.abs(expected).max())


def test_fan_is_as_large_as_the_one_its_authors_share():
    assert parameters(torch_networks.FAN()) == 23_820_176


def test_dlib_answers_points_of_the_crop():
    predictor = dlib_twin.train(size=64, seed=0, levels=1)
    points = dlib_twin.predict(predictor, np.zeros((2, 64, 64, 3), np.uint8))
    assert points.shape == (2, 68, 2)
    assert (np.abs(points - 32) < 48).all()
