"""What a published figure is made of: a cell of a table, or a number that stands in the text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Tuple

ABSENT = float("nan")  # a cell printed as a dash
Row = Tuple[str, Tuple[float, ...]]  # a method as printed, without its citation, and its cells


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
        also: Further normalizers that the number may be in, going by what is printed; no difference is taken in these.
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


@dataclass(frozen=True)
class Quoted:
    """A figure that a paper gives in its text alone.

    Attributes:
        paper: Short name of the paper.
        section: Where it stands.
        quote: The words it stands in, as printed.
        value: The figure.
        unit: What it counts.
        model: The network of this project that it is of, or "".
        note: What a reader of the bare number would get wrong.
    """

    paper: str
    section: str
    quote: str
    value: float
    unit: str
    model: str = ""
    note: str = ""
