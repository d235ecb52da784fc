"""Published results, cell by cell, as printed: per cent, with where each stands and what it is measured in.

One module per paper. A normalizer is a name of evaluation.metrics.NORMALIZERS; "face_size" is the size of the box that
comes with a data set, one length per face; "" means that the paper does not say. A cell printed as a dash has no entry.
Of the five papers the one on region ResNets prints no figure at all: its Figs. 6 and 7 are curves.
"""

from __future__ import annotations

from evaluation.published import deeppose, ffld, hourglass, lgcn
from evaluation.published.cells import Published, Quoted
from evaluation.published.lgcn import WITH_SHAPE_MODEL
from evaluation.published.newer import CONTEXT

__all__ = ["CONTEXT", "MAIN_TABLES", "PUBLISHED", "QUOTED", "WITH_SHAPE_MODEL", "Published", "Quoted", "find"]

PUBLISHED: tuple[Published, ...] = (*ffld.CELLS, *lgcn.CELLS, *hourglass.CELLS)
QUOTED: tuple[Quoted, ...] = (*ffld.QUOTED, *lgcn.QUOTED, *deeppose.QUOTED)

# Where the papers compare whole methods; their other tables take one apart.
MAIN_TABLES: dict[str, tuple[str, ...]] = {
    ffld.PAPER: ("Table 1", "Table 2", "Table 3", "Table 4"),
    lgcn.PAPER: ("Table 1",),
    hourglass.PAPER: ("Table 1",),
}


def find(model: str, dataset: str, subset: str) -> list[Published]:
    """The main result of a network of this project on a subset; empty if none is published.

    One cell per normalizer, or with and without outline.
    """
    return [
        cell
        for cell in PUBLISHED
        if (cell.model, cell.dataset, cell.subset) == (model, dataset, subset) and cell.table in MAIN_TABLES[cell.paper]
    ]
