"""Opens video files, whatever their headers claim."""

from __future__ import annotations

import os
from pathlib import Path

import cv2

MOST_PIXELS = 2**26  # of a frame; 8K has half of it


def open_video(path: Path, remedy: str, threads: int | None = None) -> cv2.VideoCapture:
    """A video of frames that fit into memory.

    Args:
        path: of the file.
        remedy: what to do about a file that is no video, for the message.
        threads: that decode; OpenCV's choice if None.

    Raises:
        ValueError: it cannot be read, or its frames are too large.
    """
    quieten()
    if path.exists() and not path.is_file():
        raise ValueError(f"{path}: this is not a file; {remedy}")
    settings = [] if threads is None else [cv2.CAP_PROP_N_THREADS, threads]
    # In a relative path FFmpeg takes a colon for a protocol's.
    capture = cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG, settings)
    if not capture.isOpened():
        raise ValueError(f"{path}: not a video that can be read; {remedy}")
    width, height = (int(capture.get(key)) for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
    if width * height > MOST_PIXELS:
        raise ValueError(f"{path}: frames of {width} x {height} have more than {MOST_PIXELS:,} pixels; make it smaller")
    return capture


def quieten() -> None:
    """Keeps OpenCV and the FFmpeg in it from writing about broken frames: readers count or refuse them."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    cv2.setLogLevel(0)
