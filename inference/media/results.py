"""The results of one input after another: written, shown, and counted."""

from __future__ import annotations

from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Callable, Sequence, Union

import numpy as np
from tqdm import tqdm

from common import cli
from common.ahead import read_ahead
from datasets.images import read_image
from inference.confidence import PointConfidence, point_confidence
from inference.face_hypotheses import WholePhotoLandmarks
from inference.landmark_detector import LandmarkDetector, LocatedFace
from inference.media.overlap import one_behind
from inference.media.photo_files import PhotoFiles
from inference.media.sources import Camera, Input, is_video
from inference.media.video_files import VideoFiles
from inference.media.video_reader import Frame, VideoReader
from inference.media.window import Window
from inference.tracking import TrackedFace

NO_FACE_HELP = "give its box with --boxes, or pass --detector whole for a cut-out face"
FindsFaces = Union[LandmarkDetector, WholePhotoLandmarks]
FollowsFaces = Callable[[Frame], "list[TrackedFace]"]


class Results:
    """Writes and shows the faces of one input after another, and keeps count.

    Args:
        photo_files: writes photos.
        video_files: writes videos.
        window: shows both, if given.
        max_frames: of a video; all if None.

    Attributes:
        bad: a line for each input that could not be used, fully or in part.
    """

    def __init__(
        self, photo_files: PhotoFiles, video_files: VideoFiles, window: Window | None, max_frames: int | None
    ) -> None:
        self._photo_files, self._video_files = photo_files, video_files
        self._window, self._max_frames = window, max_frames
        self._photos = self._faces = 0
        self.bad: list[str] = []

    def photo(self, detector: FindsFaces, path: Path) -> None:
        """Finds and writes the faces of a photo; ValueError names the photo and what to do."""
        image = read_image(path)
        try:
            faces = detector(image, str(path))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        drawn = self._photo_files.write(path, image, faces, confidence_of(detector, image, faces))
        self._photos += 1
        self._faces += len(faces)
        if not faces:
            tqdm.write(f"{path}: no face was found; {NO_FACE_HELP}")
        if self._window and not self._window.show(drawn, 0):
            self._window = None

    def video(self, follow: FollowsFaces, source: Input) -> None:
        """Finds and writes the faces of a video or a camera.

        Ctrl-C ends a camera and keeps its frames; it discards a video's.

        Raises:
            ValueError, OSError: it has no frame, or its results cannot be written.
        """
        reader = VideoReader(source)
        total = self._max_frames or reader.declared or None
        try:
            with self._video_files.write(source, reader) as writing:
                ahead = 1 if isinstance(source, Camera) else 2  # a camera's frames would be old when they are shown
                reading = closing(read_ahead(islice(reader, self._max_frames), ahead))
                with one_behind(writing.write) as write_beside, reading as frames:
                    write = writing.write if self._window else write_beside  # a window shows each frame at once
                    try:
                        for frame in cli.progress(frames, source.stem, total, "frame"):
                            drawn = write(frame, follow(frame))
                            if self._window and drawn is not None and not self._window.show(drawn, 1):
                                break
                    except KeyboardInterrupt:
                        if not isinstance(source, Camera):
                            raise
        finally:
            reader.close()
        tqdm.write(f"{source}: {counted(writing.faces, 'face')} in {counted(writing.frames, 'frame')}")
        if reader.faults:
            self.bad.append(f"frames of {source}: {reader.faults}")

    def summary(self, inputs: Sequence[Input], out: str) -> str:
        """The last line."""
        photos = sum(not is_video(source) for source in inputs)
        if not photos:
            return f"written to {out}"
        of_all = "" if self._photos == photos else f" of {photos}"
        return f"{counted(self._faces, 'face')} in {self._photos}{of_all} photo{'s' if photos > 1 else ''}: {out}"


def confidence_of(detector: FindsFaces, image: np.ndarray, faces: Sequence[LocatedFace]) -> PointConfidence | None:
    """How sure the landmark network is of faces' points; None if it finds faces by itself."""
    if not faces or not isinstance(detector, LandmarkDetector):
        return None
    return point_confidence(detector.predictor, image, [face.points for face in faces])


def counted(number: int, what: str) -> str:
    """Such as 1 face, or 2 faces."""
    return f"{number} {what}{'' if number == 1 else 's'}"
