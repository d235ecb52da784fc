"""Frames of a video file or a camera; what cannot be decoded is skipped and counted."""

from __future__ import annotations

from pathlib import Path
from time import monotonic
from typing import Iterator, NamedTuple

import cv2
import numpy as np

from datasets.videos import open_video, quieten
from inference.media.display_matrix import is_mirrored
from inference.media.sources import Camera, Input
from inference.media.time_stamps import USUAL_RATE, Clock, rate_of

_TRIES = 100  # frames in a row that cannot be decoded, after which a file is taken to have ended
_MOST_TRIES = 20_000  # the same, where its header says that it goes on
_UNIT_OF_TIME = 1000.0  # frames per second, from which a file states the unit of its time stamps for lack of a rate
_MEASURED = 100  # frames at the beginning that show the rate where the file does not state it
_REMEDY = "copy it again, or save it as .mp4 or .avi"
_WIDEST = 8.0  # times that a pixel is wider or narrower than high
_CAMERA_TRIES = 5


class Frame(NamedTuple):
    """A picture of a video.

    Attributes:
        number: from 0; those that cannot be decoded are counted too.
        seconds: since the first one, by the file or, of a camera, by the clock; more than the last frame's.
        image: (H, W, 3) uint8 RGB, upright, with square pixels.
    """

    number: int
    seconds: float
    image: np.ndarray


class VideoReader:
    """Reads a video from its beginning, once.

    Args:
        source: a video file or a camera.

    Attributes:
        rate: frames per second by the file, else by its first time stamps, 0 if that is not known.
        declared: how many frames the file says it has, 0 if that is not known.
        pixel_aspect_ratio: width over height of a pixel in the file; frames are widened by it, before they are turned.
        mirrored: whether the file asks for its frames to be mirrored, which is done.
        broken: numbers of the frames so far that could not be decoded, with readable ones after them.
        missing: how many frames the file lacks at its end, once that is reached.

    Raises:
        ValueError: the file is not a readable video, or its frames would take too much memory.
        OSError: the camera is not there, or another program has it.
    """

    def __init__(self, source: Input) -> None:
        self._source = source
        self._live = isinstance(source, Camera)
        if isinstance(source, Camera):
            self._capture = _open_camera(source)
        else:
            self._capture = open_video(source, _REMEDY)
        rate = float(self._capture.get(cv2.CAP_PROP_FPS))
        if not 0 < rate < _UNIT_OF_TIME:
            rate = 0.0 if isinstance(source, Camera) else _measured_rate(source)
        self.rate = rate
        self.declared = 0 if self._live else max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        self.pixel_aspect_ratio = 1.0 if self._live else _aspect_ratio(self._capture)
        if not 1 / _WIDEST <= self.pixel_aspect_ratio <= _WIDEST:
            raise ValueError(
                f"{source}: its pixels are {self.pixel_aspect_ratio:g} times as wide as high; save it again"
            )
        self.mirrored = isinstance(source, Path) and is_mirrored(source)
        self._on_its_side = not self._live and self._capture.get(cv2.CAP_PROP_ORIENTATION_META) % 180 == 90
        self.broken: list[int] = []
        self.missing = 0

    def __iter__(self) -> Iterator[Frame]:
        number, failed, clock = -1, [], Clock(1 / (self.rate or USUAL_RATE))
        seconds = gap = 0.0
        while len(failed) < (_CAMERA_TRIES if self._live else max(_TRIES, min(self.declared - number, _MOST_TRIES))):
            number += 1
            decoded, image = self._capture.read()
            if not decoded or image is None:
                failed.append(number)
                continue
            stamp = monotonic() if self._live else self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            now = clock(stamp, 1 + len(failed))
            gap, seconds = now - seconds, now
            self.broken += failed
            failed = []
            yield Frame(number, seconds, self._as_shown(cv2.cvtColor(image, cv2.COLOR_BGR2RGB)))
        last = number - len(failed)
        # Matroska's number of frames is a guess from its length: where the frames last as long, none is missing.
        lasts = round((seconds + gap) * self.rate)
        self.missing = _lacking(self.declared, last + 1) and _lacking(self.declared, max(lasts, last + 1))

    def _as_shown(self, image: np.ndarray) -> np.ndarray:
        """A frame, which OpenCV has turned already, mirrored and with square pixels."""
        if self.mirrored:
            # OpenCV turns by the matrix's first column; what is left is a mirror image upside down, before the turn.
            image = np.ascontiguousarray(np.flip(image, axis=1 if self._on_its_side else 0))
        if self.pixel_aspect_ratio == 1:
            return image
        height, width = image.shape[:2]
        if self._on_its_side:
            return cv2.resize(image, (width, max(1, round(height * self.pixel_aspect_ratio))))
        return cv2.resize(image, (max(1, round(width * self.pixel_aspect_ratio)), height))

    @property
    def faults(self) -> str:
        """A description of the faults so far; empty if there are none."""
        faults = []
        if self.broken:
            faults.append(f"{len(self.broken)} could not be decoded")
        if self.missing:
            faults.append(f"{self.missing} of {self.declared} are missing at its end")
        return ", ".join(faults)

    def close(self) -> None:
        """Gives a camera back."""
        self._capture.release()


def _open_camera(camera: Camera) -> cv2.VideoCapture:
    quieten()
    capture = cv2.VideoCapture(camera.number)
    if not capture.isOpened():
        raise OSError(f"{camera} is not there or in use by another program: check its number, the first is 0")
    return capture


def _measured_rate(path: Path) -> float:
    capture = open_video(path, _REMEDY)
    rate = rate_of([capture.get(cv2.CAP_PROP_POS_MSEC) / 1000 for _ in range(_MEASURED) if capture.grab()])
    return rate if rate <= _UNIT_OF_TIME else 0.0


def _lacking(declared: int, found: int) -> int:
    """Frames that a file lacks; 0 if the difference is within what containers without an exact count are wrong by."""
    lacking = declared - found
    return lacking if lacking > max(2, 0.02 * declared) else 0


def _aspect_ratio(capture: cv2.VideoCapture) -> float:
    width, height = capture.get(cv2.CAP_PROP_SAR_NUM), capture.get(cv2.CAP_PROP_SAR_DEN)
    return width / height if width > 0 and height > 0 else 1.0
