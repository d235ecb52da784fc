"""What the command lines of all scripts share."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Callable


def run(main: Callable[[], int | None]) -> None:
    """Runs a script's main and ends the process: 2 and one line for bad input, 130 if interrupted, else main's value.

    With the environment variable TRACEBACK=1 an error keeps its traceback.
    """
    try:
        sys.exit(main() or 0)
    except KeyboardInterrupt:
        print("stopped by the user", file=sys.stderr)
        sys.exit(130)
    except (ValueError, OSError) as error:
        if os.environ.get("TRACEBACK") == "1":
            raise
        print(f"error: {' '.join(_one_line(error).split())}", file=sys.stderr)
        sys.exit(2)


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__


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


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser whose --help shows defaults."""
    return argparse.ArgumentParser(_command(), description=description, formatter_class=_HelpWithDefaults)


def add_device_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds --gpus and --seed."""
    parser.add_argument("--gpus", help="GPU numbers such as 0,1, or none for the CPU (default: GPU 0 if present)")
    parser.add_argument("--seed", type=int, default=0, help="random seed")
