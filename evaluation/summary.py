"""From predicted and true points to the figures of an evaluation: every normalizer, mean, median, failures and AUC."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Iterator, Mapping, Sequence

import numpy as np

from datasets.markups import IBUG_49, IBUG_51, IBUG_68, get_markup
from evaluation.metrics import (
    AUC_RULES,
    BOXES,
    auc,
    auc_shares,
    failure_rate,
    known_normalizers,
    landmark_errors,
    mean_of_known,
)
from evaluation.protocols import Protocol
from evaluation.resampling import Interval, mean_intervals

FAILURE_THRESHOLDS = (0.08, 0.10)
AUC_THRESHOLDS = (0.07, 0.08, 0.10)


@dataclass(frozen=True)
class Evaluation:
    """The faces of a subset, what a network predicts for them, and how they are scored.

    Attributes:
        model: Name of the network, as evaluation.published knows it.
        protocol: How the faces are scored.
        names: n names, in the order of the arrays.
        predicted: (n, K, 2) pixels of the images; a face that was not found is NaN throughout.
        truth: (n, K, 2) pixels of the images; NaN where a landmark is not annotated.
        skipped: Why a face has no prediction, by its name.
        expected: How many faces the subset has when it is complete, as far as that can be known.
        present: The part that is here where missing faces cannot be counted, such as "20 of 31 videos"; "" if whole.
        face_sizes: (n,) pixels, the size that the data set itself gives each face, NaN where it has none; or None.
        earlier_stages: The predictions of the stages before the last, each as `predicted`, which is the last one's.
        boxes: (n, 4) pixels of the images, what the faces were cropped by, NaN for a face that was not found; or None.
    """

    model: str
    protocol: Protocol
    names: Sequence[str]
    predicted: np.ndarray
    truth: np.ndarray
    skipped: Mapping[str, str]
    expected: int
    present: str = ""
    face_sizes: np.ndarray | None = None
    earlier_stages: Sequence[np.ndarray] = ()
    boxes: np.ndarray | None = None

    @property
    def normalizers(self) -> tuple[str, ...]:
        """The normalizers that the faces can be measured in."""
        known = BOXES if self.protocol.has_profiles else known_normalizers(self.truth.shape[1])
        return (*(() if self.face_sizes is None else ("face_size",)), *known)

    @property
    def found(self) -> np.ndarray:
        """(n,) bool: the faces that have predicted points."""
        return ~np.isnan(self.predicted).all(axis=(1, 2))

    @property
    def is_complete(self) -> bool:
        """Whether every face of the whole subset has been measured."""
        return not self.present and self.expected == len(self.names) == int(self.found.sum())

    def errors(self, normalizer: str, landmarks: Sequence[int] | None = None) -> np.ndarray:
        """(n,) fractions over some landmarks, or all; NaN for a face that was not found or cannot be measured."""
        errors = np.full(len(self.names), np.nan)
        each = self.landmark_errors(normalizer)
        errors[self.found] = mean_of_known(each if landmarks is None else each[:, landmarks], axis=1)
        return errors

    @property
    def point_sets(self) -> dict[str, list[int]]:
        """Of 68 landmarks all, the 51 that are not of the outline, and the 49 that are no inner mouth corners either.

        By their number; of other markups none.
        """
        if self.truth.shape[1] != IBUG_68.num_landmarks:
            return {}
        sets = (IBUG_68, IBUG_51, IBUG_49)
        return {str(part.num_landmarks): [IBUG_68.names.index(name) for name in part.names] for part in sets}

    def landmark_errors(self, normalizer: str) -> np.ndarray:
        """The error of each landmark of the faces that were found, (found, K) fractions."""
        found = self.found
        length: str | np.ndarray = normalizer
        if normalizer == "face_size":
            if self.face_sizes is None:
                raise ValueError(f"{self.protocol.dataset} gives its faces no size; choose another normalizer")
            length = self.face_sizes[found]
        return landmark_errors(self.predicted[found], self.truth[found], length)


@dataclass(frozen=True)
class Figures:
    """Statistics of the errors of all faces in one normalizer, as fractions.

    Attributes:
        mean: Over the faces that were measured; NaN where none was.
        median: Over the same faces.
        failure_rate: By threshold, written "0.08"; a face that was not found is a failure.
        auc: By threshold, then by rule; a face that was not found adds nothing to the area.
        mean_interval: Where the mean lies with 95 % confidence, by resampling the faces; so the next two.
        failure_rate_intervals: As `failure_rate`.
        auc_intervals: As `auc`.
    """

    mean: float
    median: float
    failure_rate: dict[str, float]
    auc: dict[str, dict[str, float]]
    mean_interval: Interval
    failure_rate_intervals: dict[str, Interval]
    auc_intervals: dict[str, dict[str, Interval]]


@dataclass(frozen=True)
class Summary:
    """The figures of an evaluation.

    Attributes:
        faces: Counts: expected, present, found, measured, and annotated landmarks without a prediction.
        results: By normalizer; one that no face can be measured in is not there.
        per_landmark: Mean error by landmark name, in the primary normalizer.
        per_region: Mean over the faces of the mean error in a region of the face, in the primary normalizer.
        point_sets: Of 68 landmarks, the figures over all, 51 and 49 of them, in the primary normalizer.
    """

    faces: dict[str, int]
    results: dict[str, Figures]
    per_landmark: dict[str, float]
    per_region: dict[str, float]
    point_sets: dict[str, Figures]


def summarise(evaluation: Evaluation) -> Summary:
    """Works out the figures of an evaluation.

    Means and medians are over the faces that were found. In failure rates and areas a face that was not found counts as
    one that fails, so a detector cannot better them by giving up.

    Raises:
        ValueError: A true face has a normalizing length of 0, or its number of landmarks is no known markup's.
    """
    record = evaluation.protocol.normalizer
    errors = {name: evaluation.errors(name) for name in evaluation.normalizers}
    if np.isnan(_ranked(evaluation, errors[record])).all():
        raise ValueError(f"no face of {evaluation.protocol.subset} can be measured: its landmarks are not annotated")
    faces = {
        "expected": evaluation.expected,
        "present": len(evaluation.names),
        "found": int(evaluation.found.sum()),
        "measured": int(np.isfinite(errors[record]).sum()),
        "landmarks_not_predicted": _lacking(evaluation),
    }
    measurable = {name: each for name, each in errors.items() if not np.isnan(_ranked(evaluation, each)).all()}
    parts = {name: evaluation.errors(record, landmarks) for name, landmarks in evaluation.point_sets.items()}
    figures = iter(_all_figures(evaluation, [*measurable.values(), *parts.values()]))
    return Summary(
        faces,
        {name: next(figures) for name in measurable},
        _per_landmark(evaluation),
        _per_region(evaluation),
        {name: next(figures) for name in parts},
    )


def stage_errors(evaluation: Evaluation) -> list[dict[str, float]]:
    """Mean and median error of every stage of the network, the last stage's equal the evaluation's.

    In the primary normalizer, over the same faces; nothing for a network without stages.
    """
    if not evaluation.earlier_stages:
        return []
    every = (replace(evaluation, predicted=points) for points in (*evaluation.earlier_stages, evaluation.predicted))
    errors = [stage.errors(evaluation.protocol.normalizer) for stage in every]
    return [{"stage": number, **_centre(each)} for number, each in enumerate(errors)]


def _centre(errors: np.ndarray) -> dict[str, float]:
    """Mean and median of the known errors; NaN where none is known."""
    measured = errors[~np.isnan(errors)]
    if not measured.size:
        return {"mean": float("nan"), "median": float("nan")}
    return {"mean": float(measured.mean()), "median": float(np.median(measured))}


def _ranked(evaluation: Evaluation, errors: np.ndarray) -> np.ndarray:
    """Errors (n,) with a face that was not found above every other."""
    return np.where(evaluation.found, errors, np.inf)


def _all_figures(evaluation: Evaluation, sets: Sequence[np.ndarray]) -> list[Figures]:
    """The figures of several sets of errors (n,) of the same faces, which are resampled once for all of them."""
    pairs = [(errors, _ranked(evaluation, errors)) for errors in sets]
    intervals = iter(mean_intervals(np.concatenate([_quantities(*pair) for pair in pairs])))
    return [_figures(*pair, intervals) for pair in pairs]


def _quantities(errors: np.ndarray, ranked: np.ndarray) -> np.ndarray:
    """The per-face values (m, n) whose means have intervals, in the order in which `_figures` takes them."""
    failed = [np.where(np.isnan(ranked), np.nan, ranked > at) for at in FAILURE_THRESHOLDS]
    return np.stack([errors, *failed, *(auc_shares(ranked, at, rule) for at in AUC_THRESHOLDS for rule in AUC_RULES)])


def _figures(errors: np.ndarray, ranked: np.ndarray, intervals: Iterator[Interval]) -> Figures:
    return Figures(
        **_centre(errors),
        failure_rate={f"{at:.2f}": failure_rate(ranked, at) for at in FAILURE_THRESHOLDS},
        auc={f"{at:.2f}": {rule: auc(ranked, at, rule) for rule in AUC_RULES} for at in AUC_THRESHOLDS},
        mean_interval=next(intervals),
        failure_rate_intervals={f"{at:.2f}": next(intervals) for at in FAILURE_THRESHOLDS},
        auc_intervals={f"{at:.2f}": {rule: next(intervals) for rule in AUC_RULES} for at in AUC_THRESHOLDS},
    )


def _lacking(evaluation: Evaluation) -> int:
    """How many annotated landmarks of found faces have no prediction; the errors leave them out."""
    annotated = ~np.isnan(evaluation.truth).any(axis=2)
    predicted = ~np.isnan(evaluation.predicted).any(axis=2)
    return int((annotated & ~predicted)[evaluation.found].sum())


def _per_landmark(evaluation: Evaluation) -> dict[str, float]:
    means = mean_of_known(evaluation.landmark_errors(evaluation.protocol.normalizer), axis=0)
    return dict(zip(get_markup(evaluation.truth.shape[1]).names, means.tolist()))


def _per_region(evaluation: Evaluation) -> dict[str, float]:
    each = evaluation.landmark_errors(evaluation.protocol.normalizer)
    regions = get_markup(evaluation.truth.shape[1]).regions
    means = {name: mean_of_known(each[:, list(landmarks)], axis=1) for name, landmarks in regions.items()}
    return {name: float(mean_of_known(values, axis=0)) for name, values in means.items()}
