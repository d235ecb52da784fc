"""Photos of one large face each, shrunk and placed several to a larger canvas: something to detect faces in [B10].

What lies between the faces is another of the photos, enlarged and blurred until no face is left in it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from datasets.detection.boxed_photos import BoxedPhoto
from datasets.detection.landmark_boxes import face_box
from datasets.faces import Face, FaceDataset

BLUR = 0.15  # standard deviation, of the canvas's shorter side: wider than any feature of an enlarged face
LEAST_REACH, MOST_REACH = 0.05, 0.6  # of the photo left around a face on each side, in sizes of the face
ATTEMPTS = 8  # to find room for a face


@dataclass(frozen=True)
class CanvasSetting:
    """How canvases are laid out.

    Attributes:
        width: pixels.
        height: pixels.
        smallest_face: longer side of a face box in pixels; sizes are spread evenly over their logarithm.
        largest_face: pixels.
        most_faces: on one canvas.
    """

    width: int = 480
    height: int = 320
    smallest_face: float = 16.0
    largest_face: float = 240.0
    most_faces: int = 6


@dataclass(frozen=True, eq=False)
class FaceCanvases:
    """Canvases by number; the first face of canvas i is face i of the data set, the others are drawn.

    Attributes:
        faces: photos of one face each.
        setting: how they are laid out.
    """

    faces: FaceDataset
    setting: CanvasSetting = field(default_factory=CanvasSetting)

    def __len__(self) -> int:
        return len(self.faces)

    def sample(self, index: int, rng: np.random.Generator) -> BoxedPhoto:
        """A canvas with at least one face on it; ValueError if a photo is damaged."""
        canvas = self._background(self.faces[int(rng.integers(len(self.faces)))].image, rng)
        boxes: list[np.ndarray] = []
        taken: list[np.ndarray] = []
        for number in range(int(rng.integers(1, self.setting.most_faces + 1))):
            face = self.faces[index if number == 0 else int(rng.integers(len(self.faces)))]
            self._place(canvas, face, taken, boxes, rng)
        return BoxedPhoto(canvas, np.stack(boxes), np.zeros(len(boxes), bool), self.faces.names[index])

    def _background(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        size = (self.setting.width, self.setting.height)
        smooth = cv2.GaussianBlur(cv2.resize(image, size), (0, 0), BLUR * min(size))
        # Cameras leave noise on smooth walls, too.
        noise = rng.normal(0.0, rng.uniform(0.0, 6.0), smooth.shape)
        return np.clip(smooth + noise, 0, 255).astype(np.uint8)

    def _place(
        self, canvas: np.ndarray, face: Face, taken: list[np.ndarray], boxes: list[np.ndarray], rng: np.random.Generator
    ) -> None:
        """Draws a face where there is room for it, and adds its place and its box to those there are."""
        cut, box = cut_around(face, rng)
        size = max(box[2:] - box[:2])
        room = min(self.setting.width / cut.shape[1], self.setting.height / cut.shape[0])
        wanted = np.exp(rng.uniform(np.log(self.setting.smallest_face), np.log(self.setting.largest_face)))
        zoom = min(wanted / size, room)
        width, height = max(1, int(cut.shape[1] * zoom)), max(1, int(cut.shape[0] * zoom))
        for _ in range(ATTEMPTS):
            x = int(rng.integers(self.setting.width - width + 1))
            y = int(rng.integers(self.setting.height - height + 1))
            place = np.array([x, y, x + width, y + height])
            if not any(_touch(place, other) for other in taken):
                interpolation = cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR
                canvas[y : y + height, x : x + width] = cv2.resize(cut, (width, height), interpolation=interpolation)
                taken.append(place)
                boxes.append(_resized(box, cut.shape, (height, width)) + np.array([x, y, x, y]))
                return


def cut_around(face: Face, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A part of a face's photo that shows the whole face, seldom in its middle, and the face's box (4,) in it."""
    box = face_box(face.points_image)
    reach = rng.uniform(LEAST_REACH, MOST_REACH, 4) * max(box[2:] - box[:2]) * [-1, -1, 1, 1]
    height, width = face.image.shape[:2]
    x0, y0, x1, y1 = np.clip(np.round(box + reach), 0, [width, height, width, height]).astype(int)
    return face.image[y0:y1, x0:x1], box - [x0, y0, x0, y0]


def _resized(box: np.ndarray, old: tuple[int, ...], new: tuple[int, int]) -> np.ndarray:
    """A box (4,) in an image that was scaled from old (H, W, C) to new (H, W), read cell by cell."""
    factors = np.array([new[1] / old[1], new[0] / old[0]] * 2)
    return (box + 0.5) * factors - 0.5


def _touch(first: np.ndarray, second: np.ndarray) -> bool:
    return bool((np.maximum(first[:2], second[:2]) < np.minimum(first[2:], second[2:])).all())
