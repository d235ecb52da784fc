"""Figures that a paper gives in its text alone, beside ours."""

from __future__ import annotations

import numpy as np

from evaluation.published import QUOTED, WITH_SHAPE_MODEL
from evaluation.summary import Evaluation

CROP = 256  # pixels: DeepPose counts its squared error in a crop of this side (Sec. III)
LARGE = 200  # squared pixels: "some outliers with MSE values above 200" (Sec. V)


def squared_errors(evaluation: Evaluation, box_margin: float, side: int = CROP) -> np.ndarray:
    """(n,) the mean squared error per coordinate of each face, in squared pixels of its crop; NaN if not found.

    Args:
        evaluation: what was measured, with the boxes that faces were cropped by.
        box_margin: the crop is a square of side (1 + box_margin) times the box's longer side.
        side: of the crop in pixels.

    Raises:
        ValueError: the evaluation has no boxes.
    """
    if evaluation.boxes is None:
        raise ValueError("squared pixels of the crop need the boxes that faces were cropped by")
    longer = (evaluation.boxes[:, 2:] - evaluation.boxes[:, :2]).max(axis=1)
    scale = side / ((1 + box_margin) * longer)
    squares = np.square((evaluation.predicted - evaluation.truth) * scale[:, None, None])
    errors = np.full(len(squares), np.nan)
    known = ~np.isnan(squares).all(axis=(1, 2))
    errors[known] = np.nanmean(squares[known], axis=(1, 2))
    return errors


def quoted_lines(evaluation: Evaluation, box_margin: float) -> list[str]:
    """Our figure and the paper's, ours | paper, for those quotes that speak of this network and these faces."""
    model, protocol = evaluation.model, evaluation.protocol
    lines = []
    if model == "deeppose_resnet18" and evaluation.boxes is not None and evaluation.found.any():
        test, validation = (_value(model, quote) for quote in ("mean MSE", "lowest validation loss"))
        errors = squared_errors(evaluation, box_margin)
        faces = f"{int((errors > LARGE).sum())} of {int(np.isfinite(errors).sum())} faces above {LARGE}"
        lines.append(
            f"mean squared error per coordinate at {CROP} px: {np.nanmean(errors):.2f} px², {faces} | paper: "
            f'{test:.2f} on HELEN\'s 330 test faces with 194 points, "some" above {LARGE}; '
            f"{validation:.2f} in validation"
        )
    if model.endswith(WITH_SHAPE_MODEL) and (protocol.dataset, protocol.subset) == ("300w", "full"):
        errors = evaluation.errors("outer_eye")
        above = int((~(errors <= 0.1)).sum())
        lines.append(f"faces above 10 %: {above} of {len(errors)} | paper: 4 of 689, lgcn_128 with shape model")
    return lines


def _value(model: str, part: str) -> float:
    return next(each.value for each in QUOTED if each.model == model and part in each.quote)
