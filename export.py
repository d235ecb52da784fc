"""Writes a trained network as files that run without this project, then reads them back and compares.

PREFIX-symbol.json and PREFIX-0000.params are for MXNet, PREFIX.onnx for other runtimes; PREFIX.json says what goes in
and how the answer becomes points of the photo. Any number of face crops may go in at once.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any, Sequence

import mxnet as mx
import numpy as np

from datasets.synthetic import SyntheticFaces
from engine import cli, devices
from engine.files import make_folder, write_text
from gluon_models import file_sha256, list_models, load_weights, shipped_weights
from gluon_models.weights import info_path
from inference.exported import Exporter, describe_graph, read_mxnet, read_onnx, write_onnx
from inference.pipeline import crop_dataset

BATCH_SIZES = (1, 5)


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.make_parser(__doc__)
    parser.add_argument("--model", choices=list_models(), required=True)
    parser.add_argument("--weights", metavar="FILE", help="a .params file with its .json; the shipped one if left out")
    parser.add_argument("--out", metavar="PREFIX", required=True, help="what the names of the written files start with")
    parser.add_argument("--onnx", action="store_true", help="write PREFIX.onnx too")
    parser.add_argument(
        "--raw-input",
        action="store_true",
        help="put the normalisation into the graph, which then takes crops as they are, (N, S, S, 3) uint8 RGB; "
        "without, it takes normalised (N, C, S, S) float32",
    )
    cli.add_device_arguments(parser)
    return parser


def output_prefix(out: str, weights: Path) -> Path:
    """The prefix as a path whose folder exists.

    Raises:
        ValueError: it names no file, or PREFIX.json would replace the JSON of the weights.
    """
    name = os.path.basename(out)
    if name in ("", ".", ".."):
        raise ValueError(f"--out {out} names a folder: add what the files' names shall start with")
    folder = make_folder(Path(out).parent)
    if (folder / f"{name}.json").resolve() == info_path(weights).resolve():
        raise ValueError(f"--out {out} would replace the JSON of {weights}: name another prefix")
    return folder / name


def write_and_compare(
    exporter: Exporter, part: Path, crops: np.ndarray, with_onnx: bool
) -> tuple[list[Path], dict[str, float]]:
    """Writes the files under the prefix `part`; returns them and the largest difference in pixels of each kind."""
    files = list(exporter.write_mxnet(part, crops))
    runners = {"mxnet": read_mxnet(*files, exporter.ctx)}
    if with_onnx:
        path = Path(f"{part}.onnx")
        write_onnx(*files, path, exporter.feed(crops), num_landmarks=exporter.answer(crops).shape[1])
        files.append(path)
        runners["onnx"] = read_onnx(path)
    worst = {}
    for kind, run in runners.items():
        worst[kind] = max(exporter.largest_difference(run, crops[:count]) for count in BATCH_SIZES)
        print(f"{kind}: read back; at batch {' and '.join(map(str, BATCH_SIZES))} within {worst[kind]:.1g} pixels")
    return files, worst


def export(exporter: Exporter, prefix: Path, crops: np.ndarray, with_onnx: bool, values: dict[str, Any]) -> list[Path]:
    """Writes all files, compares, and only then moves them to their places.

    Args:
        exporter: of the network.
        prefix: what the files' paths start with.
        crops: (n, S, S, 3) uint8 to compare on.
        with_onnx: write ONNX too.
        values: what PREFIX.json says, besides the files and the measured differences.

    Raises:
        ValueError: what was written is not the network; nothing is kept.
        OSError: there is no room; nothing is kept.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=".export-", dir=prefix.parent) as folder:
            files, worst = write_and_compare(exporter, Path(folder) / prefix.name, crops, with_onnx)
            values = {**values, "files": [path.name for path in files], "largest_difference_pixels": worst}
            files.append(Path(folder) / f"{prefix.name}.json")
            write_text(files[-1], json.dumps(values, indent=2) + "\n")
            for path in files:
                os.replace(path, prefix.parent / path.name)
    except (OSError, mx.MXNetError) as error:
        reason = getattr(error, "strerror", None) or str(error).strip().splitlines()[-1]
        raise OSError(f"cannot write {prefix}: {reason}; free the space or name another --out") from error
    except ValueError as error:
        raise ValueError(f"{prefix} is not written: {error}; are all numbers in the weights finite?") from error
    return [prefix.parent / path.name for path in files]


def main(words: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    arguments = make_parser().parse_args(words)
    ctx = devices.contexts(arguments.gpus)[0]
    weights = Path(arguments.weights or shipped_weights(arguments.model))
    net, info = load_weights(weights, arguments.model, ctx)
    prefix = output_prefix(arguments.out, weights)
    crops = crop_dataset(SyntheticFaces(max(BATCH_SIZES), arguments.seed), info.spec).crops
    exporter = Exporter(net, info.spec, arguments.raw_input, ctx)
    values = {
        **info.as_dict(),
        "weights": {"file": weights.name, "sha256": file_sha256(weights)},
        **describe_graph(info.spec, arguments.raw_input, num_landmarks=exporter.answer(crops[:1]).shape[1]),
    }
    files = export(exporter, prefix, crops, arguments.onnx, values)
    print("wrote " + ", ".join(map(str, files)))
    return 0


if __name__ == "__main__":
    cli.run(main)
