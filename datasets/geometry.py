"""Boxes, and the one affine matrix that warps an image and its points together.

Pixel centres lie at integer coordinates. A crop is read cell by cell, so a square box whose corner is (x0, y0) and
whose side is `side` maps to a crop of S pixels by x_image = x0 + (x_crop + 0.5) * side / S - 0.5.
"""

from __future__ import annotations

import cv2
import numpy as np

FARTHEST = 1e6  # pixels from the photo's corner: no landmark or box lies farther out
LEAST_SIDE = 1e-3  # pixels of a face's box; a crop of less is a single colour, and its matrix overflows


def all_placed(coordinates: np.ndarray) -> bool:
    """Whether all coordinates are numbers that a photo can have, neither infinite nor absurd."""
    return bool((np.abs(coordinates) <= FARTHEST).all())


def landmark_box(points: np.ndarray) -> np.ndarray:
    """Tight box (4,) x0, y0, x1, y1 around points (K, 2); NaN points are left out.

    Raises:
        ValueError: no point is annotated.
    """
    known = points[~np.isnan(points).any(axis=1)]
    if len(known) == 0:
        raise ValueError("no annotated landmark to put a box around")
    return np.concatenate([known.min(axis=0), known.max(axis=0)])


def square_box(box: np.ndarray, margin: float) -> np.ndarray:
    """Square (4,) about the centre of box (4,), its side (1 + margin) times the longer side of the box.

    Raises:
        ValueError: the box has no extent, or a coordinate that no photo has.
    """
    x0, y0, x1, y1 = np.asarray(box, float)
    if not (all_placed(np.array([x0, y0, x1, y1])) and x1 - x0 >= LEAST_SIDE and y1 - y0 >= LEAST_SIDE):
        raise ValueError(f"face box {[float(v) for v in (x0, y0, x1, y1)]} has no area: give x0 < x1 and y0 < y1")
    half = 0.5 * (1 + margin) * max(x1 - x0, y1 - y0)
    x, y = 0.5 * (x0 + x1), 0.5 * (y0 + y1)
    return np.array([x - half, y - half, x + half, y + half])


def crop_matrix(square: np.ndarray, size: int) -> np.ndarray:
    """Matrix (2, 3) that takes image points to the crop of `size` pixels that shows the square box (4,)."""
    x0, y0, x1, _ = square
    zoom = size / (x1 - x0)
    return np.array([[zoom, 0.0, (0.5 - x0) * zoom - 0.5], [0.0, zoom, (0.5 - y0) * zoom - 0.5]])


def similarity_matrix(
    centre: tuple[float, float], rotation_degrees: float, scale: float, shift: tuple[float, float]
) -> np.ndarray:
    """Matrix (2, 3) that turns and enlarges about `centre`, then moves by `shift`, both in pixels.

    A positive angle turns the picture clockwise, as y points downwards.
    """
    angle = np.deg2rad(rotation_degrees)
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    offset = np.asarray(centre) - linear @ np.asarray(centre) + np.asarray(shift)
    return np.hstack([linear, offset[:, None]])


def mirror_matrix(size: int) -> np.ndarray:
    """Matrix (2, 3) that mirrors a crop of `size` pixels left to right: pixel 0 becomes pixel size - 1."""
    return np.array([[-1.0, 0.0, size - 1.0], [0.0, 1.0, 0.0]])


def compose(second: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Matrix (2, 3) that applies `first`, then `second`."""
    linear = second[:, :2] @ first[:, :2]
    return np.hstack([linear, (second[:, :2] @ first[:, 2] + second[:, 2])[:, None]])


def invert(matrix: np.ndarray) -> np.ndarray:
    """Matrix (2, 3) that undoes `matrix`."""
    linear = np.linalg.inv(matrix[:, :2])
    return np.hstack([linear, -(linear @ matrix[:, 2])[:, None]])


def transform_points(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Points (..., 2) taken through matrix (2, 3); NaN stays NaN."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def warp_image(image: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """Crop (size, size, C) uint8 of image (H, W, C) under matrix (2, 3), image to crop; black outside the image.

    Shrinking to less than half averages first, or single pixels would decide.
    """
    zoom = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    image, matrix = _window(image, matrix, size, border=2 + int(1 / zoom))
    if image.size == 0:
        return np.zeros((size, size, *image.shape[2:]), np.uint8)
    if zoom < 0.5:
        image, matrix = _shrunk(image, matrix, int(1 / zoom))
    return cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR)


def _window(image: np.ndarray, matrix: np.ndarray, size: int, border: int) -> tuple[np.ndarray, np.ndarray]:
    """The part of an image that a crop shows, and the matrix from there: OpenCV warps no side above 32,767 pixels."""
    corners_crop = np.array([[-0.5, -0.5], [size, -0.5], [-0.5, size], [size, size]])
    corners = transform_points(corners_crop, invert(matrix))
    limits = (image.shape[1], image.shape[0])
    x0, y0 = np.clip(np.floor(corners.min(axis=0)) - border, 0, limits).astype(int)
    x1, y1 = np.clip(np.ceil(corners.max(axis=0)) + border, 0, limits).astype(int)
    return image[y0:y1, x0:x1], compose(matrix, np.array([[1.0, 0.0, x0], [0.0, 1.0, y0]]))


def _shrunk(image: np.ndarray, matrix: np.ndarray, factor: int) -> tuple[np.ndarray, np.ndarray]:
    """An image averaged over cells of about `factor` pixels, and the matrix from there."""
    height, width = image.shape[:2]
    small_size = (max(1, width // factor), max(1, height // factor))
    fx, fy = small_size[0] / width, small_size[1] / height
    to_small = np.array([[fx, 0.0, 0.5 * fx - 0.5], [0.0, fy, 0.5 * fy - 0.5]])
    small = cv2.resize(image, small_size, interpolation=cv2.INTER_AREA)
    return small, compose(matrix, invert(to_small))
