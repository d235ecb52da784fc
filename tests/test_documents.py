"""The tables of README.md and docs/: those that stand there are those on record, and they say what the records hold."""

import json
from pathlib import Path

import pytest

import documents
from evaluation.document_tables import cost_table, scores_table, study_table
from evaluation.documents import END, rewritten
from evaluation.markdown import markdown_table

ROOT = Path(__file__).resolve().parent.parent


def test_the_tables_of_the_documents_are_those_on_record():
    assert [path.name for path in rewritten(ROOT)] == [], "make them anew with .venv/bin/python documents.py"


def test_a_table_by_hand():
    assert markdown_table(("a", "b"), [("1", ""), ("", "2")]) == "| a | b |\n|---|---|\n| 1 | |\n| | 2 |"


# --- a small tree whose figures are known


def figures(mean, above=(0.1, 0.05)):
    areas = {"exact": 0.5, "fan": 0.45, "simpson": 0.51, "trapezoid": 0.52}
    failures = dict(zip(("0.08", "0.10"), above))
    wider = {rule: area + 0.2 for rule, area in areas.items()}
    return {"mean": mean, "median": mean - 0.01, "failure_rate": failures, "auc": {"0.07": wider, "0.08": areas}}


def evaluation(model, mean, **further):
    """Of 20 faces of HELEN; pupils are two thirds as far apart as the outer corners of the eyes, boxes twice."""
    results = {"outer_eye": figures(mean), "pupil": figures(1.5 * mean), "box_geometric": figures(mean / 2)}
    return {
        **{"model": model, "dataset": "300w", "subset": "helen_test", "normalizer": "outer_eye", "results": results},
        **{"protocol": {"part_of": "common"}, "faces": {"measured": 20}, "per_landmark": dict.fromkeys(range(68), 0.0)},
        **further,
    }


def entry(name, **further):
    return {
        **{"sha256": name[0] * 64, "seed": 3, "data": "1,798 photos", "validation_nme": 0.0301},
        **{"run": f"docs/runs/{name}", "metrics": f"docs/results/{name}.json", **further},
    }


STUDY = {
    "seeds": [0, 1],
    "published_on": "somewhere",
    "rows": [
        {"cell": "A", "nme": [4.0, 5.0], "mean": 4.5, "deviation": 0.70711, "published": None},
        {"cell": "B", "nme": [3.1, 3.3], "mean": 3.2, "deviation": 0.14142, "published": 3.5},
    ],
}


@pytest.fixture
def tree(tmp_path):
    """A project with two networks and a detector, a study, and a README that has one sentence."""
    for folder in ("weights", "docs/results"):
        (tmp_path / folder).mkdir(parents=True)
    index = {
        "m_far": entry("m_far"),
        "near": entry("near", short="photos"),
        "finder": entry("finder", kind="detector"),
    }
    records = {
        "m_far": evaluation("hourglass_resnet50", 0.04),
        "near": evaluation("ffld_resnet18", 0.03),
        "finder": {"average_precision": 0.9},
        "study": STUDY,
    }
    for name, record in records.items():
        (tmp_path / "docs" / "results" / f"{name}.json").write_text(json.dumps(record))
    (tmp_path / "weights" / "index.json").write_text(json.dumps(index))
    (tmp_path / "README.md").write_text("No table.\n")
    return tmp_path


def page(tree, words, name="docs/page.md"):
    """Writes a document with one table and returns what it becomes."""
    path = tree / name
    path.write_text(f"Above.\n\n<!-- table: {words} -->\n| old |\n{END}\n\nBelow.\n", encoding="utf-8")
    text = rewritten(tree)[path]
    above, below = f"Above.\n\n<!-- table: {words} -->\n", f"\n{END}\n\nBelow.\n"
    assert text.startswith(above)
    assert text.endswith(below)
    return text[len(above) : -len(below)].split("\n")


def test_what_ships_smallest_error_first_and_no_detector(tree):
    # FFLD, Table 1: 3.18 and 4.41 %. Of the hourglass no mean error is printed; its entry has no short words.
    assert page(tree, "shipped", "README.md") == [
        "| weights | trained on | NME, inter-ocular | paper | NME, inter-pupil | paper | above 8 % | AUC to 8 % |",
        "|---|---|---|---|---|---|---|---|",
        "| `near` | photos | 3.00 % | 3.18 % | 4.50 % | 4.41 % | 10.0 % | 50.0 % |",
        "| `m_far` | 1,798 photos | 4.00 % | | 6.00 % | | 10.0 % | 50.0 % |",
    ]


def test_what_has_no_eyes_is_last_in_the_table_of_what_ships(tree):
    record = evaluation("deeppose_resnet18", 0.02, per_landmark=dict.fromkeys(range(194), 0.0))
    del record["results"]["outer_eye"], record["results"]["pupil"]
    (tree / "docs" / "results" / "near.json").write_text(json.dumps(record))
    assert page(tree, "shipped")[3:] == ["| `near`, 194 points | photos | | | | | | |"]


def test_the_scores_of_an_older_record(tree):
    assert page(tree, "scores near") == [
        "| on HELEN's 20 test faces | value | paper (common, 554) |",
        "|---|---|---|",
        "| NME, inter-ocular | 3.00 % | 3.18 % |",
        "| NME, inter-pupil | 4.50 % | 4.41 % |",
        "| NME, sqrt(w h) of the landmark box | 1.50 % | |",
        "| median, inter-ocular | 2.00 % | |",
        "| above 8 % / 10 % | 10.0 % / 5.0 % | |",
        "| AUC to 8 %: exact, FAN, Simpson, trapezoid | 50.00, 45.00, 51.00, 52.00 % | |",
        "| AUC to 7 %, sqrt(w h) of the landmark box: exact, FAN, Simpson, trapezoid "
        "| 70.00, 65.00, 71.00, 72.00 % | |",
    ]


def test_the_scores_of_a_record_with_intervals_and_parts_of_the_landmarks():
    record = evaluation("lgcn_64", 0.03, intervals={"level": 0.95}, point_sets={"49": figures(0.025)})
    record["results"]["outer_eye"]["mean_interval"] = [0.029, 0.0312]
    lines = scores_table(record).split("\n")
    assert lines[3] == "| its 95 % interval, by bootstrap over the faces | 2.90 to 3.12 % | |"
    # LGCN, Table 1: medians of 3.04 % and, without outline, 2.34 %; with the shape model 2.86 and 2.21 %.
    assert lines[6:8] == [
        "| median, inter-ocular | 2.00 % | 3.04 % |",
        "| median / mean without outline (49 points), inter-ocular | 1.50 % / 2.50 % | 2.34 %, the median |",
    ]
    fitted = scores_table({**record, "shape_model": "lgcn_64.shape.npz"})
    assert "| 2.00 % | 2.86 % |" in fitted
    assert "| 2.21 %, the median |" in fitted


def test_the_scores_on_faces_that_no_paper_reports_on():
    record = evaluation("ffld_resnet18", 0.03, dataset="menpo", subset="frontal", normalizer="box_geometric")
    record["protocol"]["part_of"] = ""
    lines = scores_table(record).split("\n")
    assert lines[0] == "| on 20 faces of menpo frontal | value | paper |"
    assert lines[2] == "| NME, sqrt(w h) of the landmark box | 1.50 % | |"
    assert "| median, sqrt(w h) of the landmark box | 0.50 % | |" in lines


@pytest.mark.parametrize(("document", "up"), [("README.md", "docs/"), ("docs/page.md", "")])
def test_the_line_of_a_record_and_its_links(tree, document, up):
    run, score = f"{up}runs/near/run.json", f"{up}results/near.json"
    assert page(tree, "record near", document) == [
        f"Seed 3, validation NME 3.01 %, SHA-256 `{16 * 'n'}...`; "
        f"record: [{run}]({run}), all figures: [{score}]({score})."
    ]


def test_a_study(tree):
    lines = page(tree, "study study")
    assert lines == study_table(STUDY["seeds"], STUDY["rows"], "somewhere").split("\n")
    assert lines == [
        "| cell | seed 0 | seed 1 | mean ± deviation | paper (somewhere) |",
        "|---|---|---|---|---|",
        "| A | 4.00 % | 5.00 % | 4.50 ± 0.71 % | |",
        "| B | 3.10 % | 3.30 % | 3.20 ± 0.14 % | 3.50 % |",
    ]
    one_seed = {"cell": "A", "nme": [4.0], "mean": 4.0, "deviation": None, "published": None}
    assert study_table([0], [one_seed], "x").endswith("| A | 4.00 % | 4.00 % | |")


def test_what_networks_cost(tree):
    prediction = {"milliseconds": 5.25, "faces_per_second": 100.0, "memory_megabytes": 300.4, "share_of_peak": 0.254}
    whole = {"photos_per_second": 20.0}
    trained = {"faces_per_second": 7.0, "memory_megabytes": 900.0}
    ended = {"missing": "the system ended the process"}
    record = {
        **{"processors": 2, "device": "cpu(0)", "OMP_NUM_THREADS": "2", "versions": {"mxnet": "1.9.1"}},
        **{"peak_gflops": 80.4, "load_average_at_start": 0.05},
        "models": {
            "a": {
                **{"parameters": 706998, "multiply_adds": 144.4e6, "float32": {**prediction, "pipeline": whole}},
                **{"int8": {**prediction, "milliseconds": 3.0, "pipeline": None}, "training": trained},
            },
            "b": {"parameters": 1, "multiply_adds": 2e6, "float32": ended, "int8": ended, "training": ended},
        },
    }
    assert page(tree, "cost") == ["Not measured yet."]
    (tree / "docs" / "results" / "cost.json").write_text(json.dumps(record))
    lines = page(tree, "cost")
    assert lines == cost_table(record).split("\n")
    assert lines[0].startswith("2 processors, network on cpu(0), OMP_NUM_THREADS 2, MXNet 1.9.1; 80 GFLOP/s at most")
    assert lines[4:] == [
        "| `a` | 706,998 | 144 million | 5.25 ms | 100.0 faces/s | 25 % | 300 MB | 3.00 ms | 100.0 faces/s "
        "| 20.0 photos/s | 7.0 faces/s | 900 MB |",
        "| `b` | 1 | 2 million | | | | | | | | | |",
    ]


# --- marks and the command


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\n<!-- table: speed -->\n{end}", "page.md:2: no table is called 'speed'; known: shipped, scores WEIGHTS, "),
        ("<!-- table: scores -->\n{end}", "page.md:1: no table is called 'scores'"),
        ("<!-- table: cost near -->\n{end}", "page.md:1: no table is called 'cost near'"),
        ("\n<!-- table: cost -->\n", "page.md:2: the table has no <!-- end of table -->"),
        ("<!-- table: cost -->\n<!-- table: cost -->\n{end}", "page.md:1: the table has no <!-- end"),
        ("a\nb\n{end}", "page.md:3: no table begins before"),
        ("<!-- table: scores far -->\n{end}", "page.md:1: no weights 'far' in weights/index.json, but m_far, near, "),
        ("<!-- table: scores finder -->\n{end}", "page.md:1: 'finder' is a detector"),
        ("<!-- table: study x -->\n{end}", "page.md:1: docs/results/x.json is not on record"),
        ("<!-- table: study near -->\n{end}", "page.md:1: what is on record for 'study near' lacks 'seeds'"),
    ],
)
def test_a_wrong_mark_is_named_with_its_line_and_nothing_is_written(tree, text, message):
    (tree / "README.md").write_text(f"<!-- table: cost -->\n{END}\n")
    (tree / "docs" / "page.md").write_text(text.format(end=END))
    with pytest.raises(ValueError, match="^docs/page.md:") as caught:
        documents.main(["--root", str(tree)])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "Not measured" not in (tree / "README.md").read_text()


def test_a_damaged_record_is_named(tree):
    (tree / "docs" / "results" / "near.json").write_text('{"model"')
    with pytest.raises(ValueError, match="^docs/page.md:3: docs/results/near.json is damaged"):
        page(tree, "scores near")


def test_the_command_writes_what_changed_and_says_so(tree, capsys):
    (tree / "README.md").write_text(f"One.\n<!-- table: cost -->\n{END}\nTwo.")
    (tree / "docs" / "page.md").write_text("No table here, `<!-- table: cost -->` is a mark.\n")
    assert documents.main(["--root", str(tree)]) == 0
    assert capsys.readouterr().out == "new tables in README.md\n"
    assert (tree / "README.md").read_text() == f"One.\n<!-- table: cost -->\nNot measured yet.\n{END}\nTwo."
    assert documents.main(["--root", str(tree)]) == 0
    assert capsys.readouterr().out == "the tables of all documents are those on record\n"
