"""The log of a training run, as figures over its epochs read it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_log(run: str) -> list[dict[str, Any]]:
    """What RUN/log.jsonl says of each epoch.

    Raises:
        FileNotFoundError: there is no such file.
    """
    path = Path(run) / "log.jsonl"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there: --run takes the folder of a training run")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
