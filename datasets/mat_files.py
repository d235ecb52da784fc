"""MATLAB files of version 5: arrays of numbers, texts, and cells of them.

Read here and not by SciPy, whose reader a damaged file can end by a segmentation fault.
The format: "MAT-File Format", The MathWorks, chapter 1.
"""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path
from typing import Iterator, NamedTuple, Sequence

import numpy as np

from common.readers import read_bytes
from datasets.images import PathLike

LARGEST = 2**28  # bytes of a file's fields; AFLW's list takes 30 MB
_HEADER = 128  # bytes
_MATRIX, _COMPRESSED = 14, 15  # numbers of types
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_TEXTS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_CELL, _CHARACTERS = 1, 4  # numbers of classes
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_COMPLEX = 0x0800
_DEEPEST = 8  # cells within cells


class _Element(NamedTuple):
    """A type's number, and the bytes."""

    kind: int
    data: memoryview


def read_fields(path: PathLike, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Fields of a MATLAB file as they stand in it; texts are an array of strings.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is damaged, of another version, or lacks a field; the text says which, but not of what file.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: there is no such .mat file; check the path")
    data = read_bytes(path, largest=LARGEST)
    if not data:
        raise ValueError("it is empty")
    try:
        content = _read(data, set(names))
    except (ValueError, struct.error, zlib.error, UnicodeError) as error:
        reason = " ".join(str(error).split())[:80]
        raise ValueError(f"it is cut short or not of MATLAB's version 5 ({reason})") from None
    for name in names:
        if name not in content:
            raise ValueError(f"it has no field '{name}'")
    return content


def _read(data: bytes, wanted: set[str]) -> dict[str, np.ndarray]:
    if len(data) < _HEADER or data[124:128] not in (b"\x00\x01IM", b"\x01\x00MI"):
        raise ValueError("another file, or one of v7.3, which is HDF5")
    order = "<" if data[126:128] == b"IM" else ">"
    found: dict[str, np.ndarray] = {}
    left = LARGEST
    for element in _elements(memoryview(data)[_HEADER:], order):
        if element.kind == _COMPRESSED:
            inflated = _inflate(element.data, left)
            left -= len(inflated)
            element = next(_elements(memoryview(inflated), order), element)
        if element.kind == _MATRIX:
            parts = _elements(element.data, order)
            flags, shape, name = _describe(parts, order)
            if name in wanted:
                found[name] = _value(parts, flags, shape, order, _DEEPEST)
    return found


def _inflate(data: memoryview, most: int) -> bytes:
    inflate = zlib.decompressobj()
    inflated = inflate.decompress(data, most + 1)
    if len(inflated) > most:
        raise ValueError(f"its fields would take more than {LARGEST // 2**20} MB")
    if not inflate.eof:
        raise ValueError("a compressed field ends too early")
    return inflated


def _elements(data: memoryview, order: str) -> Iterator[_Element]:
    """The elements of a file or of a matrix, one after another."""
    while len(data):
        kind, length = struct.unpack_from(f"{order}II", data)
        start = 8
        if kind >> 16:  # up to four bytes stand in the tag itself
            kind, length, start = kind & 0xFFFF, kind >> 16, 4
        if length > len(data) - start or (start == 4 and length > 4):
            raise ValueError(f"{length} bytes are due where {len(data) - start} are left")
        yield _Element(kind, data[start : start + length])
        end = start + length
        data = data[end if kind == _COMPRESSED else -(-end // 8) * 8 :]


def _next(parts: Iterator[_Element]) -> _Element:
    part = next(parts, None)
    if part is None:
        raise ValueError("an array ends too early")
    return part


def _describe(parts: Iterator[_Element], order: str) -> tuple[int, tuple[int, ...], str]:
    """Flags, shape and name of an array, which are its first three elements."""
    flags, shape, name = (_next(parts) for _ in range(3))
    lengths = struct.unpack(f"{order}{len(shape.data) // 4}i", shape.data)
    if not 2 <= len(lengths) <= 32 or min(lengths) < 0:
        raise ValueError(f"an array of shape {lengths}")
    return struct.unpack_from(f"{order}I", flags.data)[0], lengths, bytes(name.data).decode("latin-1")


def _value(parts: Iterator[_Element], flags: int, shape: tuple[int, ...], order: str, depth: int) -> np.ndarray:
    """An array, after its first three elements."""
    kind, count = flags & 0xFF, math.prod(shape)
    if kind == _CELL:
        return _cells(parts, shape, order, depth)
    if kind not in (_CHARACTERS, *_CLASSES) or flags & _COMPLEX:
        raise ValueError(f"an array of class {kind}, or of complex numbers")
    part = _next(parts)
    if kind == _CHARACTERS:
        text, rows = _text(part, order), max(shape[0], 1)
        if rows > max(len(text), 1):
            raise ValueError(f"{rows} rows of a text of {len(text)} characters")
        # Several texts stand in rows of one length, column after column.
        return np.array([text[row::rows] for row in range(rows)])
    if part.kind not in _NUMBERS:
        raise ValueError(f"numbers of type {part.kind}")
    stored = np.dtype(order + _NUMBERS[part.kind])
    if len(part.data) != count * stored.itemsize:
        raise ValueError(f"{len(part.data)} bytes are no array of shape {shape}")
    with np.errstate(invalid="ignore", over="ignore"):
        values = np.frombuffer(part.data, stored).astype(_CLASSES[kind])
    return values.reshape(shape, order="F")


def _cells(parts: Iterator[_Element], shape: tuple[int, ...], order: str, depth: int) -> np.ndarray:
    if not depth:
        raise ValueError("cells within cells without end")
    found: list[np.ndarray] = []
    for part in parts:
        if part.kind != _MATRIX:
            raise ValueError(f"a cell of type {part.kind}")
        inner = _elements(part.data, order)
        flags, inner_shape, _ = _describe(inner, order)
        found.append(_value(inner, flags, inner_shape, order, depth - 1))
    if len(found) != math.prod(shape):
        raise ValueError(f"{len(found)} cells are none of shape {shape}")
    cells = np.empty(len(found), object)
    for index, value in enumerate(found):
        cells[index] = value
    return cells.reshape(shape, order="F")


def _text(part: _Element, order: str) -> str:
    if part.kind not in _TEXTS:
        raise ValueError(f"text of type {part.kind}")
    encoding = _TEXTS[part.kind]
    suffix = {"<": "-le", ">": "-be"}[order] if encoding in ("utf-16", "utf-32") else ""
    return bytes(part.data).decode(encoding + suffix)
