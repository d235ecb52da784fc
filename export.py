"""Writes a trained network as files that run without this project, then reads them back and compares.

PREFIX-symbol.json and PREFIX-0000.params are for MXNet, PREFIX.onnx for other runtimes; PREFIX.json describes the input
and how the output becomes points of the photo. The batch size is free. The face detector centernet_slim takes whole
photos. --fused adds the graph that MXNet runs fastest on a CPU, which takes the same parameters. --int8 adds a twin
whose convolutions run in eight bits, and prints its loss of accuracy on rendered faces.
"""

from __future__ import annotations

from common import cli  # first: Ctrl-C while the others are imported shows no traceback

# isort: split
import argparse
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Sequence

import mxnet as mx
import numpy as np

from common.files import publish, staging
from common.readers import entry, read_json
from datasets.images import read_image
from datasets.inventory import needed_folder, photos_of
from datasets.render.faces import RenderedFaces
from engine import devices
from evaluation.metrics import nme
from gluon_models import InputSpec, file_sha256, list_models, load_weights, shipped_weights
from gluon_models.detector import centernet
from gluon_models.detector.weights import detector_name, load_detector
from gluon_models.weights import info_path
from inference.detectors import BoxCorrection, get_detector
from inference.exported import Exporter, Runner, describe_graph, read_mxnet, read_onnx, write_onnx
from inference.exported_detector import DetectorExporter, describe_detector
from inference.fused import write_fused
from inference.landmark_detector import markup_of
from inference.pipeline import CroppedFaces, crop_dataset, crop_faces, points_from_output, to_image
from inference.quantized import CALIBRATION_FACES, NotQuantizable, calibration_faces, cpu_note, write_int8
from inference.training_boxes import SAME_BOX, training_box

BATCH_SIZES = (1, 5)
# What the names of the files that an option adds end with.
OPTIONAL = (".onnx", "-fused-symbol.json", "-int8-symbol.json", "-int8-0000.params")
INT8_HELP = """write PREFIX-int8 too, with int8 convolutions: faster on CPUs with 8-bit dot products, not smaller,
as its file keeps float32 weights that are rounded on loading"""
INT8_FACES = 64  # to measure on


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.make_parser(__doc__)
    parser.add_argument("--model", choices=(*list_models(), centernet.NAME), required=True)
    parser.add_argument(
        "--weights", metavar="FILE", type=cli.path, help="a .params file with its .json (default: the shipped one)"
    )
    parser.add_argument(
        "--out",
        metavar="PREFIX",
        type=cli.path,
        required=True,
        help="path that the names of the output files start with",
    )
    parser.add_argument("--onnx", action="store_true", help="write PREFIX.onnx too")
    parser.add_argument(
        "--raw-input",
        action="store_true",
        help="include the normalization in the graph: the input is (N, S, S, 3) uint8 RGB crops instead of normalized "
        "(N, C, S, S) float32",
    )
    fused = "write PREFIX-fused-symbol.json too: faster on CPUs, in MXNet alone, with the same parameters"
    parser.add_argument("--fused", action="store_true", help=fused)
    parser.add_argument("--int8", action="store_true", help=INT8_HELP)
    photos = "folder of photos with faces that calibrate --int8 (default: rendered faces)"
    parser.add_argument("--calibration", metavar="DIR", type=cli.path, help=photos)
    cli.add_device_arguments(parser)
    return parser


def output_prefix(out: str, weights: Path) -> Path:
    """The prefix as a path whose folder exists.

    Raises:
        ValueError: it names no file, or PREFIX.json would replace the JSON of the weights.
    """
    name = os.path.basename(out)
    if name in ("", ".", ".."):
        raise ValueError(f"--out {out} names a folder: add a file name prefix")
    folder = cli.output_folder(Path(out).parent)
    if (folder / f"{name}.json").resolve() == info_path(weights).resolve():
        raise ValueError(f"--out {out} would replace the JSON of {weights}: name another prefix")
    return folder / name


def earlier_files(prefix: Path) -> set[str]:
    """Names of the files of options that an earlier export wrote, by its JSON: beside a new one they would be stale."""
    with suppress(OSError, ValueError):
        listed = entry(read_json(Path(f"{prefix}.json")), "files", list, prefix)
        return {f"{prefix.name}{end}" for end in OPTIONAL if f"{prefix.name}{end}" in listed}
    return set()


class Int8Faces(NamedTuple):
    """What an int8 twin is made with and measured on.

    Attributes:
        calibration: crops (n, S, S, 3) uint8 that set the ranges.
        source: a description of where they are from.
        measured: other faces.
    """

    calibration: np.ndarray
    source: str
    measured: CroppedFaces


def int8_faces(folder: str | None, spec: InputSpec, box: BoxCorrection, seed: int) -> Int8Faces:
    """The faces of --calibration, or rendered ones, and rendered ones to measure on."""
    measured = crop_dataset(RenderedFaces(INT8_FACES, seed + 1), spec)
    if folder is None:
        faces = calibration_faces(seed)
        crops, source = crop_dataset(faces, spec).crops, f"rendered, seed {seed + 2}"
    else:
        crops, source = crops_of_photos(folder, spec, box), f"photos in {Path(folder).name}"
    return Int8Faces(crops, f"{len(crops)} faces: {source}", measured)


def crops_of_photos(folder: str, spec: InputSpec, box: BoxCorrection = SAME_BOX) -> np.ndarray:
    """Crops (n, S, S, 3) of the faces that are found in a folder's photos, in at most `CALIBRATION_FACES` of them.

    Raises:
        FileNotFoundError, ValueError: there is no such folder, or no face in it.
    """
    photos = photos_of(needed_folder(folder, "one with photos of faces"), below=True)
    chosen = np.unique(np.linspace(0, len(photos) - 1, min(len(photos), CALIBRATION_FACES)).astype(int))
    detector, crops = get_detector("haar"), []
    for index in chosen:
        image = read_image(photos[index])
        boxes = [box.apply(found.box) for found in detector(image, photos[index].name)]
        crops += [crop_faces(image, boxes[:1], spec)[0]] if boxes else []
    if not crops:
        raise ValueError(f"--calibration {folder}: no face in {len(chosen)} photos there; name another folder")
    return np.concatenate(crops)


def write_and_measure_int8(
    exporter: Exporter, part: Path, written: Sequence[Path], faces: Int8Faces, spec: InputSpec
) -> tuple[list[Path], dict[str, Any]]:
    """Writes the int8 twin of PREFIX-symbol.json and PREFIX-0000.params; returns its files and what it costs.

    Raises:
        NotQuantizable: MXNet cannot do it.
    """
    twin = list(write_int8(*written, Path(f"{part}-int8"), exporter.feed(faces.calibration)))
    pairs, crops = (written, twin), faces.measured.crops
    try:
        points_crop = [run_on_crops(read_mxnet(*pair, mx.cpu()), exporter, crops, spec) for pair in pairs]
    except ValueError as error:
        raise NotQuantizable(f"the int8 network returns no points ({error})") from error
    shift = float(np.linalg.norm(points_crop[1] - points_crop[0], axis=2).mean())
    values: dict[str, Any] = {"calibration": faces.source, "mean_shift_pixels": shift}
    if cpu_note():
        print(cpu_note())
    text = f"int8: read back; its points are {shift:.2f} pixels of the crop from those of float32 on average"
    truth = faces.measured.truth_image
    if points_crop[0].shape[1] == truth.shape[1]:
        points_image = [to_image(points, faces.measured.matrices) for points in points_crop]
        errors = [float(nme(points, truth, "outer_eye").mean()) for points in points_image]
        values["nme_rendered_float32"], values["nme_rendered_int8"] = errors
        costs = f"{100 * errors[0]:.2f} % to {100 * errors[1]:.2f} %"
        text += f"; NME on {len(truth)} rendered faces from {costs}, {100 * (errors[1] - errors[0]):+.2f} points"
    print(text)
    return twin, values


def run_on_crops(run: Runner, exporter: Exporter, crops: np.ndarray, spec: InputSpec) -> np.ndarray:
    """Points (n, K, 2) of a written network in pixels of crops (n, S, S, 3)."""
    parts = (crops[start : start + BATCH_SIZES[-1]] for start in range(0, len(crops), BATCH_SIZES[-1]))
    return np.concatenate([points_from_output(run(exporter.feed(part)), spec) for part in parts])


def write_and_compare(
    exporter: Exporter, part: Path, crops: np.ndarray, with_onnx: bool, with_fused: bool
) -> tuple[list[Path], dict[str, float]]:
    """Writes the files under the prefix `part`; returns them and the largest difference in pixels of each kind."""
    written = exporter.write_mxnet(part, crops)
    files, runners = list(written), {"mxnet": read_mxnet(*written, exporter.ctx)}
    if with_fused:
        files.append(write_fused(written[0], Path(f"{part}-fused-symbol.json")))
        runners["fused"] = read_mxnet(files[-1], written[1], mx.cpu())
    if with_onnx:
        path = Path(f"{part}.onnx")
        write_onnx(*written, path, exporter.feed(crops), exporter.shapes(crops))
        files.append(path)
        runners["onnx"] = read_onnx(path)
    worst = {}
    for kind, run in runners.items():
        worst[kind] = max(exporter.largest_difference(run, crops[:count]) for count in BATCH_SIZES)
        print(f"{kind}: read back; at batch {' and '.join(map(str, BATCH_SIZES))} within {worst[kind]:.1g} pixels")
    return files, worst


def export(
    exporter: Exporter,
    prefix: Path,
    crops: np.ndarray,
    with_onnx: bool,
    with_fused: bool,
    values: dict[str, Any],
    faces: Int8Faces | None = None,
) -> list[Path]:
    """Writes all files, compares, and only then moves them to their places.

    Args:
        exporter: of the network.
        prefix: what the files' paths start with.
        crops: (n, S, S, 3) uint8 to compare on.
        with_onnx: write ONNX too.
        with_fused: write the fused symbol too.
        values: what PREFIX.json says, besides the files and the measured differences; its "spec" is the network's.
        faces: write an int8 twin too, with these.

    Raises:
        ValueError: what was written is not the network, or it has no int8 form; nothing is kept.
        OSError: there is no room; nothing is kept.
    """
    try:
        with staging(prefix.parent, prefix, "free the space or name another --out") as folder:
            part = folder / prefix.name
            files, worst = write_and_compare(exporter, part, crops, with_onnx, with_fused)
            if faces:
                spec = InputSpec.from_dict(values["spec"])
                twin, cost = write_and_measure_int8(exporter, part, files[:2], faces, spec)
                files, values = [*files, *twin], {**values, "int8": cost}
            values = {**values, "files": [path.name for path in files], "largest_difference_pixels": worst}
            files.append(folder / f"{prefix.name}.json")
            files[-1].write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
            publish(folder, prefix.parent, [path.name for path in files], earlier_files(prefix))
    except NotQuantizable as error:
        raise ValueError(f"{prefix} is not written: {error}; leave out --int8") from error
    except mx.MXNetError as error:
        reason = str(error).strip().splitlines()[-1]
        raise OSError(f"cannot write {prefix}: {reason}; free the space or name another --out") from error
    except ValueError as error:
        raise ValueError(f"{prefix} is not written: {error}; are all numbers in the weights finite?") from error
    return [prefix.parent / path.name for path in files]


def export_detector(arguments: argparse.Namespace, weights: Path, ctx: mx.Context) -> list[Path]:
    """Writes the face detector; see `export`.

    Raises:
        ValueError: an option is for landmark networks, or the weights are of another detector.
    """
    if arguments.int8:
        raise ValueError(f"--int8 is for landmark networks, not for {centernet.NAME}: leave it out")
    if detector_name(weights) != centernet.NAME:
        raise ValueError(f"{weights} holds weights of {detector_name(weights)}: only {centernet.NAME} is exported")
    prefix, exporter = output_prefix(arguments.out, weights), DetectorExporter(load_detector(weights, ctx), ctx)
    faces = RenderedFaces(max(BATCH_SIZES), arguments.seed, centernet.LOOKS["first"].short_side)
    values = {
        "detector": centernet.NAME,
        "weights": {"file": weights.name, "sha256": file_sha256(weights)},
        **describe_detector(),
    }
    photos = np.stack([faces[index].image for index in range(len(faces))])
    return export(exporter, prefix, photos, arguments.onnx, arguments.fused, values)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    arguments = make_parser().parse_args(argv)
    if arguments.calibration and not arguments.int8:
        raise ValueError("--calibration needs --int8: add it, or leave both out")
    ctx = devices.contexts(arguments.gpus)[0]
    weights = Path(arguments.weights or shipped_weights(arguments.model))
    if arguments.model == centernet.NAME:
        print("wrote " + ", ".join(map(str, export_detector(arguments, weights, ctx))))
        return 0
    net, info = load_weights(weights, arguments.model, ctx)
    prefix = output_prefix(arguments.out, weights)
    crops = crop_dataset(RenderedFaces(max(BATCH_SIZES), arguments.seed), info.spec).crops
    exporter, box = Exporter(net, info.spec, arguments.raw_input, ctx), training_box(info)
    values = {
        **info.as_dict(),
        "weights": {"file": weights.name, "sha256": file_sha256(weights)},
        **describe_graph(info.spec, arguments.raw_input, markup_of(info), box),
    }
    faces = int8_faces(arguments.calibration, info.spec, box, arguments.seed) if arguments.int8 else None
    files = export(exporter, prefix, crops, arguments.onnx, arguments.fused, values, faces)
    print("wrote " + ", ".join(map(str, files)))
    return 0


if __name__ == "__main__":
    cli.run(main)
