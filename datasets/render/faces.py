"""Rendered faces with exact landmarks: the embedded data on which every script runs when it is given no photos.

A random person (mesh.py) is painted (texture.py), turned by up to 60 degrees, lit, given hair, glasses,
clothes, a background and things in front, and photographed badly. The 68 landmarks are projected control
points of the same surface, each moved to where 300-W's annotators place it (labels.py), so they are exact. As in 300-W,
points 0 to 16 follow the contour that the camera sees: on a turned head the far ones lie on the cheek's silhouette.

    python -m datasets.render.faces --out sheet.png --count 100 --landmarks
"""

from __future__ import annotations

from typing import NamedTuple, Sequence

import cv2
import numpy as np

from common import cli
from datasets.faces import Face
from datasets.images import write_image
from datasets.markups import IBUG_68
from datasets.render import labels
from datasets.render import mesh as face_mesh
from datasets.render import scene as face_scene
from datasets.render.mesh import GRID
from datasets.render.person import Person, random_person
from datasets.render.texture import TEXTURE_SIZE, paint_face

_HIDDEN_BEHIND = 7.0  # mm of depth by which the surface may lie in front of a landmark that is still seen


class RenderedFace(NamedTuple):
    """A rendered picture and what is true of it.

    Attributes:
        image: (size, size, 3) uint8 RGB.
        points_image: (68, 2) float64 pixels.
        visible: (68,) bool, False where the head itself or something in front hides the landmark.
    """

    image: np.ndarray
    points_image: np.ndarray
    visible: np.ndarray


class _Surface(NamedTuple):
    """The head's sheet as the camera sees it: where each pixel lies on the sheet, how deep, and whether it is hit."""

    grid: np.ndarray  # (size, size, 2) float32, column and row among the sheet's vertices
    depth: np.ndarray  # (size, size) float32 mm towards the camera
    mask: np.ndarray  # (size, size) uint8, 255 on the head


def _sheet_outline() -> np.ndarray:
    """(GRID, GRID) bool: the rounded part of the sheet that is drawn."""
    ticks = np.abs(np.linspace(-1, 1, GRID))
    return ticks[None, :] ** 4 + ticks[:, None] ** 4 < 1


_OUTLINE = _sheet_outline()


def _splat(dense: np.ndarray, seen: np.ndarray, size: int) -> np.ndarray:
    """Sets points (D, D, 3), x and y in pixels and depth, down on the picture, back to front.

    Returns:
        (size * size,) the number of the point that each pixel caught, -1 where none.
    """
    column, row = np.rint(dense[..., 0]).astype(np.int32), np.rint(dense[..., 1]).astype(np.int32)
    inside = seen & (column >= 0) & (column < size) & (row >= 0) & (row < size)
    points = np.flatnonzero(inside)
    depth = dense[..., 2].ravel()[points]
    low, high = depth.min(), depth.max()
    # 16-bit keys are sorted by radix, several times faster than floats.
    order = np.argsort(((depth - low) * (65535 / (high - low))).astype(np.uint16), kind="stable")
    points = points[order]
    caught = np.full(size * size, -1, np.int64)
    caught[row.ravel()[points] * size + column.ravel()[points]] = points
    return caught


def _to_pixel_centres(
    dense: np.ndarray, points: np.ndarray, pixels: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Columns and rows among the sheet's points, with fractions, at the centres of the pixels that caught points."""
    count = len(dense)
    at_row, at_column = np.divmod(points, count)
    xy = dense[..., :2].reshape(-1, 2)
    along = (xy[points + (at_column < count - 1)] - xy[points - (at_column > 0)]) / 2
    down = (xy[points + count * (at_row < count - 1)] - xy[points - count * (at_row > 0)]) / 2
    off = np.stack([pixels % size, pixels // size], axis=1) - xy[points]
    determinant = along[:, 0] * down[:, 1] - down[:, 0] * along[:, 1]
    determinant = np.where(np.abs(determinant) < 0.02, np.inf, determinant)
    step_along = (down[:, 1] * off[:, 0] - down[:, 0] * off[:, 1]) / determinant
    step_down = (along[:, 0] * off[:, 1] - along[:, 1] * off[:, 0]) / determinant
    return at_column + np.clip(step_along, -2, 2), at_row + np.clip(step_down, -2, 2)


def _rasterise(pixels: np.ndarray, facing: np.ndarray, scale: float, size: int) -> _Surface:
    """Draws the sheet's vertices, x and y in pixels and depth in mm (GRID, GRID, 3), the nearest on top.

    Points of the sheet are set down more densely than the pixels. Each pixel then moves from the point it caught to its
    own centre by the sheet's slope there, and the holes of stretched places are filled from around.
    """
    count = int(np.clip(scale * 300 * 1.3, GRID, 420))
    dense = cv2.resize(pixels.astype(np.float32), (count, count), interpolation=cv2.INTER_LINEAR)
    drawn = (facing & _OUTLINE).astype(np.uint8)
    seen = cv2.resize(drawn, (count, count), interpolation=cv2.INTER_NEAREST) > 0
    caught = _splat(dense, seen, size)
    hit = np.flatnonzero(caught >= 0)
    column, row = _to_pixel_centres(dense, caught[hit], hit, size)
    maps = np.zeros((size * size, 3), np.float32)
    maps[hit, 0] = (column + 0.5) * (GRID / count) - 0.5
    maps[hit, 1] = (row + 0.5) * (GRID / count) - 0.5
    maps[hit, 2] = dense[..., 2].ravel()[caught[hit]]
    mask = np.where(caught >= 0, 255, 0).astype(np.uint8)
    return _fill_holes(maps.reshape(size, size, 3), mask.reshape(size, size))


def _fill_holes(maps: np.ndarray, mask: np.ndarray) -> _Surface:
    for _ in range(2):
        closed = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
        hole = (closed > 0) & (mask == 0)
        if not hole.any():
            break
        weight = cv2.blur((mask > 0).astype(np.float32), (5, 5))
        around = cv2.blur(maps, (5, 5))
        maps[hole] = around[hole] / np.maximum(weight[hole], 0.02)[:, None]
        mask = np.where(hole & (weight > 0.02), 255, mask).astype(np.uint8)
    return _Surface(np.ascontiguousarray(maps[..., :2]), maps[..., 2], mask)


def _shade(normals: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Light on each vertex (GRID, GRID, 4): factors for red, green, blue, and an added highlight, from normals."""
    tint = 1 + rng.normal(0, 0.045, (2, 3)) * rng.integers(0, 2)
    azimuth, height = np.radians(rng.normal(0, 45)), np.radians(rng.normal(22, 22))
    key = np.array([np.sin(azimuth) * np.cos(height), -np.sin(height), np.cos(azimuth) * np.cos(height)])
    ambient, wrap = rng.uniform(0.2, 0.85), rng.uniform(0, 0.4)
    lambert = np.clip((normals @ key.astype(np.float32) + wrap) / (1 + wrap), 0, 1)
    sky = 0.8 - 0.25 * rng.random() * normals[..., 1]
    light = ambient * sky[..., None] * tint[0] + (1.15 - 0.6 * ambient) * lambert[..., None] * tint[1]
    if rng.random() < 0.25:
        side = np.array([rng.choice([-1.0, 1.0]), 0.0, -0.1], np.float32)
        light = light + rng.uniform(0.2, 0.9) * np.clip(normals @ side, 0, 1)[..., None] * tint[0]
    halfway = np.add(key, (0, 0, 1))
    halfway = (halfway / np.linalg.norm(halfway)).astype(np.float32)
    shine = np.clip(normals @ halfway, 0, 1) ** rng.uniform(8, 40) * 255 * rng.uniform(0, 1) ** 2 * 0.25
    return np.concatenate([light, shine[..., None]], axis=-1).astype(np.float32)


def _paint_head(image: np.ndarray, surface: _Surface, texture: np.ndarray, light: np.ndarray) -> None:
    """Lays the lit texture over the float32 image wherever the head is."""
    left, top, width, height = cv2.boundingRect(surface.mask)
    window = slice(top, top + height), slice(left, left + width)
    column, row, mask = surface.grid[..., 0][window], surface.grid[..., 1][window], surface.mask[window]
    zoom = np.float32((TEXTURE_SIZE - 1) / (GRID - 1))
    colour = cv2.remap(texture, column * zoom, row * zoom, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    shade = cv2.remap(light, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    lit = colour * shade[..., :3] + shade[..., 3:]
    alpha = cv2.GaussianBlur(mask, (3, 3), 0.7).astype(np.float32) / 255 * (mask > 0)
    patch = image[window]
    patch += (lit - patch) * alpha[..., None]


def _jittered(rng: np.random.Generator, size: int) -> tuple[float, np.ndarray]:
    """The picture's side that the landmarks fill, in pixels, and where their middle lies."""
    side = rng.uniform(0.40, 0.65) * size
    room = (0.92 * size - side) / 2
    return side, (size - 1) / 2 + np.clip(rng.normal(0, 0.05 * size, 2), -room, room)


def _visibility(landmarks: np.ndarray, surface: _Surface, occluded: np.ndarray) -> np.ndarray:
    """(68,) bool from landmarks (68, 3), x and y in pixels and depth in mm."""
    size = len(occluded)
    column, row = np.rint(landmarks[:, :2]).astype(int).T
    inside = (column >= 0) & (column < size) & (row >= 0) & (row < size)
    column, row = column.clip(0, size - 1), row.clip(0, size - 1)
    farthest = cv2.erode(np.where(surface.mask > 0, surface.depth, np.float32(-1e6)), np.ones((3, 3), np.uint8))
    covered = farthest[row, column] > landmarks[:, 2] + _HIDDEN_BEHIND  # a pixel beside a silhouette counts as seen
    return inside & ~covered & (occluded[row, column] < 128)


def render_face(rng: np.random.Generator, size: int = 224, person: Person | None = None) -> RenderedFace:
    """Renders one face.

    Args:
        rng: the only source of chance; the same state gives the same bytes.
        size: side of the picture in pixels; the landmarks' box takes 40 to 65 % of it.
        person: who to show; drawn from rng where None.

    Raises:
        ValueError: size is below 32 pixels.
    """
    if size < 32:
        raise ValueError(f"a rendered face needs a picture of at least 32 pixels, got {size}")
    person = random_person(rng) if person is None else person
    landmarks = labels.landmarks_3d(person.controls, person.pose)
    flat = face_mesh.project(landmarks, person.pose)[:, :2]
    side, centre = _jittered(rng, size)
    low, high = flat.min(axis=0), flat.max(axis=0)
    scale = side / (high - low).max()
    camera = face_scene.Camera(person.pose, scale, centre - scale * (low + high) / 2)

    vertices = face_mesh.make_vertices(person.controls)
    normals = face_mesh.normals(vertices) @ person.pose.rotation().T.astype(np.float32)
    surface = _rasterise(camera.see(vertices), normals[..., 2] > -0.05, scale, size)
    light = _shade(normals, rng)
    level = rng.uniform(0.72, 1.08) / light[GRID // 4 : -GRID // 4, GRID // 4 : -GRID // 4, :3].mean()
    light[..., :3] *= level

    image = face_scene.background(rng, size)
    middle = light[GRID // 2, GRID // 2, :3]
    face_scene.draw_behind(image, rng, camera, person.look, middle)
    _paint_head(image, surface, paint_face(rng, person.look, person.expression, person.controls), light)
    occluded = np.zeros((size, size), np.uint8)
    face_scene.draw_in_front(image, occluded, rng, camera, person.look, person.controls, middle)
    picture = face_scene.photograph(image, rng)
    points = camera.see(labels.as_annotated(landmarks))[:, :2]
    return RenderedFace(picture, points.astype(np.float64), _visibility(camera.see(landmarks), surface, occluded))


class RenderedFaces:
    """A numbered collection of rendered faces; face i depends on (seed, i) only.

    Args:
        count: how many faces.
        seed: which collection.
        size: side of each picture in pixels.

    Raises:
        ValueError: count or seed is negative.
    """

    markup = IBUG_68

    def __init__(self, count: int, seed: int = 0, size: int = 224):
        if count < 0 or seed < 0:
            raise ValueError(f"rendered faces need a count and a seed of at least 0, got {count} and {seed}")
        self.seed = seed
        self.size = size
        self.names: Sequence[str] = [f"rendered_{i:06d}" for i in range(count)]

    def __len__(self) -> int:
        return len(self.names)

    def render(self, index: int) -> RenderedFace:
        """Face number index with its visibility."""
        if not 0 <= index < len(self):
            raise IndexError(f"face {index} of {len(self)}")
        return render_face(np.random.default_rng(np.random.SeedSequence((self.seed, index))), self.size)

    def __getitem__(self, index: int) -> Face:
        face = self.render(index)
        box = np.concatenate([face.points_image.min(axis=0), face.points_image.max(axis=0)])
        return Face(face.image, face.points_image, box, self.names[index])


def contact_sheet(faces: RenderedFaces, landmarks: bool = False, columns: int = 10) -> np.ndarray:
    """All faces in one RGB picture; seen landmarks are drawn green, hidden ones red."""
    rows = -(-len(faces) // columns)
    sheet = np.zeros((rows * faces.size, columns * faces.size, 3), np.uint8)
    for i in range(len(faces)):
        face = faces.render(i)
        if landmarks:
            for point, seen in zip(face.points_image, face.visible):
                centre = np.round(point * 16).astype(int).tolist()
                cv2.circle(face.image, centre, 20, (0, 255, 0) if seen else (255, 0, 0), -1, cv2.LINE_AA, 4)
        top, left = i // columns * faces.size, i % columns * faces.size
        sheet[top : top + faces.size, left : left + faces.size] = face.image
    return sheet


def main(argv: Sequence[str] | None = None) -> int:
    """Writes a contact sheet."""
    parser = cli.make_parser("Writes a contact sheet of rendered faces.")
    parser.add_argument("--out", required=True, type=cli.path, help="output picture, such as sheet.png")
    parser.add_argument("--count", type=cli.count, default=100, help="number of faces")
    parser.add_argument("--seed", type=cli.seed, default=0, help="number of the collection")
    parser.add_argument("--size", type=cli.count, default=224, help="side of each face's picture, pixels")
    parser.add_argument("--landmarks", action="store_true", help="draw the landmarks: green seen, red hidden")
    arguments = parser.parse_args(argv)
    cli.output_file(arguments.out)
    faces = RenderedFaces(arguments.count, arguments.seed, arguments.size)
    write_image(arguments.out, contact_sheet(faces, arguments.landmarks))
    return 0


if __name__ == "__main__":
    cli.run(main)
