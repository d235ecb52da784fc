"""Table 1 of "Modified stacked hourglass networks for facial landmarks detection" (Hoang and Jo, ACIIDS 2019)."""

from __future__ import annotations

from typing import Sequence

from evaluation.published.cells import Published

PAPER = "Modified stacked hourglass"
_AREA = "by which rule the area is taken is not said; by FAN's, its author's later network shows"
_AREA_OF_FAN = "as [4], FAN, prints it, by conventions of its own, most probably on 2-D points (docs/protocols.md)"

# Its methods in brackets are citations: FAN, MDM, TCDCN and CFSS.
_TABLE_1: dict[str, Sequence[tuple[str, float]]] = {
    "menpo_3d": (("Ours", 68.2), ("[4]", 67.5), ("[34]", 67.1), ("[40]", 47.9), ("[41]", 60.5)),
    "300w_3d": (("Ours", 74.6), ("[4]", 66.9), ("[34]", 58.1), ("[40]", 41.7), ("[41]", 55.9)),
}

CELLS: tuple[Published, ...] = tuple(
    Published(
        *(PAPER, "Table 1", method, dataset, "all", "box_geometric", percent),
        model="hourglass_resnet50" if method == "Ours" else "",
        note=_AREA if method == "Ours" else _AREA_OF_FAN,
        statistic="auc",
    )
    for dataset, methods in _TABLE_1.items()
    for method, percent in methods
)
