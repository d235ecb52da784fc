"""MATLAB files of version 5, as SciPy reads them."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Sequence

import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from datasets.images import PathLike

LARGEST = 2**28  # bytes of a file's fields; AFLW's list takes 30 MB
_COMPRESSED = 15  # MATLAB's number of this type
_PIECE = 2**20

# All that SciPy raises on files that are damaged or no MATLAB file. NotImplementedError is its answer to version 7.3,
# which is HDF5.
_READ_ERRORS = (
    *(MatReadError, NotImplementedError, OSError, ValueError, TypeError, LookupError, AttributeError),
    *(ArithmeticError, EOFError, MemoryError, NameError, struct.error, zlib.error),
)


def read_fields(path: PathLike, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Fields of a MATLAB file as they stand in it.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is damaged, of another version, or lacks a field; the text says which, but not of what file.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: there is no such .mat file; check the path")
    data = Path(path).read_bytes()
    if not data:
        raise ValueError("it is empty")
    _check_inflation(data)
    try:
        content: dict[str, np.ndarray] = loadmat(io.BytesIO(data), variable_names=list(names))
    except _READ_ERRORS as error:
        reason = " ".join(str(error).split())[:80] or type(error).__name__
        raise ValueError(f"it is cut short or not of MATLAB's version 5 ({reason})") from None
    for name in names:
        if name not in content:
            raise ValueError(f"it has no field '{name}'")
    return content


def _check_inflation(data: bytes) -> None:
    """Refuses a file whose compressed fields would take more than LARGEST bytes together.

    Raises:
        ValueError: they would.
    """
    order = "<" if data[126:128] == b"IM" else ">"
    start, total = 128, 0
    while start + 8 <= len(data):
        kind, length = struct.unpack_from(f"{order}II", data, start)
        if kind == _COMPRESSED:
            total += _inflated(data[start + 8 : start + 8 + length], LARGEST - total)
        if total > LARGEST:
            raise ValueError(f"its fields would take more than {LARGEST // 2**20} MB")
        start += 8 + length


def _inflated(data: bytes, most: int) -> int:
    """How many bytes compressed ones become, as far as they can be inflated; a count above `most` ends there."""
    inflate, count = zlib.decompressobj(), 0
    try:
        while data and count <= most:
            count += len(inflate.decompress(data, _PIECE))
            data = inflate.unconsumed_tail
    except zlib.error:
        pass  # SciPy says what is wrong
    return count
