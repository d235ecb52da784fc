"""From a box to landmarks in the photo: crop, network, points back through the matrix; detectors, drawing."""

from inference.landmark_detector import LandmarkDetector

__all__ = ["LandmarkDetector"]
