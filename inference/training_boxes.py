"""The box that a network was trained on, beside the one that detectors return.

`get_detector`'s boxes are tight around the 68 points of 300-W. A network of other points was trained on the tight box
of those, or on the boxes of its data set: the eyes' and the mouth's box is half as wide as the face's.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from datasets.faces import FaceDataset
from datasets.markups import IBUG_49, IBUG_51, IBUG_68, INSIGHTFACE_5, MARKUPS, Markup
from gluon_models.weights import WeightsInfo
from inference.detectors import BoxCorrection, get_detector, overlap, relative_boxes

SAME_BOX = BoxCorrection(0.0, 0.0, 1.0, 1.0)
_INNER = BoxCorrection(0.0, -0.115, 0.803, 0.769)
# From the box of 68 points to the box of those that they convert to: medians over the faces that
# inference/box_corrections.json was measured on. Nothing shifts sideways: faces have no preferred side.
KNOWN_BOXES = {
    IBUG_68.name: SAME_BOX,
    IBUG_51.name: _INNER,
    IBUG_49.name: _INNER,
    INSIGHTFACE_5.name: BoxCorrection(0.0, -0.069, 0.455, 0.507),
}
MEASURED = 64  # faces at most, evenly spread
LEAST_FOUND = 5  # of them, to measure on
SAME_FACE = 0.5  # of the smaller box, that a detected box and a face's own share


def whole_face_margin(margin: float, box: BoxCorrection) -> float:
    """The margin about a network's own box that shows what `margin` shows about the box of 68 points, or more."""
    return max(margin, round((1 + margin) / max(box.width, box.height) - 1, 3))


class MeasuredBox(NamedTuple):
    """How the boxes of a data set's faces lie in those of a detector.

    Attributes:
        correction: from the detector's box to theirs; None if too few were found.
        found: faces that the detector found.
        faces: that it was shown.
    """

    correction: BoxCorrection | None
    found: int
    faces: int


def known_box(markup: Markup) -> BoxCorrection | None:
    """What takes the tight box of 68 points to that of a markup's, where it is known."""
    return KNOWN_BOXES.get(markup.name) if markup in MARKUPS else None


def training_box(info: WeightsInfo) -> BoxCorrection:
    """What takes the tight box of 68 points to the box that a network was trained on."""
    if info.training_box is not None:
        return BoxCorrection(**info.training_box)
    return KNOWN_BOXES.get(info.markup, SAME_BOX) if info.markup_definition is None else SAME_BOX


def own_box(markup: Markup, info: WeightsInfo) -> BoxCorrection:
    """What takes the tight box of a markup's points to the box that a network, perhaps of another, was trained on."""
    if markup.name == info.markup:
        return SAME_BOX
    return (known_box(markup) or SAME_BOX).inverse().then(training_box(info))


def measure_box(faces: FaceDataset) -> MeasuredBox:
    """The median of what takes a detector's boxes to the faces' own.

    OpenCV's cascade is the detector: it is fast, and nothing of it lies on a GPU before workers are forked.
    """
    detect, rows = get_detector("haar"), []
    chosen = np.unique(np.linspace(0, len(faces) - 1, min(len(faces), MEASURED)).round().astype(int))
    for index in chosen:
        face = faces[int(index)]
        found = [each.box for each in detect(face.image, face.name)]
        box = max(found, key=lambda each: overlap(each, face.box), default=None)
        if box is not None and overlap(box, face.box) >= SAME_FACE:
            rows.append(relative_boxes(box[None], face.box[None])[0])
    correction = BoxCorrection(*np.median(rows, axis=0).round(3).tolist()) if len(rows) >= LEAST_FOUND else None
    return MeasuredBox(correction, len(rows), len(chosen))
