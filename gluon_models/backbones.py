"""Backbones from Gluon's model zoo: first stages of ResNet-50, and ImageNet parameters to start from."""

from __future__ import annotations

import os

import mxnet as mx
from mxnet.gluon import nn
from mxnet.gluon.model_zoo.vision import BottleneckV1, BottleneckV2, ResNetV1, ResNetV2

from gluon_models.parameter_files import read_parameters

BACKBONE_STAGES = {4: 1, 8: 2, 16: 3}  # residual stages of ResNet-50 by the stride of their output
BACKBONES = ("v1", "v2")


def backbone(version: str, stride: int) -> nn.HybridSequential:
    """ResNet-50 from Gluon's model zoo up to this stride: 256 channels at 4, 512 at 8, 1,024 at 16.

    Version 2 ends with the normalization and ReLU that its blocks leave to the next layer [H8].
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


def zoo_command(classifier: str) -> str:
    """The command that downloads ImageNet parameters of a network of Gluon's model zoo and writes CLASSIFIER.params."""
    imports = f"from mxnet.gluon.model_zoo.vision import {classifier} as zoo"
    return f"python -c \"{imports}; zoo(pretrained=True).save_parameters('{classifier}.params')\""


def layers_of_stages(features: nn.HybridSequential, stages: int) -> int:
    """Number of layers of a backbone's first stages: up to the pooling, then one layer per further stage."""
    pooling = next(index for index, layer in enumerate(features, start=1) if isinstance(layer, nn.MaxPool2D))
    return pooling + stages - 1 if stages else 0


def read_classifier(path: str | os.PathLike[str], classifier: str) -> dict[str, mx.nd.NDArray]:
    """The parameters of a file by the names that `save_parameters` gives them, such as "features.0.weight".

    Args:
        path: of the file; its numbers may be float16.
        classifier: name in Gluon's model zoo, for messages.

    Raises:
        FileNotFoundError, ValueError: there is no such file, or it is damaged.
    """
    return read_parameters(path, f"name parameters of Gluon's {classifier}")


def another_network(path: str | os.PathLike[str], classifier: str) -> ValueError:
    """The error for a file that holds another network."""
    return ValueError(f"{path} does not hold {classifier}: name parameters of that network of Gluon's model zoo")


def fill_features(layers: nn.HybridSequential, path: str | os.PathLike[str], classifier: str) -> list[str]:
    """Fills a classifier's first layers, their shapes settled, from the parameters that a file has.

    Args:
        layers: the first ones of the classifier's `features`.
        path: see `read_classifier`.
        classifier: name in Gluon's model zoo.

    Returns:
        Names of parameters that the file lacks; they stay unchanged.

    Raises:
        FileNotFoundError, ValueError: there is no such file, or it is of another network.
    """
    stored = read_classifier(path, classifier)
    wanted = {f"features.{name}": each for name, each in layers._collect_params_with_prefix().items()}
    found = {name: each for name, each in wanted.items() if name in stored}
    # The first layer tells the versions of ResNet apart: version 2 starts by normalizing the crops.
    lacks_first = any(name.startswith("features.0.") and name not in found for name in wanted)
    if lacks_first or any(stored[name].shape != each.shape for name, each in found.items()):
        raise another_network(path, classifier)
    for name, parameter in found.items():
        parameter.set_data(stored[name].astype(parameter.dtype))
    return [name for name in wanted if name not in found]
