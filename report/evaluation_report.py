"""Writes the results of an evaluation: figures, errors, predictions, pictures and one page that shows them all."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Iterable, Mapping, NamedTuple, Sequence

import numpy as np

from common.files import write_set
from evaluation.resampling import LEVEL, ROUNDS
from evaluation.stress import Curve
from evaluation.summary import Evaluation, Summary, stage_errors, summarise
from report.comparison import NORMALIZER_WORDS, Row, compare, format_table, remarks
from report.outputs import csv_bytes, json_bytes, npy_bytes, text_bytes
from report.page import render_page
from report.plots import Picture, draw_ced, draw_faces, draw_landmarks
from report.stress import draw_stress, stress_table

WORST_LISTED = 20
STRESS_FILES = ("stress.json", "stress.md", "stress.png")
_CURVES = ("outer_eye", "pupil", "box_geometric")


def extreme_faces(errors: np.ndarray, worst: int = 8, best: int = 4) -> tuple[list[int], list[int]]:
    """Indices of the faces to draw: the worst, worst first, and the best, best first, none of them twice.

    Args:
        errors: (n,) fractions; NaN is never picked.
        worst: How many of the worst.
        best: How many of the best; fewer where the worst have taken them.
    """
    order = [int(index) for index in np.argsort(errors) if not math.isnan(errors[index])]
    upper = order[::-1][:worst]
    return upper, order[: min(best, len(order) - len(upper))]


class Findings(NamedTuple):
    """What an evaluation comes to.

    Attributes:
        summary: The figures.
        rows: The table.
        remarks: What the table leaves unsaid.
        metrics: The content of metrics.json.
    """

    summary: Summary
    rows: list[Row]
    remarks: list[str]
    metrics: dict[str, object]


def work_out(evaluation: Evaluation, record: Mapping[str, object], box_text: str) -> Findings:
    """Works out the figures of an evaluation and compares them with the papers'.

    Args:
        evaluation: What was measured.
        record: What made the figures: command, weights, versions and the like; values that JSON can hold.
        box_text: What the faces were cropped by, a clause.

    Raises:
        ValueError: There is nothing to measure.
    """
    summary, stages = summarise(evaluation), stage_errors(evaluation)
    rows = compare(evaluation, summary.results, summary.point_sets)
    said = remarks(evaluation, rows, box_text)
    metrics = {
        "model": evaluation.model,
        "dataset": evaluation.protocol.dataset,
        "subset": evaluation.protocol.subset,
        "normalizer": evaluation.protocol.normalizer,
        **record,
        "protocol": vars(evaluation.protocol),
        "units": "errors, rates and areas are fractions; the rows of the table are per cent",
        "intervals": {"level": LEVEL, "rounds": ROUNDS, "seed": 0, "by": "resampling the faces, percentiles"},
        **vars(summary),
        **({"stages": stages} if stages else {}),
        "skipped": evaluation.skipped,
        "table": [row._asdict() for row in rows],
        "remarks": said,
        "names": list(evaluation.names),
        "truth_sha256": evaluation.truth_hashes,
    }
    return Findings(summary, rows, said, metrics)


def write_report(
    out: Path,
    evaluation: Evaluation,
    record: Mapping[str, object],
    box_text: str,
    worst: Iterable[Picture],
    best: Iterable[Picture],
) -> str:
    """Writes metrics.json, errors.npy, errors.csv and predictions.npy, then ced.png, faces.png and report.html.

    The measurements are on the disk before anything is drawn.

    Args:
        out: Folder, made where it is missing; files of the same names in it are replaced, `STRESS_FILES` removed.
        evaluation: What was measured.
        record: As in `work_out`.
        box_text: As in `work_out`.
        worst: Crops of the worst faces, worst first.
        best: Crops of the best faces, best first.

    Returns:
        The table and the remarks as text for a terminal.

    Raises:
        ValueError: There is nothing to measure.
        OSError: The folder cannot be written.
    """
    found = work_out(evaluation, record, box_text)
    measured = {
        "metrics.json": json_bytes(found.metrics),
        "errors.npy": npy_bytes(evaluation.errors(evaluation.protocol.normalizer)),
        "errors.csv": _errors_csv(evaluation, found.summary),
        "predictions.npy": npy_bytes(evaluation.predicted),
    }
    write_set(out, measured, gone=STRESS_FILES)  # those of the network that was evaluated here before
    regions = region_rows(found.summary)
    pictures = _pictures(evaluation, found.summary, list(worst), list(best))
    page = render_page(
        _title(evaluation),
        found.rows,
        found.remarks,
        regions,
        {heading: file for heading, _, file in pictures},
        _faces_to_inspect(evaluation),
        {key: value if isinstance(value, str) else json.dumps(value) for key, value in record.items()},
    )
    write_set(out, {**{name: file for _, name, file in pictures if name}, "report.html": text_bytes(page)})
    text = "by region of the face: " + ", ".join(f"{name} {error}" for name, error in regions)
    said = [f"- {remark}" for remark in found.remarks]
    return "\n".join([_title(evaluation), "", format_table(found.rows), text, "", *said])


def region_rows(summary: Summary) -> list[tuple[str, str]]:
    """Each region of the face and its mean error, as shown."""
    return [(name.replace("_", " "), f"{100 * error:.2f} %") for name, error in summary.per_region.items()]


def write_stress(out: Path, evaluation: Evaluation, curves: Sequence[Curve], record: Mapping[str, object]) -> str:
    """Writes stress.json, stress.md and stress.png, and returns the table.

    Args:
        out: Folder, made where it is missing.
        evaluation: Of the faces as they are.
        curves: Of the faces made harder.
        record: What made the figures.

    Raises:
        OSError: The folder cannot be written.
    """
    protocol = evaluation.protocol
    text = f"error over {NORMALIZER_WORDS[protocol.normalizer]}"
    title = f"{evaluation.model} on {protocol.dataset} {protocol.subset}, faces made harder"
    table = stress_table(curves)
    values = {
        **record,
        "dataset": protocol.dataset,
        "subset": protocol.subset,
        "normalizer": protocol.normalizer,
        "failure_threshold": protocol.failure_threshold,
        "units": "errors and rates are fractions; a level is amount, mean, its 95 % interval, failure rate",
        "curves": curves,
    }
    page = f"# {title}\n\n{text[0].upper()}{text[1:]}.\n\n{table}".encode()
    picture = draw_stress({evaluation.model: curves}, text, title)
    write_set(out, dict(zip(STRESS_FILES, (json_bytes(values), page, picture))))
    return table


def _title(evaluation: Evaluation) -> str:
    protocol, measured = evaluation.protocol, int(evaluation.found.sum())
    return f"{evaluation.model} on {protocol.dataset} {protocol.subset}: {measured} of {evaluation.expected} faces"


def _pictures(
    evaluation: Evaluation, summary: Summary, worst: Sequence[Picture], best: Sequence[Picture]
) -> list[tuple[str, str, bytes]]:
    """Heading, file name ("" for one that is on the page alone) and PNG file of each picture."""
    # A face that was not found is to the right of every error: it keeps the curve below 100 %.
    errors = {
        NORMALIZER_WORDS[name]: np.where(evaluation.found, evaluation.errors(name), np.inf)
        for name in dict.fromkeys([evaluation.protocol.normalizer, *_CURVES])
        if summary.results.get(name)
    }
    made = [("Cumulative error distribution", "ced.png", draw_ced(errors, evaluation.protocol, _title(evaluation)))]
    made.append(("Worst and best faces", "faces.png", draw_faces(worst, best)))
    if evaluation.found.any():
        made.append(("Landmarks", "", draw_landmarks(evaluation.truth, summary.per_landmark, evaluation.points_of)))
    return made


def _faces_to_inspect(evaluation: Evaluation) -> list[tuple[str, str]]:
    errors = evaluation.errors(evaluation.protocol.normalizer)
    worst, _ = extreme_faces(errors, WORST_LISTED, 0)
    listed = [(evaluation.names[index], f"{100 * errors[index]:.2f} %") for index in worst]
    return [*evaluation.skipped.items(), *listed]


def _errors_csv(evaluation: Evaluation, summary: Summary) -> bytes:
    measured = {name: evaluation.errors(name) for name in summary.results}
    rows = zip(evaluation.names, *(values.tolist() for values in measured.values()))
    return csv_bytes(["name", *measured], list(rows))
