"""Parts of a face crop: their boxes, cut out at a fixed size, and points put back from there (Region ResNets, Sec. 4).

Boxes are (N, 4), x0, y0, x1, y1 as fractions of the face crop; a point at fraction f of a box lies at
x0 + f (x1 - x0) of the crop. All of it is arithmetic and matrix products, which export to ONNX and run on any device.
"""

from __future__ import annotations

from typing import Any, Sequence

from mxnet.gluon import nn

MARGIN = 0.2  # of a part's longer side, on each of its four [R11]
OFFSET = 0.1  # of a part's longer side: how far each of the four may be moved in training [R11]


def gather(F, points, indices: Sequence[int]):
    """points (N, K, 2) -> the points with these indices, in this order: (N, len(indices), 2)."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and index == runs[-1][1]:
            runs[-1][1] += 1
        else:
            runs.append([index, index + 1])
    slices = [F.slice_axis(points, axis=1, begin=begin, end=end) for begin, end in runs]
    return F.concat(*slices, dim=1) if len(slices) > 1 else slices[0]


def landmark_boxes(F, points, parts: Sequence[Sequence[int]]):
    """points (N, K, 2) -> the tight box (N, 4) of each part; `parts` holds the parts' landmarks."""
    boxes = []
    for indices in parts:
        chosen, count = gather(F, points, indices), len(indices)
        boxes.append(F.concat(*(_extreme(F, choose, chosen, count) for choose in (F.minimum, F.maximum)), dim=1))
    return boxes


def _extreme(F, choose, points, count):
    """points (N, count, 2) -> (N, 2): the least or the greatest x and y."""
    # Halves against each other: MXNet's ONNX converter writes max and min over an axis as no runtime reads them.
    while count > 1:
        half = -(-count // 2)
        first, second = (F.slice_axis(points, axis=1, begin=i, end=i + half) for i in (0, count - half))
        points, count = choose(first, second), half
    return F.reshape(points, (-1, 2))


def widen(F, boxes, offsets=None):
    """Boxes with room around them; `offsets` (N, 4), in longer sides, move each side on top of that."""
    low, high = _corners(F, boxes)
    width, height = (F.slice_axis(high - low, axis=1, begin=i, end=i + 1) for i in (0, 1))
    longer = F.maximum(width, height)
    # An untrained network may predict boxes without extent, which nothing could be cut from.
    room = F.maximum(longer * MARGIN, 0.01)
    wide = F.concat(F.broadcast_sub(low, room), F.broadcast_add(high, room), dim=1)
    return wide if offsets is None else wide + F.broadcast_mul(offsets, longer)


def put_back(F, points, boxes):
    """points (N, K, 2) as fractions of boxes (N, 4) -> fractions of the crop."""
    low, high = (F.expand_dims(each, axis=1) for each in _corners(F, boxes))
    return F.broadcast_add(F.broadcast_mul(points, high - low), low)


class PartCut(nn.HybridBlock):
    """Cuts boxes out of face crops and resizes them, bilinearly; beyond the crop's edge all is zero [R15].

    Args:
        size: height and width of what is cut, in pixels.
        crop_size: height and width of the face crop.
    """

    def __init__(self, size: tuple[int, int], crop_size: int, **kwargs: Any):
        super().__init__(**kwargs)
        self._size, self._crop_size = size, crop_size

    def hybrid_forward(self, F, faces, boxes):
        """faces (N, 3, S, S), boxes (N, 4) fractions of the crop -> (N, 3, H, W)."""
        height, width = self._size
        rows, columns = (self._weights(F, faces, boxes, axis, count) for axis, count in ((1, height), (0, width)))
        across = F.batch_dot(F.reshape(faces, (0, -1, self._crop_size)), columns, transpose_b=True)
        across = F.reshape(across, (-1, self._crop_size, width))
        # The three channels of a face share its weights.
        rows = F.reshape(F.tile(rows, (1, 3, 1)), (-1, height, self._crop_size))
        return F.reshape(F.batch_dot(rows, across), (-1, 3, height, width))

    def _weights(self, F, faces, boxes, axis, count):
        """How much of each of the crop's columns (axis 0) or rows (1) each one of the cut takes, (N, count, S)."""
        start, end = (F.slice_axis(boxes, axis=1, begin=i, end=i + 1) for i in (axis, axis + 2))
        counted = F.contrib.arange_like(F.slice_axis(faces, axis=3, begin=0, end=count), axis=3)
        fractions = F.reshape((counted + 0.5) / count, (1, -1))
        places = F.broadcast_add(F.broadcast_mul(end - start, fractions), start) * self._crop_size - 0.5
        cells = F.reshape(F.contrib.arange_like(faces, axis=3), (1, 1, -1))
        distances = F.abs(F.broadcast_sub(F.expand_dims(places, axis=2), cells))
        return F.relu(-distances + 1)


def _corners(F, boxes):
    return F.slice_axis(boxes, axis=1, begin=0, end=2), F.slice_axis(boxes, axis=1, begin=2, end=4)
