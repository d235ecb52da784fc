"""What every room may use: files written whole, the command line. Imports nothing of the project.

Importing it has Ctrl-C end a command of this project in one line while its modules are still imported, before `cli.run`
takes over. Programs that use the project as a library keep their own way.
"""

import sys
from pathlib import Path


def _is_command() -> bool:
    """Whether this process runs a script of this project, or is about to: `python -m` names a module only later."""
    started = getattr(sys.modules["__main__"], "__file__", None)
    root = Path(__file__).resolve().parent.parent
    return root in Path(started).resolve().parents if started else sys.argv[:1] == ["-m"]


def quiet_interrupt(kind: type, error: BaseException, traceback: object) -> None:
    """Takes the place of `sys.excepthook`, which shows where the program was."""
    if issubclass(kind, KeyboardInterrupt):
        print("\nstopped by the user", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, traceback)  # type: ignore[arg-type]


if _is_command():
    sys.excepthook = quiet_interrupt
