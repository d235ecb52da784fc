"""Finds faces and their landmarks in photos.

Writes DIR/<stem>.json, DIR/<stem>_<face>.pts for each face, counted from 1, and an annotated copy DIR/<stem>.png. Boxes
and points are in pixels of the photo as a viewer shows it, upright; 0-based in the JSON, 1-based in .pts as in 300-W.
Exit code 0: done, even if no face was found; 1: some of several photos were bad and are listed; 2: nothing was done.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, Sequence, Union

import numpy as np
from tqdm import tqdm

from datasets.heatmaps import DECODINGS
from datasets.images import read_image
from engine import cli, devices
from engine.files import make_folder
from gluon_models import file_sha256
from gluon_models.weights import read_info
from inference.detectors import DETECTORS, get_detector
from inference.face_hypotheses import MIN_FACE, WholePhotoLandmarks
from inference.landmark_detector import LandmarkDetector, LocatedFace, find_weights
from inference.photo_files import PhotoFiles, find_photos

NO_DETECTOR = "none"
DETECTOR_HELP = """finds the faces; none: the network itself does, which takes lgcn_64 or lgcn_128 and --shape-model;
file if --boxes is given, else haar"""
SHAPE_MODEL_HELP = "shape.npz that train_lgcn.py wrote, fitted to the heatmaps"
DEFAULT_MODEL = "ffld_resnet18"
BOXES_HELP = """JSON file of given boxes, {"photo.jpg": [[x0, y0, x1, y1], ...], ...} in pixels of the upright photo,
counted from 0, tight around the landmarks"""
FindsFaces = Union[LandmarkDetector, WholePhotoLandmarks]


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = cli.make_parser(__doc__)
    parser.add_argument("input", nargs="+", metavar="INPUT", help="photos, folders of photos, or globs in quotes")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the files; made if it is missing")
    parser.add_argument("--model", metavar="NAME", help=f"network whose weights ship; else {DEFAULT_MODEL}")
    parser.add_argument("--weights", metavar="FILE", help="weights of your own, a .params with its .json")
    parser.add_argument("--detector", choices=(*DETECTORS, NO_DETECTOR), help=DETECTOR_HELP)
    parser.add_argument("--boxes", metavar="FILE", help=BOXES_HELP)
    least = f"with --detector none: longer side of the smallest face's landmark box, pixels ({MIN_FACE:g})"
    parser.add_argument("--min-face", type=float, metavar="PIXELS", help=least)
    parser.add_argument("--decoding", choices=DECODINGS, help=f"how heatmaps become points ({DECODINGS[0]})")
    parser.add_argument("--shape-model", metavar="FILE", help=SHAPE_MODEL_HELP)
    parser.add_argument("--overwrite", action="store_true", help="replace what an earlier run wrote to DIR")
    cli.add_device_arguments(parser)
    return parser.parse_args(words)


def load_detector(arguments: argparse.Namespace) -> tuple[FindsFaces, dict[str, Any]]:
    """Network and face detector, and what the JSON files say about them."""
    name = arguments.detector or ("file" if arguments.boxes else "haar")
    weights = find_weights(arguments.weights or arguments.model or DEFAULT_MODEL)
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


def detected_faces(arguments: argparse.Namespace, weights: Path, name: str) -> LandmarkDetector:
    """A face detector and the network, one after the other."""
    if arguments.min_face is not None:
        raise ValueError(f"--min-face goes with --detector {NO_DETECTOR}; the others have sizes of their own")
    return LandmarkDetector.from_pretrained(
        weights,
        get_detector(name, arguments.boxes),
        devices.contexts(arguments.gpus)[0],
        model=arguments.model if arguments.weights else None,
        decoding=arguments.decoding,
        shape_model=arguments.shape_model,
    )


def whole_photos(arguments: argparse.Namespace, weights: Path, name: str) -> WholePhotoLandmarks:
    """The network alone."""
    if not arguments.shape_model:
        raise ValueError(f"--detector {name} needs --shape-model FILE, the shape.npz of the network's training")
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


def find_faces(detector: FindsFaces, path: Path) -> tuple[np.ndarray, list[LocatedFace]]:
    """The upright photo (H, W, 3) and its faces; ValueError names the photo and what to do."""
    image = read_image(path)
    try:
        return image, detector(image, str(path))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def main(words: Sequence[str] | None = None) -> int:
    """Predicts; 1 if some of several photos were bad, else 0."""
    arguments = parse(words)
    photos = find_photos(arguments.input)
    only_one = len(arguments.input) == 1 and not Path(arguments.input[0]).is_dir() and len(photos) == 1
    detector, about = load_detector(arguments)
    files = PhotoFiles(make_folder(arguments.out), about, detector.markup, arguments.overwrite)
    files.check(photos)
    bad: list[str] = []
    found = 0
    for path in tqdm(photos, "predicting", unit="photo", disable=only_one or None):
        try:
            image, faces = find_faces(detector, path)
        except (ValueError, OSError) as error:
            if only_one:
                raise
            bad.append(str(error))
            continue
        files.write(path, image, faces)
        found += len(faces)
        if not faces:
            tqdm.write(
                f"{path}: no face was found; give its box with --boxes, or pass --detector whole for a cut-out face"
            )
    print(
        f"{found} face{'' if found == 1 else 's'} in {len(photos) - len(bad)} of {len(photos)} photos: {arguments.out}"
    )
    for line in bad:
        print(f"left out: {' '.join(line.split())}", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    cli.run(main)
