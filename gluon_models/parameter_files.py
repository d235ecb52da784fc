"""Reads and writes MXNet's parameter files, of any network."""

from __future__ import annotations

import os
from pathlib import Path

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
