"""The report as one HTML file: no network, no script, pictures inside, narrow enough for a phone."""

from __future__ import annotations

import base64
from html import escape
from typing import Mapping, Sequence

from report.comparison import Row

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 52rem; padding: 1rem; }
h1 { font-size: 1.5rem; line-height: 1.25; }
h2 { font-size: 1.15rem; margin-top: 2rem; }
h1, p, li, code { overflow-wrap: break-word; }
img { background: white; border-radius: 6px; display: block; height: auto; max-width: 100%; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100%; }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .5rem; text-align: right; vertical-align: top; }
th:first-child, td:first-child { text-align: left; }
table.figures td + td { white-space: nowrap; }
table.faces { table-layout: fixed; }
table.faces td { overflow-wrap: break-word; }
tbody tr:nth-child(odd) { background: var(--soft); }
dl { display: grid; gap: .2rem 1rem; grid-template-columns: max-content 1fr; }
dd { font-family: ui-monospace, monospace; font-size: .85rem; margin: 0; min-width: 0; overflow-wrap: break-word; }
dt { font-weight: 600; }
@media (max-width: 36rem) {
  body { padding: .6rem; }
  table { font-size: .82rem; }
  th, td { padding: .3rem .25rem; }
  dl { display: block; }
  dd { margin-bottom: .5rem; }
}
"""


def render_page(
    title: str,
    rows: Sequence[Row],
    remarks: Sequence[str],
    regions: Sequence[tuple[str, str]],
    pictures: Mapping[str, bytes],
    faces: Sequence[tuple[str, str]],
    record: Mapping[str, str],
) -> str:
    """The whole page.

    Args:
        title: What was evaluated on what.
        rows: The table, from `report.comparison.compare`.
        remarks: What the table leaves unsaid.
        regions: Each region of the face and its mean error.
        pictures: PNG files by their headings.
        faces: Faces to inspect, each with its error or the reason why it was skipped.
        record: What made the figures, by name: command, weights, versions.
    """
    heads = ("per cent", "ours", "95 % interval", "paper", "delta")
    parts = [
        f"<h1>{escape(title)}</h1>",
        html_table(heads, [(row.quantity, *row.cells()) for row in rows]),
        "<ul>" + "".join(f"<li>{escape(remark)}</li>" for remark in remarks) + "</ul>",
        "<h2>Regions of the face</h2>",
        html_table(("region", "mean error"), regions),
        *(_picture(heading, file) for heading, file in pictures.items()),
        "<h2>Faces to inspect</h2>",
        html_table(("face", "error or reason"), faces, "faces"),
        "<h2>Record</h2>",
        "<dl>" + "".join(f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in record.items()) + "</dl>",
    ]
    return html_page(title, "\n".join(parts))


def html_page(title: str, body: str, style: str = "", script: str = "") -> str:
    """A page that needs no other file.

    Args:
        title: Its title.
        body: Its content, HTML.
        style: Further rules.
        script: Runs when the page is loaded.
    """
    ending = f"<script>{script}</script>\n" if script else ""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}{style}</style>\n</head>\n"
        f"<body>\n{body}\n{ending}</body>\n</html>\n"
    )


def html_table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], kind: str = "figures", sortable: bool = False
) -> str:
    """A table of plain text that scrolls by itself where it is too wide.

    Args:
        heads: Headings.
        rows: Cells.
        kind: Its class, for the style.
        sortable: Whether a click on a heading sorts it.
    """
    mark = " data-sort" if sortable else ""
    head = "".join(f"<th{mark}>{escape(text)}</th>" for text in heads)
    body = "\n".join("<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>" for row in rows)
    head, body = head.replace(" %", "&nbsp;%"), body.replace(" %", "&nbsp;%")
    rows_of_table = f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>"
    return f'<div class="wide"><table class="{kind}">\n{rows_of_table}\n</table></div>'


def _picture(heading: str, file: bytes) -> str:
    data, text = base64.b64encode(file).decode("ascii"), escape(heading)
    return f'<h2>{text}</h2>\n<img alt="{text}" src="data:image/png;base64,{data}">'
