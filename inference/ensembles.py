"""Several answers to one crop, averaged (LGCN, Sec. 4: ten of them err by 5 to 10 % less)."""

from __future__ import annotations

import mxnet as mx
import numpy as np

from datasets.augment import Augmentation, random_matrix
from datasets.geometry import compose, invert, mirror_matrix, transform_points, warp_image
from datasets.markups import Markup
from gluon_models.lgcn.network import LGCN
from inference.pipeline import PointPredictor

ANSWERS = 10  # Sec. 4: "a tenfold ensemble"
CHANGES = Augmentation(rotation_degrees=15.0, scale_fraction=0.0625, flip_probability=0.5)
"""Half of what the network was trained on, so that every copy is a face as it knows them [L27]."""


class DropoutEnsemble:
    """A network whose maps are the mean of several, each with other units dropped; put it in the network's place.

    Args:
        net: trained; from now on it drops units whenever it is run.
        answers: how many are averaged.
    """

    def __init__(self, net: LGCN, answers: int = ANSWERS) -> None:
        net.sample_dropout()
        self._net, self._answers = net, answers

    def __call__(self, faces: mx.nd.NDArray) -> mx.nd.NDArray:
        """Faces (N, 1, H, W) -> maps (N, K, H, W)."""
        total = self._net(faces)
        for _ in range(self._answers - 1):
            total = total + self._net(faces)
        return total / self._answers


class AugmentedPredictor:
    """Points that are the mean of a network's answers to several copies of a crop, turned, scaled and mirrored.

    The first copy is the crop itself. The others are the same for every crop and every run.

    Args:
        predictor: of one copy.
        markup: what its points are.
        answers: how many are averaged.
    """

    def __init__(self, predictor: PointPredictor, markup: Markup, answers: int = ANSWERS) -> None:
        self.spec, self.batch_size = predictor.spec, predictor.batch_size
        self._predictor, self._flip_order = predictor, list(markup.flip_order)
        rng = np.random.default_rng(0)
        size = self.spec.size
        whole = np.array([-0.5, -0.5, size - 0.5, size - 0.5])
        self._copies = [(np.eye(2, 3), False)]
        for number in range(1, answers):
            mirrored = number % 2 == 1
            matrix = random_matrix(whole, size, 0.0, CHANGES, rng)
            self._copies.append((compose(mirror_matrix(size), matrix) if mirrored else matrix, mirrored))

    def __call__(self, crops: np.ndarray) -> np.ndarray:
        """Crops (n, S, S, 3) uint8 RGB -> points_crop (n, K, 2), in pixels of the crop."""
        return np.mean([self._answer(crops, *copy) for copy in self._copies], axis=0)

    def _answer(self, crops: np.ndarray, matrix: np.ndarray, mirrored: bool) -> np.ndarray:
        changed = np.stack([warp_image(crop, matrix, self.spec.size) for crop in crops])
        points_crop = transform_points(self._predictor(changed), invert(matrix))
        return points_crop[:, self._flip_order] if mirrored else points_crop
