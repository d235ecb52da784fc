"""Measures every network that ships on every data set it fits, and puts the figures side by side with the papers'.

DIR holds data sets by their names on the command line, such as DIR/300w. Each evaluation is evaluate.py's own, with its
command on record. Writes results.json, results.md with its pictures, and report.html, a page that needs no network. No
photo and no name of one is in them. Without --data the faces are rendered. The tables of README.md and docs/*.md are
tools/documents.py's.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, Sequence

import numpy as np

import evaluate
from common import cli
from common.files import write_set
from datasets.catalog import CATALOG, RENDERED_SUBSETS, load_subset
from datasets.markups import IBUG_68
from datasets.render.mesh import NUM_IDENTITY, Expression, make_controls
from engine.record import git_state, versions
from evaluation.metrics import ced
from evaluation.protocols import get_protocol
from evaluation.published import CONTEXT, WITH_SHAPE_MODEL, Published, find
from evaluation.resampling import paired_difference
from gluon_models import list_models
from gluon_models.weights import SHIPPED_FOLDER, read_info
from report.comparison import NORMALIZER_WORDS, Row
from report.document_tables import DETECTOR
from report.documents import FITTED
from report.outputs import json_bytes
from report.plots import to_png
from report.results_page import draw_ceds, render_results
from report.results_tables import by_subset, markdown, stress_curves
from report.stress import draw_stress

OWN = "pts"  # a folder of one's own is no data set that others know
COST = SHIPPED_FOLDER.parent / "docs" / "results" / "cost.json"  # of tools/benchmark.py --model all
CED_STEPS = 240
CED_REACH = 1.5  # of the failure threshold
# What of metrics.json is published: not the names of faces, and nothing of the machine's folders.
KEPT = (
    "model",
    "dataset",
    "subset",
    "normalizer",
    "seed",
    "weights_sha256",
    "boxes",
    "box_margin",
    "device",
    "protocol",
)
FIGURES = ("faces", "results", "per_landmark", "per_region", "point_sets", "table", "remarks", "intervals")


class Subset(NamedTuple):
    """Faces to measure on.

    Attributes:
        dataset: Name of the data set.
        subset: Name of its part.
        root: Folder of the data set, or None for rendered faces.
        markup: Name of its markup.
    """

    dataset: str
    subset: str
    root: Path | None
    markup: str


class System(NamedTuple):
    """What is measured.

    Attributes:
        name: In the results.
        weights: Name of the weights.
        model: Name of their network.
        words: Further words of evaluate.py's command line.
    """

    name: str
    weights: str
    model: str
    words: tuple[str, ...]


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = cli.make_parser(__doc__)
    parser.add_argument("--data", metavar="DIR", type=Path, help="folder of data sets; rendered faces need none")
    parser.add_argument("--datasets", metavar="NAME,...", help="those to take; all that are in DIR if left out")
    parser.add_argument("--stress-faces", type=int, metavar="N", default=100, help="faces made harder; 0 for none")
    parser.add_argument("--count", type=int, default=500, help="rendered faces")
    parser.add_argument("--batch-size", type=int, default=64, help="faces run together at most")
    parser.add_argument("--keep", metavar="DIR", type=Path, help="where evaluate.py's folders stay, which show photos")
    again = "results.json of an earlier time, to draw page and figures from; nothing is measured then"
    parser.add_argument("--record", metavar="FILE", type=Path, help=again)
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder for the results")
    cli.add_device_arguments(parser)
    arguments = parser.parse_args(argv)
    if arguments.stress_faces < 0:
        raise ValueError(f"--stress-faces must be at least 0, not {arguments.stress_faces}")
    return arguments


def find_subsets(root: Path | None, wanted: Sequence[str] | None) -> list[Subset]:
    """The subsets to measure on: of every data set that is there those that nothing is trained on, complete ones first.

    A part of a subset is taken where not all of it is there, unless it is the very faces of another.

    Raises:
        FileNotFoundError: None is there.
    """
    if root is None:
        return [Subset("rendered", subset, None, IBUG_68.name) for subset in RENDERED_SUBSETS]
    found: list[Subset] = []
    for dataset, entry in CATALOG.items():
        if dataset != OWN and dataset in (wanted or CATALOG) and (root / dataset).is_dir():
            parts = [part for part in entry.subsets if part not in ("train", entry.training)]
            found += _parts_there(dataset, root / dataset, parts)
    if not found:
        named = ", ".join(wanted or [name for name in CATALOG if name != OWN])
        raise FileNotFoundError(f"{root} holds no data set to measure on: name the folder that holds one of {named}")
    return found


def _parts_there(dataset: str, root: Path, parts: Sequence[str]) -> list[Subset]:
    complete, partial = [], []
    for part in parts:
        try:
            faces, about = load_subset(dataset, str(root), part, allow_missing=True)
        except (ValueError, OSError) as error:
            print(f"left out: {dataset} {part}: {error}", file=sys.stderr)
            continue
        whole = about.expected == len(faces) and not about.present and not about.missing
        (complete if whole else partial).append((tuple(faces.names), Subset(dataset, part, root, faces.markup.name)))
    taken: dict[tuple[str, ...], Subset] = {}
    for names, subset in complete + partial:
        if names in taken:
            print(f"left out: {dataset} {subset.subset}: the same faces as {taken[names].subset}", file=sys.stderr)
        taken.setdefault(names, subset)
    return list(taken.values())


def shipped() -> dict[str, dict[str, Any]]:
    """The index of the weights that ship, by name."""
    return json.loads((SHIPPED_FOLDER / "index.json").read_text(encoding="utf-8"))


def systems_of(name: str, about: dict[str, Any]) -> list[System]:
    """The weights by themselves, and with the shape model that ships with them, from their entry of the index."""
    shape, model = about.get("shape_model"), about["model"]
    text = ("--shape-model", f"weights/{shape['file']}") if shape else ()
    return [System(name, name, model, ()), *([System(name + FITTED, name, model, text)] if shape else [])]


def evaluate_text(
    system: System, subset: Subset, arguments: argparse.Namespace, further: Sequence[str] = ()
) -> list[str]:
    """The command line of one evaluation as it is published, with further options: without the machine's folders."""
    weights = [] if system.weights == system.model else ["--weights", f"weights/{system.weights}.params"]
    text = ["--model", system.model, *weights, *system.text, "--dataset", subset.dataset, "--subset", subset.subset]
    text += (
        ["--count", str(arguments.count)]
        if subset.root is None
        else ["--data", f"DIR/{subset.dataset}", "--allow-missing"]
    )
    out = f"results/{system.name}/{subset.dataset}_{subset.subset}"
    return [*text, *further, "--seed", str(arguments.seed), "--out", out]


def run_text(argv: Sequence[str], subset: Subset, arguments: argparse.Namespace, folder: Path) -> np.ndarray:
    """Runs a published command line on this machine's folders; the errors of the faces."""
    places = {f"DIR/{subset.dataset}": str(subset.root), argv[argv.index("--out") + 1]: str(folder)}
    here = [
        str(SHIPPED_FOLDER.parent / word) if word.startswith("weights/") else places.get(word, word) for word in argv
    ]
    machine = ["--batch-size", str(arguments.batch_size), *(["--gpus", arguments.gpus] if arguments.gpus else [])]
    evaluate.main([*here, *machine])
    return np.load(folder / "errors.npy")


def run_evaluation(system: System, subset: Subset, arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Evaluates one system on one subset into a folder, and returns what is published of it, with its errors."""
    harder = ["--stress", "--stress-faces", str(arguments.stress_faces)] if arguments.stress_faces else []
    text = evaluate_text(system, subset, arguments, harder)
    errors = run_text(text, subset, arguments, folder)
    metrics, stress = _read(folder / "metrics.json"), folder / "stress.json"
    return {
        "name": system.name,
        "command": shlex.join(["evaluate.py", *text]),
        **{key: metrics[key] for key in (*KEPT, *FIGURES)},
        "ced": ced_curve(np.where(np.isnan(errors), np.inf, errors), metrics["protocol"]["failure_threshold"]),
        "stress": _read(stress)["curves"] if arguments.stress_faces and stress.exists() else None,
        "int8": run_int8(system, subset, arguments, folder / "int8", errors),
        "errors": errors,
    }


def run_int8(
    system: System, subset: Subset, arguments: argparse.Namespace, folder: Path, errors: np.ndarray
) -> dict[str, Any]:
    """By how much the error grows where convolutions run in eight bits; {"missing": why} where they cannot."""
    text = evaluate_text(system, subset, arguments, ["--int8"])
    try:
        in_int8 = run_text(text, subset, arguments, folder)
    except ValueError as error:  # the same command has run without --int8, so it is the twin that fails
        return {"missing": str(error)}
    if not np.isfinite(errors + in_int8).any():
        return {"missing": "no face was found"}
    return {"command": shlex.join(["evaluate.py", *text]), **paired_difference(errors, in_int8)._asdict()}


def ced_curve(errors: np.ndarray, threshold: float) -> dict[str, np.ndarray]:
    """The cumulative error distribution at even steps to somewhat beyond the failure threshold."""
    thresholds = np.linspace(0.0, CED_REACH * threshold, CED_STEPS + 1)
    return {"thresholds": thresholds.round(6), "fractions": ced(errors, thresholds).round(6)}


def pair_differences(entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """How every two networks differ on the faces that both found, the later in the list minus the earlier."""
    return [
        {
            **{key: first[key] for key in ("dataset", "subset")},
            **{"first": first["name"], "second": second["name"]},
            **paired_difference(first["errors"], second["errors"])._asdict(),
        }
        for number, first in enumerate(entries)
        for second in entries[number + 1 :]
        if np.isfinite(first["errors"] + second["errors"]).any()
    ]


def untrained(subset: Subset, models: Sequence[str]) -> list[dict[str, Any]]:
    """Networks without weights on a subset, with the papers' figures that stand there."""
    protocol = get_protocol(subset.dataset, subset.subset)
    entries = []
    for model in models:
        names = (model, model + WITH_SHAPE_MODEL)
        cells = [cell for name in names for cell in find(name, subset.dataset, protocol.part_of or subset.subset)]
        rows = [Row(_quantity(cell), float("nan"), cell.percent, None, f"{cell.paper}, {cell.table}") for cell in cells]
        table = [row._asdict() for row in rows]
        entries.append({"name": model, "dataset": subset.dataset, "subset": subset.subset, "table": table})
    return entries


def _quantity(cell: Published) -> str:
    text = {"mean": "NME", "median": "median", "auc": "AUC"}[cell.statistic]
    inside = " without outline" if cell.without_outline else ""
    length = NORMALIZER_WORDS.get(cell.normalizer, "inter-ocular distance")
    return f"{text}{inside}, {length}" + (WITH_SHAPE_MODEL if cell.model.endswith(WITH_SHAPE_MODEL) else "")


def measure(arguments: argparse.Namespace, subsets: Sequence[Subset], work: Path) -> dict[str, Any]:
    """Evaluates all that fits and returns the record."""
    index = shipped()
    placing = {name: entry for name, entry in index.items() if entry.get("kind") != DETECTOR}
    infos = {name: read_info(SHIPPED_FOLDER / entry["file"]) for name, entry in placing.items()}
    evaluations: list[dict[str, Any]] = []
    pairs: list[dict[str, Any]] = []
    lacking: list[dict[str, Any]] = []
    for subset in subsets:
        entries = []
        fitting = [name for name, info in infos.items() if info.markup == subset.markup]
        for system in [system for name in fitting for system in systems_of(name, index[name])]:
            folder = work / system.name / f"{subset.dataset}_{subset.subset}"
            entry = run_evaluation(system, subset, arguments, folder)
            about = index[system.weights]
            trained = {"data": about["data"], "trained_with_seed": about["seed"], "run": about["run"]}
            entries.append({**entry, **trained, "terms": about["terms"]})
        pairs += pair_differences(entries)
        evaluations += [{key: value for key, value in entry.items() if key != "errors"} for entry in entries]
        measured = {entry["model"] for entry in entries}
        lacking += untrained(subset, [model for model in list_models() if model not in measured])
    command = shlex.join(["tools/results.py", *(["--data", "DIR"] if arguments.data else []), "--out", "results"])
    return {
        "made": {"command": command, "git": git_state(), "versions": versions()},
        "units": "errors, rates and areas are fractions; rows of tables and published figures are per cent",
        "evaluations": evaluations,
        "untrained": lacking,
        "pairs": pairs,
        "cost": _read(COST) if COST.is_file() else None,
        "context": [asdict(cell) for cell in CONTEXT],
    }


def pictures(record: dict[str, Any]) -> dict[tuple[str, str], list[tuple[str, str, bytes]]]:
    """Heading, file name and PNG file of each picture, by subset."""
    made = {}
    for (dataset, subset), entries in by_subset(record).items():
        where = f"{dataset}_{subset}".replace("-", "_")
        drawn = draw_ceds(entries)
        drawn.axes[0].legend(loc="lower right")
        made[dataset, subset] = [("Cumulative error distribution", f"ced_{where}.png", to_png(drawn))]
        systems = {entry["name"]: stress_curves(entry) for entry in entries if entry["stress"]}
        if systems:
            text = f"error over {NORMALIZER_WORDS[entries[0]['normalizer']]}"
            file = draw_stress(systems, text, f"{dataset} {subset}, faces made harder")
            made[dataset, subset].append(("Faces made harder", f"stress_{where}.png", file))
    return made


def schematic_face() -> np.ndarray:
    """The 68 points (68, 2) of the renderer's average face, seen from the front with its mouth open, in mm."""
    average = np.zeros(NUM_IDENTITY)
    return make_controls(average, average, Expression(jaw_open=16.0))[: IBUG_68.num_landmarks, :2]


def output_files(record: dict[str, Any]) -> dict[str, bytes]:
    """Every file of the results, from the record alone."""
    drawn = pictures(record)
    named = {key: [(heading, name) for heading, name, _ in made] for key, made in drawn.items()}
    return {
        "results.json": json_bytes(record),
        "results.md": markdown(record, named).encode(),
        "report.html": render_results(record, schematic_face()).encode(),
        **{name: file for made in drawn.values() for _, name, file in made},
    }


def measured(arguments: argparse.Namespace) -> dict[str, Any]:
    """The record of evaluations as the command line asks for them.

    Raises:
        ValueError, FileNotFoundError: data sets that are not known, or not there.
    """
    wanted = arguments.datasets.split(",") if arguments.datasets else None
    unknown = sorted(set(wanted or ()) - set(CATALOG))
    if unknown:
        raise ValueError(f"--datasets {','.join(unknown)}: choose from {', '.join(CATALOG)}")
    subsets = find_subsets(arguments.data, wanted)
    with tempfile.TemporaryDirectory() as temporary:
        record = measure(arguments, subsets, arguments.keep or Path(temporary))
    return json.loads(json_bytes(record))  # what is drawn is what is written


def recorded(path: Path) -> dict[str, Any]:
    """The record of an earlier time.

    Raises:
        ValueError, FileNotFoundError: it is not there, or damaged.
    """
    if not path.is_file():
        raise FileNotFoundError(f"--record {path}: there is no such file; name a results.json")
    record = _read(path)
    if "evaluations" not in record:
        raise ValueError(f"--record {path}: this is no results.json of tools/results.py")
    return record


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, or takes what was measured, then writes everything at once."""
    arguments = parse(argv)
    record = recorded(arguments.record) if arguments.record else measured(arguments)
    write_set(arguments.out, output_files(record))
    print(f"\nopen {arguments.out / 'report.html'}")
    return 0


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    cli.run(main)
