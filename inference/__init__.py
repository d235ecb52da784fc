"""From a box to landmarks in the photo: crop, network, points back through the matrix; detectors, drawing."""
