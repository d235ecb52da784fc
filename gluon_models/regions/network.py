"""Region ResNets: one network for the whole face, small ones for its parts, and two ways to know where the parts are.

A. Dei Rossi and L. Corrado, "Facial Keypoints Detection: Modern Approaches Based on ResNets", University of Padua.

Maps a face crop (N, 3, 224, 224), RGB over 255, to K landmarks (N, K, 2) as fractions of the crop, x then y. The direct
network (Sec. 5.2) outputs all of them at once. The cascades cut eyes with their brows, nose and mouth out of the crop,
by boxes around the direct network's points (`region_parts`, the second approach of Sec. 4) or by boxes of a separate
network (`region_boxes`, the third); one network per part places its points, which are then put back into the face.
Paper: 50 epochs on a Tesla P100, time not stated; errors as curves only (Fig. 6 and 7).
Here:  python train_regions.py --model region_direct --dataset 300w --data DIR --out DIRECT
       python train_regions.py --model region_parts --init DIRECT/best.params --dataset 300w --data DIR --out PARTS
       python train_regions.py --model region_boxes --init PARTS/best.params --dataset 300w --data DIR --out BOXES

Numbers in brackets, such as [R3], point into docs/region_resnet.md, where each detail the paper leaves open is settled.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Sequence

import mxnet as mx
from mxnet.gluon import nn

from common.options import option
from common.recipe import LandmarkRecipe
from gluon_models.backbones import another_network, read_classifier
from gluon_models.blocks import bottleneck_block, conv_bn
from gluon_models.regions.crop import PartCut, gather, landmark_boxes, put_back, widen
from gluon_models.regions.parts import PARTS, Part, PartLandmarks, parts_of
from gluon_models.spec import InputSpec

SPEC = InputSpec(
    size=224,  # Sec. 3
    colour="rgb",
    mean=(0.0, 0.0, 0.0),  # Sec. 3: "normalized by dividing them by 255"
    scale=(1 / 255, 1 / 255, 1 / 255),
    box_margin=0.25,  # not stated [R1]
    output="points",
)
CHANNELS = (256, 512, 1024)  # Sec. 5.2: "from 64 to 1024" [R2]


@dataclass(frozen=True)
class Recipe(LandmarkRecipe):
    """How a network is trained; each value has its section, or the ledger entry that chose it."""

    epochs: int = 50  # Sec. 5.2
    batch_size: int = 16  # Sec. 5.2
    optimizer: str = "adam"  # Sec. 5.2
    learning_rate: float = 1e-3  # Sec. 5.2
    schedule: str = "constant"  # "initial learning rate", no decay is stated
    decay_factor: float = 0.1  # of the step schedule, unused
    decay_epochs: int = 20
    warmup_epochs: float = 0.0  # none is stated
    weight_decay: float = 0.0  # none is stated
    loss: str = "mse"  # Sec. 5.2
    dropout: float = 0.5  # Sec. 5.2
    rotation_degrees: float = 15.0  # Sec. 5.2 names rotation, not how much [R3]
    shear_fraction: float = option(  # likewise
        0.1, "augmentation: largest shear, pixels to the side for each pixel down"
    )
    scale_fraction: float = 0.0  # none is stated
    shift_fraction: float = 0.0  # none is stated
    flip_probability: float = 0.5  # Sec. 5.2 names flips, not how often [R3]
    brightness_fraction: float = 0.2  # Sec. 5.2 names brightness, not how much [R3]
    photometric: bool = False  # contrast, blur, noise and occluding boxes are not stated
    average_decay: float = 0.0  # no weight averaging is stated
    box_start: str = option(  # not stated [R18]
        "random", "what the box network starts from with --init: random weights, or direct for the direct network's"
    )


RECIPE = Recipe()
CPU_RECIPE = Recipe(
    epochs=100,
    batch_size=32,
    schedule="cosine",
    warmup_epochs=1.0,
    weight_decay=5e-4,
    loss="normalized_l1",
    dropout=0.2,
    rotation_degrees=30.0,
    scale_fraction=0.15,
    shift_fraction=0.05,
    photometric=True,
    average_decay=0.998,
    box_start="direct",
)
"""Trains better on a CPU; what differs from the paper and why is [R4]."""
RECIPES = {"paper": {"": RECIPE}, "cpu": {"": CPU_RECIPE}}
BOX_STARTS = ("random", "direct")
PATIENCE = 10  # Sec. 5.2: "with early stopping" [R5]


@dataclass(frozen=True)
class Design:
    """The free choices of a network (Sec. 5.2), for the direct one; the part networks have one block less.

    Attributes:
        channels: output channels of each residual block; every block halves the feature maps.
        units: residual units in each block [R2].
        dense_layers: 1, or more with `dense_width` units in each before the last.
        dense_width: units of the further dense layers [R16].
        dropout: fraction of features dropped in training.

    Raises:
        ValueError: a block lacks its channels or units, or there is no dense layer.
    """

    channels: Sequence[int] = CHANNELS
    units: Sequence[int] = (1, 1, 1)
    dense_layers: int = 1
    dense_width: int = 512
    dropout: float = RECIPE.dropout

    def __post_init__(self) -> None:
        """Checks the numbers."""
        if not 1 <= len(self.channels) == len(self.units) or min(self.units) < 1:
            raise ValueError(f"{len(self.channels)} blocks of {list(self.units)} units: give each block 1 or more")
        if self.dense_layers < 1:
            raise ValueError(f"{self.dense_layers} dense layers: a network needs 1 or more")

    def of_part(self) -> Design:
        """Sec. 5.2: "we only removed the last residual block"."""
        fewer = max(1, len(self.channels) - 1)
        return Design(
            tuple(self.channels[:fewer]), tuple(self.units[:fewer]), self.dense_layers, self.dense_width, self.dropout
        )


class RegionResNet(nn.HybridBlock):
    """Sec. 5.2: ResNet-50's first convolution and pooling, residual blocks, pooling, dropout, dense with ReLU.

    Args:
        num_points: outputs: landmarks, or two corners for each box.
        design: see there.
        side: of its crops in pixels, the longer one, in which the dense layer counts [R6].
    """

    def __init__(self, num_points: int, design: Design, side: int = SPEC.size, **kwargs: Any):
        super().__init__(**kwargs)
        self._num_points, self._side = num_points, side
        with self.name_scope():
            self.stem = conv_bn(64, 7, 2)
            self.pool = nn.MaxPool2D(3, 2, 1)
            self.blocks = nn.HybridSequential(prefix="")
            in_channels = 64
            for channels, units in zip(design.channels, design.units):
                block = nn.HybridSequential(prefix="")
                for unit in range(units):
                    block.add(bottleneck_block(channels, in_channels, 2 if unit == 0 else 1))
                    in_channels = channels
                self.blocks.add(block)
            self.average = nn.AvgPool2D(2, 2)
            self.dropout = nn.Dropout(design.dropout)
            self.hidden = nn.HybridSequential(prefix="")
            for _ in range(design.dense_layers - 1):
                self.hidden.add(nn.Dense(design.dense_width, activation="relu"))
            self.points = nn.Dense(2 * num_points)

    def hybrid_forward(self, F, crops):
        """crops (N, 3, H, W) -> (N, num_points, 2) fractions of the crop, not below 0."""
        features = self.average(self.blocks(self.pool(self.stem(crops))))
        # A ReLU whose input is negative for all faces would never recover: biases count from the centre [R6].
        pixels = F.relu(self.points(self.hidden(self.dropout(F.flatten(features)))) + 0.5 * self._side)
        return F.reshape(pixels / self._side, (-1, self._num_points, 2))


class PartNetwork(nn.HybridBlock):
    """Cuts one part out of face crops by a box and places its landmarks there.

    Args:
        part: which, with its size as the network sees it.
        num_landmarks: of this part.
        design: of the network.
    """

    def __init__(self, part: Part, num_landmarks: int, design: Design, **kwargs: Any):
        super().__init__(**kwargs)
        self.part = part
        with self.name_scope():
            self.cut = PartCut(part.size, SPEC.size)
            self.net = RegionResNet(num_landmarks, design, max(part.size))

    def hybrid_forward(self, F, faces, boxes):
        """faces (N, 3, 224, 224), boxes (N, 4) fractions of the crop -> (N, part's K, 2) fractions of the crop."""
        return put_back(F, self.net(self.cut(faces, boxes)), boxes)


class BoxNetwork(nn.HybridBlock):
    """The direct network with 16 outputs (Sec. 5.2): the tight boxes of the four parts [R7]."""

    def __init__(self, num_parts: int, design: Design, **kwargs: Any):
        super().__init__(**kwargs)
        self._num_parts = num_parts
        with self.name_scope():
            self.net = RegionResNet(2 * num_parts, design)

    def hybrid_forward(self, F, faces):
        """faces (N, 3, 224, 224) -> (N, parts, 4): x0, y0, x1, y1 as fractions of the crop."""
        return F.reshape(self.net(faces), (-1, self._num_parts, 4))


class RegionCascade(nn.HybridBlock):
    """Second and third approach of Sec. 4 in one graph.

    The jaw, and what else belongs to no part, is the direct network's (Sec. 5.2).

    Args:
        num_landmarks: K.
        boxes_from: "points" of the direct network, or a box "network".
        jaw_network: let a part network place the jaw, which the paper found to be worse [R8]; its box is always that
            of the direct network's points.
        design: of the direct and the box network.

    Raises:
        ValueError: the markup with so many landmarks has no regions.
    """

    def __init__(
        self,
        num_landmarks: int = 68,
        boxes_from: str = "points",
        jaw_network: bool = False,
        design: Design | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        design = design or Design()
        self.layout: PartLandmarks = parts_of(num_landmarks, jaw_network)
        self._order = self.layout.order
        with self.name_scope():
            # Parameters that nothing reads could not be exported: a markup without jaw needs no direct network there.
            needs_direct = boxes_from == "points" or jaw_network or bool(self.layout.rest)
            self.direct = RegionResNet(num_landmarks, design) if needs_direct else None
            self.boxes = BoxNetwork(len(PARTS), design) if boxes_from == "network" else None
            self.parts = nn.HybridSequential(prefix="")
            for part, indices in self.layout.parts:
                self.parts.add(PartNetwork(part, len(indices), design.of_part()))

    def hybrid_forward(self, F, faces):
        """faces (N, 3, 224, 224) -> (N, K, 2) fractions of the crop."""
        direct = self.direct(faces) if self.direct else None
        boxes = list(landmark_boxes(F, direct, self.layout.indices)) if direct is not None else []
        if self.boxes:
            found = self.boxes(faces)
            # The box network knows nothing of the jaw.
            boxes[: len(PARTS)] = [
                F.reshape(F.slice_axis(found, axis=1, begin=i, end=i + 1), (-1, 4)) for i in range(len(PARTS))
            ]
        return self.assemble(F, faces, direct, boxes)

    def assemble(self, F, faces, direct, boxes):
        """The same by given tight boxes, (N, 4) of each part in turn, and the direct network's points (N, K, 2)."""
        placed = [net(faces, widen(F, box)) for net, box in zip(self.parts, boxes)]
        if self.layout.rest:
            placed.insert(0, gather(F, direct, self.layout.rest))
        return gather(F, F.concat(*placed, dim=1), self._order)


def networks_of(net: RegionResNet | RegionCascade) -> list[RegionResNet]:
    """The single networks of a model."""
    if isinstance(net, RegionResNet):
        return [net]
    boxes = [net.boxes.net] if net.boxes else []
    return [*([net.direct] if net.direct else []), *boxes, *(part.net for part in net.parts)]


def region_direct(num_landmarks: int = 68, **design: Any) -> RegionResNet:
    """The first approach: all landmarks by one network."""
    return RegionResNet(num_landmarks, Design(**design))


def region_parts(num_landmarks: int = 68, jaw_network: bool = False, **design: Any) -> RegionCascade:
    """The second approach: parts cut by the direct network's points. Better than direct in Fig. 6."""
    return RegionCascade(num_landmarks, "points", jaw_network, Design(**design))


def region_boxes(num_landmarks: int = 68, jaw_network: bool = False, **design: Any) -> RegionCascade:
    """The third approach: parts cut by a box network. A little better than `region_parts` in Fig. 6."""
    return RegionCascade(num_landmarks, "network", jaw_network, Design(**design))


def is_frozen(net: nn.HybridBlock) -> bool:
    """Whether `gluon_models.blocks.freeze` was called on the network."""
    return all(parameter.grad_req == "null" for parameter in net.collect_params().values())


IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def load_stem(net: RegionResNet, path: str | os.PathLike[str]) -> None:
    """Fills the first convolution and its normalization from an ImageNet ResNet-50 of Gluon's model zoo (Sec. 5.2).

    That network takes crops less ImageNet's mean over its deviation; here the deviation goes into the weights and the
    mean into the running mean, so that crops over 255 give the same maps away from the edge [R9].

    Args:
        net: initialised, its shapes settled.
        path: parameters of `resnet50_v1`, as `save_parameters` names them; float16 will do.

    Raises:
        FileNotFoundError, ValueError: there is no such file, or it is of another network.
    """
    stored = read_classifier(path, "resnet50_v1")
    convolution, norm = net.stem[0], net.stem[1]
    targets = {"features.0.weight": convolution.weight}
    targets.update(
        {f"features.1.{name}": getattr(norm, name) for name in ("gamma", "beta", "running_mean", "running_var")}
    )
    # Smaller ResNets have a first convolution of this shape too; their next one is 3x3.
    following = stored.get("features.4.0.body.0.weight")
    smaller = following is not None and following.shape != (64, 64, 1, 1)
    if smaller or any(name not in stored or stored[name].shape != each.shape for name, each in targets.items()):
        raise another_network(path, "resnet50_v1")
    values = {name: stored[name].astype("float32") for name in targets}
    weight = values["features.0.weight"] / mx.nd.array(IMAGENET_DEVIATION).reshape((1, 3, 1, 1))
    mean = mx.nd.array(IMAGENET_MEAN).reshape((1, 3, 1, 1))
    values["features.0.weight"] = weight
    values["features.1.running_mean"] = values["features.1.running_mean"] + (weight * mean).sum(axis=(1, 2, 3))
    for name, parameter in targets.items():
        parameter.set_data(values[name])
