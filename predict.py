"""Finds faces and their landmarks in photos and videos.

For each photo it writes DIR/<stem>.json, DIR/<stem>_<face>.pts per face, counted from 1, and an annotated copy
DIR/<stem>.png. For each video, or camera (DIR/camera_0), it writes DIR/<stem>.jsonl with a line per frame,
DIR/<stem>.json with a summary, and DIR/<stem>.mp4. Boxes and points are in pixels of the upright photo or frame, as a
viewer shows it; 0-based in the JSON, 1-based in .pts as in 300-W.
Exit code 0: done, even if no face was found; 1: some inputs or frames could not be used and are listed; 2: nothing was
done.
"""

from __future__ import annotations

from common import cli  # first: Ctrl-C while the others are imported shows no traceback

# isort: split
import argparse
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Callable, Iterable, NamedTuple, Sequence

import numpy as np

from common.files import exclusive
from common.shards import WHOLE, add_shard_argument
from datasets.heatmaps import DECODINGS
from datasets.markups import Markup
from engine import devices
from gluon_models import file_sha256
from gluon_models.weights import read_info
from inference.aligned_crops import TEMPLATES, five_places
from inference.detectors import BOX_SOURCES, DEFAULT_DETECTOR, DETECTORS, NETWORKS, get_detector
from inference.face_hypotheses import MIN_FACE, WholePhotoLandmarks
from inference.landmark_detector import LandmarkDetector, find_weights
from inference.media.face_table import write_table
from inference.media.output_folder import OutputFolder, check_crop_names
from inference.media.photo_files import PhotoFiles
from inference.media.results import FindsFaces, FollowsFaces, Results
from inference.media.sources import Input, find_inputs, is_video
from inference.media.video_files import VideoFiles
from inference.media.window import Window, check_display
from inference.pipeline import PointPredictor
from inference.shape_model import shape_model_beside
from inference.smoothing import CUTOFF_HZ
from inference.tracking import REDETECT, FaceTracker, TrackedFace

NO_DETECTOR = "none"
DEFAULT_MODEL, WHOLE_PHOTO_MODEL = "ffld_resnet18", "lgcn_64"
INPUT_HELP = "photos, folders of photos, quoted globs, videos, or a camera's number, 0 for the first"
MODEL_HELP = f"shipped network (default: {DEFAULT_MODEL}; {WHOLE_PHOTO_MODEL} with --detector {NO_DETECTOR})"
DETECTOR_HELP = f"""face detector (default: {DEFAULT_DETECTOR}; file with --boxes); whole: the photo is one cut-out
face; {NO_DETECTOR}: the network finds faces by itself, lgcn_64 and lgcn_128 only"""
BOXES_HELP = """JSON file of face boxes, {"photo.jpg": [[x0, y0, x1, y1], ...], ...}, 0-based pixels of the upright
photo, tight around the landmarks; for a video, boxes of its first frame"""
MIN_FACE_HELP = f"""smallest face that is kept: longer side of its landmark box, pixels (default: 0; {MIN_FACE:g} with
--detector {NO_DETECTOR})"""
OWN_SCORES = ", ".join(f"{each.least_score:g} for {name}" for name, each in NETWORKS.items())
MIN_SCORE_HELP = f"least score of a face for {', '.join(DETECTORS)}, 0 to 1 (default: {OWN_SCORES}, 0 for haar)"
CSV_HELP = "write DIR/faces.csv too, a row for each face of the photos, and of each frame of the videos"
NO_COPIES_HELP = "write no annotated copies, DIR/<stem>.png and .mp4; videos are then several times as fast"
TABLE = "faces.csv"
CROPS_HELP = (
    "write each face of a photo upright to DIR/<stem>_<face>_crop.png; its matrix, photo to crop, is in the JSON"
)
SHAPE_MODEL_HELP = f"""shape.npz of train_lgcn.py, fitted to the heatmaps (default with --detector {NO_DETECTOR}: the
weights' own)"""
REDETECT_HELP = f"""frames between two searches for new faces in a video; known faces are followed by their landmarks
(default: {REDETECT})"""
CUTOFF_HELP = f"""cutoff of the --smooth filters for a face at rest, Hz; a lower cutoff removes more jitter and lags
more (default: {CUTOFF_HZ:g})"""
MAX_FRAMES_HELP = "stop a video or camera after N frames; a camera otherwise runs until Ctrl-C"
SHOW_HELP = "show the results in a window: each photo until a key is pressed; q ends the video or the display"


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = cli.make_parser(__doc__)
    parser.add_argument("input", nargs="+", metavar="INPUT", help=INPUT_HELP)
    parser.add_argument("--out", required=True, metavar="DIR", type=cli.path, help="output folder, created if missing")
    parser.add_argument("--model", metavar="NAME", help=MODEL_HELP)
    parser.add_argument(
        "--weights", metavar="FILE", type=cli.path, help="your own weights: a .params file with its .json"
    )
    parser.add_argument("--detector", choices=(*BOX_SOURCES, NO_DETECTOR), help=DETECTOR_HELP)
    parser.add_argument("--boxes", metavar="FILE", type=cli.path, help=BOXES_HELP)
    parser.add_argument("--min-face", type=cli.positive, metavar="PIXELS", help=MIN_FACE_HELP)
    parser.add_argument("--min-score", type=cli.fraction, metavar="SCORE", help=MIN_SCORE_HELP)
    parser.add_argument("--decoding", choices=DECODINGS, help="how heatmaps become points (default: as in training)")
    parser.add_argument("--shape-model", metavar="FILE", type=cli.path, help=SHAPE_MODEL_HELP)
    parser.add_argument("--redetect", type=cli.count, metavar="N", help=REDETECT_HELP)
    parser.add_argument("--no-tracking", action="store_true", help="treat each frame of a video as a separate photo")
    parser.add_argument("--smooth", action="store_true", help="reduce jitter in a video with One-Euro filters")
    parser.add_argument("--cutoff", type=cli.positive, metavar="HZ", help=CUTOFF_HELP)
    parser.add_argument("--max-frames", type=cli.count, metavar="N", help=MAX_FRAMES_HELP)
    parser.add_argument("--indices", action="store_true", help="draw the landmarks' numbers, from 0, on photos")
    parser.add_argument("--csv", action="store_true", help=CSV_HELP)
    parser.add_argument("--no-copies", action="store_true", help=NO_COPIES_HELP)
    parser.add_argument("--crops", choices=TEMPLATES, metavar="TEMPLATE", help=f"{CROPS_HELP}: {', '.join(TEMPLATES)}")
    parser.add_argument("--show", action="store_true", help=SHOW_HELP)
    parser.add_argument("--overwrite", action="store_true", help="replace the files of an earlier run in DIR")
    parser.add_argument("--resume", action="store_true", help="skip inputs whose results are complete in DIR")
    add_shard_argument(parser)
    cli.add_device_arguments(parser)
    arguments = parser.parse_args(argv)
    if arguments.csv and arguments.shard != WHOLE:
        raise ValueError("--csv needs all parts: after the last --shard, repeat the command with --resume in its place")
    if arguments.model in NETWORKS:
        raise ValueError(f"{arguments.model} finds faces, not landmarks: pass --detector {arguments.model}")
    if arguments.no_tracking and arguments.smooth:
        raise ValueError("--smooth needs tracking: leave out --no-tracking")
    if arguments.no_tracking and arguments.redetect:
        raise ValueError("--redetect is for tracking: leave out --no-tracking")
    if arguments.cutoff and not arguments.smooth:
        raise ValueError("--cutoff is that of --smooth: add it, or leave both out")
    return arguments


def choose_weights(weights: str | None, model: str | None, detector: str) -> Path:
    """The weights or model of the command line, else the network that suits the detector."""
    return find_weights(weights or model or (WHOLE_PHOTO_MODEL if detector == NO_DETECTOR else DEFAULT_MODEL))


class Finder:
    """The networks that a command line names: they find the faces of photos, and follow those of videos.

    Attributes:
        detector: the landmark network behind a face detector, or alone.
        redetect: frames of a video between two searches for new faces; 0 for the first frame alone.

    Raises:
        ValueError, FileNotFoundError: a file is missing or damaged, or the options do not go together.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self._context = devices.contexts(arguments.gpus)[0]
        self._name = arguments.detector or ("file" if arguments.boxes else DEFAULT_DETECTOR)
        self._weights = choose_weights(arguments.weights, arguments.model, self._name)
        self._model = arguments.model if arguments.weights else None  # that the weights must be of
        alone = self._name == NO_DETECTOR
        self._shape_model = arguments.shape_model or (shape_model_beside(self._weights) if alone else None)
        self.detector = self._alone() if alone else self._behind_detector()
        # Given boxes are of a video's first frame; after it there is nothing to search by.
        self.redetect = 0 if arguments.boxes else arguments.redetect or REDETECT

    def _behind_detector(self) -> FindsFaces:
        given = self._arguments
        finds_boxes = get_detector(
            self._name, given.boxes, context=self._context, min_score=given.min_score, min_face=given.min_face or 0.0
        )
        return LandmarkDetector.from_pretrained(
            self._weights, finds_boxes, self._context, self._model, given.decoding, self._shape_model
        )

    def _alone(self) -> FindsFaces:
        given = self._arguments
        if given.min_score is not None:
            raise ValueError(f"--min-score is for {' and '.join(DETECTORS)}, not for --detector {self._name}")
        if given.boxes or given.decoding:
            option = "--boxes" if given.boxes else "--decoding"
            why = "the shape model is fitted to what the network finds"
            raise ValueError(f"--detector {self._name} takes no {option}: {why}")
        min_face = MIN_FACE if given.min_face is None else given.min_face
        return WholePhotoLandmarks.from_pretrained(
            self._weights, self._shape_model, self._context, model=self._model, min_face=min_face
        )

    def about(self) -> dict[str, Any]:
        """What the JSON files say about the networks."""
        about = {
            "model": read_info(self._weights).model,
            "weights": self._weights.name,
            "weights_sha256": file_sha256(self._weights),
            "detector": self._name,
            "markup": self.detector.markup.name,
        }
        if self._shape_model:
            about.update(shape_model=Path(self._shape_model).name, shape_model_sha256=file_sha256(self._shape_model))
        elif self._arguments.decoding:
            about["decoding"] = self._arguments.decoding
        return about

    def follow(self, video: Input) -> FollowsFaces:
        """A function that takes the frames of one video, and gives the faces of each."""
        if self._arguments.no_tracking:
            return lambda frame: [TrackedFace(*face) for face in self.detector(frame.image, str(video))]
        cutoff = smoothing_hz(self._arguments)
        return follow_faces(self.detector, self._crop_predictor, str(video), self.redetect, cutoff)

    def _crop_predictor(self) -> PointPredictor:
        whole = LandmarkDetector.from_pretrained(self._weights, "whole", self._context, shape_model=self._shape_model)
        return whole.predictor


def follow_faces(
    detector: FindsFaces,
    crop_predictor: Callable[[], PointPredictor],
    name: str,
    redetect: int,
    smoothing_hz: float | None,
) -> FollowsFaces:
    """A function that follows the faces of one video, frame after frame.

    Args:
        detector: finds new faces.
        crop_predictor: loads the network that follows faces in crops, where the detector has none.
        name: the video's, for boxes that are given by name.
        redetect: frames between two searches for new faces; 0 for the first frame alone.
        smoothing_hz: cutoff of the filters; None for none.
    """
    finds = detector.detector if isinstance(detector, LandmarkDetector) else detector
    predictor = detector.predictor if isinstance(detector, LandmarkDetector) else crop_predictor()
    tracker = FaceTracker(predictor, lambda image: finds(image, name), redetect, smoothing_hz)
    return lambda frame: tracker(frame.image, frame.seconds)


class Settings(NamedTuple):
    """What the JSON files say about how they were made.

    Attributes:
        about: of photos and videos.
        photo: of photos besides.
        video: of videos besides.
    """

    about: dict[str, Any]
    photo: dict[str, Any]
    video: dict[str, Any]

    def of(self, source: Input) -> dict[str, Any]:
        """Those of an input."""
        return {**self.about, **(self.video if is_video(source) else self.photo)}


def settings_of(arguments: argparse.Namespace, finder: Finder) -> Settings:
    """The settings of the command line and its networks; None where one is left out."""
    chosen = {
        "min_face": arguments.min_face,
        "min_score": arguments.min_score,
        "copies": "none" if arguments.no_copies else None,
    }
    video = {
        "tracking": not arguments.no_tracking,
        "redetect_every_frames": None if arguments.no_tracking else finder.redetect or None,
        "smoothing_hz": smoothing_hz(arguments),
        "max_frames": arguments.max_frames,
    }
    return Settings({**finder.about(), **chosen}, {"crops": arguments.crops}, video)


def smoothing_hz(arguments: argparse.Namespace) -> float | None:
    """The cutoff of the filters; None for none."""
    return (arguments.cutoff or CUTOFF_HZ) if arguments.smooth else None


def check(arguments: argparse.Namespace, inputs: Sequence[Input]) -> None:
    """ValueError where options do not go with the inputs; nothing has been written yet."""
    if (arguments.crops or arguments.indices) and all(is_video(source) for source in inputs):
        raise ValueError(f"{'--crops' if arguments.crops else '--indices'} is for photos, and there are only videos")
    if arguments.indices and arguments.no_copies and not arguments.show:
        raise ValueError("--indices numbers the landmarks of the annotated copies: leave out --no-copies")
    if arguments.crops:
        check_crop_names([source for source in inputs if not is_video(source)])
    if arguments.show:
        check_display()


def make_results(arguments: argparse.Namespace, folder: OutputFolder, settings: Settings, markup: Markup) -> Results:
    """Writes and shows what is found; ValueError if the markup has no points to cut out faces by."""
    copies, template = not arguments.no_copies, TEMPLATES[arguments.crops] if arguments.crops else None
    if template:
        five_places(np.zeros((markup.num_landmarks, 2)), markup)  # refuses what has none
    about, about_photo = ({key: value for key, value in each.items() if value is not None} for each in settings[:2])
    return Results(
        PhotoFiles(folder, {**about, **about_photo}, markup, arguments.indices, template, copies),
        VideoFiles(folder, {**about, **settings.video}, markup, copies),
        Window("predict.py") if arguments.show else None,
        arguments.max_frames,
    )


def completed(inputs: Sequence[Input], folder: OutputFolder, settings: Settings) -> set[str]:
    """The stems of the inputs whose files an earlier run wrote; ValueError if of other inputs or settings."""
    done = {source.stem for source in inputs if folder.is_complete(source.stem)}
    for source in inputs:
        if source.stem in done:
            same = {key: value for key, value in settings.of(source).items() if key != "weights"}
            folder.check_same(source, same)
    return done


def predict(finder: Finder, results: Results, inputs: Iterable[Input], stop_at_bad: bool) -> set[str]:
    """Predicts what the inputs show, and returns the stems of those whose files are written.

    Raises:
        ValueError, OSError: an input cannot be used and `stop_at_bad`; `results.bad` gets its message otherwise.
    """
    done = set()
    for source in inputs:
        try:
            if is_video(source):
                results.video(finder.follow(source), source)
            else:
                results.photo(finder.detector, source)
            done.add(source.stem)
        except (ValueError, OSError) as error:
            if stop_at_bad:
                raise
            results.bad.append(str(error))
    return done


def main(argv: Sequence[str] | None = None) -> int:
    """Predicts; returns 1 if some inputs, or frames of a video, could not be used, else 0."""
    arguments = parse(argv)
    inputs = find_inputs(arguments.input)
    check(arguments, inputs)
    inputs = [inputs[place] for place in arguments.shard.of(len(inputs))]
    whole = arguments.shard == WHOLE and len(inputs) == 1
    only_one = whole and len(arguments.input) == 1 and not Path(arguments.input[0]).is_dir()
    finder = Finder(arguments)
    out = cli.output_folder(arguments.out)
    # The parts of a --shard share their folder.
    alone = exclusive(out, "wait for it to end, or name another --out") if arguments.shard == WHOLE else nullcontext()
    with alone:
        return run(arguments, inputs, finder, out, only_one)


def run(arguments: argparse.Namespace, inputs: Sequence[Input], finder: Finder, out: Path, only_one: bool) -> int:
    """Predicts the inputs whose results are not in the folder; returns what `main` does."""
    settings = settings_of(arguments, finder)
    folder = OutputFolder(out, arguments.overwrite, arguments.resume)
    folder.check(inputs)
    table = out / TABLE
    if arguments.csv and table.exists() and not (arguments.overwrite or arguments.resume):
        raise ValueError(f"{table} is already there: pass --overwrite to replace it, or name another --out")
    markup = finder.detector.markup
    results = make_results(arguments, folder, settings, markup)
    done = completed(inputs, folder, settings) if arguments.resume else set()
    if done:
        print(f"{len(done)} of {len(inputs)} inputs have their results in {arguments.out} already")
    left = [source for source in inputs if source.stem not in done]
    with cli.says_what_is_kept(lambda: f"complete results are kept, go on with --resume --out {arguments.out}"):
        shown = left if only_one else cli.progress(left, "predicting", len(left), "input")
        done |= predict(finder, results, shown, only_one)
    if arguments.csv:
        stems = [source.stem for source in inputs if source.stem in done]
        write_table(out, TABLE, stems, markup.num_landmarks)
    print(results.summary(left, arguments.out))
    for line in results.bad:
        print(f"left out: {cli.printable(line)}", file=sys.stderr)
    return 1 if results.bad else 0


if __name__ == "__main__":
    cli.run(main)
