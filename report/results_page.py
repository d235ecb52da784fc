"""All shipped networks' results as one HTML file: no network; tables sort, curves switch, narrow enough for a phone.

Without its script the page shows everything, unsorted and with all curves on.
"""

from __future__ import annotations

from html import escape
from typing import Iterator, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from datasets.markups import IBUG_68
from report.comparison import NORMALIZER_WORDS
from report.cost_tables import COST_HEADS, cost_rows, machine_text
from report.page import html_page, html_table
from report.plots import MANY_LINES, ced_figure, landmarks_figure, to_svg
from report.results_tables import (
    CONTEXT_HEADS,
    HEADS,
    INT8_HEADS,
    PAIR_HEADS,
    Record,
    by_subset,
    context_rows,
    int8_rows,
    line_cells,
    pairs_of,
    record_rows,
    region_table,
    remark_rows,
    stress_curves,
    table_lines,
)
from report.stress import draw_panel, limits_of

_STYLE = """
body { max-width: 84rem; }
svg { background: white; border-radius: 6px; display: block; height: auto; max-width: 100%; }
.wide > svg { min-width: 30rem; }
td:first-child { overflow-wrap: normal; white-space: nowrap; }
table.results td:last-child { font-size: .75rem; line-height: 1.3; min-width: 17rem; }
table.results :is(th, td):is(:nth-child(-n+3), :last-child) { text-align: left; }
table.results { font-size: .9rem; }
table.results td:nth-child(2) { white-space: nowrap; }
table.results td:nth-child(3) { min-width: 9rem; }
table.results td:nth-child(n+4):nth-child(-n+7) { white-space: nowrap; }
table.record td:last-child { font-family: ui-monospace, monospace; font-size: .8rem; text-align: left; }
th[data-sort] { cursor: pointer; }
th[data-sort]::after { content: " \\2195"; opacity: .4; }
th[aria-sort="ascending"]::after { content: " \\2191"; opacity: 1; }
th[aria-sort="descending"]::after { content: " \\2193"; opacity: 1; }
.controls { display: flex; flex-wrap: wrap; gap: .3rem 1rem; margin: .6rem 0; }
.controls label { align-items: center; display: inline-flex; gap: .35rem; }
.controls svg { background: none; flex: none; height: 12px; width: 36px; }
input[type="search"] { font: inherit; max-width: 100%; padding: .2rem .4rem; width: 22rem; }
.panels { display: grid; gap: .6rem; grid-template-columns: repeat(auto-fill, minmax(min(19rem, 100%), 1fr)); }
.panels > *, .faces > * { min-width: 0; }
.faces { display: grid; gap: .6rem; grid-template-columns: repeat(auto-fill, minmax(min(24rem, 100%), 1fr)); }
"""
_SCRIPT = """
"use strict";
function sortKey(cell) {
  const text = cell.textContent.trim().replace(/[()]/g, "").replace(/(\\d),(?=\\d{3})/g, "$1");
  const number = parseFloat(text);
  return Number.isNaN(number) ? text : number;
}
function compareKeys(a, b) {
  if (a === "" || b === "") return a === b ? 0 : a === "" ? 1 : -1;
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b));
}
function sortTable(head) {
  const table = head.closest("table"), body = table.tBodies[0];
  const column = head.cellIndex, falling = head.getAttribute("aria-sort") === "ascending";
  const rows = Array.from(body.rows, (row) => [sortKey(row.cells[column]), row]);
  rows.sort((a, b) => {
    const order = compareKeys(a[0], b[0]);
    return falling && a[0] !== "" && b[0] !== "" ? -order : order;
  });
  for (const other of table.querySelectorAll("th[data-sort]")) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", falling ? "descending" : "ascending");
  for (const row of rows) body.appendChild(row[1]);
}
for (const head of document.querySelectorAll("th[data-sort]")) {
  head.tabIndex = 0;
  head.addEventListener("click", () => sortTable(head));
  head.addEventListener("keydown", (event) => { if (event.key === "Enter") sortTable(head); });
}
for (const box of document.querySelectorAll("input[data-curve]")) {
  box.addEventListener("change", () => {
    for (const other of document.querySelectorAll("input[data-curve]"))
      if (other.dataset.curve === box.dataset.curve) other.checked = box.checked;
    for (const part of document.querySelectorAll("svg g[id]"))
      if (part.id.endsWith("--" + box.dataset.curve)) part.style.display = box.checked ? "" : "none";
    for (const part of document.querySelectorAll("figure[data-network]"))
      if (part.dataset.network === box.dataset.curve) part.hidden = !box.checked;
  });
}
const search = document.querySelector("input[type=search]");
search.addEventListener("input", () => {
  const words = search.value.toLowerCase().split(/\\s+/);
  for (const row of document.querySelector("table.results").tBodies[0].rows)
    row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
});
"""


def render_results(record: Record, face: np.ndarray) -> str:
    """The whole page.

    Args:
        record: From tools/results.py.
        face: (68, 2), the points of a face to draw errors on, y downwards.
    """
    title = "Facial landmarks: all shipped weights, the same faces"
    return html_page(title, "\n".join(_parts(title, record, face)), _STYLE, _SCRIPT)


def _parts(title: str, record: Record, face: np.ndarray) -> Iterator[str]:
    yield f"<h1>{escape(title)}</h1>"
    text = "Per cent. A paper's figure in brackets is of other faces or another length: no difference is taken."
    yield f"<p>{text} A heading sorts; the box filters, for example by <i>pupils</i>.</p>"
    yield '<p><input type="search" aria-label="filter the table" placeholder="filter"></p>'
    yield html_table(HEADS, [line_cells(line) for line in table_lines(record)], "results", sortable=True)
    for (dataset, subset), entries in by_subset(record).items():
        yield from _subset_parts(record, dataset, subset, entries, face)
    if record["cost"]:
        yield f"<h2>Cost</h2><p>{escape(machine_text(record['cost']))}</p>"
        yield html_table(COST_HEADS, cost_rows(record["cost"]), "figures", sortable=True)
    yield "<h2>Newer systems, for context</h2>"
    yield html_table(CONTEXT_HEADS, context_rows(record), "context", sortable=True)
    yield "<h2>Record</h2>"
    made = record["made"]
    yield f"<p>Written by <code>{escape(made['command'])}</code>, {escape(str(made['git']))}.</p>"
    yield html_table(("evaluation", "made by"), record_rows(record), "record")


def _subset_parts(
    record: Record, dataset: str, subset: str, entries: Sequence[Record], face: np.ndarray
) -> Iterator[str]:
    where = f"{dataset} {subset}"
    error = f"error over {NORMALIZER_WORDS[entries[0]['normalizer']]}"
    names = [entry["name"] for entry in entries]
    yield f"<h2>{escape(where)}: what the figures are of</h2>"
    remarks = (f"<li><b>{escape(who)}</b>: {escape(remark)}</li>" for who, remark in remark_rows(entries))
    yield f"<ul>{''.join(remarks)}</ul>"
    yield f"<h2>{escape(where)}: cumulative error distribution</h2>"
    yield _switches(names)
    yield f'<div class="wide">{to_svg(draw_ceds(entries), f"cumulative error distributions on {where}")}</div>'
    pairs = pairs_of(record, dataset, subset)
    if pairs:
        yield f"<h2>{escape(where)}: differences on the same faces</h2>"
        yield html_table(PAIR_HEADS, pairs, "figures", sortable=True)
    yield f"<h2>{escape(where)}: convolutions in eight bits</h2>"
    yield html_table(INT8_HEADS, int8_rows(entries), "figures", sortable=True)
    yield f"<h2>{escape(where)}: where on the face</h2>"
    yield html_table(*region_table(entries), "figures", sortable=True)
    yield f'<div class="faces">{"".join(_faces(entries, face))}</div>'
    systems = {entry["name"]: stress_curves(entry) for entry in entries if entry["stress"]}
    if systems:
        yield f"<h2>{escape(where)}: faces made harder</h2>"
        yield f"<p>The {error}; a band is the 95 % interval, a ring the untouched faces.</p>"
        yield _switches(list(systems))
        panels = list(zip(*systems.values()))
        limits = limits_of(panels)
        drawn = [to_svg(_panel(dict(zip(systems, curves)), limits), curves[0].title) for curves in panels]
        yield f'<div class="panels">{"".join(drawn)}</div>'


def draw_ceds(entries: Sequence[Record]) -> Figure:
    """The cumulative error distributions of several networks on one subset."""
    first = entries[0]
    heights = {entry["name"]: np.array(entry["ced"]["fractions"]) for entry in entries}
    text = (f"error over {NORMALIZER_WORDS[first['normalizer']]}", "faces with at most this error")
    return ced_figure(heights, np.array(first["ced"]["thresholds"]), text, f"{first['dataset']} {first['subset']}")


def _panel(curves: Mapping, limits: tuple[float, float]) -> Figure:
    figure = Figure(figsize=(4.0, 3.1), layout="constrained")
    draw_panel(figure.add_subplot(), curves, limits)
    return figure


def _faces(entries: Sequence[Record], face: np.ndarray) -> Iterator[str]:
    """Each network's errors on a schematic face, all in one scale of colours."""
    placed = [entry for entry in entries if set(entry["per_landmark"]) <= set(IBUG_68.names)]
    errors = [error for entry in placed for error in entry["per_landmark"].values() if error is not None]
    for entry in placed:
        points = face[[IBUG_68.names.index(name) for name in entry["per_landmark"]]]
        per_landmark = {name: np.nan if value is None else value for name, value in entry["per_landmark"].items()}
        figure = landmarks_figure(points, per_landmark, entry["name"], (min(errors), max(errors)))
        figure.set_size_inches(5.6, 5.2)
        drawn = to_svg(figure, f"mean error of each landmark of {entry['name']}")
        yield f'<figure data-network="{escape(entry["name"])}" style="margin:0">{drawn}</figure>'


def _switches(names: Sequence[str]) -> str:
    """A box to tick for each network, with its line."""
    labels = [_switch(name, colour, dash) for name, (colour, dash) in zip(names, MANY_LINES)]
    return f'<div class="controls">{"".join(labels)}</div>'


def _switch(name: str, colour: str, dash: object) -> str:
    known = {"-": "", "--": "7 3", "-.": "8 3 2 3", ":": "2 3"}
    pattern = known[dash] if isinstance(dash, str) else " ".join(str(2 * length) for length in dash[1])  # type: ignore[index]
    line = f'<line x1="0" x2="36" y1="6" y2="6" stroke="{colour}" stroke-width="3" stroke-dasharray="{pattern}"/>'
    box = f'<input type="checkbox" checked data-curve="{escape(name)}">'
    return f'<label>{box}<svg viewBox="0 0 36 12" aria-hidden="true">{line}</svg>{escape(name)}</label>'
