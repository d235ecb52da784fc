"""The photos, videos and cameras that a command line names."""

from __future__ import annotations

import glob
from dataclasses import dataclass
from pathlib import Path
from typing import Sequence, Union

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_CAMERA_DIGITS = 3  # of a camera's number at most; a longer one is a file that is missing
VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm", ".wmv")


@dataclass(frozen=True)
class Camera:
    """A camera by its number, from 0."""

    number: int

    @property
    def stem(self) -> str:
        """What its outputs are named by."""
        return f"camera_{self.number}"

    def __str__(self) -> str:
        return f"camera {self.number}"


Input = Union[Path, Camera]


def find_inputs(argv: Sequence[str]) -> list[Input]:
    """The photos, videos and cameras that arguments name, each once.

    An argument is a file, a folder (its photos, not those in subfolders), a glob, or a camera's number. The extension
    tells a video from a photo.

    Raises:
        FileNotFoundError: an argument names none.
        ValueError: two of them share a stem, so their outputs would share a name.
    """
    by_stem: dict[str, Input] = {}
    for found in (found for argument in argv for found in _expand(argument)):
        other = by_stem.setdefault(found.stem, found)
        if not _same(other, found):
            raise ValueError(
                f"{other} and {found} would both become {found.stem}.json: rename one, or run them with two --out"
            )
    return list(by_stem.values())


def _same(one: Input, other: Input) -> bool:
    if isinstance(one, Path) and isinstance(other, Path):
        return one.resolve() == other.resolve()
    return one == other


def is_video(found: Input) -> bool:
    """Whether this is a video or a camera."""
    return isinstance(found, Camera) or found.suffix.lower() in VIDEO_SUFFIXES


def _expand(argument: str) -> Sequence[Input]:
    path = Path(argument)
    if path.is_dir():
        found = sorted(child for child in path.iterdir() if child.suffix.lower() in SUFFIXES and child.is_file())
        if not found:
            raise FileNotFoundError(f"{argument}: no photo is there; folders are searched for {' '.join(SUFFIXES)}")
    elif path.exists():
        found = [path]
    elif argument.isascii() and argument.isdigit() and len(argument) <= _CAMERA_DIGITS:
        return [Camera(int(argument))]
    else:
        found = [Path(match) for match in sorted(glob.glob(argument, recursive=True)) if Path(match).is_file()]
    if not found:
        raise FileNotFoundError(f"{argument}: there is no such photo, video or folder; check the path")
    return found
