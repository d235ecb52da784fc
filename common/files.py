"""Files that appear whole or not at all: every file of the project is put in its place by this module.

A file is made in a temporary folder beside its target, whose name no other process has, flushed to the disk and then
moved. A reader finds the old file or the new one, and two processes that write one path never mix their bytes.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Callable, Iterable, Iterator, Mapping, Sequence, Union

PathLike = Union[str, "os.PathLike[str]"]
STAGED = ".part"
LOCK = ".lock"  # stands in a folder that a process has for itself


@contextmanager
def staging(folder: PathLike, target: object, remedy: str = "free the space or name another folder") -> Iterator[Path]:
    """A temporary folder inside `folder` to make files in before `publish` moves them; it is removed at the end.

    Args:
        folder: where the files will stand; it exists.
        target: what is written, for the error message.
        remedy: how the user can help, for the error message.

    Raises:
        OSError: in place of one raised within: one line that names the target, the reason and the remedy.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=f"{_owner(os.getpid())}-", suffix=STAGED, dir=folder) as staged:
            yield Path(staged)
    except OSError as error:
        # One that was raised by another `staging` within has its reason as its cause.
        reason = error.strerror or getattr(error.__cause__, "strerror", None) or error
        raise OSError(f"cannot write {target}: {reason}; {remedy}") from error


def _owner(process: int) -> str:
    """What the temporary folders of a process on this machine start with."""
    return f".{os.uname().nodename}-{process}"


def sweep(folder: PathLike) -> None:
    """Removes the temporary folders that killed processes of this machine left in a folder."""
    for left in Path(folder).glob(f".*{STAGED}"):
        process = left.name[: -len(STAGED)].split("-")[-2:-1]
        if process and process[0].isdecimal() and left.name.startswith(f"{_owner(int(process[0]))}-"):
            try:
                os.kill(int(process[0]), 0)  # sends nothing
            except (ProcessLookupError, OverflowError):
                shutil.rmtree(left, ignore_errors=True)
            except PermissionError:
                continue  # another user's, alive


@contextmanager
def exclusive(folder: PathLike, remedy: str) -> Iterator[None]:
    """Keeps a folder for this process for the length of a with block; the system ends that for a killed one.

    Args:
        folder: it exists.
        remedy: how the user of the second process can help, for the error message.

    Raises:
        ValueError: another process has it; one line that names that process.
        OSError: the lock cannot be written.
    """
    path = Path(folder) / LOCK
    # A run may be a stranger's: what a link in it points to is not to be emptied.
    with open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666), "r+b") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            file.seek(0)
            holder = file.read(20).decode("ascii", errors="replace").strip() or "unknown"
            raise ValueError(f"{folder} is in use by process {holder}: {remedy}") from None
        except OSError:
            # A file system without locks: then nothing is promised.
            yield
            return
        file.truncate(0)
        file.write(f"{os.getpid()}\n".encode("ascii"))
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def publish(staged: Path, folder: PathLike, names: Sequence[str], gone: Iterable[str] = ()) -> None:
    """Flushes files of a staging folder to the disk, then moves them to `folder` in the order given.

    Of two processes that do so at once one waits, so that their sets of files do not mix.

    Args:
        staged: the staging folder.
        folder: where the files go.
        names: of the files.
        gone: names that an earlier set may have; those that this one lacks are removed.
    """
    for name in names:
        # A link has no bytes of its own.
        if not (staged / name).is_symlink():
            with open(staged / name, "rb") as file:
                os.fsync(file.fileno())
    with _turn(folder):
        # Before the move: a process killed in between leaves a set without a file, not one with another's.
        for name in set(gone) - set(names):
            (Path(folder) / name).unlink(missing_ok=True)
        for name in names:
            os.replace(staged / name, Path(folder) / name)


@contextmanager
def _turn(folder: PathLike) -> Iterator[None]:
    """Waits until no other process is within; a file system without locks lets all of them in."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def write_whole(path: PathLike, write: Callable[[str], object]) -> None:
    """Lets `write` fill a temporary file and moves it to `path`.

    Raises:
        OSError: the file could not be written; what stood at `path` is untouched.
    """
    path = Path(path)
    with staging(path.parent, path) as staged:
        write(str(staged / path.name))
        publish(staged, path.parent, [path.name])


def write_bytes(path: PathLike, data: bytes) -> None:
    """Writes a binary file; OSError as in `write_whole`."""
    write_whole(path, lambda part: Path(part).write_bytes(data))


def write_text(path: PathLike, text: str) -> None:
    """Writes a UTF-8 file; OSError as in `write_whole`."""
    write_bytes(path, text.encode("utf-8"))


def write_set(folder: PathLike, files: Mapping[str, bytes], gone: Iterable[str] = ()) -> None:
    """Writes files that belong together: none appears before all of them are on the disk.

    Args:
        folder: created where it is missing; files of the same names in it are replaced, others stay.
        files: contents by file name, in the order in which they appear.
        gone: as in `publish`.

    Raises:
        OSError: they could not be written; what stood in the folder is untouched.
    """
    folder = make_folder(folder)
    with staging(folder, folder) as staged:
        for name, content in files.items():
            (staged / name).write_bytes(content)
        publish(staged, folder, list(files), gone)


def make_folder(path: PathLike) -> Path:
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
