"""The page of all results, from a made-up record whose figures are known."""

import json
import re
import shutil
import subprocess
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
from report.results_page import by_subset, render_results, summary_row
from report.stress import stress_table

NAMES = ("ffld_resnet18", "resnet18_slim")  # smallest error first; the record has them the other way round
FACE = CONTROLS.space[:68, :2]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def curve(name, means, neutral=0):
    levels = [Level(amount, mean, (mean - 0.01, mean + 0.01), 0.25) for amount, mean in enumerate(means)]
    return Curve(name, name.title(), "steps", neutral, tuple(levels))


def entry(name, ours, paper, int8):
    """An evaluation on half of the common subset, all of whose faces err alike."""
    at, error = np.linspace(0, 0.12, 7), ours / 100
    rows = [("NME, outer eye corners", ours, paper, [ours - 0.2, ours + 0.2]), ("median, pupils", 2, 2.5, None)]
    row = {"delta": None, "source": "FFLD, Table 1"}
    return {
        **{"name": name, "model": name, "dataset": "300w", "subset": "helen_test", "normalizer": "outer_eye"},
        **{"boxes": "truth", "protocol": {"failure_threshold": 0.08, "auc_threshold": 0.08}},
        **{"faces": {"measured": 330}, "remarks": ["half of the faces are here"], "data": "photos & <others>"},
        "table": [{**row, **dict(zip(("quantity", "ours", "paper", "interval"), each))} for each in rows],
        "results": {"outer_eye": {"mean": error, "failure_rate": {"0.08": 0.1}, "auc": {"0.08": {"exact": 0.5}}}},
        "per_landmark": dict.fromkeys(IBUG_68.names, error),
        "per_region": {"jaw": 0.05, "right_eye": error},
        "ced": {"thresholds": at, "fractions": ced(np.full(4, error), at)},
        "stress": [curve("blur", [error, 0.1]), curve("jpeg", [0.2, error], neutral=1)],
        **{"int8": int8, "command": f"evaluate.py --model {name}", "seed": 0, "weights_sha256": "ab" * 32},
        **{"trained_with_seed": 7, "run": "docs/runs/x"},
    }


@pytest.fixture(scope="module")
def record():
    missing = {part: {"missing": "the system ended the process"} for part in ("int8", "training")}
    full = {"milliseconds": 5.25, "faces_per_second": 100.0, "memory_megabytes": 300.4, "share_of_peak": 0.254}
    cost = {"parameters": 2280464, "multiply_adds": 233e6, "float32": full, **missing}
    machine = {"processors": 2, "device": "cpu(0)", "OMP_NUM_THREADS": None, "versions": {"mxnet": "1.9.1"}}
    difference = {"mean": 0.0005, "interval": [-0.0002, 0.0011], "p_value": 0.2}
    pair = {"dataset": "300w", "subset": "helen_test", "first": NAMES[0], "second": NAMES[1]}
    values = {
        "made": {"command": "python -m tools.results --out results", "git": {"commit": "abc"}},
        "evaluations": [entry(NAMES[1], 13.68, None, {"missing": "no int8"}), entry(NAMES[0], 3.09, 3.18, difference)],
        "cost": {**machine, "peak_gflops": 80.4, "load_average_at_start": 0.05, "models": {NAMES[0]: cost}},
        "pairs": [{**pair, **difference}],
        "context": [vars(cell) for cell in CONTEXT],
    }
    return json.loads(json_bytes(values))


@pytest.fixture(scope="module")
def page(record):
    return render_results(record, FACE)


def test_the_first_table_has_a_row_per_network_smallest_error_first(record):
    (entries,) = by_subset(record).values()
    rows = [summary_row(each, record["cost"]) for each in entries]
    assert [row[0] for row in rows] == list(NAMES)
    assert rows[0][1:] == ["3.09", "2.89 to 3.29", "(3.18)", "10.00", "50.00", "+0.05", "5.2", "2,280,464"]
    # Its paper prints no mean error but a median; its cost was not measured and it has no int8 twin.
    assert rows[1][1:] == ["13.68", "13.48 to 13.88", "(2.50) median", "10.00", "50.00", "", "", ""]
    assert summary_row(entries[0], None)[-2:] == ["", ""]


def test_the_levels_of_a_stress_test():
    errors = np.array([[0.02, 0.06, np.nan], [0.10, 0.06, 0.02]])
    first, second = make_levels((0, 5), errors, 0.08)
    assert (first.amount, first.mean, first.failure_rate) == (0, pytest.approx(0.04), 0.0)
    assert (second.amount, second.mean, second.failure_rate) == (5, pytest.approx(0.06), pytest.approx(1 / 3))
    low, high = second.mean_interval
    assert 0.02 < low + 1e-9 < 0.06 < high < 0.10 + 1e-9
    table = stress_table([Curve("blur", "Blur", "px", 0, (first, second))])
    assert "| Blur, px | 0: **4.00 (0.0)** | 5: 6.00 (33.3) |" in table


class Elements(HTMLParser):
    """The elements of a page, each of which must be closed where it should be."""

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


def test_the_page_needs_nothing_else_and_is_well_formed(page, record):
    seen = elements(page)
    assert not [tag for tag, _ in seen if tag in ("link", "img", "iframe", "object")]
    for _, attributes in seen:
        assert not {"src", "srcset", "action"} & set(attributes)
        links = [value for key, value in attributes.items() if key in ("href", "xlink:href")]
        assert all(value.startswith(("#", "data:image/png")) for value in links)
    assert not re.search(r"@import|fetch\(|XMLHttpRequest|url\((?!#)", page)
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in seen
    assert "photos &amp; &lt;others&gt;" in page
    assert render_results(record, FACE) == page


def test_every_switch_has_its_curves(page):
    seen = elements(page)
    switched = [attributes["data-curve"] for tag, attributes in seen if tag == "input"]
    assert switched == [*NAMES, *NAMES]
    drawn = [attributes["id"] for tag, attributes in seen if tag == "g" and "--" in attributes.get("id", "")]
    parts = [f"{chart}-{part}" for chart in ("blur", "jpeg") for part in ("band", "line", "ring")]
    assert sorted(drawn) == sorted(f"{each}--{name}" for each in ["ced", *parts] for name in NAMES)
    assert [attributes["data-network"] for tag, attributes in seen if tag == "figure"] == list(NAMES)


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


def test_a_table_escapes_what_it_shows():
    table = html_table(["<a>"], [["b & c", "5 %"]], "kind", sortable=True)
    assert "<th data-sort>&lt;a&gt;</th>" in table
    assert "<td>b &amp; c</td><td>5&nbsp;%</td>" in table


ACTIONS = """
<script>
{
const report = {}, texts = ["13.68", "", "(3.18)", "+0.5", "-2", "11,246,280", "2,369 million", "none"];
const sorted = (sign) => texts.map(sortKey).sort((a, b) => compareKeys(a, b, sign));
report.rising = sorted(1); report.falling = sorted(-1);
const cells = () => Array.from(document.querySelector("table").tBodies[0].rows, (row) => row.cells[0].textContent);
report.before = cells(); document.querySelector("th").click(); document.querySelector("th").click();
report.after = cells();
document.querySelector("input[data-curve=ffld_resnet18]").click();
const drawn = Array.from(document.querySelectorAll("svg g[id]"));
report.hidden = drawn.filter((part) => part.style.display === "none").map((part) => part.id);
report.others = Array.from(document.querySelectorAll("input[data-curve=ffld_resnet18]"), (each) => each.checked);
report.width = [document.documentElement.scrollWidth, window.innerWidth];
report.number = document.querySelector("td + td").getBoundingClientRect().right;
document.title = JSON.stringify(report);
}
</script>
"""


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium or Chrome to open the page with")
def test_in_a_browser(page, tmp_path):
    (tmp_path / "page.html").write_text(page.replace("</body>", ACTIONS + "</body>"), encoding="utf-8")
    options = "--headless --no-sandbox --disable-gpu --window-size=500,844 --disable-component-update --disable-sync"
    options = [*options.split(), "--host-resolver-rules=MAP * 0.0.0.0", f"--user-data-dir={tmp_path / 'profile'}"]
    command = [CHROMIUM, *options, "--dump-dom", f"file://{tmp_path}/page.html"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    title = re.search(r"<title>(.*?)</title>", done.stdout).group(1)
    report = json.loads(title.replace("&quot;", '"').replace("&amp;", "&"))
    # Figures sort as numbers, and an empty cell is last either way.
    assert report["rising"][:-2] == [-2, 0.5, 3.18, 13.68, 2369, 11246280]
    assert (report["rising"][-1], report["falling"][-1]) == ("", "")
    assert (report["before"], report["after"]) == (list(NAMES), list(NAMES[::-1]))
    assert len(report["hidden"]) == 7
    assert {name.partition("--")[2] for name in report["hidden"]} == {"ffld_resnet18"}
    assert report["others"] == [False, False]
    assert report["width"][0] <= report["width"][1]
    assert report["number"] < 390
