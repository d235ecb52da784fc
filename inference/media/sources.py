"""Photos, videos and cameras by the words of a command line."""

from __future__ import annotations

import glob
from dataclasses import dataclass
from pathlib import Path
from typing import Sequence, Union

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
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
    """Photos, videos and cameras that words stand for, each once.

    A word is a file, a folder (the photos in it, not those within its folders), a glob, or a camera's number. What is a
    video is told by the extension.

    Raises:
        FileNotFoundError: a word stands for none.
        ValueError: two of them have one stem, so their outputs would have one name.
    """
    by_stem: dict[str, Input] = {}
    for found in (found for word in argv for found in _expand(word)):
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


def _expand(word: str) -> Sequence[Input]:
    path = Path(word)
    if path.is_dir():
        found = sorted(child for child in path.iterdir() if child.suffix.lower() in SUFFIXES and child.is_file())
        if not found:
            raise FileNotFoundError(f"{word}: no photo is there; folders are searched for {' '.join(SUFFIXES)}")
    elif path.exists():
        found = [path]
    elif word.isascii() and word.isdigit():
        return [Camera(int(word))]
    else:
        found = [Path(match) for match in sorted(glob.glob(word, recursive=True)) if Path(match).is_file()]
    if not found:
        raise FileNotFoundError(f"{word}: there is no such photo, video or folder; check the path")
    return found
