"""Landmarks of every face of a photo by two exported files, ONNX Runtime and OpenCV.

python export.py --model centernet_slim --out detector --onnx
python export.py --model ffld_resnet18 --out ffld --onnx --raw-input
python photo_to_points.py detector ffld photo.jpg
"""

import json
import sys

import cv2
import numpy as np
import onnxruntime
from use_exported import crop_face


def read(prefix):
    """A network as a function of its input, and what its .json says."""
    network = onnxruntime.InferenceSession(prefix + ".onnx", providers=["CPUExecutionProvider"])
    with open(prefix + ".json", encoding="utf-8") as file:
        return lambda data: network.run(None, {"data": data[None]})[0][0], json.load(file)


def look_once(photo, network, short_side, least_score):
    """Corners and sizes (n, 4) of what may be faces at one size of a photo, scores (n,), and factors to its pixels."""
    zoom = min(short_side / min(photo.shape[:2]), 2 * short_side / max(photo.shape[:2]))
    size = np.maximum(1, np.round(np.array(photo.shape[1::-1]) * zoom).astype(int))
    padded = np.zeros((*np.maximum(short_side, -(-size[::-1] // 32) * 32), 3), np.uint8)
    interpolation = cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR
    padded[: size[1], : size[0]] = cv2.resize(photo, size.tolist(), interpolation=interpolation)
    score, *distances = network(padded)
    peaks = score == cv2.dilate(score, np.ones((3, 3), np.uint8))
    rows, columns = np.nonzero(peaks & (score >= least_score))
    left, top, right, bottom = (each[rows, columns] for each in distances)
    boxes = np.c_[4 * columns + 2 - left, 4 * rows + 2 - top, left + right, top + bottom]
    return boxes, score[rows, columns], np.tile(photo.shape[1::-1] / size, 2)


def find_faces(photo, network, use):
    """Boxes (n, 4) of the faces of a photo (H, W, 3), tight around their landmarks."""
    found = []
    for look in use["looks"]:
        boxes, scores, factors = look_once(photo, network, look["short_side"], use["least_score"])
        large = boxes[:, 2] * boxes[:, 3] >= look["least_face"] ** 2
        found.append((boxes[large] * factors, scores[large]))
        if found[-1][1].max(initial=0) >= use["sure_score"]:
            break
    boxes, scores = map(np.concatenate, zip(*found))
    boxes = boxes[list(cv2.dnn.NMSBoxes(boxes.tolist(), scores.tolist(), 0.0, use["largest_overlap"]))]
    change = use["detector_box_to_landmark_box"]
    centres = boxes[:, :2] + boxes[:, 2:] * (0.5 + np.array([change["shift_x"], change["shift_y"]]))
    half = boxes[:, 2:] * np.array([change["width"], change["height"]]) / 2
    return np.hstack([centres - half, centres + half])


if __name__ == "__main__":
    (detector, about), (network, described) = map(read, sys.argv[1:3])
    image, spec = cv2.cvtColor(cv2.imread(sys.argv[3]), cv2.COLOR_BGR2RGB), described["spec"]
    for box in find_faces(image, detector, about["use"]):
        for _ in range(2):  # the second time in the tight box of the points
            crop, corner, side = crop_face(image, box, spec["size"], spec["box_margin"])
            points = corner + network(crop) * side - 0.5
            box = np.hstack([points.min(axis=0), points.max(axis=0)])
        print(json.dumps(points.round(2).tolist()))
