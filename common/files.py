"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Callable


def write_whole(path: str | os.PathLike[str], write: Callable[[str], None]) -> None:
    """Lets `write` fill a temporary file beside `path`, flushes it to the disk, then renames it.

    Raises:
        OSError: the file could not be written; what stood at `path` is untouched and the temporary file is gone.
    """
    part = f"{os.fspath(path)}.part"
    try:
        write(part)
        with open(part, "rb") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        reason = error.strerror or error
        raise OSError(f"cannot write {path}: {reason}; free the space or name another folder") from error
    finally:
        if os.path.exists(part):
            os.remove(part)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes UTF-8 text whole or not at all."""
    write_whole(path, lambda part: _write(part, text))


def _write(path: str, text: str) -> None:
    Path(path).write_text(text, encoding="utf-8")


def make_folder(path: str | os.PathLike[str]) -> Path:
    """Creates an output folder with its parents.

    Raises:
        OSError: it cannot be created, in one line that names it.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"cannot create the folder {folder}: {error.strerror}; name another one") from error
    return folder
