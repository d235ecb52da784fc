"""The first stages of Gluon's ResNet-50, for networks that stand on its maps."""

from __future__ import annotations

from mxnet.gluon import nn
from mxnet.gluon.model_zoo.vision import BottleneckV1, BottleneckV2, ResNetV1, ResNetV2

BACKBONE_STAGES = {4: 1, 8: 2, 16: 3}  # residual stages of ResNet-50 by the stride of their answer
BACKBONES = ("v1", "v2")


def backbone(version: str, stride: int) -> nn.HybridSequential:
    """ResNet-50 as far as its maps have this stride, from Gluon's model zoo: 256 channels at 4, 512 at 8, 1,024 at 16.

    Version 2 ends on the normalisation and ReLU that its blocks leave to whatever comes next [H8].
    """
    stages = BACKBONE_STAGES[stride]
    layers, channels = [3, 4, 6][:stages], [64, 256, 512, 1024][: stages + 1]
    if version == "v1":
        kept = list(ResNetV1(BottleneckV1, layers, channels).features)[:-1]  # but the pooling
    else:
        kept = list(ResNetV2(BottleneckV2, layers, channels).features)[:-2]  # but pooling and flattening
    features = nn.HybridSequential(prefix="")
    features.add(*kept)
    return features


def layers_of_stages(features: nn.HybridSequential, stages: int) -> int:
    """Layers of a backbone that its first stages take: up to the pooling, then one layer for each further stage."""
    pooling = next(index for index, layer in enumerate(features, start=1) if isinstance(layer, nn.MaxPool2D))
    return pooling + stages - 1 if stages else 0
