"""Pictures that show no face: windows of any photos, away from the faces that are marked there (LGCN, Sec. 4.3).

A marked face is a box of a Pascal VOC file: photo.xml beside photo.png, or in the folder `annotations` beside the one
of the photos.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from datasets.detection.voc import read_voc
from datasets.faces import Face
from datasets.geometry import square_box
from datasets.images import PathLike, read_image, read_size
from datasets.inventory import needed_folder, photos_of
from datasets.markups import Markup

LEAST_SIDE = 48  # pixels of a window
TRIES = 40  # windows of a photo that are drawn before it is given up
ROOM = 0.25  # of a marked box's sides that is kept clear around it
BEYOND = 0.4  # of a window's side: what a crop shows around it, with 17 % margin, turned by 30 degrees, 12.5 % larger
SURROUNDINGS = 0.8  # of a window's side that is kept around it, for crops that are turned and moved
FAR = -1e5  # pixels: where landmarks are that a picture does not show


class BackgroundWindows:
    """Windows as faces without a face: all their landmarks lie far outside the picture [L19].

    Args:
        folder: of photos, not those in folders within.
        count: how many windows; each photo gives as many as any other, but for one.
        markup: of the landmarks that are not there.
        seed: of where the windows lie.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it holds no photo with room for a window.
    """

    def __init__(self, folder: PathLike, count: int, markup: Markup, seed: int = 0) -> None:
        photos = photos_of(needed_folder(folder, "one with photos"))
        self.markup = markup
        rng = np.random.default_rng(seed)
        self._windows: list[tuple[Path, np.ndarray]] = []
        while photos and len(self._windows) < count:
            drawn = [(photo, _draw_window(photo, rng)) for photo in photos[: count - len(self._windows)]]
            fits = [(photo, window) for photo, window in drawn if window is not None]
            self._windows += fits
            photos = [photo for photo, _ in fits] if len(drawn) == len(photos) else photos[len(drawn) :]
        if count and not self._windows:
            raise ValueError(f"{folder}: no photo has room for a window of {LEAST_SIDE} pixels without a face")
        self.names = [f"{photo.stem}#{number}" for number, (photo, _) in enumerate(self._windows)]

    def __len__(self) -> int:
        return len(self._windows)

    def __getitem__(self, index: int) -> Face:
        """Reads the window and what lies around it."""
        photo, window = self._windows[index]
        image = read_image(photo, apply_orientation=False)
        x0, y0, x1, y1 = square_box(window, 2 * SURROUNDINGS).astype(int)
        left, top = max(x0, 0), max(y0, 0)
        part = image[top : max(y1, 0), left : max(x1, 0)]
        points = np.full((self.markup.num_landmarks, 2), FAR)
        return Face(part.copy(), points, window - (left, top, left, top), self.names[index])


def _draw_window(photo: Path, rng: np.random.Generator) -> np.ndarray | None:
    """A random square (4,) of a photo, away from its marked faces; None if none was found."""
    width, height = read_size(photo)
    largest = min(width, height)
    if largest < LEAST_SIDE:
        return None
    marked = marked_boxes(photo)
    room = ROOM * (marked[:, 2:] - marked[:, :2])
    low, high = marked[:, :2] - room, marked[:, 2:] + room
    for _ in range(TRIES):
        side = LEAST_SIDE * (largest / LEAST_SIDE) ** rng.random()
        corner = rng.random(2) * (width - side, height - side)
        shown = BEYOND * side
        if not ((corner - shown < high) & (corner + side + shown > low)).all(axis=1).any():
            return np.concatenate([corner, corner + side])
    return None


def marked_boxes(photo: Path) -> np.ndarray:
    """The boxes (n, 4) x0, y0, x1, y1 of a photo's VOC file in pixels; none where there is no such file.

    Raises:
        ValueError: the file is damaged.
    """
    name = f"{photo.stem}.xml"
    for path in (photo.with_name(name), photo.parent.parent / "annotations" / name):
        if path.is_file():
            return read_voc(path)[1]
    return np.zeros((0, 4))
