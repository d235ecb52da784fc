"""Lists and tables of photos that users write, on whatever system and with whatever editor: encodings, paths, names."""

from __future__ import annotations

import codecs
import unicodedata
from pathlib import PurePosixPath, PureWindowsPath
from typing import Iterable, Mapping, Sequence

from common.readers import read_bytes
from datasets.images import PathLike
from datasets.photo_formats import PHOTO_LIKE

_QUOTES = "\"'\u201c\u201d\u2018\u2019"
_BYTE_ORDER_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def read_any_text(path: PathLike, remedy: str) -> str:
    """A text in UTF-8 or UTF-16, with or without a byte order mark, or in Windows' Western code page.

    Raises:
        FileNotFoundError, ValueError: There is no such file, or it is no text.
    """
    data = read_bytes(path, remedy)
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS.items() if data.startswith(mark)), None)
    if encoding is None and b"\0" in data:
        encoding = "utf-16-le" if data[1::2].count(0) > data[::2].count(0) else "utf-16-be"
    for each in [encoding] if encoding else ["utf-8", "cp1252"]:
        try:
            text = data.decode(each)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise ValueError(f"{path}: not a text; save it as UTF-8")


def read_lines(path: PathLike, remedy: str) -> list[str]:
    """The lines of a list that are not empty, without spaces and quotes around them.

    Raises:
        FileNotFoundError, ValueError: As `read_any_text`.
    """
    lines = (line.strip().strip(_QUOTES).strip() for line in read_any_text(path, remedy).splitlines())
    return [line for line in lines if line]


def photo_key(name: str) -> str:
    """A photo's path as all spellings of it have it: no drive, forward slashes, no extension of a photo.

    Accented letters are one sign, as Linux and Windows write them; file names that are not UTF-8 are read as Windows'.
    """
    text = name.strip().strip(_QUOTES).replace("\\", "/")
    text = text[len(PureWindowsPath(text).drive) :].lstrip("/") if PureWindowsPath(text).drive else text
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        text = text.encode("utf-8", "surrogateescape").decode("cp1252", "replace")
    path = PurePosixPath(unicodedata.normalize("NFC", text))
    suffixes = (*PHOTO_LIKE, ".pts")
    return (path.with_suffix("") if path.suffix.lower() in suffixes else path).as_posix()


def best_matches(key: str, photos: Mapping[str, Sequence[str]]) -> list[str]:
    """The photos that a path means: those whose own path ends as it does, else all of its last part.

    Args:
        key: As of `photo_key`.
        photos: Keys of photos, from `by_last_part`.
    """
    parts = PurePosixPath(key).parts
    same_name = photos.get(parts[-1], []) if parts else []
    return [each for each in same_name if _is_end(PurePosixPath(each).parts, parts)] or list(same_name)


def _is_end(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether the shorter of two paths is the end of the longer one."""
    length = min(len(one), len(other))
    return one[-length:] == other[-length:]


def by_last_part(keys: Iterable[str]) -> dict[str, list[str]]:
    """Paths, as of `photo_key`, each once, by their last part."""
    found: dict[str, list[str]] = {}
    for key in dict.fromkeys(keys):
        found.setdefault(PurePosixPath(key).name, []).append(key)
    return found


class PhotoList:
    """Photos that a text file names, one a line, by their paths or names, with or without extension.

    Args:
        path: Of the file.

    Raises:
        FileNotFoundError, ValueError: There is no such file, or it is no text, or it names nothing.
    """

    def __init__(self, path: PathLike) -> None:
        self.path = path
        lines = read_lines(path, "check the path of the list of photos")
        if not lines:
            raise ValueError(f"{path}: it names no photo; give one name a line")
        self._keys = {line: photo_key(line) for line in lines}
        self._unmatched = dict.fromkeys(lines)

    def find(self, names: Sequence[str]) -> list[int]:
        """Numbers of the names, of which several may be of one photo, that a line means; remembers which lines did."""
        keys = [photo_key(name) for name in names]
        places = by_last_part(keys)
        meant: set[str] = set()
        for line, key in self._keys.items():
            matches = best_matches(key, places)
            if matches:
                self._unmatched.pop(line, None)
            meant.update(matches)
        return [number for number, key in enumerate(keys) if key in meant]

    def refuse_unmatched(self, where: str) -> None:
        """Refuses lines that meant none of all the names so far.

        Args:
            where: What was looked through.

        Raises:
            ValueError: There are some.
        """
        if self._unmatched:
            lines = list(self._unmatched)
            shown = ", ".join(f"'{line}'" for line in lines[:4]) + (f" and {len(lines) - 4} more" * (len(lines) > 4))
            raise ValueError(f"{self.path}: no photo of {where} is called {shown}; correct the name or remove the line")
