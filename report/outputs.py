"""The bytes of a report's files."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
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
    return text_bytes(file.getvalue())


def text_bytes(text: str) -> bytes:
    """A UTF-8 file; names of files that are not UTF-8 keep their bytes."""
    return text.encode("utf-8", "surrogateescape")


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
