"""Forked workers after this process has used OpenCV's threads."""

import subprocess
import sys
from pathlib import Path

import pytest

from datasets.workers import explain_end, out_of_memory_kills

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = """
import cv2, numpy as np
from datasets.workers import Workers

def blurred_sum(side):
    return int(cv2.GaussianBlur(np.ones((side, side), np.uint8), (9, 9), 2).sum())

cv2.setNumThreads(4)
first = blurred_sum(3000)
with Workers(2, int, ()) as pool:
    print(first, *pool.map(blurred_sum, [3000, 3000]))
"""


def test_workers_do_not_wait_for_opencv_threads_that_a_fork_lost():
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert finished.stdout.split() == ["9000000"] * 3


@pytest.mark.parametrize(
    ("exit_codes", "out_of_memory", "expected"),
    [
        ([-15, -9, -15], 1, "ended by SIGKILL; the system is out of memory: use fewer --workers"),
        ([-9, -15], 0, "ended by SIGKILL; nothing shows a lack of memory: go on with --resume"),
        ([-15, -11], 2, "ended by SIGSEGV; --workers 0 shows where it happens"),
        ([1, -15], 0, "ended with exit code 1; --workers 0 shows"),
        ([-15, -15], 0, "ended by SIGTERM"),
    ],
)
def test_want_of_memory_is_named_only_where_the_system_counted_it(exit_codes, out_of_memory, expected):
    assert expected in explain_end(exit_codes, out_of_memory)


def test_the_systems_count_of_processes_ended_for_want_of_memory(tmp_path):
    (tmp_path / "vmstat").write_text("nr_free_pages 12\noom_kill 3\nswap_ra 0\n")
    assert out_of_memory_kills(tmp_path / "vmstat") == 3
    assert out_of_memory_kills(tmp_path / "elsewhere") == 0
