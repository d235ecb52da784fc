"""Random training crops: one matrix moves picture and points, then the picture alone changes its look.

The look may be left to the device that trains (training/looks.py): it is drawn here all the same.

Every setting carries its unit in its name, every draw comes from the generator that is handed in.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import NamedTuple

import cv2
import numpy as np

from datasets.faces import Face
from datasets.geometry import (
    compose,
    crop_matrix,
    mirror_matrix,
    similarity_matrix,
    square_box,
    transform_points,
    warp_image,
)
from datasets.markups import Markup

# Picking one of 256 equally likely values takes an eighth of the time of drawing from the distribution.
NORMAL_QUANTILES = np.array([NormalDist().inv_cdf((i + 0.5) / 256) for i in range(256)], np.float32)


@dataclass(frozen=True)
class Augmentation:
    """How far a training crop may be taken from the plain one; every range is symmetric and drawn uniformly."""

    rotation_degrees: float = 0.0
    scale_fraction: float = 0.0  # 0.2: the face is drawn 0.8 to 1.2 times as large
    shift_fraction: float = 0.0  # of the crop's side
    box_jitter_fraction: float = 0.0  # each side of the face box moves by up to this much of the box's size
    flip_probability: float = 0.0
    scale_range: tuple[float, float] | None = None  # of how many times as large it is drawn, instead of the fraction
    shear_fraction: float = 0.0  # 0.1: a pixel moves by up to 0.1 to the side for each that it lies below the middle
    brightness_fraction: float = 0.0
    contrast_fraction: float = 0.0
    saturation_fraction: float = 0.0
    grayscale_probability: float = 0.0
    blur_probability: float = 0.0
    blur_sigma_pixels: float = 2.0
    noise_probability: float = 0.0
    noise_sigma_levels: float = 12.0  # of the 256 grey levels
    occlusion_probability: float = 0.0
    occlusion_fraction: float = 0.4  # longest side of an occluding box, of the crop's side


def jitter_box(box: np.ndarray, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """Box (4,) with each side moved by up to `fraction` of the box's width or height."""
    width, height = box[2] - box[0], box[3] - box[1]
    return box + rng.uniform(-fraction, fraction, 4) * np.array([width, height, width, height])


def random_matrix(
    box: np.ndarray, size: int, margin: float, setting: Augmentation, rng: np.random.Generator
) -> np.ndarray:
    """Image-to-crop matrix (2, 3) with random box jitter, shear, rotation, scale and shift; no flip."""
    square = square_box(jitter_box(box, setting.box_jitter_fraction, rng), margin)
    middle = 0.5 * (size - 1)
    rotation = rng.uniform(-1, 1) * setting.rotation_degrees
    smallest, largest = setting.scale_range or (1 - setting.scale_fraction, 1 + setting.scale_fraction)
    scale = 0.5 * (smallest + largest) + rng.uniform(-1, 1) * 0.5 * (largest - smallest)
    shift = rng.uniform(-1, 1, 2) * setting.shift_fraction * size
    move = similarity_matrix((middle, middle), rotation, scale, (shift[0], shift[1]))
    plain = crop_matrix(square, size)
    # Nothing is drawn where nothing is sheared: the crops of earlier runs stay the same.
    if setting.shear_fraction:
        plain = compose(_shear_matrix(middle, rng.uniform(-1, 1) * setting.shear_fraction), plain)
    return compose(move, plain)


def _shear_matrix(middle: float, shear: float) -> np.ndarray:
    """Matrix (2, 3) that moves each row of a crop to the side by `shear` times its distance below the middle."""
    return np.array([[1.0, shear, -shear * middle], [0.0, 1.0, 0.0]])


class Look(NamedTuple):
    """What is drawn for the pixels of one crop, but for noise; all arrays float32.

    Attributes:
        colour: (3, 4), factors and offset of the new red, green and blue.
        blur_sigma: (1,) in pixels, 0 for none.
        box: (4,) x, y, width and height of what covers the crop, 0 for nothing.
        box_colour: (3,) grey levels, NaN for noise.
        noise_sigma: (1,) in grey levels, 0 for none.
    """

    colour: np.ndarray
    blur_sigma: np.ndarray
    box: np.ndarray
    box_colour: np.ndarray
    noise_sigma: np.ndarray

    @classmethod
    def split(cls, looks: np.ndarray) -> Look:
        """Looks (N, LOOK_LENGTH) as those of `draw_look` stacked -> each part with N in front."""
        colour, *others = np.split(looks, np.cumsum(_LOOK_PARTS)[:-1], axis=1)
        return cls(colour.reshape(-1, 3, 4), *others)


_LOOK_PARTS = (12, 1, 4, 3, 1)  # lengths of the parts
LOOK_LENGTH = sum(_LOOK_PARTS)
_SAME_COLOUR = np.eye(3, 4)


def _draw_colour(setting: Augmentation, rng: np.random.Generator) -> np.ndarray | None:
    """(3, 4), see Look; None where colours stay as they are."""
    contrast = 1 + rng.uniform(-1, 1) * setting.contrast_fraction
    brightness = rng.uniform(-1, 1) * setting.brightness_fraction * 255
    saturation = 1 + rng.uniform(-1, 1) * setting.saturation_fraction
    if rng.random() < setting.grayscale_probability:
        saturation = 0.0
    if saturation == 1 and contrast == 1 and brightness == 0:
        return None
    # Saturation, contrast and brightness are one affine map of the colours, so the picture is touched once.
    luma = np.array([0.299, 0.587, 0.114])
    mix = contrast * (saturation * np.eye(3) + (1 - saturation) * np.tile(luma, (3, 1)))
    offset = np.full((3, 1), 127.5 * (1 - contrast) + brightness)
    return np.hstack([mix, offset])


def change_colour(crop: np.ndarray, setting: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """Crop (S, S, 3) uint8 with random brightness, contrast about mid-grey and saturation."""
    colour = _draw_colour(setting, rng)
    return crop if colour is None else cv2.transform(crop, colour)


def _draw_blur(setting: Augmentation, rng: np.random.Generator) -> float:
    if rng.random() >= setting.blur_probability:
        return 0.0
    return rng.uniform(0.3, 1.0) * setting.blur_sigma_pixels


def blur(crop: np.ndarray, setting: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """Gaussian blur of random strength, in some of the crops."""
    sigma = _draw_blur(setting, rng)
    return cv2.GaussianBlur(crop, (0, 0), sigma) if sigma else crop


def blur_weights(sigma: float) -> np.ndarray:
    """The weights of `blur` along each axis, (2 * radius + 1,), by OpenCV's rule for uint8."""
    return cv2.getGaussianKernel(int(np.rint(6 * sigma + 1)) | 1, sigma)[:, 0]


def _draw_noise(setting: Augmentation, rng: np.random.Generator) -> float:
    if rng.random() >= setting.noise_probability:
        return 0.0
    return rng.uniform(0.2, 1.0) * setting.noise_sigma_levels


def add_noise(crop: np.ndarray, setting: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """Gaussian pixel noise of random strength, in some of the crops."""
    sigma = _draw_noise(setting, rng)
    if not sigma:
        return crop
    noise = cv2.LUT(rng.integers(0, 256, crop.shape, dtype=np.uint8), NORMAL_QUANTILES * np.float32(sigma))
    return cv2.add(crop, noise, dtype=cv2.CV_8UC3)  # type: ignore[attr-defined]  # OpenCV's stubs lack it


class _Cover(NamedTuple):
    box: tuple[int, int, int, int]  # x, y, width, height
    colour: np.ndarray
    is_noise: bool


def _draw_cover(size: int, setting: Augmentation, rng: np.random.Generator) -> _Cover | None:
    if rng.random() >= setting.occlusion_probability:
        return None
    width, height = (rng.uniform(0.1, 1.0, 2) * setting.occlusion_fraction * size).astype(int) + 1
    x, y = rng.integers(0, size - width + 1), rng.integers(0, size - height + 1)
    colour = rng.integers(0, 256, 3)
    return _Cover((x, y, width, height), colour, rng.random() < 0.5)


def occlude(crop: np.ndarray, setting: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """Covers some crops with one box, of one colour or of noise."""
    cover = _draw_cover(crop.shape[0], setting, rng)
    if cover is not None:
        x, y, width, height = cover.box
        colour = rng.integers(0, 256, (height, width, 3)) if cover.is_noise else cover.colour
        crop[y : y + height, x : x + width] = colour
    return crop


def draw_look(size: int, setting: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """What `change_colour`, `blur`, `occlude` and `add_noise` would draw in turn, (LOOK_LENGTH,) float32; see Look.

    Noise is left to whoever applies it; where it covers a box, what is drawn after it is another value.
    """
    colour, sigma = _draw_colour(setting, rng), _draw_blur(setting, rng)
    cover = _draw_cover(size, setting, rng) or _Cover((0, 0, 0, 0), np.zeros(3), False)
    box_colour = np.full(3, np.nan) if cover.is_noise else cover.colour
    parts = [_SAME_COLOUR if colour is None else colour, sigma, cover.box, box_colour, _draw_noise(setting, rng)]
    return np.concatenate([np.ravel(part) for part in parts]).astype(np.float32)


@dataclass(frozen=True)
class TrainingCrop:
    """Turns a face into a random crop (S, S, 3) uint8 and its points (K, 2), in pixels of the crop.

    With `looks_apart` the crop's pixels stay as they are, and a third array says how to change them: see `draw_look`.
    """

    size: int
    margin: float
    markup: Markup
    setting: Augmentation
    looks_apart: bool = False

    def __call__(self, face: Face, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Draws everything from `rng`, so the same generator gives the same crop."""
        matrix = random_matrix(face.box, self.size, self.margin, self.setting, rng)
        points_image = face.points_image
        if rng.random() < self.setting.flip_probability and self.markup.can_flip:
            matrix = compose(mirror_matrix(self.size), matrix)
            points_image = self.markup.mirrored(points_image, float((face.box[2:] - face.box[:2]).max()))
        crop = warp_image(face.image, matrix, self.size)
        points_crop = transform_points(points_image, matrix).astype(np.float32)
        if self.looks_apart:
            return crop, points_crop, draw_look(self.size, self.setting, rng)
        for change in (change_colour, blur, occlude, add_noise):
            crop = change(crop, self.setting, rng)
        return crop, points_crop


def with_colour(setting: Augmentation) -> Augmentation:
    """The same with changes of colour at strengths that photos show."""
    return replace(
        setting, brightness_fraction=0.2, contrast_fraction=0.3, saturation_fraction=0.4, grayscale_probability=0.1
    )


def with_photometric(setting: Augmentation) -> Augmentation:
    """The same geometry with colour, blur, noise and occlusion at strengths that photos show."""
    return replace(with_colour(setting), blur_probability=0.2, noise_probability=0.2, occlusion_probability=0.4)
