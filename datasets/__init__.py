"""Faces with landmarks: readers, rendered faces, markups, geometry, augmentation. Works where there is no MXNet."""
