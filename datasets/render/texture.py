"""Paints a face on the texture plane of datasets.render.mesh: skin, eyes, brows, lips, teeth, beard, wrinkles, hair.

Every feature is painted along curves through the plane positions of the landmarks, so that it lands on the projected
landmarks whatever the identity, expression and pose. Lengths are in mm of the plane; colours are RGB, 0 to 255.
"""

from __future__ import annotations

from typing import Sequence

import cv2
import numpy as np

from datasets.render.mesh import CONTROLS, TEXTURE_SPAN, Expression
from datasets.render.person import Look

TEXTURE_SIZE = 320
_LOW, _HIGH = TEXTURE_SPAN
PIXELS_PER_MM = (TEXTURE_SIZE - 1) / (_HIGH - _LOW)
_FAINT = 0.06  # strength below which paint is not worth its time
_SUBPIXEL = 4  # bits of fraction in the coordinates given to OpenCV


def noise(rng: np.random.Generator, shape: tuple[int, int], cells: tuple[int, int], channels: int = 1) -> np.ndarray:
    """Smooth zero-mean noise of about unit deviation, (H, W) or (H, W, channels) float32; cells are (rows, columns)."""
    coarse = rng.standard_normal((cells[0], cells[1], channels), dtype=np.float32)
    return cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)


def soften(picture: np.ndarray, sigma: float) -> np.ndarray:
    """Blurs by about a Gaussian's sigma, in pixels, at a cost that does not grow with it."""
    side = int(round(np.sqrt(6 * sigma**2 + 1))) | 1
    return cv2.blur(cv2.blur(picture, (side, side)), (side, side)) if side > 1 else picture


def _smooth_curve(points: np.ndarray, closed: bool) -> np.ndarray:
    """A Catmull-Rom curve through points (n, 2), 6 steps per stretch."""
    padded = np.concatenate([points[-1:], points, points[:2]] if closed else [points[:1], points, points[-1:]])
    t = np.linspace(0, 1, 6, endpoint=False)[:, None]
    pieces = [
        0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
        for a, b, c, d in zip(padded, padded[1:], padded[2:], padded[3:])
    ]
    return np.concatenate(pieces if closed else [*pieces, points[-1:]])


def _plane(indices: Sequence[int]) -> np.ndarray:
    return CONTROLS.plane[list(indices)]


_TURN = np.linspace(0, 2 * np.pi, 24, endpoint=False)
_CIRCLE = np.stack([np.cos(_TURN), np.sin(_TURN)], axis=1)


def _ellipse(centre: Sequence[float] | np.ndarray, radii: Sequence[float]) -> np.ndarray:
    return centre + _CIRCLE * radii


_MIRROR = np.array([-1.0, 1.0])
_EYE = _smooth_curve(_plane(range(36, 42)), closed=True)  # the subject's right one; the left is its mirror image
_UPPER_LID = _smooth_curve(_plane((36, 37, 38, 39)), closed=False)
_LOWER_LID = _smooth_curve(_plane((39, 40, 41, 36)), closed=False)
_CREASE = _smooth_curve(_plane((36, 37, 38, 39)) + np.array([[-2, -4], [0, -4.5], [0, -4.5], [1, -3]]), closed=False)
_OUTER_LIPS = _smooth_curve(_plane(range(48, 60)), closed=True)
_INNER_LIPS = _smooth_curve(_plane(range(60, 68)), closed=True)
_UPPER_LIP = _smooth_curve(np.add(_plane((48, 49, 50, 51, 52, 53, 54)), (0, 1.5)), closed=False)
_LIP_LINE = _smooth_curve(_plane((48, 60, 67, 66, 65, 64, 54)), closed=False)
_UPPER_INNER = _smooth_curve(_plane((60, 61, 62, 63, 64)), closed=False)
_BROW_TOP = _plane(range(17, 22))


def _throat_mask() -> np.ndarray:
    """(TEXTURE_SIZE, TEXTURE_SIZE) float32, 1 below and behind the jaw's edge."""
    mask = np.full((TEXTURE_SIZE, TEXTURE_SIZE), 255, np.uint8)
    above = [[400, 0], [400, -400], [-400, -400], [-400, 0]]
    face = np.concatenate([_smooth_curve(_plane(range(17)), closed=False), above])
    cv2.fillPoly(mask, [np.round((face - _LOW) * PIXELS_PER_MM).astype(np.int32)], 0)
    return soften(mask, 2.5 * PIXELS_PER_MM).astype(np.float32) / 255


_THROAT = _throat_mask()
_BEARDED = 1 - 0.8 * soften(_THROAT, 4 * PIXELS_PER_MM)


class Canvas:
    """A float32 (TEXTURE_SIZE, TEXTURE_SIZE, 3) picture of the plane that is painted on in mm."""

    def __init__(self, pixels: np.ndarray):
        self.pixels = pixels

    def fill(self, contour: np.ndarray, colour: np.ndarray, strength: float = 1.0, soft: float = 0.8) -> None:
        """Fills a contour (n, 2); soft is the blur of its edge."""
        if strength >= _FAINT:
            self._lay([contour], 0.0, colour, strength, soft)

    def stroke(self, curves: Sequence[np.ndarray], width: float, colour: np.ndarray, strength: float = 1.0,
               soft: float = 0.5) -> None:  # fmt: skip
        """Draws open curves (n, 2) with one brush."""
        if strength >= _FAINT:
            self._lay(curves, width, colour, strength, soft)

    def _lay(
        self, curves: Sequence[np.ndarray], width: float, colour: np.ndarray, strength: float, soft: float
    ) -> None:
        sigma = soft * PIXELS_PER_MM
        points = (np.concatenate(curves) - _LOW) * PIXELS_PER_MM
        margin = 2.5 * sigma + width * PIXELS_PER_MM + 1
        x0, y0 = np.maximum(np.floor(points.min(axis=0) - margin).astype(int), 0)
        x1, y1 = np.minimum(np.ceil(points.max(axis=0) + margin).astype(int) + 1, TEXTURE_SIZE)
        if x0 >= x1 or y0 >= y1:
            return
        mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
        shifted = np.round((points - (x0, y0)) * 2**_SUBPIXEL).astype(np.int32)
        if width > 0:
            lines = np.split(shifted, np.cumsum([len(curve) for curve in curves])[:-1])
            thickness = max(1, int(round(width * PIXELS_PER_MM)))
            cv2.polylines(mask, lines, False, 255, thickness, cv2.LINE_AA, _SUBPIXEL)
        else:
            cv2.fillPoly(mask, [shifted], 255, cv2.LINE_AA, _SUBPIXEL)
        patch = self.pixels[y0:y1, x0:x1]
        alpha = soften(mask, sigma) * np.float32(strength / 255)
        patch += (np.asarray(colour, np.float32) - patch) * alpha[..., None]

    def cover(self, mask: np.ndarray, colour: np.ndarray) -> None:
        """Blends a colour, (3,) or a whole picture, over the plane by a mask of 0 to 1 (TEXTURE_SIZE, TEXTURE_SIZE)."""
        self.pixels += (colour - self.pixels) * mask[..., None]


def _both(contour: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return contour, contour * _MIRROR


def _paint_skin(rng: np.random.Generator, look: Look) -> Canvas:
    size = (TEXTURE_SIZE, TEXTURE_SIZE)
    coarse = noise(rng, (80, 80), (9, 9)) * rng.uniform(0.005, 0.035)
    coarse += noise(rng, (80, 80), (40, 40)) * rng.uniform(0.004, 0.03)
    mottle = cv2.resize(coarse, size) + noise(rng, size, (120, 120)) * rng.uniform(0.005, 0.045)
    canvas = Canvas(look.skin.astype(np.float32) * (1 + mottle[..., None]))
    canvas.pixels *= 1 - rng.uniform(0.1, 0.6) * _THROAT[..., None]
    red, dark = look.skin * (1.0, 0.76, 0.74), look.skin * (0.62, 0.52, 0.48)
    for contour in (*_both(_ellipse((-42, 36), (16, 14))), _ellipse((0, 34), (11, 11)), _ellipse((0, 108), (15, 9))):
        canvas.fill(contour, red, look.blush, soft=7)
    for contour in (*_both(_ellipse((-30, -6), (16, 9))), *_both(_ellipse((-16, 4), (5, 10)))):
        canvas.fill(contour, dark, rng.uniform(0.05, 0.4), soft=4)
    for contour in (*_both(_ellipse((-12, 38), (3, 9))), _ellipse((0, 88), (14, 3)), _ellipse((0, 50), (12, 2))):
        canvas.fill(contour, dark, rng.uniform(0.0, 0.4), soft=2)
    return canvas


def _paint_wrinkles(canvas: Canvas, rng: np.random.Generator, look: Look, expression: Expression) -> None:
    dark = look.skin * (0.55, 0.45, 0.42)
    smile = max(expression.smile)
    fold = np.array([[-13, 42], [-22, 52], [-29, 64], [-31, 74]]) + rng.normal(0, 1.5, (4, 2))
    bag = np.array([[-41, 9], [-33, 13], [-24, 11], [-17, 7]]) + rng.normal(0, 1, (4, 2))
    crow = [np.array([[-49, t], [-60, t * 2 + rng.normal()]]) for t in (-5, 0, 6)]
    for side in (1, -1):
        mirror = (side, 1)
        canvas.stroke([_smooth_curve(fold, False) * mirror], 2.0, dark, 0.05 + 0.35 * look.age + 0.3 * smile, soft=1.8)
        canvas.stroke([_smooth_curve(bag, False) * mirror], 1.5, dark, 0.05 + 0.4 * look.age, soft=1.5)
        canvas.stroke([line * mirror for line in crow], 0.8, dark, 0.45 * look.age, soft=0.8)
    if look.age > 0.4 or max(expression.brow_raise) > 0.5:
        for t in np.arange(-66, -36, rng.uniform(7, 11)):
            line = np.stack([np.linspace(-35, 35, 6), t + rng.normal(0, 1.2, 6)], axis=1)
            canvas.stroke([_smooth_curve(line, False)], 1.0, dark, 0.4 * look.age, soft=1.0)
    if expression.brow_knit > 0.3:
        canvas.stroke([np.array([[x, -24], [x * 0.8, -12]]) for x in (-4, 4)], 1.0, dark, 0.4, soft=1.0)


def _paint_spots(canvas: Canvas, rng: np.random.Generator, look: Look) -> None:
    for _ in range(int(rng.integers(0, 4)) + int(40 * look.freckles)):
        centre = rng.normal((0, 30), (35, 30))
        canvas.fill(_ellipse(centre, (0.9, 0.9)), look.skin * (0.65, 0.5, 0.45), rng.uniform(0.2, 0.6), soft=0.4)


def _paint_nose(canvas: Canvas, rng: np.random.Generator, look: Look) -> None:
    dark = look.skin * (0.35, 0.25, 0.22)
    strength = rng.uniform(0.45, 0.95)
    wing = _smooth_curve(np.array([[-9, 33.5], [-13, 36], [-14, 41], [-10.5, 45]]), False)
    for side in (1, -1):
        canvas.fill(_ellipse((-6.3, 43.8), (3.4, 1.7)) * (side, 1), dark, strength, soft=0.8)
        canvas.stroke([wing * (side, 1)], 1.4, dark, 0.5 * strength, soft=1.1)
    canvas.fill(_ellipse((0, 28), (2.5, 7)), np.minimum(look.skin * 1.25 + 20, 255), rng.uniform(0, 0.3), soft=2)


def _paint_mouth(canvas: Canvas, rng: np.random.Generator, look: Look, gap: float) -> None:
    """Lips and what shows between them; gap is the mouth's real opening in mm."""
    canvas.fill(_OUTER_LIPS, look.lips, rng.uniform(0.45, 1.0), soft=0.9)
    highlight = np.minimum(look.lips * 1.3 + 25, 255)
    canvas.fill(_ellipse((rng.normal(0, 3), 75), (8, 1.5)), highlight, rng.uniform(0, 0.5), soft=1.2)
    canvas.stroke([_UPPER_LIP], 2.0, look.lips * 0.75, rng.uniform(0, 0.6), soft=1.2)
    inside = np.array([60, 22, 22]) * rng.uniform(0.3, 1.2)
    if gap < 1.0:
        canvas.stroke([_LIP_LINE], 2.0, inside, rng.uniform(0.5, 0.9), soft=0.8)
        canvas.fill(_INNER_LIPS, inside, 0.8, soft=0.8)
        return
    canvas.fill(_INNER_LIPS, inside, 0.97, soft=0.4)
    stretch = 6.5 / gap  # mm of plane for a mm of mouth
    if gap > 10:
        tongue = _ellipse((0, 71), (12, 2))
        canvas.fill(tongue, np.array([165, 85, 85]) * rng.uniform(0.5, 1), rng.uniform(0.3, 0.9), soft=1.0)
    if rng.random() < 0.85:
        _paint_teeth(canvas, rng, rng.uniform(4.5, 9.5) * stretch)


def _paint_teeth(canvas: Canvas, rng: np.random.Generator, height: float) -> None:
    white = np.array([238, 230, 215]) * rng.uniform(0.65, 1.0) * (1, rng.uniform(0.92, 1), rng.uniform(0.8, 1))
    top = _UPPER_INNER[2:-2]
    reach = np.clip(1 - (np.abs(top[:, 0]) / 24) ** 3, 0, 1)
    bottom = np.minimum(top[:, 1] + height * reach, 64 + 5.2 * reach)
    teeth = np.concatenate([top, np.stack([top[:, 0], bottom], axis=1)[::-1]])
    canvas.fill(teeth, white, 0.95, soft=0.4)
    gaps = [np.array([[x, 66.0], [x, 66 + min(height, 6)]]) for x in (-13.5, -7.5, 0, 7.5, 13.5)]
    canvas.stroke(gaps, 0.8, white * 0.6, rng.uniform(0.1, 0.4), soft=0.3)


def _paint_eye(canvas: Canvas, rng: np.random.Generator, look: Look, side: int, opening: float) -> None:
    """One eye, side 0 the subject's right; opening is its real height in mm (8.5 on average)."""
    mirror = (1, 1) if side == 0 else (-1, 1)
    lash = np.clip(look.brow * 0.45, 0, 90)
    dark = look.skin * (0.5, 0.4, 0.37)
    canvas.stroke([_CREASE * mirror], 1.2, dark, rng.uniform(0.15, 0.7), soft=0.9)
    canvas.fill(_ellipse((-32, -9), (13, 4)) * mirror, look.makeup * np.array([60, 45, 60]) + (1 - look.makeup) * dark,
                0.1 + 0.5 * look.makeup, soft=2.5)  # fmt: skip
    if opening > 1.5:
        _paint_eyeball(canvas, rng, look, np.array(mirror), opening)
    line = rng.uniform(1.0, 1.9) + 1.2 * look.makeup * rng.random()
    canvas.stroke([_UPPER_LID * mirror], line, lash, rng.uniform(0.65, 1.0), soft=0.5)
    canvas.stroke([_LOWER_LID * mirror], 0.8, lash * 0.5 + look.skin * 0.4, rng.uniform(0.15, 0.6), soft=0.5)
    canvas.fill(_ellipse((-17, 1.8), (1.5, 1.2)) * mirror, look.skin * (0.95, 0.65, 0.62), 0.6, soft=0.5)


def _paint_eyeball(canvas: Canvas, rng: np.random.Generator, look: Look, mirror: np.ndarray, opening: float) -> None:
    ratio = opening / 10.5
    white = (0.7 * np.array([225, 218, 212]) + 0.3 * look.skin) * rng.uniform(0.45, 0.9)
    canvas.fill(_EYE * mirror, white, 0.95, soft=0.3)
    radius = rng.uniform(5.4, 6.3)
    gaze = np.array(look.gaze)
    centre = np.array([-31.8, 0]) * mirror + (gaze[0], 5.0 - (4.6 - gaze[1]) / ratio)
    iris = _clip_to_eye(_ellipse(centre, (radius, radius / ratio)), mirror)
    canvas.fill(iris, look.iris * 0.5, 1.0, soft=0.3)
    canvas.fill(_clip_to_eye(_ellipse(centre, (radius * 0.8, radius * 0.8 / ratio)), mirror), look.iris, 0.9, soft=0.6)
    pupil = radius * rng.uniform(0.3, 0.5)
    canvas.fill(_clip_to_eye(_ellipse(centre, (pupil, pupil / ratio)), mirror), np.array([12, 10, 10]), 1.0, soft=0.3)
    if rng.random() < 0.8:
        glint = centre + rng.uniform(-2.5, 2.5, 2)
        canvas.fill(_clip_to_eye(_ellipse(glint, (0.9, 0.9 / ratio)), mirror), np.full(3, 250), 0.9, soft=0.2)
    canvas.stroke([np.add(_UPPER_LID, (0, 1.5)) * mirror], 2.0, np.array([40, 30, 30]), rng.uniform(0.1, 0.5), soft=0.9)


def _clip_to_eye(contour: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """Keeps a contour between the lids."""
    s = contour[:, 0] * mirror[0]
    top = np.interp(s, _UPPER_LID[:, 0], _UPPER_LID[:, 1])
    bottom = np.interp(s, _LOWER_LID[::-1, 0], _LOWER_LID[::-1, 1])
    return np.stack([contour[:, 0], np.clip(contour[:, 1], top, bottom)], axis=1)


def _paint_brow(canvas: Canvas, rng: np.random.Generator, look: Look, side: int) -> None:
    mirror = (1, 1) if side == 0 else (-1, 1)
    top = _smooth_curve(_BROW_TOP + np.array([[0, 0], [0, -0.5], [0, -0.5], [0, -0.5], [2, 0]]), closed=False)
    along = np.linspace(0, 1, len(top))
    thick = look.brow_width * np.interp(along, (0, 0.25, 0.6, 0.9, 1), (0.8, 3.2, 5.0, 5.4, 4.5))
    bottom = top + np.stack([np.zeros_like(thick), thick], axis=1)
    band = np.concatenate([top, bottom[::-1]])
    canvas.fill(band * mirror, look.brow, 0.75 * look.brow_strength, soft=1.1)
    at = rng.integers(2, len(top), 26)
    root = np.add(bottom[at], (0, -0.3))
    tip = top[at] + np.stack([-rng.uniform(0.5, 5, 26), rng.uniform(-1.0, 1.0, 26)], axis=1)
    strands = np.stack([root, tip], axis=1) * mirror
    canvas.stroke(list(strands), 0.8, look.brow * 0.8, 0.6 * look.brow_strength, soft=0.3)


_TICKS = np.linspace(_LOW, _HIGH, TEXTURE_SIZE, dtype=np.float32)


def _paint_beard(canvas: Canvas, rng: np.random.Generator, look: Look) -> None:
    if max(look.stubble, look.beard, look.moustache) == 0:
        return
    s, t = _TICKS[None, :], _TICKS[:, None]
    grain = 0.5 + 0.5 * noise(rng, (TEXTURE_SIZE, TEXTURE_SIZE), (150, 220))
    upper = rng.uniform(58, 74) - 55 * np.clip((np.abs(s) - 50) / 70, 0, 1)
    jaw = _soft_step(t - upper + 2 * grain, 5) * _soft_step(152 - t, 6) * _soft_step(128 - np.abs(s), 5)
    moustache = _soft_step(t - 51 - 0.04 * np.abs(s), 2.5) * _soft_step(rng.uniform(28, 36) - np.abs(s), 3)
    moustache = moustache * _soft_step(78 - t, 4)
    mouth = np.zeros((TEXTURE_SIZE, TEXTURE_SIZE), np.uint8)
    cv2.fillPoly(mouth, [np.round((_OUTER_LIPS - _LOW) * PIXELS_PER_MM).astype(np.int32)], 255)
    free = 1 - soften(mouth, 1.2).astype(np.float32) / 255
    strength = np.maximum(jaw * max(look.beard, look.stubble), moustache * max(look.moustache, look.stubble))
    strength = strength * free * _BEARDED
    colour = look.hair * 0.8 + look.skin * 0.1
    shade = colour.astype(np.float32) * (0.8 + 0.4 * grain[..., None])
    canvas.cover(np.clip(strength * (0.75 + 0.35 * grain), 0, 0.95), shade)


def _soft_step(distance: np.ndarray, width: float) -> np.ndarray:
    return np.clip(distance / width + 0.5, 0, 1)


def _paint_hair(canvas: Canvas, rng: np.random.Generator, look: Look) -> None:
    if look.bald and look.hat is None:
        return
    s, t = _TICKS[None, :], _TICKS[:, None]
    wave = cv2.resize(rng.standard_normal((1, 9), dtype=np.float32), (TEXTURE_SIZE, 1))
    strand = cv2.resize(rng.standard_normal((1, 110), dtype=np.float32), (TEXTURE_SIZE, 1))
    ragged = 0.0 if look.hat is not None else 1.0
    parting = rng.uniform(-30, 30)
    drop = look.fringe * (0.7 + 0.3 * np.cos((s - parting) / 25))
    drop = drop + ragged * (4 * wave + (1 + 0.12 * look.fringe) * strand)
    edge = look.hairline + drop - 0.0022 * s**2 * (look.fringe < 5)
    top = _soft_step(edge - t, 5)
    side = _soft_step(np.abs(s) - look.temple - 4 * ragged * wave.reshape(-1, 1), 6)
    nape = look.sideburn + 2.5 * np.clip(np.abs(s) - 128, 0, 40) + 3 * strand
    mask = np.maximum(top, side * _soft_step(nape - t, 8))
    if look.hat is not None:
        knit = noise(rng, (TEXTURE_SIZE, TEXTURE_SIZE), (40, 60)) * rng.uniform(0.02, 0.15)
        canvas.cover(top, look.hat.astype(np.float32) * (1 + knit[..., None]))
        return
    flow = noise(rng, (TEXTURE_SIZE, TEXTURE_SIZE), (int(rng.choice([8, 16, 60])), int(rng.integers(60, 160))))
    flow = 1 + flow * rng.uniform(0.08, 0.3) + noise(rng, (TEXTURE_SIZE, TEXTURE_SIZE), (12, 12)) * 0.12
    canvas.cover(np.clip(mask, 0, 1), look.hair.astype(np.float32) * flow[..., None])


def paint_face(rng: np.random.Generator, look: Look, expression: Expression, controls: np.ndarray) -> np.ndarray:
    """The painted plane (TEXTURE_SIZE, TEXTURE_SIZE, 3) float32 RGB, rows along t.

    Args:
        rng: chooses spots, strands and strengths.
        look: what to paint with.
        expression: decides wrinkles.
        controls: (C, 3) mm; says how far eyes and mouth are really open.
    """
    gap = float(controls[66, 1] - controls[62, 1])
    openings = [float(controls[list(low), 1].mean() - controls[list(up), 1].mean())
                for up, low in (((37, 38), (40, 41)), ((43, 44), (46, 47)))]  # fmt: skip
    canvas = _paint_skin(rng, look)
    _paint_wrinkles(canvas, rng, look, expression)
    _paint_spots(canvas, rng, look)
    _paint_nose(canvas, rng, look)
    _paint_beard(canvas, rng, look)
    _paint_mouth(canvas, rng, look, gap)
    for side in (0, 1):
        _paint_eye(canvas, rng, look, side, openings[side])
        _paint_brow(canvas, rng, look, side)
    _paint_hair(canvas, rng, look)
    return canvas.pixels
