"""Modified stacked hourglass: four hourglasses of lambda-residual blocks on the first blocks of ResNet-50.

V.-T. Hoang and K.-H. Jo, "Modified Stacked Hourglass Networks for Facial Landmarks Detection", Asian Conference on
Intelligent Information and Database Systems (ACIIDS), 2019.

Maps a face crop (N, 3, 256, 256), RGB normalized by ImageNet's mean and deviation, to one heatmap per landmark,
(N, K, 32, 32) with cells of eight pixels; `datasets.heatmaps` turns heatmaps into points. Every stack outputs heatmaps,
is trained on them, and passes them on; the network returns the last stack's.
Paper: 50 epochs on 300W-LP on one GTX 1080 Ti, time not stated; AUC at 7 % of the box 74.6 % on the 300-W test set and
68.2 % on Menpo-3D (Table 1).
Here:  python train_hourglass.py --dataset 300w_lp_3d --data DIR --out RUN

Numbers in brackets, such as [H3], point into docs/hourglass.md, where each detail the paper leaves open is settled.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Callable, Sequence

import mxnet as mx
import numpy as np
from mxnet import autograd
from mxnet.gluon import HybridBlock, nn

from common.options import option
from common.recipe import LandmarkRecipe
from gluon_models.backbones import BACKBONE_STAGES, BACKBONES, backbone, fill_features, layers_of_stages
from gluon_models.blocks import StagedNetwork, bottleneck_body, conv_bn, freeze, lies_on_gpu
from gluon_models.objective import BatchObjective
from gluon_models.spec import InputSpec, NetworkInput, upload_crops

Profiles = Callable[[np.ndarray], "tuple[np.ndarray, np.ndarray]"]

SPEC = InputSpec(
    size=256,  # not stated [H1]
    colour="rgb",
    mean=(123.675, 116.28, 103.53),  # not stated [H2]
    scale=(1 / 58.395, 1 / 57.12, 1 / 57.375),
    box_margin=0.1,  # not stated [H3]
    output="heatmaps",
    stride=8,  # not stated [H4]
    sigma=1.0,  # not stated [H5]
)


@dataclass(frozen=True)
class Recipe(LandmarkRecipe):
    """How the network is trained; every value has its section, or the ledger entry that chose it."""

    epochs: int = 50  # Sec. 4.1; the best one on validation faces is kept [H23]
    batch_size: int = 24  # Sec. 4.1
    optimizer: str = "adam"  # Sec. 4.1
    learning_rate: float = 4e-5  # Sec. 4.1
    schedule: str = "milestones"  # Sec. 4.1
    decay_factor: float = 0.1  # Sec. 4.1
    decay_milestones: tuple[int, ...] = (20, 35)  # Sec. 4.1, epochs
    warmup_epochs: float = 0.0  # none is stated
    weight_decay: float = 1e-4  # Sec. 4.1 [H18]
    decays_all: bool = option(  # not stated [H18]
        True, "weight decay of every trained number; off spares lambdas, biases and shifts", flag="wd-all"
    )
    loss: str = "sum"  # not stated [H15]
    decoding: str = option(  # Fig. 2: "max activations" [H17]
        "argmax", "how heatmaps become points: subpixel, argmax, quarter or enlarged"
    )
    score_init: str = option(  # Sec. 4.1
        "xavier", "initial weights of the layers that output heatmaps: xavier or zeros"
    )
    rotation_degrees: float = 50.0  # Sec. 4.1
    smallest_scale: float = 0.5  # Sec. 4.1
    largest_scale: float = 1.2  # Sec. 4.1
    shift_fraction: float = 0.0  # none is stated
    flip_probability: float = 0.5  # Sec. 4.1 names mirroring, not how often [H6]
    colour_jitter: bool = option(  # Sec. 4.1
        True, "augmentation: brightness, contrast and saturation, on or off"
    )
    photometric: bool = False  # blur, noise and occluding boxes are not stated
    average_decay: float = 0.0  # no weight averaging is stated


RECIPE = Recipe()

CPU_RECIPE = Recipe(
    epochs=30,
    batch_size=8,
    learning_rate=1e-3,
    schedule="cosine",
    warmup_epochs=0.5,
    weight_decay=0.0,
    loss="mean",
    score_init="zeros",
    rotation_degrees=30.0,
    smallest_scale=0.8,
    largest_scale=1.2,
    shift_fraction=0.05,
    flip_probability=0.5,
    colour_jitter=True,
    photometric=True,
    average_decay=0.998,
    decoding="subpixel",
)
"""Trains well on a CPU from ImageNet weights; what differs from the paper and why is [H7]."""

BLOCKS = ("lambda", "lambda_fixed", "original")
SKIPS = ("conv", "residual")
SCORE_INITS = ("xavier", "zeros")


class Lambda(nn.HybridBlock):
    """Multiplies by one number, which starts at 1 (Sec. 3: "a trainable number").

    Args:
        channels: of the input.
        trainable: else the number stays 1.
    """

    def __init__(self, channels: int, trainable: bool = True, **kwargs: Any):
        super().__init__(**kwargs)
        self._channels = channels
        with self.name_scope():
            self.factor = self.params.get(
                "lambda", shape=(1, 1, 1, 1), init=mx.init.One(), grad_req="write" if trainable else "null"
            )

    def hybrid_forward(self, F, x, factor):
        """x (N, channels, H, W) -> the same times lambda."""
        if lies_on_gpu(self.factor):
            return F.broadcast_mul(x, factor)
        # A convolution of one number per channel: on a CPU, the gradient of a broadcast product takes as long as that
        # of a whole 1x1 convolution, this a seventh. cuDNN would treat each channel as a convolution of its own.
        weight = F.broadcast_to(factor, (self._channels, 1, 1, 1))
        channels = self._channels
        return F.Convolution(x, weight, kernel=(1, 1), num_filter=channels, num_group=channels, no_bias=True)


class OriginalBlock(nn.HybridBlock):
    """The original residual block (Fig. 4c): y = F(x) + x, F ResNet's three convolutions behind a ReLU [H9]."""

    def __init__(self, channels: int, **kwargs: Any):
        super().__init__(**kwargs)
        with self.name_scope():
            self.body = bottleneck_body(channels)

    def hybrid_forward(self, F, x):
        """x (N, channels, H, W) -> the same shape."""
        return self.body(F.relu(x)) + x


class LambdaBlock(nn.HybridBlock):
    """The lambda-residual block (Fig. 4b): y = F(x) + lambda * x + BN(Conv1x1(ReLU(x))), F as in the original [H9].

    Args:
        channels: of input and output.
        trainable: else lambda stays 1.
    """

    def __init__(self, channels: int, trainable: bool = True, **kwargs: Any):
        super().__init__(**kwargs)
        with self.name_scope():
            self.body = bottleneck_body(channels)
            self.branch = conv_bn(channels, 1, relu=False)
            self.scale = Lambda(channels, trainable)

    def hybrid_forward(self, F, x):
        """x (N, channels, H, W) -> the same shape."""
        active = F.relu(x)
        return self.body(active) + self.scale(x) + self.branch(active)


@dataclass(frozen=True)
class Parts:
    """The building blocks of an hourglass.

    Attributes:
        channels: of all feature maps.
        block: of the main stream: "lambda", "lambda_fixed" (lambda stays 1) or "original".
        skip: of the branch stream: "conv" (1x1 convolution, Sec. 3) or "residual" (the same block as the main stream).
        merge_lambda: multiply the branch by a lambda where it joins the main stream.

    Raises:
        ValueError: there is no such block or branch.
    """

    channels: int
    block: str = "lambda"
    skip: str = "conv"
    merge_lambda: bool = False

    def __post_init__(self) -> None:
        """Checks the names."""
        _check("block", self.block, BLOCKS)
        _check("skip", self.skip, SKIPS)

    def make_block(self) -> nn.HybridBlock:
        """A block of the main stream."""
        if self.block == "original":
            return OriginalBlock(self.channels)
        return LambdaBlock(self.channels, trainable=self.block == "lambda")

    def make_skip(self) -> nn.HybridBlock:
        """The branch stream of one level [H10]."""
        return conv_bn(self.channels, 1, relu=False) if self.skip == "conv" else self.make_block()

    def make_merge(self) -> Lambda | None:
        """The factor of the branch where it joins the main stream, if any [H11]."""
        return Lambda(self.channels) if self.merge_lambda else None


class Hourglass(nn.HybridBlock):
    """The modified hourglass (Fig. 4a): at each of `depth` levels a branch at full size and a stream at half [H12]."""

    def __init__(self, depth: int, parts: Parts, **kwargs: Any):
        super().__init__(**kwargs)
        with self.name_scope():
            self.skip = parts.make_skip()
            self.pool = nn.MaxPool2D(2, 2)
            self.before = parts.make_block()
            self.inner = Hourglass(depth - 1, parts) if depth > 1 else parts.make_block()
            self.after = parts.make_block()
            self.merge = parts.make_merge()

    def hybrid_forward(self, F, x):
        """x (N, channels, H, W), sides divisible by 2 ** depth -> the same shape."""
        low = self.after(self.inner(self.before(self.pool(x))))
        skip = self.merge(self.skip(x)) if self.merge else self.skip(x)
        return F.UpSampling(low, scale=2, sample_type="nearest") + skip


class Stack(nn.HybridBlock):
    """One hourglass, then a block and a 1x1 convolution, from which a linear one computes the heatmaps [H13].

    Args:
        num_landmarks: K.
        depth: of the hourglass.
        parts: its building blocks.
        score_init: "xavier", or "zeros" for heatmaps that start at 0.
    """

    def __init__(self, num_landmarks: int, depth: int, parts: Parts, score_init: str, **kwargs: Any):
        super().__init__(**kwargs)
        with self.name_scope():
            self.hourglass = Hourglass(depth, parts)
            self.block = parts.make_block()
            self.features = conv_bn(parts.channels, 1)
            self.score = nn.Conv2D(num_landmarks, 1, weight_initializer="zeros" if score_init == "zeros" else None)

    def hybrid_forward(self, F, x):
        """x (N, channels, H, W) -> features of that shape, and heatmaps (N, K, H, W)."""
        features = self.features(self.block(self.hourglass(x)))
        return features, self.score(features)


class StackMerge(nn.HybridBlock):
    """Input of the next stack: the sum of a stack's features, its heatmaps and the backbone's features [H14]."""

    def __init__(self, parts: Parts, **kwargs: Any):
        super().__init__(**kwargs)
        with self.name_scope():
            self.features = conv_bn(parts.channels, 1, relu=False)
            self.maps = conv_bn(parts.channels, 1, relu=False)
            self.merge = parts.make_merge()

    def hybrid_forward(self, F, start, features, heatmaps):
        """Features of the backbone and of a stack (N, channels, H, W), heatmaps (N, K, H, W) -> (N, channels, H, W)."""
        return self.features(features) + self.maps(heatmaps) + (self.merge(start) if self.merge else start)


class HourglassCascade(nn.HybridBlock):
    """Backbone and stacks; returns the heatmaps of every stack.

    Args:
        features: the backbone.
        frozen: number of its first layers that are not trained.
        make_stack: builds one stack.
        stacks: how many.
        parts: building blocks of what joins them.
    """

    def __init__(
        self,
        features: nn.HybridSequential,
        frozen: int,
        make_stack: Callable[[], Stack],
        stacks: int,
        parts: Parts,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._frozen = frozen
        for layer in list(features)[:frozen]:
            freeze(layer)
        with self.name_scope():
            self.backbone = features
            self.reduce = conv_bn(parts.channels, 1)
            self.stacks = nn.HybridSequential(prefix="")
            self.merges = nn.HybridSequential(prefix="")
            for index in range(stacks):
                if index > 0:
                    self.merges.add(StackMerge(parts))
                self.stacks.add(make_stack())

    def hybrid_forward(self, F, faces):
        """faces (N, 3, S, S) -> heatmaps (N, K, S / stride, S / stride) of each stack in turn."""
        features = faces
        for index, layer in enumerate(self.backbone, start=1):
            features = layer(features)
            if index == self._frozen:
                features = F.BlockGrad(features)
        start = self.reduce(features)
        features, heatmaps = self.stacks[0](start)
        outputs = [heatmaps]
        for merge, stack in zip(self.merges, list(self.stacks)[1:]):
            features, heatmaps = stack(merge(start, features, heatmaps))
            outputs.append(heatmaps)
        return tuple(outputs)


class StackedHourglass(StagedNetwork):
    """The facial points estimator of Fig. 3: faces (N, 3, 256, 256) -> heatmaps (N, K, 256 / stride, 256 / stride).

    Args:
        num_landmarks: K.
        stacks: hourglasses in a row (Sec. 3: four).
        channels: of their feature maps.
        depth: how often an hourglass halves its feature maps.
        backbone_stride: 4, 8 or 16, pixels of the crop per heatmap cell.
        backbone_version: "v1" or "v2" of ResNet-50.
        block: see Parts.
        skip: see Parts.
        merge_lambda: see Parts.
        score_init: "xavier" (Sec. 4.1) or "zeros".
        frozen_stages: of the backbone that are not trained: 1 is conv1, 2 conv2_x as well, and so on [H16].

    Raises:
        ValueError: there is no such backbone, block or start, or the feature maps cannot be halved so often.
    """

    def __init__(
        self,
        num_landmarks: int = 68,
        stacks: int = 4,
        channels: int = 256,
        depth: int = 4,
        backbone_stride: int = SPEC.stride,
        backbone_version: str = "v1",
        block: str = "lambda",
        skip: str = "conv",
        merge_lambda: bool = False,
        score_init: str = "xavier",
        frozen_stages: int = 0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        _check("backbone_version", backbone_version, BACKBONES)
        _check("score_init", score_init, SCORE_INITS)
        if backbone_stride not in BACKBONE_STAGES:
            raise ValueError(f"no backbone of stride {backbone_stride}: choose 4, 8 or 16")
        if frozen_stages not in range(BACKBONE_STAGES[backbone_stride] + 2):
            raise ValueError(f"a backbone of stride {backbone_stride} has no {frozen_stages} stages to freeze")
        side = SPEC.size // backbone_stride
        if stacks < 1 or depth < 1 or side % 2**depth:
            raise ValueError(f"{stacks} stacks of depth {depth}: give 1 or more of each, {side} divisible by 2**depth")
        self.backbone_version = backbone_version
        parts = Parts(channels, block, skip, merge_lambda)
        with self.name_scope():
            features = backbone(backbone_version, backbone_stride)
            self.cascade = HourglassCascade(
                features,
                layers_of_stages(features, frozen_stages),
                lambda: Stack(num_landmarks, depth, parts, score_init),
                stacks,
                parts,
            )


def hourglass_resnet50(num_landmarks: int = 68, **settings: Any) -> StackedHourglass:
    """The paper's network. AUC at 7 % of the box: 74.6 % on the 300-W test set (Table 1)."""
    return StackedHourglass(num_landmarks, **settings)


LOSSES = ("mean", "sum")
DECAYED = ("_weight", "_gamma")  # endings of the names that MXNet's optimizer decays where it is used without Gluon


def decay_weights_alone(net: HybridBlock) -> None:
    """Spares lambdas, biases and the shifts of normalizations from weight decay [H18]."""
    for name, parameter in net.collect_params().items():
        if not name.endswith(DECAYED):
            parameter.wd_mult = 0.0


class HeatmapLoss(nn.HybridBlock):
    """Squared error over the cells of the annotated landmarks' heatmaps, per face and landmark [H15].

    Args:
        over_cells: "mean" or "sum".

    Raises:
        ValueError: there is no such loss.
    """

    def __init__(self, over_cells: str = LOSSES[0], **kwargs: Any):
        super().__init__(**kwargs)
        _check("loss", over_cells, LOSSES)
        self._sums = over_cells == "sum"

    def hybrid_forward(self, F, predicted, target, known):
        """predicted, target (N, K, H, W), known (N, K) of 0 or 1 -> (N,); 0 for a face without annotated landmarks."""
        squares = F.square(predicted - target)
        each = F.sum(squares, axis=(2, 3)) if self._sums else F.mean(squares, axis=(2, 3))
        return F.sum(each * known, axis=1) / F.maximum(F.sum(known, axis=1), 1)


def target_heatmaps(profiles: mx.nd.NDArray) -> mx.nd.NDArray:
    """Profiles (N, K, 2, S) along x and y -> heatmaps (N, K, S, S), on the device, which saves uploading them."""
    with autograd.pause():
        return profiles[:, :, 1].expand_dims(3) * profiles[:, :, 0].expand_dims(2)


class HeatmapObjective(BatchObjective):
    """Compares the heatmaps of every stack with the targets of the annotated points.

    Args:
        profiles: points_crop (N, K, 2), NaN where not annotated -> profiles (N, K, 2, cells) along x and y, whose
            products are the target heatmaps, and whether each landmark counts (N, K), as
            `datasets.heatmaps.HeatmapCodec.profiles`.
        spec: how the network sees a face.
        contexts: devices that batches will come on.
        loss: see HeatmapLoss.
    """

    def __init__(
        self, profiles: Profiles, spec: InputSpec, contexts: Sequence[mx.Context], loss: str = LOSSES[0]
    ) -> None:
        self._profiles = profiles
        self._input = NetworkInput(spec, contexts)
        self._loss = HeatmapLoss(loss)
        self._loss.hybridize(static_alloc=True, static_shape=True)

    def prepare(self, net: HybridBlock, arrays: Sequence[np.ndarray], context: mx.Context) -> Sequence[Any]:
        """Uploads crops (N, S, S, 3) uint8 and what follows from points_crop (N, K, 2), NaN where not annotated."""
        crops, points_crop = arrays
        return upload_crops(crops, context), *(mx.nd.array(each, context) for each in self._profiles(points_crop))

    def losses(self, net: HybridBlock, prepared: Sequence[Any], context: mx.Context) -> dict[str, mx.nd.NDArray]:
        """{"stack 1": (N,), ...}.

        `net.cascade` returns the heatmaps of every stack, as that of `StackedHourglass` does.
        """
        crops, profiles, known = prepared
        target = target_heatmaps(profiles)
        outputs = net.cascade(self._input.normalized(crops))
        return {f"stack {i}": self._loss(each, target, known) for i, each in enumerate(outputs, start=1)}


def load_backbone(net: StackedHourglass, path: str | os.PathLike[str]) -> list[str]:
    """Fills the backbone of an initialised network, its shapes settled, from a classifier of Gluon's model zoo.

    Args:
        net: whose backbone is filled.
        path: parameters of `resnet50_v1` or `resnet50_v2`, as `save_parameters` names them; float16 will do.

    Returns:
        Names of the backbone's parameters that the file does not have, which stay as they are.

    Raises:
        FileNotFoundError, ValueError: there is no such file, or it is of another network.
    """
    return fill_features(net.cascade.backbone, path, f"resnet50_{net.backbone_version}")


def _check(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"unknown {what} '{value}': choose one of {', '.join(known)}")
