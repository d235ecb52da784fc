"""Rewrites RUN/last.npz of an earlier version, which held a pickle, as plain arrays and numbers.

Of the pickle nothing but MXNet's arrays and optimizers is made; whatever else it asks for is refused.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any, Sequence

import mxnet as mx
from mxnet.optimizer import Optimizer

from common import cli
from common.readers import parse_json, read_npz
from engine.checkpoint import LAST, NUMBERS, PROGRESS, RESTART, write_arrays
from engine.optimizer_state import pack

_PICKLE = "optimizer"
_PLAIN = {("mxnet.ndarray.ndarray", "NDArray"): mx.nd.NDArray, ("builtins", "bytearray"): bytearray}


class _Unpickler(pickle.Unpickler):
    """Knows MXNet's arrays and optimizers alone."""

    def find_class(self, module: str, name: str) -> Any:
        """The class of this name."""
        if (module, name) in _PLAIN:
            return _PLAIN[module, name]
        known = getattr(mx.optimizer, name, None) if module == "mxnet.optimizer.optimizer" else None
        if not (isinstance(known, type) and issubclass(known, Optimizer)):
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return known


def convert(folder: Path) -> None:
    """Rewrites the checkpoint of a run.

    Raises:
        FileNotFoundError, ValueError: there is none, it needs no conversion, or is damaged.
    """
    path = folder / LAST
    arrays = read_npz(path, RESTART, shapes={PROGRESS: (None,)})
    if NUMBERS in arrays:
        raise ValueError(f"{path} is of this version already: nothing to convert")
    try:
        states, optimizer = _Unpickler(io.BytesIO(arrays.pop(_PICKLE).tobytes())).load()
        kept, numbers = pack(states, optimizer)
    # A pickle that was tampered with raises whatever it likes.
    except Exception as error:
        raise ValueError(f"{path} holds no optimizer's state ({error}); {RESTART}") from error
    progress = parse_json(arrays.pop(PROGRESS).tobytes().decode("utf-8"), str(path), RESTART)
    write_arrays(folder, {**arrays, **kept}, {PROGRESS: progress, NUMBERS: numbers})


def main(argv: Sequence[str] | None = None) -> int:
    """Converts the run of the command line."""
    parser = cli.make_parser(__doc__)
    parser.add_argument("run", metavar="RUN", type=cli.path, help="folder of a run of your own")
    folder = Path(parser.parse_args(argv).run)
    convert(folder)
    print(f"converted: go on with --resume {folder}")
    return 0


if __name__ == "__main__":
    cli.run(main)
