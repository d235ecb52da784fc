"""Faces with landmarks: readers, rendered faces, markups, geometry and augmentation. Needs NumPy, OpenCV and Pillow, not MXNet."""
