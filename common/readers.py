"""Text, JSON, .npy and .npz files of anybody: every fault is a ValueError that names the file and a remedy.

A file states sizes and depths of its own choosing. They are checked against the bytes that are there before any memory
is reserved for them, and nothing in a file is ever executed.
"""

from __future__ import annotations

import ast
import io
import json
import math
import os
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any, Mapping, Sequence, Tuple, Union

import numpy as np

from common.files import PathLike

Shape = Tuple[Union[int, None], ...]

RESTORE = "restore it from where it came"
_LARGEST_TEXT = 256 * 2**20  # bytes; log files and results of this project stay below 10 MB
_LONGEST_INTEGER = 400  # digits: reading takes quadratic time in older Pythons
_LARGEST_INFLATION = 20  # uncompressed bytes per byte of an .npz
_LARGEST_HEADER = 10_000  # bytes of a .npy's description of itself
_NUMBERS = "biuf"  # NumPy's kinds of numbers
_UNREADABLE_HEADERS = (SyntaxError, RecursionError, MemoryError, RuntimeError, OverflowError)
_DAMAGED_ARRAYS = (
    *(zipfile.BadZipFile, zlib.error, EOFError, struct.error, ValueError, TypeError, KeyError, OSError),
    *_UNREADABLE_HEADERS,
)
_KINDS = {dict: "an object", list: "a list", str: "a text", int: "a whole number", float: "a number"}


def read_bytes(path: PathLike, remedy: str = RESTORE, largest: int = _LARGEST_TEXT) -> bytes:
    """A file's content.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is a folder or a device, or larger than `largest` bytes.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"{path}: there is no such file; {remedy}")
    if not Path(path).is_file():
        raise ValueError(f"{path}: this is not a file; {remedy}")
    if os.path.getsize(path) > largest:
        raise ValueError(f"{path}: the file is larger than {largest // 2**20} MB; {remedy}")
    return Path(path).read_bytes()


def read_text(path: PathLike, remedy: str = RESTORE) -> str:
    """A UTF-8 text, with or without a byte order mark.

    Raises:
        FileNotFoundError, ValueError: there is no such file, or it is not UTF-8.
    """
    try:
        return read_bytes(path, remedy).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text (byte {error.start + 1}); save it as UTF-8, or {remedy}") from None


def read_json(path: PathLike, remedy: str = RESTORE, kind: type | None = dict) -> Any:
    """What a JSON file holds.

    Args:
        path: of the file.
        remedy: what to do about a file that is missing or damaged, for the message.
        kind: dict or list, which the whole must be; None for any value.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not JSON, or of another kind.
    """
    value = parse_json(read_text(path, remedy), str(path), remedy)
    if kind is not None and not isinstance(value, kind):
        raise ValueError(f"{path}: it holds {_name(value)}, not {_KINDS[kind]}; {remedy}")
    return value


def read_json_lines(path: PathLike, remedy: str = RESTORE) -> list[dict[str, Any]]:
    """The objects of a file of one JSON object a line.

    Raises:
        FileNotFoundError, ValueError: there is no such file, or a line holds no JSON object.
    """
    found = []
    for number, line in enumerate(read_text(path, remedy).splitlines(), start=1):
        value = parse_json(line, f"{path}, line {number}", remedy)
        if not isinstance(value, dict):
            raise ValueError(f"{path}, line {number}: it holds {_name(value)}, not an object; {remedy}")
        found.append(value)
    return found


def parse_json(text: str, source: str, remedy: str = RESTORE) -> Any:
    """The value of a JSON text; `source` says in messages where it is from.

    Raises:
        ValueError: it is not JSON, or nested or long beyond reason.
    """
    try:
        return json.loads(text, parse_int=_parse_integer, object_pairs_hook=_without_doubles)
    except RecursionError:
        raise ValueError(f"{source}: its brackets are nested too deeply to be read; {remedy}") from None
    except ValueError as error:
        raise ValueError(f"{source}: not JSON ({error}); {remedy}") from None


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"'{next(key for key in keys if keys.count(key) > 1)[:40]}' stands in it twice")
    return values


def _parse_integer(digits: str) -> int:
    if len(digits) > _LONGEST_INTEGER:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def entry(values: Mapping[str, Any], key: str, kind: type, source: PathLike, remedy: str = RESTORE) -> Any:
    """An entry of a JSON object, which must be of a kind: dict, list, str, int or float (any finite number).

    Raises:
        ValueError: it is not there, or of another kind.
    """
    value = values.get(key)
    numeric = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    fits = numeric if kind is float else isinstance(value, kind) and not isinstance(value, bool)
    if not fits:
        found = f"is {_name(value)}" if key in values else "is missing"
        raise ValueError(f"{source}: its entry '{key}' {found}, not {_KINDS[kind]}; {remedy}")
    return value


def _name(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    return next(name for kind, name in _KINDS.items() if isinstance(value, kind))


def read_npy(path: PathLike, remedy: str = RESTORE, shape: Shape | None = None) -> np.ndarray:
    """The numbers of a .npy file.

    Args:
        path: of the file.
        remedy: what to do about a file that is missing or damaged, for the message.
        shape: that it must have, None where any length is right; any shape if None itself.

    Raises:
        FileNotFoundError, ValueError: there is no such file, or it is no array of numbers of this shape.
    """
    data = read_bytes(path, remedy, largest=2**34)
    try:
        array = parse_npy(data)
        _check_shape("the array", array, shape)
    except _DAMAGED_ARRAYS as error:
        raise ValueError(f"{path}: not a readable .npy file ({_one_line(error)}); {remedy}") from None
    return array


def read_npz(
    path: PathLike, remedy: str = RESTORE, shapes: Mapping[str, Shape] | None = None, largest: int = 2**34
) -> dict[str, np.ndarray]:
    """The arrays of numbers in a .npz file by their names.

    Args:
        path: of the file.
        remedy: what to do about a file that is missing or damaged, for the message.
        shapes: arrays that must be there, with their shapes; None where any length is right.
        largest: bytes that the file may have.

    Raises:
        FileNotFoundError, ValueError: there is no such file, it is damaged, or lacks an array, or one is not of its
            shape.
    """
    data = read_bytes(path, remedy, largest)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if sum(each.file_size for each in members) > _LARGEST_INFLATION * len(data):
                raise ValueError("it would inflate beyond all measure")
            if not {each.compress_type for each in members} <= {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
                raise ValueError("it is compressed as NumPy compresses no file")
            arrays = {each.filename[: -len(".npy")]: parse_npy(archive.read(each)) for each in members}
        for name, shape in (shapes or {}).items():
            if name not in arrays:
                raise ValueError(f"it has no array '{name}'")
            _check_shape(f"its array '{name}'", arrays[name], shape)
    except _DAMAGED_ARRAYS as error:
        raise ValueError(f"{path}: not a readable .npz file ({_one_line(error)}); {remedy}") from None
    return arrays


def parse_npy(data: bytes) -> np.ndarray:
    """The array of numbers in the bytes of a .npy file.

    Raises:
        ValueError: the bytes are no such file, or their number is another than the header states.
    """
    version, start = data[6:8], {b"\x01\x00": 10, b"\x02\x00": 12}.get(data[6:8])
    if data[:6] != b"\x93NUMPY" or start is None:
        raise ValueError("it does not start as a .npy file does")
    length = int.from_bytes(data[8:start], "little")
    if length > _LARGEST_HEADER or start + length > len(data):
        raise ValueError(f"its header of version {version[0]} is cut short")
    dtype, in_columns, shape = _parse_header(data[start : start + length])
    body = memoryview(data)[start + length :]
    if math.prod(shape) * dtype.itemsize != len(body):
        raise ValueError(f"{len(body)} bytes are no array of {shape} {dtype}")
    flat = np.frombuffer(body, dtype).astype(dtype.newbyteorder("="))
    return flat.reshape(shape, order="F" if in_columns else "C")


def _parse_header(text: bytes) -> tuple[np.dtype, bool, tuple[int, ...]]:
    """Type, whether columns come first, and shape, from a header such as "{'descr': '<f4', ...}"."""
    try:
        header = ast.literal_eval(text.decode("latin-1").strip())
        dtype, in_columns, shape = np.dtype(header["descr"]), header["fortran_order"], header["shape"]
    except (*_UNREADABLE_HEADERS, ValueError, TypeError, KeyError) as error:
        raise ValueError("its header cannot be read") from error
    plain = isinstance(shape, tuple) and all(type(length) is int and length >= 0 for length in shape)
    if not plain or len(shape) > 32 or type(in_columns) is not bool:
        raise ValueError(f"its header states the shape {str(shape)[:80]}")
    if dtype.kind not in _NUMBERS or dtype.shape:
        raise ValueError(f"it holds {str(dtype)[:40]}, not numbers")
    return dtype, in_columns, shape


def _check_shape(what: str, array: np.ndarray, shape: Sequence[int | None] | None) -> None:
    if shape is None:
        return
    same_length = array.ndim == len(shape)
    if not same_length or any(wanted not in (None, length) for wanted, length in zip(shape, array.shape)):
        wanted = ", ".join("n" if length is None else str(length) for length in shape)
        raise ValueError(f"{what} is {array.shape}, not ({wanted})")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
