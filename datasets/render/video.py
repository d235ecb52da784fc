"""Rendered faces that move over a background: a video whose landmarks are exact in every frame.

Each face turns and nods, moves across its part of the picture, comes nearer and goes away; faces.py renders it for
each frame. Every frame gets its own camera noise.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from datasets.geometry import crop_matrix, invert, transform_points
from datasets.markups import IBUG_68
from datasets.render.faces import render_face
from datasets.render.mesh import Pose
from datasets.render.person import Person, random_person
from datasets.render.scene import background

_PATCH = 256  # pixels of the picture that a face is rendered in
_ROOM = 0.25  # of a part's side: how far a face's centre moves from its middle at most
_NOISE = 3.0  # standard deviation, of 255
_TURNS = (25.0, 10.0, 8.0)  # degrees of yaw, pitch and roll to either side
_ZOOM = 0.15


class VideoFrame(NamedTuple):
    """A picture and what is true of it.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        points_image: (F, 68, 2) float64 pixels.
    """

    image: np.ndarray
    points_image: np.ndarray


class RenderedVideo:
    """A numbered collection of frames; each depends on the arguments and its number alone.

    Args:
        count: how many frames.
        seed: which video.
        faces: how many, side by side.
        side: of each face's part of the picture, pixels; the landmarks take about a third of it.
        rate: frames per second.
        period: seconds in which a face goes to and fro.

    Raises:
        ValueError: one of them is not positive.
    """

    markup = IBUG_68

    def __init__(
        self, count: int, seed: int = 0, faces: int = 1, side: int = 320, rate: float = 25.0, period: float = 4.0
    ) -> None:
        if min(count, faces, side, rate, period) <= 0 or seed < 0:
            raise ValueError("a rendered video needs frames, faces, a size, a rate and a period above 0")
        self.rate = rate
        self._count, self._seed, self._side, self._period = count, seed, side, period
        chances = [np.random.default_rng((seed, face)) for face in range(faces)]
        self._people = [random_person(rng) for rng in chances]
        self._phases = [rng.uniform(0, 2 * np.pi, 6) for rng in chances]
        wide = background(np.random.default_rng((seed, faces, 1)), side * faces)
        self._background = wide[:side]

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> VideoFrame:
        """Renders one frame."""
        if not 0 <= index < len(self):
            raise IndexError(f"frame {index} of {len(self)}")
        image = self._background.copy()
        points = [self._add_face(image, face, index / self.rate) for face in range(len(self._people))]
        noise = np.random.default_rng((self._seed, index, 2)).normal(0, _NOISE, image.shape)
        return VideoFrame(np.clip(image + noise, 0, 255).round().astype(np.uint8), np.stack(points))

    def _add_face(self, image: np.ndarray, face: int, seconds: float) -> np.ndarray:
        """Lays a face over the float picture; its points (68, 2)."""
        # Six movements of slightly different periods, so that none repeats with another.
        waves = np.sin(2 * np.pi * seconds / self._period * (1 + 0.1 * np.arange(6)) + self._phases[face])
        rendered = render_face(np.random.default_rng((self._seed, face, 3)), _PATCH, self._turned(face, waves[:3]))
        side = 0.7 * self._side * (1 + _ZOOM * waves[3])
        centre = self._side * ((face + 0.5, 0.5) + 0.5 * _ROOM * waves[4:])
        to_patch = crop_matrix(np.concatenate([centre - side / 2, centre + side / 2]), _PATCH)
        to_image = invert(to_patch)
        size = image.shape[1::-1]
        shown = cv2.warpAffine(_averaged(rendered.image, side / _PATCH), to_image, size, flags=cv2.INTER_LINEAR)
        share = cv2.warpAffine(_SOFT_BORDER, to_image, size, flags=cv2.INTER_LINEAR)[..., None]
        image += share * (shown - image)
        return transform_points(rendered.points_image, to_image)

    def _turned(self, face: int, waves: np.ndarray) -> Person:
        person = self._people[face]
        yaw, pitch, roll = (degrees * wave for degrees, wave in zip(_TURNS, waves))
        return person._replace(pose=Pose(yaw, pitch, roll, person.pose.distance))


def _averaged(image: np.ndarray, zoom: float) -> np.ndarray:
    """Blurred as far as shrinking it asks for, or single pixels would flicker."""
    return cv2.GaussianBlur(image, (0, 0), max(0.3, 0.5 * (1 / zoom - 1) + 0.3)).astype(np.float32)


def _soft_border() -> np.ndarray:
    """(_PATCH, _PATCH) float32 from 0 at the border to 1 an eighth of the side inwards."""
    ramp = np.clip((np.arange(_PATCH) + 0.5) / (_PATCH / 8), 0, 1)
    ramp = np.minimum(ramp, ramp[::-1])
    return np.outer(ramp, ramp).astype(np.float32)


_SOFT_BORDER = _soft_border()
