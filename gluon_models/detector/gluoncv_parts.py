"""What the face detector takes from GluonCV, which refuses to be imported where PyTorch 2 or newer is installed.

It looks for PyTorch to offer networks for it, which nothing here uses; so it is imported with PyTorch out of sight.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import Iterator

__all__ = [
    "BottleneckV1",
    "FPNFeatureExpander",
    "FasterRCNN",
    "FasterRCNNDefaultTrainTransform",
    "FasterRCNNDefaultValTransform",
    "FasterRCNNTrainBatchify",
    "ResNetV1",
]


@contextmanager
def out_of_sight(package: str) -> Iterator[None]:
    """Lets imports of a package fail as if it were not installed, whether or not it has been imported before."""
    before = sys.modules.get(package)
    sys.modules[package] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[package]
        if before is not None:
            sys.modules[package] = before


with out_of_sight("torch"):
    from gluoncv.data.batchify import FasterRCNNTrainBatchify
    from gluoncv.data.transforms.presets.rcnn import FasterRCNNDefaultTrainTransform, FasterRCNNDefaultValTransform
    from gluoncv.model_zoo.rcnn.faster_rcnn import FasterRCNN
    from gluoncv.model_zoo.resnet import BottleneckV1, ResNetV1
    from gluoncv.nn.feature import FPNFeatureExpander
