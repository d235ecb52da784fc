"""The report's figures, table, files and pictures, on errors made up so that the figures are known."""

import base64
import csv
import dataclasses
import io
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

from datasets.markups import get_markup
from evaluation.boxes import check_inside, closest_box, given_box
from evaluation.protocols import box_text, get_protocol
from evaluation.summary import Evaluation, stage_errors, summarise
from report.comparison import compare, format_table, remarks
from report.evaluation_report import extreme_faces, write_report
from report.outputs import json_bytes
from report.plots import Picture

WORDS = box_text("truth", 0.25)
EYE_DISTANCE = 100.0  # px in every true face here
FILES = {"metrics.json", "errors.npy", "errors.csv", "predictions.npy", "ced.png", "faces.png", "report.html"}


def true_face():
    """68 points whose outer eye corners are 100 px apart."""
    face = np.random.default_rng(11).uniform(20, 180, size=(68, 2))
    face[36], face[45] = (50, 80), (150, 80)
    return face


def evaluation_of(percents, subset="common", model="resnet18_slim", expected=None, skipped=()):
    """Faces whose inter-ocular errors are these per cents, every landmark off by the same; NaN for one not found."""
    truth = np.stack([true_face()] * len(percents))
    predicted = truth + np.asarray(percents, dtype=float)[:, None, None] / 100 * np.array([EYE_DISTANCE, 0.0])
    names = [f"lfpw/testset/image_{index:04d}" for index in range(len(percents))]
    reasons = {names[index]: "no face was found" for index in skipped}
    faces = len(percents) if expected is None else expected
    return Evaluation(model, get_protocol("300w", subset), names, predicted, truth, reasons, faces)


def pictures(evaluation, indices):
    crop = np.full((64, 64, 3), 90, np.uint8)
    points = np.random.default_rng(0).uniform(5, 59, size=(68, 2))
    errors = evaluation.errors("outer_eye")
    return [Picture(crop, points + 1, points, evaluation.names[index], errors[index]) for index in indices]


def write(out, evaluation, **record):
    worst, best = extreme_faces(evaluation.errors("outer_eye"), 3, 2)
    shown = pictures(evaluation, worst), pictures(evaluation, best)
    return write_report(out, evaluation, {"command": "evaluate.py <x> & y", **record}, WORDS, *shown)


# --- figures


def test_figures_of_known_errors():
    summary = summarise(evaluation_of([2, 4, 6, 9]))
    figures = summary.results["outer_eye"]
    assert figures.mean == pytest.approx(0.0525)
    assert figures.median == pytest.approx(0.05)
    assert figures.failure_rate == {"0.08": 0.25, "0.10": 0.0}
    # 1 - e/t of each face: 5/7, 3/7, 1/7, 0 to 7 %; 6/8, 4/8, 2/8, 0 to 8 %; 8, 6, 4, 1 tenths to 10 %.
    exact = {threshold: areas["exact"] for threshold, areas in figures.auc.items()}
    assert exact == pytest.approx({"0.07": 9 / 28, "0.08": 12 / 32, "0.10": 19 / 40})
    assert set(figures.auc["0.07"]) == {"exact", "fan", "simpson", "trapezoid"}
    assert set(summary.results) == {
        "outer_eye", "pupil", "eye_midpoint", "box_geometric", "box_diagonal", "box_mean"
    }  # fmt: skip


def test_a_face_that_was_not_found_is_out_of_the_means_and_a_failure_elsewhere():
    figures = summarise(evaluation_of([2, 4, np.nan, 6], skipped=[2])).results["outer_eye"]
    assert figures.mean == pytest.approx(0.04)
    assert figures.median == pytest.approx(0.04)
    assert figures.failure_rate["0.08"] == 0.25
    assert figures.auc["0.08"]["exact"] == pytest.approx((6 + 4 + 2) / 8 / 4)


def test_errors_of_stages_are_over_the_faces_that_were_found(tmp_path):
    evaluation = evaluation_of([2, 4, np.nan, 9], skipped=[2])
    earlier = [evaluation_of(percents).predicted for percents in ([8, 10, np.nan, 6], [3, 5, np.nan, 7])]
    write(tmp_path, dataclasses.replace(evaluation, earlier_stages=earlier))
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert [each["stage"] for each in metrics["stages"]] == [0, 1, 2]
    means, medians = ([each[name] for each in metrics["stages"]] for name in ("mean", "median"))
    assert means == pytest.approx([0.08, 0.05, 0.05])
    assert medians == pytest.approx([0.08, 0.05, 0.04])
    headline = metrics["results"]["outer_eye"]
    assert (means[-1], medians[-1]) == (headline["mean"], headline["median"])
    assert stage_errors(evaluation) == []


def test_faces_that_nobody_annotated_cannot_be_evaluated():
    evaluation = evaluation_of([2, 3])
    evaluation.truth[:] = np.nan
    with pytest.raises(ValueError, match="not annotated"):
        summarise(evaluation)


def test_error_of_each_landmark():
    evaluation = evaluation_of([0, 0])
    evaluation.predicted[0, 30] += (0, 8)
    evaluation.truth[1, 31] = np.nan
    evaluation.predicted[1, 32] = np.nan
    summary = summarise(evaluation)
    assert list(summary.per_landmark) == list(get_markup(68).names)
    assert summary.per_landmark["nose_tip"] == pytest.approx(0.04)
    assert sum(summary.per_landmark.values()) == pytest.approx(0.04)
    assert summary.faces["landmarks_not_predicted"] == 1


def test_error_of_each_region():
    """The nose has 9 landmarks, one of them off by 8 px in the one face and 4 px in the other."""
    evaluation = evaluation_of([0, 0])
    evaluation.predicted[:, 30] += [[0, 8], [0, 4]]
    regions = summarise(evaluation).per_region
    assert list(regions) == ["jaw", "right_brow", "left_brow", "nose", "right_eye", "left_eye", "mouth"]
    assert regions["nose"] == pytest.approx((0.08 + 0.04) / 2 / 9)
    assert sum(regions.values()) == pytest.approx(regions["nose"])


def test_figures_with_outline_without_it_and_without_the_inner_mouth_corners():
    evaluation = evaluation_of([0, 0])
    evaluation.predicted[:, :17] += (0, 17)  # the outline, 17 landmarks
    evaluation.predicted[:, 60] += (0, 5.1)  # an inner mouth corner
    evaluation.predicted[0, 30] += (0, 0.49)  # the tip of the nose
    parts = summarise(evaluation).point_sets
    assert parts["68"].mean == pytest.approx((17 * 0.17 + 0.051 + 0.0049 / 2) / 68)
    assert parts["51"].mean == pytest.approx((0.051 + 0.0049 / 2) / 51)
    assert parts["49"].mean == pytest.approx(0.00005)
    assert parts["49"].mean_interval == pytest.approx((0.0, 0.0001))
    rows = {row.quantity: row.ours for row in compare(evaluation, summarise(evaluation).results, parts)}
    assert rows["NME of 51 points"] == pytest.approx(100 * (0.051 + 0.0049 / 2) / 51)
    assert rows["NME of 49 points"] == pytest.approx(0.005)


def test_intervals_of_known_errors():
    """Two faces are drawn as (a, a), (a, b), (b, a) or (b, b), so the mean is a and b a quarter of the time each."""
    figures = summarise(evaluation_of([2, 6])).results["outer_eye"]
    assert figures.mean_interval == pytest.approx((0.02, 0.06))
    assert figures.auc_intervals["0.08"]["exact"] == pytest.approx((0.25, 0.75))
    assert figures.failure_rate_intervals["0.08"] == pytest.approx((0, 0))


def test_a_face_that_was_not_found_is_in_the_intervals_as_in_the_figures():
    figures = summarise(evaluation_of([2, np.nan], skipped=[1])).results["outer_eye"]
    assert figures.mean_interval == pytest.approx((0.02, 0.02))
    assert figures.failure_rate_intervals["0.08"] == pytest.approx((0, 1))
    assert figures.auc_intervals["0.08"]["exact"] == pytest.approx((0, 0.75))


# --- ours, paper, delta


def row_of(evaluation, quantity="NME, outer eye corners"):
    rows = compare(evaluation, summarise(evaluation).results)
    return next(row for row in rows if row.quantity == quantity)


def test_a_complete_subset_has_a_delta():
    row = row_of(evaluation_of([3, 4]))
    assert (row.paper, row.source) == (4.38, "FFLD, Table 1")
    assert row.ours == pytest.approx(3.5)
    assert row.delta == pytest.approx(-0.88)
    assert row_of(evaluation_of([3, 4]), "NME, pupils").paper == 6.37


@pytest.mark.parametrize(
    "evaluation",
    [evaluation_of([3, 4], expected=554), evaluation_of([3, 4, np.nan], skipped=[2])],
    ids=["faces missing", "faces not found"],
)
def test_other_faces_than_the_papers_have_no_delta_but_text(evaluation):
    row = row_of(evaluation)
    assert row.paper == 4.38
    assert row.delta is None
    rows = compare(evaluation, summarise(evaluation).results)
    assert "(4.38)" in format_table(rows)
    assert any("in brackets" in text and "common" in text for text in remarks(evaluation, rows, WORDS))


def evaluation_on(dataset, subset, pixels, present=""):
    """Three faces of sizes 80, 100 and 125 with 50 px between their pupils, each landmark off by so many pixels."""
    count = {"aflw": 19, "cofw": 29, "300vw": 68}[dataset]
    markup = get_markup(count)
    face = np.random.default_rng(3).uniform(20, 180, (count, 2))
    for indices, x in zip(markup.pupils, (80, 130)):
        face[list(indices)] = (x, 90)
    truth = np.stack([face] * 3)
    predicted = truth + np.asarray(pixels, float)[:, None, None] * (0.0, 1.0)
    return Evaluation(
        "ffld_resnet18",
        get_protocol(dataset, subset),
        ["a", "b", "c"],
        predicted,
        truth,
        {},
        3,
        present,
        None if dataset == "300vw" else np.array([80.0, 100, 125]),
    )


def figures_of(evaluation):
    rows = compare(evaluation, summarise(evaluation).results)
    return {row.quantity: row for row in rows}, remarks(evaluation, rows, WORDS)


def test_aflw_is_measured_over_the_face_size_and_over_no_length_between_eyes():
    rows, said = figures_of(evaluation_on("aflw", "full", [1.6, 3, 1.25]))  # 2, 3 and 1 %
    assert list(rows)[:4] == ["NME, face size", "NME, box, sqrt(w h)", "NME, box, diagonal", "NME, box, (w + h) / 2"]
    assert rows["NME, face size"].ours == pytest.approx(2.0)
    assert (rows["NME, face size"].paper, rows["NME, face size"].source) == (1.75, "FFLD, Table 2")
    assert rows["NME, face size"].delta == pytest.approx(0.25)
    assert rows["median, face size"].ours == pytest.approx(2.0)
    assert not any("in brackets" in text for text in said)
    assert figures_of(evaluation_on("aflw", "frontal", [1, 1, 1]))[0]["NME, face size"].paper == 1.52


def test_eye_corners_that_coincide_in_a_profile_do_no_harm():
    evaluation = evaluation_on("aflw", "full", [1, 1, 1])
    evaluation.truth[0, 6] = evaluation.truth[0, 11]
    assert summarise(evaluation).faces["measured"] == 3


def test_faces_without_a_size_are_not_measured():
    evaluation = evaluation_on("aflw", "full", [1.6, 3, 1.25])
    evaluation.face_sizes[1] = np.nan
    summary = summarise(evaluation)
    assert summary.results["face_size"].mean == pytest.approx(0.015)
    assert summary.faces["measured"] == 2


def test_cofws_figure_stands_beside_both_readings_and_is_subtracted_in_the_likely_one():
    rows, said = figures_of(evaluation_on("cofw", "test", [2, 3, 2.5]))
    pupil, size = rows["NME, pupils"], rows["NME, face size"]
    assert (pupil.ours, pupil.paper) == (pytest.approx(5.0), 5.45)
    assert pupil.delta == pytest.approx(-0.45)
    assert size.ours == pytest.approx((2 / 0.8 + 3 + 2) / 3)
    assert (size.paper, size.delta) == (5.45, None)
    assert sum("printed as face size; its values look like inter-pupil ones" in text for text in said) == 1
    assert "faces above 10 %" in rows


def test_of_300vw_no_difference_is_taken():
    rows, said = figures_of(evaluation_on("300vw", "category_1", [2, 3, 2.5]))
    for quantity in ("NME, outer eye corners", "NME, pupils"):
        assert (rows[quantity].paper, rows[quantity].delta) == (4.85, None)
    assert rows["NME, pupils"].ours == pytest.approx(5.0)
    assert rows["NME, eye midpoints"].paper is None
    assert any("Table 4" in text and "the table does not say which" in text for text in said)


def test_the_curve_of_aflw_is_in_the_normalizer_of_record(tmp_path):
    evaluation = evaluation_on("aflw", "full", [1.6, 3, 1.25])
    write_report(tmp_path, evaluation, {}, WORDS, [], [])
    np.testing.assert_allclose(np.load(tmp_path / "errors.npy"), [0.02, 0.03, 0.01])
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["normalizer"] == "face_size"
    assert metrics["results"]["face_size"]["mean"] == pytest.approx(0.02)


# --- files


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """An evaluation, the folder of its report, and the text for the terminal."""
    evaluation = evaluation_of([2, 4, np.nan, 6, 9], skipped=[2])
    out = tmp_path_factory.mktemp("new") / "report"
    return evaluation, out, write(out, evaluation, weights_sha256="ab12", boxes="truth", box_margin=0.25)


def test_the_report_writes_its_files(report):
    evaluation, out, text = report
    assert {path.name for path in out.iterdir()} == FILES
    assert [path.name for path in out.parent.iterdir()] == ["report"]
    errors = np.load(out / "errors.npy")
    np.testing.assert_allclose(errors, [0.02, 0.04, np.nan, 0.06, 0.09])
    np.testing.assert_array_equal(np.load(out / "predictions.npy"), evaluation.predicted)
    rows = list(csv.DictReader(io.StringIO((out / "errors.csv").read_text())))
    assert [row["name"] for row in rows] == evaluation.names
    np.testing.assert_allclose([float(row["outer_eye"]) for row in rows], errors)
    assert "resnet18_slim on 300w common: 4 of 5 faces" in text
    assert "5.25" in text


def test_metrics_json_holds_the_figures_and_what_made_them(report):
    evaluation, out, _ = report

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    metrics = json.loads((out / "metrics.json").read_text(), parse_constant=refuse)
    assert metrics["results"]["outer_eye"]["mean"] == pytest.approx(0.0525)
    assert metrics["results"]["outer_eye"]["auc"]["0.08"]["exact"] == pytest.approx(12 / 8 / 5)
    assert metrics["weights_sha256"] == "ab12"
    assert (metrics["boxes"], metrics["box_margin"], metrics["normalizer"]) == ("truth", 0.25, "outer_eye")
    assert (metrics["model"], metrics["dataset"], metrics["subset"]) == ("resnet18_slim", "300w", "common")
    assert metrics["faces"]["found"] == 4
    assert metrics["skipped"] == {evaluation.names[2]: "no face was found"}
    assert len(metrics["per_landmark"]) == 68
    assert metrics["names"] == evaluation.names
    assert metrics["table"][0]["paper"] == 4.38
    low, high = metrics["results"]["outer_eye"]["mean_interval"]
    assert 0.02 < low < 0.0525 < high < 0.09
    assert metrics["table"][0]["interval"] == pytest.approx([100 * low, 100 * high])
    assert metrics["intervals"]["level"] == 0.95
    assert metrics["per_region"]["jaw"] == pytest.approx(0.0525)
    assert metrics["point_sets"]["51"]["mean"] == pytest.approx(0.0525)


def test_the_page_stands_alone_and_shows_everything(report):
    evaluation, out, _ = report
    page = (out / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"(src|href)=\"(?!data:)|url\(|@import|<script|<link", page)
    assert 'name="viewport"' in page
    embedded = [base64.b64decode(data) for data in re.findall(r'src="data:image/png;base64,([^"]+)"', page)]
    assert (out / "ced.png").read_bytes() in embedded
    assert (out / "faces.png").read_bytes() in embedded
    assert len(embedded) == 3
    assert "evaluate.py &lt;x&gt; &amp; y" in page
    assert "<td>5.25</td>" in page
    assert page.index("no face was found") < page.index("9.00&nbsp;%")
    assert page.count("<tr>") == page.count("</tr>")


def test_nothing_found_still_makes_a_report(tmp_path):
    write(tmp_path, evaluation_of([np.nan, np.nan], skipped=[0, 1]))
    assert {path.name for path in tmp_path.iterdir()} == FILES
    assert json.loads((tmp_path / "metrics.json").read_text())["results"]["outer_eye"]["mean"] is None
    assert "<td>none</td>" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_measurements_are_on_the_disk_before_anything_is_drawn(tmp_path):
    def undrawable():
        raise ValueError("no picture")
        yield

    evaluation = evaluation_of([2, 4])
    with pytest.raises(ValueError, match="no picture"):
        write_report(tmp_path, evaluation, {}, WORDS, undrawable(), [])
    np.testing.assert_allclose(np.load(tmp_path / "errors.npy"), [0.02, 0.04])
    assert {path.name for path in tmp_path.iterdir()} == {
        "metrics.json", "errors.npy", "errors.csv", "predictions.npy"
    }  # fmt: skip


def test_a_report_removes_the_stress_curves_of_the_one_before(tmp_path):
    for name in ("stress.json", "stress.md", "stress.png", "own.txt"):
        (tmp_path / name).write_text("earlier")
    write(tmp_path, evaluation_of([2, 4]))
    assert {path.name for path in tmp_path.iterdir()} == {*FILES, "own.txt"}


def test_a_report_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    write(tmp_path / "out", evaluation_of([2, 4]))
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    written = Path.write_bytes

    def full(path, data):
        if path.name == "predictions.npy":
            raise OSError(28, "No space left on device", str(path))
        return written(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="cannot write .*out: No space left on device"):
        write(tmp_path / "out", evaluation_of([5, 7]))
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert os.listdir(tmp_path) == ["out"]


def test_json_of_numbers_that_json_lacks():
    value = {"a": np.float32("nan"), "b": [np.inf, np.int64(3)], "c": np.array([[1.5, np.nan]]), "d": (True, None, "é")}
    assert json.loads(json_bytes(value)) == {"a": None, "b": [None, 3], "c": [[1.5, None]], "d": [True, None, "é"]}


# --- pictures


def test_extreme_faces_are_each_shown_once():
    errors = np.array([0.03, np.nan, 0.09, 0.01, 0.05])
    assert extreme_faces(errors, 2, 2) == ([2, 4], [3, 0])
    assert extreme_faces(errors, 3, 2) == ([2, 4, 0], [3])
    assert extreme_faces(errors, 8, 4) == ([2, 4, 0, 3], [])
    assert extreme_faces(np.array([np.nan])) == ([], [])


# --- boxes


@pytest.mark.parametrize("box", [(200, 10, 240, 50), (-50, 10, 0, 50), (10, 100, 20, 140), (10, -40, 20, -1)])
def test_a_box_outside_its_image(box):
    image = np.zeros((100, 200, 3), np.uint8)
    with pytest.raises(ValueError, match="outside its image of 200 by 100 pixels"):
        check_inside(np.array(box), image)
    assert check_inside(np.array([-30, -30, 5, 5]), image) is not None


def test_the_detection_of_the_annotated_face_is_taken():
    truth = np.array([0.0, 0, 10, 10])
    near, far = truth + 1, truth + 30
    np.testing.assert_array_equal(closest_box([far, near], truth), near)
    assert closest_box([far], truth) is None
    assert closest_box([], truth) is None


def test_a_lone_given_box_is_taken_wherever_it_lies():
    truth = np.array([0.0, 0, 10, 10])
    near, far = truth + 1, truth + 30
    np.testing.assert_array_equal(given_box([far], truth), far)
    np.testing.assert_array_equal(given_box([far, near], truth), near)
    assert given_box([], truth) is None
