"""Forked workers after this process has used OpenCV's threads."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = """
import cv2, numpy as np
from datasets.workers import start_workers

def blurred_sum(side):
    return int(cv2.GaussianBlur(np.ones((side, side), np.uint8), (9, 9), 2).sum())

cv2.setNumThreads(4)
first = blurred_sum(3000)
with start_workers(2, int, ()) as pool:
    print(first, *pool.map(blurred_sum, [3000, 3000]))
"""


def test_workers_do_not_wait_for_opencv_threads_that_a_fork_lost():
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert finished.stdout.split() == ["9000000"] * 3
