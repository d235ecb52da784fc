"""The small face detector as files that run without this project; its graph takes photos of any size [B18]."""

from __future__ import annotations

from typing import Any

import mxnet as mx
import numpy as np

from gluon_models.detector import centernet
from inference.detectors import CORRECTIONS, LARGEST_OVERLAP, CenterNetDetector
from inference.exported import INPUT, Exporter, Runner, Shape

OUTPUT = "faces"
TOLERANCE = {"rtol": 1e-3, "atol": 1e-3}  # pixels and probabilities, between the network and what was written


class DetectorExporter(Exporter):
    """Writes the detector with its normalization in the graph.

    Args:
        net: filled.
        ctx: where its parameters are.
    """

    def __init__(self, net: centernet.CenterNet, ctx: mx.Context) -> None:
        super().__init__(centernet.CenterBoxes(net), centernet.SPEC, True, ctx, OUTPUT)

    def shapes(self, crops: np.ndarray) -> tuple[Shape, Shape]:
        """Photos of any number and size, and their maps."""
        return ("batch", "height", "width", 3), ("batch", 5, "rows", "columns")

    def largest_difference(self, run: Runner, crops: np.ndarray) -> float:
        """Largest difference of a written network's distances from this one's, in pixels of photos (N, H, W, 3).

        Raises:
            ValueError: a probability or a distance differs by more than `TOLERANCE`.
        """
        expected, got = self.output(crops), run(self.feed(crops))
        worst = float(np.abs(got - expected)[:, 1:].max())
        if not np.allclose(got, expected, **TOLERANCE):
            raise ValueError(f"what was written differs from the network by {worst:.3g} in {len(crops)} photos")
        return worst


def describe_detector() -> dict[str, Any]:
    """What goes into the graph, what comes out, and how outputs become boxes of faces."""
    step = centernet.SIDE_STEP
    return {
        "normalization_in_graph": True,
        "input": {
            "name": INPUT,
            "shape": ["N", "H", "W", 3],
            "type": "uint8",
            "meaning": f"photos, RGB, 0 to 255; H and W are multiples of {step}",
        },
        "output": {
            "name": OUTPUT,
            "type": "float32",
            "shape": ["N", 5, f"H / {centernet.STRIDE}", f"W / {centernet.STRIDE}"],
            "meaning": "of each cell the probability that a face's centre lies there, and the distances in pixels "
            "from the cell's middle to the box's left, top, right and bottom; skip cells with a higher neighbour",
        },
        "use": {
            "photo": "seen at the first look's size; if it has the closer one's pixels, too, and a box whose score is "
            "doubtful, again at that size: its boxes take the place of the others, if they overlap one of these by at "
            "least same_overlap; where no face is sure, the boxes of the farther look are added",
            "look": "the photo's shorter side has short_side pixels, the longer one at most twice as many; zooms below "
            f"{centernet.LEAST_BILINEAR} average over areas, others are bilinear; padded with black at right and "
            "bottom to multiples of padded_step, at least short_side. A box counts if its size, the root of its "
            "area, is at least least_face pixels there; its score is the probability times min(1, size / full_size) to "
            "the power of size_power",
            "looks": {name: look._asdict() for name, look in centernet.LOOKS.items()},
            "doubtful_scores": centernet.DOUBTFUL,
            "full_size": centernet.FULL_SIZE,
            "size_power": centernet.SIZE_POWER,
            "same_overlap": centernet.SAME,
            "sure_score": centernet.SURE,
            "least_score": CenterNetDetector.least_score,
            "largest_overlap": LARGEST_OVERLAP,
            "cell_to_centre": f"x = {centernet.STRIDE} * (column + 0.5), and y alike",
            "detector_box_to_landmark_box": {
                "meaning": "the centre moves by shift times the box's width and height, which are then multiplied by "
                "width and height; run the landmark network twice, the second time on the tight box of its points",
                **CORRECTIONS[centernet.NAME]._asdict(),
            },
        },
    }
