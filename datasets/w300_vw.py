"""300VW: 68 points on the frames of 114 videos, in its distributor's folders.

Each video is `<id>/vid.avi` with a `<id>/annot/000001.pts` for its first frame, and so on.
"""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Mapping, Sequence

import cv2
import numpy as np

from datasets.faces import Face, checked, subset_of
from datasets.geometry import landmark_box
from datasets.images import PathLike
from datasets.inventory import check_subset, files, needed_folder, refuse_incomplete
from datasets.markups import IBUG_68, Markup
from datasets.pts_files import read_annotations
from datasets.videos import open_video

__all__ = ["SUBSETS", "W300VW", "FrameReader", "load"]

_TRAIN = """
    001 002 003 004 007 009 010 011 013 015 016 017 018 019 020 022 025 027 028 029 031 033 034 035 037 039 041 043 044
    046 047 048 049 053 057 059 112 113 115 119 120 123 138 143 144 160 204 205 223 225
"""
_CATEGORY_1 = """
    114 124 125 126 150 158 401 402 505 506 507 508 509 510 511 514 515 518 519 520 521 522 524 525 537 538 540 541 546
    547 548
"""
_CATEGORY_2 = "203 208 211 212 213 214 218 224 403 404 405 406 407 408 409 412 550 551 553"
_CATEGORY_3 = "410 411 516 517 526 528 529 530 531 533 557 558 559 562"

SUBSETS: dict[str, tuple[str, ...]] = {
    "train": tuple(_TRAIN.split()),
    "category_1": tuple(_CATEGORY_1.split()),
    "category_2": tuple(_CATEGORY_2.split()),
    "category_3": tuple(_CATEGORY_3.split()),
    "test": tuple(f"{_CATEGORY_1} {_CATEGORY_2} {_CATEGORY_3}".split()),
}

# Further ahead than this many frames, a seek is tried instead of decoding all that lies between.
_STEPS_BEFORE_SEEK = 64
_RESTORE = "restore it from the original data"
_LAYOUT = "<id>/vid.avi and <id>/annot/000001.pts, with <id> from 001 to 562"


class _OpenVideo:
    """A video being decoded.

    Attributes:
        position: Number of the frame that comes next, from 0.
        stepped: Whether it got there from the first frame by steps alone.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.position = 0
        self.stepped = True
        # One decoding thread, as closing a video with more hangs in a child process, where they have not survived.
        self._capture = open_video(path, _RESTORE, threads=1)

    def declared_count(self) -> int:
        """How many frames the file's header says there are; it may be wrong."""
        return int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))

    def skip(self) -> bool:
        """Goes one frame on; False at the end."""
        self.position += 1
        return bool(self._capture.grab())

    def next(self) -> np.ndarray | None:
        """The next frame (H, W, 3) BGR; None at the end or if it cannot be decoded."""
        decoded, frame = self._capture.retrieve() if self.skip() else (False, None)
        return np.ascontiguousarray(frame) if decoded else None

    def jump(self, index: int) -> np.ndarray | None:
        """What claims to be this frame, as `next` returns it."""
        if not 0 <= index - self.position <= _STEPS_BEFORE_SEEK:
            self._capture.set(cv2.CAP_PROP_POS_FRAMES, index)
            self.position, self.stepped = index, False
        while self.position < index:
            self.skip()
        return self.next()


class FrameReader:
    """Frames of videos by number, always the ones that decoding from the first frame on gives.

    A frame that follows the last one is decoded next. Seeking may miss a frame in compressed video, so that a frame is
    sought only if it was stepped over before, and is taken only if its checksum is the same as then; if not, the video
    is decoded from its start and never sought in again.

    One video is open at a time in each process. A reader may be pickled and may be used on both sides of a fork.
    """

    def __init__(self) -> None:
        # By process: a child that read from its parent's video would move the place where the parent reads.
        self._open: dict[int, _OpenVideo] = {}
        self._checksums: dict[Path, list[int]] = {}
        self._not_to_seek: set[Path] = set()

    def __reduce__(self) -> tuple[Any, ...]:
        return FrameReader, ()

    def read(self, path: Path, index: int) -> np.ndarray:
        """Decodes frame `index`, from 0, as (H, W, 3) uint8 RGB.

        Raises:
            ValueError: The file is no video, or ends before this frame.
        """
        checksums = self._checksums.setdefault(path, [])
        frame = None
        if index < len(checksums) and path not in self._not_to_seek:
            frame = self._video(path).jump(index)
            if frame is None or zlib.crc32(frame.data) != checksums[index]:
                frame = None
                self._not_to_seek.add(path)
        if frame is None:
            frame = self._step_to(path, index, checksums)
        return np.ascontiguousarray(frame[..., ::-1])

    def _video(self, path: Path) -> _OpenVideo:
        video = self._open.get(os.getpid())
        if video is None or video.path != path:
            video = self._reopen(path)
        return video

    def _reopen(self, path: Path) -> _OpenVideo:
        # The old one is closed first, as some systems allow few open files.
        self._open.pop(os.getpid(), None)
        video = self._open[os.getpid()] = _OpenVideo(path)
        return video

    def _step_to(self, path: Path, index: int, checksums: list[int]) -> np.ndarray:
        video = self._video(path)
        if not video.stepped or video.position > index:
            video = self._reopen(path)
        while video.position < min(index, len(checksums)):
            video.skip()
        while True:
            number = video.position
            frame = video.next()
            if frame is None:
                self._open.pop(os.getpid(), None)
                raise ValueError(f"{path}: the video ends after {number} frames, before frame {index + 1}; {_RESTORE}")
            if number == len(checksums):
                checksums.append(zlib.crc32(frame.data))
            if number == index:
                return frame


@dataclass(frozen=True, eq=False)
class W300VW:
    """Annotated frames by number; see `datasets.faces.FaceDataset`. A name is `<video>/<frame>`, such as `114/000001`.

    Attributes:
        names: One per frame.
        video_paths: The video of each frame.
        frame_indices: (n,) the place of each frame in its video, from 0.
        points: (n, 68, 2) float64, x then y in pixels of the frame, counted from 0.
        markup: Of the points.
        damaged: What is wrong with a frame's annotation, by the frame's name; its points are NaN.
        expected_videos: How many videos the whole subset has; more than are there where some are missing.
        missing: What the subset lacks, in words, one line each.
    """

    names: tuple[str, ...]
    video_paths: tuple[Path, ...]
    frame_indices: np.ndarray
    points: np.ndarray
    markup: Markup = IBUG_68
    damaged: Mapping[str, str] = field(default_factory=dict)
    expected_videos: int = 0
    missing: tuple[str, ...] = ()
    _reader: FrameReader = field(default_factory=FrameReader, repr=False)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Face:
        """Decodes the frame; the box is the tight box of the landmarks.

        In order it costs one frame's decoding; out of order more, up to that of all frames before it.

        Raises:
            ValueError: The annotation is damaged, or the video is or ends before this frame.
        """
        if self.names[index] in self.damaged:
            raise ValueError(self.damaged[self.names[index]])
        points = self.points[index]
        image = self._reader.read(self.video_paths[index], int(self.frame_indices[index]))
        return checked(Face(image, points, landmark_box(points), self.names[index]))

    @property
    def videos(self) -> tuple[str, ...]:
        """The videos that the frames are of, in their order."""
        return tuple(dict.fromkeys(path.parent.name for path in self.video_paths))

    def subset(self, indices: Sequence[int]) -> W300VW:
        """The frames with these numbers, in this order, as a whole of their own."""
        some = subset_of(self, indices, ("names", "video_paths", "frame_indices", "points"))
        return replace(some, expected_videos=len(some.videos), missing=())


@dataclass(frozen=True)
class Video:
    """One video's folder: its annotated frames, or what it lacks.

    Attributes:
        path: The video.
        annotations: The `.pts` file of each annotated frame by the frame's number, from 1, in order.
        missing: What is not there, in words; empty if all is.
    """

    path: Path
    annotations: Mapping[int, Path]
    missing: str = ""


def load(
    root: PathLike, subset: str, every: int = 1, allow_missing: bool = False, keep_damaged: bool = False
) -> W300VW:
    """The annotated frames of one subset, video after video.

    Args:
        root: The folder that holds `001`, `002` and so on, or the folder around it.
        subset: One of `SUBSETS`.
        every: Take the first annotated frame of each video and each n-th one after it.
        allow_missing: Take the videos that are there; `expected_videos` and `missing` tell which are not.
        keep_damaged: Keep a frame whose annotation cannot be read; asking for it then says why.

    Raises:
        FileNotFoundError: A video or its annotation is not there, or with `allow_missing` all of them.
        ValueError: The subset is unknown, an annotation or a video is damaged, or a video has too few frames.
    """
    check_subset("300VW", subset, SUBSETS)
    if every < 1:
        raise ValueError(f"every {every} frames is no step; take every 1, 2 or more")
    home = find_root(root)
    videos = [find_video(home, name) for name in SUBSETS[subset]]
    whole = [video for video in videos if not video.missing]
    missing = tuple(video.missing for video in videos if video.missing)
    counts, where = (len(whole), len(videos)), f"name the folder that holds {_LAYOUT}"
    refuse_incomplete(f"{home}: 300VW {subset}", counts, missing, allow_missing, where, unit="videos")
    for video in whole:
        check_length(video)
    frames = [(video, number) for video in whole for number in list(video.annotations)[::every]]
    paths = {f"{video.path.parent.name}/{number:06d}": video.annotations[number] for video, number in frames}
    points, damaged = read_annotations(paths, IBUG_68.num_landmarks, keep_damaged)
    return W300VW(
        names=tuple(paths),
        video_paths=tuple(video.path for video, _ in frames),
        frame_indices=np.array([number - 1 for _, number in frames]),
        points=points,
        damaged=damaged,
        expected_videos=len(videos),
        missing=missing,
    )


def find_root(root: PathLike) -> Path:
    """The folder that holds the videos' folders: `root`, or the one in it whose name starts with 300VW.

    Raises:
        FileNotFoundError: `root` is no folder.
    """
    home = needed_folder(root, f"the one that holds {_LAYOUT}")
    inner = [child for child in sorted(home.iterdir()) if child.name.lower().startswith("300vw") and child.is_dir()]
    return next((folder for folder in [home, *inner] if _holds_videos(folder)), home)


def find_video(home: Path, name: str) -> Video:
    """The video of this name with its annotations; ValueError if a `.pts` file is not named by a frame's number."""
    folder = home / name
    annotations = _annotations(folder / "annot")
    if not folder.is_dir():
        missing = f"{name}: no such folder"
    elif not (folder / "vid.avi").is_file():
        missing = f"{name}: no vid.avi"
    elif not (folder / "annot").is_dir():
        missing = f"{name}: no folder annot"
    else:
        missing = "" if annotations else f"{name}/annot: no .pts"
    return Video(folder / "vid.avi", annotations, missing)


def check_length(video: Video) -> None:
    """Checks that the video has its last annotated frame; frames beyond that do no harm.

    Its header is believed if it says so, which takes no decoding; if not, the frames are counted.

    Raises:
        ValueError: It has fewer, or cannot be read.
    """
    last = max(video.annotations)
    opened = _OpenVideo(video.path)
    if opened.declared_count() >= last:
        return
    count = 0
    while count < last and opened.skip():
        count += 1
    if count < last:
        raise ValueError(
            f"{video.path}: the video has {count} frames, its annotation {len(video.annotations)}, the last for frame "
            f"{last}; {_RESTORE}"
        )


def _annotations(folder: Path) -> dict[int, Path]:
    found: dict[int, Path] = {}
    for path in files(folder, (".pts",)) if folder.is_dir() else ():
        number = int(path.stem) if path.stem.isdecimal() else 0
        if number < 1 or number in found:
            raise ValueError(f"{path}: not named by the number of a frame of its own, such as 000001.pts; move it away")
        found[number] = path
    return dict(sorted(found.items()))


def _holds_videos(folder: Path) -> bool:
    return any((folder / name).is_dir() for name in (*SUBSETS["train"], *SUBSETS["test"]))
