"""Pose-based data balancing: faces of rare poses are repeated until they are as many as those of the common ones.

Feng et al., "Wing Loss for Robust Facial Landmark Localisation with Convolutional Neural Networks" (CVPR 2018), Sec. 5;
FFLD Sec. 6.6 uses it on AFLW. The steps and the nine bins are those of the authors' own `pdb.m`: shapes aligned by
Procrustes analysis, PCA, a histogram of the absolute coefficient of the component that turns the head sideways.

Which component that is the authors chose by eye: the first, on AFLW the second. Here PCA takes the shapes and their
mirror images together, whereby each component is either symmetric or turns into its negative in the mirror, and the
first of the latter is taken. A symmetric face is then at 0 exactly, and faces to the right and the left are alike.
"""

from __future__ import annotations

from typing import Sequence

import numpy as np

from datasets.markups import get_markup

BINS = 9
FEWEST_POINTS = 3  # fewer do not tell a pose
_ALIGNMENTS = 5
_FILLINGS = 20
_HEAD_ROWS = 4
_RIDGE = 1e-2  # of the mean; with much less, landmarks hidden on all turned heads are placed wildly


def balanced_indices(points: np.ndarray, bins: int = BINS, seed: int = 0) -> np.ndarray:
    """Numbers of the faces such that every bin of poses that has any has as many as the fullest.

    Args:
        points: (n, K, 2) in pixels, K a known markup's; NaN where a landmark is not annotated.
        bins: Equal parts of the range of absolute poses, from 0 to the largest.
        seed: Draws which faces of a bin are repeated once more than others.

    Returns:
        (m,) ascending; each face is there at least once. One with too few landmarks to tell its pose is there once.

    Raises:
        ValueError: There is no bin, or no markup has so many landmarks.
    """
    if bins < 1:
        raise ValueError(f"{bins} bins of poses are none; take 1 or more")
    turned = np.abs(poses(points))
    known = np.flatnonzero(~np.isnan(turned))
    if not known.size:
        return np.arange(len(points))
    # The largest pose belongs to the last bin.
    places = np.minimum((turned[known] / max(turned[known].max(), 1e-12) * bins).astype(int), bins - 1)
    fullest = np.bincount(places).max()
    rng = np.random.default_rng(seed)
    repeated = [_repeated(known[places == place], fullest, rng) for place in np.unique(places)]
    return np.sort(np.concatenate([np.flatnonzero(np.isnan(turned)), *repeated]))


def _repeated(indices: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` numbers in which each of these stands as often as the others, or once more."""
    times, rest = divmod(count, len(indices))
    return np.concatenate([np.tile(indices, times), rng.choice(indices, rest, replace=False)])


def poses(points: np.ndarray) -> np.ndarray:
    """How far each head is turned sideways: (n,), of no unit, 0 for a symmetric shape, NaN where it cannot be told.

    Args:
        points: (n, K, 2) in pixels, K a known markup's; NaN where a landmark is not annotated.

    Raises:
        ValueError: No markup has so many landmarks.
    """
    flip_order = list(get_markup(points.shape[1]).flip_order)
    annotated = np.isfinite(points).all(axis=2)
    enough = annotated.sum(axis=1) >= FEWEST_POINTS
    coefficients = np.full(len(points), np.nan)
    if enough.any():
        shapes = _normalized(points[enough])
        # The mirror images show the fill what the sides have in common.
        both = filled(np.concatenate([shapes, _mirrored(shapes, flip_order)]))
        shapes = aligned(_normalized(both[: len(shapes)]), flip_order)
        odd = (shapes - _mirrored(shapes, flip_order)).reshape(len(shapes), -1)
        coefficients[enough] = odd @ _principal_components(odd, 1)[0]
    return coefficients


def _normalized(points: np.ndarray) -> np.ndarray:
    """Points (n, K, 2) about their mean, their root mean square distance from it 1."""
    points = points - np.nanmean(points, axis=1, keepdims=True)
    return points / np.sqrt(np.nanmean((points**2).sum(axis=2, keepdims=True), axis=1, keepdims=True))


def aligned(shapes: np.ndarray, flip_order: Sequence[int]) -> np.ndarray:
    """Procrustes analysis: shapes turned and scaled, but not mirrored, to lie on their mean as well as they can.

    Args:
        shapes: (n, K, 2), of mean 0 each.
        flip_order: Of the markup; the mean is of the shapes and their mirror images, so that it is symmetric.
    """
    for _ in range(_ALIGNMENTS):
        mean = np.concatenate([shapes, _mirrored(shapes, flip_order)]).mean(axis=0)
        # Without scaling back, the shapes would shrink with their mean.
        mean = mean / np.sqrt((mean**2).sum(axis=1).mean())
        squares = (shapes**2).sum(axis=(1, 2))
        along = (shapes * mean).sum(axis=(1, 2)) / squares
        across = (shapes[..., 0] * mean[:, 1] - shapes[..., 1] * mean[:, 0]).sum(axis=1) / squares
        turns = np.stack([np.stack([along, across], -1), np.stack([-across, along], -1)], axis=1)
        shapes = shapes @ turns
    return shapes


def filled(points: np.ndarray) -> np.ndarray:
    """Points (n, K, 2) with those that are NaN where the others expect them.

    Heads are taken for one rigid one seen from afar. The x of all landmarks, and their y, are then sums of four rows
    that all faces share (the head's three coordinates and a constant one), which alternating least squares finds.
    """
    known = np.isfinite(points).all(axis=2)
    if known.all():
        return points
    rows = points.transpose(0, 2, 1).reshape(-1, points.shape[1])
    weights = np.repeat(known, 2, axis=0).astype(float)
    values = np.where(weights > 0, rows, 0.0)
    column_means = values.sum(axis=0) / np.maximum(weights.sum(axis=0), 1)
    shared = _principal_components(np.where(weights > 0, rows, column_means), _HEAD_ROWS)
    for _ in range(_FILLINGS):
        cameras = _least_squares(values, weights, shared.T)
        shared = _least_squares(values.T, weights.T, cameras).T
    expected = (_least_squares(values, weights, shared.T) @ shared).reshape(len(points), 2, -1).transpose(0, 2, 1)
    return np.where(known[..., None], points, expected)


def _least_squares(values: np.ndarray, weights: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Coefficients (r, d) with which a basis (c, d) gives each row of values (r, c) as well as it can, by weight."""
    products = np.einsum("rc,ci,cj->rij", weights, basis, basis, optimize=True)
    products += _RIDGE * np.eye(basis.shape[1]) * np.einsum("rii->r", products).mean()
    return np.linalg.solve(products, ((weights * values) @ basis)[..., None])[..., 0]


def _principal_components(values: np.ndarray, count: int) -> np.ndarray:
    """The first principal components (count, d) of values (n, d) about 0."""
    return np.linalg.eigh(values.T @ values)[1][:, ::-1][:, :count].T


def _mirrored(shapes: np.ndarray, flip_order: Sequence[int]) -> np.ndarray:
    return shapes[:, flip_order] * (-1, 1)
