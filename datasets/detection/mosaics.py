"""Training squares tiled from random parts of photos: whole photos, photos of one face, and photos without faces [B15].

Small tiles show small faces and crowds; tiles without a face teach what is none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Sequence

import numpy as np

from datasets.augment import Augmentation, add_noise, blur, change_colour
from datasets.detection.boxed_photos import BoxedPhoto, PhotoSource
from datasets.detection.landmark_boxes import face_box
from datasets.faces import FaceDataset
from datasets.geometry import compose, crop_matrix, similarity_matrix, square_box, transform_points, warp_image
from datasets.images import read_image

LOOK = Augmentation(
    brightness_fraction=0.3,
    contrast_fraction=0.3,
    saturation_fraction=0.4,
    grayscale_probability=0.15,
    blur_probability=0.15,
    blur_sigma_pixels=1.5,
    noise_probability=0.15,
)
MOST_AROUND = 1.3  # longer sides of a photo that a tile shows at most
COVERED_SIDES = (0.2, 0.1, 0.2, 0.5)  # left, top, right, bottom: masks and hands cover from below


@dataclass(frozen=True)
class MosaicSetting:
    """How squares are tiled.

    Attributes:
        side: of the square, pixels.
        tiles: tiles along a side, one of which is drawn.
        tile_shares: how often each is.
        kinds: how often a tile shows part of a whole photo, a photo of one face, or a photo without faces.
        zooms: smallest and largest zoom of whole photos and of those without faces, for one tile; it falls with the
            root of the number of tiles along a side.
        reaches: smallest and largest side of the part around one face, in sizes of the face.
        shrunk: share of these parts that are smaller than their tile, over part of a photo without faces.
        least_zoom: of a part that is, of the tile's side.
        decoys: most parts of photos without faces that are laid in the same way over such a tile.
        soft_border: largest width of the border that fades into what lies below, of the part's side.
        rotation_degrees: largest rotation of a photo of one face.
        aimed: share of parts of whole photos that are drawn around a face.
        least_face: pixels; smaller faces are ignored.
        least_visible: share of a box within its tile; boxes with less are ignored.
        covered: share of the faces of which a part is covered, as by a mask, a hand or a shoulder.
        cover_fraction: largest share of such a face, from one of its sides.
        look: change of colour, blur and noise of the square.
    """

    side: int = 320
    tiles: tuple[int, ...] = (1, 2, 3, 4)
    tile_shares: tuple[float, ...] = (0.5, 0.3, 0.1, 0.1)
    kinds: tuple[float, float, float] = (0.6, 0.3, 0.1)
    zooms: tuple[float, float] = (0.5, 2.5)
    reaches: tuple[float, float] = (0.9, 1.8)
    shrunk: float = 0.5
    least_zoom: float = 0.15
    decoys: int = 2
    soft_border: float = 0.2
    rotation_degrees: float = 40.0
    aimed: float = 0.6
    least_face: float = 6.0
    least_visible: float = 0.5
    covered: float = 0.25
    cover_fraction: float = 0.5
    look: Augmentation = LOOK


class _Part(NamedTuple):
    """A tile: its picture (S, S, 3) and the boxes (n, 4) of the faces in it, which may reach beyond it."""

    image: np.ndarray
    boxes: np.ndarray


@dataclass(frozen=True, eq=False)
class Mosaics:
    """Squares by number; what each shows is drawn from the generator alone.

    Attributes:
        photos: whole photos; every face is annotated.
        faces: data sets of photos of one face; what lies farther off may hold faces without annotation.
        backgrounds: files of photos without faces.
        setting: how squares are tiled.
        count: squares of one epoch.
    """

    photos: PhotoSource
    faces: Sequence[FaceDataset] = ()
    backgrounds: Sequence[Path] = ()
    setting: MosaicSetting = field(default_factory=MosaicSetting)
    count: int = 2400

    def __len__(self) -> int:
        return self.count

    def sample(self, index: int, rng: np.random.Generator) -> BoxedPhoto:
        """A square, of which half are mirrored; ValueError if a photo is damaged."""
        setting = self.setting
        tiles = int(rng.choice(setting.tiles, p=setting.tile_shares))
        side = setting.side // tiles
        square = np.zeros((setting.side, setting.side, 3), np.uint8)
        boxes, ignored = [np.zeros((0, 4))], [np.zeros(0, bool)]
        for row, column in np.ndindex(tiles, tiles):
            part = self._part(side, tiles, rng)
            for box in part.boxes:
                if rng.random() < setting.covered:
                    _cover_a_side(part.image, box, setting.cover_fraction, rng)
            x, y = column * side, row * side
            square[y : y + side, x : x + side] = part.image
            inside = np.clip(part.boxes, 0, side)
            shown = _areas(inside) / np.maximum(_areas(part.boxes), 1e-9)
            small = np.sqrt(_areas(part.boxes)) < setting.least_face
            kept = shown > 0
            boxes.append(inside[kept] + [x, y, x, y])
            ignored.append((small | (shown < setting.least_visible))[kept])
        every, left_out = np.concatenate(boxes), np.concatenate(ignored)
        if rng.random() < 0.5:
            square = np.ascontiguousarray(square[:, ::-1])
            every = np.stack([setting.side - every[:, 2], every[:, 1], setting.side - every[:, 0], every[:, 3]], axis=1)
        for change in (change_colour, blur, add_noise):
            square = change(square, setting.look, rng)
        return BoxedPhoto(square, every, left_out, f"mosaic {index}")

    def _part(self, side: int, tiles: int, rng: np.random.Generator) -> _Part:
        weights = np.array(self.setting.kinds) * [1, len(self.faces) > 0, len(self.backgrounds) > 0]
        kind = int(rng.choice(3, p=weights / weights.sum()))
        if kind == 1:
            shrunk = len(self.backgrounds) > 0 and rng.random() < self.setting.shrunk
            return self._far_from_a_face(side, tiles, rng) if shrunk else self._around_a_face(side, rng)
        if kind == 2:
            return self._without_faces(side, tiles, rng)
        photo = self.photos.sample(int(rng.integers(len(self.photos))), rng)
        return self._anywhere(photo.image, photo.boxes, side, tiles, rng)

    def _anywhere(self, image: np.ndarray, boxes: np.ndarray, side: int, tiles: int, rng: np.random.Generator) -> _Part:
        zoom = np.exp(rng.uniform(*np.log(self.setting.zooms))) / np.sqrt(tiles)
        limits = np.array([image.shape[1], image.shape[0]], float)
        extent = min(side / zoom, MOST_AROUND * limits.max())
        if len(boxes) and rng.random() < self.setting.aimed:
            box = boxes[int(rng.integers(len(boxes)))]
            centre = 0.5 * (box[:2] + box[2:]) + rng.uniform(-0.4, 0.4, 2) * extent
        else:
            room = np.maximum(limits - extent, 0)
            centre = 0.5 * limits + rng.uniform(-0.5, 0.5, 2) * room
        matrix = crop_matrix(np.concatenate([centre - 0.5 * extent, centre + 0.5 * extent]), side)
        corners = transform_points(boxes.reshape(-1, 2), matrix).reshape(-1, 4)
        return _Part(warp_image(image, matrix, side), corners)

    def _without_faces(self, side: int, tiles: int, rng: np.random.Generator) -> _Part:
        image = read_image(self.backgrounds[int(rng.integers(len(self.backgrounds)))])
        return self._anywhere(image, np.zeros((0, 4)), side, tiles, rng)

    def _far_from_a_face(self, side: int, tiles: int, rng: np.random.Generator) -> _Part:
        """A small face: photos of one face may show others beyond it, so what surrounds it is another photo.

        Parts without a face are laid over that one alike, so that no border tells of a face.
        """
        around = self._without_faces(side, tiles, rng).image
        for _ in range(int(rng.integers(self.setting.decoys + 1))):
            self._lay_over(around, self._without_faces(self._small(side, rng), tiles, rng).image, rng)
        part = self._around_a_face(self._small(side, rng), rng)
        corner = self._lay_over(around, part.image, rng)
        return _Part(around, np.clip(part.boxes, 0, len(part.image)) + np.tile(corner, 2))

    def _small(self, side: int, rng: np.random.Generator) -> int:
        return max(8, round(side * np.exp(rng.uniform(np.log(self.setting.least_zoom), 0))))

    def _lay_over(self, image: np.ndarray, part: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Puts a smaller square anywhere into an image, in place; the corner (2,)."""
        x, y = corner = rng.integers(0, len(image) - len(part) + 1, 2)
        border = len(part) * rng.uniform(0, self.setting.soft_border)
        from_border = np.minimum(np.arange(len(part)), np.arange(len(part))[::-1]) + 1
        opacity = np.minimum(from_border / (border + 1), 1)
        weights = (opacity[:, None] * opacity)[..., None]
        below = image[y : y + len(part), x : x + len(part)]
        below[:] = np.rint(weights * part + (1 - weights) * below)
        return corner

    def _around_a_face(self, side: int, rng: np.random.Generator) -> _Part:
        setting = self.setting
        sizes = np.array([len(each) for each in self.faces])
        faces = self.faces[int(rng.choice(len(sizes), p=sizes / sizes.sum()))]
        face = faces[int(rng.integers(len(faces)))]
        reach = np.exp(rng.uniform(*np.log(setting.reaches)))
        box = face_box(face.points_image)
        free = max(reach - 1, 0.1)  # of the face's size, between it and the border of the part
        shift = rng.uniform(-0.5, 0.5, 2) * free / reach * side
        middle = 0.5 * (side - 1)
        move = similarity_matrix((middle, middle), rng.uniform(-1, 1) * setting.rotation_degrees, 1.0, tuple(shift))
        matrix = compose(move, crop_matrix(square_box(box, reach - 1), side))
        turned = face_box(transform_points(face.points_image, matrix))
        return _Part(warp_image(face.image, matrix, side), turned[None])


def _cover_a_side(image: np.ndarray, box: np.ndarray, most: float, rng: np.random.Generator) -> None:
    """Covers up to `most` of a face from one of its sides, by any colour or by one of the picture's, in place."""
    left, top, right, bottom = box
    width, height = rng.uniform(0.2, most) * (box[2:] - box[:2])
    sides = (
        (left, top, left + width, bottom),
        (left, top, right, top + height),
        (right - width, top, right, bottom),
        (left, bottom - height, right, bottom),
    )
    cover = np.array(sides[rng.choice(4, p=COVERED_SIDES)])
    x0, y0, x1, y1 = np.clip(np.rint(cover), 0, image.shape[0]).astype(int)
    from_the_picture = image[tuple(rng.integers(0, image.shape[0], 2))]
    image[y0:y1, x0:x1] = from_the_picture if rng.random() < 0.5 else rng.integers(0, 256, 3)


def _areas(boxes: np.ndarray) -> np.ndarray:
    """Areas (n,) of boxes (n, 4)."""
    return np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None), axis=1)
