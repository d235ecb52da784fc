"""The face detector in front of the landmark networks: GluonCV's Faster R-CNN with one class."""
