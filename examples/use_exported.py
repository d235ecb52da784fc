"""Landmarks of one face in a photo by an exported network, ONNX Runtime and OpenCV; heatmaps: see PREFIX.json.

python export.py --model ffld_resnet18 --out ffld --onnx --raw-input
python use_exported.py ffld photo.jpg X0 Y0 X1 Y1   # tight box around the face's landmarks, pixels from 0
"""

import json
import sys

import cv2
import numpy as np
import onnxruntime


def crop_face(photo, box, size, margin, degrees=0.0):
    """The crop (size, size, 3) of a square about a box, and what takes fractions of it to pixels of the photo.

    The square is turned clockwise about its centre, as a face that is tilted by so many degrees is.
    """
    box, angle = np.array(box), np.radians(degrees)
    centre, side = (box[:2] + box[2:]) / 2, (1 + margin) * (box[2:] - box[:2]).max()
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])

    def to_photo(fractions):
        return centre + ((np.array(fractions) - 0.5) * side - 0.5) @ turn

    end, cell, limits = 1 + 0.5 / size, int(side / size), photo.shape[1::-1]
    corners = to_photo([[0, 0], [end, 0], [0, end], [end, end]])
    x0, y0 = np.clip(np.floor(corners.min(axis=0)) - cell - 2, 0, limits).astype(int)
    x1, y1 = np.clip(np.ceil(corners.max(axis=0)) + cell + 2, 0, limits).astype(int)
    part, factors = photo[y0:y1, x0:x1], np.ones(2)
    if side > 2 * size:  # shrinking to less than half averages first
        part = cv2.resize(part, ((x1 - x0) // cell, (y1 - y0) // cell), interpolation=cv2.INTER_AREA)
        factors = (x1 - x0, y1 - y0) / np.array(part.shape[1::-1])
    pixels = (np.array([[0, 0], [1, 0], [0, 1]]) + 0.5) / size  # the first one of the crop, and its neighbours
    first, right, below = (to_photo(pixels) - (x0, y0) + 0.5) / factors - 0.5
    from_crop = np.c_[right - first, below - first, first]
    return cv2.warpAffine(part, cv2.invertAffineTransform(from_crop), (size, size)), to_photo


if __name__ == "__main__":
    prefix, path, *box = sys.argv[1:]
    with open(prefix + ".json", encoding="utf-8") as file:
        spec = json.load(file)["spec"]
    photo = cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB)  # imread turns it upright
    crop, to_photo = crop_face(photo, [float(value) for value in box], spec["size"], spec["box_margin"])
    network = onnxruntime.InferenceSession(prefix + ".onnx", providers=["CPUExecutionProvider"])
    fractions = network.run(None, {"data": crop[None]})[0][0]  # (K, 2) of the crop
    for x, y in to_photo(fractions):
        print(f"{x:.3f} {y:.3f}")
