"""The files of a report: their bytes, and writing them together so that no half of a set is ever left."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import os
import shutil
import tempfile
from pathlib import Path
from typing import Mapping, Sequence

import numpy as np


def json_bytes(value: object) -> bytes:
    """A JSON file of plain values, dataclasses and NumPy numbers; NaN and infinity, which JSON lacks, become null."""
    return (json.dumps(_plain(value), indent=1, allow_nan=False) + "\n").encode()


def npy_bytes(array: np.ndarray) -> bytes:
    """A .npy file."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def csv_bytes(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> bytes:
    """A comma-separated file with a line of headings."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(heads)
    writer.writerows(rows)
    return file.getvalue().encode()


def write_together(folder: Path, files: Mapping[str, bytes]) -> None:
    """Writes a set of files: all of them beside the folder first, then each is moved to its place.

    Args:
        folder: Made where it is missing; files of the same names in it are replaced, others stay.
        files: Contents by file name.

    Raises:
        OSError: They could not be written; what stood in the folder before is untouched.
    """
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder}: this is a file; name a folder to write into")
    partial = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".partial", dir=folder.parent))
        for name, content in files.items():
            (partial / name).write_bytes(content)
        folder.mkdir(exist_ok=True)
        for name in files:
            os.replace(partial / name, folder / name)
    except OSError as error:
        reason = error.strerror or error
        raise OSError(f"{folder}: cannot be written ({reason}); free space or name another folder") from error
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value):
        return _plain(vars(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
