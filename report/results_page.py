"""All shipped networks' results as one HTML page: no network; tables sort, curves switch, narrow enough for a phone.

Without its script the page shows everything, with all curves on. The record is what tools/results.py writes
(results.json): "evaluations" of one network on one subset each, "pairs" of networks on the same faces, the "cost" of
each network or null, "context" from newer papers, and what "made" it all.
"""

from __future__ import annotations

from html import escape
from typing import Any, Iterator, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from datasets.markups import IBUG_68
from evaluation.stress import Curve
from report.comparison import NORMALIZER_WORDS, Row
from report.page import html_page, html_table
from report.plots import MANY_LINES, ced_figure, landmarks_figure, to_svg
from report.stress import draw_panel, limits_of
from report.tables import cost_table, machine_text

Record = Mapping[str, Any]
_STYLE = """
body { max-width: 72rem; }
svg { background: white; border-radius: 6px; display: block; height: auto; max-width: 100%; }
table { font-size: .92rem; }
td:first-child { white-space: nowrap; }
table.text td { text-align: left; }
th[data-sort] { cursor: pointer; }
th[aria-sort="ascending"]::after { content: " \\2191"; }
th[aria-sort="descending"]::after { content: " \\2193"; }
.controls { display: flex; flex-wrap: wrap; gap: .3rem 1rem; margin: .6rem 0; }
.controls label { align-items: center; display: inline-flex; gap: .35rem; }
.controls svg { background: none; flex: none; height: 12px; width: 36px; }
.grid { display: grid; gap: .6rem; grid-template-columns: repeat(auto-fill, minmax(min(21rem, 100%), 1fr)); }
.grid > * { margin: 0; min-width: 0; }
details { margin: 1rem 0; }
summary { cursor: pointer; font-weight: 600; }
@media (max-width: 36rem) { table { font-size: .78rem; } }
"""
_SCRIPT = """
"use strict";
function sortKey(text) {
  const plain = text.trim().replace(/[()]/g, "").replace(/(\\d),(?=\\d{3})/g, "$1"), number = parseFloat(plain);
  return Number.isNaN(number) ? plain : number;
}
function compareKeys(a, b, sign) {
  if (a === "" || b === "") return (a === "") - (b === "");
  return sign * (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));
}
function sortTable(head) {
  const body = head.closest("table").tBodies[0], sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  const rows = Array.from(body.rows, (row) => [sortKey(row.cells[head.cellIndex].textContent), row]);
  rows.sort((a, b) => compareKeys(a[0], b[0], sign));
  for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
  for (const row of rows) body.appendChild(row[1]);
}
for (const head of document.querySelectorAll("th[data-sort]")) {
  head.tabIndex = 0;
  head.addEventListener("click", () => sortTable(head));
  head.addEventListener("keydown", (event) => { if (event.key === "Enter") sortTable(head); });
}
for (const box of document.querySelectorAll("input[data-curve]")) {
  box.addEventListener("change", () => {
    const name = box.dataset.curve;
    for (const other of document.querySelectorAll("input[data-curve]"))
      if (other.dataset.curve === name) other.checked = box.checked;
    for (const part of document.querySelectorAll("svg g[id]"))
      if (part.id.endsWith("--" + name)) part.style.display = box.checked ? "" : "none";
    for (const part of document.querySelectorAll("figure[data-network]"))
      if (part.dataset.network === name) part.hidden = !box.checked;
  });
}
"""
SUMMARY_HEADS = (*("network", "NME", "95 % interval", "paper", "failures", "AUC"), *("in int8", "ms", "parameters"))
SUMMARY_TEXT = """Per cent, over {length}; smallest error first. <b>paper</b>: the paper's mean error, or the
figure that it prints instead; in brackets where it is of other faces or another length.
<b>failures</b>: faces above {failure:.0f} %. <b>AUC</b>: exact area to {area:.0f} %. <b>in int8</b>: by how
much the error grows with 8-bit convolutions. <b>ms</b>: the network alone, one face, float32."""


def render_results(record: Record, face: np.ndarray) -> str:
    """The whole page.

    Args:
        record: From tools/results.py.
        face: (68, 2), the points of a face to draw errors on, y downwards.
    """
    title = "Facial landmarks: every network on the same faces"
    return html_page(title, "\n".join(_parts(title, record, face)), _STYLE, _SCRIPT)


def _parts(title: str, record: Record, face: np.ndarray) -> Iterator[str]:
    yield f"<h1>{escape(title)}</h1>"
    for entries in by_subset(record).values():
        yield from _subset_parts(record, entries, face)
    if record["cost"]:
        yield f"<h2>Cost</h2><p>{escape(machine_text(record['cost']))}</p>"
        heads, rows = cost_table(record["cost"])
        yield html_table(heads, [[row[0].strip("`"), *row[1:]] for row in rows], sortable=True)
    yield _folded("Newer systems, for context", CONTEXT_HEADS, [_context_row(cell) for cell in record["context"]])
    yield _folded("What made each figure", ("evaluation", "made by"), _record_rows(record), "text")
    made = record["made"]
    yield f"<p>Written by <code>{escape(made['command'])}</code>, commit {escape(made['git']['commit'])}.</p>"


def _subset_parts(record: Record, entries: Sequence[Record], face: np.ndarray) -> Iterator[str]:
    first, names = entries[0], [entry["name"] for entry in entries]
    where, protocol = _subset(first), first["protocol"]
    length = NORMALIZER_WORDS[first["normalizer"]]
    limits = {"failure": 100 * protocol["failure_threshold"], "area": 100 * protocol["auc_threshold"]}
    yield f"<h2>{escape(where)}, {first['faces']['measured']} faces</h2>"
    yield html_table(SUMMARY_HEADS, [summary_row(entry, record["cost"]) for entry in entries], sortable=True)
    yield f"<p>{SUMMARY_TEXT.format(length=length, **limits)}</p>"
    yield f"<h2>Cumulative error distribution</h2>{_switches(names)}"
    drawn = draw_ceds(entries)
    drawn.set_size_inches(5.4, 4.2)  # small, so that its text is legible on a phone
    yield to_svg(drawn, f"cumulative error distributions on {where}")
    systems = {entry["name"]: stress_curves(entry) for entry in entries if entry["stress"]}
    if systems:
        yield "<h2>Faces made harder</h2>"
        yield f"<p>Error over {length}; a ring marks the untouched faces.</p>{_switches(list(systems))}"
        panels = list(zip(*systems.values()))
        grid = [to_svg(_panel(dict(zip(systems, curves)), limits_of(panels)), curves[0].title) for curves in panels]
        yield f'<div class="grid">{"".join(grid)}</div>'
    yield f'<h2>Where on the face</h2><div class="grid">{"".join(_faces(entries, face))}</div>'
    yield _folded("Mean error by region of the face", *region_table(entries))
    rows = [[entry["name"], row.quantity, *row.cells()] for entry in entries for row in _rows(entry)]
    yield _folded(f"All {len(rows)} figures", ROW_HEADS, rows)
    pairs = [pair for pair in record["pairs"] if _subset(pair) == where]
    yield _folded("Differences between networks on the same faces", PAIR_HEADS, [_pair_row(pair) for pair in pairs])
    remarks = (f"<li><b>{escape(who)}</b>: {escape(remark)}</li>" for who, remark in remark_rows(entries))
    yield f"<details><summary>Faces, boxes and the papers' protocols</summary><ul>{''.join(remarks)}</ul></details>"


ROW_HEADS = ("network", "figure", "ours", "95 % interval", "paper", "delta")
PAIR_HEADS = ("A", "B", "B minus A", "95 % interval", "p, by sign flips")
CONTEXT_HEADS = ("method", "faces", "figure", "per cent", "note")


def _folded(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]], kind: str = "figures") -> str:
    table = html_table(heads, rows, kind, sortable=True)
    return f"<details><summary>{escape(title)}</summary>{table}</details>" if rows else ""


def by_subset(record: Record) -> dict[tuple[str, str], list[Record]]:
    """The evaluations of each subset, by data set and subset, smallest error first."""
    groups: dict[tuple[str, str], list[Record]] = {}
    for entry in sorted(record["evaluations"], key=_mean):
        groups.setdefault((entry["dataset"], entry["subset"]), []).append(entry)
    return groups


def _mean(entry: Record) -> float:
    mean = entry["results"][entry["normalizer"]]["mean"]
    return float("inf") if mean is None else mean


def _subset(entry: Record) -> str:
    return f"{entry['dataset']} {entry['subset']}"


def _rows(entry: Record) -> list[Row]:
    return [Row.from_json(values) for values in entry["table"]]


def summary_row(entry: Record, cost: Record | None) -> list[str]:
    """The first table's row of one network; `cost` is that of all networks, or None."""
    figures, protocol = entry["results"][entry["normalizer"]], entry["protocol"]
    rows, quantity = _rows(entry), "NME, " + NORMALIZER_WORDS[entry["normalizer"]]
    ours, interval, paper, _ = next(row for row in rows if row.quantity == quantity).cells()
    # A paper that prints no mean error prints a median or an area.
    other = [f"{row.cells()[2]} {row.quantity.split(',')[0]}" for row in rows if row.paper is not None]
    change, paid = entry["int8"].get("mean"), (cost or {"models": {}})["models"].get(entry["model"], {})
    speed = paid.get("float32", {}).get("milliseconds")
    return [
        entry["name"],
        *(ours, interval, paper or next(iter(other), "")),
        f"{100 * figures['failure_rate'][_key(protocol['failure_threshold'])]:.2f}",
        f"{100 * figures['auc'][_key(protocol['auc_threshold'])]['exact']:.2f}",
        "" if change is None else f"{100 * change:+.2f}",
        "" if speed is None else f"{speed:.1f}",
        f"{paid['parameters']:,}" if paid else "",
    ]


def _key(threshold: float) -> str:
    return f"{threshold:.2f}"


def remark_rows(entries: Sequence[Record]) -> list[tuple[str, str]]:
    """Each remark on the evaluations of a subset, after the names of those it is about."""
    names: dict[str, list[str]] = {}
    for entry in entries:
        for remark in (*entry["remarks"], f"trained on {entry['data']}"):
            names.setdefault(remark, []).append(entry["name"])
    return [("all" if len(each) == len(entries) else ", ".join(each), remark) for remark, each in names.items()]


def stress_curves(entry: Record) -> list[Curve]:
    """The curves of an evaluation's stress test; none where there was none."""
    return [Curve.from_json(values) for values in entry["stress"] or ()]


def _pair_row(pair: Record) -> list[str]:
    low, high = (100 * end for end in pair["interval"])
    change = [f"{100 * pair['mean']:+.2f}", f"{low:+.2f} to {high:+.2f}"]
    return [pair["first"], pair["second"], *change, f"{pair['p_value']:.4f}"]


def region_table(entries: Sequence[Record]) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of the mean error in each region of the face, per cent."""
    regions = list(dict.fromkeys(region for entry in entries for region in entry["per_region"]))
    values = [[entry["per_region"].get(region) for region in regions] for entry in entries]
    shown = [["" if value is None else f"{100 * value:.2f}" for value in row] for row in values]
    heads = ["network", *(region.replace("_", " ") for region in regions)]
    return heads, [[entry["name"], *row] for entry, row in zip(entries, shown)]


def _context_row(cell: Record) -> list[str]:
    figure = ("AUC to 8 %, " if cell["statistic"] == "auc" else "NME, ") + NORMALIZER_WORDS[cell["normalizer"]]
    return [cell["method"], _subset(cell), figure, f"{cell['percent']:.2f}", cell["note"]]


def _record_rows(record: Record) -> list[list[str]]:
    return [
        [
            f"{entry['name']}, {_subset(entry)}",
            f"{entry['command']} (seed {entry['seed']}; weights {entry['weights_sha256'][:16]}..., trained with seed "
            f"{entry['trained_with_seed']}, run {entry['run']})",
        ]
        for entry in record["evaluations"]
    ]


def draw_ceds(entries: Sequence[Record]) -> Figure:
    """The cumulative error distributions of several networks on one subset."""
    first = entries[0]
    heights = {entry["name"]: np.array(entry["ced"]["fractions"]) for entry in entries}
    text = (f"error over {NORMALIZER_WORDS[first['normalizer']]}", "faces with at most this error")
    return ced_figure(heights, np.array(first["ced"]["thresholds"]), text, _subset(first))


def _panel(curves: Mapping[str, Curve], limits: tuple[float, float]) -> Figure:
    figure = Figure(figsize=(4.0, 3.1), layout="constrained")
    draw_panel(figure.add_subplot(), curves, limits)
    return figure


def _faces(entries: Sequence[Record], face: np.ndarray) -> Iterator[str]:
    """Each network's errors on a schematic face, all on one colour scale."""
    placed = [entry for entry in entries if set(entry["per_landmark"]) <= set(IBUG_68.names)]
    errors = [error for entry in placed for error in entry["per_landmark"].values() if error is not None]
    for entry in placed:
        points = face[[IBUG_68.names.index(name) for name in entry["per_landmark"]]]
        per_landmark = {name: np.nan if value is None else value for name, value in entry["per_landmark"].items()}
        figure = landmarks_figure(points, per_landmark, entry["name"], (min(errors), max(errors)))
        figure.set_size_inches(5.6, 5.2)
        drawn = to_svg(figure, f"mean error of each landmark of {entry['name']}")
        yield f'<figure data-network="{escape(entry["name"])}">{drawn}</figure>'


def _switches(names: Sequence[str]) -> str:
    """A checkbox for each network, with its line."""
    labels = [_switch(name, colour, dash) for name, (colour, dash) in zip(names, MANY_LINES)]
    return f'<div class="controls">{"".join(labels)}</div>'


def _switch(name: str, colour: str, dash: str) -> str:
    pattern = {"-": "", "--": "7 3", "-.": "8 3 2 3", ":": "2 3"}[dash]
    line = f'<line x1="0" x2="36" y1="6" y2="6" stroke="{colour}" stroke-width="3" stroke-dasharray="{pattern}"/>'
    box = f'<input type="checkbox" checked data-curve="{escape(name)}">'
    return f'<label>{box}<svg viewBox="0 0 36 12" aria-hidden="true">{line}</svg>{escape(name)}</label>'
