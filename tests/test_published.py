"""The published figures against the paper's own text where it is at hand, and by hand against what is quoted of it."""

import os
import re
from pathlib import Path

import pytest

from evaluation.metrics import NORMALIZERS
from evaluation.protocols import PROTOCOLS, get_protocol
from evaluation.published import PUBLISHED, QUOTED, find
from evaluation.summary import AUC_THRESHOLDS, FAILURE_THRESHOLDS

TABLES = ("Table 1", "Table 2", "Table 3", "Table 4", "Table 5", "Table 6")


def cells(table, paper="FFLD", **wanted):
    """A paper's cells of one table."""
    wanted["paper"] = paper
    return [
        cell
        for cell in PUBLISHED
        if cell.table == table and all(getattr(cell, key) == value for key, value in wanted.items())
    ]


def text_of(paper):
    folder = os.environ.get("PAPERS")
    if not folder:
        pytest.skip(f"set PAPERS to the folder that holds {paper}.txt to compare with the paper's text")
    return Path(folder, f"{paper}.txt").read_text(encoding="utf-8")


def ffld_text():
    return text_of("ffld")


def printed_rows(text, table):
    """The rows above a table's caption: their first cell, and the numbers in the others."""
    block = text[: text.index(f"\n{table}: ")].rstrip().rpartition("\n\n")[2]
    rows = [line.split("\t") for line in block.splitlines()]
    return [(row[0], [number for cell in row[1:] for number in re.findall(r"\d+\.\d+", cell)]) for row in rows]


def method_name(printed):
    """A printed method without its citation, footnote mark and remark."""
    if printed.startswith("Lv et al."):
        return "Lv et al."
    return re.sub(r"\*|\s*\(.*\)|\s+Sadiq et al\.", "", printed).strip()


@pytest.mark.parametrize("table", ["Table 1", "Table 2", "Table 3", "Table 4"])
def test_every_cell_of_the_comparisons_is_the_papers(table):
    printed = [(method_name(name), number) for name, numbers in printed_rows(ffld_text(), table) for number in numbers]
    assert [(cell.method, f"{cell.percent:.2f}") for cell in cells(table)] == printed


@pytest.mark.parametrize("table", ["Table 5", "Table 6"])
def test_every_cell_of_the_ablations_is_the_papers(table):
    printed = [number for _, numbers in printed_rows(ffld_text(), table) for number in numbers]
    assert [f"{cell.percent:.2f}" for cell in cells(table)] == printed


def test_the_normalizers_of_table_1_stand_over_its_two_halves():
    rows = [name for name, _ in printed_rows(ffld_text(), "Table 1")]
    corners = rows.index("Inter-Eye Corner Distance NME (%)")
    assert rows.index("Inter-Pupil Distance NME (%)") == 1
    assert len(cells("Table 1", normalizer="pupil")) == 3 * (corners - 2)
    assert len(cells("Table 1", normalizer="outer_eye")) == 3 * (len(rows) - corners - 1)


def test_the_claim_in_the_text():
    text = ffld_text()
    assert "improved from 5.14% to 4.98%" in text
    assert [cell.percent for cell in cells("Sec. 6.4")] == [5.14, 4.98]


def test_how_many_cells_there_are():
    # 14 and 11 methods on three subsets; 16 on two less three dashes; 9; 9 on three categories; 8 and 4 ablations.
    assert [len(cells(table)) for table in TABLES] == [75, 29, 9, 27, 8, 4]
    assert len(set(PUBLISHED)) == len(PUBLISHED)


@pytest.mark.parametrize(
    ("model", "subset", "pupil", "outer_eye"),
    [
        ("resnet18_slim", "common", 6.37, 4.38),
        ("ffld_resnet18", "common", 4.41, 3.18),
        ("ffld_resnet50", "challenging", 7.85, 5.44),
    ],
)
def test_the_main_result_of_a_model(model, subset, pupil, outer_eye):
    found = {cell.normalizer: cell.percent for cell in find(model, "300w", subset)}
    assert found == {"pupil": pupil, "outer_eye": outer_eye}


def test_nothing_is_published_on_what_the_papers_leave_out():
    assert find("resnet18_slim", "300w", "helen_test") == []
    assert find("another", "300w", "common") == []


def test_the_ablations_agree_with_the_main_table():
    full = {cell.method: cell.percent for cell in cells("Table 1", subset="full", normalizer="outer_eye")}
    assert cells("Table 5")[0].percent == full["ResNet18"]
    assert cells("Table 5")[-1].percent == cells("Table 6")[-1].percent == full["ResNet18-FFLD"]


def test_full_is_the_mean_of_its_parts_in_every_row():
    """554 common and 135 challenging faces make 689; a digit copied wrongly would break the sum."""
    for normalizer in ("pupil", "outer_eye"):
        for method in {cell.method for cell in cells("Table 1", normalizer=normalizer)}:
            common, challenging, full = (
                cell.percent for cell in cells("Table 1", normalizer=normalizer, method=method)
            )
            assert (554 * common + 135 * challenging) / 689 == pytest.approx(full, abs=0.06), method


HOURGLASS, MODEL = "Modified stacked hourglass", "hourglass_resnet50"


def test_every_area_of_the_hourglass_is_the_papers():
    text = text_of("modified_stacked_hourglass")
    lines = text[text.index("**Table 1.**") :].split("\n\n")[1].splitlines()
    heads, *rows = [line.replace("<b>", "").replace("</b>", "").split("\t") for line in lines]
    assert heads[1:] == ["Ours", "[4]", "[34]", "[40]", "[41]"]
    datasets = {"Menpo": "menpo_3d", "300W": "300w_3d"}
    printed = [(datasets[row[0]], head, float(each[:-1])) for row in rows for head, each in zip(heads[1:], row[1:])]
    assert [(cell.dataset, cell.method, cell.percent) for cell in cells("Table 1", HOURGLASS)] == printed


def test_areas_stand_apart_from_mean_errors():
    found = cells("Table 1", HOURGLASS)
    assert len(found) == 10
    assert {(cell.statistic, cell.normalizer, cell.subset) for cell in found} == {("auc", "box_geometric", "all")}
    assert {cell.statistic for cell in PUBLISHED if cell.paper == "FFLD"} == {"mean"}
    ours = {cell.dataset: cell.percent for name in ("menpo_3d", "300w_3d") for cell in find(MODEL, name, "all")}
    assert ours == {"menpo_3d": 68.2, "300w_3d": 74.6}
    assert all("FAN" in cell.note for cell in found)


def test_the_areas_threshold_is_the_protocols():
    for cell in cells("Table 1", HOURGLASS):
        protocol = get_protocol(cell.dataset, cell.subset)
        # Sec. 4.1: "AUC [...] based on the threshold of 7 % of Normalized Mean Error"; d = sqrt(w h).
        assert (protocol.auc_threshold, protocol.normalizer) == (0.07, cell.normalizer)
        assert protocol.has_profiles


def test_normalizers_are_those_that_can_be_measured_or_are_said_not_to_be():
    assert {cell.normalizer for cell in PUBLISHED} <= {*NORMALIZERS, "face_size", ""}


def test_every_protocol_is_found_by_its_names():
    for (dataset, subset), protocol in PROTOCOLS.items():
        assert get_protocol(dataset, subset) is protocol
        assert protocol.part_of in ("", *(part for _, part in PROTOCOLS))
        assert protocol.failure_threshold in FAILURE_THRESHOLDS
        assert protocol.auc_threshold in AUC_THRESHOLDS


def test_every_median_of_lgcn_is_the_papers():
    text = text_of("local_global_context_network")
    lines = [line.split("\t") for line in text[: text.index("Table 1. Median")].splitlines()]
    for line in lines[[line[0] for line in lines].index("Method \\ Data") + 1 :]:
        if len(line) != 4:
            continue
        printed = [number for cell in line[1:] for number in re.findall(r"\d+\.\d+", cell)]
        method = re.sub(r"\s*\[\d+\]", "", line[0])
        found = [cell for cell in cells("Table 1", "LGCN", method=method) if "lgcn_64" not in cell.model]
        assert [f"{cell.percent:.2f}" for cell in found] == printed, method
        assert found


FILES = {
    "FFLD": "ffld",
    "LGCN": "local_global_context_network",
    "DeepPose ResNet-18": "deeppose_helen194",
    "Modified stacked hourglass": "modified_stacked_hourglass",
}


@pytest.mark.parametrize("quoted", QUOTED, ids=lambda each: f"{each.paper}-{each.value:g}")
def test_every_figure_of_the_texts_stands_in_its_text(quoted):
    assert f"{quoted.value:g}" in quoted.quote.replace("8.00", "8")
    assert quoted.quote in " ".join(text_of(FILES[quoted.paper]).split())


def test_no_table_of_a_paper_is_left_out():
    """Every table that prints results has its cells; FFLD's Table 7 is its CropNet's layers."""
    for paper, file in FILES.items():
        printed = set(re.findall(r"^(?:\*\*)?(Table \d)[.:]", text_of(file), re.MULTILINE))
        held = {cell.table for cell in PUBLISHED if cell.paper == paper and cell.table.startswith("Table")}
        assert printed - {"Table 7"} == held, paper


def test_an_unknown_protocol_lists_those_there_are():
    with pytest.raises(ValueError, match="300w common, 300w challenging"):
        get_protocol("300w", "easy")
