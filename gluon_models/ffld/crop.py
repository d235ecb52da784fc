"""FFLD's crop (Sec. 3.2 and 5): a small patch of a feature map about every landmark, channels selected, Eq. 5 to 12.

Eq. 5 weighs every cell of the map, but all that a patch of 8 x 8 needs lies in a window of 9 x 9 cells. The windows are
gathered by whole cells, which takes no gradient to the location; the landmark's own four channels are selected from
them; and the weights of Eq. 5, one small matrix for the rows and one for the columns, turn each window into its patch.
Through these go the gradients to the map (Eq. 9), to the selection and to the location (Eq. 12).
"""

from __future__ import annotations

import math
from typing import Any

from mxnet.gluon import nn

PATCH = 8  # Sec. 3.2: "we crop patches of 8x8"
SELECTED = 4  # Sec. 3.2: "the most useful channels (here: 4)"
_WINDOW = PATCH + 1


class PatchCrop(nn.HybridBlock):
    """Crops a patch about every landmark from one map and selects four channels by a linear 1x1 convolution [F22].

    A location between cells has Eq. 12's gradient; at whole cells, where Eq. 5 has a corner, it is zero. Beyond the
    map's edge the patch is zero [F15].

    Args:
        num_landmarks: K.
        channels: C of the map.
        map_size: its height and width.
        map_gradient: let the gradient of Eq. 9 through to the map.
    """

    def __init__(self, num_landmarks: int, channels: int, map_size: int, map_gradient: bool = True, **kwargs: Any):
        super().__init__(**kwargs)
        self.num_landmarks, self._channels, self._size = num_landmarks, channels, map_size
        self._map_gradient = map_gradient
        with self.name_scope():
            self.selection = self.params.get("selection_weight", shape=(SELECTED * num_landmarks, channels))

    def hybrid_forward(self, F, maps, points, selection):
        """maps (N, C, size, size), points (N, K, 2) fractions of the crop -> (N, 4K, 8, 8), landmark by landmark."""
        return self.crop(F, maps, points, selection)

    def crop(self, F, maps, points, selection, locations_only=False):
        """The same with the selection (4K, C) given; `locations_only` stops the gradients to it and to the maps."""
        # Landmarks come before faces from here on: one matrix product per landmark selects its channels in all faces.
        cell_points = F.transpose(points, (1, 0, 2)) * self._size - 0.5  # [F14]
        first = cell_points - (PATCH - 1) / 2  # Eq. 6 and 7 at p = q = 0
        cells = _count_up(F, F.BlockGrad(F.floor(first)), _WINDOW)
        inside = F.clip(cells, 0, self._size - 1)
        # Gradients are stopped behind the gathering, where there is far less to copy than in the map.
        windows = self._gather(F, maps, points, inside)
        windows = windows if self._map_gradient else F.BlockGrad(windows)
        selected = F.batch_dot(windows, F.reshape(selection, (self.num_landmarks, SELECTED, -1)), transpose_b=True)
        selected = F.BlockGrad(selected) if locations_only else selected
        # A cell beyond the edge moves away from every location in its window, so that its weight is zero.
        cells = cells + 2 * _WINDOW * (cells - inside)
        return self._interpolate(F, selected, _hat_weights(F, _count_up(F, first, PATCH), cells))

    def _gather(self, F, maps, points, cells):
        """Cells (K, N, 2, 9), columns then rows -> their channels (K, N * 81, C)."""
        cells = F.cast(cells, "int32")
        columns = F.slice_axis(cells, axis=2, begin=0, end=1)
        rows = F.reshape(F.slice_axis(cells, axis=2, begin=1, end=2), (0, 0, -1, 1))
        faces = F.reshape(F.cast(F.contrib.arange_like(points, axis=0), "int32"), (1, -1, 1, 1))
        places = F.broadcast_add(F.broadcast_add(rows * self._size, columns), faces * self._size**2)
        table = F.reshape(F.transpose(maps, (0, 2, 3, 1)), (-1, self._channels))
        return F.take(table, F.reshape(places, (self.num_landmarks, -1)))

    def _interpolate(self, F, selected, weights):
        """Windows (K, N * 81, 4) and weights (K, N, 2, 8, 9) -> patches (N, 4K, 8, 8)."""
        along_x, along_y = (
            F.reshape(F.slice_axis(weights, axis=2, begin=i, end=i + 1), (-1, PATCH, _WINDOW)) for i in (0, 1)
        )
        rows = F.batch_dot(along_y, F.reshape(selected, (-1, _WINDOW, _WINDOW * SELECTED)))
        rows = F.transpose(F.reshape(rows, (-1, PATCH, _WINDOW, SELECTED)), (0, 3, 1, 2))
        patches = F.batch_dot(F.reshape(rows, (-1, SELECTED * PATCH, _WINDOW)), along_x, transpose_b=True)
        # Not transpose: MXNet 1.9.1 on a CPU fails to train a convolution behind transpose and reshape.
        by_face = F.swapaxes(F.reshape(patches, (self.num_landmarks, -1, SELECTED * PATCH**2)), 0, 1)
        return F.reshape(by_face, (-1, SELECTED * self.num_landmarks, PATCH, PATCH))


class AlignLoss(nn.HybridBlock):
    """Eq. 2: how patches cropped at the predicted points differ from those at the annotated ones, per face.

    Both are smoothed by a Gaussian of 3 x 3 cells and sigma 1 (Sec. 6.6) until `remove_gaussian`. The map and the
    selection count as given: a gradient to them would shrink the patches instead of moving the points [F20].

    Args:
        crop: of the stage whose patches are compared.
    """

    def __init__(self, crop: PatchCrop, **kwargs: Any):
        super().__init__(**kwargs)
        self._crop, self._smooth = crop, True
        self.selection = crop.selection

    def remove_gaussian(self) -> None:
        """Compares the patches as they are from now on (Sec. 6.6: "once the loss stops going down")."""
        self._smooth = False
        self._clear_cached_op()

    def hybrid_forward(self, F, maps, predicted, truth, known, selection):
        """maps (N, C, size, size), predicted, truth (N, K, 2) fractions of the crop, known (N, K, 1) -> (N,)."""
        at_predicted, at_truth = (self._crop.crop(F, maps, points, selection, True) for points in (predicted, truth))
        difference = at_predicted - at_truth
        if self._smooth:
            difference = _gaussian(F, difference)
        by_landmark = F.reshape(F.square(difference), (-1, self._crop.num_landmarks, SELECTED * PATCH**2))
        return F.sum(F.sum(by_landmark, axis=2, keepdims=True) * known, axis=(1, 2))


def _count_up(F, start, count):
    """(...) of three axes -> (..., count): start, start + 1, ..."""
    start = F.expand_dims(start, axis=3)
    return F.concat(*(start + i for i in range(count)), dim=3)


def _hat_weights(F, locations, cells):
    """Locations (K, N, 2, 8) and cells (K, N, 2, 9) -> Eq. 5's max(0, 1 - |location - cell|), (K, N, 2, 8, 9)."""
    distances = F.abs(F.broadcast_sub(F.expand_dims(locations, axis=4), F.expand_dims(cells, axis=3)))
    return F.relu(-distances + 1)  # MXNet's ONNX converter of 1 - x prints a line for each


def _gaussian(F, patches):
    """Smooths patches (N, C, 8, 8) by 3 x 3 cells, sigma 1, zeros around [F19]."""
    side = math.exp(-0.5) / (1 + 2 * math.exp(-0.5))
    for axis in (2, 3):
        around = [0] * 8
        around[2 * axis : 2 * axis + 2] = 1, 1
        padded = F.pad(patches, mode="constant", pad_width=around)
        before, here, after = (F.slice_axis(padded, axis=axis, begin=i, end=i + PATCH) for i in range(3))
        patches = side * (before + after) + (1 - 2 * side) * here
    return patches
