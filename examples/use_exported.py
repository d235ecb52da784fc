"""Landmarks of one face in a photo by an exported network, ONNX Runtime and OpenCV; heatmaps: see PREFIX.json.

python export.py --model ffld_resnet18 --out ffld --onnx --raw-input
python use_exported.py ffld photo.jpg X0 Y0 X1 Y1   # tight box around the face's landmarks, pixels from 0
"""

import json
import sys

import cv2
import numpy as np
import onnxruntime


def crop_face(photo, box, size, margin):
    """The crop (size, size, 3) of a square about a box, the square's corner and its side in pixels of the photo."""
    box = np.array(box)
    side = (1 + margin) * (box[2:] - box[:2]).max()
    corner, cell, limits = (box[:2] + box[2:] - side) / 2, int(side / size), photo.shape[1::-1]
    x0, y0 = np.clip(np.floor(corner - 0.5) - cell - 2, 0, limits).astype(int)
    x1, y1 = np.clip(np.ceil(corner + (size + 0.5) * side / size - 0.5) + cell + 2, 0, limits).astype(int)
    part, factors = photo[y0:y1, x0:x1], np.ones(2)
    if side > 2 * size:  # shrinking to less than half averages first
        part = cv2.resize(part, ((x1 - x0) // cell, (y1 - y0) // cell), interpolation=cv2.INTER_AREA)
        factors = (x1 - x0, y1 - y0) / np.array(part.shape[1::-1])
    shift = (0.5 * factors + (x0, y0) - corner) * size / side - 0.5
    return cv2.warpAffine(part, np.c_[np.diag(factors * size / side), shift], (size, size)), corner, side


if __name__ == "__main__":
    prefix, path, *box = sys.argv[1:]
    with open(prefix + ".json", encoding="utf-8") as file:
        spec = json.load(file)["spec"]
    photo = cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB)  # imread turns it upright
    crop, corner, side = crop_face(photo, [float(value) for value in box], spec["size"], spec["box_margin"])
    network = onnxruntime.InferenceSession(prefix + ".onnx", providers=["CPUExecutionProvider"])
    fractions = network.run(None, {"data": crop[None]})[0][0]  # (K, 2) of the crop
    for x, y in corner + fractions * side - 0.5:
        print(f"{x:.3f} {y:.3f}")
