"""The tables of "Fine-grained facial landmark detection exploiting intermediate feature representations" (CVIU 2020).

Table 7, the CropNet's layers, is no result: tests/test_ffld.py holds the network to it.
"""

from __future__ import annotations

import math
from typing import Sequence

from evaluation.published.cells import ABSENT, Published, Quoted, Row

PAPER = "FFLD"
_QUARTER = "a quarter of the original's channels"
_COFW = "printed as face size; its values look like inter-pupil ones"
_VIDEO = "over the inter-ocular distance, eye corners or pupils (Sec. 6.2): the table does not say which"
_HEADINGS = "the available text of Table 5 lost two of its column headings"
_LOSSES = "stage losses of the refinement, in order"
_SUBSETS = ("common", "challenging", "full")
_CATEGORIES = ("category_1", "category_2", "category_3")

_MODELS = {
    "ResNet18": "resnet18_slim",
    "ResNet50": "resnet50_slim",
    "ResNet18-FFLD": "ffld_resnet18",
    "ResNet50-FFLD": "ffld_resnet50",
}

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
    ("Reg + SBR", (4.77, ABSENT)),
    ("CPM + SBR", (2.14, ABSENT)),
    ("JDR", (1.97, 1.69)),
    ("SAN", (1.91, 1.85)),
    ("DSRN", (1.86, ABSENT)),
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
        model = _MODELS.get(method, "")
        notes = "; ".join(text for text in (note, _QUARTER if model else "") if text)
        for subset, percent in zip(subsets, values):
            if not math.isnan(percent):
                cells.append(Published(PAPER, table, method, dataset, subset, normalizer, percent, model, notes, also))
    return cells


def _on_300w(table: str, method: str, percent: float, model: str, note: str) -> Published:
    return Published(PAPER, table, method, "300w", "full", "outer_eye", percent, model, note)


def _ablation(method: str, percent: float, note: str = "") -> Published:
    return _on_300w("Table 5", method, percent, "resnet18_slim" if "baseline" in method else "ffld_resnet18", note)


CELLS: tuple[Published, ...] = (
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
    _on_300w("Sec. 6.4", "baseline, L2", 5.14, "resnet18_slim", "plain instead of IOD-normalized L2 loss"),
    _on_300w("Sec. 6.4", "baseline, Norm L2", 4.98, "resnet18_slim", "IOD-normalized L2 loss, Eq. 1"),
)

_SPEED = "our 3-stage ResNet18-FFLD model runs at 130 fps on a NVIDIA 1080Ti GPU"
_SIZE = "Our model contains 1.46M parameters"
_OF_19 = "of the network for 19 landmarks; 68 landmarks take 2.28 million"
QUOTED: tuple[Quoted, ...] = (
    Quoted(PAPER, "Sec. 6.5", _SPEED, 130, "faces per second", "ffld_resnet18"),
    Quoted(PAPER, "Sec. 6.5", _SIZE, 1.46, "million parameters", "ffld_resnet18", _OF_19),
    Quoted(PAPER, "Sec. 6.5", "our networks require less than 2GB GPU memory", 2, "GB, batch 64", "ffld_resnet18"),
    Quoted(PAPER, "Sec. 6.3", "improved by nearly 25% compared to the baseline", 25, "% off the error, 300-W"),
    Quoted(PAPER, "Sec. 6.3", "significantly improved by a large margin of 25%", 25, "% off the error, AFLW"),
    Quoted(PAPER, "Sec. 6.3", "the performance is improved by more than 20%", 20, "% off the error, 300VW"),
)
