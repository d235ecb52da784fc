"""Face detector: GluonCV's Faster R-CNN with one class on ResNet-50, in front of the modified stacked hourglass.

S. Ren, K. He, R. Girshick, J. Sun, "Faster R-CNN: Towards Real-Time Object Detection with Region Proposal Networks",
NIPS 2015; the pyramid: T.-Y. Lin et al., "Feature Pyramid Networks for Object Detection", CVPR 2017. The hourglass
paper (Sec. 2, Fig. 1) names the detector and its backbone, and nothing else.

Maps a photo (1, 3, H, W), RGB less ImageNet's mean over its deviation, to classes (1, n, 1), scores (1, n, 1) and boxes
(1, n, 4) in pixels of that photo; while training to what `gluon_models.detector.objective` compares with its targets.
Here:  python train_detector.py --model faster_rcnn_fpn --recipe cpu --data DIR --imagenet FILE --out RUN
       python -m tools.evaluate_detector --detector faster_rcnn --weights RUN/best.params --data DIR

Numbers in brackets, such as [B3], point into docs/face_detector.md.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Sequence

import cv2
import mxnet as mx
import numpy as np
from mxnet.gluon import nn

from common.recipe import BaseRecipe
from gluon_models.detector.gluoncv_parts import (
    BottleneckV1,
    FasterRCNN,
    FasterRCNNDefaultValTransform,
    FPNFeatureExpander,
    ResNetV1,
)

CLASSES = ("face",)
BACKBONE = "resnet_"  # prefix of the names of the backbone's parameters
LEAST_SIDE = 32  # pixels: a photo whose shorter side comes out below is too long and narrow for the coarsest map


@dataclass(frozen=True)
class Setting:
    """What one detector differs in from another.

    Attributes:
        short_side: pixels that a photo's shorter side is brought to.
        max_side: most pixels of the longer side; the shorter one then becomes smaller.
        pyramid_channels: of each of the maps of stride 4 to 64; 0 for one map of stride 16.
        proposal_channels: of the proposal head.
        box_channels: of the box head on the pyramid; on the single map ResNet-50's last stage is the head.
        regions: of a photo that the box head is trained on.
        proposals: that are left of a photo before regions are drawn of them while training, and that the box head sees
            afterwards.
        candidates: best anchors that proposals are taken from, while training and afterwards.
    """

    short_side: int
    max_side: int
    pyramid_channels: int
    proposal_channels: int
    box_channels: int
    regions: int
    proposals: tuple[int, int]
    candidates: tuple[int, int]


SMALLEST_INPUT = 128  # pixels: a side of 64 has 240 anchors in `faster_rcnn`, fewer than the proposals it is to make

SETTINGS = {
    "faster_rcnn": Setting(600, 1000, 0, 1024, 0, 128, (2000, 300), (12000, 6000)),  # GluonCV's for VOC [B1]
    "faster_rcnn_fpn": Setting(320, 640, 128, 128, 512, 32, (500, 100), (2000, 1000)),  # fits a CPU [B2]
}


@dataclass(frozen=True)
class Recipe(BaseRecipe):
    """How the network is trained; GluonCV's script for VOC where nothing else is said [B5]."""

    epochs: int = 20
    batch_size: int = 1
    optimizer: str = "sgd"
    momentum: float = 0.9
    learning_rate: float = 1e-3
    schedule: str = "milestones"
    decay_factor: float = 0.1
    decay_milestones: tuple[int, ...] = (14, 20)
    warmup_epochs: float = 0.0
    weight_decay: float = 5e-4
    flip_probability: float = 0.5
    smallest_scale: float | None = 1.0
    largest_scale: float | None = 1.0
    average_decay: float = 0.0


RECIPE = Recipe()
CPU_RECIPE = Recipe(
    epochs=12,
    learning_rate=2e-3,
    schedule="cosine",
    warmup_epochs=0.25,
    weight_decay=1e-4,
    smallest_scale=0.7,
    largest_scale=1.3,
)
"""For hours on two cores; what differs and why is [B6]."""
RECIPES = {"paper": {"": RECIPE}, "cpu": {"": CPU_RECIPE}}


class FaceDetector(FasterRCNN):
    """GluonCV's network, with regions cut out of the pyramid in a way that MXNet's CPU build survives [B7]."""

    def _pyramid_roi_feats(self, F, features, rpn_rois, roi_size, strides, roi_mode="align", canonical_size=224.0):
        """Features (R, C, 7, 7) of regions (R, 5), image and corners, each from the map of the region's size.

        GluonCV marks regions that belong to other maps by a negative image number, whose features MXNet's ROIAlign
        leaves unwritten on a CPU: whatever the memory held goes into the sum.
        """
        _, x0, y0, x1, y1 = F.split(rpn_rois, axis=-1, num_outputs=5)
        size = F.sqrt((x1 - x0 + 1) * (y1 - y0 + 1))
        last = self._min_stage + len(strides) - 2  # the coarsest map is for proposals alone
        levels = F.floor(4 + F.log2(size / canonical_size + 1e-6))
        levels = F.squeeze(F.clip(levels, self._min_stage, last), axis=-1)
        pooled = []
        for stage, (values, stride) in enumerate(zip(features, strides[:-1]), start=self._min_stage):
            cut = F.contrib.ROIAlign(values, rpn_rois, roi_size, 1.0 / stride, sample_ratio=2)
            pooled.append(F.where(levels == stage, cut, F.zeros_like(cut)))
        return F.ElementWiseSum(*pooled)


def build_detector(name: str, photos_per_device: int = 1) -> FasterRCNN:
    """A detector by name, not yet initialised.

    Args:
        name: one of `SETTINGS`.
        photos_per_device: how many it is trained on at a time; faces are found in one photo at a time.

    Raises:
        ValueError: the name is not known.
    """
    setting = get_setting(name)
    backbone = resnet_backbone()
    parts = _pyramid(backbone, setting) if setting.pyramid_channels else _single_map(backbone)
    net = FaceDetector(
        classes=CLASSES,
        short=setting.short_side,
        max_size=setting.max_side,
        rpn_channel=setting.proposal_channels,
        num_sample=setting.regions,
        rpn_train_pre_nms=setting.candidates[0],
        rpn_train_post_nms=setting.proposals[0],
        rpn_test_pre_nms=setting.candidates[1],
        rpn_test_post_nms=setting.proposals[1],
        nms_topk=-1,
        post_nms=-1,
        per_device_batch_size=photos_per_device,
        **parts,
    )
    _freeze(net)
    return net


def get_setting(name: str) -> Setting:
    """The numbers of a detector by name; ValueError if the name is not known."""
    if name not in SETTINGS:
        raise ValueError(f"unknown face detector '{name}': choose one of {', '.join(SETTINGS)}")
    return SETTINGS[name]


def resnet_backbone() -> ResNetV1:
    """ResNet-50 with the names and shapes of Gluon's `resnet50_v1`."""
    # Batches are too small for statistics of their own, so ImageNet's stay [B3].
    fixed = {"use_global_stats": True}
    return ResNetV1(BottleneckV1, [3, 4, 6, 3], [64, 256, 512, 1024, 2048], norm_kwargs=fixed, prefix=BACKBONE)


def _single_map(backbone: ResNetV1) -> dict[str, Any]:
    features, head = nn.HybridSequential(), nn.HybridSequential()
    features.add(*backbone.features[:7])
    head.add(backbone.features[7])
    return {
        "features": features,
        "top_features": head,
        "strides": 16,
        "scales": (2, 4, 8, 16, 32),
        "roi_size": (14, 14),
        "max_num_gt": 100,
    }


def _pyramid(backbone: ResNetV1, setting: Setting) -> dict[str, Any]:
    last = ("stage1_activation2", "stage2_activation3", "stage3_activation5", "stage4_activation2")
    with warnings.catch_warnings():
        # MXNet cannot tell the type of a photo before it sees one, and says so to people who did nothing wrong.
        warnings.filterwarnings("ignore", "Cannot decide type")
        features = FPNFeatureExpander(
            network=backbone,
            outputs=[f"{name}_output" for name in last],
            num_filters=[setting.pyramid_channels] * 4,
            use_p6=True,
            p6_conv=False,
        )
    head = nn.HybridSequential()
    for _ in range(2):
        head.add(nn.Dense(setting.box_channels, activation="relu", weight_initializer=mx.init.Normal(0.01)))
    return {
        "features": features,
        "top_features": None,
        "box_features": head,
        "min_stage": 2,
        "max_stage": 6,
        "strides": (4, 8, 16, 32, 64),
        # Anchors of 16 to 362 px, two to an octave, about as wide as high: faces are [B4].
        "scales": tuple((2.0**level, 2.0 ** (level + 0.5)) for level in range(5)),
        "ratios": (1.0, 1.25),
        "roi_size": (7, 7),
        "alloc_size": (256, 256),
        "clip": 4.14,
        "rpn_min_size": 0,
        "max_num_gt": 300,
    }


def _freeze(net: FasterRCNN) -> None:
    """Leaves ImageNet's normalization, first convolution and first stage as they are, as GluonCV does [B3]."""
    for name, parameter in net.collect_params().items():
        layer = name[len(BACKBONE) :]
        if name.startswith(BACKBONE) and ("batchnorm" in layer or not layer.startswith("stage") or "stage1" in layer):
            parameter.grad_req = "null"


def initialise(net: FasterRCNN, contexts: Sequence[mx.Context], seed: int) -> None:
    """Random weights from `seed`, every parameter's shape settled by one run.

    The network stays as it is instead of being hybridized: its graph for training is another than for finding faces,
    photos come in all shapes, and on a CPU the time is the same.
    """
    mx.random.seed(seed)
    net.initialize(mx.init.Xavier(), ctx=list(contexts))
    for context in contexts:
        net(mx.nd.zeros((1, 3, SMALLEST_INPUT, SMALLEST_INPUT), ctx=context))
    # Made on first use, which in mid-training would change what collect_params() answers.
    net.target_generator.collect_params().reset_ctx(list(contexts))


def find_boxes(net: FasterRCNN, image: np.ndarray, context: mx.Context) -> tuple[np.ndarray, np.ndarray]:
    """Faces of one photo.

    Args:
        net: filled; its thresholds come from `set_nms`.
        image: (H, W, 3) uint8 RGB.
        context: where it runs.

    Returns:
        Boxes (n, 4) in pixels of the image and scores (n,) from 0 to 1, the highest first.
    """
    small = limit_short_side(image, 2 * net.short)
    height, width = small.shape[:2]
    zoom = min(net.short / min(height, width), net.max_size / max(height, width))
    if zoom * min(height, width) < LEAST_SIDE:
        return np.zeros((0, 4)), np.zeros(0)
    transform = FasterRCNNDefaultValTransform(net.short, net.max_size)
    photo, _, _ = transform(mx.nd.array(small, dtype="uint8"), np.zeros((0, 4)))
    classes, scores, boxes = (output[0].asnumpy() for output in net(photo.expand_dims(0).as_in_context(context)))
    found = (classes[:, 0] >= 0) & (scores[:, 0] > 0)
    factors = np.array([image.shape[1] / photo.shape[2], image.shape[0] / photo.shape[1]] * 2)
    boxes, scores = boxes[found] * factors, scores[found, 0]
    order = np.argsort(-scores, kind="stable")
    return boxes[order].astype(np.float64), scores[order].astype(np.float64)


def limit_short_side(image: np.ndarray, limit: int) -> np.ndarray:
    """The image (H, W, 3), averaged down so that its shorter side has at most `limit` pixels.

    GluonCV's transforms interpolate between four pixels, which is fit for halving a photo and no more.
    """
    height, width = image.shape[:2]
    zoom = limit / min(height, width)
    if zoom >= 1:
        return image
    return cv2.resize(image, (max(1, round(width * zoom)), max(1, round(height * zoom))), interpolation=cv2.INTER_AREA)
