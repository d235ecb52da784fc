"""Table 1 of "Robust facial landmark detection via a fully-convolutional local-global context network" (CVPR 2018)."""

from __future__ import annotations

import math
from typing import Sequence

from evaluation.published.cells import ABSENT, Published, Quoted, Row

PAPER = "LGCN"
WITH_SHAPE_MODEL = " + shape model"  # what the name of a network ends with whose maps are fitted by one

_MODELS = {"Ours (no model fit)": ("lgcn_128", "lgcn_64"), "Ours": ("lgcn_128", "lgcn_64")}
_SMALLER = "of a network with 128 filters; this one has 64"
_IMAGE_SIZE = "printed as normalized by the image's size; read as (w + h) / 2 of the tight box, as Zadeh et al. do"
_SUBSETS = (
    ("300w", "challenging", "outer_eye", ""),
    ("300w", "common", "outer_eye", ""),
    ("menpo", "frontal", "box_mean", _IMAGE_SIZE),
)
# Medians, on each subset with and without outline.
_TABLE_1: Sequence[Row] = (
    ("CLNF", (6.37, 4.93, 3.47, 2.51, 2.66, 2.10)),
    ("SDM", (ABSENT, 10.73, ABSENT, 3.31, ABSENT, 2.54)),
    ("CFAN", (8.38, 6.99, ABSENT, ABSENT, 2.87, 2.34)),
    ("DRMF", (10.36, 8.64, 4.97, 4.22, ABSENT, 3.44)),
    ("CFSS", (5.97, 4.49, 3.20, 2.46, 2.32, 1.90)),
    ("TCDCN", (6.87, 5.56, 4.11, 3.32, 3.32, 2.81)),
    ("3DDFA", (12.31, 8.34, 7.27, 5.17, 4.51, 3.59)),
    ("PO-CR", (ABSENT, 3.33, ABSENT, 2.67, ABSENT, 2.03)),
    ("CE-CLM", (5.62, 4.05, 3.13, 2.23, 2.23, 1.74)),
    ("Ours (no model fit)", (5.55, 4.36, 3.04, 2.34, 2.27, 1.90)),
    ("Ours", (5.29, 4.18, 2.86, 2.21, 2.14, 1.79)),
)


def _cells(method: str, values: tuple[float, ...], model: str = "", note: str = "") -> list[Published]:
    """A row as that of one network."""
    columns = [(subset, without_outline) for subset in _SUBSETS for without_outline in (False, True)]
    cells = []
    for ((dataset, subset, normalizer, unclear), without), percent in zip(columns, values):
        if not math.isnan(percent):
            notes = "; ".join(text for text in (note, unclear) if text)
            where = (PAPER, "Table 1", method, dataset, subset, normalizer)
            cells.append(Published(*where, percent, model, notes, statistic="median", without_outline=without))
    return cells


def _table_1() -> list[Published]:
    cells = []
    for method, values in _TABLE_1:
        ending = WITH_SHAPE_MODEL if method == "Ours" else ""
        for model in _MODELS.get(method, ("",)):
            cells += _cells(method, values, model and model + ending, _SMALLER if model == "lgcn_64" else "")
    return cells


CELLS: tuple[Published, ...] = tuple(_table_1())

_ROBUST = "Only 4 of the 689 300-W test images have an error of more than 10% IOD"
QUOTED: tuple[Quoted, ...] = (
    Quoted(PAPER, "Sec. 4.1", _ROBUST, 4, "of 689 faces", "lgcn_128" + WITH_SHAPE_MODEL, "with outline"),
    Quoted(PAPER, "Sec. 4.1", "CE-CLM [40] fails for 28 images", 28, "of 689 faces"),
    Quoted(PAPER, "Sec. 4", "training runs at about 20 samples per second", 20, "faces per second", "lgcn_128"),
    Quoted(PAPER, "Sec. 4", "takes about 2.5 hours per augmentation", 2.5, "hours on a GTX 1080 Ti", "lgcn_128"),
    Quoted(PAPER, "Sec. 4", "the error can be reduced by 5", 5, "per cent at least, by ten predictions", "lgcn_128"),
)
