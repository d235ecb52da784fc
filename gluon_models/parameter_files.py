"""Reads and writes MXNet's parameter files, of any network."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Callable

import mxnet as mx


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
    try:
        stored = mx.nd.load(str(path))
    except mx.MXNetError as error:
        raise ValueError(f"{path} is cut short or no parameters file: restore it") from error
    return stored if isinstance(stored, dict) else {}


def replace_file(path: Path, write: Callable[[str], Any]) -> None:
    """Has `write` make a file beside `path`, which then takes its name: it is there whole or not at all.

    Raises:
        OSError: there is no room, or no permission.
    """
    part = f"{path}.part"
    try:
        write(part)
        os.replace(part, path)
    except OSError as error:
        raise OSError(f"cannot write {path}: {error.strerror or error}; make room or name another folder") from error
    finally:
        if os.path.exists(part):
            os.remove(part)
