"""Faces made harder by known amounts: turned, boxed badly, blurred, noisy, compressed, small, covered, dark or bright.

Every face is first drawn at one size, FACE_SIDE pixels for the longer side of its box, in a picture that leaves room
around it; amounts so mean the same for every face and every network. What is random, such as the side to turn to, comes
from a generator that the caller seeds by face, so that more of a degradation is more of the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, NamedTuple

import cv2
import numpy as np

from datasets.geometry import compose, crop_matrix, similarity_matrix, square_box, transform_points, warp_image

FACE_SIDE = 256  # pixels
PICTURE_SIDE = 640  # pixels: the rest is room for boxes that are shifted or too large


class View(NamedTuple):
    """What a network is shown of a face.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        box: (4,) x0, y0, x1, y1 of the face in pixels of the image.
        matrix: (2, 3), takes pixels of the photo to pixels of the image.
    """

    image: np.ndarray
    box: np.ndarray
    matrix: np.ndarray


Change = Callable[[View, float, np.random.Generator], View]


@dataclass(frozen=True)
class Degradation:
    """One way to make faces harder.

    Attributes:
        name: In files, such as "blur".
        title: In words.
        unit: What an amount counts.
        amounts: What is tried, in the order of the axis.
        neutral: The amount among them that leaves a face as it is.
        change: (view, amount, rng) -> view.
    """

    name: str
    title: str
    unit: str
    amounts: tuple[float, ...]
    neutral: float
    change: Change

    def __call__(self, view: View, amount: float, rng: np.random.Generator) -> View:
        """The view with that much of it; the neutral amount gives the very same view."""
        return view if amount == self.neutral else self.change(view, amount, rng)


def plain_view(image: np.ndarray, box: np.ndarray) -> View:
    """The face of a photo (H, W, 3) in its box (4,), drawn at one size; black outside the photo."""
    matrix = crop_matrix(square_box(box, PICTURE_SIDE / FACE_SIDE - 1), PICTURE_SIDE)
    corners = transform_points(np.reshape(box, (2, 2)) - 0.5, matrix) + 0.5
    return View(warp_image(image, matrix, PICTURE_SIDE), corners.ravel(), matrix)


def turn(view: View, degrees: float, rng: np.random.Generator) -> View:
    """Turns the picture about the middle of the face's box, to a random side; the box stays."""
    return turned_by(view, degrees * rng.choice((-1, 1)))


def turned_by(view: View, degrees: float) -> View:
    """The picture turned clockwise about the middle of the face's box; the box stays."""
    move = similarity_matrix(_middle(view.box), degrees, 1.0, (0.0, 0.0))
    return View(warp_image(view.image, move, view.image.shape[0]), view.box, compose(move, view.matrix))


def scale_box(view: View, factor: float, rng: np.random.Generator) -> View:
    """Makes the box `factor` times as large about its middle; the picture stays."""
    middle = np.tile(0.5 * (view.box[:2] + view.box[2:]), 2)
    return view._replace(box=middle + factor * (view.box - middle))


def shift_box(view: View, fraction: float, rng: np.random.Generator) -> View:
    """Moves the box by a fraction of its longer side, in a random direction; the picture stays."""
    angle = rng.uniform(0, 2 * np.pi)
    step = fraction * _longer(view.box) * np.array([np.cos(angle), np.sin(angle)])
    return view._replace(box=view.box + np.tile(step, 2))


def blur(view: View, fraction: float, rng: np.random.Generator) -> View:
    """Gaussian blur whose sigma is a fraction of the longer side of the box."""
    return view._replace(image=cv2.GaussianBlur(view.image, (0, 0), fraction * _longer(view.box)))


def add_noise(view: View, sigma: float, rng: np.random.Generator) -> View:
    """Gaussian noise on every channel of every pixel, `sigma` of the 256 levels."""
    noise = sigma * rng.standard_normal(view.image.shape, np.float32)
    return view._replace(image=np.clip(np.rint(view.image + noise), 0, 255).astype(np.uint8))


def compress(view: View, quality: float, rng: np.random.Generator) -> View:
    """Writes and reads the picture as JPEG of that quality, 1 to 100."""
    _, file = cv2.imencode(
        ".jpg", cv2.cvtColor(view.image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, int(quality)]
    )
    return view._replace(image=cv2.cvtColor(cv2.imdecode(file, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB))


def shrink(view: View, side: float, rng: np.random.Generator) -> View:
    """Shrinks the picture until the longer side of the box has `side` pixels, each the mean of what it covers."""
    height, width = view.image.shape[:2]
    factor = side / _longer(view.box)
    size = (round(width * factor), round(height * factor))
    fx, fy = size[0] / width, size[1] / height
    matrix = np.array([[fx, 0.0, 0.5 * fx - 0.5], [0.0, fy, 0.5 * fy - 0.5]])
    image = cv2.resize(view.image, size, interpolation=cv2.INTER_AREA)
    return View(image, view.box * np.array([fx, fy, fx, fy]), compose(matrix, view.matrix))


def cover(view: View, fraction: float, rng: np.random.Generator) -> View:
    """Covers a fraction of the box's area with one rectangle of its proportions and one colour, somewhere inside it."""
    place, colour = rng.uniform(size=2), rng.integers(0, 256, 3)
    sides = view.box[2:] - view.box[:2]
    covered = np.sqrt(fraction) * sides
    corner = view.box[:2] + place * (sides - covered)
    x0, y0 = np.rint(corner).astype(int)
    x1, y1 = np.rint(corner + covered).astype(int)
    image = view.image.copy()
    image[y0:y1, x0:x1] = colour
    return view._replace(image=image)


def expose(view: View, factor: float, rng: np.random.Generator) -> View:
    """Multiplies every level by a factor; what exceeds 255 stays there."""
    return view._replace(image=cv2.convertScaleAbs(view.image, alpha=factor))


def _middle(box: np.ndarray) -> tuple[float, float]:
    # A box counts from the outer edges of pixels, a matrix from their centres.
    return 0.5 * float(box[0] + box[2]) - 0.5, 0.5 * float(box[1] + box[3]) - 0.5


def _longer(box: np.ndarray) -> float:
    return float(max(box[2] - box[0], box[3] - box[1]))


_OF_BOX = "of the box's longer side"
DEGRADATIONS: tuple[Degradation, ...] = (
    Degradation("rotation", "Rotation in the plane", "degrees to either side", (0, 10, 20, 30, 45, 60, 90), 0, turn),
    Degradation("box_scale", "Scale of the box", "times its size", (0.7, 0.8, 0.9, 1, 1.1, 1.25, 1.5), 1, scale_box),
    Degradation("box_shift", "Shift of the box", _OF_BOX, (0, 0.05, 0.1, 0.15, 0.2, 0.3), 0, shift_box),
    Degradation("blur", "Blur", f"sigma, {_OF_BOX}", (0, 0.005, 0.01, 0.02, 0.03, 0.05), 0, blur),
    Degradation("noise", "Noise", "sigma, of 256 levels", (0, 8, 16, 32, 48, 64), 0, add_noise),
    Degradation("jpeg", "JPEG", "quality", (100, 50, 30, 20, 10, 5), 100, compress),
    Degradation("resolution", "Resolution", "pixels of the box's longer side", (256, 128, 96, 64, 48, 32), 256, shrink),
    Degradation("occlusion", "Occluding rectangle", "of the box's area", (0, 0.05, 0.1, 0.2, 0.3, 0.5), 0, cover),
    Degradation("brightness", "Brightness", "times every level", (0.1, 0.25, 0.5, 1, 1.5, 2, 3), 1, expose),
)
