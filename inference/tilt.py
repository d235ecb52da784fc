"""How far a face is tilted in its picture, so that it can be cropped upright: docs/video.md has what that gains."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from datasets.geometry import compose, crop_matrix, landmark_box, similarity_matrix, square_box, transform_points
from datasets.markups import Markup
from gluon_models.spec import InputSpec

LARGEST_TILT = 20.0  # degrees in a crop, to which networks are as accurate as on upright faces


class TiltedBox(NamedTuple):
    """Where a face is.

    Attributes:
        box: (4,) x0, y0, x1, y1 of the face once it is turned upright about the box's centre.
        degrees: that it is tilted by, clockwise.
    """

    box: np.ndarray
    degrees: float = 0.0

    def matrix(self, spec: InputSpec) -> np.ndarray:
        """Image-to-crop matrix (2, 3) of the upright crop; ValueError if the box has no area."""
        crop = crop_matrix(square_box(self.box, spec.box_margin), spec.size)
        if not self.degrees:
            return crop
        x, y = 0.5 * (self.box[:2] + self.box[2:])
        return compose(crop, similarity_matrix((x, y), -self.degrees, 1.0, (0.0, 0.0)))


def is_tilted(face: TiltedBox, crop: TiltedBox) -> bool:
    """Whether a face is tilted too far in the crop in which it was found."""
    return abs((face.degrees - crop.degrees + 180) % 360 - 180) > LARGEST_TILT


def tilt_degrees(points: np.ndarray, markup: Markup | None) -> float:
    """Clockwise tilt of a face with points (K, 2), -180 to 180; 0 without a markup that marks the eyes.

    The line between the eyes counts, and the one from them down to the mouth, each by its length: seen from the side,
    the first one is short and leans by chance.
    """
    parts = {name: points[indices].mean(axis=0) for name, indices in tilt_points(markup).items()} if markup else {}
    if not parts:
        return 0.0
    x, y = parts["left_eye"] - parts["right_eye"]
    if "mouth" in parts:
        down_x, down_y = parts["mouth"] - 0.5 * (parts["right_eye"] + parts["left_eye"])
        x, y = x + down_y, y - down_x
    return float(np.degrees(np.arctan2(y, x)))


def tilt_points(markup: Markup) -> dict[str, list[int]]:
    """The points that `tilt_degrees` reads, by name; none if the markup lacks the eyes."""
    if markup.pupils is None:
        return {}
    parts = {"right_eye": markup.pupils[0], "left_eye": markup.pupils[1], "mouth": markup.regions.get("mouth", ())}
    return {name: list(indices) for name, indices in parts.items() if indices}


def upright_box(points: np.ndarray, markup: Markup | None) -> TiltedBox:
    """The tight box of points (K, 2) along the axes of the tilted face."""
    degrees = tilt_degrees(points, markup)
    if not degrees:
        return TiltedBox(landmark_box(points))
    turned = landmark_box(transform_points(points, similarity_matrix((0.0, 0.0), -degrees, 1.0, (0.0, 0.0))))
    centre = transform_points(0.5 * (turned[:2] + turned[2:]), similarity_matrix((0.0, 0.0), degrees, 1.0, (0.0, 0.0)))
    half = 0.5 * (turned[2:] - turned[:2])
    return TiltedBox(np.concatenate([centre - half, centre + half]), degrees)
