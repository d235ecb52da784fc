"""A network's heatmaps of a whole photo at sizes that differ by factors of two (LGCN, Sec. 4.3).

Sizes too large for the memory are worked through in tiles, whose heatmaps equal the whole image's.

Numbers in brackets, such as [L28], point into docs/lgcn.md, where each detail the paper leaves open is settled.
"""

from __future__ import annotations

from typing import Iterator, NamedTuple

import cv2
import numpy as np
from mxnet.gluon import HybridBlock

from gluon_models.spec import InputSpec
from inference.pipeline import PointPredictor

MIN_FACE = 60.0  # pixels of the photo, longer side of the landmarks' box [L28]
OCTAVE = 2.0  # between two sizes of the photo: "by factors of two"
REACH = 72  # pixels that the network sees to each side: 10 and 10 of 5x5 and 3x3, 22 of the kernel, 28 dilated
TILE = 384  # pixels of a tile, those around its own part included


class Level(NamedTuple):
    """A size at which the network sees a photo.

    Attributes:
        size: width and height in pixels.
        face: longer side of the face that the network is made for, in pixels of the photo.
    """

    size: tuple[int, int]
    face: float


class Tile(NamedTuple):
    """A part of a picture: what the network gets (x0, y0, x1, y1), and what of it no neighbour sees better."""

    seen: tuple[int, int, int, int]
    own: tuple[int, int, int, int]


class PhotoPyramid:
    """Maps of photos at all sizes, tile by tile.

    Args:
        predictor: the network, which returns heatmaps as large as its input and takes input of any size.
        min_face: longer side of the landmarks' box of the smallest face that it is to show, pixels.

    Raises:
        ValueError: the network does not return such heatmaps, or `min_face` is not positive.
    """

    def __init__(self, predictor: PointPredictor, min_face: float = MIN_FACE) -> None:
        spec = predictor.spec
        if spec.output != "heatmaps" or spec.stride != 1:
            raise ValueError("only a network that takes whole photos needs no detector: use lgcn_64 or lgcn_128")
        if not min_face > 0:
            raise ValueError(f"the smallest face of {min_face} pixels cannot be: give more than 0")
        self._predictor, self._min_face = predictor, min_face

    def __call__(self, image: np.ndarray) -> Iterator[tuple[Level, Iterator[tuple[Tile, np.ndarray]]]]:
        """The sizes of an image (H, W, 3), largest first, each with its tiles and their heatmaps (K, h, w)."""
        height, width = image.shape[:2]
        for level in pyramid(width, height, self._predictor.spec, self._min_face):
            picture = resized(image, level.size)
            yield level, ((tile, self._maps(picture, tile)) for tile in tiles(*level.size))

    def _maps(self, picture: np.ndarray, tile: Tile) -> np.ndarray:
        x0, y0, x1, y1 = tile.seen
        heatmaps = self._predictor.output(picture[None, y0:y1, x0:x1])[0]
        if not np.isfinite(heatmaps.max()):
            raise ValueError("the network's heatmaps are not finite: its weights are damaged, use others")
        return heatmaps

    def activations(self, image: np.ndarray) -> list[np.ndarray]:
        """For each size of an image, largest first, the maximum (h, w) over all landmarks' heatmaps."""
        found = []
        for (size, _), tiles in self(image):
            highest = np.zeros(size[::-1], np.float32)
            for ((x0, y0, _, _), (left, top, right, bottom)), heatmaps in tiles:
                own = heatmaps[:, top - y0 : bottom - y0, left - x0 : right - x0]
                highest[top:bottom, left:right] = own.max(axis=0)
            found.append(highest)
        return found


def pyramid(width: int, height: int, spec: InputSpec, min_face: float = MIN_FACE) -> list[Level]:
    """The sizes at which the network sees a photo, from that for the smallest faces to the first below a crop."""
    whole = spec.size / (1 + spec.box_margin)  # longer side of a face that fills a crop, pixels
    # Faces between two sizes are up to the root of a factor too large or too small for the nearer one.
    zoom = whole / np.sqrt(OCTAVE) / min_face
    levels = []
    while True:
        size = max(1, round(width * zoom)), max(1, round(height * zoom))
        levels.append(Level(size, whole / zoom))
        if min(size) < spec.size:
            return levels
        zoom /= OCTAVE


def tiles(width: int, height: int, side: int = TILE, reach: int = REACH) -> Iterator[Tile]:
    """Parts that cover a picture, all of one size, each with what the network sees around its own."""
    for y0, y1, top, bottom in _spans(height, side, reach):
        for x0, x1, left, right in _spans(width, side, reach):
            yield Tile((x0, y0, x1, y1), (left, top, right, bottom))


def _spans(length: int, side: int, reach: int) -> Iterator[tuple[int, int, int, int]]:
    """Start and end of what is seen, start and end of what is its own."""
    if length <= side:
        yield 0, length, 0, length
        return
    count = -(-(length - 2 * reach) // (side - 2 * reach))
    starts = np.linspace(0, length - side, count).round().astype(int).tolist()
    # Between neighbours the border lies in the middle of what both see.
    borders = [0, *((one + side + other) // 2 for one, other in zip(starts, starts[1:])), length]
    for start, left, right in zip(starts, borders, borders[1:]):
        yield start, start + side, left, right


def resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A photo at one size (width, height), averaged where it shrinks."""
    shrinks = size[0] < image.shape[1]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def take_any_size(net: HybridBlock) -> None:
    """Readies a network for pictures of many sizes.

    Memory planned ahead for one size is not shared between layers: a tile of 240 pixels then takes 2 GB, else 0.3.
    """
    net.hybridize(static_alloc=False, static_shape=False)
