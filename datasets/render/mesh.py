"""A hand-made 3-D head whose control points include the 68 landmarks: identity, expression, pose and projection.

The head is one sheet over a texture plane (s, t), in mm: s runs around the head from the midline, t down the face.
Some 130 control points tie the plane to space; a thin-plate spline carries every other point of the sheet with them.
Identity and expression move control points only, so landmarks, surface and painted features can never disagree.
`labels.py` alone moves labels off the anatomy.

Head frame, in mm: x to the image's right for a frontal face (the subject's left), y down, z towards the camera,
origin between the eyes; outer eye corners are 90 mm apart, inner ones 33. The proportions are anthropometric norms.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, Sequence

import numpy as np

from datasets.markups import IBUG_68

GRID = 112  # vertices on each side of the sheet
TEXTURE_SPAN = (-150.0, 150.0)  # mm covered by the sheet, in s and in t alike
_ARC = 85.0  # mm of texture plane per radian around the head's vertical axis
_AXIS_Z = -90.0  # mm, depth of that axis

# Landmarks of the subject's right half and of the midline, each as x, y, z; beside them the adult norms, in mm, that
# set them (means over both sexes, after Farkas and NIOSH). Depths are by hand. Widths of the outline are those of
# frontal photos (143 at the eyes, 133 at the nose, 113 at the mouth), enlarged for their depth as seen from one metre.
_JAW = ((-76, 3, -82), (-73.5, 21.5, -78), (-70, 40, -74), (-64.5, 57, -66), (-55.5, 73, -53), (-44, 86, -38))
_CHIN = ((-30.5, 97, -21), (-16.5, 107.5, -8), (0, 112, -2))  # nasion to chin 118, subnasale to chin 68.5
_BROW = ((-56, -12.5, -27), (-46, -19.5, -13), (-34, -20.5, -3), (-22.5, -18.5, 2), (-12.5, -15.5, 4))  # 18 above pupil
_NOSE = ((0, -4, 4), (0, 8, 11), (0, 20.5, 19), (0, 32.5, 27), (-14.5, 40, 6), (-7.5, 42.5, 11), (0, 43.5, 14))
_EYE = ((-45, 0, -17), (-36, -5, -9), (-26, -5, -6), (-16.5, 1.5, -7), (-26, 4.5, -7), (-35.5, 4, -10))  # 33 and 90
_LIPS = ((-25.5, 65, -5), (-15.5, 59.5, 4), (-6, 55.5, 10), (0, 57, 10), (0, 74, 8), (-8, 73, 7), (-17, 70, 2))
_INNER_LIPS = ((-22.5, 65, -4), (-7.5, 64, 7), (0, 64.5, 8), (0, 65, 7), (-7.5, 64.5, 6))  # subnasale to seam 21
_RIGHT_AND_MIDDLE = (
    tuple(range(9)) + tuple(range(17, 22)) + tuple(range(27, 34)) + tuple(range(36, 42)) + (48, 49, 50, 51, 57, 58, 59)
    + (60, 61, 62, 66, 67)
)  # fmt: skip

# Skin between the landmarks; points off the midline are mirrored.
_SKIN = (
    (0, 50, 10), (0, 88, 2), (0, 98, 4), (-14, 96, 0), (-13, 36, 8), (-9, 24, 7), (-8, 10, 2), (-7, 39, 20),
    (-28, -11, -3), (-38, -11, -6), (-48, -8, -16), (-31, 0, -5), (-28, 12, -8), (-40, 12, -13), (-30, 28, -3),
    (-54, 20, -20), (-46, 40, -12), (-26, 44, 0), (-48, 60, -20), (-34, 78, -10), (-65, 28, -44), (-56, 2, -30),
    (-68, -12, -52), (0, -32, 8), (0, -56, 5), (-26, -44, 3), (-50, -40, -14), (-68, -38, -48), (-34, 66, -7),
    (-64, 50, -46), (-12, 50, 7),
)  # fmt: skip
# Scalp and back of the head, as s, t, x, y, z.
_SCALP = (
    (0, -80, 0, -80, -9), (-30, -78, -32, -74, -14), (-70, -72, -58, -60, -44), (0, -120, 0, -106, -45),
    (-45, -115, -40, -94, -50), (-100, -85, -68, -60, -82), (0, -160, 0, -114, -90), (-60, -160, -46, -100, -92),
    (-130, -60, -76, -42, -100), (-160, -130, -62, -80, -115), (-160, -40, -79, -30, -130), (-165, 0, -79, 0, -130),
    (-165, 50, -70, 40, -125),
)  # fmt: skip
# Underside of the jaw down to the neck, as s, t, x, y, z.
_THROAT = (
    (0, 126, 0, 114, -18), (-24, 122, -19, 112, -22), (-45, 114, -34, 105, -34), (-70, 104, -46, 97, -50),
    (-98, 88, -56, 84, -66), (-120, 72, -64, 68, -84), (0, 160, 0, 128, -50), (-60, 150, -34, 118, -60),
    (-110, 130, -44, 108, -85), (-150, 100, -52, 94, -110),
)  # fmt: skip


class Controls(NamedTuple):
    """The control points of the average head: plane (C, 2) and space (C, 3), in mm; the first 68 are the landmarks."""

    plane: np.ndarray
    space: np.ndarray


@dataclass(frozen=True)
class Pose:
    """How the head stands before the camera: angles in degrees, distance in mm."""

    yaw: float
    pitch: float
    roll: float
    distance: float

    def rotation(self) -> np.ndarray:
        """The (3, 3) matrix from the head's frame to the camera's; positive yaw turns the nose to the image's right."""
        yaw, pitch, roll = np.radians((self.yaw, self.pitch, self.roll))
        turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
        nod = np.array([[1, 0, 0], [0, np.cos(pitch), np.sin(pitch)], [0, -np.sin(pitch), np.cos(pitch)]])
        tilt = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
        return tilt @ nod @ turn


def both_sides(half: Sequence[Sequence[float]]) -> np.ndarray:
    """(68, 3) from the right half and the midline, in the order of `_RIGHT_AND_MIDDLE`; z is 0 where rows lack it."""
    rows = np.array(half, dtype=float)
    points = np.zeros((68, 3))
    points[list(_RIGHT_AND_MIDDLE), : rows.shape[1]] = rows
    mirrored = [IBUG_68.flip_order[i] for i in _RIGHT_AND_MIDDLE]
    points[mirrored] = points[list(_RIGHT_AND_MIDDLE)] * (-1, 1, 1)
    return points


def _unroll(space: np.ndarray) -> np.ndarray:
    angle = np.arctan2(space[:, 0], space[:, 2] - _AXIS_Z)
    return np.stack([_ARC * angle, space[:, 1]], axis=1)


def _mirrored(rows: np.ndarray, signs: Sequence[float]) -> np.ndarray:
    """Adds the partner of each row off the midline."""
    return np.concatenate([rows, rows[rows[:, 0] != 0] * signs])


def _build_controls() -> Controls:
    landmarks = both_sides(_JAW + _CHIN + _BROW + _NOSE + _EYE + _LIPS + _INNER_LIPS)
    skin = _mirrored(np.array(_SKIN, dtype=float), (-1, 1, 1))
    outer = _mirrored(np.array(_SCALP + _THROAT, dtype=float), (-1, 1, -1, 1, 1))
    space = np.concatenate([landmarks, skin, outer[:, 2:]])
    plane = np.concatenate([_unroll(landmarks), _unroll(skin), outer[:, :2]])
    for upper, lower in ((61, 67), (62, 66), (63, 65)):  # the closed mouth keeps a slit to paint teeth into
        plane[upper, 1], plane[lower, 1] = 62.5, 69.0
    for upper, lower in ((37, 41), (38, 40), (43, 47), (44, 46)):
        plane[upper, 1], plane[lower, 1] = -5.5, 5.0
    return Controls(plane, space)


CONTROLS = _build_controls()
_IS_SKIN = np.arange(len(CONTROLS.space)) < 68 + len(_mirrored(np.array(_SKIN), (-1, 1, 1)))
SCALP = np.flatnonzero((CONTROLS.space[:, 1] < -58) | ((CONTROLS.plane[:, 0] ** 2 > 128**2) & ~_IS_SKIN))


def _kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    squared = ((a[:, None] - b[None]) ** 2).sum(axis=2) / 1e4
    return squared * np.log(squared + 1e-12)


def spline_weights(queries: np.ndarray) -> np.ndarray:
    """The (Q, C) matrix that takes control points to the spline's value at plane points (Q, 2)."""
    plane, count = CONTROLS.plane, len(CONTROLS.plane)
    affine = np.concatenate([np.ones((count, 1)), plane / 100], axis=1)
    system = np.block([[_kernel(plane, plane), affine], [affine.T, np.zeros((3, 3))]])
    right = np.concatenate([_kernel(queries, plane), np.ones((len(queries), 1)), queries / 100], axis=1)
    # Rounded, because the last bits depend on how many threads solve the system.
    return np.linalg.solve(system, right.T).T[:, :count].round(6)


def _grid_plane() -> np.ndarray:
    ticks = np.linspace(*TEXTURE_SPAN, GRID)
    return np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)


def _near(indices: Sequence[int], reach: float) -> np.ndarray:
    """(C, 1) weights: 1 at the named control points, fading over reach mm."""
    return _near_places(CONTROLS.space[list(indices)], reach)


def _near_places(places: Sequence[Sequence[float]] | np.ndarray, reach: float) -> np.ndarray:
    squared = ((CONTROLS.space[:, None] - np.asarray(places)[None]) ** 2).sum(axis=2)
    return np.exp(-squared.min(axis=1) / (2 * reach**2))[:, None]


def _ramp(values: np.ndarray, low: float, high: float) -> np.ndarray:
    x = np.clip((values - low) / (high - low), 0, 1)
    return (x * x * (3 - 2 * x))[:, None]


def _push(weight: np.ndarray, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> np.ndarray:
    """A displacement field in mm that is the same on both sides: x > 0 moves away from the midline."""
    side = np.clip(CONTROLS.space[:, :1] / 6, -1, 1)
    return weight * np.concatenate([side * x, np.full_like(side, y), np.full_like(side, z)], axis=1)


def _identity_fields() -> np.ndarray:
    """(I, C, 3) displacements in mm, each one standard deviation of a proportion."""
    x, y = CONTROLS.space[:, :1], CONTROLS.space[:, 1]
    zero = np.zeros_like(x)
    below = _ramp(y, 0, 30)
    jaw, sides = _near(range(17), 14.0), _near((0, 1, 2, 14, 15, 16), 12.0)
    eyes, brows = _near(range(36, 48), 5.0), _near(range(17, 27), 6.0)
    nose, wings = _near(range(27, 36), 7.0), _near((31, 35), 5.0)
    mouth = _near(range(48, 68), 6.0)
    upper, lower = _near((49, 50, 51, 52, 53), 2.0), _near((55, 56, 57, 58, 59), 2.0)
    tall = below * CONTROLS.space[:, 1:2] / 100
    eye_centre = np.where(x < 0, -32.0, 32.0)
    from_eye = np.concatenate([x - eye_centre, CONTROLS.space[:, 1:2], zero], axis=1)
    return np.stack([
        np.concatenate([x * 0.05, zero, zero], axis=1) * (1 - eyes),
        np.concatenate([zero, tall * 6.5, zero], axis=1),
        np.concatenate([x * 0.075, zero, zero], axis=1) * _ramp(y, 35, 95) * (1 - mouth),
        _push(_ramp(y, 84, 112), y=3.5),
        np.concatenate([x * -0.12, zero, zero], axis=1) * _ramp(y, 88, 114),
        _push(jaw, z=5.0), _push(sides, y=5.0), _push(_near(range(5, 12), 16.0), z=4.0),
        _push(nose * _ramp(y, 5, 45) + 0.5 * mouth, y=2.8), _push(wings, x=1.7), _push(nose * _ramp(y, 0, 36), z=2.8),
        _push(nose * (1 - _ramp(y, 12, 34)), z=1.8), _push(_near((30,), 6.0), y=1.8),
        _push(_near((31, 32, 33, 34, 35), 4.0), y=1.3),
        _push(mouth, y=2.0), _push(mouth * np.abs(x) / 26, x=2.2), _push(mouth, z=2.0),
        _push(upper, y=-1.3), _push(lower, y=1.5), _push(_near((51, 62, 50, 52), 2.0), y=0.8),
        _push(eyes, x=1.3), from_eye * eyes * (0, 0.13, 0), from_eye * eyes * (0.05, 0, 0),
        np.concatenate([zero, from_eye[:, :1] * 0.05 * np.sign(x), zero], axis=1) * eyes, _push(eyes, z=-2.0),
        _push(brows, y=2.4), np.concatenate([zero, from_eye[:, :1] * 0.07 * np.sign(x), zero], axis=1) * brows,
        _push(brows, x=1.8), _push(_near((18, 19, 24, 25), 4.0), y=-1.3), _push(brows, z=2.0),
        _push(_near((17, 26), 4.0), x=-2.0, y=1.0), _push(_near((21, 22), 4.0), x=1.5),
        _push(_near_places([(50, 30, -16), (-50, 30, -16)], 15.0), x=1.5, z=4.0),
        np.concatenate([zero, CONTROLS.space[:, 1:2] * 0.08, zero], axis=1) * _ramp(-y, 25, 80),
    ])  # fmt: skip


def _local_fields(reach: float = 20.0, deviation: float = 0.75) -> np.ndarray:
    """(L, C, 3) displacements in mm: bumps about every third point of the skin, for what the list above lacks."""
    squared = ((CONTROLS.space[:, None] - CONTROLS.space[None, :124:3]) ** 2).sum(axis=2)
    bumps = np.exp(-squared / (2 * reach**2)).T * deviation
    return (np.eye(3)[:, None, None, :] * bumps[None, :, :, None]).reshape(-1, len(squared), 3)


class Expression(NamedTuple):
    """Strengths of facial movements; lengths in mm, others 0 to 1. The tuple-valued ones are (right, left)."""

    jaw_open: float = 0.0
    smile: tuple[float, float] = (0.0, 0.0)
    show_teeth: float = 0.0
    pucker: float = 0.0
    frown_lips: float = 0.0
    eye_closed: tuple[float, float] = (0.0, 0.0)
    squint: float = 0.0
    brow_raise: tuple[float, float] = (0.0, 0.0)
    brow_knit: float = 0.0
    jaw_side: float = 0.0


def _movement_fields() -> dict[str, np.ndarray]:
    y = CONTROLS.space[:, 1]
    lower_lip = _near((55, 56, 57, 58, 59, 65, 66, 67), 2.5)
    upper_lip = _near((49, 50, 51, 52, 53, 61, 62, 63), 2.5)
    lower_lip[[49, 50, 51, 52, 53, 61, 62, 63]] = 0  # lips that touch still part
    upper_lip[[55, 56, 57, 58, 59, 65, 66, 67]] = 0
    corners, lips = _near((48, 54, 60, 64), 4.0), _near(range(48, 68), 4.0)
    chin = _ramp(y, 74, 104) * (0.4 + 0.6 * _near(range(4, 13), 18.0))
    opening = np.clip(np.maximum(lower_lip * (1 - 0.6 * corners), chin) + 0.35 * corners * (1 - lower_lip), 0, 1)
    cheeks = _near_places([(54, 20, -20), (-54, 20, -20), (46, 40, -12), (-46, 40, -12)], 9.0)
    lower_lids, brows = _near((40, 41, 46, 47), 2.5), _near(range(17, 27), 8.0)
    inner_brows = _near((20, 21, 22, 23), 6.0)
    return {
        "jaw_open": _push(opening, y=1.0, z=-0.3) + _push(corners, x=-0.08),
        "smile": _push(corners, x=6.0, y=-5.0, z=-5.0) + _push(upper_lip * (1 - corners), y=-1.5, z=-2.0)
        + _push(lower_lip * (1 - corners), y=-1.0, z=-2.0) + _push(cheeks, y=-3.0, z=3.5) + _push(lower_lids, y=-0.8),
        "show_teeth": _push(upper_lip, y=-0.5) + _push(lower_lip, y=0.5),
        "pucker": _push(corners, x=-8.0, z=3.0) + _push(lips, z=4.0) + _push(upper_lip, y=-1.0)
        + _push(lower_lip, y=1.0) + _push(_near((49, 53, 55, 59, 61, 63, 65, 67), 3.0), x=-3.0),
        "frown_lips": _push(corners, y=4.0) + _push(lower_lip * (1 - corners), y=-1.5, z=2.0),
        "squint": _push(lower_lids, y=-1.6) + _push(brows, y=1.5),
        "brow_raise": _push(brows, y=-6.0) + _push(_near((37, 38, 43, 44), 2.5), y=-0.8),
        "brow_knit": _push(inner_brows, x=-2.2, y=3.0, z=1.0),
        "jaw_side": opening * (1.0, 0.0, 0.0),
    }  # fmt: skip


@lru_cache(maxsize=None)
def _grid_weights() -> np.ndarray:
    """Solved for the first face that is drawn, not at every command's start."""
    return np.ascontiguousarray(spline_weights(_grid_plane()).T, np.float32)


_IDENTITY = np.concatenate([_identity_fields(), _local_fields()])
_MOVEMENTS = _movement_fields()
_RIGHT = np.clip(0.5 - CONTROLS.space[:, :1] / 8, 0, 1)


def _sided(name: str, strengths: tuple[float, float]) -> np.ndarray:
    return _MOVEMENTS[name] * (_RIGHT * strengths[0] + (1 - _RIGHT) * strengths[1])


def _close_lids(points: np.ndarray, closed: tuple[float, float]) -> None:
    for lids, amount in zip((((37, 41), (38, 40)), ((43, 47), (44, 46))), closed):
        for upper, lower in lids:
            meeting = 0.25 * points[upper] + 0.75 * points[lower]
            points[upper] += amount * (meeting - points[upper]) * (1, 1, 0.3)
            points[lower] += amount * (meeting - points[lower]) * (1, 1, 0.3)


def make_controls(identity: np.ndarray, asymmetry: np.ndarray, expression: Expression) -> np.ndarray:
    """The control points of one person making one face.

    Args:
        identity: (NUM_IDENTITY,) coefficients in standard deviations.
        asymmetry: (NUM_IDENTITY,) coefficients that push the right half one way and the left half the other.
        expression: the movements.

    Returns:
        (C, 3) mm in the head's frame; the first 68 are the landmarks, the jaw's ones at the jaw's edge.
    """
    points = CONTROLS.space + np.tensordot(identity, _IDENTITY, 1)
    points += np.tensordot(asymmetry, _IDENTITY, 1) * (2 * _RIGHT - 1)
    for name in ("jaw_open", "show_teeth", "pucker", "frown_lips", "squint", "brow_knit", "jaw_side"):
        points += getattr(expression, name) * _MOVEMENTS[name]
    points += _sided("smile", expression.smile) + _sided("brow_raise", expression.brow_raise)
    _close_lids(points, expression.eye_closed)
    return points


NUM_IDENTITY = len(_IDENTITY)


def make_vertices(controls: np.ndarray) -> np.ndarray:
    """The sheet's (GRID, GRID, 3) float32 vertices in mm, row by row down t, column by column along s."""
    return np.ascontiguousarray((controls.T.astype(np.float32) @ _grid_weights()).T).reshape(GRID, GRID, 3)


def project(points: np.ndarray, pose: Pose) -> np.ndarray:
    """Points (..., 3) of the head's frame to (..., 3): x, y in mm at the origin's depth, and the depth itself."""
    turned = points @ pose.rotation().T.astype(points.dtype)
    scale = pose.distance / (pose.distance - turned[..., 2:])
    return np.concatenate([turned[..., :2] * scale, turned[..., 2:]], axis=-1)


def normals(vertices: np.ndarray) -> np.ndarray:
    """Unit normals (GRID, GRID, 3) of a sheet of vertices, towards the outside of the head."""
    along, down = np.empty_like(vertices), np.empty_like(vertices)
    along[:, 1:-1] = vertices[:, 2:] - vertices[:, :-2]
    along[:, 0], along[:, -1] = along[:, 1], along[:, -2]
    down[1:-1] = vertices[2:] - vertices[:-2]
    down[0], down[-1] = down[1], down[-2]
    a, b = np.moveaxis(along, -1, 0), np.moveaxis(down, -1, 0)
    normal = np.stack([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]], axis=-1)
    length = np.sqrt(np.einsum("ijk,ijk->ij", normal, normal))[..., None]
    return normal / (length + 1e-6)
