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

# All that SciPy raises on files that are damaged or no MATLAB file. NotImplementedError is its answer to version 7.3,
# which is HDF5.
_READ_ERRORS = (
    *(MatReadError, NotImplementedError, OSError, ValueError, TypeError, LookupError, AttributeError),
    *(ArithmeticError, EOFError, MemoryError, struct.error, zlib.error),
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
    try:
        content: dict[str, np.ndarray] = loadmat(io.BytesIO(data), variable_names=list(names))
    except _READ_ERRORS as error:
        reason = " ".join(str(error).split())[:80] or type(error).__name__
        raise ValueError(f"it is cut short or not of MATLAB's version 5 ({reason})") from None
    for name in names:
        if name not in content:
            raise ValueError(f"it has no field '{name}'")
    return content
