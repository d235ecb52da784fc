"""Pictures on the screen, where there is one."""

from __future__ import annotations

import subprocess
import sys

import cv2
import numpy as np

_QUIT_KEYS = (27, ord("q"))  # 27 is Esc
_OPENS = "import cv2; cv2.namedWindow('test'); cv2.waitKey(1)"
_PATIENCE = 30  # seconds for a window to open, on a slow connection


def check_display() -> None:
    """Tries a window in a process of its own: without a display OpenCV ends the one that asks.

    Raises:
        ValueError: none can be opened here.
    """
    try:
        tried = subprocess.run([sys.executable, "-c", _OPENS], capture_output=True, timeout=_PATIENCE, check=False)
        opened = tried.returncode == 0
    except subprocess.TimeoutExpired:
        opened = False
    if not opened:
        raise ValueError("--show: no window can be opened here (no display, or none that responds); leave --show out")


class Window:
    """One window for a photo or the frames of a video.

    Args:
        title: above it.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        cv2.namedWindow(title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)

    def show(self, image: np.ndarray, milliseconds: int) -> bool:
        """Shows an image (H, W, 3) RGB for so long, 0 until a key is pressed; False if q, Esc or closing ends it."""
        cv2.imshow(self._title, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        key = cv2.waitKey(milliseconds) & 0xFF
        return key not in _QUIT_KEYS and cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) >= 1

    def close(self) -> None:
        """Closes the window."""
        cv2.destroyAllWindows()
