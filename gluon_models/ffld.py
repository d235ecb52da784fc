"""FFLD: fine-grained facial landmark detection exploiting intermediate feature representations.

Y. Yan, S. Duffner, P. Phutane, A. Berthelier, X. Naturel, C. Blanc, C. Garcia and T. Chateau, Computer Vision and Image
Understanding 200 (2020), 103036.

Here is its baseline network (Sec. 3.1): a ResNet with a quarter of the channels, which maps a face crop
(N, 3, 224, 224), RGB scaled to [-1, 1], to K landmarks (N, K, 2) as fractions of the crop, x then y.
Paper: 80 epochs on 300W-LP, then 350 on 300-W; 4.38 % inter-ocular NME on the common subset with ResNet-18 (Table 1).
Here:  python train_ffld.py --model resnet18_slim --dataset 300w --data DIR

Numbers in brackets, such as [F3], point into docs/ffld.md, where each detail the paper leaves open is settled.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Callable, Sequence

from mxnet.gluon import nn

from gluon_models.blocks import ResidualBlock, basic_block, bottleneck_block, conv_bn
from gluon_models.spec import InputSpec

SPEC = InputSpec(
    size=224,  # Sec. 6.5
    colour="rgb",
    mean=(127.5, 127.5, 127.5),  # not stated [F1]
    scale=(1 / 127.5, 1 / 127.5, 1 / 127.5),
    box_margin=0.25,  # not stated [F2]
    output="points",
)


@dataclass(frozen=True)
class Recipe:
    """How the baseline network is trained; every value has its section, or the ledger entry that chose it."""

    epochs: int = 350  # Sec. 6.6, on 300-W
    batch_size: int = 64  # Sec. 6.6
    learning_rate: float = 1e-4  # Sec. 6.6
    schedule: str = "step"  # Sec. 6.6
    decay_factor: float = 0.3  # Sec. 6.6
    decay_epochs: int = 50  # Sec. 6.6
    warmup_epochs: float = 0.0
    weight_decay: float = 5e-4  # Sec. 6.6
    loss: str = "normalized_l2"  # Sec. 4.1, Eq. 1
    rotation_degrees: float = 20.0  # Sec. 6.6, printed as a percentage [F3]
    scale_fraction: float = 0.2  # Sec. 6.6
    shift_fraction: float = 0.1  # Sec. 6.6
    flip_probability: float = 0.0  # not stated [F4]
    photometric: bool = False  # not stated [F4]
    average_decay: float = 0.0  # no weight averaging is stated


RECIPE = Recipe()

CPU_RECIPE = Recipe(
    epochs=240,
    batch_size=32,
    learning_rate=1e-3,
    schedule="cosine",
    warmup_epochs=2.0,
    weight_decay=5e-4,
    loss="normalized_l1",
    rotation_degrees=30.0,
    scale_fraction=0.2,
    shift_fraction=0.08,
    flip_probability=0.5,
    photometric=True,
    average_decay=0.998,
)
"""Trains well from random weights on a CPU; what differs from the paper and why is [F5]."""


class SlimResNet(nn.HybridBlock):
    """The baseline network of Sec. 3.1: ResNet with 75 % of the channels taken away, one dense layer of 2K outputs.

    Args:
        num_landmarks: K.
        block: builds a residual block from (channels, in_channels, stride).
        layers: residual blocks in each of the four stages.
        channels: of the first convolution, then of the four stages.
    """

    def __init__(
        self,
        num_landmarks: int,
        block: Callable[[int, int, int], ResidualBlock],
        layers: Sequence[int],
        channels: Sequence[int],
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._num_landmarks = num_landmarks
        with self.name_scope():
            self.stem = conv_bn(channels[0], 7, 2)
            self.pool = nn.MaxPool2D(3, 2, 1)
            self.stages = nn.HybridSequential(prefix="")
            for i, count in enumerate(layers):
                stage = nn.HybridSequential(prefix="")
                stage.add(block(channels[i + 1], channels[i], 1 if i == 0 else 2))
                for _ in range(count - 1):
                    stage.add(block(channels[i + 1], channels[i + 1], 1))
                self.stages.add(stage)
            self.average = nn.GlobalAvgPool2D()
            self.points = nn.Dense(2 * num_landmarks)

    def hybrid_forward(self, F, faces):
        """faces (N, 3, 224, 224) -> (N, K, 2) fractions of the crop; 0.5 is its centre."""
        features = self.stages(self.pool(self.stem(faces)))
        offsets = self.points(self.average(features))
        return F.reshape(offsets, (-1, self._num_landmarks, 2)) + 0.5


def resnet18_slim(num_landmarks: int = 68) -> SlimResNet:
    """Quarter-width ResNet-18, 706,998 parameters at 19 landmarks. 4.38 % on 300-W common (Table 1)."""
    return SlimResNet(num_landmarks, basic_block, (2, 2, 2, 2), (16, 16, 32, 64, 128))


def resnet50_slim(num_landmarks: int = 68) -> SlimResNet:
    """Quarter-width ResNet-50. 4.12 % on 300-W common (Table 1)."""
    return SlimResNet(num_landmarks, bottleneck_block, (3, 4, 6, 3), (16, 64, 128, 256, 512))


class PointLoss(nn.HybridBlock):
    """The losses on points of Sec. 4, per face, over the annotated landmarks.

    Args:
        kind: "normalized_l2" (Eq. 1, squared distance over the inter-ocular distance), "l2" (squared distance), "l1",
            or "normalized_l1" (ours [F5]: absolute error over the inter-ocular distance).

    Raises:
        ValueError: `kind` is not known.
    """

    KINDS: tuple[str, ...] = ("normalized_l2", "l2", "l1", "normalized_l1")

    def __init__(self, kind: str, **kwargs: Any):
        super().__init__(**kwargs)
        if kind not in self.KINDS:
            raise ValueError(f"unknown loss '{kind}': choose one of {', '.join(self.KINDS)}")
        self._squared = kind.endswith("l2")
        self.normalized = kind.startswith("normalized")

    def hybrid_forward(self, F, predicted, truth, known, eye_distance):
        """predicted, truth (N, K, 2), known (N, K, 1) of 0 or 1, eye_distance (N,), all in one unit -> (N,)."""
        error = F.broadcast_mul(predicted - truth, known)
        each = F.square(error) if self._squared else F.abs(error)
        total = F.sum(each, axis=(1, 2))
        return total / eye_distance if self.normalized else total


def parameter_count(net: nn.HybridBlock) -> int:
    """Trained numbers of an initialised network; running statistics do not count."""
    return sum(math.prod(p.shape) for p in net.collect_params().values() if p.grad_req != "null")
