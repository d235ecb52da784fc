"""Finds faces and their landmarks in photos and videos.

Writes DIR/<stem>.json, DIR/<stem>_<face>.pts for each face of a photo, counted from 1, and an annotated copy
DIR/<stem>.png. Of a video or a camera (DIR/camera_0) it writes DIR/<stem>.jsonl, a line for each frame, DIR/<stem>.json
about all of it, and DIR/<stem>.mp4. Boxes and points are in pixels of the photo or frame as a viewer shows it, upright;
0-based in the JSON, 1-based in .pts as in 300-W.
Exit code 0: done, even if no face was found; 1: some of several inputs or some frames were bad and are listed; 2:
nothing was done.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, Callable, Sequence, Union

from tqdm import tqdm

from common import cli
from common.files import make_folder
from datasets.heatmaps import DECODINGS
from datasets.images import read_image
from datasets.markups import Markup
from engine import devices
from gluon_models import file_sha256
from gluon_models.weights import read_info
from inference.detectors import DEFAULT_DETECTOR, DETECTORS, get_detector
from inference.face_hypotheses import MIN_FACE, WholePhotoLandmarks
from inference.landmark_detector import LandmarkDetector, find_weights
from inference.media.output_folder import OutputFolder
from inference.media.photo_files import PhotoFiles
from inference.media.sources import Camera, Input, find_inputs, is_video
from inference.media.video_files import VideoFiles
from inference.media.video_reader import Frame, VideoReader
from inference.media.window import Window, check_display
from inference.pipeline import PointPredictor
from inference.shape_model import shape_model_beside
from inference.smoothing import CUTOFF_HZ
from inference.tracking import REDETECT, FaceTracker, TrackedFace

NO_DETECTOR = "none"
DETECTOR_HELP = f"""finds the faces; none: the network itself does, which takes lgcn_64 or lgcn_128;
file if --boxes is given, else {DEFAULT_DETECTOR}"""
SHAPE_MODEL_HELP = "shape.npz that train_lgcn.py wrote, fitted to the heatmaps; with --detector none the weights' own"
DEFAULT_MODEL, WHOLE_PHOTO_MODEL = "ffld_resnet18", "lgcn_64"
MODEL_HELP = f"network whose weights ship; else {DEFAULT_MODEL}, or {WHOLE_PHOTO_MODEL} with --detector none"
BOXES_HELP = """JSON file of given boxes, {"photo.jpg": [[x0, y0, x1, y1], ...], ...} in pixels of the upright photo,
counted from 0, tight around the landmarks; of a video, those of its first frame"""
NO_FACE_HELP = "give its box with --boxes, or pass --detector whole for a cut-out face"
INPUT_HELP = "photos, folders of photos, globs in quotes, videos, or a camera's number, 0 for the first"
CUTOFF_HELP = "with --smooth: cutoff of the filters for faces at rest, Hz; smaller is calmer and lags more"
FindsFaces = Union[LandmarkDetector, WholePhotoLandmarks]
FollowsFaces = Callable[[Frame], "list[TrackedFace]"]


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = cli.make_parser(__doc__)
    parser.add_argument("input", nargs="+", metavar="INPUT", help=INPUT_HELP)
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the files; made if it is missing")
    parser.add_argument("--model", metavar="NAME", help=MODEL_HELP)
    parser.add_argument("--weights", metavar="FILE", help="weights of your own, a .params with its .json")
    parser.add_argument("--detector", choices=(*DETECTORS, NO_DETECTOR), help=DETECTOR_HELP)
    parser.add_argument("--boxes", metavar="FILE", help=BOXES_HELP)
    least = f"with --detector none: longer side of the smallest face's landmark box, pixels ({MIN_FACE:g})"
    parser.add_argument("--min-face", type=float, metavar="PIXELS", help=least)
    parser.add_argument("--decoding", choices=DECODINGS, help=f"how heatmaps become points ({DECODINGS[0]})")
    parser.add_argument("--shape-model", metavar="FILE", help=SHAPE_MODEL_HELP)
    new = "of a video: look for new faces every so many frames; in between, those known are followed by their landmarks"
    parser.add_argument("--redetect", type=int, metavar="N", default=REDETECT, help=new)
    alone = "find the faces of each frame of a video as if it were a photo"
    parser.add_argument("--no-tracking", action="store_true", help=alone)
    parser.add_argument("--smooth", action="store_true", help="smooth the points of a video by One-Euro filters")
    parser.add_argument("--cutoff", type=float, metavar="HZ", default=CUTOFF_HZ, help=CUTOFF_HELP)
    most = "stop a video or a camera after so many frames; a camera otherwise goes on until Ctrl-C"
    parser.add_argument("--max-frames", type=int, metavar="N", help=most)
    show = "show the results in a window too: a photo until a key is pressed; q ends a video, or the showing of photos"
    parser.add_argument("--show", action="store_true", help=show)
    parser.add_argument("--overwrite", action="store_true", help="replace what an earlier run wrote to DIR")
    cli.add_device_arguments(parser)
    arguments = parser.parse_args(argv)
    for name in ("redetect", "max_frames"):
        if getattr(arguments, name) is not None and getattr(arguments, name) < 1:
            raise ValueError(f"--{name.replace('_', '-')} must be at least 1, not {getattr(arguments, name)}")
    if not arguments.cutoff > 0:
        raise ValueError(f"--cutoff must be above 0 Hz, not {arguments.cutoff:g}")
    if arguments.no_tracking and arguments.smooth:
        raise ValueError("--smooth needs faces that are followed: leave out --no-tracking")
    arguments.smoothing_hz = arguments.cutoff if arguments.smooth else None
    return arguments


def load_detector(arguments: argparse.Namespace) -> tuple[FindsFaces, dict[str, Any]]:
    """Network and face detector, and what the JSON files say about them."""
    name = arguments.detector or ("file" if arguments.boxes else DEFAULT_DETECTOR)
    weights = chosen_weights(arguments)
    if name == NO_DETECTOR and not arguments.shape_model:
        arguments.shape_model = shape_model_beside(weights)
    make = whole_photos if name == NO_DETECTOR else detected_faces
    detector = make(arguments, weights, name)
    about = {
        "model": read_info(weights).model,
        "weights": weights.name,
        "weights_sha256": file_sha256(weights),
        "detector": name,
        "markup": detector.markup.name,
    }
    if arguments.shape_model:
        about["shape_model"] = Path(arguments.shape_model).name
        about["shape_model_sha256"] = file_sha256(arguments.shape_model)
    elif arguments.decoding:
        about["decoding"] = arguments.decoding
    return detector, about


def chosen_weights(arguments: argparse.Namespace) -> Path:
    """The weights of the command line, else those of the network that suits the detector best."""
    default = WHOLE_PHOTO_MODEL if arguments.detector == NO_DETECTOR else DEFAULT_MODEL
    return find_weights(arguments.weights or arguments.model or default)


def detected_faces(arguments: argparse.Namespace, weights: Path, name: str) -> LandmarkDetector:
    """A face detector and the network, one after the other."""
    if arguments.min_face is not None:
        raise ValueError(f"--min-face goes with --detector {NO_DETECTOR}; the others have sizes of their own")
    context = devices.contexts(arguments.gpus)[0]
    return LandmarkDetector.from_pretrained(
        weights,
        get_detector(name, arguments.boxes, context=context),
        context,
        model=arguments.model if arguments.weights else None,
        decoding=arguments.decoding,
        shape_model=arguments.shape_model,
    )


def whole_photos(arguments: argparse.Namespace, weights: Path, name: str) -> WholePhotoLandmarks:
    """The network alone."""
    if arguments.boxes or arguments.decoding:
        given = "--boxes" if arguments.boxes else "--decoding"
        raise ValueError(f"--detector {name} takes no {given}: the shape model is fitted to what the network finds")
    return WholePhotoLandmarks.from_pretrained(
        weights,
        arguments.shape_model,
        devices.contexts(arguments.gpus)[0],
        model=arguments.model if arguments.weights else None,
        min_face=MIN_FACE if arguments.min_face is None else arguments.min_face,
    )


def following(arguments: argparse.Namespace, detector: FindsFaces, source: Input) -> FollowsFaces:
    """What finds the faces of one video, frame after frame."""
    name = str(source)
    if arguments.no_tracking:
        return lambda frame: [TrackedFace(*face) for face in detector(frame.image, name)]
    # Given boxes are of the first frame; after that there is nothing to detect by.
    redetect = 0 if arguments.boxes else arguments.redetect
    if isinstance(detector, LandmarkDetector):
        boxes = detector.detector
        tracker = FaceTracker(detector.predictor, lambda image: boxes(image, name), redetect, arguments.smoothing_hz)
    else:
        tracker = FaceTracker(crop_predictor(arguments), detector, redetect, arguments.smoothing_hz)
    return lambda frame: tracker(frame.image, frame.seconds)


def crop_predictor(arguments: argparse.Namespace) -> PointPredictor:
    """The network that follows faces which it found by itself in a whole frame."""
    return LandmarkDetector.from_pretrained(
        chosen_weights(arguments),
        "whole",
        devices.contexts(arguments.gpus)[0],
        shape_model=arguments.shape_model,
    ).predictor


class Results:
    """Takes what is found to where it goes, and keeps count.

    Args:
        arguments: the command line.
        about: what the JSON files say of network and detector.
        markup: of the points.
        inputs: whose outputs must not be in the way.

    Attributes:
        bad: a line for each input, or frames of one, that could not be worked on.
    """

    def __init__(
        self, arguments: argparse.Namespace, about: dict[str, Any], markup: Markup, inputs: Sequence[Input]
    ) -> None:
        folder = OutputFolder(make_folder(arguments.out), arguments.overwrite)
        folder.check(inputs)
        followed = not (arguments.no_tracking or arguments.boxes)
        tracking = {
            "tracking": not arguments.no_tracking,
            "redetect_every_frames": arguments.redetect if followed else None,
            "smoothing_hz": arguments.smoothing_hz,
        }
        self._photo_files = PhotoFiles(folder, about, markup)
        self._video_files = VideoFiles(folder, {**about, **tracking}, markup)
        self._window = Window("predict.py") if arguments.show else None
        self._most_frames = arguments.max_frames
        self._photos = self._faces = 0
        self.bad: list[str] = []

    def photo(self, detector: FindsFaces, path: Path) -> None:
        """Finds and writes the faces of a photo; ValueError names the photo and what to do."""
        image = read_image(path)
        try:
            faces = detector(image, str(path))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        drawn = self._photo_files.write(path, image, faces)
        self._photos += 1
        self._faces += len(faces)
        if not faces:
            tqdm.write(f"{path}: no face was found; {NO_FACE_HELP}")
        if self._window and not self._window.show(drawn, 0):
            self._window = None

    def video(self, follow: FollowsFaces, source: Input) -> None:
        """Finds and writes the faces of a video or a camera.

        A camera ends with Ctrl-C, which keeps what was seen; a video's results are then left out.

        Raises:
            ValueError, OSError: it has no frame, or its results cannot be written.
        """
        reader = VideoReader(source)
        total = self._most_frames or reader.declared or None
        try:
            with self._video_files.write(source, reader) as writing:
                try:
                    for frame in tqdm(reader, source.stem, total, unit="frame", disable=None):
                        drawn = writing.write(frame, follow(frame))
                        ended = self._window is not None and not self._window.show(drawn, 1)
                        if ended or writing.frames == self._most_frames:
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
        return f"{counted(self._faces, 'face')} in {self._photos} of {photos} photos: {out}"


def counted(number: int, what: str) -> str:
    """Such as 1 face, or 2 faces."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def main(argv: Sequence[str] | None = None) -> int:
    """Predicts; 1 if some of several inputs, or frames of a video, were bad, else 0."""
    arguments = parse(argv)
    inputs = find_inputs(arguments.input)
    only_one = len(arguments.input) == 1 and not Path(arguments.input[0]).is_dir() and len(inputs) == 1
    if arguments.show:
        check_display()
    detector, about = load_detector(arguments)
    results = Results(arguments, about, detector.markup, inputs)
    for source in tqdm(inputs, "predicting", unit="input", disable=only_one or None):
        try:
            if is_video(source):
                results.video(following(arguments, detector, source), source)
            else:
                results.photo(detector, source)
        except (ValueError, OSError) as error:
            if only_one:
                raise
            results.bad.append(str(error))
    print(results.summary(inputs, arguments.out))
    for line in results.bad:
        print(f"left out: {' '.join(line.split())}", file=sys.stderr)
    return 1 if results.bad else 0


if __name__ == "__main__":
    cli.run(main)
