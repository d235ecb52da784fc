"""HybridBlocks that two or more papers use."""

from __future__ import annotations

import math
from typing import Any

import mxnet as mx
from mxnet import gluon
from mxnet.gluon import nn


def conv_bn(channels: int, kernel: int, stride: int = 1, relu: bool = True, scale: str = "ones") -> nn.HybridSequential:
    """Convolution without bias, padded to keep the size at stride 1, batch normalization, and a ReLU if asked.

    `scale` names the initializer of the normalization's scales.
    """
    block = nn.HybridSequential(prefix="")
    block.add(nn.Conv2D(channels, kernel, stride, kernel // 2, use_bias=False), nn.BatchNorm(gamma_initializer=scale))
    if relu:
        block.add(nn.Activation("relu"))
    return block


class ResidualBlock(nn.HybridBlock):
    """A body and a shortcut, added, then ReLU (He et al., 2016, post-activation).

    The shortcut is a 1x1 projection where the body changes channels or size, else the input itself.
    """

    def __init__(self, body: nn.HybridSequential, channels: int, in_channels: int, stride: int, **kwargs: Any):
        super().__init__(**kwargs)
        with self.name_scope():
            self.body = body
            changes = stride != 1 or in_channels != channels
            self.shortcut = conv_bn(channels, 1, stride, relu=False) if changes else None

    def hybrid_forward(self, F, x):
        """x (N, in_channels, H, W) -> (N, channels, H / stride, W / stride)."""
        shortcut = self.shortcut(x) if self.shortcut else x
        return F.relu(self.body(x) + shortcut)


def basic_block(channels: int, in_channels: int, stride: int = 1) -> ResidualBlock:
    """Two 3x3 convolutions (ResNet-18 and 34)."""
    body = nn.HybridSequential(prefix="")
    body.add(conv_bn(channels, 3, stride), conv_bn(channels, 3, relu=False))
    return ResidualBlock(body, channels, in_channels, stride)


def bottleneck_body(channels: int, stride: int = 1, last_scale: str = "ones") -> nn.HybridSequential:
    """1x1 to a quarter of the channels, 3x3 with the stride, 1x1 back, each normalized, ReLU between them.

    Args:
        channels: of the output.
        stride: of the 3x3 convolution.
        last_scale: initializer of the last normalization's scales, "ones" or "zeros".
    """
    body = nn.HybridSequential(prefix="")
    narrow = channels // 4
    body.add(conv_bn(narrow, 1), conv_bn(narrow, 3, stride), conv_bn(channels, 1, relu=False, scale=last_scale))
    return body


def bottleneck_block(channels: int, in_channels: int, stride: int = 1, last_scale: str = "ones") -> ResidualBlock:
    """The residual block of ResNet-50, as PyTorch ships it."""
    return ResidualBlock(bottleneck_body(channels, stride, last_scale), channels, in_channels, stride)


class StagedNetwork(nn.HybridBlock):
    """A network of several stages. Its attribute `cascade` returns every stage, the network itself the last one."""

    cascade: nn.HybridBlock

    def hybrid_forward(self, F, faces):
        """faces (N, C, S, S) -> points (N, K, 2) or heatmaps (N, K, H, W) of the last stage."""
        return self.read_out(F, self.cascade(faces)[-1])

    def all_stages(self, faces):
        """faces (N, C, S, S) -> the same of each stage in turn."""
        F = mx.sym if isinstance(faces, mx.sym.Symbol) else mx.nd
        return [self.read_out(F, stage) for stage in self.cascade(faces)]

    def read_out(self, F, stage):
        """A stage of the cascade -> its points or heatmaps."""
        return stage


def freeze(block: nn.HybridBlock) -> None:
    """Keeps a layer or a network as it is: in training, too, it normalizes by its running statistics [H16]."""
    block.collect_params().setattr("grad_req", "null")
    block.apply(_use_running_statistics)


def _use_running_statistics(block: nn.HybridBlock) -> None:
    if isinstance(block, nn.BatchNorm):
        block._kwargs["use_global_stats"] = True


def lies_on_gpu(parameter: gluon.Parameter) -> bool:
    """Whether a parameter is initialised on a GPU; a block that asks must be hybridized there, not before."""
    try:
        return any(context.device_type == "gpu" for context in parameter.list_ctx())
    except RuntimeError:  # not initialised
        return False


def parameter_count(net: nn.HybridBlock) -> int:
    """Number of trained values of an initialized network, without running statistics."""
    return sum(math.prod(p.shape) for p in net.collect_params().values() if p.grad_req != "null")
