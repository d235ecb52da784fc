"""What newer systems report on the same subsets, for context: from none of the five papers, trained on other terms."""

from __future__ import annotations

from evaluation.published.cells import Published

_REPORTED = "as its authors report it; not checked against the paper's own table"
_AREA = "area to 8 %; by which rule is not known"


def _cell(method: str, dataset: str, subset: str, normalizer: str, percent: float) -> Published:
    return Published(method, "its own table", method, dataset, subset, normalizer, percent, note=_REPORTED)


CONTEXT: tuple[Published, ...] = (
    _cell("D-ViT", "300w", "full", "outer_eye", 2.85),
    _cell("STAR", "300w", "full", "outer_eye", 2.87),
    _cell("STAR", "300w", "common", "outer_eye", 2.52),
    _cell("STAR", "300w", "challenging", "outer_eye", 4.32),
    Published(
        *("SPIGA", "its own table", "SPIGA", "300w", "private", "outer_eye", 57.27),
        note=f"{_AREA}; {_REPORTED}",
        statistic="auc",
    ),
    _cell("D-ViT", "cofw", "test", "pupil", 4.13),
    _cell("D-ViT", "wflw", "test", "outer_eye", 3.75),
)
