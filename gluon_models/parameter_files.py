"""Reads and writes MXNet's parameter files, of any network."""

from __future__ import annotations

import math
import os
import struct
from pathlib import Path
from typing import BinaryIO

import mxnet as mx

_LIST_MAGIC = 0x112
_V1_MAGIC, _V2_MAGIC, _V3_MAGIC = 0xF993FAC8, 0xF993FAC9, 0xF993FACA  # before V1 the number of axes stood there
_BYTES = {
    0: 4,
    1: 8,
    2: 2,
    3: 1,
    4: 4,
    5: 1,
    6: 8,
    7: 1,
    8: 2,
    9: 2,
    10: 4,
    11: 8,
    12: 2,
}  # by MXNet's number of a type
_DEVICES = (1, 2, 3, 5)  # CPU, GPU, and two kinds of shared CPU memory
_MOST_AXES = 32


def read_parameters(path: str | os.PathLike[str], remedy: str = "check the path") -> dict[str, mx.nd.NDArray]:
    """The arrays of a parameters file by their names; none if it holds arrays without names.

    Args:
        path: of the .params file.
        remedy: advice for the message if there is no such file.

    Raises:
        FileNotFoundError, ValueError: there is no such file, or it is damaged.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: there is no such file; {remedy}")
    check_parameters(path)
    try:
        stored = mx.nd.load(str(path))
    except mx.MXNetError as error:
        raise ValueError(f"{path} is cut short or no parameters file: restore it") from error
    return stored if isinstance(stored, dict) else {}


def check_parameters(path: str | os.PathLike[str]) -> None:
    """Walks through a parameters file as MXNet will, which ends the process where a file contradicts itself.

    Knows what `mx.nd.save` of MXNet 1.9.1 writes, and the two layouts before it, which the zoo's files have. A file
    of sparse arrays, which no network here has, is refused.

    Raises:
        ValueError: the file is cut short or contradicts itself.
    """
    with open(path, "rb") as file:
        reader = _Reader(file, os.fstat(file.fileno()).st_size)
        try:
            if reader.number("Q") != _LIST_MAGIC:
                raise ValueError("it does not start as one does")
            reader.skip(8)
            for _ in range(reader.count()):
                _skip_array(reader)
            for _ in range(reader.count()):
                reader.take(reader.count()).decode("utf-8")
            if reader.left:
                raise ValueError(f"{reader.left} bytes follow its end")
        except ValueError as error:
            raise ValueError(f"{path} is cut short or no parameters file ({error}): restore it") from None


class _Reader:
    """Reads a file of known size from its start and never beyond its end."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self.left = file, size

    def take(self, count: int) -> bytes:
        """The next bytes."""
        self._reserve(count)
        return self._file.read(count)

    def skip(self, count: int) -> None:
        """Passes over bytes."""
        self._reserve(count)
        self._file.seek(count, os.SEEK_CUR)

    def number(self, kind: str) -> int:
        """The next number, of a kind of the module `struct`."""
        return struct.unpack(f"<{kind}", self.take(struct.calcsize(kind)))[0]

    def numbers(self, kind: str, count: int) -> tuple[int, ...]:
        """The next numbers."""
        return struct.unpack(f"<{count}{kind}", self.take(count * struct.calcsize(kind)))

    def count(self) -> int:
        """The next number, of things that take at least a byte each."""
        count = self.number("Q")
        if count > self.left:
            raise ValueError(f"it announces {count} items in its last {self.left} bytes")
        return count

    def _reserve(self, count: int) -> None:
        if not 0 <= count <= self.left:
            raise ValueError(f"{count} bytes are due where {self.left} are left")
        self.left -= count


def _skip_array(reader: _Reader) -> None:
    magic = reader.number("I")
    if magic in (_V2_MAGIC, _V3_MAGIC) and reader.number("i") != 0:
        raise ValueError("it holds a sparse array")
    if magic in (_V1_MAGIC, _V2_MAGIC, _V3_MAGIC):
        axes, kind = reader.number("i"), "q"
    else:
        axes, kind = magic, "I"
    absent = -1 if magic == _V3_MAGIC else 0
    if axes == absent:
        return
    if not 0 <= axes <= _MOST_AXES:
        raise ValueError(f"an array has {axes} axes")
    shape = reader.numbers(kind, axes)
    device, number, dtype = reader.numbers("i", 3)
    if any(length < 0 for length in shape) or device not in _DEVICES or number < 0 or dtype not in _BYTES:
        raise ValueError(f"an array of shape {shape} has type {dtype} on device {device}.{number}")
    reader.skip(math.prod(shape) * _BYTES[dtype])
