"""Damaged files of every kind: a reader returns a result or raises a documented error, and nothing else happens."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILES = 2000  # about 20 seconds; `make fuzz N=...` takes any number


def test_damaged_files_end_in_a_result_or_a_documented_error():
    """In a process of its own, which a crash of a library would end."""
    text = [sys.executable, "tests/fuzz", str(FILES), "--seed", "0"]
    settings = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(text, cwd=ROOT, env=settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
