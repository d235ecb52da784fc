"""What all command lines share: kinds of values, places to write to, and how a command ends."""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import Any, Callable, Iterable, Iterator, NoReturn, Sized, TypeVar

from tqdm import tqdm

from common.files import PathLike, make_folder, sweep

Item = TypeVar("Item")
LARGEST = 1e9  # of numbers on a command line: more faces, epochs, pixels or seconds than anybody has
LARGEST_COUNT = 10_000_000  # of whole numbers that count something
LARGEST_SEED = 2**31 - 1
_STOPPED = {signal.SIGINT: "stopped by the user", signal.SIGTERM: "stopped by the system (SIGTERM)"}


class Terminated(KeyboardInterrupt):
    """SIGTERM: whatever Ctrl-C ends, this ends, too."""


def run(main: Callable[[], int | None]) -> None:
    """Runs a script's main and ends the process.

    The exit code is main's, or 2 after one line for bad input, 130 if Ctrl-C stopped it and 143 if SIGTERM did. With
    the environment variable TRACEBACK=1 an error keeps its traceback.
    """
    signal.signal(signal.SIGTERM, _terminate)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # names of files that are not UTF-8, on any terminal
    try:
        sys.exit(_end_of(main))
    except KeyboardInterrupt as stopped:
        number = signal.SIGTERM if isinstance(stopped, Terminated) else signal.SIGINT
        # The clean-up that is under way is not to be stopped once more.
        for each in _STOPPED:
            signal.signal(each, signal.SIG_IGN)
        print("\n" + "; ".join([_STOPPED[number], *map(str, stopped.args)]), file=sys.stderr)
        sys.stdout.flush()
        sys.exit(128 + number)
    except BrokenPipeError:
        # Whoever read the output, such as `head`, has enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except (ValueError, OSError, MemoryError) as error:
        if os.environ.get("TRACEBACK") == "1":
            raise
        print(f"error: {printable(_one_line(error))}", file=sys.stderr)
        sys.exit(2)


def _end_of(main: Callable[[], int | None]) -> int:
    """The exit code; an error that Ctrl-C brought about, as in a library's clean-up, counts as Ctrl-C."""
    try:
        return main() or 0
    except Exception as error:
        behind = error.__context__
        while behind is not None and not isinstance(behind, KeyboardInterrupt):
            behind = behind.__context__
        if behind is None:
            raise
        raise behind from None


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, MemoryError):
        return "this takes more memory than there is: ask for less at a time, or for smaller pictures"
    return str(error) or type(error).__name__


def printable(text: str) -> str:
    """A text as one line that leaves a terminal alone, whatever names of a stranger's files are quoted in it."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in " ".join(text.split()))


@contextmanager
def says_what_is_kept(text: Callable[[], str]) -> Iterator[None]:
    """Adds a text to the last line of a command that is stopped within, such as how to go on."""
    try:
        yield
    except KeyboardInterrupt as stopped:
        raise type(stopped)(*stopped.args, text()) from None


class _HelpWithDefaults(argparse.ArgumentDefaultsHelpFormatter):
    """Shows a default where there is one to show."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default in (None, False, []):
            return action.help
        return super()._get_help_string(action)


def _command() -> str | None:
    """What a user typed to start this, where it is python -m MODULE; None for a script."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return f"python -m {spec.name.replace('.__main__', '')}" if spec else None


class _Parser(argparse.ArgumentParser):
    """Refuses in one line, as all bad input is refused, instead of showing all options first.

    What is given no type is a text that is not empty.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.register("type", None, text)

    def error(self, message: str) -> NoReturn:
        """Raises ValueError."""
        raise ValueError(f"{message}; --help shows the options")


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser whose --help shows defaults; what it cannot read is a ValueError."""
    return _Parser(_command(), description=description, formatter_class=_HelpWithDefaults)


def add_device_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds --gpus and --seed."""
    parser.add_argument("--gpus", help="GPU numbers such as 0,1, or none for the CPU (default: GPU 0 if present)")
    parser.add_argument("--seed", type=seed, default=0, help="random seed")


def _refuse(text: str, what: str) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(f"'{text[:40]}' is not {what}")


def _whole(text: str, least: int, most: float, what: str) -> int:
    # int() itself takes spaces, underscores and the digits of all scripts, and thousands of them.
    digits = text[1:] if text.startswith("-") else text
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 20 and least <= int(text) <= most):
        raise _refuse(text, what)
    return int(text)


def _real(text: str, fits: Callable[[float], bool], what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (abs(value) <= LARGEST and fits(value)):
        raise _refuse(text, what)
    return value


def count(text: str) -> int:
    """A whole number of at least 1."""
    return _whole(text, 1, LARGEST_COUNT, f"a whole number from 1 to {LARGEST_COUNT:,}")


def count_or_none(text: str) -> int:
    """A whole number of at least 0, where 0 stands for none or all."""
    return _whole(text, 0, LARGEST_COUNT, f"a whole number from 0 to {LARGEST_COUNT:,}")


def seed(text: str) -> int:
    """A seed of random numbers."""
    return _whole(text, 0, LARGEST_SEED, f"a whole number from 0 to {LARGEST_SEED}")


def integer(text: str) -> int:
    """Any whole number."""
    return _whole(text, int(-LARGEST), LARGEST, "a whole number")


def number(text: str) -> float:
    """Any finite number."""
    return _real(text, lambda value: True, f"a number between -{LARGEST:g} and {LARGEST:g}")


def positive(text: str) -> float:
    """A number above 0."""
    return _real(text, lambda value: value >= 1 / LARGEST, "a number above 0")


def non_negative(text: str) -> float:
    """A number of at least 0."""
    return _real(text, lambda value: value >= 0, "a number of at least 0")


def fraction(text: str) -> float:
    """A number from 0 to 1."""
    return _real(text, lambda value: 0 <= value <= 1, "a number from 0 to 1")


def text(value: str) -> str:
    """A text that is not empty: where it names something, an empty one would count as not given."""
    if not value.strip():
        raise _refuse(value, "a text: it is empty")
    return value


def path(text: str) -> str:
    """The path of a file or folder; an empty one would be the current folder."""
    if not text.strip() or "\0" in text:
        raise _refuse(text, "a path")
    return text


def file_path(text: str) -> Path:
    """The same as a `Path`."""
    return Path(path(text))


def output_folder(folder: PathLike) -> Path:
    """An output folder, made where it is missing, that files can be written to; call it before the work.

    Raises:
        OSError: it cannot be made or written to, in one line that names it.
    """
    made = make_folder(folder)
    sweep(made)
    try:
        with tempfile.TemporaryFile(dir=made) as file:
            file.write(b"0")
            file.flush()
    except OSError as error:
        raise OSError(f"cannot write to the folder {made}: {error.strerror}; name another one") from error
    return made


def output_file(file: PathLike) -> Path:
    """The path of an output file that can be written, its folder made where it is missing; call it before the work.

    Raises:
        OSError: it cannot be written, in one line that names it.
    """
    target = Path(file)
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a folder: name a file")
    output_folder(target.parent)
    return target


LOG_SECONDS = 30.0  # between two lines of progress in a log


def progress(items: Iterable[Item], what: str, total: int | None = None, unit: str = "face") -> Iterator[Item]:
    """Hands on items below a progress bar, or, where the output goes to a log, with a line now and then.

    Args:
        items: any; their number is known if they have a length.
        what: is done to them, such as "cropping".
        total: their number.
        unit: what one is called.
    """
    total = len(items) if total is None and isinstance(items, Sized) else total
    if sys.stderr.isatty():
        yield from tqdm(items, what, total, unit=unit)
        return
    last = monotonic()
    for count, item in enumerate(items):
        if monotonic() - last >= LOG_SECONDS:
            last = monotonic()
            print(f"{what}: {unit} {count}{f' of {total}' if total else ''}", file=sys.stderr, flush=True)
        yield item
