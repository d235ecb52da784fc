"""From a box to landmarks in the photo: crop, network, points back through the matrix; detectors, drawing."""

from pathlib import Path

import datasets

_FOUND = getattr(datasets, "__file__", None) or str(datasets)
if Path(_FOUND).parent.parent != Path(__file__).parent.parent:
    raise ImportError(
        f"'datasets' is another package here, {_FOUND}: put this checkout first, sys.path.insert(0, CHECKOUT), before "
        "either is imported; one process cannot use both"
    )

from inference.landmark_detector import LandmarkDetector  # noqa: E402

__all__ = ["LandmarkDetector"]
