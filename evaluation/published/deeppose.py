"""What "Facial landmarks detection with ResNet18" (Zupančič, CS231n 2022/23) measures: it has no table.

Beside the figures its text gives, Figs. 3 to 6 show curves and faces without numbers.
"""

from __future__ import annotations

from evaluation.published.cells import Quoted

PAPER = "DeepPose ResNet-18"
_MODEL = "deeppose_resnet18"
_UNIT = "squared pixels"
_SCALE = "per coordinate, in pixels of a 256 px picture by what its training does; the paper says neither"
_OUTLIERS = "there were some outliers with MSE values above 200"

QUOTED: tuple[Quoted, ...] = (
    Quoted(PAPER, "Sec. V", "When tested on 330 samples, the mean MSE was 27.84", 27.84, _UNIT, _MODEL, _SCALE),
    Quoted(PAPER, "Sec. V", "The lowest validation loss of 8.00", 8.00, _UNIT, _MODEL, _SCALE),
    Quoted(PAPER, "Sec. V", _OUTLIERS, 200, _UNIT, _MODEL, _SCALE),
)
