"""Which processors a script runs on."""

from __future__ import annotations

import mxnet as mx


def contexts(gpus: str | None) -> list[mx.Context]:
    """Contexts for `--gpus`.

    Args:
        gpus: numbers such as "0,1", "none" for the CPU, or None for GPU 0 where one answers, else the CPU.

    Raises:
        ValueError: a GPU that is not there, or text that is no number.
    """
    if gpus == "none":
        return [mx.cpu()]
    available = _gpu_count()
    if gpus is None:
        return [mx.gpu(0)] if available else [mx.cpu()]
    try:
        numbers = [int(part) for part in gpus.split(",")]
    except ValueError:
        raise ValueError(f"--gpus {gpus}: give numbers such as 0,1, or none for the CPU") from None
    for number in numbers:
        if not 0 <= number < available:
            raise ValueError(f"--gpus {gpus}: there are {available} GPUs here; run make check-gpu, or pass --gpus none")
    return [mx.gpu(number) for number in numbers]


def _gpu_count() -> int:
    try:
        return mx.context.num_gpus()
    except mx.MXNetError:
        return 0
