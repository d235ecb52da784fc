"""Labels a folder of photos with a trained network's own answers, to train on them beside annotated ones.

Each answer is the mean over ten turned, scaled and mirrored copies of the face, which errs less than one of them
(data distillation, Radosavovic et al., CVPR 2018). The folder's own .pts files say where the faces are and nothing
else: their points may be of another convention. Writes photos and .pts files that --more pts=OUT takes.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Iterable, Sequence

import numpy as np
from tqdm import tqdm

from common import cli
from common.files import make_folder
from datasets import pts_folder
from datasets.annotated_photos import AnnotatedPhotos
from datasets.ibug_300w import write_pts
from engine import devices
from gluon_models import load_weights, shipped_weights
from inference.ensembles import AugmentedPredictor
from inference.landmark_detector import markup_named
from inference.pipeline import PointPredictor, predict_dataset


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = cli.make_parser(__doc__)
    parser.add_argument("--model", default="ffld_resnet18", help="the network that labels")
    parser.add_argument("--weights", metavar="FILE", help="its weights instead of the shipped ones")
    parser.add_argument("--data", metavar="DIR", required=True, help="photos, each with a .pts file beside it")
    parser.add_argument("--out", metavar="DIR", required=True, help="new folder for photos and labels")
    cli.add_device_arguments(parser)
    return parser.parse_args(argv)


def show_progress(indices: Iterable[int]) -> Iterable[int]:
    """A bar over the faces, where there is a terminal to show it."""
    return tqdm(indices, "labelling", unit="face", disable=None)


def write_labels(faces: AnnotatedPhotos, points_image: np.ndarray, out: Path) -> None:
    """Writes a copy of each photo that was read, and its points (N, K, 2), in folders as they were."""
    for name, photo, points in zip(faces.names, faces.image_paths, points_image):
        if np.isnan(points).any():
            continue
        to = out / name
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(photo, out / (name + photo.suffix))
        write_pts(out / f"{name}.pts", points)


def main(argv: Sequence[str] | None = None) -> int:
    """Labels all photos of the folder.

    Raises:
        ValueError: the new folder is not empty.
    """
    arguments = parse(argv)
    faces = pts_folder.load(arguments.data)
    out = make_folder(arguments.out)
    if any(out.iterdir()):
        raise ValueError(f"--out {out} is not empty: name a new folder")
    context = devices.contexts(arguments.gpus)[0]
    net, info = load_weights(arguments.weights or shipped_weights(arguments.model), arguments.model, context)
    predictor = AugmentedPredictor(PointPredictor(net, info.spec, context), markup_named(info.markup))
    points_image, skipped = predict_dataset(predictor, faces, progress=show_progress)
    write_labels(faces, points_image, out)
    print(f"{len(faces) - len(skipped)} faces labelled, {len(skipped)} not read; train with --more pts={out}")
    return 0


if __name__ == "__main__":
    cli.run(main)
