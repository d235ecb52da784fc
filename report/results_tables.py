"""The tables of all shipped networks' results, from the record that tools/results.py writes (results.json).

A record is what JSON holds: "evaluations" of one network on one subset each, "untrained" networks with the papers'
figures alone, "pairs" of networks on the same faces, the "cost" of each network or null, "context" from newer papers,
and what "made" it all.
"""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple, Sequence

from evaluation.resampling import Interval
from evaluation.stress import Curve
from report.comparison import NORMALIZER_WORDS, Row, delta_figure, interval_figure, our_figure, paper_figure
from report.cost_tables import cost_table
from report.markdown import markdown_table
from report.stress import stress_table

Record = Mapping[str, Any]
HEADS = ("weights", "faces", "figure", "ours", "95 % interval", "paper", "delta", "what differs")
CONTEXT_HEADS = ("method", "faces", "figure", "per cent", "note")
INT8_HEADS = ("weights", "float32", "change in 8 bits", "95 % interval")
PAIR_HEADS = ("A", "B", "B minus A", "95 % interval", "p, by sign flips")


class Line(NamedTuple):
    """One line of the table ours | paper | delta.

    Attributes:
        network: Name of the weights, or of a network that has none.
        faces: Which, and how many.
        row: The figures.
        differs: What in protocol or training sets ours apart from the paper's, in words.
    """

    network: str
    faces: str
    row: Row
    differs: str


def row_from_json(values: Mapping[str, Any]) -> Row:
    """A row of the table as metrics.json holds it, where null is a figure that there is none of."""
    ends = values.get("interval")
    interval = Interval(*ends) if ends and None not in ends else None
    ours = float("nan") if values["ours"] is None else values["ours"]
    return Row(values["quantity"], ours, values["paper"], values["delta"], values["source"], interval)


def table_lines(record: Record) -> list[Line]:
    """What the results come to: the errors of record, failures and areas, and whatever a paper prints beside them."""
    lines = []
    for entry in record["evaluations"]:
        rows = [row_from_json(values) for values in entry["table"]]
        differs = protocol_difference(entry)
        lines += [
            Line(entry["name"], _faces(entry), row, differs if row.paper is not None else "")
            for row in rows
            if row.paper is not None or row.quantity in _quantities_of_record(entry)
        ]
    for entry in record["untrained"]:
        rows = [row_from_json(values) for values in entry["table"]] or [Row("", float("nan"))]
        lines += [Line(entry["name"], _subset(entry), row, "no weights are here yet") for row in rows]
    return lines


def protocol_difference(entry: Record) -> str:
    """Which faces, boxes and training set ours apart from the paper's, in a few words; `remarks` say it in full."""
    protocol, count = entry["protocol"], entry["faces"]
    said = []
    if protocol["part_of"]:
        said.append(f"{entry['subset']} instead of {protocol['part_of']}")
    if count["measured"] < count["expected"]:
        said.append(f"{count['measured']} of {count['expected']} faces")
    boxes = protocol["true_boxes"] if entry["boxes"] == "truth" else entry["boxes"]
    text = {"truth": "boxes of the true landmarks", "listed": "the data set's boxes", "detector": "a detector's boxes"}
    said.append(text.get(boxes, "the boxes of a file"))
    return "; ".join([*said, f"trained on {entry['data']}"])


def remark_rows(entries: Sequence[Record]) -> list[tuple[str, str]]:
    """Each remark on the evaluations of a subset, after the names of those it is on."""
    names: dict[str, list[str]] = {}
    for entry in entries:
        for remark in entry["remarks"]:
            names.setdefault(remark, []).append(entry["name"])
    everyone = len(entries)
    return [("all" if len(each) == everyone else ", ".join(each), remark) for remark, each in names.items()]


def _quantities_of_record(entry: Record) -> tuple[str, ...]:
    protocol = entry["protocol"]
    failure, area = (100 * protocol[key] for key in ("failure_threshold", "auc_threshold"))
    return (record_quantity(entry), f"faces above {failure:.0f} %", f"AUC to {area:.0f} %, exact")


def record_quantity(entry: Record) -> str:
    """What the error of record is called in the table."""
    return "NME, " + NORMALIZER_WORDS[entry["normalizer"]]


def _faces(entry: Record) -> str:
    return f"{_subset(entry)}, {entry['faces']['measured']}"


def _subset(entry: Record) -> str:
    return f"{entry['dataset']} {entry['subset']}"


def by_subset(record: Record) -> dict[tuple[str, str], list[Record]]:
    """The evaluations of each subset, by data set and subset."""
    groups: dict[tuple[str, str], list[Record]] = {}
    for entry in record["evaluations"]:
        groups.setdefault((entry["dataset"], entry["subset"]), []).append(entry)
    return groups


def stress_curves(entry: Record) -> list[Curve]:
    """The curves of an evaluation's stress test; none where there was none."""
    return [Curve.from_json(values) for values in entry["stress"] or ()]


def pairs_of(record: Record, dataset: str, subset: str) -> list[tuple[str, str, str, str, str]]:
    """First network, second, difference of their errors, its interval and p-value, as shown."""
    return [
        (
            *(pair["first"], pair["second"], *_difference(pair)),
            f"{pair['p_value']:.4f}",
        )
        for pair in record["pairs"]
        if (pair["dataset"], pair["subset"]) == (dataset, subset)
    ]


def int8_rows(entries: Sequence[Record]) -> list[tuple[str, str, str, str]]:
    """Name, error in float32, by how much it grows in eight bits, and that difference's interval."""
    rows = []
    for entry in entries:
        found = (entry["name"], _per_cent(entry["results"][entry["normalizer"]]["mean"]))
        cost = entry["int8"]
        shown = (cost["missing"], "") if "missing" in cost else _difference(cost)
        rows.append((*found, *shown))
    return rows


def _difference(pair: Record) -> tuple[str, str]:
    low, high = (100 * end for end in pair["interval"])
    return f"{100 * pair['mean']:+.2f}", f"{low:+.2f} to {high:+.2f}"


def region_table(entries: Sequence[Record]) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of the mean error in each region of the face, per cent."""
    regions = list(dict.fromkeys(region for entry in entries for region in entry["per_region"]))
    rows = [[entry["name"], *(_per_cent(entry["per_region"].get(region)) for region in regions)] for entry in entries]
    return ["weights", *(region.replace("_", " ") for region in regions)], rows


def _per_cent(fraction: float | None) -> str:
    return "" if fraction is None else f"{100 * fraction:.2f}"


def context_rows(record: Record) -> list[tuple[str, str, str, str, str]]:
    """What newer systems report: method, faces, what it is, per cent, and how sure that is."""
    return [
        (
            *(cell["method"], _subset(cell)),
            ("AUC to 8 %, " if cell["statistic"] == "auc" else "NME, ") + NORMALIZER_WORDS[cell["normalizer"]],
            *(f"{cell['percent']:.2f}", cell["note"]),
        )
        for cell in record["context"]
    ]


def record_rows(record: Record) -> list[tuple[str, str]]:
    """For each evaluation its name, and in one line what made it."""
    return [
        (
            f"{entry['name']}, {_subset(entry)}",
            f"{entry['command']} (seed {entry['seed']}; weights {entry['weights_sha256'][:16]}..., seed "
            f"{entry['trained_with_seed']}, run {entry['run']}; trained on {entry['data']})",
        )
        for entry in record["evaluations"]
    ]


def markdown(record: Record, figures: Mapping[tuple[str, str], Sequence[tuple[str, str]]]) -> str:
    """All of it as a Markdown page.

    Args:
        record: From tools/results.py.
        figures: Heading and file name of the pictures of each subset.
    """
    parts = ["# Results of the weights that ship", f"Written by `{record['made']['command']}`. Per cent."]
    parts.append(markdown_table(HEADS, [line_cells(line) for line in table_lines(record)]))
    for (dataset, subset), entries in by_subset(record).items():
        parts.append(f"## {dataset} {subset}")
        parts += [f"![{heading}]({file})" for heading, file in figures.get((dataset, subset), ())]
        parts.append("\n".join(f"- {names}: {remark}" for names, remark in remark_rows(entries)))
        parts.append("Mean error by region of the face:\n\n" + markdown_table(*region_table(entries)))
        pairs = pairs_of(record, dataset, subset)
        if pairs:
            parts.append("Differences on the same faces:\n\n" + markdown_table(PAIR_HEADS, pairs))
        parts.append("Convolutions in eight bits:\n\n" + markdown_table(INT8_HEADS, int8_rows(entries)))
        for entry in entries:
            curves = stress_curves(entry)
            parts += [f"### {entry['name']}, faces made harder", stress_table(curves)] if curves else []
    if record["cost"]:
        parts += ["## Cost", cost_table(record["cost"])]
    parts += ["## Newer systems, for context", markdown_table(CONTEXT_HEADS, context_rows(record))]
    parts += ["## Record", markdown_table(("evaluation", "made by"), record_rows(record))]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def line_cells(line: Line) -> tuple[str, ...]:
    """A line's cells as shown."""
    row = line.row
    figures = (our_figure(row), interval_figure(row), paper_figure(row).strip(), delta_figure(row))
    return (line.network, line.faces, row.quantity, *figures, line.differs)
