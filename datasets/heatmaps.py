"""Heatmaps of landmarks: Gaussian targets from points, and points from heatmaps, by one object.

Maps are read cell by cell: x_heatmap = (x_crop + 0.5) / stride - 0.5, so whole coordinates are centres of cells.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

DECODINGS = ("subpixel", "argmax", "quarter", "enlarged")  # [H17]

_FLOOR = 1e-3  # of the peak: what a neighbouring cell counts at least where logarithms are taken


class Peaks(NamedTuple):
    """The largest cell of each map.

    Attributes:
        cells: (N, K, 2) int, x then y.
        values: (N, K).
    """

    cells: np.ndarray
    values: np.ndarray


class HeatmapCodec:
    """Turns points of the crop into heatmaps and heatmaps into points of the crop.

    Args:
        size: cells along each side of a map.
        stride: pixels of the crop per cell.
        sigma: of the Gaussians, in cells.

    Raises:
        ValueError: one of them is not positive.
    """

    def __init__(self, size: int, stride: int, sigma: float) -> None:
        if size < 2 or stride < 1 or not sigma > 0:
            raise ValueError(f"heatmaps of size {size}, stride {stride}, sigma {sigma}: take 2, 1 and above 0 at least")
        self.size, self.stride, self.sigma = size, stride, sigma
        # OpenCV's own bicubic weights, one row for each pixel of the crop.
        self._enlarge = cv2.resize(np.eye(size, dtype=np.float32), (size, size * stride), interpolation=cv2.INTER_CUBIC)

    def to_heatmap(self, points_crop: np.ndarray) -> np.ndarray:
        """Points (..., 2) in pixels of the crop -> points_heatmap (..., 2) in cells."""
        return (points_crop + 0.5) / self.stride - 0.5

    def to_crop(self, points_heatmap: np.ndarray) -> np.ndarray:
        """Points (..., 2) in cells -> points_crop (..., 2) in pixels of the crop."""
        return (points_heatmap + 0.5) * self.stride - 0.5

    def encode(self, points_crop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Targets: for each point a Gaussian of height 1 about it.

        Args:
            points_crop: (N, K, 2), NaN where not annotated.

        Returns:
            heatmaps (N, K, size, size) float32, and visible (N, K) bool: whether the point is annotated and lies in the
            crop. The map of a point that is not visible is 0.
        """
        profiles, visible = self.profiles(points_crop)
        return profiles[..., 1, :, None] * profiles[..., 0, None, :], visible

    def profiles(self, points_crop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Targets as (N, K, 2, size) float32 along x and along y, whose products are the heatmaps; and visible (N, K).

        See `encode`.
        """
        points_heatmap = self.to_heatmap(np.asarray(points_crop, np.float64))
        with np.errstate(invalid="ignore"):
            inside = (points_heatmap >= -0.5) & (points_heatmap <= self.size - 0.5)
        visible = inside.all(axis=-1)
        distances = np.where(visible[..., None], points_heatmap, 0.0)[..., None] - np.arange(self.size)
        return np.exp(-0.5 * (distances / self.sigma) ** 2).astype(np.float32) * visible[..., None, None], visible

    def decode(self, heatmaps: np.ndarray, decoding: str = DECODINGS[0]) -> np.ndarray:
        """Points from heatmaps.

        "argmax": the centre of the largest cell. "quarter": from there a quarter of a cell towards the larger
        neighbour, along each axis. "enlarged": the largest pixel of the map enlarged bicubically to the crop.
        "subpixel": the vertex of the parabola through the logarithms of the largest cell and its two neighbours, along
        each axis, which for a Gaussian is its centre.

        Args:
            heatmaps: (N, K, size, size).
            decoding: one of `DECODINGS`.

        Returns:
            points_crop (N, K, 2) float64.

        Raises:
            ValueError: the decoding is not known, the heatmaps have another size, or one is the same everywhere or not
                finite and has no peak.
        """
        if decoding not in DECODINGS:
            raise ValueError(f"unknown decoding '{decoding}': choose one of {', '.join(DECODINGS)}")
        if heatmaps.ndim != 4 or heatmaps.shape[2:] != (self.size, self.size):
            raise ValueError(f"heatmaps of shape {heatmaps.shape} are not (N, K, {self.size}, {self.size})")
        if decoding == "enlarged":
            return self._largest_pixels(heatmaps)
        peaks = _peaks(heatmaps)
        points_heatmap = peaks.cells.astype(np.float64)
        if decoding != "argmax":
            before, after = self._neighbours(heatmaps, peaks)
            if decoding == "quarter":
                points_heatmap += 0.25 * np.sign(after - before)
            else:
                points_heatmap += _vertex(before, after)
        return self.to_crop(points_heatmap)

    def _largest_pixels(self, heatmaps: np.ndarray) -> np.ndarray:
        _peaks(heatmaps)  # says what has none
        points = [_peaks(self._enlarge @ face @ self._enlarge.T).cells for face in heatmaps.astype(np.float32)[:, None]]
        return np.concatenate(points).astype(np.float64)

    def _neighbours(self, heatmaps: np.ndarray, peaks: Peaks) -> tuple[np.ndarray, np.ndarray]:
        """Logarithms (N, K, 2) of the cells before and after each peak along x and y, over the peak's own.

        Beyond the border the map goes on as a Gaussian of `sigma` would, whose logarithm bends by -1 / sigma ** 2.
        """
        faces, landmarks = np.ogrid[: heatmaps.shape[0], : heatmaps.shape[1]]
        x, y = peaks.cells[..., 0], peaks.cells[..., 1]
        ratios = []
        for step in (-1, 1):
            along_x = heatmaps[faces, landmarks, y, np.clip(x + step, 0, self.size - 1)]
            along_y = heatmaps[faces, landmarks, np.clip(y + step, 0, self.size - 1), x]
            ratios.append(np.stack([along_x, along_y], axis=-1).astype(np.float64))
        positive = peaks.values[..., None] > 0
        # A map that is nowhere positive has no logarithm; its peak stays in the middle of the cell.
        top = np.where(positive, peaks.values[..., None], 1.0)
        before, after = (np.where(positive, np.log(np.maximum(ratio / top, _FLOOR)), -1.0) for ratio in ratios)
        bend = -1 / self.sigma**2
        at_start, at_end = peaks.cells == 0, peaks.cells == self.size - 1
        return np.where(at_start, bend - after, before), np.where(at_end, bend - before, after)


def _peaks(heatmaps: np.ndarray) -> Peaks:
    flat = heatmaps.reshape(*heatmaps.shape[:2], -1)
    best = flat.argmax(axis=-1)
    values = np.take_along_axis(flat, best[..., None], axis=-1)[..., 0]
    faulty = ~((flat.min(axis=-1) < values) & np.isfinite(values))
    if faulty.any():
        face, landmark = np.argwhere(faulty)[0]
        raise ValueError(
            f"the heatmap of landmark {landmark} of face {face} has no peak: it is the same everywhere or not finite; "
            "is the network trained?"
        )
    return Peaks(np.stack([best % heatmaps.shape[3], best // heatmaps.shape[3]], axis=-1), values.astype(np.float64))


def _vertex(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Where the parabola through `before`, 0 and `after` at -1, 0 and 1 is highest, at most half a cell away."""
    bend = before + after
    offset = 0.5 * (before - after) / np.where(bend == 0, -1.0, bend)
    return np.clip(offset, -0.5, 0.5)
