"""Published results, cell by cell, as printed: per cent, with where each stands and what it is measured in.

A normaliser is a name of evaluation.metrics.NORMALIZERS; "face_size" is the size of the box that comes with a data set,
one length per face; "" means that the paper does not say. A cell printed as a dash has no entry.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Sequence, Tuple


@dataclass(frozen=True)
class Published:
    """One cell of a published table.

    Attributes:
        paper: Short name of the paper the cell is printed in.
        table: Its table, or section where the figure stands in the text.
        method: The row's name as printed, without its citation.
        dataset: As in evaluation.protocols, such as "300w".
        subset: Part of the data set.
        normalizer: What the error is divided by.
        percent: Mean error over the faces, their median, or the area under the CED, per cent, as printed.
        model: The network of this project that the row describes, or "" for another paper's method.
        note: What a reader of the bare number would get wrong.
        also: Further normalisers that the number may be in, going by what is printed; no difference is taken in these.
        statistic: "mean", "median", or "auc" up to the protocol's threshold.
        without_outline: Whether it is of the 49 points inside the face alone.
    """

    paper: str
    table: str
    method: str
    dataset: str
    subset: str
    normalizer: str
    percent: float
    model: str = ""
    note: str = ""
    also: tuple[str, ...] = ()
    statistic: str = "mean"
    without_outline: bool = False


def find(model: str, dataset: str, subset: str) -> list[Published]:
    """The main result of a network of this project on a subset; empty if none is published.

    One cell per normaliser, or with and without outline.
    """
    return [
        cell
        for cell in PUBLISHED
        if (cell.model, cell.dataset, cell.subset) == (model, dataset, subset) and cell.table in MAIN_TABLES[cell.paper]
    ]


MAIN_TABLES: dict[str, tuple[str, ...]] = {
    "FFLD": ("Table 1", "Table 2", "Table 3", "Table 4"),
    "LGCN": ("Table 1",),
    "Modified stacked hourglass": ("Table 1",),
}

_QUARTER = "a quarter of the original's channels"
_COFW = "printed as face size; its values look like inter-pupil ones"
_VIDEO = "over the inter-ocular distance, eye corners or pupils (Sec. 6.2): the table does not say which"
_HEADINGS = "the available text of Table 5 lost two of its column headings"

_AREA = "by which rule the area is taken is not said; by FAN's, its author's later network shows"
_AREA_OF_FAN = "as [4], FAN, prints it, measured under conventions of its own (docs/protocols.md)"

_FFLD_MODELS = {
    "ResNet18": "resnet18_slim",
    "ResNet50": "resnet50_slim",
    "ResNet18-FFLD": "ffld_resnet18",
    "ResNet50-FFLD": "ffld_resnet50",
}

Row = Tuple[str, Tuple[float, ...]]
_ABSENT = float("nan")

_TABLE_1_PUPIL: Sequence[Row] = (
    ("ESR", (5.28, 17.00, 7.58)),
    ("SDM", (5.57, 15.40, 7.52)),
    ("LBF", (4.95, 11.98, 6.32)),
    ("TCDCN", (4.80, 8.60, 5.54)),
    ("CFSS", (4.73, 9.98, 5.76)),
    ("MDM", (4.83, 10.14, 5.88)),
    ("Lv et al.", (4.36, 7.56, 4.99)),
    ("AAN", (4.38, 9.44, 5.39)),
    ("ECT", (4.66, 7.96, 5.31)),
    ("DSRN", (4.12, 9.68, 5.21)),
    ("ResNet18", (6.37, 11.32, 7.34)),
    ("ResNet18-FFLD", (4.41, 8.14, 5.14)),
    ("ResNet50", (6.02, 10.65, 6.94)),
    ("ResNet50-FFLD", (4.25, 7.85, 4.92)),
)
_TABLE_1_CORNERS: Sequence[Row] = (
    ("PCD-DCNN", (3.67, 7.62, 4.44)),
    ("JDR", (3.68, 7.16, 4.36)),
    ("SAN", (3.34, 6.60, 3.98)),
    ("Reg + SBR", (7.93, 15.98, 9.46)),
    ("CPM + SBR", (3.28, 7.58, 4.10)),
    ("ODN", (3.56, 6.67, 4.17)),
    ("ADN", (3.50, 6.60, 4.14)),
    ("ResNet18", (4.38, 7.46, 4.98)),
    ("ResNet18-FFLD", (3.18, 5.64, 3.66)),
    ("ResNet50", (4.12, 7.05, 4.73)),
    ("ResNet50-FFLD", (3.06, 5.44, 3.50)),
)
_TABLE_2: Sequence[Row] = (
    ("SDM", (4.05, 2.94)),
    ("ERT", (4.35, 2.75)),
    ("LBF", (4.25, 2.74)),
    ("CFSS", (3.92, 2.68)),
    ("CCL", (2.72, 2.17)),
    ("DAC-CSR", (2.27, 1.81)),
    ("Reg + SBR", (4.77, _ABSENT)),
    ("CPM + SBR", (2.14, _ABSENT)),
    ("JDR", (1.97, 1.69)),
    ("SAN", (1.91, 1.85)),
    ("DSRN", (1.86, _ABSENT)),
    ("ODN", (1.63, 1.38)),
    ("ResNet18", (2.30, 1.99)),
    ("ResNet18-FFLD", (1.75, 1.52)),
    ("ResNet50", (2.13, 1.86)),
    ("ResNet50-FFLD", (1.62, 1.42)),
)
_TABLE_3: Sequence[Row] = (
    ("ESR", (11.20,)),
    ("CCR", (7.03,)),
    ("DAC-CSR", (6.03,)),
    ("ECT", (5.98,)),
    ("ODN", (5.30,)),
    ("ResNet18", (6.84,)),
    ("ResNet18-FFLD", (5.45,)),
    ("ResNet50", (6.53,)),
    ("ResNet50-FFLD", (5.32,)),
)
_TABLE_4: Sequence[Row] = (
    ("TCDCN", (7.66, 6.77, 15.00)),
    ("CFSS", (7.68, 6.42, 13.70)),
    ("HG", (5.44, 4.71, 7.92)),
    ("TSTN", (5.36, 4.51, 12.80)),
    ("DSRN", (5.33, 4.92, 8.85)),
    ("FHR", (5.07, 4.34, 7.36)),
    ("ADN", (4.69, 4.34, 6.72)),
    ("ResNet18", (5.86, 5.12, 9.14)),
    ("ResNet18-FFLD", (4.85, 4.24, 7.62)),
)
# Its methods in brackets are citations: FAN, MDM, TCDCN and CFSS.
_HOURGLASS_TABLE_1: dict[str, Sequence[tuple[str, float]]] = {
    "menpo_3d": (("Ours", 68.2), ("[4]", 67.5), ("[34]", 67.1), ("[40]", 47.9), ("[41]", 60.5)),
    "300w_3d": (("Ours", 74.6), ("[4]", 66.9), ("[34]", 58.1), ("[40]", 41.7), ("[41]", 55.9)),
}


def _table(
    table: str,
    dataset: str,
    subsets: Sequence[str],
    normalizer: str,
    rows: Sequence[Row],
    note: str = "",
    also: tuple[str, ...] = (),
) -> list[Published]:
    cells = []
    for method, values in rows:
        model = _FFLD_MODELS.get(method, "")
        notes = "; ".join(words for words in (note, _QUARTER if model else "") if words)
        for subset, percent in zip(subsets, values):
            if not math.isnan(percent):
                cells.append(Published("FFLD", table, method, dataset, subset, normalizer, percent, model, notes, also))
    return cells


def _areas(dataset: str, methods: Sequence[tuple[str, float]]) -> list[Published]:
    paper, normalizer = "Modified stacked hourglass", "box_geometric"
    return [
        Published(
            *(paper, "Table 1", method, dataset, "all", normalizer, percent),
            model="hourglass_resnet50" if method == "Ours" else "",
            note=_AREA if method == "Ours" else _AREA_OF_FAN,
            statistic="auc",
        )
        for method, percent in methods
    ]


def _on_300w(table: str, method: str, percent: float, model: str, note: str) -> Published:
    return Published("FFLD", table, method, "300w", "full", "outer_eye", percent, model, note)


def _ablation(method: str, percent: float, note: str = "") -> Published:
    return _on_300w("Table 5", method, percent, "resnet18_slim" if "baseline" in method else "ffld_resnet18", note)


WITH_SHAPE_MODEL = " + shape model"  # what the name of a network ends with whose maps are fitted by one

_LGCN_MODELS = {"Ours (no model fit)": ("lgcn_128", "lgcn_64"), "Ours": ("lgcn_128", "lgcn_64")}
_LGCN_SMALLER = "of a network with 128 filters; this one has 64"
_LGCN_SUBSETS = (
    ("300w", "challenging", "outer_eye"),
    ("300w", "common", "outer_eye"),
    ("menpo", "frontal", "box_mean"),
)
# On each subset with and without outline.
_LGCN_TABLE_1: Sequence[Row] = (
    ("CLNF", (6.37, 4.93, 3.47, 2.51, 2.66, 2.10)),
    ("SDM", (_ABSENT, 10.73, _ABSENT, 3.31, _ABSENT, 2.54)),
    ("CFAN", (8.38, 6.99, _ABSENT, _ABSENT, 2.87, 2.34)),
    ("DRMF", (10.36, 8.64, 4.97, 4.22, _ABSENT, 3.44)),
    ("CFSS", (5.97, 4.49, 3.20, 2.46, 2.32, 1.90)),
    ("TCDCN", (6.87, 5.56, 4.11, 3.32, 3.32, 2.81)),
    ("3DDFA", (12.31, 8.34, 7.27, 5.17, 4.51, 3.59)),
    ("PO-CR", (_ABSENT, 3.33, _ABSENT, 2.67, _ABSENT, 2.03)),
    ("CE-CLM", (5.62, 4.05, 3.13, 2.23, 2.23, 1.74)),
    ("Ours (no model fit)", (5.55, 4.36, 3.04, 2.34, 2.27, 1.90)),
    ("Ours", (5.29, 4.18, 2.86, 2.21, 2.14, 1.79)),
)


def _medians(method: str, values: tuple[float, ...], model: str = "", note: str = "") -> list[Published]:
    """A row of LGCN's Table 1 as that of one network."""
    columns = [(subset, without_outline) for subset in _LGCN_SUBSETS for without_outline in (False, True)]
    cells = []
    for ((dataset, subset, normalizer), without), percent in zip(columns, values):
        where = ("LGCN", "Table 1", method, dataset, subset, normalizer)
        if not math.isnan(percent):
            cells.append(Published(*where, percent, model, note, statistic="median", without_outline=without))
    return cells


def _lgcn_table_1() -> list[Published]:
    cells = []
    for method, values in _LGCN_TABLE_1:
        ending = WITH_SHAPE_MODEL if method == "Ours" else ""
        for model in _LGCN_MODELS.get(method, ("",)):
            note = _LGCN_SMALLER if model == "lgcn_64" else ""
            cells += _medians(method, values, model and model + ending, note)
    return cells


_SUBSETS = ("common", "challenging", "full")
_CATEGORIES = ("category_1", "category_2", "category_3")
_LOSSES = "stage losses of the refinement, in order"

PUBLISHED: tuple[Published, ...] = (
    *_table("Table 1", "300w", _SUBSETS, "pupil", _TABLE_1_PUPIL),
    *_table("Table 1", "300w", _SUBSETS, "outer_eye", _TABLE_1_CORNERS),
    *_table("Table 2", "aflw", ("full", "frontal"), "face_size", _TABLE_2),
    *_table("Table 3", "cofw", ("test",), "pupil", _TABLE_3, _COFW, also=("face_size",)),
    *_table("Table 4", "300vw", _CATEGORIES, "", _TABLE_4, _VIDEO, also=("outer_eye", "pupil")),
    _ablation("baseline, Norm L2", 4.98),
    _ablation("2 stages, L2/L2", 3.85, _LOSSES),
    _ablation("2 stages, L2/L1", 3.77, _LOSSES),
    _ablation("3 stages, L2/L2/L2", 3.81, _LOSSES),
    _ablation("3 stages, L1/L1/L1", 3.76, _LOSSES),
    _ablation("3 stages, AL/AL/AL", 3.95, _LOSSES + "; AL is the align loss"),
    _ablation("3 stages, losses not known", 3.72, _HEADINGS + ", so which losses this one is of is not known"),
    _ablation("3 stages, L2/L1/AL", 3.66, _HEADINGS + "; this one is the full method's, whose losses Sec. 4 gives"),
    _on_300w("Table 6", "no gradient into the feature maps", 3.78, "ffld_resnet18", ""),
    _on_300w("Table 6", "gradient through the crop location", 3.74, "ffld_resnet18", ""),
    _on_300w("Table 6", "gradient through the cropped values", 3.69, "ffld_resnet18", ""),
    _on_300w("Table 6", "both gradients", 3.66, "ffld_resnet18", ""),
    _on_300w("Sec. 6.4", "baseline, L2", 5.14, "resnet18_slim", "plain instead of IOD-normalised L2 loss"),
    _on_300w("Sec. 6.4", "baseline, Norm L2", 4.98, "resnet18_slim", "IOD-normalised L2 loss, Eq. 1"),
    *_lgcn_table_1(),
    *(cell for dataset, methods in _HOURGLASS_TABLE_1.items() for cell in _areas(dataset, methods)),
)
