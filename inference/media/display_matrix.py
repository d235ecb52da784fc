"""Whether an MP4 or QuickTime file is to be shown mirrored, which OpenCV does not tell: it reports a rotation alone."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO, Iterator

_LONGEST_HEADER = 104  # bytes of a track header with 64-bit times
_MOST_BOXES = 10_000  # of a file


def is_mirrored(path: Path) -> bool:
    """Whether the matrix of the first video track (ISO/IEC 14496-12, 8.3.2) mirrors; False for all other files."""
    try:
        with open(path, "rb") as file:
            matrices = (_matrix(header) for header in _track_headers(file))
            matrix = next((each for each in matrices if each is not None), None)
    except (OSError, struct.error):
        return False
    if matrix is None:
        return False
    a, b, c, d = matrix
    return a * d - b * c < 0


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of what is in each box between two places of a file."""
    for _ in range(_MOST_BOXES):
        if start + 8 > end:
            return
        file.seek(start)
        size, kind = struct.unpack(">I4s", file.read(8))
        head = 8
        if size == 1:
            (size,), head = struct.unpack(">Q", file.read(8)), 16
        stop = end if size == 0 else start + size
        if not start + head <= stop <= end:
            return
        yield kind, start + head, stop
        start = stop


def _track_headers(file: BinaryIO) -> Iterator[bytes]:
    """The first bytes of each track's header."""
    for kind, start, end in _boxes(file, 0, file.seek(0, os.SEEK_END)):
        for track, first, last in _boxes(file, start, end) if kind == b"moov" else ():
            for inner, begin, stop in _boxes(file, first, last) if track == b"trak" else ():
                if inner == b"tkhd":
                    file.seek(begin)
                    yield file.read(min(stop - begin, _LONGEST_HEADER))


def _matrix(header: bytes) -> tuple[int, int, int, int] | None:
    """a, b, c, d of x' = a x + c y, y' = b x + d y; None for a track without a picture."""
    place = 52 if header[:1] == b"\1" else 40
    a, b, _, c, d, _, _, _, _, width, height = struct.unpack_from(">9i2I", header, place)
    return (a, b, c, d) if width and height else None
