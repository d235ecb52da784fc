"""LGCN: robust facial landmark detection via a fully-convolutional local-global context network.

D. Merget, M. Rock and G. Rigoll, IEEE Conference on Computer Vision and Pattern Recognition (CVPR), 2018, 781-790.

Maps a face crop (N, 1, 96, 96), gray, (x / 128 - 1) / 10, to one heatmap per landmark, (N, K, 96, 96) with cells of one
pixel; a crop of H x W gives heatmaps of H x W. A subnet of small convolutions finds landmarks from their surroundings,
a wide kernel blurs its heatmaps (Eq. 1), and dilated convolutions over the blurred heatmaps of all landmarks correct
them (Eq. 2). `inference.shape_model` turns heatmaps into points.
Paper: 75 epochs over 18 variants of each 300-W training face at 20 variants per second on a GTX 1080 Ti; median
error over the inter-ocular distance on LFPW and HELEN 3.04 % without and 2.86 % with the shape model (Table 1).
Here:  python train_lgcn.py --dataset 300w --data DIR --out RUN

Numbers in brackets, such as [L3], point into docs/lgcn.md, where each detail the paper leaves open is settled.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import mxnet as mx
import numpy as np
from mxnet.gluon import nn

from common.options import option
from common.recipe import LandmarkRecipe
from gluon_models.blocks import StagedNetwork
from gluon_models.spec import InputSpec

SPEC = InputSpec(
    size=96,  # Sec. 3.1
    colour="gray",  # Sec. 3.1
    mean=(128.0,),  # the authors' code [L1]
    scale=(0.1 / 128,),
    box_margin=0.17,  # Sec. 4, for Menpo [L2]
    output="heatmaps",
    stride=1,  # Sec. 3.2: nothing shrinks the heatmaps
    sigma=2.0,  # of the Gaussian whose peak is as sharp as that of Eq. 1 [L3]
)


@dataclass(frozen=True)
class Recipe(LandmarkRecipe):
    """How the network is trained; each value has its section, or the ledger entry that chose it."""

    epochs: int = 75  # Sec. 4
    batch_size: int = 20  # Sec. 4
    optimizer: str = "sgd"  # Sec. 4, "with momentum"
    momentum: float = 0.9  # the authors' code [L12]
    learning_rate: float = 1e-3  # of each face, not of their mean; the authors' code [L12]
    schedule: str = option(  # the authors' code [L13]
        "authors", "learning-rate schedule: authors, milestones, cosine or constant"
    )
    warmup_epochs: float = 0.0  # none is stated
    weight_decay: float = 0.0  # none is stated
    gradient_clip: float = 0.1  # Sec. 4: "a threshold of 10%" [L14]
    loss: str = "square_eq4"  # Eq. 4 [L9]
    dropout: float = 0.1  # Sec. 4
    variants: int = option(  # Sec. 4 [L15]
        18, "how often each face occurs in an epoch, augmented differently every time", least=1
    )
    rotation_degrees: float = 30.0  # Sec. 4
    scale_fraction: float = 0.125  # Sec. 4
    shift_fraction: float = 0.0  # none is stated
    flip_probability: float = 0.5  # Sec. 4: mirrored and not
    photometric: bool = False  # none is stated
    average_decay: float = 0.0  # no weight averaging is stated
    side_branch: bool = option(  # Sec. 3.2 has none [L10]
        False, "second set of maps for the global-context subnet, which the authors' code has and the paper has not"
    )
    decoding: str = option(  # Fig. 4: "heatmap-wise maximum" [L3]
        "argmax", "how heatmaps become points without the shape model: subpixel, argmax, quarter or enlarged"
    )


RECIPE = Recipe()
AUTHORS_RECIPE = replace(RECIPE, epochs=100, batch_size=16, loss="square", side_branch=True)
"""What the authors' training code says where it differs from the paper [L9, L10, L12]."""
CPU_RECIPE = Recipe(
    epochs=12,
    batch_size=8,
    optimizer="adam",
    momentum=0.9,
    learning_rate=2e-3,
    schedule="cosine",
    warmup_epochs=0.2,
    weight_decay=0.0,
    gradient_clip=0.0,
    loss="square_slopes",
    dropout=0.0,
    variants=1,
    rotation_degrees=30.0,
    scale_fraction=0.125,
    shift_fraction=0.05,
    flip_probability=0.5,
    photometric=False,
    average_decay=0.998,
    side_branch=True,
    decoding="subpixel",
)
"""Makes the most of the few ten thousand faces that a CPU can process; [L16] lists the differences and reasons."""
RECIPES = {"paper": {"": RECIPE}, "authors": {"": AUTHORS_RECIPE}, "cpu": {"": CPU_RECIPE}}

SIGMAS = (1, 3, 5, 7, 9)  # Eq. 1
HALF_WIDTHS = (2, 7, 12, 17, 22)  # of the five Gaussians; the widest makes the kernel 45 x 45 [L4]
LOCAL_GAIN = 0.01  # on the blurred heatmaps, whose kernel sums to 202; the authors' code [L5]
ACTIVATION_GAIN = 0.1  # on every ReLU; the authors' code [L6]
DROPOUT = 0.1  # Sec. 4
LOCAL_KERNELS = (5,) * 5 + (3,) * 10  # Sec. 3.2.1: 15 layers; their sizes are the authors' [L7]
GLOBAL_LAYERS, DILATION = 7, 4  # Sec. 3.2.3
KERNELS = ("implicit", "labels", "none")


def kernel_profiles() -> list[np.ndarray]:
    """The five Gaussians of Eq. 1 along one axis, (5,) to (45,); K is the sum of each times itself across, over 5."""
    reaches = (np.arange(-half, half + 1) for half in HALF_WIDTHS)
    return [np.exp(-0.5 * (reach / sigma) ** 2) for sigma, reach in zip(SIGMAS, reaches)]


def dense_kernel() -> np.ndarray:
    """K of Eq. 1, (45, 45), 1 at its centre."""
    padded = [np.pad(each, HALF_WIDTHS[-1] - len(each) // 2) for each in kernel_profiles()]
    return sum(np.outer(each, each) for each in padded) / len(padded)


def band_matrices(F: Any, maps: Any, axis: int) -> list[Any]:
    """For each Gaussian of Eq. 1, the (S, S) matrix that convolves along an axis of length S, zeros beyond its ends.

    On a CPU a matrix product is several times as fast as a convolution with one kernel per channel; it works for any S.
    """
    places = F.BlockGrad(F.contrib.arange_like(maps, axis=axis))
    squares = F.square(F.broadcast_sub(F.expand_dims(places, 0), F.expand_dims(places, 1)))
    # Squared distances are whole numbers, so the clip is 1 up to the half width and 0 beyond.
    return [
        F.exp(squares * (-0.5 / sigma**2)) * F.clip(half**2 + 1 - squares, 0, 1)
        for sigma, half in zip(SIGMAS, HALF_WIDTHS)
    ]


class KernelConvolution(nn.HybridBlock):
    """Convolves each map with K (Eq. 1), zeros around it, as ten passes along one axis (Sec. 3.2.2)."""

    def hybrid_forward(self, F, maps):
        """maps (N, C, H, W) -> the same shape."""
        total = 0
        for along_x, along_y in zip(band_matrices(F, maps, 3), band_matrices(F, maps, 2)):
            lying = F.transpose(F.dot(maps, along_x), (0, 1, 3, 2))
            total = total + F.dot(lying, along_y)
        return F.transpose(total, (0, 1, 3, 2)) / len(SIGMAS)


def _convolution(filters: int, kernel: int, dilation: int = 1, share: float = 1.0, bias: bool = True) -> nn.Conv2D:
    """A convolution that keeps the size; He-normal weights times 0.141421 [L8].

    `share` is that of its inputs among all that the following layer adds up.
    """
    start = mx.init.Xavier("gaussian", "in", magnitude=2 * 0.141421**2 * share)
    padding = dilation * (kernel // 2)
    return nn.Conv2D(filters, kernel, 1, padding, dilation, use_bias=bias, weight_initializer=start)


class Activation(nn.HybridBlock):
    """Batch normalization, a tenth of ReLU, dropout (Sec. 4) [L6].

    Attributes:
        dropout: fraction of the values that is dropped.
        samples: drop at prediction too, to average several predictions (Sec. 4).
        saves_memory: apply the ReLU last, which gives the same values and keeps one feature map less for the backward
            pass; prediction keeps the other order, whose ReLU can be fused with the convolution.
    """

    def __init__(self, dropout: float = DROPOUT, **kwargs: Any):
        super().__init__(**kwargs)
        self.dropout, self.samples, self.saves_memory = dropout, False, False
        with self.name_scope():
            self.norm = nn.BatchNorm()

    def hybrid_forward(self, F, x):
        """x (N, C, H, W) -> the same shape."""
        if self.saves_memory:
            return F.relu(self._drop(F, self.norm(x) * ACTIVATION_GAIN))
        return self._drop(F, F.relu(self.norm(x)) * ACTIVATION_GAIN)

    def _drop(self, F, x):
        if not self.dropout:
            return x
        return F.Dropout(x, p=self.dropout, mode="always" if self.samples else "training")


class LocalContext(nn.HybridBlock):
    """Sec. 3.2.1: fifteen convolutions, and a linear 1x1 that outputs heatmaps, not yet blurred.

    Args:
        channels: of the output.
        filters: of the convolutions.
        side_branch: output a second set of heatmaps, by another 1x1 convolution with normalization and ReLU [L10].
    """

    def __init__(self, channels: int, filters: int, side_branch: bool, **kwargs: Any):
        super().__init__(**kwargs)
        with self.name_scope():
            self.layers = nn.HybridSequential(prefix="")
            for kernel in LOCAL_KERNELS:
                self.layers.add(_convolution(filters, kernel), Activation())
            self.maps = _convolution(channels, 1)
            self.side = nn.HybridSequential(prefix="")
            if side_branch:
                self.side.add(_convolution(channels, 1), Activation(dropout=0.0))

    def hybrid_forward(self, F, faces):
        """faces (N, 1, H, W) -> one or two sets of heatmaps (N, channels, H, W)."""
        features = self.layers(faces)
        sets = [self.maps(features)]
        if len(self.side):
            sets.append(self.side(features))
        return tuple(sets)


class GlobalContext(nn.HybridBlock):
    """Sec. 3.2.3: seven dilated convolutions over blurred heatmaps, and a linear 1x1.

    Args:
        channels: of the output.
        filters: of the convolutions.
        sets: number of its input sets of heatmaps.
    """

    def __init__(self, channels: int, filters: int, sets: int, **kwargs: Any):
        super().__init__(**kwargs)
        with self.name_scope():
            # The sum of one convolution per set is the convolution of all sets together. MXNet's CPU build cannot join
            # maps whose channels are no multiple of 16.
            self.first = nn.HybridSequential(prefix="")
            for i in range(sets):
                self.first.add(_convolution(filters, 3, DILATION, share=1 / sets, bias=i == 0))
            self.layers = nn.HybridSequential(prefix="")
            self.layers.add(Activation())
            for _ in range(GLOBAL_LAYERS - 1):
                self.layers.add(_convolution(filters, 3, DILATION), Activation())
            self.maps = _convolution(channels, 1)

    def hybrid_forward(self, F, *sets):
        """Each of the sets (N, channels, H, W) -> corrections (N, channels, H, W)."""
        joined = self.first[0](sets[0])
        for convolution, maps in zip(list(self.first)[1:], sets[1:]):
            joined = joined + convolution(maps)
        return self.maps(self.layers(joined))


class LocalGlobal(nn.HybridBlock):
    """Both subnets with the kernel between them; returns the heatmaps of both (Fig. 1).

    Args:
        channels: of the heatmaps.
        filters: see LocalContext.
        side_branch: see LocalContext.
        blurs: put the kernel between the subnets.
        corrects: use a global-context subnet.
    """

    def __init__(self, channels: int, filters: int, side_branch: bool, blurs: bool, corrects: bool, **kwargs: Any):
        super().__init__(**kwargs)
        self._gain = LOCAL_GAIN if blurs else 1.0
        with self.name_scope():
            self.local_context = LocalContext(channels, filters, side_branch)
            self.kernel = KernelConvolution() if blurs else nn.HybridLambda("identity")
            self.global_context = GlobalContext(channels, filters, 1 + side_branch) if corrects else None

    def hybrid_forward(self, F, faces):
        """faces (N, 1, H, W) -> (N, channels, H, W): K * O^l, then, with a global-context subnet, Omega (Eq. 2)."""
        sets = [self.kernel(maps) * self._gain for maps in self.local_context(faces)]
        if self.global_context is None:
            return (sets[0],)
        return sets[0], sets[0] + self.global_context(*sets)


class LGCN(StagedNetwork):
    """The network of Fig. 1: faces (N, 1, H, W) -> heatmaps (N, K, H, W).

    Args:
        num_landmarks: K.
        filters: of all convolutions but the 1x1.
        side_branch: as the authors trained it; without, as the paper has it [L10].
        kernel: "implicit" (Sec. 3.2.2), "labels" (only the targets are blurred, as in the works of Sec. 2.3), or
            "none" (not even those).
        global_context: use that subnet.
        background: a further heatmap for everything but landmarks; each cell then sums to 1 (Sec. 3.2.4) [L11].
        colour: of the faces, see `InputSpec`; the paper found "rgb" and "hsv" no better (Sec. 3.1) [L1].
        dropout: fraction of the values that training drops, in all layers but the side branch's [L6].

    Raises:
        ValueError: there is no such kernel or colour, dropout is no fraction, or a side branch has no subnet to use it.
    """

    def __init__(
        self,
        num_landmarks: int = 68,
        filters: int = 128,
        side_branch: bool = True,
        kernel: str = KERNELS[0],
        global_context: bool = True,
        background: bool = False,
        colour: str = SPEC.colour,
        dropout: float = DROPOUT,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if kernel not in KERNELS:
            raise ValueError(f"unknown kernel '{kernel}': choose one of {', '.join(KERNELS)}")
        if not 0 <= dropout < 1:
            raise ValueError(f"a dropout of {dropout} is no share of the features: give 0 or more, and less than 1")
        in_channels = len(SPEC.of_colour(colour).mean)
        if side_branch and not global_context:
            raise ValueError("only the global-context subnet uses the side branch: leave both out or neither")
        self.num_landmarks, self.background = num_landmarks, background
        self.blurs_targets = kernel != "none"
        with self.name_scope():
            self.cascade = LocalGlobal(
                num_landmarks + background, filters, side_branch, kernel == "implicit", global_context
            )
        self.dropout = dropout
        self._change_activations("dropout", dropout)
        # So that weights of another number of channels are refused when they are loaded.
        self.cascade.local_context.layers[0].weight.shape = (filters, in_channels, *LOCAL_KERNELS[:1] * 2)

    def read_out(self, F, maps):
        """A subnet's output (N, channels, H, W) -> heatmaps (N, K, H, W)."""
        return F.softmax(maps, axis=1).slice_axis(axis=1, begin=0, end=-1) if self.background else maps

    def sample_dropout(self, samples: bool = True) -> None:
        """Switches dropout at prediction on or off."""
        self._change_activations("samples", samples)

    def save_memory(self) -> None:
        """Makes training keep one feature map less per layer; its results stay the same."""
        self._change_activations("saves_memory", True)

    def _change_activations(self, attribute: str, value: float) -> None:
        def change(block: nn.Block) -> None:
            if isinstance(block, Activation) and (block.dropout or attribute == "saves_memory"):
                setattr(block, attribute, value)

        self.apply(change)
        self._clear_cached_op()


def lgcn_128(num_landmarks: int = 68, filters: int = 128, **settings: Any) -> LGCN:
    """The authors' network, 4,192,468 parameters; the printed one, side_branch=False, has 4,105,224.

    Median 3.04 % on LFPW and HELEN without shape model (Table 1).
    """
    return LGCN(num_landmarks, filters, **settings)


def lgcn_64(num_landmarks: int = 68, filters: int = 64, **settings: Any) -> LGCN:
    """The authors' smaller one, 1,096,980 parameters."""
    return LGCN(num_landmarks, filters, **settings)
