"""Measures every network that ships on every data set it fits, beside the papers' figures.

DIR holds data sets by their names on the command line, such as DIR/300w; without --data the faces are rendered. Writes
results.json, report.html, a page that needs no network, and PNGs of its curves. They show no photo and name none. Each
figure has the evaluate.py command that reproduces it.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Collection, NamedTuple, Sequence

import mxnet as mx
import numpy as np

from common import cli
from common.files import write_set
from common.readers import entry, read_json
from datasets.catalog import CATALOG, RENDERED_SUBSETS, load_subset
from datasets.markups import IBUG_68
from datasets.render.mesh import NUM_IDENTITY, Expression, make_controls
from engine import devices
from engine.record import git_state, versions
from evaluation.metrics import ced
from evaluation.protocols import box_text
from evaluation.published import CONTEXT
from evaluation.resampling import paired_difference
from evaluation.summary import Evaluation
from gluon_models.weights import SHIPPED_FOLDER, read_info
from inference.evaluation import (
    SubsetFaces,
    box_source,
    evaluate,
    evaluated_name,
    load_faces,
    load_predictor,
    stress_curves,
)
from inference.pipeline import Predictor
from report.comparison import NORMALIZER_WORDS
from report.documents import DETECTOR, FITTED
from report.evaluation_report import work_out
from report.outputs import json_bytes
from report.plots import to_png
from report.results_page import by_subset, draw_ceds, render_results
from report.results_page import stress_curves as recorded_curves
from report.stress import draw_stress

show_progress = partial(cli.progress, what="evaluating")
OWN = "pts"  # a folder of one's own is no data set that others know
ROOT = SHIPPED_FOLDER.parent
COST = ROOT / "docs" / "results" / "cost.json"  # of tools.benchmark --model all
CED_STEPS = 240
CED_REACH = 1.5  # of the failure threshold
NOT_PUBLISHED = ("names", "skipped", "units")  # of metrics.json: no names of faces

MEASURE = "name a results.json that tools.results wrote"


class Subset(NamedTuple):
    """Faces to measure on: a part of a data set in a folder, None for rendered faces, and the name of their markup."""

    dataset: str
    subset: str
    root: Path | None
    markup: str


class System(NamedTuple):
    """What is measured: its name in the results, the names of weights and model, and the shape model's file or ""."""

    name: str
    weights: str
    model: str
    shape_model: str


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = cli.make_parser(__doc__)
    parser.add_argument(
        "--data", metavar="DIR", type=cli.file_path, help="folder of data sets; rendered faces need none"
    )
    datasets = "data sets or subsets to use, such as cofw or 300w/common (default: all that are in DIR)"
    parser.add_argument("--datasets", metavar="NAME,...", help=datasets)
    parser.add_argument(
        "--stress-faces", type=cli.count_or_none, metavar="N", default=100, help="faces made harder; 0 for none"
    )
    parser.add_argument("--count", type=cli.count, default=500, help="number of rendered faces")
    parser.add_argument("--batch-size", type=cli.count, default=64, help="most faces that run together")
    again = "an earlier results.json to draw the page and the PNGs from; nothing is measured"
    parser.add_argument("--record", metavar="FILE", type=cli.file_path, help=again)
    parser.add_argument("--out", metavar="DIR", type=cli.file_path, required=True, help="folder for the results")
    cli.add_device_arguments(parser)
    arguments = parser.parse_args(argv)
    known = {*CATALOG, *(f"{name}/{part}" for name, entry in CATALOG.items() for part in entry.subsets)}
    arguments.wanted = set(arguments.datasets.split(",") if arguments.datasets else ())
    if arguments.wanted - known:
        raise ValueError(
            f"--datasets {arguments.datasets}: choose from {', '.join(CATALOG)}, or a part, as 300w/common"
        )
    return arguments


def find_subsets(root: Path | None, wanted: Collection[str] = ()) -> list[Subset]:
    """The subsets to measure on, complete ones first.

    An incomplete subset is used unless it has the very faces of another; one that is trained on never is.

    Args:
        root: folder of data sets, or None for rendered faces.
        wanted: names of data sets, or of subsets such as "300w/common"; all if empty.

    Raises:
        FileNotFoundError: none is there.
    """
    if root is None:
        return [Subset("rendered", subset, None, IBUG_68.name) for subset in RENDERED_SUBSETS]
    there = [name for name in CATALOG if name != OWN and (root / name).is_dir()]
    found: list[tuple[bool, tuple[str, ...], Subset]] = []
    for dataset in there:
        for part in CATALOG[dataset].subsets:
            named = not wanted or {dataset, f"{dataset}/{part}"} & set(wanted)
            if not named or part in ("train", "unmirrored", CATALOG[dataset].training):
                continue
            try:
                faces, about = load_subset(dataset, str(root / dataset), part, allow_missing=True)
            except (ValueError, OSError) as error:
                print(f"left out: {dataset} {part}: {error}", file=sys.stderr)
                continue
            lacking = about.expected != len(faces) or bool(about.present or about.missing)
            subset = Subset(dataset, part, root / dataset, faces.markup.name)
            found.append((lacking, (dataset, *faces.names), subset))
    chosen: dict[tuple[str, ...], Subset] = {}
    for lacking, names, subset in sorted(found, key=lambda each: each[0]):
        if lacking and names in chosen:
            same = chosen[names].subset
            print(f"left out: {subset.dataset} {subset.subset}: the same faces as {same}", file=sys.stderr)
        chosen.setdefault(names, subset)
    if not chosen:
        known = ", ".join(sorted(wanted) or [name for name in CATALOG if name != OWN])
        raise FileNotFoundError(f"{root} holds no data set to measure on: name the folder that holds one of {known}")
    return list(chosen.values())


def shipped() -> dict[str, dict[str, Any]]:
    """The index of the weights that ship and place landmarks, by name."""
    index = read_json(SHIPPED_FOLDER / "index.json")
    return {name: entry for name, entry in index.items() if entry.get("kind") != DETECTOR}


def systems_of(name: str, about: dict[str, Any]) -> list[System]:
    """Weights by themselves and with the shape model that ships with them, from their entry of the index."""
    model, shape = about["model"], about.get("shape_model")
    fitted = [System(name + FITTED, name, model, f"weights/{shape['file']}")] if shape else []
    return [System(name, name, model, ""), *fitted]


class Options(NamedTuple):
    """How to measure: where networks run, most faces at once, faces made harder, rendered faces, and the seed."""

    context: mx.Context
    batch_size: int
    stress_faces: int
    count: int
    seed: int


def command_of(system: System, subset: Subset, options: Options, further: Sequence[str] = ()) -> str:
    """The evaluate.py command that reproduces a figure; DIR stands for the folder of the data sets."""
    weights = "" if system.weights == system.model else f"--weights weights/{system.weights}.params "
    shape = f"--shape-model {system.shape_model} " if system.shape_model else ""
    faces = f"--data DIR/{subset.dataset} --allow-missing" if subset.root else f"--count {options.count}"
    text = f"evaluate.py --model {system.model} {weights}{shape}--dataset {subset.dataset} --subset {subset.subset} "
    out = f"results/{system.name}/{subset.dataset}_{subset.subset}"
    return " ".join([text + faces, *further, "--seed", str(options.seed), "--out", out])


def measure_system(
    system: System, about: dict[str, Any], subset: Subset, faces: SubsetFaces, options: Options
) -> tuple[dict[str, Any], np.ndarray]:
    """What is published of one system on one subset, and its errors (n,); `about` is the weights' index entry."""
    predictor, result, margin = _evaluate(system, faces, options)
    protocol, curves = faces.protocol, None
    if options.stress_faces and result.found.any():
        counts = {"count": options.stress_faces, "seed": options.seed}
        curves = stress_curves(predictor, faces.faces, result, progress=show_progress, **counts)
    record = {
        "model": system.model,
        "seed": options.seed,
        "weights_sha256": about["sha256"],
        "boxes": "truth",
        "box_margin": margin,
        "device": str(options.context),
    }
    metrics = work_out(result, record, box_text(protocol.true_boxes, margin)).metrics
    errors = result.errors(protocol.normalizer)
    harder = ["--stress", "--stress-faces", str(options.stress_faces)] if options.stress_faces else []
    return {
        "name": system.name,
        "command": command_of(system, subset, options, harder),
        **{key: value for key, value in metrics.items() if key not in NOT_PUBLISHED},
        "ced": ced_curve(np.where(np.isnan(errors), np.inf, errors), protocol.failure_threshold),
        "stress": curves,
        "int8": int8_cost(system, subset, faces, options, errors),
        **{"data": about["data"], "trained_with_seed": about["seed"], "run": about["run"], "terms": about["terms"]},
    }, errors


def _evaluate(
    system: System, faces: SubsetFaces, options: Options, int8: bool = False
) -> tuple[Predictor, Evaluation, float]:
    """The predictor, what it predicts, and the margin of its crops."""
    predictor, info = load_predictor(
        SHIPPED_FOLDER / f"{system.weights}.params",
        system.model,
        mx.cpu() if int8 else options.context,
        batch_size=options.batch_size,
        shape_model=ROOT / system.shape_model if system.shape_model else None,
        int8=int8,
        seed=options.seed,
    )
    boxes, name = box_source("truth", faces.protocol.true_boxes), evaluated_name(system.model, system.shape_model)
    return predictor, evaluate(predictor, faces, boxes, model=name, progress=show_progress), info.spec.box_margin


def int8_cost(
    system: System, subset: Subset, faces: SubsetFaces, options: Options, errors: np.ndarray
) -> dict[str, Any]:
    """By how much errors (n,) grow with 8-bit convolutions; {"missing": why} where the network has no such form."""
    try:
        _, result, _ = _evaluate(system, faces, options, int8=True)
    except ValueError as error:  # the network itself has just run, so its int8 twin fails
        return {"missing": str(error)}
    in_int8 = result.errors(faces.protocol.normalizer)
    if not np.isfinite(errors + in_int8).any():
        return {"missing": "no face was found"}
    command = command_of(system, subset, options, ["--int8"])
    return {"command": command, **paired_difference(errors, in_int8)._asdict()}


def ced_curve(errors: np.ndarray, threshold: float) -> dict[str, np.ndarray]:
    """The cumulative error distribution at even steps to somewhat beyond the failure threshold."""
    thresholds = np.linspace(0.0, CED_REACH * threshold, CED_STEPS + 1)
    return {"thresholds": thresholds.round(6), "fractions": ced(errors, thresholds).round(6)}


def pair_differences(subset: Subset, errors: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """How every two systems' errors (n,), by name, differ on the faces that both found, the later minus the earlier."""
    names, where = list(errors), {"dataset": subset.dataset, "subset": subset.subset}
    return [
        {**where, "first": first, "second": second, **paired_difference(errors[first], errors[second])._asdict()}
        for number, first in enumerate(names)
        for second in names[number + 1 :]
        if np.isfinite(errors[first] + errors[second]).any()
    ]


def measure(subsets: Sequence[Subset], options: Options, command: str) -> dict[str, Any]:
    """Evaluates everything that fits and returns the record, which says that `command` made it."""
    index, evaluations, pairs = shipped(), [], []
    for subset in subsets:
        faces = load_faces(
            subset.dataset,
            subset.subset,
            root=str(subset.root) if subset.root else None,
            allow_missing=True,
            count=options.count,
            seed=options.seed,
        )
        fitting = [name for name in index if read_info(SHIPPED_FOLDER / f"{name}.params").markup == subset.markup]
        errors: dict[str, np.ndarray] = {}
        for system in (system for name in fitting for system in systems_of(name, index[name])):
            print(f"{system.name} on {subset.dataset} {subset.subset}", file=sys.stderr)
            entry, errors[system.name] = measure_system(system, index[system.weights], subset, faces, options)
            evaluations.append(entry)
        pairs += pair_differences(subset, errors)
    return {
        "made": {"command": command, "git": git_state(), "versions": versions()},
        "units": "errors, rates and areas are fractions; rows of tables and published figures are per cent",
        "evaluations": evaluations,
        "pairs": pairs,
        "cost": read_json(COST) if COST.is_file() else None,
        "context": [asdict(cell) for cell in CONTEXT],
    }


def output_files(record: dict[str, Any]) -> dict[str, bytes]:
    """Every file of the results, from the record alone."""
    average = np.zeros(NUM_IDENTITY)  # the renderer's average face, from the front with its mouth open, in mm
    face = make_controls(average, average, Expression(jaw_open=16.0))[: IBUG_68.num_landmarks, :2]
    files = {"results.json": json_bytes(record), "report.html": render_results(record, face).encode()}
    for (dataset, subset), entries in by_subset(record).items():
        where = f"{dataset}_{subset}".replace("-", "_")
        drawn = draw_ceds(entries)
        drawn.axes[0].legend(loc="lower right")
        files[f"ced_{where}.png"] = to_png(drawn)
        systems = {entry["name"]: recorded_curves(entry) for entry in entries if entry["stress"]}
        if systems:
            text = f"error over {NORMALIZER_WORDS[entries[0]['normalizer']]}"
            files[f"stress_{where}.png"] = draw_stress(systems, text, f"{dataset} {subset}, faces made harder")
    return files


def recorded(path: Path) -> dict[str, Any]:
    """An earlier record; FileNotFoundError or ValueError if it is not there, or damaged."""
    record = read_json(path, MEASURE)
    entry(record, "evaluations", list, path, MEASURE)
    return record


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, or takes an earlier record, then writes everything at once."""
    arguments = parse(argv)
    if arguments.record:
        record = recorded(arguments.record)
    else:
        context, harder = devices.contexts(arguments.gpus)[0], arguments.stress_faces
        options = Options(context, arguments.batch_size, harder, arguments.count, arguments.seed)
        data = "--data DIR " if arguments.data else ""
        data += f"--datasets {arguments.datasets} " if arguments.datasets else ""
        command = f"python -m tools.results {data}--stress-faces {harder} --out results"
        subsets = find_subsets(arguments.data, arguments.wanted)
        cli.output_folder(arguments.out)
        measured = measure(subsets, options, command)
        record = json.loads(json_bytes(measured))  # what is drawn is what is written
    try:
        drawn = output_files(record)
    except (LookupError, TypeError, AttributeError, ArithmeticError) as error:
        if not arguments.record:
            raise
        raise ValueError(f"--record {arguments.record}: not a whole results.json ({error!r}); {MEASURE}") from error
    write_set(arguments.out, drawn)
    print(f"\nopen {arguments.out / 'report.html'}")
    return 0


if __name__ == "__main__":
    cli.run(main)
