"""DeepPose on faces: a ResNet-18, pre-trained on ImageNet, whose last layer outputs the coordinates of all landmarks.

M. Zupancic, "Facial Landmarks Detection with ResNet18", CS231n 22/23, Stanford; after A. Toshev and C. Szegedy,
"DeepPose: Human Pose Estimation via Deep Neural Networks", CVPR 2014.

Maps a face crop (N, 3, 256, 256), RGB normalized by ImageNet's mean and deviation, to K landmarks (N, K, 2) as
fractions of the crop, x then y.
Paper: 100 epochs on HELEN's 194 points, hardware and time not stated; mean squared error 27.84 on the 330 test faces.
Here:  python -m tools.search train_deeppose.py --dataset helen194 --data DIR --imagenet FILE --out SEARCH
       python train_deeppose.py --dataset helen194 --data DIR --imagenet FILE --lr RATE --wd DECAY --out RUN

Numbers in brackets, such as [D3], point into docs/deeppose.md, where each detail the paper leaves open is settled.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from mxnet.gluon import nn
from mxnet.gluon.model_zoo.vision import BasicBlockV1, ResNetV1

from common.options import option
from common.recipe import LandmarkRecipe
from gluon_models.backbones import fill_features
from gluon_models.spec import InputSpec

SPEC = InputSpec(
    size=256,  # Sec. III
    colour="rgb",
    mean=(123.675, 116.28, 103.53),  # Sec. III: ImageNet's
    scale=(1 / 58.395, 1 / 57.12, 1 / 57.375),
    box_margin=0.25,  # not stated [D2]
    output="points",
)


@dataclass(frozen=True)
class Recipe(LandmarkRecipe):
    """How the network is trained; each value has its section, or the ledger entry that chose it."""

    epochs: int = 100  # Sec. III; the best one on validation faces is kept [D14]
    batch_size: int = 32  # not stated [D3]
    optimizer: str = "adam"  # Sec. III
    learning_rate: float = 1e-3  # found by random search, its value is not stated [D4]
    schedule: str = "constant"  # none is stated
    decay_factor: float = 0.1  # of the step schedule, unused
    decay_epochs: int = 30
    warmup_epochs: float = 0.0  # none is stated
    weight_decay: float = 1e-5  # found by random search, its value is not stated [D4]
    loss: str = "mse"  # Sec. III
    samples: int = option(  # Sec. III: "left with 8000 samples"
        8000, "samples made once: each face, then augmented copies; 0 augments faces in every epoch", least=0
    )
    rotation_degrees: float = 20.0  # Sec. III names rotation, not how much [D5]
    scale_fraction: float = 0.1  # Sec. III names cropping, not how much [D5]
    shift_fraction: float = 0.05  # likewise
    flip_probability: float = 0.0  # none is stated
    brightness_fraction: float = 0.2  # Sec. III: "adjust pixel intensities" [D5]
    contrast_fraction: float = option(  # likewise
        0.2, "augmentation: largest change of contrast, as a fraction"
    )
    photometric: bool = False  # saturation, blur, noise and occluding boxes are not stated
    average_decay: float = 0.0  # no weight averaging is stated


RECIPE = Recipe()
CPU_RECIPE = Recipe(
    epochs=40,
    schedule="cosine",
    warmup_epochs=1.0,
    weight_decay=5e-4,
    loss="normalized_l1",
    samples=0,
    rotation_degrees=30.0,
    scale_fraction=0.2,
    shift_fraction=0.08,
    flip_probability=0.5,
    photometric=True,
    average_decay=0.998,
)
"""Trains better on a CPU; what differs from the paper and why is [D6]."""
RECIPES = {"paper": {"": RECIPE}, "cpu": {"": CPU_RECIPE}}


class DeepPose(nn.HybridBlock):
    """ResNet-18 up to its pooling, and "a new regression layer" (Sec. III, Fig. 2).

    Args:
        num_landmarks: K.
    """

    def __init__(self, num_landmarks: int = 194, **kwargs: Any):
        super().__init__(**kwargs)
        self._num_landmarks = num_landmarks
        with self.name_scope():
            resnet = ResNetV1(BasicBlockV1, [2, 2, 2, 2], [64, 64, 128, 256, 512])
            self.features = resnet.features
            self.points = nn.Dense(2 * num_landmarks)

    def hybrid_forward(self, F, faces):
        """faces (N, 3, 256, 256) -> (N, K, 2) fractions of the crop."""
        return F.reshape(self.points(self.features(faces)), (-1, self._num_landmarks, 2)) + 0.5  # [D7]


def deeppose_resnet18(num_landmarks: int = 194) -> DeepPose:
    """The paper's network [D1]. Mean squared error 27.84 on HELEN's test faces (Sec. V)."""
    return DeepPose(num_landmarks)


def load_features(net: DeepPose, path: str | os.PathLike[str]) -> list[str]:
    """Fills the layers before the regression layer from a classifier of Gluon's model zoo [D15].

    Args:
        net: initialised, its shapes settled.
        path: parameters of `resnet18_v1` or of its first stages, as `save_parameters` names them; float16 will do.

    Returns:
        Names of the layers' parameters that the file lacks; they stay unchanged.

    Raises:
        FileNotFoundError, ValueError: there is no such file, or it is of another network.
    """
    return fill_features(net.features, path, "resnet18_v1")
