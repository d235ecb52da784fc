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


def look_once(photo, network, use, name, least_score):
    """Corners and sizes (n, 4) of what may be faces, seen at one size of a photo, and scores (n,)."""
    look = use["looks"][name]
    short_side = look["short_side"]
    zoom = min(short_side / min(photo.shape[:2]), 2 * short_side / max(photo.shape[:2]))
    size = np.maximum(1, np.round(np.array(photo.shape[1::-1]) * zoom).astype(int))
    sides = -(-size[::-1] // look["padded_step"]) * look["padded_step"]
    padded = np.zeros((*np.maximum(short_side, sides), 3), np.uint8)
    interpolation = cv2.INTER_AREA if zoom < 0.5 else cv2.INTER_LINEAR
    padded[: size[1], : size[0]] = cv2.resize(photo, size.tolist(), interpolation=interpolation)
    score, *distances = network(padded)
    peaks = score == cv2.dilate(score, np.ones((3, 3), np.uint8))
    rows, columns = np.nonzero(peaks & (score >= least_score))
    left, top, right, bottom = (each[rows, columns] for each in distances)
    boxes = np.c_[4 * columns + 2 - left, 4 * rows + 2 - top, left + right, top + bottom]
    sizes = np.sqrt(boxes[:, 2] * boxes[:, 3])
    scores = score[rows, columns] * np.minimum(1, sizes / use["full_size"]) ** use["size_power"]
    counts = (sizes >= look["least_face"]) & (scores >= least_score)
    return boxes[counts] * np.tile(photo.shape[1::-1] / size, 2), scores[counts]


def highest(boxes, scores, least_score, largest_overlap):
    """The boxes of at least a score, and scores, that no higher one overlaps by more."""
    kept = list(cv2.dnn.NMSBoxes(boxes.tolist(), scores.tolist(), least_score, largest_overlap))
    return boxes[kept], scores[kept]


def overlap(one, other):
    """Intersection over union of two boxes, corners and sizes (4,)."""
    sides = np.minimum(one[:2] + one[2:], other[:2] + other[2:]) - np.maximum(one[:2], other[:2])
    shared = np.maximum(sides, 0).prod()
    return shared / (one[2:].prod() + other[2:].prod() - shared)


def find_faces(photo, network, use):
    """Boxes (n, 4) of the faces of a photo (H, W, 3), tight around their landmarks."""
    (doubtful, counts), most = use["doubtful_scores"], use["largest_overlap"]
    boxes, scores = highest(*look_once(photo, network, use, "first", doubtful), doubtful, most)
    if min(photo.shape[:2]) >= use["looks"]["closer"]["short_side"] and (scores < counts).any():
        closer, closer_scores = look_once(photo, network, use, "closer", doubtful)
        again = [any(overlap(box, seen) >= use["same_overlap"] for seen in boxes) for box in closer]
        boxes, scores = closer[again], closer_scores[again]
    if scores.max(initial=0) < use["sure_score"]:
        further = look_once(photo, network, use, "farther", doubtful)
        boxes, scores = np.concatenate([boxes, further[0]]), np.concatenate([scores, further[1]])
    boxes, _ = highest(boxes, scores, use["least_score"], most)
    change = use["detector_box_to_landmark_box"]
    centres = boxes[:, :2] + boxes[:, 2:] * (0.5 + np.array([change["shift_x"], change["shift_y"]]))
    half = boxes[:, 2:] * np.array([change["width"], change["height"]]) / 2
    return np.hstack([centres - half, centres + half])


def turned(points, degrees):
    """Points (n, 2) turned about the origin, clockwise."""
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return points @ np.array([[cosine, sine], [-sine, cosine]])


def upright_box(points, tilt):
    """The box (4,) about points along the axes of their tilted face, turned upright about its centre, and its tilt."""
    right, left, mouth = (points[tilt[part]].mean(axis=0) for part in ("right_eye", "left_eye", "mouth"))
    (x, y), (down_x, down_y) = left - right, mouth - (right + left) / 2
    degrees = np.degrees(np.arctan2(y - down_x, x + down_y))
    upright = turned(points, -degrees)
    centre = turned((upright.min(axis=0) + upright.max(axis=0)) / 2, degrees)
    return np.hstack([centre - np.ptp(upright, axis=0) / 2, centre + np.ptp(upright, axis=0) / 2]), degrees


def find_points(photo, box, network, described):
    """Landmarks (K, 2) of the face in a box: the second pass, and where it is tilted up to two more, see it upright."""
    spec, degrees = described["spec"], 0.0
    for number in range(4):
        crop, to_photo = crop_face(photo, box, spec["size"], spec["box_margin"], degrees)
        points = to_photo(network(crop))
        box, tilt = upright_box(points, described["use"]["tilt"])
        if number > 0 and abs((tilt - degrees + 180) % 360 - 180) <= described["use"]["tilt"]["largest"]:
            break
        degrees = tilt
    return points


if __name__ == "__main__":
    (detector, about), (network, described) = map(read, sys.argv[1:3])
    image = cv2.cvtColor(cv2.imread(sys.argv[3]), cv2.COLOR_BGR2RGB)
    for box in find_faces(image, detector, about["use"]):
        print(json.dumps(find_points(image, box, network, described).round(2).tolist()))
