"""The 2-D shape model that turns heatmaps into points (LGCN, Sec. 3.3): outliers filtered, hidden points restored.

A face is a mean shape and a few principal components of its variation, turned, enlarged and moved. It is fitted to the
heatmaps by weighted linear least squares, three times: to all of every map, then to what lies ever nearer to the fit.
Each map's cells are one equation each, weighted by their values. As all cells of a map are equations for the same
landmark, their weight in sum and their centroid say the same, and the system has two rows per landmark.

Numbers in brackets, such as [L20], point into docs/lgcn.md, where each detail the paper leaves open is settled.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Sequence

import numpy as np

from common.readers import read_npz

FILE_NAME = "shape.npz"  # in a run's folder; behind the name of weights that ship
PAPER_SIDE = 96  # pixels of the crop that the radii below count in [L26]
COMPONENTS = 12  # the authors' code [L20]
LEAST_WEIGHT = 0.01  # Sec. 3.3: "weights greater than 1%"
LEAST_ACTIVATION = 0.1  # that the first rotation is found from; the authors' code [L21]
RADII = (20.0, 7.0)  # Sec. 3.3, of the second and third round, pixels of a 96 px crop
NOISE = (8.0, 3.0, 1.0)  # the same pixels: how far centroids may lie from the shape of each round [L22]
LEAST_PRIOR = 1e-3  # the same pixels, without the prior
PEAK_RADIUS = 2.0  # the same pixels; the authors' code [L24]


@dataclass(frozen=True)
class ShapeModel:
    """Mean and principal components of shapes that were brought to one place, size and rotation.

    Attributes:
        mean: (K, 2), its centre at 0, of root mean square 1.
        components: (C, K, 2), each of norm 1, largest first.
        deviations: (C,), standard deviation along each.
    """

    mean: np.ndarray
    components: np.ndarray
    deviations: np.ndarray

    @property
    def num_landmarks(self) -> int:
        """K."""
        return len(self.mean)


def fit_shapes(shapes: np.ndarray, components: int = COMPONENTS) -> ShapeModel:
    """Learns a model from shapes (n, K, 2) in any frame; those that lack a point are left out.

    Raises:
        ValueError: too few shapes are complete.
    """
    complete = shapes[np.isfinite(shapes).all(axis=(1, 2))]
    if len(complete) <= components:
        raise ValueError(f"{len(complete)} complete shapes are too few for {components} components: give more faces")
    aligned = _unit(complete)
    mean = aligned[0]
    for _ in range(5):
        aligned = aligned @ np.stack([kabsch(shape, mean) for shape in aligned]).swapaxes(1, 2)
        mean = _unit(aligned.mean(axis=0, keepdims=True))[0]
    differences = (aligned - aligned.mean(axis=0)).reshape(len(aligned), -1)
    _, lengths, directions = np.linalg.svd(differences, full_matrices=False)
    deviations = lengths[:components] / np.sqrt(len(aligned) - 1)
    return ShapeModel(mean, directions[:components].reshape(components, -1, 2), deviations)


def _unit(shapes: np.ndarray) -> np.ndarray:
    """Shapes (n, K, 2) about their centres, of root mean square 1."""
    centred = shapes - shapes.mean(axis=1, keepdims=True)
    return centred / np.sqrt((centred**2).sum(axis=2).mean(axis=1))[:, None, None]


def kabsch(points: np.ndarray, target: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Rotation (2, 2) that best takes points (K, 2) to target (K, 2), both about their weighted centres.

    Use it as `points @ rotation.T`; weights (K,), or every point alike.
    """
    weights = np.ones(len(points)) if weights is None else weights
    weights = weights / weights.sum()
    points, target = points - weights @ points, target - weights @ target
    cosine = weights @ (points * target).sum(axis=1)
    sine = weights @ (points[:, 0] * target[:, 1] - points[:, 1] * target[:, 0])
    return _rotation(cosine, sine)


def _rotation(cosine: float, sine: float) -> np.ndarray:
    """Rotation (2, 2) whose cosine and sine are as these two are."""
    length = np.hypot(cosine, sine)
    if not length:  # all points are one: no rotation is better than another
        return np.eye(2)
    return np.array([[cosine, -sine], [sine, cosine]]) / length


def save_shape_model(model: ShapeModel, path: str | os.PathLike[str]) -> None:
    """Writes a model as .npz."""
    with open(path, "wb") as file:
        np.savez(file, mean=model.mean, components=model.components, deviations=model.deviations)


def load_shape_model(path: str | os.PathLike[str]) -> ShapeModel:
    """Reads what `save_shape_model` wrote.

    Raises:
        FileNotFoundError, ValueError: there is no such file, or it is no shape model.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: there is no such shape model; check the path")
    shapes = {"mean": (None, 2), "components": (None, None, 2), "deviations": (None,)}
    stored = read_npz(path, "name the .npz that training wrote", shapes, largest=2**24)
    model = ShapeModel(*(stored[name].astype(np.float64) for name in shapes))
    if not _is_model(model):
        raise ValueError(f"{path} holds no shape model: name the .npz that training wrote")
    return model


def _is_model(model: ShapeModel) -> bool:
    """Whether the arrays are what `fit_shapes` makes: of one size, centred, of length one."""
    count, landmarks = len(model.deviations), len(model.mean)
    if not landmarks or model.components.shape != (count, landmarks, 2):
        return False
    if not all((np.abs(numbers) <= 100).all() for numbers in (model.mean, model.components, model.deviations)):
        return False
    lengths = [np.sqrt((model.mean**2).sum(axis=1).mean()), *np.sqrt((model.components**2).sum(axis=(1, 2)))]
    about_zero = np.abs(model.mean.mean(axis=0)).max() <= 1e-3
    return bool(about_zero and (model.deviations >= 0).all() and (np.abs(np.array(lengths) - 1) <= 1e-3).all())


class ShapeFit(NamedTuple):
    """A face as a model sees it.

    Attributes:
        points: (K, 2), cells of the heatmaps, x then y: shape and heatmaps together.
        shape: (K, 2), the fitted shape alone.
        support: (K,), the heatmaps' values where the shape has its points, 0 beyond the border.
    """

    points: np.ndarray
    shape: np.ndarray
    support: np.ndarray


class ShapeFitter:
    """Fits a model to the heatmaps of one face.

    Args:
        model: what faces look like.
        cells_per_pixel: cells of a map per pixel of a crop of PAPER_SIDE pixels [L26].
        prior: keep components small, which bounds landmarks beyond the border and costs accuracy within [L22].
    """

    def __init__(self, model: ShapeModel, cells_per_pixel: float = 1.0, prior: bool = False) -> None:
        self.model, self._prior = model, prior
        self._radii = [radius * cells_per_pixel for radius in RADII]
        self._noise = [noise * cells_per_pixel for noise in NOISE]
        # Of heatmaps coarser than the paper's, a peak is still more than its own cell.
        self._peak_radius = max(PEAK_RADIUS * cells_per_pixel, 1.0)

    def __call__(self, heatmaps: np.ndarray) -> ShapeFit:
        """Maps (K, H, W) -> the fit.

        Raises:
            ValueError: another number of heatmaps than the model has landmarks, or heatmaps without any positive value.
        """
        if heatmaps.ndim != 3 or len(heatmaps) != self.model.num_landmarks:
            raise ValueError(
                f"heatmaps {heatmaps.shape} do not fit a shape model of {self.model.num_landmarks} landmarks"
            )
        largest = float(heatmaps.max(initial=0.0))
        if not (largest > 0 and np.isfinite(largest)):
            raise ValueError("the heatmaps hold no activation to fit a shape to: is the network trained?")
        whole = _centroids(heatmaps, min(LEAST_WEIGHT, largest / 2))
        shape, pose = self._solve(whole, self._first_pose(heatmaps, whole), self._noise[0])
        for radius, noise in zip(self._radii, self._noise[1:]):
            found = _windows(heatmaps, shape, radius)
            if found.weights.any():
                shape, pose = self._solve(found, pose, noise)
        return self._blend(heatmaps, shape)

    def _first_pose(self, heatmaps: np.ndarray, whole: _Found) -> np.ndarray:
        """Rotation times size (2, 2) from the strong activations (Sec. 3.3), else from the whole heatmaps.

        Every second cell will do for a start, at a quarter of the time.
        """
        weights, centroids = _centroids(heatmaps[:, ::2, ::2], LEAST_ACTIVATION)
        found = _Found(weights, 2 * centroids) if weights.any() else whole
        centred = found.centroids - found.weights @ found.centroids / found.weights.sum()
        mean = self.model.mean - found.weights @ self.model.mean / found.weights.sum()
        rotation = kabsch(self.model.mean, found.centroids, found.weights)
        along = found.weights @ (centred * (mean @ rotation.T)).sum(axis=1)
        across = found.weights @ (mean**2).sum(axis=1)
        return rotation * max(along / max(across, 1e-9), 1.0)

    def _solve(self, found: _Found, pose: np.ndarray, noise: float) -> tuple[np.ndarray, np.ndarray]:
        """Weighted linear least squares for size, turn, place and components; the shape (K, 2) and its pose [L23]."""
        mean, count = self.model.mean, len(self.model.deviations)
        size = max(np.sqrt(abs(np.linalg.det(pose))), 1e-9)
        turned = self.model.components @ (pose / size).T * (size * self.model.deviations)[:, None, None]
        pose_columns = [mean, mean[:, ::-1] * (-1, 1), np.ones_like(mean) * (1, 0), np.ones_like(mean) * (0, 1)]
        design = np.concatenate([pose_columns, turned]).reshape(4 + count, -1)
        weighted = design * np.repeat(found.weights / found.weights.max(), 2)
        # A component of one standard deviation costs as much as one landmark that is `noise` off.
        # Without the prior, as little as keeps the system solvable where the maps say too little.
        prior = np.diag([1e-9] * 4 + [noise**2 if self._prior else LEAST_PRIOR**2] * count)
        solution = np.linalg.solve(weighted @ design.T + prior, weighted @ found.centroids.ravel())
        shape = (solution @ design).reshape(-1, 2)
        return shape, np.hypot(*solution[:2]) * _rotation(*solution[:2])

    def _blend(self, heatmaps: np.ndarray, shape: np.ndarray) -> ShapeFit:
        """Moves each point towards the nearest maximum of its map, as far as the map agrees with the shape [L24]."""
        peaks = _nearest_maxima(heatmaps, shape, self._radii[-1])
        local = _windows(heatmaps, peaks.centroids, self._peak_radius)
        trust = np.where(local.weights > 0, np.clip(peaks.weights, 0, 1), 0.0)[:, None]
        return ShapeFit((1 - trust) * shape + trust * local.centroids, shape, _values_at(heatmaps, shape))


class _Found(NamedTuple):
    """Where the heatmaps say that landmarks are: weights (K,), 0 where they say nothing, and centroids (K, 2)."""

    weights: np.ndarray
    centroids: np.ndarray


def _centroids(heatmaps: np.ndarray, least: float) -> _Found:
    """Of each whole map's values above `least`."""
    height, width = heatmaps.shape[1:]
    basis = np.stack([np.ones(width), np.arange(width)], axis=1).astype(heatmaps.dtype)
    sums = ((heatmaps * (heatmaps > least)).reshape(-1, width) @ basis).reshape(-1, height, 2).astype(float)
    weights, sum_x = sums.sum(axis=1).T
    centroids = np.stack([sum_x, sums[..., 0] @ np.arange(height)], axis=1)
    return _Found(weights, centroids / np.maximum(weights, 1e-12)[:, None])


def _windows(heatmaps: np.ndarray, centres: np.ndarray, radius: float) -> _Found:
    """Of the values above LEAST_WEIGHT within `radius` of centres (K, 2), which need not be whole.

    A cell whose opposite lies beyond the border is left out: half a peak would have its centroid beside it [L25].
    """
    x, y, values = _patches(heatmaps, centres, int(radius) + 1)
    across, down = (x - centres[:, 0, None]).astype(values.dtype), (y - centres[:, 1, None]).astype(values.dtype)
    height, width = heatmaps.shape[1:]
    inside_x = (2 * centres[:, 0, None] - x > -0.5) & (2 * centres[:, 0, None] - x < width - 0.5)
    inside_y = (2 * centres[:, 1, None] - y > -0.5) & (2 * centres[:, 1, None] - y < height - 0.5)
    distances = np.sqrt(across[:, None, :] ** 2 + down[:, :, None] ** 2)
    # Half a cell beyond the radius counts half, or the cells' grid would show.
    weights = np.clip(radius + 0.5 - distances, 0, 1) * (values * (values > LEAST_WEIGHT))
    weights *= inside_x[:, None, :] & inside_y[:, :, None]
    rows, columns = weights.sum(axis=2), weights.sum(axis=1)
    total = rows.sum(axis=1)
    offsets = np.stack([(columns * across).sum(axis=1), (rows * down).sum(axis=1)], axis=1)
    return _Found(total, centres + offsets / np.maximum(total, 1e-12)[:, None])


def _patches(heatmaps: np.ndarray, centres: np.ndarray, reach: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cells within `reach` of centres (K, 2): their x and y (K, 2 * reach + 1), their values, 0 beyond the border."""
    height, width = heatmaps.shape[1:]
    middle = np.rint(np.clip(centres, -1e6, 1e6)).astype(int)
    steps = np.arange(-reach, reach + 1)
    x, y = middle[:, :1] + steps, middle[:, 1:] + steps
    rows, columns = np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)
    values = heatmaps[np.arange(len(heatmaps))[:, None, None], rows[:, :, None], columns[:, None, :]]
    inside = ((y == rows)[:, :, None]) & ((x == columns)[:, None, :])
    return x, y, values * inside


def _nearest_maxima(heatmaps: np.ndarray, centres: np.ndarray, radius: float) -> _Found:
    """Each map's local maximum nearest to its centre (K, 2), between cells, and its value; 0 if none is in `radius`."""
    x, y, values = _patches(heatmaps, centres, int(radius) + 2)
    middle = values[:, 1:-1, 1:-1]
    size = middle.shape[1]
    highest = middle > LEAST_WEIGHT
    for row, column in np.ndindex(3, 3):
        highest = highest & (middle >= values[:, row : row + size, column : column + size])
    distances = np.hypot(x[:, None, 1:-1] - centres[:, 0, None, None], y[:, 1:-1, None] - centres[:, 1, None, None])
    distances = np.where(highest & (distances <= radius), distances, np.inf).reshape(len(heatmaps), -1)
    best = distances.argmin(axis=1)
    every, row, column = np.arange(len(heatmaps)), best // size + 1, best % size + 1
    top = values[every, row, column]
    offset_x = _vertex(values[every, row, column - 1], top, values[every, row, column + 1])
    offset_y = _vertex(values[every, row - 1, column], top, values[every, row + 1, column])
    peaks = np.stack([x[every, column] + offset_x, y[every, row] + offset_y], axis=1)
    found = np.isfinite(distances[every, best])
    return _Found(np.where(found, top, 0.0), np.where(found[:, None], peaks, centres))


def _vertex(before: np.ndarray, top: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Where the parabola through three neighbours is highest, from the middle one; 0 beside the border."""
    bend = 2 * top - before - after
    whole = (before > 0) & (after > 0) & (bend > 0)
    return np.where(whole, np.clip((after - before) / (2 * np.where(bend > 0, bend, 1)), -0.5, 0.5), 0.0)


def _values_at(heatmaps: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The value (K,) of each map at its point (K, 2), between cells; 0 beyond the border."""
    low = np.floor(np.clip(points, -1e6, 1e6))
    x, y, values = _patches(heatmaps, low, 1)
    share = points - low
    corners = values[:, 1:, 1:]
    across = corners[:, :, 0] * (1 - share[:, :1]) + corners[:, :, 1] * share[:, :1]
    return across[:, 0] * (1 - share[:, 1]) + across[:, 1] * share[:, 1]


def shape_model_beside(weights: Path) -> Path:
    """The shape model of a network's training: NAME.shape.npz beside NAME.params that ships, or a run's shape.npz.

    Raises:
        ValueError: there is none.
    """
    for path in (weights.with_suffix(f".{FILE_NAME}"), weights.parent / FILE_NAME):
        if path.is_file():
            return path
    raise ValueError(f"{weights} has no shape model beside it: pass --shape-model FILE, the shape.npz of its training")


def training_shapes(shapes: np.ndarray, flip_order: Sequence[int]) -> np.ndarray:
    """Shapes (n, K, 2) and their mirror images, (2n, K, 2), as the network was trained on both."""
    mirrored = shapes[:, list(flip_order)] * (-1, 1)
    return np.concatenate([shapes, mirrored])
