"""Errors of predicted landmarks and what is made of them: NME, CED, failure rate and four readings of the AUC.

Shapes: n faces, K landmarks, points (n, K, 2), x then y, in pixels of any one frame. Errors are fractions, not per
cent. docs/protocols.md says in words which normalizer and which AUC rule each published table uses.
"""

from __future__ import annotations

from typing import Callable, Union

import numpy as np

from datasets.markups import Markup, get_markup

Normalizer = Union[str, np.ndarray]

FAN_THRESHOLDS = np.linspace(0.0, 1.0, 1000)
GRID_STEP = 1e-4  # what the widely copied Simpson reading of the CED uses


def nme(
    predicted: np.ndarray, truth: np.ndarray, normalizer: Normalizer, image_size: np.ndarray | None = None
) -> np.ndarray:
    """Normalized mean error of each face: the mean point-to-point distance over a length of the true face.

    Args:
        predicted: (n, K, 2) pixels.
        truth: (n, K, 2) pixels; NaN where a landmark is not annotated.
        normalizer: A name in NORMALIZERS, or one length in pixels per face, (n,).
        image_size: Width and height in pixels, (2,) or (n, 2); needed by "image" alone.

    Returns:
        (n,) fractions. Landmarks that are NaN in either array are left out of their face's mean. A face is NaN where
        no landmark is left, or where its normalizer cannot be measured (see `lengths`).

    Raises:
        ValueError: Shapes that do not fit, an unknown normalizer, or a length that is not above 0.
    """
    return mean_of_known(landmark_errors(predicted, truth, normalizer, image_size), axis=1)


def landmark_errors(
    predicted: np.ndarray, truth: np.ndarray, normalizer: Normalizer, image_size: np.ndarray | None = None
) -> np.ndarray:
    """The error of every landmark of every face, (n, K) fractions; arguments and NaN as in `nme`."""
    predicted, truth = _points(predicted, "predicted"), _points(truth, "truth")
    if predicted.shape != truth.shape:
        raise ValueError(f"predicted points {predicted.shape} and true points {truth.shape} differ in shape")
    distances = np.linalg.norm(predicted - truth, axis=2)
    return distances / lengths(truth, normalizer, image_size)[:, None]


def lengths(truth: np.ndarray, normalizer: Normalizer, image_size: np.ndarray | None = None) -> np.ndarray:
    """The normalizing length of each face in pixels, (n,), measured on the true points.

    An eye length is NaN where one of the points it is made of is not annotated, because fewer points would make
    another length. A box length is that of the tight box of the landmarks that are annotated. A face with nothing
    annotated has no length at all: NaN.

    Raises:
        ValueError: An unknown normalizer, one the markup has no points for, or a length that is not above 0.
    """
    truth = _points(truth, "truth")
    if isinstance(normalizer, str):
        measured = _named_lengths(truth, normalizer, image_size)
    else:
        measured = np.asarray(normalizer, dtype=np.float64)
        if measured.shape != truth.shape[:1]:
            raise ValueError(f"{len(truth)} faces need as many lengths, not an array of shape {measured.shape}")
    wrong = np.flatnonzero((measured <= 0) | np.isinf(measured))
    if wrong.size:
        name = normalizer if isinstance(normalizer, str) else "given"
        raise ValueError(f"face {wrong[0]}: the {name} normalizer is {measured[wrong[0]]:g}; check its true points")
    return measured


def mean_of_known(values: np.ndarray, axis: int) -> np.ndarray:
    """The mean of the values that are not NaN along an axis; NaN, and no warning, where there are none."""
    known = ~np.isnan(values)
    count = known.sum(axis=axis)
    total = np.where(known, values, 0.0).sum(axis=axis)
    return np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)


def known_normalizers(num_landmarks: int) -> tuple[str, ...]:
    """The normalizers that a markup of so many landmarks has points for, boxes last; "image" is not among them."""
    markup = get_markup(num_landmarks)
    has = (markup.outer_eye_corners, markup.pupils, _eye_corners(markup))
    return (*(name for name, points in zip(EYES, has) if points is not None), *BOXES)


def auc(errors: np.ndarray, threshold: float, rule: str = "exact") -> float:
    """Area under the CED from 0 to threshold, over threshold: a fraction, 1 for a perfect predictor.

    Args:
        errors: (n,) fractions; NaN is left out, infinity is a face that was not found.
        threshold: Fraction, such as 0.07.
        rule: "exact", the area under the empirical step function; "fan", the mean of the CED, read with a strict <,
            at the first round(1000 * threshold) values of linspace(0, 1, 1000); "simpson" and "trapezoid", those rules
            on a grid of step 0.0001 over the CED read with <=.

    Raises:
        ValueError: An unknown rule, no errors, a negative one, or a threshold the rule has no sample for.
    """
    return float(np.mean(auc_shares(_usable(errors), threshold, rule)))


def auc_shares(errors: np.ndarray, threshold: float, rule: str = "exact") -> np.ndarray:
    """What each face adds to the area, (n,): whatever the rule, the AUC is the mean of these. Arguments as in `auc`."""
    if rule not in AUC_RULES:
        raise ValueError(f"unknown AUC rule {rule!r}; known: {', '.join(AUC_RULES)}")
    if not threshold > 0:
        raise ValueError(f"the threshold must be above 0, not {threshold}")
    errors = np.asarray(errors, dtype=np.float64)
    return np.where(np.isnan(errors), np.nan, AUC_RULES[rule](errors, threshold))


def ced(errors: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Cumulative error distribution: the fraction of faces whose error is at most each threshold.

    Args:
        errors: (n,) fractions, NaN left out.
        thresholds: (m,) fractions.

    Returns:
        (m,) fractions.
    """
    ordered = np.sort(_usable(errors))
    return np.searchsorted(ordered, np.asarray(thresholds, dtype=np.float64), side="right") / ordered.size


def failure_rate(errors: np.ndarray, threshold: float) -> float:
    """The fraction of faces whose error is above the threshold; NaN errors are left out, infinite ones fail."""
    return float(np.mean(_usable(errors) > threshold))


def _share_exact(errors: np.ndarray, threshold: float) -> np.ndarray:
    # A face of error e adds a step of height 1/n that lasts from e to the threshold.
    return np.maximum(0.0, 1.0 - errors / threshold)


def _share_fan(errors: np.ndarray, threshold: float) -> np.ndarray:
    count = int(round(threshold * FAN_THRESHOLDS.size))
    if not 1 <= count <= FAN_THRESHOLDS.size:
        raise ValueError(f"the fan rule has a sample per 0.001 up to 1, so a threshold of {threshold} cannot be read")
    return (count - np.searchsorted(FAN_THRESHOLDS[:count], errors, side="right")) / count


def _share_simpson(errors: np.ndarray, threshold: float) -> np.ndarray:
    intervals = 2 * max(1, int(round(threshold / GRID_STEP / 2)))  # Simpson's rule takes them in pairs
    weights = np.full(intervals + 1, 2.0)
    weights[1::2] = 4.0
    weights[[0, -1]] = 1.0
    return _above(errors, threshold, weights / (3 * intervals))


def _share_trapezoid(errors: np.ndarray, threshold: float) -> np.ndarray:
    intervals = max(1, int(round(threshold / GRID_STEP)))
    weights = np.full(intervals + 1, 1.0)
    weights[[0, -1]] = 0.5
    return _above(errors, threshold, weights / intervals)


def _above(errors: np.ndarray, threshold: float, weights: np.ndarray) -> np.ndarray:
    """The weights of an even grid from 0 to threshold, summed over the places that are not below each error."""
    from_here_on = np.append(np.cumsum(weights[::-1])[::-1], 0.0)
    return from_here_on[np.searchsorted(np.linspace(0.0, threshold, weights.size), errors, side="left")]


AUC_RULES: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "exact": _share_exact,
    "fan": _share_fan,
    "simpson": _share_simpson,
    "trapezoid": _share_trapezoid,
}


def _outer_eye(truth: np.ndarray, markup: Markup) -> np.ndarray:
    right, left = _needed(markup.outer_eye_corners, "the outer eye corners", markup)
    return np.linalg.norm(truth[:, right] - truth[:, left], axis=1)


def _pupil(truth: np.ndarray, markup: Markup) -> np.ndarray:
    right, left = _needed(markup.pupils, "the pupils", markup)
    return np.linalg.norm(truth[:, list(right)].mean(axis=1) - truth[:, list(left)].mean(axis=1), axis=1)


def _eye_midpoint(truth: np.ndarray, markup: Markup) -> np.ndarray:
    right, left = _needed(_eye_corners(markup), "both corners of both eyes", markup)
    return np.linalg.norm(truth[:, list(right)].mean(axis=1) - truth[:, list(left)].mean(axis=1), axis=1)


def _eye_corners(markup: Markup) -> tuple[list[int], list[int]] | None:
    right, left = (
        [index for index, name in enumerate(markup.names) if name in (f"{eye}_outer_corner", f"{eye}_inner_corner")]
        for eye in ("right_eye", "left_eye")
    )
    return (right, left) if len(right) == len(left) == 2 else None


def _box_geometric(truth: np.ndarray) -> np.ndarray:
    return np.sqrt(np.prod(_box_sides(truth), axis=1))


def _box_diagonal(truth: np.ndarray) -> np.ndarray:
    return np.linalg.norm(_box_sides(truth), axis=1)


def _box_mean(truth: np.ndarray) -> np.ndarray:
    return np.mean(_box_sides(truth), axis=1)


EYES: dict[str, Callable[[np.ndarray, Markup], np.ndarray]] = {
    "outer_eye": _outer_eye,
    "pupil": _pupil,
    "eye_midpoint": _eye_midpoint,
}
BOXES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "box_geometric": _box_geometric,
    "box_diagonal": _box_diagonal,
    "box_mean": _box_mean,
}
NORMALIZERS = (*EYES, *BOXES, "image")


def _named_lengths(truth: np.ndarray, normalizer: str, image_size: np.ndarray | None) -> np.ndarray:
    if normalizer in EYES:
        return EYES[normalizer](truth, get_markup(truth.shape[1]))
    if normalizer in BOXES:
        return BOXES[normalizer](truth)
    if normalizer != "image":
        raise ValueError(f"unknown normalizer {normalizer!r}; known: {', '.join(NORMALIZERS)}")
    if image_size is None:
        raise ValueError('the "image" normalizer needs image_size, the width and height in pixels')
    size = np.broadcast_to(np.asarray(image_size, dtype=np.float64), (truth.shape[0], 2))
    return size.mean(axis=1)


def _box_sides(truth: np.ndarray) -> np.ndarray:
    """Width and height of each face's tight landmark box, (n, 2); NaN for a face with nothing annotated."""
    annotated = np.isfinite(truth).all(axis=2, keepdims=True)
    sides = np.where(annotated, truth, -np.inf).max(axis=1) - np.where(annotated, truth, np.inf).min(axis=1)
    return np.where(np.isinf(sides), np.nan, sides)


def _needed(indices: tuple | None, what: str, markup: Markup) -> tuple:
    if indices is None:
        raise ValueError(f"the markup {markup.name} does not mark {what}; choose a box normalizer")
    return indices


def _points(points: np.ndarray, name: str) -> np.ndarray:
    points = np.asarray(points, dtype=np.float64)
    if points.ndim != 3 or points.shape[2] != 2 or points.shape[1] == 0:
        raise ValueError(f"{name} points must have shape (faces, landmarks, 2), not {points.shape}")
    return points


def _usable(errors: np.ndarray) -> np.ndarray:
    errors = np.asarray(errors, dtype=np.float64).ravel()
    errors = errors[~np.isnan(errors)]
    if errors.size == 0:
        raise ValueError("there is no face whose error could be measured")
    if errors.min() < 0:
        raise ValueError(f"errors must not be negative, one is {errors.min():g}")
    return errors
