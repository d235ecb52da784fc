"""The page and the tables of all results, from a made-up record whose figures are known."""

import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

from datasets.markups import IBUG_68
from datasets.render.mesh import CONTROLS
from evaluation.metrics import ced
from evaluation.published import CONTEXT
from evaluation.stress import Curve, Level, make_levels
from report.outputs import json_bytes
from report.page import html_table
from report.results_page import _SCRIPT, render_results
from report.results_tables import (
    int8_rows,
    line_cells,
    markdown,
    pairs_of,
    protocol_difference,
    region_table,
    remark_rows,
    table_lines,
)
from report.stress import draw_stress, stress_table

NAMES = ("ffld_resnet18", "resnet18_slim")
FACE = CONTROLS.space[:68, :2]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def curve(name, means, neutral=0):
    levels = [Level(amount, mean, (mean - 0.01, mean + 0.01), 0.25) for amount, mean in enumerate(means)]
    return Curve(name, name.title(), "steps", neutral, tuple(levels))


COST = {
    **{"processors": 2, "device": "cpu(0)", "OMP_NUM_THREADS": None, "versions": {"mxnet": "1.9.1"}},
    **{"peak_gflops": 80.4, "load_average_at_start": 0.05},
    "models": {
        "ffld_resnet18": {
            **{"parameters": 2280464, "multiply_adds": 233e6},
            **{part: {"missing": "the system ended the process"} for part in ("float32", "int8", "training")},
        }
    },
}


def entry(name, ours, paper, int8):
    """An evaluation on half of the common subset."""
    at = np.linspace(0, 0.12, 7)
    rows = [
        ("NME, outer eye corners", ours, paper, None, [ours - 0.2, ours + 0.2]),
        ("NME, box, diagonal", ours / 2, None, None, [0, 1]),
        ("faces above 8 %", 10.0, None, None, [0, 20]),
        ("AUC to 8 %, exact", 50.0, None, None, [40, 60]),
        ("AUC to 8 %, fan", 49.0, None, None, [39, 59]),
    ]
    keys = ("quantity", "ours", "paper", "delta", "interval")
    return {
        "name": name,
        "model": name,
        "dataset": "300w",
        "subset": "helen_test",
        "normalizer": "outer_eye",
        "boxes": "truth",
        "protocol": {
            "failure_threshold": 0.08,
            "auc_threshold": 0.08,
            "part_of": "common",
            "true_boxes": "truth",
        },
        "faces": {"measured": 330, "expected": 331},
        "table": [{**dict(zip(keys, row)), "source": "FFLD, Table 1" if row[2] else ""} for row in rows],
        "remarks": ["half of the faces are here", f"paper: FFLD, {name}"],
        "data": "photos & <others>",
        "per_landmark": dict.fromkeys(IBUG_68.names, ours / 100),
        "per_region": {"jaw": 0.05, "right_eye": ours / 100},
        "ced": {"thresholds": at, "fractions": ced(np.full(4, ours / 100), at)},
        "stress": [curve("blur", [ours / 100, 0.1]), curve("jpeg", [0.2, ours / 100], neutral=1)],
        "results": {"outer_eye": {"mean": ours / 100}},
        "int8": int8,
        "command": f"evaluate.py --model {name} --data DIR",
        "seed": 0,
        "weights_sha256": "ab" * 32,
        "trained_with_seed": 7,
        "run": "docs/runs/x",
    }


@pytest.fixture(scope="module")
def record():
    table = [{"quantity": "NME, pupils", "ours": None, "paper": 4.25, "delta": None, "source": "FFLD, Table 1"}]
    pair = {"dataset": "300w", "subset": "helen_test", "first": NAMES[0], "second": NAMES[1]}
    values = {
        "made": {"command": "tools/results.py --data DIR --out results", "git": {"commit": "abc"}},
        "evaluations": [
            entry(NAMES[0], 3.09, 3.18, {"mean": 0.0005, "interval": [-0.0002, 0.0011], "p_value": 0.2, "faces": 330}),
            entry(NAMES[1], 13.68, 4.38, {"missing": "no int8 form"}),
        ],
        "cost": COST,
        "untrained": [
            {"name": "ffld_resnet50", "dataset": "300w", "subset": "helen_test", "table": table},
            {"name": "region_direct", "dataset": "300w", "subset": "helen_test", "table": []},
        ],
        "pairs": [{**pair, "mean": 0.0059, "interval": [0.0052, 0.0066], "p_value": 0.0001, "faces": 330}],
        "context": [vars(cell) for cell in CONTEXT],
    }
    return json.loads(json_bytes(values))


@pytest.fixture(scope="module")
def page(record):
    return render_results(record, FACE)


# --- tables


def test_what_eight_bits_cost_by_hand(record):
    rows = int8_rows(record["evaluations"])
    assert rows[0] == ("ffld_resnet18", "3.09", "+0.05", "-0.02 to +0.11")
    assert rows[1] == ("resnet18_slim", "13.68", "no int8 form", "")
    text = markdown(record, {})
    assert "| ffld_resnet18 | 3.09 | +0.05 | -0.02 to +0.11 |" in text
    assert "| `ffld_resnet18` | 2,280,464 | 233 million |" in text
    assert "2 processors, network on cpu(0), OMP_NUM_THREADS not set" in text
    assert "## Cost" not in markdown({**record, "cost": None}, {})


def test_the_lines_of_the_table(record):
    cells = [line_cells(line) for line in table_lines(record)]
    assert cells[0] == (
        *("ffld_resnet18", "300w helen_test, 330", "NME, outer eye corners", "3.09", "2.89 to 3.29", "(3.18)", ""),
        "helen_test instead of common; 330 of 331 faces; boxes of the true landmarks; trained on photos & <others>",
    )
    # The error, failures and area of record; other lengths and rules only where a paper prints them.
    assert [cell[2] for cell in cells[:3]] == ["NME, outer eye corners", "faces above 8 %", "AUC to 8 %, exact"]
    assert cells[1][-1] == ""
    assert cells[6] == (
        *("ffld_resnet50", "300w helen_test", "NME, pupils", "none", "", "(4.25)", "", "no weights are here yet"),
    )
    assert cells[7] == ("region_direct", "300w helen_test", "", "none", "", "", "", "no weights are here yet")
    assert len(cells) == 8


def test_remarks_are_said_once(record):
    assert remark_rows(record["evaluations"]) == [
        ("all", "half of the faces are here"),
        *((name, f"paper: FFLD, {name}") for name in NAMES),
    ]


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"boxes": "detector"}, "a detector's boxes; trained on photos"),
        ({"boxes": "some.json"}, "the boxes of a file; trained on photos"),
        ({"protocol": {"part_of": "", "true_boxes": "listed"}}, "the data set's boxes; trained on photos"),
    ],
)
def test_what_sets_the_protocol_apart(changed, text):
    plain = {
        **{"subset": "test", "boxes": "truth", "data": "photos", "faces": {"measured": 5, "expected": 5}},
        "protocol": {"part_of": "", "true_boxes": "truth"},
    }
    assert protocol_difference({**plain, **changed}) == text


def test_pairs_and_regions(record):
    assert pairs_of(record, "300w", "helen_test") == [(*NAMES, "+0.59", "+0.52 to +0.66", "0.0001")]
    assert pairs_of(record, "300w", "common") == []
    heads, rows = region_table(record["evaluations"])
    assert heads == ["weights", "jaw", "right eye"]
    assert rows == [["ffld_resnet18", "5.00", "3.09"], ["resnet18_slim", "5.00", "13.68"]]


def test_the_markdown_page(record):
    text = markdown(record, {("300w", "helen_test"): [("Curves", "ced.png")]})
    assert "![Curves](ced.png)" in text
    assert "| ffld_resnet18 | 300w helen_test, 330 | NME, outer eye corners | 3.09 | 2.89 to 3.29 | (3.18) |" in text
    assert "| STAR | 300w common | NME, outer eye corners | 2.52 |" in text
    assert "| Blur, steps | 0: **3.09 (25.0)** | 1: 10.00 (25.0) |" in text
    assert "seed 7, run docs/runs/x" in text
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({line.count("|") for line in block.splitlines()}) == 1


def test_the_levels_of_a_stress_test():
    errors = np.array([[0.02, 0.06, np.nan], [0.10, 0.06, 0.02]])
    first, second = make_levels((0, 5), errors, 0.08)
    assert (first.amount, first.mean, first.failure_rate) == (0, pytest.approx(0.04), 0.0)
    assert (second.amount, second.mean, second.failure_rate) == (5, pytest.approx(0.06), pytest.approx(1 / 3))
    low, high = second.mean_interval
    assert 0.02 < low + 1e-9 < 0.06 < high < 0.10 + 1e-9
    table = stress_table([Curve("blur", "Blur", "px", 0, (first, second))])
    assert "| Blur, px | 0: **4.00 (0.0)** | 5: 6.00 (33.3) |" in table


def test_a_stress_picture_of_several_networks():
    curves = {name: [curve("blur", [0.03, 0.1]), curve("jpeg", [0.03, 0.2])] for name in NAMES}
    assert draw_stress(curves, "error", "title").startswith(b"\x89PNG")


# --- page


class Elements(HTMLParser):
    """Counts of elements, and whether each is closed where it should be."""

    EMPTY = ("meta", "input", "br", "img")

    def __init__(self):
        super().__init__()
        self.open, self.seen = [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def elements(page):
    parser = Elements()
    parser.feed(page)
    assert parser.open == []
    return parser.seen


def test_the_page_needs_nothing_else_and_is_well_formed(page):
    seen = elements(page)
    assert not [tag for tag, _ in seen if tag in ("link", "img", "iframe", "object")]
    for _, attributes in seen:
        assert not {"src", "srcset", "action"} & set(attributes)
        links = [value for key, value in attributes.items() if key in ("href", "xlink:href")]
        assert all(value.startswith(("#", "data:image/png")) for value in links)
    assert not re.search(r"@import|fetch\(|XMLHttpRequest|url\((?!#)", page)
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in seen
    assert "photos &amp; &lt;others&gt;" in page


def test_every_switch_has_its_curves(page):
    seen = elements(page)
    switched = {attributes["data-curve"] for tag, attributes in seen if tag == "input" and "data-curve" in attributes}
    assert switched == set(NAMES)
    drawn = [attributes["id"] for tag, attributes in seen if tag == "g" and "--" in attributes.get("id", "")]
    for name in NAMES:
        mine = [each for each in drawn if each.endswith(f"--{name}")]
        parts = [f"{chart}-{part}" for chart in ("blur", "jpeg") for part in ("band", "line", "ring")]
        assert sorted(mine) == sorted(f"{each}--{name}" for each in ["ced", *parts])
    assert len(drawn) == len(set(drawn))
    faces = [attributes["data-network"] for tag, attributes in seen if tag == "figure"]
    assert faces == list(NAMES)


def test_the_curve_is_where_the_errors_are(page):
    """All faces err by 3.09 %: the curve is at the bottom up to 2 % and at the top from 4 % on, of 12."""
    path = re.search(r'id="ced--ffld_resnet18">\s*<path d="([^"]+)"', page).group(1)
    points = np.array([[float(number) for number in pair] for pair in re.findall(r"[ML] ([\d.]+) ([\d.]+)", path)])
    steps = np.diff(points[:, 0])
    np.testing.assert_allclose(steps, steps[0], rtol=1e-3)
    heights = points[:, 1]
    assert len(set(heights[:2])) == 1
    assert set(heights[2:]) == {heights[-1]}
    assert heights[0] > heights[-1]


def test_the_same_record_gives_the_same_page(record, page):
    assert render_results(record, FACE) == page


def test_a_table_escapes_what_it_shows():
    table = html_table(["<a>"], [["b & c", "5 %"]], "kind", sortable=True)
    assert "<th data-sort>&lt;a&gt;</th>" in table
    assert "<td>b &amp; c</td><td>5&nbsp;%</td>" in table


# --- script


def run_node(script):
    node = shutil.which("node")
    if not node:
        pytest.skip("no node to run the page's script with")
    stub = "const document = {querySelectorAll: () => [], querySelector: () => ({addEventListener() {}})};"
    done = subprocess.run([node, "-e", stub + script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_figures_sort_as_numbers_and_empty_cells_come_last():
    texts = ["13.68", "", "(3.18)", "+0.5", "-2", "11,246,280", "2,369 million", "none"]
    cells = f"{json.dumps(texts)}.map((text) => sortKey({{textContent: text}}))"
    code = _SCRIPT.replace('"use strict";', "")
    assert run_node(f"{code}; console.log(JSON.stringify({cells}.sort(compareKeys)))") == [
        -2,
        0.5,
        3.18,
        13.68,
        2369,
        11246280,
        "none",
        "",
    ]


ACTIONS = """
<script>
{
const heads = document.querySelectorAll("table.results th"), report = {};
const rows = () => Array.from(document.querySelector("table.results").tBodies[0].rows);
heads[3].click(); report.rising = rows().map((row) => row.cells[3].textContent);
heads[3].click(); report.falling = rows().map((row) => row.cells[3].textContent);
const box = document.querySelector("input[data-curve=ffld_resnet18]");
box.click();
const drawn = Array.from(document.querySelectorAll("svg g[id]"));
report.hidden = drawn.filter((part) => part.style.display === "none").map((part) => part.id);
report.others = Array.from(document.querySelectorAll("input[data-curve=ffld_resnet18]"), (each) => each.checked);
const search = document.querySelector("input[type=search]");
search.value = "PUPILS"; search.dispatchEvent(new Event("input"));
report.shown = rows().filter((row) => !row.hidden).length;
report.width = [document.documentElement.scrollWidth, window.innerWidth];
document.title = JSON.stringify(report);
}
</script>
"""


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium or Chrome to open the page with")
def test_in_a_browser(page, tmp_path):
    (tmp_path / "page.html").write_text(page.replace("</body>", ACTIONS + "</body>"), encoding="utf-8")
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--window-size=500,844",
        "--host-resolver-rules=MAP * 0.0.0.0",
    ]
    command = [
        CHROMIUM,
        *options,
        f"--user-data-dir={tmp_path / 'profile'}",
        "--dump-dom",
        f"file://{tmp_path}/page.html",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    title = re.search(r"<title>(.*?)</title>", done.stdout).group(1)
    report = json.loads(title.replace("&quot;", '"').replace("&amp;", "&"))
    figures = [float(text) for text in report["rising"] if text != "none"]
    assert figures == sorted(figures)
    assert report["rising"][-2:] == ["none", "none"]
    assert [float(text) for text in report["falling"] if text != "none"] == figures[::-1]
    assert sorted(report["hidden"])[-1] == "jpeg-ring--ffld_resnet18"
    assert len(report["hidden"]) == 7
    assert report["others"] == [False, False]
    assert report["shown"] == 1
    assert report["width"][0] <= report["width"][1]


def test_the_page_room_needs_no_script_to_show_its_tables(page):
    body = page[page.index("<body>") : page.index("<script>")]
    for text in ("3.09", "13.68", "2.52", "no weights are here yet", "docs/runs/x"):
        assert text in body
    assert sys.getsizeof(page) < 3_000_000
