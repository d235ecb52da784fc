"""The tables of README.md and docs/, each from what JSON files hold: an index, evaluations, studies, costs.

A record is a file that evaluate.py (metrics.json), tools.study or tools.benchmark (--json) wrote. Records hold
fractions, those of studies per cent; a reader sees per cent.
"""

from __future__ import annotations

import math
from typing import Any, Iterable, Mapping, Sequence

from evaluation.published import WITH_SHAPE_MODEL, Published, find
from report.comparison import ALL_POINTS, INSIDE, NORMALIZER_WORDS
from report.markdown import markdown_table

Record = Mapping[str, Any]
COMMON = ("300w", "common")
DETECTOR = "detector"  # the "kind" of an entry of the index whose scores are not of landmarks
RULES = ("exact", "fan", "simpson", "trapezoid")
SHIPPED_HEADS = (
    *("weights", "trained on", "NME, inter-ocular", "paper", "NME, inter-pupil", "paper"),
    *("above 8 %", "AUC to 8 %"),
)
_STAGES = {
    "ffld": ("baseline network", "first refinement", "second refinement", "third refinement"),
    "hourglass": tuple(f"{number} stack" for number in "first second third fourth fifth sixth seventh eighth".split()),
    "lgcn": ("local context", "with global context"),
}
_WORDS = {
    **NORMALIZER_WORDS,
    "outer_eye": "inter-ocular",
    "pupil": "inter-pupil",
    "box_geometric": "sqrt(w h) of the landmark box",
}
_VALIDATION = (
    ("validation_nme", "validation NME", 2),
    ("validation_average_precision", "validation average precision", 1),
)
_SHOWN = ("outer_eye", "pupil", "box_geometric")
_FACES = {
    ("300w", "common"): "the {} faces of 300-W's common subset",
    ("300w", "helen_test"): "HELEN's {} test faces",
    ("helen194", "test"): "HELEN's {} test faces, 194 points",
}


def shipped_table(index: Mapping[str, Record], records: Mapping[str, Record]) -> str:
    """A row for each of the weights that place landmarks, the smallest error first.

    The papers' figures are those of the same network on the common subset of 300-W.

    Args:
        index: The entries of weights/index.json, by name; detectors among them are left out.
        records: The evaluation of each of the others, by name.
    """
    names = sorted(records, key=lambda name: _eyes(records[name]).get("mean", float("inf")))
    return markdown_table(SHIPPED_HEADS, [_shipped_row(name, index[name], records[name]) for name in names])


def faces_line(records: Iterable[Record]) -> str:
    """Which faces the errors of `shipped_table` are measured on, as a sentence."""
    return f"Measured on {' and '.join(dict.fromkeys(_faces(record) for record in records))}."


def _eyes(record: Record) -> Record:
    return record["results"].get("outer_eye", {})


def _shipped_row(name: str, entry: Record, record: Record) -> list[str]:
    points = len(record["per_landmark"])
    row = [f"`{name}`" + ("" if str(points) == ALL_POINTS else f", {points} points"), entry.get("short", entry["data"])]
    for normalizer in ("outer_eye", "pupil"):
        figures = record["results"].get(normalizer)
        row += [_per_cent(figures["mean"]) if figures else "", _paper(_published(record, COMMON), normalizer)]
    eyes = _eyes(record)
    if not eyes:
        return [*row, "", ""]
    return [*row, _per_cent(eyes["failure_rate"]["0.08"], 1), _per_cent(eyes["auc"]["0.08"]["exact"], 1)]


def scores_table(record: Record) -> str:
    """The figures of one evaluation: quantity, value, and the paper's figure on the faces that it measured.

    Rows are of what the record holds: older ones lack intervals and the errors without outline.
    """
    protocol, results, first = record["protocol"], record["results"], record["normalizer"]
    part = (record["dataset"], protocol["part_of"] or record["subset"])
    cells, rows = _published(record, part), []
    for name in dict.fromkeys((first, *_SHOWN)):
        if name in results:
            rows.append([f"NME, {_WORDS[name]}", _per_cent(results[name]["mean"]), _paper(cells, name)])
        if name == first and "mean_interval" in results[first]:
            low, high = (100 * end for end in results[first]["mean_interval"])
            text = f"its {100 * record['intervals']['level']:.0f} % interval, by bootstrap over the faces"
            rows.append([text, f"{low:.2f} to {high:.2f} %", ""])
    figures = results[first]
    rows.append([f"median, {_WORDS[first]}", _per_cent(figures["median"]), _paper(cells, first, "median")])
    inside = record.get("point_sets", {}).get(INSIDE)
    if inside:
        text = f"median / mean without outline ({INSIDE} points), {_WORDS[first]}"
        values = f"{_per_cent(inside['median'])} / {_per_cent(inside['mean'])}"
        rows.append([text, values, _paper(cells, first, "median", without_outline=True)])
    above = " / ".join(_per_cent(figures["failure_rate"][at], 1) for at in ("0.08", "0.10"))
    rows.append(["above 8 % / 10 %", above, ""])
    rows.append(["AUC to 8 %: exact, FAN, Simpson, trapezoid", _areas(figures["auc"]["0.08"]), ""])
    if "box_geometric" in results:
        text = f"AUC to 7 %, {_WORDS['box_geometric']}: exact, FAN, Simpson, trapezoid"
        rows.append([text, _areas(results["box_geometric"]["auc"]["0.07"]), ""])
    return markdown_table(["on " + _faces(record), "value", "paper (common, 554)" if part == COMMON else "paper"], rows)


def stages_table(record: Record, log: Sequence[Record]) -> str:
    """The error of every stage of a network, and by how much it is below, or above, that of the first.

    Args:
        record: Of the evaluation.
        log: Lines of the log of the run that made the weights; those are of its best epoch.

    Raises:
        ValueError: The record has no stages, or ones that have no names here, or no epoch of the run was validated.
    """
    if "stages" not in record:
        raise ValueError("the evaluation on record is of no stages: run evaluate.py again, if the network has several")
    means = [stage["mean"] for stage in record["stages"]]
    names = _STAGES.get(record["model"].partition("_")[0], ())
    if len(means) > len(names):
        raise ValueError(f"{record['model']} has {len(means)} stages, but names are known of {len(names)}")
    best, rows = _best_epoch(log), []
    for stage, (name, mean) in enumerate(zip(names, means)):
        change = f"{100 * (mean / means[0] - 1):+.1f} %" if stage else ""
        rows.append([name, _per_cent(best[f"nme_stage_{stage}"]), _per_cent(mean), change])
    return markdown_table(["stage", "validation", _faces(record), "against the first stage"], rows)


def _best_epoch(log: Sequence[Record]) -> Record:
    """The line of the epoch whose weights a run keeps: the first of the smallest error."""
    validated = [line for line in log if math.isfinite(line.get("nme", math.nan))]
    if not validated:
        raise ValueError("no epoch of the run on record was validated: no stage has an error there")
    return min(validated, key=lambda line: line["nme"])


def _faces(record: Record) -> str:
    subset = (record["dataset"], record["subset"])
    return _FACES.get(subset, "{} faces of " + " ".join(subset)).format(record["faces"]["measured"])


def _published(record: Record, part: tuple[str, str]) -> list[Published]:
    return find(record["model"] + (WITH_SHAPE_MODEL if record.get("shape_model") else ""), *part)


def _paper(cells: Sequence[Published], normalizer: str, statistic: str = "mean", without_outline: bool = False) -> str:
    """The figure as shown; empty where none is printed."""
    wanted = (normalizer, statistic, without_outline)
    found = [cell for cell in cells if (cell.normalizer, cell.statistic, cell.without_outline) == wanted]
    text = f", the {statistic}" if without_outline else ""
    return f"{found[0].percent:.2f} %{text}" if found else ""


def _areas(areas: Mapping[str, float]) -> str:
    return ", ".join(f"{100 * areas[rule]:.2f}" for rule in RULES) + " %"


def _per_cent(fraction: float, digits: int = 2) -> str:
    return f"{100 * fraction:.{digits}f} %"


def record_line(entry: Record, run: str, figures: str) -> str:
    """What made some weights, in one line.

    Args:
        entry: Of the index.
        run: Link to the run's record.
        figures: Link to the evaluation's.
    """
    score = "".join(f"{text} {_per_cent(entry[key], digits)}, " for key, text, digits in _VALIDATION if key in entry)
    return f"Seed {entry['seed']}, {score}SHA-256 `{entry['sha256'][:16]}...`; record: {run}, all figures: {figures}."


def study_table(study: Record) -> str:
    """What a study came to: each cell's error with each seed, mean and deviation, and the printed figure.

    Args:
        study: Its record: "seeds" of the runs of each cell, "unit", "published_on" for what the printed figures were
            measured on, and "rows" of "cell", "values", "mean", "deviation" and "published", in that unit; the last two
            may be None.
    """
    heads = [
        "cell",
        *(f"seed {seed}" for seed in study["seeds"]),
        "mean ± deviation",
        f"paper ({study['published_on']})",
    ]
    unit, lines = study["unit"], []
    for row in study["rows"]:
        spread = "" if row["deviation"] is None else f" ± {row['deviation']:.2f}"
        published = "" if row["published"] is None else f"{row['published']:.2f} {unit}"
        values = [f"{value:.2f} {unit}" for value in row["values"]]
        lines.append([row["cell"], *values, f"{row['mean']:.2f}{spread} {unit}", published])
    return markdown_table(heads, lines)
