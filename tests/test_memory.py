"""The estimate of training memory, against sums by hand."""

import mxnet as mx
import pytest
from mxnet.gluon import nn

from engine.memory import MEGABYTE, training_megabytes
from gluon_models import get_model
from training.options import memory_text


def test_one_dense_layer_by_hand():
    net = nn.Dense(1024, in_units=1024, use_bias=False)
    net.initialize()
    # 2^20 weights four times over and the inputs, 4 bytes each; the answer (256, 1024) and its gradient are planned,
    # at least one and at most both of them at a time.
    fixed = 4 * (4 * 2**20 + 256 * 1024) / MEGABYTE
    answer = 4 * 256 * 1024 / MEGABYTE
    assert fixed + answer - 1 <= training_megabytes(net, (256, 1024)) <= fixed + 2 * answer + 1


@pytest.mark.parametrize(("model", "largest"), [("resnet18_slim", 1000), ("ffld_resnet18", 2000)])
def test_ffld_trains_in_less_than_the_papers_two_gigabytes(model, largest):
    net = get_model(model, num_landmarks=68)
    net.initialize()
    net(mx.nd.zeros((1, 3, 224, 224)))
    # Sec. 6.5, at batch 64. What must be kept for the backward pass alone, the map behind the first convolution and
    # its normalization, 16 channels of 112 x 112 each, already takes 98 MB.
    assert 98 < training_megabytes(net, (64, 3, 224, 224)) < largest
    assert training_megabytes(net, (32, 3, 224, 224)) < 0.6 * training_megabytes(net, (64, 3, 224, 224))


def test_gray_crops_are_counted_as_one_channel():
    net = get_model("lgcn_64", num_landmarks=68)
    net.initialize()
    net(mx.nd.zeros((1, 1, 96, 96)))
    text = memory_text(net, (1, 96, 96), 5, [mx.cpu(0), mx.cpu(1)])
    gigabytes = training_megabytes(net, (3, 1, 96, 96)) / 1024
    assert text.startswith(f"MXNet plans {gigabytes:.1f} GB for a step with 3 faces of 96 px on each device; a CPU")
