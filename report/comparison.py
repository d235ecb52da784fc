"""The rows "ours | paper | delta", and remarks that say what a bare delta would hide."""

from __future__ import annotations

import math
from typing import Any, Mapping, NamedTuple, Sequence

import numpy as np

from evaluation.published import Published, find
from evaluation.resampling import Interval
from evaluation.summary import Evaluation, Figures

NORMALIZER_WORDS = {
    "face_size": "face size",
    "outer_eye": "outer eye corners",
    "pupil": "pupils",
    "eye_midpoint": "eye midpoints",
    "box_geometric": "box, sqrt(w h)",
    "box_diagonal": "box, diagonal",
    "box_mean": "box, (w + h) / 2",
}
ALL_POINTS = "68"
INSIDE = "49"  # without outline, as papers take them


class Row(NamedTuple):
    """One line of the table; figures in per cent.

    Attributes:
        quantity: Name of the measured quantity.
        ours: The figure measured here, NaN if there is none.
        paper: The published figure, or None.
        delta: Ours minus the paper's, in points of per cent; None where the two are not of the same faces, or not
            known to be over the same length.
        source: Where the paper's figure stands, or "".
        interval: Where ours lies with 95 % confidence, by resampling the faces; None for a median.
    """

    quantity: str
    ours: float
    paper: float | None = None
    delta: float | None = None
    source: str = ""
    interval: Interval | None = None

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Row:
        """A row as metrics.json holds it, where null stands for NaN."""
        ends = values.get("interval")
        interval = Interval(*ends) if ends and None not in ends else None
        ours = math.nan if values["ours"] is None else values["ours"]
        return cls(values["quantity"], ours, values["paper"], values["delta"], values["source"], interval)

    def cells(self) -> list[str]:
        """Ours, its interval, the paper's figure and the difference as they are shown.

        A paper's figure stands in brackets where no difference is taken; what there is none of is empty.
        """
        known = self.interval is not None and not math.isnan(self.interval.low)
        paper = "" if self.paper is None else f"{self.paper:.2f}"
        return [
            "none" if math.isnan(self.ours) else f"{self.ours:.2f}",
            f"{self.interval.low:.2f} to {self.interval.high:.2f}" if self.interval and known else "",
            paper if self.delta is not None or not paper else f"({paper})",
            "" if self.delta is None or math.isnan(self.delta) else f"{self.delta:+.2f}",
        ]


def compare(
    evaluation: Evaluation, results: Mapping[str, Figures], point_sets: Mapping[str, Figures] | None = None
) -> list[Row]:
    """The rows of an evaluation, with the published figures beside ours where there are any.

    Args:
        evaluation: What was measured.
        results: Those of `evaluation.summary.summarise`.
        point_sets: Likewise, for rows of parts of the landmarks.
    """
    protocol = evaluation.protocol
    means = [cell for cell in _cells(evaluation) if cell.statistic == "mean"]
    cells = {name: cell for cell in means for name in (*cell.also, cell.normalizer)}
    rows = [_mean_row(evaluation, name, figures, cells.get(name)) for name, figures in results.items()]
    record = results[protocol.normalizer]
    rows += [_part_row(name, figures) for name, figures in (point_sets or {}).items() if name != ALL_POINTS]
    rows += _median_rows(evaluation, record)
    rows += [_failure_row(record, at) for at in record.failure_rate]
    areas = record.auc[f"{protocol.auc_threshold:.2f}"]
    intervals = record.auc_intervals[f"{protocol.auc_threshold:.2f}"]
    # Those who publish areas of these faces take FAN's rule.
    cell = next((each for each in _cells(evaluation) if each.statistic == "auc"), None)
    text = f"AUC to {100 * protocol.auc_threshold:.0f} %"
    for rule, area in areas.items():
        row = _row(evaluation, f"{text}, {rule}", protocol.normalizer, area, cell if rule == "fan" else None)
        rows.append(row._replace(interval=_per_cent(intervals[rule])))
    return rows


def _cells(evaluation: Evaluation) -> list[Published]:
    protocol = evaluation.protocol
    return find(evaluation.model, protocol.dataset, protocol.part_of or protocol.subset)


def _median_rows(evaluation: Evaluation, record: Figures) -> list[Row]:
    """The median in the primary normalizer, and of 68 landmarks the one without outline."""
    normalizer = evaluation.protocol.normalizer
    text = NORMALIZER_WORDS[normalizer]
    cells = {cell.without_outline: cell for cell in _cells(evaluation) if cell.statistic == "median"}
    rows = [_row(evaluation, f"median, {text}", normalizer, record.median, cells.get(False))]
    if INSIDE in evaluation.point_sets:
        errors = evaluation.errors(normalizer, evaluation.point_sets[INSIDE])
        median = float(np.median(errors[~np.isnan(errors)])) if not np.isnan(errors).all() else float("nan")
        rows.append(_row(evaluation, f"median of {INSIDE} points", normalizer, median, cells.get(True)))
    return rows


def _mean_row(evaluation: Evaluation, normalizer: str, figures: Figures, cell: Published | None) -> Row:
    row = _row(evaluation, "NME, " + NORMALIZER_WORDS[normalizer], normalizer, figures.mean, cell)
    return row._replace(interval=_per_cent(figures.mean_interval))


def _part_row(count: str, figures: Figures) -> Row:
    return Row(f"NME of {count} points", 100 * figures.mean, interval=_per_cent(figures.mean_interval))


def _failure_row(record: Figures, threshold: str) -> Row:
    interval = _per_cent(record.failure_rate_intervals[threshold])
    text = f"faces above {100 * float(threshold):.0f} %"
    return Row(text, 100 * record.failure_rate[threshold], interval=interval)


def _per_cent(interval: Interval) -> Interval:
    return Interval(100 * interval.low, 100 * interval.high)


def _row(evaluation: Evaluation, quantity: str, normalizer: str, figure: float, cell: Published | None) -> Row:
    ours = 100 * figure
    if cell is None:
        return Row(quantity, ours)
    same = evaluation.is_complete and not evaluation.protocol.part_of and normalizer == cell.normalizer
    return Row(quantity, ours, cell.percent, ours - cell.percent if same else None, f"{cell.paper}, {cell.table}")


def remarks(evaluation: Evaluation, rows: Sequence[Row], box_text: str) -> list[str]:
    """What the rows leave unsaid: which faces, which boxes, where the paper's figures stand and what they are of.

    Args:
        evaluation: What was measured.
        rows: From `compare`.
        box_text: What the faces were cropped by, a clause.
    """
    protocol, count = evaluation.protocol, len(evaluation.names)
    said = [f"of {protocol.subset} only {evaluation.present} are here"] if evaluation.present else []
    if count != evaluation.expected:
        said.append(f"{count} of the {evaluation.expected} faces of {protocol.subset} are here")
    missed = count - int(evaluation.found.sum())
    if missed:
        said.append(f"{missed} of {count} faces were not found: left out of means and medians, failures elsewhere")
    said += [text for text in (protocol.differs, box_text) if text]
    cells = _cells(evaluation)
    said += dict.fromkeys(_source(cell) for cell in cells)
    if cells and (protocol.part_of or not evaluation.is_complete):
        subset = cells[0].subset
        said.append(f"the paper's figures, in brackets, are of the whole {subset} subset: no difference is taken")
    return said


def _source(cell: Published) -> str:
    note = f" ({cell.note})" if cell.note else ""
    return f"paper: {cell.paper}, {cell.table}, {cell.method}{note}"


def format_table(rows: Sequence[Row]) -> str:
    """The rows as text for a terminal, figures in per cent."""
    lines = [("per cent", "ours", "95 % interval", "paper", "delta"), *((row.quantity, *row.cells()) for row in rows)]
    padded = (
        f"{quantity:<31}{ours:>7}{interval:>18}{paper if '(' in paper else paper + ' ':>10}{delta:>8}"
        for quantity, ours, interval, paper, delta in lines
    )
    return "\n".join(line.rstrip() for line in padded)
