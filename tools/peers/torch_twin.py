"""Measures networks in PyTorch on this machine, for python -m tools.benchmark --peers; prints one line of JSON.

Their weights are random: time does not depend on them. They take crops as a camera gives them, with the channels last,
which is PyTorch's faster layout on a CPU.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import Any, Callable, NamedTuple, Sequence

import numpy as np
import torch
from torch import nn

from common import cli
from datasets.render.faces import RenderedFaces
from engine.timing import time_prediction
from tools.peers.torch_networks import FAN, FFLD, SlimResNet, StackedHourglass


def peaks(maps: torch.Tensor) -> torch.Tensor:
    """Maps (N, K, H, W) -> the place of the largest cell of each, (N, K)."""
    return maps.flatten(2).argmax(2)


class Peer(NamedTuple):
    """A network to measure, the side of its crops, and what makes points of its answer."""

    build: Callable[[], nn.Module]
    size: int
    read_out: Callable[[torch.Tensor], torch.Tensor] = torch.Tensor.contiguous


PEERS = {
    "resnet18_slim": Peer(SlimResNet, 224),
    "ffld_resnet18": Peer(FFLD, 224),
    "hourglass_resnet50": Peer(StackedHourglass, 256, peaks),
    "fan": Peer(FAN, 256, peaks),
}


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
