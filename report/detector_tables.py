"""How well detectors find faces, as tables for the terminal and for documents.

An evaluation is the metrics.json of tools.evaluate_detector: several detectors on the same photos. The record of a
detector that ships holds several evaluations. Records hold fractions; a reader sees per cent.
"""

from __future__ import annotations

from typing import Any, Mapping

from report.markdown import markdown_table

Record = Mapping[str, Any]
SHOWN = ("all", "from 24", "from 40")  # sizes that documents tell apart, by their names in the record
HEADS = (
    *("photos", "faces: " + " / ".join(SHOWN) + " px", "detector"),
    *("average precision, %", "recall, %", "seconds a photo"),
)
# Photos with landmark files show faces that have none: what is found besides the others may well be right.
NOT_ALL_MARKED = ("pts",)


def detector_table(record: Record) -> str:
    """A row for each detector of each evaluation; average precision only where all faces are marked."""
    return markdown_table(HEADS, [row for each in record["evaluations"] for row in _rows(each)])


def _rows(evaluation: Record) -> list[list[str]]:
    rows = []
    for name, result in evaluation["results"].items():
        cells = [_cells(result["sizes"][label]) for label in SHOWN]
        faces, average, recall, _ = (" / ".join(column) for column in zip(*cells))
        if evaluation["dataset"] in NOT_ALL_MARKED:
            average = ""
        photos = f"{evaluation['title']}, {evaluation['photos']:,}"
        rows.append([photos, faces, f"`{name}`", average, recall, f"{result['seconds_per_photo']:.2f}"])
    return rows


def terminal_table(evaluation: Record) -> str:
    """A line for each detector and range of sizes."""
    lines = [f"{evaluation['title']}: {evaluation['photos']:,} photos"]
    lines.append(f"{'detector':12} {'size, px':>9} {'faces':>6} {'AP %':>6} {'recall %':>9} {'precision %':>12}")
    for name, result in evaluation["results"].items():
        for label, row in result["sizes"].items():
            faces, average, recall, precision = _cells(row)
            lines.append(f"{name:12} {label:>9} {faces:>6} {average:>6} {recall:>9} {precision:>12}")
        lines.append(f"{name:12} {result['seconds_per_photo']:.3f} seconds a photo")
    return "\n".join(lines)


def _cells(row: Record) -> list[str]:
    """Faces, average precision, recall and precision of a range of sizes; "-" where there is nothing to count."""
    shares = (row[key] for key in ("average_precision", "recall", "precision"))
    return [f"{row['faces']:,}", *("-" if share is None else f"{100 * share:.1f}" for share in shares)]
