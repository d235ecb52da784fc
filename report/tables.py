"""Tables of what was measured, as headings and rows of text, for documents, terminals and pages.

A record is the content of a JSON file of evaluate.py (metrics.json), tools.study, tools.benchmark or
tools.evaluate_detector. Records hold fractions, except that studies hold per cent; tables show per cent.
"""

from __future__ import annotations

import math
from typing import Any, Iterable, List, Mapping, Sequence, Tuple

from evaluation.published import WITH_SHAPE_MODEL, Published, find
from report.comparison import ALL_POINTS, INSIDE, NORMALIZER_WORDS

Record = Mapping[str, Any]
Table = Tuple[Sequence[str], List[List[str]]]
COMMON = ("300w", "common")
DETECTED_SIZES = ("all", "from 24", "from 40")  # pixels of the face, by their names in a detector's record
_LENGTHS = {
    **NORMALIZER_WORDS,
    "outer_eye": "inter-ocular",
    "pupil": "inter-pupil",
    "box_geometric": "sqrt(w h) of the landmark box",
}
_FACES = {
    ("300w", "common"): "the {} faces of 300-W's common subset",
    ("300w", "helen_test"): "HELEN's {} test faces",
    ("helen194", "test"): "HELEN's {} test faces, 194 points",
}


def markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table without a newline at its end; an empty text makes an empty cell."""
    lines = ["|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|" for cells in (heads, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(heads), *lines[1:]])


def shipped_table(index: Mapping[str, Record], records: Mapping[str, Record], cost: Record) -> Table:
    """The networks that ship, the smallest error first and the best of each kind of figure bold.

    Args:
        index: entries of weights/index.json by name, each with the megabytes of its file; links lead from the document.
        records: the evaluation of each, by name.
        cost: what `tools.benchmark --model all --json` measured.
    """
    names = sorted(records, key=lambda name: _error(records[name]))
    entries, measured = [index[name] for name in names], [records[name] for name in names]
    spent = [cost["models"].get(entry["model"], {}) for entry in entries]
    columns = [
        [_named(name, record) for name, record in zip(names, measured)],
        [f"{each['paper']} ([code]({each['code']}), [ledger]({each['ledger']}))" for each in entries],
        _best([100 * _error(record) for record in measured], "{:.2f} %"),
        [_paper(_published(record, COMMON), "outer_eye") for record in measured],
        _best([each.get("parameters", math.inf) for each in spent], "{:,}"),
        _best([each.get("float32", {}).get("milliseconds", math.inf) for each in spent], "{:.1f}"),
        [f"{each['megabytes']:.1f}" for each in entries],
        [each["terms"].partition(";")[0] for each in entries],
    ]
    whole = all(record["subset"] == COMMON[1] for record in measured)
    heads = [
        "network",
        "paper",
        "NME on " + _all_faces(measured),
        "paper's NME, " + ("same faces" if whole else "all 554"),
    ]
    return [*heads, "parameters", "ms per face", "file, MB", "licence"], [list(row) for row in zip(*columns)]


def errors_table(index: Mapping[str, Record], records: Mapping[str, Record]) -> Table:
    """The training faces and errors of the networks that ship, the smallest error first; arguments as above."""
    heads = ["weights", "trained on", "NME, inter-ocular", "paper", "NME, inter-pupil", "paper", "above 8 %"]
    rows = []
    for name in sorted(records, key=lambda name: _error(records[name])):
        record, eyes = records[name], records[name]["results"].get("outer_eye")
        row = [_named(name, record), index[name].get("short", index[name]["data"])]
        for normalizer in ("outer_eye", "pupil"):
            figures = record["results"].get(normalizer)
            row += [_per_cent(figures["mean"]) if figures else "", _paper(_published(record, COMMON), normalizer)]
        row += [_per_cent(eyes["failure_rate"]["0.08"], 1), _per_cent(eyes["auc"]["0.08"]["exact"], 1)] if eyes else []
        rows.append(row + [""] * (8 - len(row)))
    return [*heads, "AUC to 8 %"], rows


def faces_text(records: Iterable[Record]) -> str:
    """The faces that the networks' errors are measured on, as a sentence."""
    return f"Measured on {_all_faces(records)}."


def scores_table(record: Record) -> Table:
    """The figures of one evaluation, beside the paper's where there are any; older records lack some rows."""
    part = (record["dataset"], record["protocol"]["part_of"] or record["subset"])
    results, first, cells = record["results"], record["normalizer"], _published(record, part)
    figures, length, rows = results[first], _LENGTHS[first], []
    for name in dict.fromkeys((first, "outer_eye", "pupil", "box_geometric")):
        if name in results:
            rows.append([f"NME, {_LENGTHS[name]}", _per_cent(results[name]["mean"]), _paper(cells, name)])
        if name == first and "mean_interval" in figures:
            low, high = (100 * end for end in figures["mean_interval"])
            text = f"its {100 * record['intervals']['level']:.0f} % interval, by bootstrap over the faces"
            rows.append([text, f"{low:.2f} to {high:.2f} %", ""])
    rows.append([f"median, {length}", _per_cent(figures["median"]), _paper(cells, first, "median")])
    inside = record.get("point_sets", {}).get(INSIDE)
    if inside:
        text = f"median / mean without outline ({INSIDE} points), {length}"
        values = f"{_per_cent(inside['median'])} / {_per_cent(inside['mean'])}"
        rows.append([text, values, _paper(cells, first, "median", without_outline=True)])
    above = " / ".join(_per_cent(figures["failure_rate"][at], 1) for at in ("0.08", "0.10"))
    rows.append(["above 8 % / 10 %", above, ""])
    rules = ": exact, FAN, Simpson, trapezoid"
    rows.append(["AUC to 8 %" + rules, _areas(figures["auc"]["0.08"]), ""])
    if "box_geometric" in results:
        text = f"AUC to 7 %, {_LENGTHS['box_geometric']}{rules}"
        rows.append([text, _areas(results["box_geometric"]["auc"]["0.07"]), ""])
    return ["on " + _faces(record), "value", "paper (common, 554)" if part == COMMON else "paper"], rows


def stages_table(record: Record, log: Sequence[Record]) -> Table:
    """The error of every stage, in the best epoch of the training log and in the evaluation.

    Raises:
        ValueError: no epoch was validated.
    """
    validated = {line.get("nme"): line for line in reversed(log)}
    errors = [error for error in validated if error is not None and math.isfinite(error)]
    if not errors:
        raise ValueError("the training log has no validated epoch")
    best, rows, means = validated[min(errors)], [], [stage["mean"] for stage in record["stages"]]
    for stage, mean in enumerate(means):
        validation = best.get(f"nme_stage_{stage}")
        change = f"{100 * (mean / means[0] - 1):+.1f} %" if stage else ""
        rows.append([f"{stage + 1} of {len(means)}", _per_cent(validation), _per_cent(mean), change])
    return ["stage", "validation", _faces(record), "against the first stage"], rows


def study_table(study: Record) -> Table:
    """Each cell of a study: its error with each seed, mean and deviation, and the printed figure."""
    heads = ["cell", *(f"seed {seed}" for seed in study["seeds"])]
    unit, rows = study["unit"], []
    for row in study["rows"]:
        spread = "" if row["deviation"] is None else f" ± {row['deviation']:.2f}"
        published = "" if row["published"] is None else f"{row['published']:.2f} {unit}"
        values = [f"{value:.2f} {unit}" for value in row["values"]]
        rows.append([row["cell"], *values, f"{row['mean']:.2f}{spread} {unit}", published])
    return [*heads, "mean ± deviation", f"paper ({study['published_on']})"], rows


def cost_table(record: Record) -> Table:
    """What each network costs to run and to train, as `tools.benchmark --model all --json` measured it."""
    heads = ["network", "parameters", "multiply-adds", "one face", "64 at a time", "of the peak", "memory"]
    rows = []
    for name, cost in record["models"].items():
        full, trained = cost["float32"], cost["training"]
        runs, whole = "missing" not in full, full.get("pipeline")
        row = [f"`{name}`", f"{cost['parameters']:,}", f"{cost['multiply_adds'] / 1e6:,.0f} million", *_speed(full)]
        row += [f"{100 * full['share_of_peak']:.0f} %", _megabytes(full)] if runs else ["", ""]
        row += [*_speed(cost["int8"]), f"{whole['photos_per_second']:.1f} photos/s" if whole else ""]
        rows.append([*row, *(["", ""] if "missing" in trained else [_rate(trained), _megabytes(trained)])])
    return [*heads, "int8: one face", "64 at a time", "photo to points", "training", "its memory"], rows


def machine_text(record: Record) -> str:
    """The machine that costs were measured on."""
    return (
        f"{record['processors']} processors, network on {record['device']}, OMP_NUM_THREADS "
        f"{record['OMP_NUM_THREADS'] or 'not set'}, MXNet {record['versions']['mxnet']}; "
        f"{record['peak_gflops']:.0f} GFLOP/s at most in float32; load average at the start "
        f"{record['load_average_at_start']:.2f}."
    )


def peers_table(record: Record) -> Table:
    """Other projects' networks, measured in turn with ours."""
    rows = []
    for name, cost in record["peers"].items():
        if "missing" in cost:
            rows.append([name, cost["missing"], "", "", ""])
            continue
        times = ""
        if "ours" in cost:
            times = f"`{cost['ours']}`: {cost['ours_faster_one']:.2f}, {cost['ours_faster_batch']:.2f} times"
        rows.append([name if times else f"`{name}`", *_speed(cost), _megabytes(cost), times])
    return ["network", "one face", "64 at a time", "memory", "ours is faster: one face, 64 at a time"], rows


def detector_table(records: Iterable[Record]) -> Table:
    """A row for each detector on each set of photos; precision only where every face is marked."""
    heads = ["photos", "faces: " + " / ".join(DETECTED_SIZES) + " px", "detector"]
    rows: dict[tuple[str, str], list[str]] = {}
    evaluations = [each for record in records for each in record["evaluations"]]
    titles = list(dict.fromkeys(each["title"] for each in evaluations))
    for each in sorted(evaluations, key=lambda each: titles.index(each["title"])):
        for name, result in each["results"].items():
            cells = [detected_cells(result["sizes"][label]) for label in DETECTED_SIZES]
            faces, average, recall, precision = (" / ".join(column) for column in zip(*cells))
            # Photos with landmark files show further faces: a detection there may well be right.
            shares = ["", recall, ""] if each["dataset"] == "pts" else [average, recall, precision]
            photos = f"{each['title']}, {each['photos']:,}"
            seconds = f"{result['seconds_per_photo']:.3f}"
            rows.setdefault((photos, name), [photos, faces, f"`{name}`", *shares, seconds])
    return [*heads, "average precision, %", "recall, %", "precision, %", "seconds a photo"], list(rows.values())


def detected_cells(row: Record) -> list[str]:
    """Faces, average precision, recall and precision of a range of sizes; "-" where there is nothing to count."""
    shares = (row[key] for key in ("average_precision", "recall", "precision"))
    return [f"{row['faces']:,}", *("-" if share is None else f"{100 * share:.1f}" for share in shares)]


def _error(record: Record) -> float:
    """The mean inter-ocular error; infinite for a markup without eyes."""
    return record["results"].get("outer_eye", {"mean": math.inf})["mean"]


def _best(values: Sequence[float], form: str) -> list[str]:
    """Each value as text, the smallest bold and an infinite one empty."""
    texts = [form.format(value) if math.isfinite(value) else "" for value in values]
    return [f"**{text}**" if text and text == form.format(min(values)) else text for text in texts]


def _named(name: str, record: Record) -> str:
    points = str(len(record["per_landmark"]))
    return f"`{name}`" + ("" if points == ALL_POINTS else f", {points} points")


def _faces(record: Record) -> str:
    subset = (record["dataset"], record["subset"])
    return _FACES.get(subset, "{} faces of " + " ".join(subset)).format(record["faces"]["measured"])


def _all_faces(records: Iterable[Record]) -> str:
    return " and ".join(dict.fromkeys(_faces(record) for record in records))


def _published(record: Record, part: tuple[str, str]) -> list[Published]:
    return find(record["model"] + (WITH_SHAPE_MODEL if record.get("shape_model") else ""), *part)


def _paper(cells: Sequence[Published], normalizer: str, statistic: str = "mean", without_outline: bool = False) -> str:
    wanted = (normalizer, statistic, without_outline)
    found = [cell for cell in cells if (cell.normalizer, cell.statistic, cell.without_outline) == wanted]
    text = f", the {statistic}" if without_outline else ""
    return f"{found[0].percent:.2f} %{text}" if found else ""


def _areas(areas: Mapping[str, float]) -> str:
    return ", ".join(f"{100 * areas[rule]:.2f}" for rule in ("exact", "fan", "simpson", "trapezoid")) + " %"


def _per_cent(fraction: float | None, digits: int = 2) -> str:
    return "" if fraction is None else f"{100 * fraction:.{digits}f} %"


def _speed(cost: Record) -> tuple[str, str]:
    return ("", "") if "missing" in cost else (f"{cost['milliseconds']:.2f} ms", _rate(cost))


def _rate(cost: Record) -> str:
    return f"{cost['faces_per_second']:.1f} faces/s"


def _megabytes(cost: Record) -> str:
    return f"{cost['memory_megabytes']:.0f} MB"
