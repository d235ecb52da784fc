"""What surrounds a rendered face: background, hair, ears, clothes, glasses, things in front, camera.

Pictures are float32 (size, size, 3) RGB, 0 to 255, drawn on in place; lengths in mm are those of datasets.render.mesh.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from datasets.render.mesh import Pose, project
from datasets.render.person import Look, any_colour, random_skin
from datasets.render.texture import noise, soften


class Camera(NamedTuple):
    """Takes the head's frame to the picture: pose, pixels per mm, offset (2,) in pixels of the head's origin."""

    pose: Pose
    scale: float
    offset: np.ndarray

    def see(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 3) in mm to (..., 3): x and y in pixels, depth in mm towards the camera."""
        seen = project(points, self.pose)
        seen[..., :2] = seen[..., :2] * self.scale + self.offset
        return seen

    def following(self, share: float) -> Camera:
        """The camera for what turns with the head by a share of its angles only, as neck and shoulders do."""
        pose = self.pose
        return self._replace(pose=Pose(pose.yaw * share, pose.pitch * share, pose.roll * share, pose.distance))


def _fill(image: np.ndarray, contour: np.ndarray, colour: np.ndarray, alpha: float = 1.0, soft: float = 0.0,
          texture: np.ndarray | None = None) -> np.ndarray:  # fmt: skip
    """Blends a colour, times a texture (size, size), into a contour (n, 2) in pixels; returns the mask, 0 to 255."""
    mask = np.zeros(image.shape[:2], np.uint8)
    contour = np.clip(contour, -2000, 2000)
    cv2.fillPoly(mask, [np.round(contour * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    if soft > 0.3:
        mask = soften(mask, soft)
    _apply(image, mask, colour, alpha, texture)
    return mask


def _apply(image: np.ndarray, mask: np.ndarray, colour: np.ndarray, alpha: float, texture: np.ndarray | None) -> None:
    x, y, width, height = cv2.boundingRect(mask)
    rows, columns = slice(y, y + height), slice(x, x + width)
    paint = np.asarray(colour, np.float32)
    if texture is not None:
        paint = paint * texture[rows, columns, None]
    patch = image[rows, columns]
    patch += (paint - patch) * (mask[rows, columns].astype(np.float32) * np.float32(alpha / 255))[..., None]


def _blob(rng: np.random.Generator, centre: np.ndarray, radii: np.ndarray, rough: float) -> np.ndarray:
    """A closed wavy contour (n, 2)."""
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    wave = sum(rng.normal(0, rough / k) * np.cos(k * angle + rng.uniform(0, 6.3)) for k in range(2, 7))
    return centre + np.stack([np.cos(angle), np.sin(angle)], axis=1) * (1 + wave)[:, None] * radii


def background(rng: np.random.Generator, size: int) -> np.ndarray:
    """A picture of nothing in particular: clouds, shapes, stripes and skin-coloured blobs, out of focus."""
    base = any_colour(rng)
    clouds = np.broadcast_to(base.astype(np.float32), (80, 80, 3)).copy()
    spread = rng.uniform(0, 60)
    for cells in (2, 5, 14, 50):
        clouds += noise(rng, (80, 80), (cells, cells), int(rng.choice([1, 3]))).reshape(80, 80, -1) * spread
        spread *= rng.uniform(0.3, 0.8)
    image = cv2.resize(clouds, (size, size))
    for _ in range(int(rng.integers(2, 13))):
        centre, radii = rng.uniform(-0.1, 1.1, 2) * size, rng.uniform(0.02, 0.4, 2) * size
        colour = random_skin(rng) if rng.random() < 0.2 else any_colour(rng)
        if rng.random() < 0.5:
            corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * radii
            turn = rng.normal(0, 0.4)
            spin = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
            contour = centre + corners @ spin
        else:
            contour = _blob(rng, centre, radii, rng.uniform(0, 0.3))
        _fill(image, contour, colour, rng.uniform(0.3, 1))
    if rng.random() < 0.12:
        _draw_stripes(image, rng)
    if rng.random() < 0.6:
        image = soften(image, rng.uniform(0.6, 4.5) * size / 224)
    return np.clip(image, 0, 255)


def _draw_stripes(image: np.ndarray, rng: np.random.Generator) -> None:
    size = len(image)
    ramp = np.arange(size, dtype=np.float32)
    direction = rng.uniform(0, np.pi)
    across = ramp[None, :] * np.float32(np.cos(direction)) + ramp[:, None] * np.float32(np.sin(direction))
    wave = np.sin(across * np.float32(2 * np.pi / rng.uniform(6, 60)))
    image += (np.clip(wave * 4, -1, 1) * rng.uniform(5, 60))[..., None] * rng.uniform(0.5, 1, 3).astype(np.float32)


def _strands(rng: np.random.Generator, size: int) -> np.ndarray:
    fine = noise(rng, (size, size), (8, int(rng.integers(40, 110)))) * rng.uniform(0.1, 0.28)
    return 1 + fine + noise(rng, (size, size), (5, 5)) * 0.15


def draw_behind(image: np.ndarray, rng: np.random.Generator, camera: Camera, look: Look, light: np.ndarray) -> None:
    """Draws what the head hides: long hair, clothes, neck and ears. light (3,) is the brightness of the face."""
    level = float(light.mean())
    long_hair = not look.bald and rng.random() < (0.75 if look.temple < 86 else 0.3)
    if long_hair:
        _draw_long_hair(image, rng, camera, look.hair * level, _strands(rng, len(image)))
    body = camera.following(0.4)
    _draw_body(image, rng, body, look.skin * light, level)
    if look.temple > 84 or look.bald:
        for side in (-1, 1):
            _draw_ear(image, camera, side, look.skin * light * rng.uniform(0.75, 1.05))


def _draw_long_hair(image: np.ndarray, rng: np.random.Generator, camera: Camera, colour: np.ndarray,
                    strands: np.ndarray) -> None:  # fmt: skip
    width, height, drop = rng.uniform(88, 125), rng.uniform(105, 130), rng.uniform(40, 230)
    contour = _blob(rng, np.array([0, -5]), np.array([width, height]), 0.03)
    contour[:, 1] = np.where(contour[:, 1] > 0, contour[:, 1] * drop / 100, contour[:, 1])
    space = np.concatenate([contour, np.full((len(contour), 1), -110.0)], axis=1)
    _fill(image, camera.see(space)[:, :2], colour * rng.uniform(0.5, 0.95), 1.0, 0.8, strands)


def _draw_body(image: np.ndarray, rng: np.random.Generator, camera: Camera, skin: np.ndarray, level: float) -> None:
    half = rng.uniform(48, 68)
    neck = np.array([[-half, 40, -95], [half, 40, -95], [half, 150, -105], [half + 25, 185, -110],
                     [-half - 25, 185, -110], [-half, 150, -105]])  # fmt: skip
    _fill(image, camera.see(neck)[:, :2], skin * rng.uniform(0.4, 0.85), 1.0, 1.0)
    wide, top = rng.uniform(170, 260), rng.uniform(125, 165)
    low = rng.uniform(0, 60)
    cloth = np.array([[-half - 8, top, -100], [-half * 0.5, top + low * 0.7, -70], [0, top + low, -60],
                      [half * 0.5, top + low * 0.7, -70], [half + 8, top, -100], [wide, top + 50, -110],
                      [wide + 40, 900, -110], [-wide - 40, 900, -110], [-wide, top + 50, -110]])  # fmt: skip
    size = len(image)
    pattern = 1 + noise(rng, (size, size), (9, 9)) * 0.12 + noise(rng, (size, size), (70, 70)) * rng.uniform(0, 0.07)
    colour = np.clip(any_colour(rng), 5, 245)
    _fill(image, camera.see(cloth)[:, :2], colour * min(level, 1.1), 1.0, 0.6, pattern)


def _draw_ear(image: np.ndarray, camera: Camera, side: int, colour: np.ndarray) -> None:
    angle = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    for shrink, shade in ((1.0, 1.0), (0.55, 0.68)):
        out = 82 + 13 * np.cos(angle) * shrink
        down = 16 + 31 * np.sin(angle) * shrink - 3 * np.cos(angle)
        ear = np.stack([side * out, down, -104 - 9 * np.cos(angle) * shrink], axis=1)
        _fill(image, camera.see(ear)[:, :2], colour * shade, 1.0, 0.7)


def draw_in_front(image: np.ndarray, occluded: np.ndarray, rng: np.random.Generator, camera: Camera, look: Look,
                  controls: np.ndarray, light: np.ndarray) -> None:  # fmt: skip
    """Draws locks, glasses, hands and things over the face and marks in occluded (size, size) what they hide."""
    level = float(light.mean())
    if look.temple < 86 and not look.bald and rng.random() < 0.7:
        strands = _strands(rng, len(image))
        for side in (-1, 1):
            _draw_lock(image, occluded, rng, camera, side, look.hair * level, strands)
    if rng.random() < 0.2:
        _draw_glasses(image, occluded, rng, camera, controls, level)
    if look.hat is not None and rng.random() < 0.5:
        _draw_brim(image, occluded, rng, camera, look.hat * level * rng.uniform(0.5, 1))
    if rng.random() < 0.12:
        _draw_hand(image, occluded, rng, camera, look.skin * light * rng.uniform(0.8, 1.15))
    if rng.random() < 0.1:
        _draw_thing(image, occluded, rng)
    if rng.random() < 0.15:
        _draw_shadow(image, rng)


def _draw_lock(image: np.ndarray, occluded: np.ndarray, rng: np.random.Generator, camera: Camera, side: int,
               colour: np.ndarray, strands: np.ndarray) -> None:  # fmt: skip
    inner = rng.uniform(56, 78)
    end = rng.uniform(50, 220)
    y = np.linspace(-70, end, 8)
    spread = (-25, 0, rng.uniform(-8, 12), rng.uniform(0, 30))
    edge = inner + np.interp(y, (-70, -20, 60, 220), spread)
    inside = np.stack([edge + rng.normal(0, 1.5, 8), y, np.interp(y, (-70, 0, 200), (-10, -55, -40))], axis=1)
    outside = inside + np.stack([rng.uniform(14, 45) * np.ones(8), np.zeros(8), np.full(8, -50.0)], axis=1)
    contour = np.concatenate([inside, outside[::-1]]) * (side, 1, 1)
    mask = _fill(image, camera.see(contour)[:, :2], colour, 1.0, 0.8, strands)
    np.maximum(occluded, mask, out=occluded)


def _draw_glasses(image: np.ndarray, occluded: np.ndarray, rng: np.random.Generator, camera: Camera,
                  controls: np.ndarray, level: float) -> None:  # fmt: skip
    dark = rng.random() < 0.3
    colour = rng.uniform(5, 70, 3) if rng.random() < 0.7 else rng.uniform(60, 220, 3)
    width, height, square = rng.uniform(22, 30), rng.uniform(14, 25), rng.uniform(0.5, 1.0)
    sink = rng.uniform(1, 9)
    thickness = max(1, int(round(rng.uniform(0.8, 4.5) * camera.scale)))
    angle = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    round_x, round_y = np.cos(angle), np.sin(angle)
    round_x, round_y = np.sign(round_x) * np.abs(round_x) ** square, np.sign(round_y) * np.abs(round_y) ** square
    front = max(controls[27, 2], controls[19, 2], controls[24, 2]) + 4
    tint = rng.uniform(5, 60, 3) if dark else np.full(3, 230.0)
    tint_alpha = rng.uniform(0.85, 1.0) if dark else rng.uniform(0, 0.12)
    lines = []
    for eye, side in (((36, 39), -1), ((42, 45), 1)):
        x, y = controls[list(eye), :2].mean(axis=0)
        rim_x, rim_y = x + side * 1.5 + width * round_x, y + sink + height * round_y
        rim = np.stack([rim_x, rim_y, front - (rim_x / 58) ** 2 * 14], axis=1)
        seen = camera.see(rim)[:, :2]
        mask = _fill(image, seen, tint * level, tint_alpha)
        if dark:
            np.maximum(occluded, mask, out=occluded)
        if rng.random() < 0.4:
            glare = seen.mean(axis=0) + (seen - seen.mean(axis=0)) * rng.uniform(0.2, 0.7, 2) + rng.normal(0, 3, 2)
            _fill(image, glare, np.full(3, 245), rng.uniform(0.05, 0.5), 1.5)
        lines.append((seen, True))
        if side * camera.pose.yaw < 12:
            hinge, ear = rim[np.argmax(rim[:, 0] * side)], np.array([side * 84, y + sink - 6, -100.0])
            lines.append((camera.see(np.stack([hinge, (hinge + ear) / 2 + (side * 4, 0, 8), ear]))[:, :2], False))
    bridge = np.array([[-9, sink - 4, front + 1], [0, sink - 6, front + 2], [9, sink - 4, front + 1]])
    lines.append((camera.see(bridge)[:, :2], False))
    mask = np.zeros(image.shape[:2], np.uint8)
    for line, closed in lines:
        cv2.polylines(mask, [np.round(line * 16).astype(np.int32)], closed, 255, thickness, cv2.LINE_AA, 4)
    _apply(image, mask, colour * level, 0.95, None)


def _draw_brim(image: np.ndarray, occluded: np.ndarray, rng: np.random.Generator, camera: Camera,
               colour: np.ndarray) -> None:  # fmt: skip
    reach, drop = rng.uniform(20, 75), rng.uniform(-60, -38)
    angle = np.linspace(0, np.pi, 16)
    x, z = np.cos(angle), np.sin(angle)
    outer = np.stack([82 * x, drop + 4 * z + 10 * x**2, reach * z - 30], axis=1)
    inner = np.stack([74 * x, np.full_like(x, drop - 14), 42 * z - 40], axis=1)[::-1]
    mask = _fill(image, camera.see(np.concatenate([outer, inner]))[:, :2], colour, 1.0, 0.6)
    np.maximum(occluded, mask, out=occluded)


def _draw_hand(image: np.ndarray, occluded: np.ndarray, rng: np.random.Generator, camera: Camera,
               colour: np.ndarray) -> None:  # fmt: skip
    mask = np.zeros(image.shape[:2], np.uint8)
    start = np.array([rng.choice([-1, 1]) * rng.uniform(25, 95), rng.uniform(85, 150)]) * camera.scale + camera.offset
    heading = np.arctan2(-1, rng.normal(0, 0.7))
    thick = max(2, int(round(rng.uniform(15, 20) * camera.scale)))
    across = np.array([-np.sin(heading), np.cos(heading)]) * thick * 1.02
    for finger in range(int(rng.integers(1, 5))):
        root = start + across * finger
        bend = heading + rng.normal(0, 0.1) + 0.06 * finger
        joint = root + rng.uniform(25, 50) * camera.scale * np.array([np.cos(bend), np.sin(bend)])
        tip = joint + rng.uniform(8, 35) * camera.scale * np.array([np.cos(bend + 0.3), np.sin(bend + 0.3)])
        one = np.zeros_like(mask)
        path = np.round(np.stack([root - (joint - root), root, joint, tip]) * 16).astype(np.int32)
        cv2.polylines(one, [path], False, 255, thick, cv2.LINE_AA, 4)
        _apply(image, one, colour * 0.65, 0.9, None)
        cv2.polylines(one, [path], False, 0, thick + 2, cv2.LINE_AA, 4)
        cv2.polylines(one, [path], False, 255, max(1, thick - 2), cv2.LINE_AA, 4)
        _apply(image, soften(one, 1.2), colour * rng.uniform(0.92, 1.05), 1.0, None)
        np.maximum(mask, one, out=mask)
    np.maximum(occluded, mask, out=occluded)


def _draw_thing(image: np.ndarray, occluded: np.ndarray, rng: np.random.Generator) -> None:
    size = len(image)
    contour = _blob(rng, rng.uniform(0.1, 0.95, 2) * size, rng.uniform(0.04, 0.2, 2) * size, rng.uniform(0, 0.15))
    texture = 1 + noise(rng, (size, size), (25, 25)) * rng.uniform(0, 0.3)
    np.maximum(occluded, _fill(image, contour, any_colour(rng), 1.0, rng.uniform(0.3, 2), texture), out=occluded)


def _draw_shadow(image: np.ndarray, rng: np.random.Generator) -> None:
    size = len(image)
    contour = _blob(rng, rng.uniform(0, 1, 2) * size, rng.uniform(0.15, 0.6, 2) * size, 0.25)
    mask = np.zeros((size, size), np.uint8)
    cv2.fillPoly(mask, [np.round(contour).astype(np.int32)], 255)
    mask = soften(mask, rng.uniform(1, 8) * size / 224)
    image *= 1 - mask[..., None].astype(np.float32) * np.float32(rng.uniform(0.2, 0.6) / 255)


def _response(rng: np.random.Generator) -> np.ndarray:
    """What a camera makes of scene values 0 to 255, (1, 256, 3) float32: exposure, colour cast, gamma, contrast."""
    gains = rng.uniform(0.7, 1.1) * (1 + rng.normal(0, 0.035, 3) * float(rng.random() < 0.7))
    curve = np.minimum(np.linspace(0, 1, 256)[:, None] * gains, 1) ** rng.uniform(0.7, 1.35)
    curve = (curve - 0.45) * rng.uniform(0.85, 1.3) + 0.47 + rng.normal(0, 0.05)
    return curve.astype(np.float32)[None]


def photograph(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The float32 scene as a camera would store it: uint8, with colour cast, blur, noise and compression."""
    size = len(image)
    picture = cv2.LUT(np.clip(image, 0, 255).astype(np.uint8), _response(rng))
    saturation = 0.0 if rng.random() < 0.12 else rng.uniform(0.7, 1.5)
    gray = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., None]
    picture = gray + (picture - gray) * np.float32(saturation)
    if rng.random() < 0.15:
        small = int(size / rng.uniform(1.2, 3.2))
        picture = cv2.resize(cv2.resize(picture, (small, small), interpolation=cv2.INTER_AREA), (size, size))
    elif rng.random() < 0.4:
        picture = soften(picture, rng.uniform(0.35, 1.3))
    grain = rng.standard_normal((size, size, 1 if saturation == 0 or rng.random() < 0.75 else 3), dtype=np.float32)
    picture += grain * np.float32(rng.exponential(0.012))
    stored = np.clip(picture * 255 + 0.5, 0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 95))]
        stored = cv2.imdecode(cv2.imencode(".jpg", stored, quality)[1], cv2.IMREAD_COLOR)
    return stored
