"""The peers are what they are named after; skipped where they are not installed (requirements-peers.txt)."""

import mxnet as mx
import numpy as np
import pytest

from gluon_models import get_model
from untrained import draw, fill

torch = pytest.importorskip("torch", reason="pip install -r requirements-peers.txt")
dlib = pytest.importorskip("dlib", reason="pip install -r requirements-peers.txt")
from tools.peers import dlib_twin, torch_twin  # noqa: E402


def parameters(net):
    return sum(each.numel() for each in net.parameters())


def test_the_twin_answers_as_ours_does():
    ours, twin = get_model("resnet18_slim", num_landmarks=68), torch_twin.SlimResNet()
    ours.initialize()
    faces = draw((2, 3, 224, 224), 1)
    ours(mx.nd.array(faces))
    fill(ours)
    given = [each.data().asnumpy() for each in ours.collect_params().values()]
    # PyTorch counts batches too, which ours does not, and lists the shortcut of a block where ours does: last.
    wanted = [value for name, value in twin.state_dict().items() if not name.endswith("num_batches_tracked")]
    assert [tuple(value.shape) for value in wanted] == [value.shape for value in given]
    for value, number in zip(wanted, given):
        value.copy_(torch.from_numpy(number))
    with torch.inference_mode():
        answer = twin.eval()(torch.from_numpy(faces)).numpy()
    np.testing.assert_allclose(answer, ours(mx.nd.array(faces)).asnumpy(), atol=1e-4)


def test_fan_is_as_large_as_the_one_its_authors_share():
    assert parameters(torch_twin.FAN()) == 23_820_176


def test_dlib_answers_points_of_the_crop():
    predictor = dlib_twin.train(size=64, seed=0, levels=1)
    points = dlib_twin.predict(predictor, np.zeros((2, 64, 64, 3), np.uint8))
    assert points.shape == (2, 68, 2)
    assert (np.abs(points - 32) < 48).all()
