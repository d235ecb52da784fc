"""Measures error, jitter and speed of landmarks in video: each frame by itself, faces followed, followed and smoothed.

The video is rendered (datasets.render.video), so the true points of every frame are known; it is written as Motion JPEG
and read back. Jitter is the root mean square change of a point's error from one frame to the next: a constant error is
no jitter. Error and jitter are fractions of sqrt(w h) of the true landmark box, shown in per cent. Frames per second
count the search for faces alone, without reading, drawing and writing; run it on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any, Callable, NamedTuple, Sequence

import cv2
import numpy as np

from common import cli
from common.files import write_text
from datasets.geometry import landmark_box
from datasets.render.video import RenderedVideo
from engine import devices
from evaluation.metrics import nme
from inference.detectors import DEFAULT_DETECTOR, DETECTORS, get_detector
from inference.landmark_detector import LandmarkDetector
from inference.media.video_reader import Frame, VideoReader
from inference.smoothing import CUTOFF_HZ
from inference.tracking import REDETECT, FaceTracker, TrackedFace

LARGEST_ERROR = 0.2  # of sqrt(w h): points further off are of no face that is there
Follow = Callable[[Frame], "list[TrackedFace]"]


class Measured(NamedTuple):
    """Landmarks of a video in one way.

    Attributes:
        errors: (T, F, K, 2) predicted minus true points over sqrt(w h) of the true box; NaN for faces not found.
        false: faces where none is, in all frames together.
        numbers: how many numbers each true face went by, (F,); 1 is a face that was never lost.
        seconds: for all frames.
    """

    errors: np.ndarray
    false: int
    numbers: list[int]
    seconds: float


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = cli.make_parser(__doc__)
    parser.add_argument("--model", default="ffld_resnet18", help="landmark network, by name or file")
    parser.add_argument("--detector", choices=DETECTORS, default=DEFAULT_DETECTOR, help="face detector")
    parser.add_argument("--frames", type=cli.count, default=100, help="length of the video in frames")
    parser.add_argument("--faces", type=cli.count, default=2, help="faces per frame")
    parser.add_argument("--side", type=cli.count, default=320, help="side of each face's part of the frame, pixels")
    parser.add_argument("--rate", type=cli.positive, default=25.0, help="frames per second of the video")
    parser.add_argument("--period", type=cli.positive, default=4.0, help="seconds of one to-and-fro movement of a face")
    parser.add_argument(
        "--redetect", type=cli.count, default=REDETECT, help="frames between two searches for new faces"
    )
    hertz = "smoothing cutoffs to compare, Hz"
    parser.add_argument("--smooth", type=cli.positive, nargs="+", default=[CUTOFF_HZ], metavar="HZ", help=hertz)
    parser.add_argument(
        "--out", metavar="DIR", type=cli.path, help="output folder for video.json and the rendered video.avi"
    )
    cli.add_device_arguments(parser)
    return parser.parse_args(argv)


def write_video(video: RenderedVideo, path: Path) -> np.ndarray:
    """Writes the frames as Motion JPEG; the true points (T, F, K, 2).

    Raises:
        OSError: it cannot be written.
    """
    points, writer = [], None
    for index in cli.progress(range(len(video)), "rendering", unit="frame"):
        frame = video[index]
        if writer is None:
            code, size = cv2.VideoWriter_fourcc(*"MJPG"), frame.image.shape[1::-1]
            writer = cv2.VideoWriter(str(path), code, video.rate, size)
            if not writer.isOpened():
                raise OSError(f"{path}: this video cannot be written; name another folder, or an even --side")
        writer.write(cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR))
        points.append(frame.points_image)
    if writer is not None:
        writer.release()
    return np.stack(points)


def measure(follow: Follow, path: Path, truth: np.ndarray) -> Measured:
    """Follows a video's faces and compares them with the true points (T, F, K, 2)."""
    errors = np.full(truth.shape, np.nan)
    numbers: list[set[Any]] = [set() for _ in truth[0]]
    false, seconds = 0, 0.0
    reader = VideoReader(path)
    for frame in cli.progress(reader, "measuring", len(truth), "frame"):
        start = perf_counter()
        faces = follow(frame)
        seconds += perf_counter() - start
        free = set(range(len(truth[0])))
        for face in faces:
            own = nearest(face.points, truth[frame.number], free)
            if own is None:
                false += 1
                continue
            free.remove(own)
            numbers[own].add(face.identity)
            errors[frame.number, own] = (face.points - truth[frame.number, own]) / size_of(truth[frame.number, own])
    reader.close()
    return Measured(errors, false, [len(each) for each in numbers], seconds)


def nearest(points: np.ndarray, truth: np.ndarray, free: set[int]) -> int | None:
    """Which of the true faces (F, K, 2) that are free a face's points (K, 2) are of; None if they are of none."""
    errors = nme(np.repeat(points[None], len(truth), axis=0), truth, "box_geometric")
    best = min(free, key=lambda index: errors[index], default=None)
    return best if best is not None and errors[best] <= LARGEST_ERROR else None


def size_of(points: np.ndarray) -> float:
    """Sqrt(w h) of the tight box of points (K, 2)."""
    box = landmark_box(points)
    return float(np.sqrt(np.prod(box[2:] - box[:2])))


def jitter(errors: np.ndarray) -> float:
    """Root mean square over points, faces and frames of how far an error (T, F, K, 2) moves from frame to frame."""
    return float(np.sqrt(np.nanmean((np.diff(errors, axis=0) ** 2).sum(axis=-1))))


def found_by_all(ways: Sequence[Measured]) -> np.ndarray:
    """(T, F) bool: the faces that each way has found, on which alone errors can be compared.

    Raises:
        ValueError: there is none.
    """
    found = np.isfinite([measured.errors for measured in ways]).all(axis=(0, 3, 4))
    if not (found[1:] & found[:-1]).any():
        raise ValueError("no face was found in two frames in a row: render another video with --seed, or a longer one")
    return found


def figures(measured: Measured, compared: np.ndarray) -> dict[str, Any]:
    """What the table and the JSON say; errors as fractions, over the faces (T, F) that are compared."""
    errors = np.where(compared[..., None, None], measured.errors, np.nan)
    return {
        "nme": float(np.nanmean(np.linalg.norm(errors, axis=-1))),
        "jitter": jitter(errors),
        "missed": int(np.isnan(measured.errors).any(axis=(2, 3)).sum()),
        "false": measured.false,
        "numbers_per_face": float(np.mean(measured.numbers)),
        "frames_per_second": len(errors) / measured.seconds,
    }


def ways(detector: LandmarkDetector, redetect: int, cutoffs_hz: Sequence[float]) -> dict[str, Callable[[], Follow]]:
    """The ways to find the faces of a video, by the text of the table's rows."""

    def alone() -> Follow:
        return lambda frame: [TrackedFace(*face) for face in detector(frame.image)]

    def followed(cutoff_hz: float | None) -> Follow:
        tracker = FaceTracker(detector.predictor, detector.detector, redetect, cutoff_hz)
        return lambda frame: tracker(frame.image, frame.seconds)

    rows: dict[str, Callable[[], Follow]] = {"each frame by itself": alone, "followed": lambda: followed(None)}
    for hertz in cutoffs_hz:
        rows[f"followed, smoothed {hertz:g} Hz"] = lambda hertz=hertz: followed(hertz)
    return rows


def table(results: dict[str, dict[str, Any]]) -> str:
    """A line for each way."""
    lines = [f"{'':28} {'NME %':>6} {'jitter %':>9} {'missed':>7} {'false':>6} {'numbers':>8} {'frames/s':>9}"]
    for text, row in results.items():
        lines.append(
            f"{text:28} {100 * row['nme']:6.2f} {100 * row['jitter']:9.3f} {row['missed']:7} {row['false']:6} "
            f"{row['numbers_per_face']:8.1f} {row['frames_per_second']:9.1f}"
        )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Measures as the command line says."""
    arguments = parse(argv)
    video = RenderedVideo(
        arguments.frames, arguments.seed, arguments.faces, arguments.side, arguments.rate, arguments.period
    )
    context = devices.contexts(arguments.gpus)[0]
    found_by = get_detector(arguments.detector, context=context)
    detector = LandmarkDetector.from_pretrained(arguments.model, found_by, context)
    rows = ways(detector, arguments.redetect, arguments.smooth)
    with tempfile.TemporaryDirectory() as aside:
        path = (cli.output_folder(arguments.out) if arguments.out else Path(aside)) / "video.avi"
        truth = write_video(video, path)
        measured = {text: measure(make(), path, truth) for text, make in rows.items()}
    compared = found_by_all(list(measured.values()))
    results = {text: figures(each, compared) for text, each in measured.items()}
    print(
        f"{truth.shape[1]} faces in {len(truth)} frames; NME and jitter over the {compared.sum()} that each way found"
    )
    print(table(results))
    if arguments.out:
        content = {"arguments": vars(arguments), "results": results}
        write_text(Path(arguments.out) / "video.json", json.dumps(content, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    cli.run(main)
