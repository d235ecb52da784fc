"""Measures networks in PyTorch on this machine, for python -m tools.benchmark --peers; prints one line of JSON.

"twin" is resnet18_slim of gluon_models layer by layer; "fan" is the network of A. Bulat and G. Tzimiropoulos, "How
far are we from solving the 2D & 3D face alignment problem?", ICCV 2017. Their weights are random: time does not depend
on them. Both take crops as a camera gives them, with the channels last, which is PyTorch's faster layout on a CPU.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import Any, Callable, NamedTuple, Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from common import cli
from datasets.render.faces import RenderedFaces
from engine.timing import time_prediction


def conv_bn(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Convolution without bias that keeps the size but for its stride, and batch normalization."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs))


class BasicBlock(nn.Module):
    """The residual block of ResNet-18."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv_bn(inputs, outputs, 3, stride), nn.ReLU(), conv_bn(outputs, outputs, 3))
        changes = stride != 1 or inputs != outputs
        self.shortcut = conv_bn(inputs, outputs, 1, stride) if changes else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (N, inputs, H, W) -> (N, outputs, H / stride, W / stride)."""
        return functional.relu(self.body(x) + self.shortcut(x))


class SlimResNet(nn.Module):
    """The twin of gluon_models.ffld.network.resnet18_slim."""

    def __init__(self, num_landmarks: int = 68) -> None:
        super().__init__()
        stages = [BasicBlock(16, 16, 1), BasicBlock(16, 16, 1)]
        for inputs, outputs in ((16, 32), (32, 64), (64, 128)):
            stages += [BasicBlock(inputs, outputs, 2), BasicBlock(outputs, outputs, 1)]
        self.layers = nn.Sequential(
            conv_bn(3, 16, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1), *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        self.points = nn.Linear(128, 2 * num_landmarks)

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        """Faces (N, 3, 224, 224) -> (N, K, 2) fractions of the crop."""
        return self.points(self.layers(faces)).unflatten(1, (-1, 2)) + 0.5


def bn_relu_conv(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    """Batch normalization, ReLU and a convolution without bias."""
    return nn.Sequential(
        nn.BatchNorm2d(inputs), nn.ReLU(), nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    )


class ParallelBlock(nn.Module):
    """FAN's block: three convolutions in a row, whose outputs are joined, and the way around them (Sec. 3)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        half, quarter = outputs // 2, outputs // 4
        self.first, self.second = bn_relu_conv(inputs, half, 3), bn_relu_conv(half, quarter, 3)
        self.third = bn_relu_conv(quarter, quarter, 3)
        self.shortcut = nn.Identity() if inputs == outputs else bn_relu_conv(inputs, outputs, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (N, inputs, H, W) -> (N, outputs, H, W)."""
        first = self.first(x)
        second = self.second(first)
        return torch.cat((first, second, self.third(second)), 1) + self.shortcut(x)


class Hourglass(nn.Module):
    """FAN's hourglass of some depth."""

    def __init__(self, depth: int, channels: int) -> None:
        super().__init__()
        self.branch, self.down, self.up = (ParallelBlock(channels, channels) for _ in range(3))
        self.inner = Hourglass(depth - 1, channels) if depth > 1 else ParallelBlock(channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (N, channels, H, W) -> the same shape."""
        low = self.up(self.inner(self.down(functional.avg_pool2d(x, 2))))
        return self.branch(x) + functional.interpolate(low, scale_factor=2.0, mode="nearest")


class Stack(nn.Module):
    """An hourglass and the layers that read its features."""

    def __init__(self, num_landmarks: int, channels: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            Hourglass(4, channels),
            ParallelBlock(channels, channels),
            nn.Conv2d(channels, channels, 1),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        )
        self.maps = nn.Conv2d(channels, num_landmarks, 1)


class FAN(nn.Module):
    """Four stacked hourglasses of depth 4 and 256 channels."""

    def __init__(self, num_landmarks: int = 68, stacks: int = 4, channels: int = 256) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 64, 7, 2, 3),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            ParallelBlock(64, 128),
            nn.AvgPool2d(2),
            ParallelBlock(128, 128),
            ParallelBlock(128, channels),
        )
        self.stacks = nn.ModuleList(Stack(num_landmarks, channels) for _ in range(stacks))
        self.from_features = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(stacks - 1))
        self.from_maps = nn.ModuleList(nn.Conv2d(num_landmarks, channels, 1) for _ in range(stacks - 1))

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        """Faces (N, 3, 256, 256) -> the last stack's heatmaps (N, K, 64, 64)."""
        x = self.stem(faces)
        for index, stack in enumerate(self.stacks):
            features = stack.features(x)
            maps = stack.maps(features)
            if index < len(self.from_maps):
                x = x + self.from_features[index](features) + self.from_maps[index](maps)
        return maps


def peaks(maps: torch.Tensor) -> torch.Tensor:
    """Maps (N, K, H, W) -> the place of the largest cell of each, (N, K)."""
    return maps.flatten(2).argmax(2)


class Peer(NamedTuple):
    """A network to measure, the side of its crops, and what makes points of its answer."""

    build: Callable[[], nn.Module]
    size: int
    read_out: Callable[[torch.Tensor], torch.Tensor] = torch.Tensor.contiguous


PEERS = {"twin": Peer(SlimResNet, 224), "fan": Peer(FAN, 256, peaks)}


class Predictor:
    """Runs a peer on crops (n, S, S, 3) uint8.

    Args:
        peer: the network.
        compiled: through torch.compile.
    """

    def __init__(self, peer: Peer, compiled: bool) -> None:
        net: Any = peer.build().eval().to(memory_format=torch.channels_last)
        self._net, self._read_out = torch.compile(net, dynamic=False) if compiled else net, peer.read_out

    def __call__(self, crops: np.ndarray) -> np.ndarray:
        """The answer for each crop."""
        with torch.inference_mode():
            faces = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 127.5 - 1
            return self._read_out(self._net(faces)).numpy()


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.make_parser(__doc__)
    parser.add_argument("peer", choices=tuple(PEERS))
    parser.add_argument("--compile", action="store_true", help="through torch.compile, which needs a C++ compiler")
    parser.add_argument("--seconds", type=cli.positive, default=10.0, help="length of each measurement")
    parser.add_argument("--seed", type=cli.seed, default=0, help="of the weights and of the rendered faces")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Prints what it costs."""
    arguments = make_parser().parse_args(argv)
    torch.manual_seed(arguments.seed)
    peer = PEERS[arguments.peer]
    crops = np.stack([face.image for face in RenderedFaces(8, arguments.seed, peer.size)])
    print(json.dumps(asdict(time_prediction(Predictor(peer, arguments.compile), crops, arguments.seconds))))
    return 0


if __name__ == "__main__":
    cli.run(main)
