"""The tables of README.md and docs/: those that stand there are those on record, and they say what the records hold."""

import json
from pathlib import Path

import pytest

from report.cost_tables import cost_table
from report.detector_tables import terminal_table
from report.document_tables import scores_table, stages_table, study_table
from report.documents import END, rewritten
from report.markdown import markdown_table
from tools import documents

ROOT = Path(__file__).resolve().parent.parent


def test_the_tables_of_the_documents_are_those_on_record():
    assert [path.name for path in rewritten(ROOT)] == [], "make them anew with .venv/bin/python -m tools.documents"


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
    "unit": "%",
    "rows": [
        {"cell": "A", "values": [4.0, 5.0], "mean": 4.5, "deviation": 0.70711, "published": None},
        {"cell": "B", "values": [3.1, 3.3], "mean": 3.2, "deviation": 0.14142, "published": 3.5},
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


def test_the_faces_that_errors_are_measured_on(tree):
    assert page(tree, "faces") == ["Measured on HELEN's 20 test faces."]
    record = evaluation("ffld_resnet18", 0.02, subset="common", faces={"measured": 554})
    (tree / "docs" / "results" / "near.json").write_text(json.dumps(record))
    assert page(tree, "faces") == ["Measured on HELEN's 20 test faces and the 554 faces of 300-W's common subset."]


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


@pytest.mark.parametrize(
    ("document", "run", "score"),
    [
        ("README.md", "docs/runs/near/run.json", "docs/results/near.json"),
        ("docs/page.md", "runs/near/run.json", "results/near.json"),
        ("docs/runs/near/README.md", "run.json", "../../results/near.json"),
    ],
)
def test_the_line_of_a_record_and_its_links(tree, document, run, score):
    (tree / "docs" / "runs" / "near").mkdir(parents=True)
    assert page(tree, "record near", document) == [
        f"Seed 3, validation NME 3.01 %, SHA-256 `{16 * 'n'}...`; "
        f"record: [{run}]({run}), all figures: [{score}]({score})."
    ]


def test_a_study(tree):
    lines = page(tree, "study study")
    assert lines == study_table(STUDY).split("\n")
    assert lines == [
        "| cell | seed 0 | seed 1 | mean ± deviation | paper (somewhere) |",
        "|---|---|---|---|---|",
        "| A | 4.00 % | 5.00 % | 4.50 ± 0.71 % | |",
        "| B | 3.10 % | 3.30 % | 3.20 ± 0.14 % | 3.50 % |",
    ]
    one_seed = {"cell": "A", "values": [4.0], "mean": 4.0, "deviation": None, "published": None}
    assert study_table({**STUDY, "seeds": [0], "rows": [one_seed]}).endswith("| A | 4.00 % | 4.00 % | |")


def stages_of(*means):
    return [{"stage": number, "mean": mean, "median": 0.5} for number, mean in enumerate(means)]


def log_of(*epochs):
    """Lines of a log: the errors of the stages in each epoch, None in one that was not validated."""
    lines = []
    for number, errors in enumerate(epochs, start=1):
        stages = {f"nme_stage_{stage}": error for stage, error in enumerate(errors or ())}
        lines.append({"epoch": number, "loss": 9.0, **({"nme": errors[-1], **stages} if errors else {})})
    return lines


def test_the_stages_of_a_network(tree):
    log = log_of((0.9, 0.9, 0.08), None, (0.05, 0.041, 0.0312), (0.03, 0.03, 0.04), (0.02, 0.02, 0.0312))
    log += log_of((0.01, 0.01, float("nan")))
    (tree / "docs" / "runs" / "near").mkdir(parents=True)
    (tree / "docs" / "runs" / "near" / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
    record = evaluation("ffld_resnet18", 0.033, stages=stages_of(0.04, 0.036, 0.033))
    (tree / "docs" / "results" / "near.json").write_text(json.dumps(record))
    lines = page(tree, "stages near")
    assert lines == stages_table(record, log).split("\n")
    # The third epoch is the first of the smallest error of the last stage. 0.036 and 0.033 are 90 and 82.5 % of 0.04.
    assert lines == [
        "| stage | validation | HELEN's 20 test faces | against the first stage |",
        "|---|---|---|---|",
        "| baseline network | 5.00 % | 4.00 % | |",
        "| first refinement | 4.10 % | 3.60 % | -10.0 % |",
        "| second refinement | 3.12 % | 3.30 % | -17.5 % |",
    ]


@pytest.mark.parametrize(
    ("model", "names"),
    [
        ("ffld_resnet50", ["baseline network", "first refinement", "second refinement", "third refinement"]),
        ("hourglass_resnet50", ["first stack", "second stack", "third stack", "fourth stack"]),
        ("lgcn_64", ["local context", "with global context"]),
    ],
)
def test_stages_have_the_names_of_their_network(model, names):
    means = [0.04, 0.05, 0.03, 0.02][: len(names)]
    lines = stages_table(evaluation(model, means[-1], stages=stages_of(*means)), log_of(means)).split("\n")[2:]
    assert [line.split(" | ")[0] for line in lines] == [f"| {name}" for name in names]
    assert lines[1] == f"| {names[1]} | 5.00 % | 5.00 % | +25.0 % |"


@pytest.mark.parametrize(
    ("model", "stages", "log", "message"),
    [
        ("ffld_resnet18", {}, log_of((0.05, 0.04)), "is of no stages: run evaluate.py again"),
        (
            "lgcn_64",
            {"stages": stages_of(0.3, 0.2, 0.1)},
            log_of((0.3, 0.2, 0.1)),
            "3 stages, but names are known of 2",
        ),
        ("region_parts", {"stages": stages_of(0.3, 0.2)}, log_of((0.3, 0.2)), "2 stages, but names are known of 0"),
        ("ffld_resnet18", {"stages": stages_of(0.3, 0.2)}, log_of(None), "no epoch of the run on record was validated"),
    ],
)
def test_what_has_no_table_of_stages_says_why_in_one_line(model, stages, log, message):
    with pytest.raises(ValueError, match=message) as caught:
        stages_table(evaluation(model, 0.03, **stages), log)
    assert "\n" not in str(caught.value)


def test_what_a_shape_model_makes_of_the_maps(tree):
    assert page(tree, "fitted lgcn") == ["Not measured yet."]
    record = evaluation("lgcn_64", 0.03, shape_model="shape.npz")
    (tree / "docs" / "results" / "lgcn_shape_model.json").write_text(json.dumps(record))
    lines = page(tree, "fitted lgcn")
    assert lines == scores_table(record).split("\n")
    assert "| median, inter-ocular | 2.00 % | 2.86 % |" in lines
    assert "| median, inter-ocular | 2.00 % | 3.04 % |" in scores_table(evaluation("lgcn_64", 0.03))


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


def test_what_others_networks_cost(tree):
    own = {"milliseconds": 2.0, "faces_per_second": 400.0, "memory_megabytes": 900.0}
    twin = {"milliseconds": 3.0, "faces_per_second": 500.0, "memory_megabytes": 588.3}
    record = {
        "peers": {
            "a": own,
            "PyTorch's a": {**twin, "ours": "a", "ours_faster_one": 1.5, "ours_faster_batch": 0.8},
            "FAN": {"missing": "no compiler"},
        }
    }
    assert page(tree, "peers") == ["Not measured yet."]
    (tree / "docs" / "results" / "peers.json").write_text(json.dumps(record))
    assert page(tree, "peers")[2:] == [
        "| `a` | 2.00 ms | 400.0 faces/s | 900 MB | |",
        "| PyTorch's a | 3.00 ms | 500.0 faces/s | 588 MB | `a`: 1.50, 0.80 times |",
        "| FAN | no compiler | | | |",
    ]


def found(faces, average, recall, precision=0.5):
    return {"faces": faces, "average_precision": average, "recall": recall, "precision": precision}


def detection(title, dataset, photos, **sizes):
    results = {name: {"seconds_per_photo": 0.25, "sizes": each} for name, each in sizes.items()}
    return {"title": title, "dataset": dataset, "photos": photos, "results": results}


# Of 1,200 faces 1,000 are from 24 px, of these 9 in 10 are found; none is from 40 px.
NETWORK = {"all": found(1200, 0.72, 0.75), "from 24": found(1000, 0.8, 0.9, 0.9), "from 40": found(0, None, None, None)}
CASCADE = {"all": found(1200, 0.25, 0.3), "from 24": found(1000, 0.3, 0.36), "from 40": found(0, None, None, 0.0)}
DRAWN = detection("drawn boxes", "face_boxes", 1001, faster_rcnn=NETWORK, haar=CASCADE)


def test_the_record_of_a_detector(tree):
    scores = {"kind": "detector", "validation_average_precision": 0.9124}
    index = {"finder": {**entry("finder", **scores)}}
    del index["finder"]["validation_nme"]
    (tree / "weights" / "index.json").write_text(json.dumps(index))
    assert page(tree, "record finder")[0].startswith("Seed 3, validation average precision 91.2 %, SHA-256 `ffff")


def test_detectors(tree):
    assert page(tree, "detector finder_to_come") == ["Not measured yet."]
    record = {"evaluations": [DRAWN, detection("AFW", "pts", 7, haar=CASCADE)]}
    (tree / "docs" / "results" / "finder.json").write_text(json.dumps(record))
    # In photos with landmark files not every face has one, so precision would tell nothing there.
    assert page(tree, "detector finder") == [
        "| photos | faces: all / from 24 / from 40 px | detector | average precision, % | recall, % "
        "| seconds a photo |",
        "|---|---|---|---|---|---|",
        "| drawn boxes, 1,001 | 1,200 / 1,000 / 0 | `faster_rcnn` | 72.0 / 80.0 / - | 75.0 / 90.0 / - | 0.25 |",
        "| drawn boxes, 1,001 | 1,200 / 1,000 / 0 | `haar` | 25.0 / 30.0 / - | 30.0 / 36.0 / - | 0.25 |",
        "| AFW, 7 | 1,200 / 1,000 / 0 | `haar` | | 30.0 / 36.0 / - | 0.25 |",
    ]


def test_detectors_on_the_terminal():
    assert terminal_table({**DRAWN, "results": {"haar": DRAWN["results"]["haar"]}}) == (
        "drawn boxes: 1,001 photos\n"
        "detector      size, px  faces   AP %  recall %  precision %\n"
        "haar               all  1,200   25.0      30.0         50.0\n"
        "haar           from 24  1,000   30.0      36.0         50.0\n"
        "haar           from 40      0      -         -          0.0\n"
        "haar         0.250 seconds a photo"
    )


# --- marks and the command


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a\n<!-- table: speed -->\n{end}",
            "page.md:2: no table is called 'speed'; known: shipped, faces, scores WEIGHTS, ",
        ),
        ("<!-- table: scores -->\n{end}", "page.md:1: no table is called 'scores'"),
        ("<!-- table: cost near -->\n{end}", "page.md:1: no table is called 'cost near'"),
        ("\n<!-- table: cost -->\n", "page.md:2: the table has no <!-- end of table -->"),
        ("<!-- table: cost -->\n<!-- table: cost -->\n{end}", "page.md:1: the table has no <!-- end"),
        ("a\nb\n{end}", "page.md:3: no table begins before"),
        ("<!-- table: scores far -->\n{end}", "page.md:1: no weights 'far' in weights/index.json, but m_far, near, "),
        ("<!-- table: scores finder -->\n{end}", "page.md:1: 'finder' is a detector"),
        ("<!-- table: study x -->\n{end}", "page.md:1: docs/results/x.json is not on record"),
        ("<!-- table: stages near -->\n{end}", "page.md:1: docs/runs/near/log.jsonl is not on record"),
        ("<!-- table: stages finder -->\n{end}", "page.md:1: 'finder' is a detector"),
        ("<!-- table: study near -->\n{end}", "page.md:1: what is on record for 'study near' lacks 'seeds'"),
        ("<!-- table: detector near -->\n{end}", "what is on record for 'detector near' lacks 'evaluations'"),
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
