"""Generated tables of README.md and docs/: they are up to date and right, and bad marks are refused."""

import json
from pathlib import Path

import pytest

from report.documents import END, TABLES, rewritten
from report.tables import detector_table, errors_table, markdown, scores_table, shipped_table, stages_table
from tools import documents

ROOT = Path(__file__).resolve().parent.parent


def test_the_tables_of_the_documents_are_those_on_record():
    assert [path.name for path in rewritten(ROOT)] == [], "run .venv/bin/python -m tools.documents"


def test_a_table_by_hand():
    assert markdown(("a", "b"), [("1", ""), ("", "2")]) == "| a | b |\n|---|---|\n| 1 | |\n| | 2 |"


def figures(mean):
    areas = {"exact": 0.5, "fan": 0.45, "simpson": 0.51, "trapezoid": 0.52}
    wider = {rule: area + 0.2 for rule, area in areas.items()}
    failures = {"0.08": 0.1, "0.10": 0.05}
    return {"mean": mean, "median": mean - 0.01, "failure_rate": failures, "auc": {"0.07": wider, "0.08": areas}}


def evaluation(model, mean, **further):
    """Of 20 faces of HELEN; pupils are two thirds as far apart as the outer corners of the eyes, boxes twice."""
    results = {"outer_eye": figures(mean), "pupil": figures(1.5 * mean), "box_geometric": figures(mean / 2)}
    return {
        **{"model": model, "dataset": "300w", "subset": "helen_test", "normalizer": "outer_eye", "results": results},
        **{"protocol": {"part_of": "common"}, "faces": {"measured": 20}, "per_landmark": dict.fromkeys(range(68), 0.0)},
        **further,
    }


def values_of(table, *, start, column=1):
    """The cells of one column of the rows whose first cell starts so."""
    return [row[column] for row in table[1] if row[0].startswith(start)]


def test_what_ships_is_sorted_by_error_and_what_has_no_eyes_is_last():
    lacking = evaluation("deeppose_resnet18", 0.01, per_landmark=dict.fromkeys(range(194), 0.0))
    del lacking["results"]["outer_eye"], lacking["results"]["pupil"]
    records = {
        "far": evaluation("hourglass_resnet50", 0.04),
        "none": lacking,
        "near": evaluation("ffld_resnet18", 0.03),
    }
    index = {"far": {"data": "many"}, "none": {"data": "some"}, "near": {"data": "1,798 photos", "short": "photos"}}
    _, rows = errors_table(index, records)
    assert [row[:2] for row in rows] == [["`near`", "photos"], ["`far`", "many"], ["`none`, 194 points", "some"]]
    # FFLD, Table 1: 3.18 % and 4.41 %. The hourglass's paper prints no mean error.
    assert rows[0][2:] == ["3.00 %", "3.18 %", "4.50 %", "4.41 %", "10.0 %", "50.0 %"]
    assert (rows[1][2], rows[1][3], set(rows[2][2:])) == ("4.00 %", "", {""})


def test_networks_stand_beside_their_papers_and_the_best_of_each_figure_is_bold():
    """The deeper network errs less, the slimmer one is smaller and faster; what did not run has no time."""
    about = {"code": "../a.py", "ledger": "b.md", "paper": "FFLD", "terms": "research only; see there"}
    index = {
        "deep": {**about, "model": "ffld_resnet18", "megabytes": 9.16},
        "slim": {**about, "model": "resnet18_slim", "megabytes": 2.9},
        "failed": {**about, "model": "lgcn_64", "megabytes": 4, "terms": "Apache-2.0"},
    }
    means = {"deep": 0.03, "slim": 0.04, "failed": 0.05}
    records = {name: evaluation(index[name]["model"], mean) for name, mean in means.items()}
    fast, slow = ({"milliseconds": value} for value in (4.06, 8.5))
    models = {
        "ffld_resnet18": {"parameters": 2280464, "float32": slow},
        "resnet18_slim": {"parameters": 719640, "float32": fast},
        "lgcn_64": {"parameters": 1096980, "float32": {"missing": "ended"}},
    }
    heads, rows = shipped_table(index, records, {"models": models})
    assert heads[2:4] == ["NME on HELEN's 20 test faces", "paper's NME, all 554"]
    assert rows[0][:2] == ["`deep`", "FFLD ([code](../a.py), [ledger](b.md))"]
    # FFLD, Table 1: 3.18 %, and 4.38 % for its baseline.
    assert rows[0][2:] == ["**3.00 %**", "3.18 %", "2,280,464", "8.5", "9.2", "research only"]
    assert rows[1][2:] == ["4.00 %", "4.38 %", "**719,640**", "**4.1**", "2.9", "research only"]
    assert rows[2][2:] == ["5.00 %", "", "1,096,980", "", "4.0", "Apache-2.0"]
    whole = {name: {**record, "subset": "common"} for name, record in records.items()}
    assert shipped_table(index, whole, {"models": {}})[0][3] == "paper's NME, same faces"


def test_scores_stand_beside_the_papers_figures():
    record = evaluation("lgcn_64", 0.03, intervals={"level": 0.95}, point_sets={"49": figures(0.025)})
    record["results"]["outer_eye"]["mean_interval"] = [0.029, 0.0312]
    table = scores_table(record)
    assert values_of(table, start="its 95 %") == ["2.90 to 3.12 %"]
    assert values_of(table, start="AUC to 7 %") == ["70.00, 65.00, 71.00, 72.00 %"]
    # LGCN, Table 1: medians of 3.04 % and, without outline, 2.34 %; with the shape model 2.86 and 2.21 %.
    assert values_of(table, start="median", column=2) == ["3.04 %", "2.34 %, the median"]
    fitted = scores_table({**record, "shape_model": "lgcn_64.shape.npz"})
    assert values_of(fitted, start="median", column=2) == ["2.86 %", "2.21 %, the median"]


@pytest.mark.parametrize("key", ["nme", "error"])
def test_stages_are_beside_the_best_epoch(key):
    """The third epoch is the first of the smallest last error. 0.036 and 0.033 are 90 and 82.5 % of 0.04."""
    epochs = [(0.9, 0.9, 0.08), (), (0.05, 0.041, 0.0312), (0.02, 0.02, 0.0312), (0.01, 0.01, float("nan"))]
    log = [
        {"loss": 9.0, **({"nme": errors[-1]} if errors else {}), **{f"nme_stage_{k}": e for k, e in enumerate(errors)}}
        for errors in epochs
    ]
    record = evaluation("any", 0.033, stages=[{"mean": mean} for mean in (0.04, 0.036, 0.033)])
    assert stages_table(record, log)[1] == [
        ["1 of 3", "5.00 %", "4.00 %", ""],
        ["2 of 3", "4.10 %", "3.60 %", "-10.0 %"],
        ["3 of 3", "3.12 %", "3.30 %", "-17.5 %"],
    ]
    with pytest.raises(ValueError, match="no validated epoch"):
        stages_table(record, log[1:2])


def test_average_precision_is_shown_only_where_all_faces_are_marked():
    found = {"faces": 1200, "average_precision": 0.72, "recall": 0.75, "precision": 0.5}
    none = {"faces": 0, "average_precision": None, "recall": None, "precision": None}
    results = {"haar": {"seconds_per_photo": 0.25, "sizes": {"all": found, "from 24": found, "from 40": none}}}
    marked, partly = ({"title": name, "dataset": name, "photos": 7, "results": results} for name in ("fddb", "pts"))
    # A cascade that two records measured on the same photos has one row.
    _, rows = detector_table([{"evaluations": [marked, partly]}, {"evaluations": [marked]}])
    assert len(rows) == 2
    all_marked = ["72.0 / 72.0 / -", "75.0 / 75.0 / -", "50.0 / 50.0 / -", "0.250"]
    assert rows[0][1:] == ["1,200 / 1,200 / 0", "`haar`", *all_marked]
    assert rows[1][3:6] == ["", "75.0 / 75.0 / -", ""]


# --- marks in documents


@pytest.fixture
def tree(tmp_path):
    """A project with one network, whose README has one sentence."""
    for folder in ("weights", "docs/results", "docs/runs/near"):
        (tmp_path / folder).mkdir(parents=True)
    entry = {"sha256": "n" * 64, "seed": 3, "data": "photos", "validation_nme": 0.0301}
    entry.update(run="docs/runs/near", metrics="docs/results/near.json")
    (tmp_path / "weights" / "index.json").write_text(json.dumps({"near": entry}))
    (tmp_path / "docs" / "results" / "near.json").write_text(json.dumps(evaluation("ffld_resnet18", 0.03)))
    (tmp_path / "README.md").write_text("No table.\n")
    return tmp_path


@pytest.mark.parametrize(
    ("document", "run", "score"),
    [
        ("README.md", "docs/runs/near/run.json", "docs/results/near.json"),
        ("docs/runs/near/README.md", "run.json", "../../results/near.json"),
    ],
)
def test_a_mark_is_filled_and_links_lead_from_the_document(tree, document, run, score, capsys):
    mark = "<!-- table: record near -->"
    (tree / document).write_text(f"Above `{mark}`.\n{mark}\n| old |\n{END}\nBelow.\n")
    assert documents.main(["--root", str(tree)]) == 0
    assert capsys.readouterr().out == f"new tables in {document}\n"
    line = f"Seed 3, validation NME 3.01 %, SHA-256 `{16 * 'n'}...`; record: [{run}]({run}), all figures: "
    expected = f"Above `{mark}`.\n{mark}\n{line}[{score}]({score}).\n{END}\nBelow.\n"
    assert (tree / document).read_text() == expected
    assert documents.main(["--root", str(tree)]) == 0
    assert (tree / document).read_text() == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<!-- table: scores near -->\n", "README.md:1: the table has no"),
        (f"\n{END}\n", "README.md:2: no table begins before this"),
        (f"<!-- table: cost -->\n<!-- table: cost -->\n{END}", "README.md:1: docs/results/cost.json is not on record"),
        (f"<!-- table: nothing -->\n{END}", "no table is called 'nothing'; known: shipped, errors, faces"),
        (f"<!-- table: record far -->\n{END}", "no weights 'far' in weights/index.json, only near"),
        (f"<!-- table: peers -->\n{END}", "docs/results/peers.json is damaged"),
    ],
)
def test_a_bad_mark_is_named_and_nothing_is_written(tree, text, message):
    (tree / "docs" / "results" / "peers.json").write_text('{"model"')
    (tree / "README.md").write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        documents.rewrite(tree)
    assert "\n" not in str(caught.value)
    assert (tree / "README.md").read_text() == text


def test_every_kind_of_table_is_in_use():
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    text = "".join(path.read_text(encoding="utf-8") for path in pages)
    assert [kind for kind in TABLES if f"<!-- table: {kind}" not in text] == []
