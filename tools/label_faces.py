"""Labels a folder of photos with trained networks' own predictions, to train on them beside annotated ones.

Each network's points are the mean over turned, scaled and mirrored copies of the face, which is more accurate than one
prediction (data distillation, Radosavovic et al., CVPR 2018); several networks are averaged in turn. The folder's own
.pts files only say where the faces are: their points may be of another convention. Writes photos and .pts files that
--more pts=OUT takes.
"""

from __future__ import annotations

import argparse
import json
import shutil
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Iterable, Sequence

import mxnet as mx
import numpy as np

from common import cli
from common.files import exclusive, make_folder, write_text, write_whole
from common.readers import read_json
from common.shards import WHOLE, add_shard_argument
from datasets import pts_folder
from datasets.ibug_300w import write_pts
from datasets.markup import to_dict
from datasets.markups import IBUG_68, Markup, is_known
from datasets.pts_folder import OwnPhotos
from engine import devices
from evaluation.metrics import nme
from gluon_models import file_sha256, list_models, load_weights, shipped_weights
from gluon_models.weights import WeightsInfo
from inference.ensembles import MEMBERS, AugmentedPredictor
from inference.landmark_detector import markup_of
from inference.pipeline import BATCH_SIZE, PointPredictor, predict_dataset
from inference.training_boxes import own_box

DEFAULT_MODEL = "ffld_resnet18"
RECORD = "labels.json"  # in the folder: what its labels are made with


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = cli.make_parser(__doc__)
    model = f"network that labels; repeat it to average several (default: {DEFAULT_MODEL})"
    parser.add_argument("--model", action="append", choices=list_models(), help=model)
    weights = "weights instead of the shipped ones; once for each --model, in the same order"
    parser.add_argument("--weights", action="append", metavar="FILE", type=cli.path, help=weights)
    parser.add_argument("--copies", type=cli.count, default=MEMBERS, help="copies of each face that are averaged")
    agreement = "leave out faces on which the networks disagree by more than this fraction of the inter-ocular distance"
    parser.add_argument("--agreement", type=cli.positive, metavar="FRACTION", help=agreement)
    parser.add_argument(
        "--data", metavar="DIR", type=cli.path, required=True, help="photos, each with a .pts file beside it"
    )
    parser.add_argument("--out", metavar="DIR", type=cli.path, required=True, help="new folder for photos and labels")
    add_shard_argument(parser)
    cli.add_device_arguments(parser)
    arguments = parser.parse_args(argv)
    arguments.model = arguments.model or [DEFAULT_MODEL]
    if arguments.weights and len(arguments.weights) != len(arguments.model):
        raise ValueError(f"{len(arguments.weights)} --weights for {len(arguments.model)} --model: name one for each")
    if arguments.agreement is not None and (len(arguments.model) < 2 or not arguments.agreement > 0):
        raise ValueError("--agreement takes a fraction above 0 and at least two --model")
    out, data = Path(arguments.out).resolve(), Path(arguments.data).resolve()
    if out == data or out in data.parents or data in out.parents:
        raise ValueError(f"--out {arguments.out} and --data {arguments.data} lie in one another: name a folder beside")
    return arguments


def predictor_of(
    weights: Path, model: str, copies: int, context: mx.Context
) -> tuple[AugmentedPredictor, Markup, WeightsInfo]:
    """A network that predicts the mean over several copies of a face, the markup of its points, and its description."""
    net, info = load_weights(weights, model, context)
    markup = markup_of(info)
    return AugmentedPredictor(PointPredictor(net, info.spec, context), markup, copies), markup, info


def disagreement(members_image: np.ndarray, markup: Markup = IBUG_68) -> np.ndarray:
    """How far members' points (M, N, K, 2) lie from their mean: (N,) fractions of the markup's normalizer."""
    mean_image = members_image.mean(axis=0)
    errors = [nme(points_image, mean_image, markup.normalizer, markup=markup) for points_image in members_image]
    return np.mean(errors, axis=0)


def write_labels(faces: OwnPhotos, points_image: np.ndarray, out: Path) -> int:
    """Writes a copy of each labelled photo and its faces' points (N, K, 2), NaN for none, in folders as they were."""
    written = 0
    for name, photo_name, photo, points in zip(faces.names, faces.photo_names, faces.image_paths, points_image):
        if np.isnan(points).any():
            continue
        make_folder((out / name).parent)
        # The points come last: where they are, the face is done.
        write_whole(out / (photo_name + photo.suffix), partial(shutil.copyfile, photo))
        write_pts(out / f"{name}.pts", points)
        written += 1
    return written


def start_or_go_on(out: Path, settings: dict[str, Any]) -> None:
    """Records in a new folder what its labels are made with; one that was made with the same may be completed.

    Raises:
        ValueError: the folder holds something else.
    """
    record = out / RECORD
    # Names that begin with a dot are files that another process, with another part, is about to write.
    filled = any(not path.name.startswith(".") for path in out.iterdir())
    if record.is_file() and read_json(record, "name a new folder") == settings:
        return
    if filled:
        raise ValueError(f"--out {out} is not empty: name a new folder, or repeat the command that filled this one")
    write_text(record, json.dumps(settings, indent=2) + "\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Labels all photos of the folder.

    Raises:
        ValueError: the new folder is not empty, or the networks are of different markups.
    """
    arguments = parse(argv)
    faces = pts_folder.load(arguments.data)
    out = cli.output_folder(arguments.out)
    # The parts of a --shard share their folder.
    alone = exclusive(out, "wait for it to end, or name another --out") if arguments.shard == WHOLE else nullcontext()
    with alone:
        return label(arguments, faces, out)


def label(arguments: argparse.Namespace, faces: OwnPhotos, out: Path) -> int:
    """Labels the faces that have no labels in a folder yet, as the command line says."""
    context = devices.contexts(arguments.gpus)[0]
    files = arguments.weights or [shipped_weights(model) for model in arguments.model]
    settings = {"models": arguments.model, "weights_sha256": [file_sha256(path) for path in files]}
    start_or_go_on(out, {**settings, "copies": arguments.copies, "agreement": arguments.agreement})
    faces = faces.subset(arguments.shard.of(len(faces), BATCH_SIZE))
    done = [k for k, name in enumerate(faces.names) if (out / f"{name}.pts").is_file()]
    if done:
        print(f"{len(done)} of {len(faces)} faces are labelled already")
        faces = faces.subset(sorted(set(range(len(faces))) - set(done)))
    if not len(faces):
        return 0
    members, markups, skipped = [], set(), {}
    for model, weights in zip(arguments.model, files):
        predictor, markup, info = predictor_of(Path(weights), model, arguments.copies, context)
        markups.add(markup.name)

        def show_progress(indices: Iterable[int], model: str = model) -> Iterable[int]:
            return cli.progress(indices, model)

        box = own_box(faces.markup, info)
        predicted = predict_dataset(predictor, faces, lambda face, box=box: box.apply(face.box), show_progress)
        members.append(predicted.points_image)
        skipped = predicted.skipped
    if len(markups) > 1:
        raise ValueError(f"--model: these networks place points of {' and '.join(sorted(markups))}: take one markup")
    points_image = np.mean(members, axis=0)
    apart = disagreement(np.stack(members), markup) > (arguments.agreement or np.inf)
    points_image[apart] = np.nan
    if not is_known(markup):
        write_text(out / pts_folder.MARKUP_FILE, json.dumps(to_dict(markup), indent=2) + "\n")
    written = write_labels(faces, points_image, out)
    left_out = f", {int(apart.sum())} left out on which the networks disagree" if arguments.agreement else ""
    print(f"{written} faces labelled, {len(skipped)} not read{left_out}; train with --more pts={out}")
    return 0


if __name__ == "__main__":
    cli.run(main)
