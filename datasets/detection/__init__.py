"""Photos with face boxes: readers, and canvases made of photos of one face."""
