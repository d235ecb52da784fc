"""Runs a detector for long, and measures whether its memory stays bounded and its answers stay the same.

photos: threads share one LandmarkDetector. Rendered faces are pasted on photos of as many sizes as there are photos, 1
to --faces on each, and every answer is compared with that of one thread alone.
video: one FaceTracker follows a rendered face through a video that is read over and over; --write annotates it, too.
Exit code 1: the memory of the process grew by more than --growth after the first tenth of the work; 2: an answer
differs.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from itertools import count, islice
from pathlib import Path
from time import perf_counter
from typing import Iterator, NamedTuple, Sequence

import cv2
import numpy as np

from common import cli
from datasets.faces import Face
from datasets.geometry import landmark_box
from datasets.render.faces import RenderedFaces
from datasets.render.video import RenderedVideo
from inference.detectors import DETECTORS
from inference.landmark_detector import LandmarkDetector, LocatedFace
from inference.media.video_files import VideoWriting
from inference.media.video_reader import Frame, VideoReader
from inference.tracking import FaceTracker
from tools.evaluate_video import write_video

GIVEN = "boxes"  # instead of a detector
PARTS = 10  # of the work, with a row each
LARGEST_DIFFERENCE = 1e-3  # pixels, between two answers that count as the same
LOOP = 100  # frames of the video before it begins again
TILES, TILE = 16, 96  # different faces, and pixels of the side that they are rendered at
NARROWEST, WIDENED = 160, 4  # pixels of the first photo's width, and of each further one


class Photo(NamedTuple):
    """A photo with faces.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        boxes: (n, 4) tight landmark boxes, pixels.
    """

    image: np.ndarray
    boxes: np.ndarray


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = cli.make_parser(__doc__)
    parser.add_argument("what", choices=("photos", "video"), help="what the detector is shown")
    parser.add_argument("--model", default="resnet18_slim", help="landmark network, by name or file")
    parser.add_argument(
        "--detector", choices=(GIVEN, *DETECTORS), default="haar", help=f"face detector; {GIVEN}: none, the true boxes"
    )
    parser.add_argument("--threads", type=cli.count, default=4, help="threads that share the detector")
    parser.add_argument("--calls", type=cli.count, default=1000, help="of the detector by all threads together")
    parser.add_argument("--photos", type=cli.count, default=200, help="photos, each of its own size")
    parser.add_argument("--faces", type=cli.count, default=64, help="most faces on a photo")
    parser.add_argument("--frames", type=cli.count, default=90_000, help="frames of the video, 25 of them a second")
    parser.add_argument("--write", action="store_true", help="write the annotated video, which takes most of the time")
    parser.add_argument("--growth", type=cli.positive, default=50.0, help="largest growth of memory, MB")
    return parser.parse_args(argv)


def crowds(count: int, most_faces: int) -> list[Photo]:
    """So many photos, each of another width, with 1 to `most_faces` faces in rows."""
    rendered = RenderedFaces(TILES, 0, TILE)
    tiles = [rendered[index] for index in range(TILES)]
    # Widths in an order of their own, so that photos of few faces are small and large as those of many.
    widths = NARROWEST + WIDENED * np.random.default_rng(count).permutation(count)
    numbers = np.geomspace(1, most_faces, count).round().astype(int)
    return [_crowd(tiles, faces, width, np.random.default_rng(width)) for faces, width in zip(numbers, widths)]


def _crowd(tiles: Sequence[Face], faces: int, width: int, rng: np.random.Generator) -> Photo:
    columns = int(np.ceil(np.sqrt(faces)))
    side = width // columns
    height = side * -(-faces // columns) + int(rng.integers(side))
    image, boxes = rng.integers(0, 256, (height, width, 3), np.uint8), []
    for place in range(faces):
        face = tiles[rng.integers(len(tiles))]
        x, y = side * (place % columns), side * (place // columns)
        image[y : y + side, x : x + side] = cv2.resize(face.image, (side, side), interpolation=cv2.INTER_AREA)
        boxes.append(landmark_box((face.points_image + 0.5) * side / TILE - 0.5 + (x, y)))
    return Photo(image, np.stack(boxes))


def difference(found: Sequence[LocatedFace], expected: Sequence[LocatedFace]) -> float:
    """The largest distance in pixels between the boxes or points of two answers; inf for other faces."""
    if len(found) != len(expected):
        return float("inf")
    pairs = [pair for one, other in zip(found, expected) for pair in ((one.box, other.box), (one.points, other.points))]
    return max((float(np.abs(one - other).max()) for one, other in pairs), default=0.0)


def resident_megabytes() -> float:
    """Memory of this process now; Linux."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


class Log:
    """Prints a row for each part of the work, and judges the growth of memory.

    Args:
        unit: of the work.
    """

    def __init__(self, unit: str) -> None:
        self._unit, self._start, self._megabytes = unit, perf_counter(), [resident_megabytes()]
        print(f"{0:>8} {unit}: {self._megabytes[0]:.0f} MB", flush=True)

    def row(self, done: int, more: str) -> None:
        """Prints how much work is done."""
        self._megabytes.append(resident_megabytes())
        seconds = perf_counter() - self._start
        print(f"{done:>8} {self._unit}: {self._megabytes[-1]:.0f} MB, {seconds:.0f} s, {more}", flush=True)

    @property
    def growth(self) -> float:
        """The largest memory less that after the first part, MB."""
        return max(self._megabytes[1:]) - self._megabytes[1]


def soak_photos(detector: LandmarkDetector, given: bool, photos: Sequence[Photo], threads: int, calls: int) -> Log:
    """Calls the detector from threads; ValueError if an answer is not that of one thread alone."""

    def answer(number: int) -> list[LocatedFace]:
        photo = photos[number]
        return detector.detect(photo.image, photo.boxes) if given else detector(photo.image)

    alone = [answer(number) for number in range(len(photos))]
    true = sum(len(photo.boxes) for photo in photos)
    print(f"one thread alone: {sum(map(len, alone))} faces of {true} on {len(photos)} photos", flush=True)
    # Each photo equally often, in another order each time.
    shuffled = (int(number) for turn in count() for number in np.random.default_rng(turn).permutation(len(photos)))
    log, worst = Log("calls"), 0.0
    with ThreadPoolExecutor(threads) as pool:
        for part in range(1, PARTS + 1):
            numbers = list(islice(shuffled, calls * part // PARTS - calls * (part - 1) // PARTS))
            apart = pool.map(lambda number: difference(answer(number), alone[number]), numbers)
            worst = max([worst, *apart])
            log.row(calls * part // PARTS, f"answers at most {worst:g} px apart")
            if worst > LARGEST_DIFFERENCE:
                raise ValueError(f"{threads} threads find other points than one: up to {worst:g} px apart")
    return log


def looped(path: Path, rate: float) -> Iterator[Frame]:
    """The frames of a video over and over, as those of one."""
    numbers = count()
    while True:
        reader = VideoReader(path)
        for frame in reader:
            number = next(numbers)
            yield Frame(number, number / rate, frame.image)
        reader.close()


def soak_video(detector: LandmarkDetector, frames: int, write: bool, folder: Path) -> Log:
    """Follows the face of a video of so many frames; `write` says whether what `predict.py` writes goes to a folder."""
    video = RenderedVideo(LOOP, seed=2, side=160)
    write_video(video, folder / "video.avi")
    tracker = FaceTracker(detector.predictor, detector.detector)
    faces, log = 0, Log("frames")
    with open(folder / "video.jsonl", "w", encoding="utf-8") as lines:
        writing = VideoWriting(folder / "video.mp4", lines, video.rate, detector.markup)
        for frame in islice(looped(folder / "video.avi", video.rate), frames):
            found = tracker(frame.image, frame.seconds)
            faces += len(found)
            if write:
                writing.write(frame, found)
            done = frame.number + 1
            if PARTS * done // frames > PARTS * (done - 1) // frames:
                log.row(done, f"{faces} faces")
        writing.close()
    return log


def main(argv: Sequence[str] | None = None) -> int:
    """Runs; returns 1 if memory grew too much."""
    arguments = parse(argv)
    given = arguments.detector == GIVEN
    if given and arguments.what == "video":
        raise ValueError(f"faces of a video must be found: leave out --detector {GIVEN}")
    detector = LandmarkDetector.from_pretrained(arguments.model, "whole" if given else arguments.detector)
    if arguments.what == "photos":
        photos = crowds(arguments.photos, arguments.faces)
        log = soak_photos(detector, given, photos, arguments.threads, arguments.calls)
    else:
        with tempfile.TemporaryDirectory() as folder:
            log = soak_video(detector, arguments.frames, arguments.write, Path(folder))
    print(f"memory grew by {log.growth:.0f} MB after the first tenth, {arguments.growth:g} MB are allowed")
    return int(log.growth > arguments.growth)


if __name__ == "__main__":
    cli.run(main)
