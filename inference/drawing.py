"""Faces drawn on a copy of their image: box, outlines of the regions, landmarks."""

from __future__ import annotations

from typing import Sequence, Tuple

import cv2
import numpy as np

from datasets.markups import Markup
from inference.landmark_detector import LocatedFace

Colour = Tuple[int, int, int]

# RGB, from the palette of M. Okabe and K. Ito, "Color universal design", 2008, whose colours stay apart for the colour
# blind; the dark rim of each dot sets it off from skin of any tone.
_JAW, _BROW, _NOSE, _EYE, _MOUTH = (86, 180, 233), (230, 159, 0), (240, 228, 66), (0, 158, 115), (204, 121, 167)
REGION_COLOURS: dict[str, Colour] = {
    "jaw": _JAW,
    "right_brow": _BROW,
    "left_brow": _BROW,
    "nose": _NOSE,
    "right_eye": _EYE,
    "left_eye": _EYE,
    "mouth": _MOUTH,
}
WHITE: Colour = (255, 255, 255)
DARK: Colour = (30, 30, 30)

_SHIFT = 4  # OpenCV's fixed-point coordinates: sixteenths of a pixel
_FAR = 1 << 20  # pixels; beyond, they would not fit OpenCV's 32 bits
_LEAST_BOX_LINE = 0.8  # pixels: thinner lines are lost where a picture is shown smaller
_LEAST_LABEL_LINE = 0.6  # which makes digits of 9 pixels
_FINE = 4  # small faces are drawn so many times larger at most, then scaled down: OpenCV has no line below one pixel


def draw_faces(
    image: np.ndarray,
    faces: Sequence[LocatedFace],
    markup: Markup,
    labels: Sequence[str] | None = None,
    indices: bool = False,
) -> np.ndarray:
    """A copy of an image with its faces drawn on it; line width and dots follow each face's size.

    Args:
        image: (H, W, 3) uint8 RGB.
        faces: boxes and points in its pixels.
        markup: of the points.
        labels: a few letters for each face's box, such as its number.
        indices: write each landmark's number, from 0, beside it.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    drawn = image.copy()
    for face, label in zip(faces, labels or [""] * len(faces)):
        _draw_face(drawn, face, markup, label)
        if indices:
            _draw_indices(drawn, face)
    return drawn


def _draw_face(image: np.ndarray, face: LocatedFace, markup: Markup, label: str) -> None:
    # A box may be larger than the photo; its lines need not be.
    size = min(float((face.box[2:] - face.box[:2]).mean()), max(image.shape))
    line_width = max(0.35, size / 180)
    corner, region = _region(image, face, 8 * line_width)
    if region.size == 0:
        return
    fine = int(np.clip(np.ceil(1.5 / line_width), 1, _FINE))
    height, width = region.shape[:2]
    # Repeating pixels and averaging them again leaves those that nothing is drawn on as they were.
    canvas = cv2.resize(region, (width * fine, height * fine), interpolation=cv2.INTER_NEAREST)

    def to_canvas(points: np.ndarray) -> np.ndarray:
        return (np.clip(points, -_FAR, _FAR) - corner + 0.5) * fine - 0.5

    _draw_box(canvas, to_canvas(face.box.reshape(2, 2)), max(line_width, _LEAST_BOX_LINE) * fine)
    _draw_points(canvas, to_canvas(face.points), markup, line_width * fine)
    _draw_label(canvas, to_canvas(face.box[:2]), label, max(line_width, _LEAST_LABEL_LINE) * fine)
    region[:] = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)


def _draw_indices(image: np.ndarray, face: LocatedFace) -> None:
    size = float((face.box[2:] - face.box[:2]).mean())
    scale = float(np.clip(size / 700, 0.25, 1.0))
    for index, point in enumerate(np.clip(face.points, -_FAR, _FAR)):
        corner = tuple(int(value) for value in np.round(point + np.array([3 * scale, -3 * scale])))
        for colour, width in ((DARK, 3), (WHITE, 1)):
            cv2.putText(image, str(index), corner, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, width, cv2.LINE_AA)


def _region(image: np.ndarray, face: LocatedFace, border: float) -> tuple[np.ndarray, np.ndarray]:
    """The top left pixel (2,) of the part of the image that a face's drawing covers, and that part as a view."""
    height, width = image.shape[:2]
    corners = np.concatenate([face.points, face.box.reshape(2, 2)])
    x0, y0 = np.clip(np.floor(corners.min(axis=0) - border), 0, (width, height)).astype(int)
    x1, y1 = np.clip(np.ceil(corners.max(axis=0) + border) + 1, 0, (width, height)).astype(int)
    return np.array([x0, y0]), image[y0:y1, x0:x1]


def _fixed(points: np.ndarray) -> np.ndarray:
    return np.round(points * (1 << _SHIFT)).astype(np.int32)


def _draw_box(canvas: np.ndarray, corners: np.ndarray, line_width: float) -> None:
    (x0, y0), (x1, y1) = corners
    outline = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
    _draw_line(canvas, outline, True, DARK, 2.0 * line_width)
    _draw_line(canvas, outline, True, WHITE, line_width)


def _draw_label(canvas: np.ndarray, corner: np.ndarray, label: str, line_width: float) -> None:
    """Inside the top left corner of a box."""
    scale = 0.7 * line_width
    (_, height), _ = cv2.getTextSize(label, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    x, y = np.round(np.clip(corner, -_FAR, _FAR) + 4 * line_width + (0, height)).astype(int).tolist()
    for colour, width in ((DARK, 4.0 * line_width), (WHITE, 1.5 * line_width)):
        thickness = max(1, round(width))
        cv2.putText(canvas, label, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, colour, thickness, cv2.LINE_AA)


def _draw_points(canvas: np.ndarray, points: np.ndarray, markup: Markup, line_width: float) -> None:
    colours = _colours(markup)
    for indices, closed in markup.lines:
        _draw_line(canvas, points[list(indices)], closed, colours[indices[0]], line_width)
    for radius, dark in ((2.4 * line_width, True), (1.7 * line_width, False)):
        for point, colour in zip(points, colours):
            centre = tuple(int(value) for value in _fixed(point))
            cv2.circle(canvas, centre, int(radius * (1 << _SHIFT)), DARK if dark else colour, -1, cv2.LINE_AA, _SHIFT)


def _draw_line(canvas: np.ndarray, points: np.ndarray, closed: bool, colour: Colour, line_width: float) -> None:
    cv2.polylines(canvas, [_fixed(points)], closed, colour, max(1, round(line_width)), cv2.LINE_AA, _SHIFT)


def _colours(markup: Markup) -> list[Colour]:
    """A colour for each landmark; white for those in no region."""
    colours = [WHITE] * markup.num_landmarks
    for region, indices in markup.regions.items():
        for index in indices:
            colours[index] = REGION_COLOURS[region]
    return colours
