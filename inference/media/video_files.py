"""The files of a video: `<stem>.jsonl` with a line for each frame, `<stem>.json` about all of it, `<stem>.mp4`."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator, Mapping, Sequence, TextIO

import cv2
import numpy as np

from datasets.markups import Markup
from inference.drawing import draw_faces
from inference.media.output_folder import VIDEO_SUFFIX, OutputFolder
from inference.media.photo_files import plain_face
from inference.media.sources import Input
from inference.media.time_stamps import USUAL_RATE
from inference.media.video_reader import Frame, VideoReader
from inference.tracking import TrackedFace

COORDINATES = "pixels of the upright frame, x then y, centre of the first pixel at (0, 0)"
# The first that can be written: browsers play H.264 and VP9, not MPEG-4 part 2. OpenCV's wheel has no H.264 encoder.
CODECS = ("avc1", "vp09", "mp4v")
_JITTER = 0.75  # frames that a time stamp may be late without a frame being repeated
LONGEST_PAUSE = 60.0  # seconds that one frame is repeated for at most; the copy skips the rest


class VideoWriting:
    """Writes frame after frame.

    Args:
        video: the annotated copy's path, or None to write no copy.
        lines: takes a line for each frame.
        rate: frames per second; 0 if that is not known.
        markup: of the points.

    Attributes:
        size: width and height in pixels.
        codec: of the copy, one of `CODECS`, or "" without one.
        frames: of the video, written so far.
        faces: in all of them together.
    """

    def __init__(self, video: Path | None, lines: TextIO, rate: float, markup: Markup) -> None:
        self._video = video and video.absolute()  # in a relative path FFmpeg takes a colon for a protocol's
        self._lines, self._rate, self._markup = lines, rate or USUAL_RATE, markup
        self._writer: cv2.VideoWriter | None = None
        self.size = (0, 0)
        self.codec = ""
        self.frames = self.faces = 0
        self._last: np.ndarray | None = None
        self._seconds = self._gap = self._clock = 0.0
        self._written = 0

    def write(self, frame: Frame, faces: Sequence[TrackedFace]) -> np.ndarray:
        """Writes one frame; returns its annotated copy (H, W, 3)."""
        line = {"frame": frame.number, "seconds": round(frame.seconds, 4), "faces": [plain(face) for face in faces]}
        self._lines.write(json.dumps(line) + "\n")
        labels = [f"{face.identity}" if face.identity else "" for face in faces]
        drawn = draw_faces(frame.image, faces, self._markup, labels)
        self.size = (drawn.shape[1], drawn.shape[0])
        if self._video is not None:
            self._copy(drawn, frame.seconds)
        self.frames += 1
        self.faces += len(faces)
        return drawn

    def _copy(self, drawn: np.ndarray, seconds: float) -> None:
        """Puts a frame into the copy, the last one once more where the source pauses."""
        if self.frames:
            self._gap = min(seconds - self._seconds, LONGEST_PAUSE)
            self._repeat()
        self._last, self._seconds = _even(cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR)), seconds
        self._put(self._last)

    def _repeat(self) -> None:
        """Repeats the last frame until the gap after it is filled, so that the copy lasts as long as the video."""
        self._clock += self._gap
        while self._last is not None and self._clock * self._rate - self._written > _JITTER:
            self._put(self._last)

    def _put(self, image: np.ndarray) -> None:
        if self._writer is None:
            self._writer = self._open(*image.shape[1::-1])
        self._writer.write(image)
        self._written += 1

    def _open(self, width: int, height: int) -> cv2.VideoWriter:
        for self.codec in CODECS:
            fourcc = cv2.VideoWriter_fourcc(*self.codec)
            writer = cv2.VideoWriter(str(self._video), cv2.CAP_FFMPEG, fourcc, self._rate, (width, height))
            if writer.isOpened():
                return writer
        raise ValueError(f"frames of {width} x {height} pixels cannot be written as MPEG-4: scale the video")

    def close(self) -> None:
        """Ends the video; its last frame lasts as long as the one before it."""
        self._repeat()
        if self._writer is not None:
            self._writer.release()

    def check(self) -> None:
        """OSError if not all frames have reached the disk, which OpenCV itself does not tell."""
        if self._video is None:
            return
        written = cv2.VideoCapture(str(self._video), cv2.CAP_FFMPEG)
        count = int(written.get(cv2.CAP_PROP_FRAME_COUNT))
        written.release()
        if count != self._written:
            raise OSError(f"the annotated video holds {count} of {self._written} frames")


class VideoFiles:
    """Writes what was found in videos.

    Args:
        folder: where to.
        about: what each JSON says besides the video itself, such as the model.
        markup: of the points.
        copies: write annotated copies.
    """

    def __init__(self, folder: OutputFolder, about: Mapping[str, Any], markup: Markup, copies: bool = True) -> None:
        self._folder, self._about, self._markup, self._copies = folder, about, markup, copies

    @contextmanager
    def write(self, source: Input, reader: VideoReader) -> Iterator[VideoWriting]:
        """Hands out what takes the frames of a video; at the end its files appear, or none if there was an error.

        Raises:
            ValueError: there was no frame, or their size cannot be written.
            OSError: the files could not be written; what an earlier run left is untouched.
        """
        with self._folder.aside(source) as aside:
            with open(aside / f"{source.stem}.jsonl", "w", encoding="utf-8") as lines:
                copy = aside / f"{source.stem}{VIDEO_SUFFIX}" if self._copies else None
                writing = VideoWriting(copy, lines, reader.rate, self._markup)
                try:
                    yield writing
                finally:
                    writing.close()
            if not writing.frames:
                raise ValueError(f"{source}: no frame of it can be decoded; copy it again, or save it again")
            writing.check()
            self._write_json(aside / f"{source.stem}.json", source, reader, writing)
            suffixes = (*([VIDEO_SUFFIX] if self._copies else []), ".jsonl", ".json")
            self._folder.put(aside, source.stem, [f"{source.stem}{suffix}" for suffix in suffixes])

    def _write_json(self, path: Path, source: Input, reader: VideoReader, writing: VideoWriting) -> None:
        content = {
            "video": str(source),
            "width": writing.size[0],
            "height": writing.size[1],
            "frames_per_second": reader.rate or None,
            "frames": writing.frames,
            "codec_of_the_copy": writing.codec or None,
            "pixel_aspect_ratio": reader.pixel_aspect_ratio,
            "broken_frames": reader.broken,
            "missing_frames": reader.missing,
            "faces_in_all_frames": writing.faces,
            **self._about,
            "coordinates": COORDINATES,
            "lines": f"{source.stem}.jsonl",
        }
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def plain(face: TrackedFace) -> dict[str, Any]:
    """A face as a line shows it."""
    return {"id": face.identity, **plain_face(face), "disagreement": round(face.disagreement, 4)}


def _even(image: np.ndarray) -> np.ndarray:
    """An image whose width and height are even, as video has them: the last column or row is repeated."""
    height, width = image.shape[:2]
    if height % 2 == width % 2 == 0:
        return image
    return cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
