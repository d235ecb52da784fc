"""FFLD: fine-grained facial landmark detection exploiting intermediate feature representations.

Y. Yan, S. Duffner, P. Phutane, A. Berthelier, X. Naturel, C. Blanc, C. Garcia and T. Chateau, Computer Vision and Image
Understanding 200 (2020), 103036.

Maps a face crop (N, 3, 224, 224), RGB scaled to [-1, 1], to K landmarks (N, K, 2) as fractions of the crop, x then y.
The baseline network (Sec. 3.1), a ResNet with a quarter of the channels, finds them roughly; each of three CropNets
(Sec. 3.2) then takes patches around them from ever finer feature maps of the same ResNet and outputs a correction.
Paper: the baseline 80 epochs on 300W-LP, then 350 on 300-W, 4.38 % inter-ocular NME on the common subset with
ResNet-18; then all of it 400 epochs on 300-W, 3.18 % (Table 1). 130 faces per second on a GTX 1080 Ti (Sec. 6.5).
Here:  python train_ffld.py --model resnet18_slim --dataset 300w --data DIR --out BASELINE
       python train_ffld.py --model ffld_resnet18 --init BASELINE/best.params --dataset 300w --data DIR --out RUN

Numbers in brackets, such as [F3], point into docs/ffld.md, where each detail the paper leaves open is settled.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Callable, Sequence

from mxnet.gluon import nn

from common.options import option
from common.recipe import LandmarkRecipe
from gluon_models.blocks import ResidualBlock, StagedNetwork, basic_block, bottleneck_block, conv_bn
from gluon_models.ffld.crop import PATCH, SELECTED, PatchCrop
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
class Recipe(LandmarkRecipe):
    """How a network is trained, by default the baseline; each value has its section, or the entry that chose it."""

    epochs: int = 350  # Sec. 6.6, on 300-W; from Xavier weights [F13]
    batch_size: int = 64  # Sec. 6.6
    optimizer: str = "adam"  # Sec. 6.6
    learning_rate: float = 1e-4  # Sec. 6.6
    schedule: str = "step"  # Sec. 6.6
    decay_factor: float = 0.3  # Sec. 6.6 [F9]
    decay_epochs: int = 50  # Sec. 6.6
    warmup_epochs: float = 0.0  # none is stated
    weight_decay: float = 5e-4  # Sec. 6.6 [F10]
    loss: str = "normalized_l2"  # Sec. 4.1, Eq. 1
    gaussian_patience: int = option(  # Sec. 6.6: "once the loss stops going down" [F23]
        10, "epochs without a lower loss after which Align Loss drops its Gaussian", metavar="EPOCHS"
    )
    rotation_degrees: float = 20.0  # Sec. 6.6, printed as a percentage [F3]
    scale_fraction: float = 0.2  # Sec. 6.6
    shift_fraction: float = 0.1  # Sec. 6.6
    flip_probability: float = 0.0  # not stated [F4]
    photometric: bool = False  # not stated [F4]
    balance_poses: bool = option(  # Sec. 6.6: on AFLW [F27]
        False, "repeat faces of rare poses until all poses are equally frequent, on or off"
    )
    average_decay: float = 0.0  # no weight averaging is stated
    branch_start: str = option(  # not stated [F28]
        "ones", "ResNet-50: scale that each residual branch's last normalization starts from, ones or zeros"
    )


RECIPE = Recipe()
LARGE_POSE_RECIPE = replace(RECIPE, epochs=80, learning_rate=2e-4, schedule="constant")
"""Pre-training of the baseline on 300W-LP (Sec. 6.6) [F24]."""
AFLW_RECIPE = replace(RECIPE, epochs=56, decay_epochs=8, balance_poses=True)
"""The baseline on AFLW (Sec. 6.6)."""
REFINEMENT_RECIPE = replace(RECIPE, epochs=400, learning_rate=5e-4, decay_epochs=80, loss="normalized_l2/l2/l1/align")
"""All of FFLD, from a trained baseline (Sec. 6.6); the losses are Table 5's best column."""
AFLW_REFINEMENT_RECIPE = replace(REFINEMENT_RECIPE, balance_poses=True)
"""The same on AFLW [F25]."""

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
    branch_start="zeros",
)
"""Trains the baseline well from random weights on a CPU; what differs from the paper and why is [F5]."""
CPU_REFINEMENT_RECIPE = replace(
    CPU_RECIPE,
    loss="normalized_l1/normalized_l1/normalized_l1/normalized_l1",
    rotation_degrees=20.0,
    scale_fraction=0.12,
    shift_fraction=0.05,
)
"""The same for all of FFLD, from a trained baseline [F5]."""

RECIPES = {
    "paper": {
        "": RECIPE,
        "300w_lp": LARGE_POSE_RECIPE,
        "aflw": AFLW_RECIPE,
        "ffld": REFINEMENT_RECIPE,
        "ffld aflw": AFLW_REFINEMENT_RECIPE,
    },
    "cpu": {"": CPU_RECIPE, "ffld": CPU_REFINEMENT_RECIPE},
}
"""By name, then by network and data set; "" is the baseline on any that is not named."""


def recipes_for(model: str, dataset: str) -> dict[str, Recipe]:
    """What each name of `RECIPES` means for a network and a data set, by the names of the command line."""
    network = "ffld" if model.startswith("ffld") else ""
    kinds = (f"{network} {dataset}".strip(), network)
    return {name: next(recipes[kind] for kind in (*kinds, "") if kind in recipes) for name, recipes in RECIPES.items()}


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
        self.num_landmarks = num_landmarks
        self.map_channels = (channels[2], channels[1], channels[0])
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
        """faces (N, 3, 224, 224) -> (N, K, 2) fractions of the crop; 0.5 is its centre [F7]."""
        return self.with_maps(F, faces)[0]

    def with_maps(self, F, faces):
        """The same, and the CropNets' feature maps: (N, `map_channels`, S, S), S = 28, 56 and 112 [F16]."""
        maps = [self.stem(faces)]
        features = self.pool(maps[0])
        for stage in self.stages:
            features = stage(features)
            maps.append(features)
        offsets = self.points(self.average(features))
        return F.reshape(offsets, (-1, self.num_landmarks, 2)) + 0.5, (maps[2], maps[1], maps[0])


def resnet18_slim(num_landmarks: int = 68) -> SlimResNet:
    """Quarter-width ResNet-18 [F8], 706,998 parameters at 19 landmarks. 4.38 % on 300-W common (Table 1)."""
    return SlimResNet(num_landmarks, basic_block, (2, 2, 2, 2), (16, 16, 32, 64, 128))


def resnet50_slim(num_landmarks: int = 68, branch_start: str = "ones") -> SlimResNet:
    """Quarter-width ResNet-50. 4.12 % on 300-W common (Table 1).

    Args:
        num_landmarks: K.
        branch_start: scale that each residual branch's last normalization starts from, "ones" or "zeros" [F28].

    Raises:
        ValueError: there is no such start.
    """
    if branch_start not in BRANCH_STARTS:
        raise ValueError(f"unknown --branch-start '{branch_start}': choose one of {', '.join(BRANCH_STARTS)}")
    block = partial(bottleneck_block, last_scale=branch_start)
    return SlimResNet(num_landmarks, block, (3, 4, 6, 3), (16, 64, 128, 256, 512))


BRANCH_STARTS = ("ones", "zeros")
MAP_SIZES = (SPEC.size // 8, SPEC.size // 4, SPEC.size // 2)  # Sec. 3.2: the third, second and first level


class CropNet(nn.HybridBlock):
    """Table 7: batch normalization, a residual block to 128 channels, max-pooling, one dense layer of 2K outputs.

    The dense layer starts at zero (Sec. 6.6), so that an untrained CropNet does not move the points.
    """

    def __init__(self, num_landmarks: int, **kwargs: Any):
        super().__init__(**kwargs)
        self._num_landmarks = num_landmarks
        with self.name_scope():
            self.norm = nn.BatchNorm()
            self.block = basic_block(128, SELECTED * num_landmarks)
            self.pool = nn.MaxPool2D(PATCH, PATCH)
            self.offsets = nn.Dense(2 * num_landmarks, weight_initializer="zeros")

    def hybrid_forward(self, F, patches):
        """patches (N, 4K, 8, 8) -> corrections (N, K, 2) in cells of the patch."""
        return F.reshape(self.offsets(self.pool(self.block(self.norm(patches)))), (-1, self._num_landmarks, 2))


class Refinement(nn.HybridBlock):
    """One stage: crops patches around the points so far and adds the CropNet's corrections.

    Args:
        num_landmarks: K.
        channels: of the feature map.
        map_size: its height and width.
        map_gradient: let this stage's gradient through to the feature map, the paper's "low level" (Table 6, Eq. 8).
        location_gradient: let it through to the points so far, its "crop location" (Table 6, Eq. 16) [F18].
    """

    def __init__(
        self,
        num_landmarks: int,
        channels: int,
        map_size: int,
        map_gradient: bool = True,
        location_gradient: bool = True,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._map_size, self._location_gradient = map_size, location_gradient
        with self.name_scope():
            self.crop = PatchCrop(num_landmarks, channels, map_size, map_gradient)
            self.cropnet = CropNet(num_landmarks)

    def hybrid_forward(self, F, maps, points):
        """maps (N, C, size, size), points (N, K, 2) fractions of the crop -> better points (N, K, 2)."""
        points = points if self._location_gradient else F.BlockGrad(points)
        return points + self.cropnet(self.crop(maps, points)) / self._map_size  # [F17]


class Cascade(nn.HybridBlock):
    """The baseline network and its refinements; returns the points of every stage.

    Args:
        baseline: outputs the first points.
        refinements: one to three, coarsest map first.
    """

    def __init__(self, baseline: SlimResNet, refinements: Sequence[Refinement], **kwargs: Any):
        super().__init__(**kwargs)
        self.baseline = baseline
        self.refinements = nn.HybridSequential(prefix="")
        self.refinements.add(*refinements)

    def hybrid_forward(self, F, faces):
        """faces (N, 3, 224, 224) -> (N, K, 2) fractions of the crop of the baseline and of each refinement in turn."""
        return tuple(self.with_maps(F, faces)[0])

    def with_maps(self, F, faces):
        """The same as a list, and the feature map of each refinement."""
        points, maps = self.baseline.with_maps(F, faces)
        stages = [points]
        for refinement, features in zip(self.refinements, maps):
            stages.append(refinement(features, stages[-1]))
        return stages, maps[: len(self.refinements)]


class FFLD(StagedNetwork):
    """The network of Fig. 1: faces (N, 3, 224, 224) -> (N, K, 2) fractions of the crop.

    Args:
        baseline: of Sec. 3.1.
        num_stages: refinements, 1 to 3.
        map_gradient: see Refinement.
        location_gradient: see Refinement.

    Raises:
        ValueError: there is no such number of stages.
    """

    def __init__(
        self,
        baseline: SlimResNet,
        num_stages: int = 3,
        map_gradient: bool = True,
        location_gradient: bool = True,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if num_stages not in range(1, len(MAP_SIZES) + 1):
            raise ValueError(f"FFLD has 1 to {len(MAP_SIZES)} refinement stages, not {num_stages}")
        self.num_stages = num_stages
        with self.name_scope():
            levels = list(zip(baseline.map_channels, MAP_SIZES))[:num_stages]
            refinements = [
                Refinement(baseline.num_landmarks, channels, size, map_gradient, location_gradient)
                for channels, size in levels
            ]
            self.cascade = Cascade(baseline, refinements)


def ffld_resnet18(num_landmarks: int = 68, **settings: Any) -> FFLD:
    """FFLD on ResNet-18, 1.46 M parameters at 19 landmarks (Sec. 6.5). 3.18 % on 300-W common (Table 1)."""
    return FFLD(resnet18_slim(num_landmarks), **settings)


def ffld_resnet50(num_landmarks: int = 68, branch_start: str = "ones", **settings: Any) -> FFLD:
    """FFLD on ResNet-50. 3.06 % on 300-W common (Table 1)."""
    return FFLD(resnet50_slim(num_landmarks, branch_start), **settings)
