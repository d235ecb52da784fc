"""The photos, videos and cameras that a command line names."""

from __future__ import annotations

import glob
from dataclasses import dataclass
from pathlib import Path
from typing import Sequence, Union

from datasets.inventory import files, say_unused
from datasets.photo_formats import PHOTO_LIKE, PHOTO_SUFFIXES, why_unread

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
    tells a video from a photo. A file of a folder that looks like a photo and cannot be read is an input too, so that
    it is reported, unless a readable photo has its name, such as a JPEG beside a camera's raw file.

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
        found = _photos_of(path)
        if not found:
            kinds = " ".join(PHOTO_SUFFIXES)
            raise FileNotFoundError(f"{argument}: no photo is there; folders are searched for {kinds}")
    elif path.exists():
        found = [path]
    elif argument.isascii() and argument.isdigit() and len(argument) <= _CAMERA_DIGITS:
        return [Camera(int(argument))]
    else:
        found = [Path(match) for match in sorted(glob.glob(argument, recursive=True)) if Path(match).is_file()]
    if not found:
        raise FileNotFoundError(f"{argument}: there is no such photo, video or folder; check the path")
    return found


def _photos_of(folder: Path) -> Sequence[Path]:
    """All that looks like a photo in a folder, but for files that have a readable photo of their name beside them."""
    like_photos = files(folder, PHOTO_LIKE)
    readable = {path.stem for path in like_photos if path.suffix.lower() in PHOTO_SUFFIXES}
    unused: dict[str, list[Path]] = {}
    for path in like_photos:
        if path.suffix.lower() not in PHOTO_SUFFIXES and path.stem in readable:
            unused.setdefault(why_unread(path), []).append(path)
    say_unused(folder, unused)
    passed_over = {path for paths in unused.values() for path in paths}
    return [path for path in like_photos if path not in passed_over]
