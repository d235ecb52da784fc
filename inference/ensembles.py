"""Several predictions for one crop, averaged (LGCN, Sec. 4: ten of them lower the error by 5 to 10 %)."""

from __future__ import annotations

import mxnet as mx
import numpy as np
from mxnet.gluon import HybridBlock

from datasets.augment import Augmentation, random_matrix
from datasets.geometry import compose, invert, mirror_matrix, transform_points, warp_image
from datasets.markups import Markup
from inference.pipeline import PointPredictor

MEMBERS = 10  # Sec. 4: "a tenfold ensemble"
CHANGES = Augmentation(rotation_degrees=15.0, scale_fraction=0.0625, flip_probability=0.5)
"""Half the range of the training augmentation, so that every copy looks like a training face [L27]."""


class DropoutEnsemble:
    """A network whose heatmaps are the mean over several dropout masks; it takes the network's place.

    Args:
        net: trained with dropout, with a method `sample_dropout`; from now on it drops units at every prediction.
        members: predictions to average.

    Raises:
        ValueError: the network has no dropout.
    """

    def __init__(self, net: HybridBlock, members: int = MEMBERS) -> None:
        if not (hasattr(net, "sample_dropout") and net.dropout):
            raise ValueError("this network has no dropout to sample: choose the augmentation ensemble")
        net.sample_dropout()
        self._net, self._members = net, members

    def __call__(self, faces: mx.nd.NDArray) -> mx.nd.NDArray:
        """Faces (N, 1, H, W) -> heatmaps (N, K, H, W)."""
        total = self._net(faces)
        for _ in range(self._members - 1):
            total = total + self._net(faces)
        return total / self._members


class AugmentedPredictor:
    """The mean of a network's points over several copies of a crop: rotated, scaled and mirrored.

    The first copy is the crop itself. The changes of the others are the same for every crop and every run;
    none is mirrored where the markup does not define a mirror.

    Args:
        predictor: runs one copy.
        markup: of its points.
        members: copies to average.
    """

    def __init__(self, predictor: PointPredictor, markup: Markup, members: int = MEMBERS) -> None:
        self.spec, self.batch_size, self.markup = predictor.spec, predictor.batch_size, markup
        self._predictor = predictor
        rng = np.random.default_rng(0)
        size = self.spec.size
        whole = np.array([0, 0, size, size])  # a box, which counts from the first pixel's edge
        self._copies = [(np.eye(2, 3), False)]
        for number in range(1, members):
            mirrored = number % 2 == 1 and markup.can_flip
            matrix = random_matrix(whole, size, 0.0, CHANGES, rng)
            self._copies.append((compose(mirror_matrix(size), matrix) if mirrored else matrix, mirrored))

    def __call__(self, crops: np.ndarray) -> np.ndarray:
        """Crops (n, S, S, 3) uint8 RGB -> points_crop (n, K, 2), in pixels of the crop."""
        return np.mean([self._predict_copy(crops, *copy) for copy in self._copies], axis=0)

    def _predict_copy(self, crops: np.ndarray, matrix: np.ndarray, mirrored: bool) -> np.ndarray:
        changed = np.stack([warp_image(crop, matrix, self.spec.size) for crop in crops])
        points_crop = transform_points(self._predictor(changed), invert(matrix))
        if not mirrored:
            return points_crop
        # What the network puts to the right in the mirror image lies to the left here, by as much.
        return self.markup.mirrored(points_crop, -self.spec.size / (1 + self.spec.box_margin))
