"""What the readers of face boxes hand out: photos with all their boxes, and the parts that training and tests take."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterator, NamedTuple, Protocol, Sequence, TypeVar

import numpy as np

from common.readers import read_text
from datasets.faces import check_in_reach, subset_of
from datasets.geometry import all_placed
from datasets.images import PathLike, read_image

PARTS = ("train", "validation", "held_out")
Faces = TypeVar("Faces")


class BoxedPhoto(NamedTuple):
    """One photo with its faces.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        boxes: (n, 4) float64, x0, y0, x1, y1 in pixels of the image counted from 0.
        ignored: (n,) bool: boxes that are neither trained on nor missed where they are not found.
        name: unique within its data set.
    """

    image: np.ndarray
    boxes: np.ndarray
    ignored: np.ndarray
    name: str


class PhotoSource(Protocol):
    """Photos by number, which may come out differently each time."""

    def __len__(self) -> int: ...

    def sample(self, index: int, rng: np.random.Generator) -> BoxedPhoto:
        """The photo of this number; all that is random in it comes from `rng`."""
        ...


@dataclass(frozen=True, eq=False)
class BoxedPhotos:
    """Photos by number.

    Attributes:
        names: one per photo.
        image_paths: one per photo.
        boxes: of each photo, (n, 4) as in `BoxedPhoto`.
        ignored: of each photo, (n,) as there.
    """

    names: tuple[str, ...]
    image_paths: tuple[Path, ...]
    boxes: tuple[np.ndarray, ...]
    ignored: tuple[np.ndarray, ...]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> BoxedPhoto:
        """Reads the photo; FileNotFoundError or ValueError if it is not there, or damaged."""
        # Boxes count in the stored pixels, whatever way up a viewer would turn them.
        image = read_image(self.image_paths[index], apply_orientation=False)
        check_in_reach(image, self.boxes[index].reshape(-1, 2), self.names[index])
        return BoxedPhoto(image, self.boxes[index], self.ignored[index], self.names[index])

    def sample(self, index: int, rng: np.random.Generator) -> BoxedPhoto:
        """The photo as it is."""
        return self[index]

    def subset(self, indices: Sequence[int]) -> BoxedPhotos:
        """The photos with these numbers, in this order."""
        return subset_of(self, indices, ("names", "image_paths", "boxes", "ignored"))

    def part(self, name: str) -> BoxedPhotos:
        """The photos of one of `PARTS`; see `part_of`.

        Raises:
            ValueError: there is no such part, or none of the photos is in it.
        """
        if name not in PARTS:
            raise ValueError(f"photos have no part '{name}'; they have {', '.join(PARTS)}")
        chosen = [k for k, each in enumerate(self.names) if part_of(each) == name]
        if not chosen:
            raise ValueError(f"none of {len(self)} photos is in the part '{name}': the data set is too small")
        return self.subset(chosen)

    def for_training(self) -> BoxedPhotos:
        """Without ignored boxes, and without photos that have no other: GluonCV's targets need a box."""
        kept = [boxes[~ignored] for boxes, ignored in zip(self.boxes, self.ignored)]
        clean = BoxedPhotos(
            self.names, self.image_paths, tuple(kept), tuple(np.zeros(len(boxes), bool) for boxes in kept)
        )
        return clean.subset([k for k, boxes in enumerate(kept) if len(boxes)])


@dataclass(frozen=True, eq=False)
class JoinedSources:
    """Several sources as one, one after another."""

    sources: tuple[PhotoSource, ...]

    def __len__(self) -> int:
        return sum(len(source) for source in self.sources)

    def sample(self, index: int, rng: np.random.Generator) -> BoxedPhoto:
        """The photo of this number."""
        for source in self.sources:
            if index < len(source):
                return source.sample(index, rng)
            index -= len(source)
        raise IndexError("there are not that many photos")


def part_of(name: str) -> str:
    """Which of `PARTS` a photo is in, by the SHA-1 of its name without folder, read as an integer.

    A fifth, those 0 modulo 5, is held out for tests; a tenth, those 1 modulo 10, chooses the epoch and all settings.
    """
    number = int(hashlib.sha1(name.rpartition("/")[2].encode("utf-8")).hexdigest(), 16)
    if number % 5 == 0:
        return "held_out"
    return "validation" if number % 10 == 1 else "train"


def read_listing(path: PathLike, read_faces: Callable[[Iterator[str]], Faces]) -> list[tuple[str, Faces]]:
    """What a text file lists: a line with a photo's path, then the lines of its faces, and so on.

    Args:
        path: the file.
        read_faces: takes the lines of one photo from all that follow; its ValueError, or too few lines, mean damage.

    Returns:
        Path and faces of each photo.

    Raises:
        ValueError: the file is damaged.
    """
    numbered = enumerate(read_text(path, "restore the list").splitlines(), start=1)
    rest = ((number, line.strip()) for number, line in numbered if line.strip())
    lines = (line for _, line in rest)
    photos = []
    for number, name in rest:
        try:
            photos.append((name, read_faces(lines)))
        except (ValueError, StopIteration):
            raise ValueError(f"{path}: what follows line {number}, '{name}', is damaged; restore the list") from None
    if not photos:
        raise ValueError(f"{path}: it lists no photo; restore the list")
    return photos


def read_rows(lines: Iterator[str], count: int, columns: int) -> np.ndarray:
    """The numbers (count, columns) at the start of the next lines.

    Raises:
        ValueError: the count is negative, or a line has too few numbers or absurd ones.
        StopIteration: there are too few lines.
    """
    if count < 0:
        raise ValueError(f"{count} faces")
    rows = [[float(text) for text in next(lines).split()[:columns]] for _ in range(count)]
    if any(len(row) < columns for row in rows):
        raise ValueError("too few columns")
    numbers = np.array(rows, np.float64).reshape(-1, columns)
    if not all_placed(numbers):
        raise ValueError("a number is no coordinate")
    return numbers


def check_boxes(boxes: np.ndarray) -> np.ndarray:
    """The boxes (n, 4), if each has an area; ValueError if one has none, or a coordinate is absurd."""
    if not all_placed(boxes) or not (boxes[:, 2:] > boxes[:, :2]).all():
        raise ValueError("a box has no area")
    return boxes
