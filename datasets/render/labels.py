"""Where 300-W's annotators place the 68 points of a rendered head: along the visible contour, and off the anatomy."""

from __future__ import annotations

import numpy as np

from datasets.render.mesh import CONTROLS, Pose, both_sides, project, spline_weights

# Where 300-W's annotators place the points of the right half and the midline, from the anatomical ones, as x, y in mm:
# the median error, on the frontal ones of 300-W's validation faces, of a network that had seen rendered faces alone (of
# mouths: the closed ones).
_ANNOTATED = (
    (3, -3), (2.5, -1), (2, 1), (2, 4.5), (-1, 1.5), (-0.5, 1), (0, 1), (0, 0), (0, -0.5),
    (-1, -2), (0, -1.5), (0, -2), (0.5, -2), (2.5, 0.5),
    (0, 2), (0, 1.5), (0, 1.5), (0, 2), (3, 4.5), (1.5, 3.5), (0, 4),
    (3.5, -0.5), (2, -0.5), (1, -0.5), (-1.5, 1), (0, 0), (0.5, 0),
    (2.5, 1), (1, 2), (-0.5, 3.5), (0, 4), (0, 3.5), (2, 4), (2, 4), (3, 1.5), (1.5, 2), (0, 2), (0, 2.5), (1.5, 2.5),
)  # fmt: skip
# The same of the last twelve, the lips, where the mouth is wide open: the upper lip and the corners are then where the
# anatomy has them.
_ANNOTATED_OPEN = (
    (0, 0), (-4, -0.5), (-1.5, 1), (0, 0.5), (0, 5), (0.5, 5), (-2.5, 3),
    (0, 0.5), (-0.5, -1), (0, -2), (0, 5), (-0.5, 4.5),
)  # fmt: skip
_CLOSED, _WIDE_OPEN = 1.0, 10.0  # mm between the inner lips


def _contour_tracks() -> np.ndarray:
    """(17, T, 2) plane points: from just behind each jaw landmark along the cheek towards the face's middle."""
    start = CONTROLS.plane[:17]
    inner = np.stack([np.sign(start[:, 0]) * 30, start[:, 1]], axis=1)
    # Annotators space the points evenly along the contour, so a point that slides inwards also rises.
    inner[:, 1] -= 30 * np.sin(np.pi * np.clip((start[:, 1] - 25) / 88, 0, 1)) ** 0.7
    inner[4:13, 0] = start[4:13, 0] * 0.15
    beyond = start + 0.07 * (start - (0, 10)) * np.clip((start[:, 1:] - 15) / 30, 0, 1)
    steps = np.linspace(0, 1, 28)[None, :, None]
    return beyond[:, None] * (1 - steps) + inner[:, None] * steps


_TO_ANNOTATED = both_sides(_ANNOTATED)
_TO_ANNOTATED_OPEN = both_sides(_ANNOTATED[: -len(_ANNOTATED_OPEN)] + _ANNOTATED_OPEN)
_TRACK_WEIGHTS = spline_weights(_contour_tracks().reshape(-1, 2))
# The way out of the face at each jaw point of a frontal head, as a unit vector; image right and down.
_OUTWARD = np.radians([180, 180, 178, 172, 164, 150, 128, 108, 90, 72, 52, 30, 16, 8, 2, 0, 0])
_OUT_X, _OUT_Y = np.cos(_OUTWARD), np.sin(_OUTWARD)


def landmarks_3d(controls: np.ndarray, pose: Pose) -> np.ndarray:
    """The 68 anatomical landmarks (68, 3) in the head's frame, mm, with the jaw on the contour that the camera sees.

    The annotators of 300-W drew points 0 to 16 along the visible contour: where the head turns and the cheek hides the
    edge of the jaw, the point slides along the surface to the cheek's silhouette. Each jaw point looks along its own
    track on the sheet for the place that lies furthest outwards in the (unrolled) picture.
    """
    tracks = (_TRACK_WEIGHTS @ controls).reshape(17, -1, 3)
    upright = project(tracks, Pose(pose.yaw, pose.pitch, 0.0, pose.distance))
    out_y = _OUT_Y.copy()
    far = slice(9, 17) if pose.yaw > 0 else slice(0, 8)
    out_y[far] *= 1 - 0.9 * min(abs(pose.yaw) / 35, 1)  # on the far side of a turned head the contour is upright
    out_x = np.sign(_OUT_X) * np.sqrt(1 - out_y**2)
    outwards = upright[..., 0] * out_x[:, None] + upright[..., 1] * out_y[:, None]
    landmarks = controls[:68].copy()
    landmarks[:17] = tracks[np.arange(17), outwards.argmax(axis=1)]
    return landmarks


def as_annotated(landmarks: np.ndarray) -> np.ndarray:
    """Anatomical landmarks (68, 3), mm in the head's frame, moved to where 300-W's annotators place them."""
    gap = np.linalg.norm(landmarks[66] - landmarks[62])
    open_share = np.clip((gap - _CLOSED) / (_WIDE_OPEN - _CLOSED), 0, 1)
    return landmarks + (1 - open_share) * _TO_ANNOTATED + open_share * _TO_ANNOTATED_OPEN
