"""Ships a run's best weights: copies them into weights/ with a record of where they come from.

Copies best.params with its .json, adds an entry with SHA-256 and commands to weights/index.json, and puts the run's
record into docs/runs/NAME and the figures of an evaluation into docs/results/NAME.json. Paths of this machine become
DIR or runs/..., names of faces are removed. Then it regenerates the documents' tables, as tools/documents.py does.

--halve only writes best_float16.params beside best.params; evaluate that copy to ship it. A shape model that the run
fitted ships as NAME.shape.npz; a second --results then holds the evaluation with it. For a face detector --results may
be repeated, once for each data set.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any, Callable, Sequence

from common import cli
from common.files import exclusive, make_folder, write_text
from common.readers import read_json
from engine.record import best_error
from gluon_models import file_sha256
from gluon_models.detector.weights import NAMES, detector_name
from gluon_models.registry import get_paper
from gluon_models.weights import halve, read_info
from inference.shape_model import FILE_NAME as SHAPE
from report.documents import DETECTOR, FITTED
from tools import documents

ROOT = Path(__file__).resolve().parent.parent
LARGEST = 60 * 10**6  # bytes of a file that ships
HALVED = "best_float16.params"


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = cli.make_parser(__doc__)
    parser.add_argument("run", metavar="RUN", type=cli.path, help="folder of a finished training run")
    parser.add_argument("--halve", action="store_true", help="write a float16 copy to evaluate and ship")
    parser.add_argument("--name", help="of the files; the model's own name makes them its default weights")
    results = "output of evaluate.py or tools.evaluate_detector for these weights"
    parser.add_argument("--results", metavar="DIR", action="append", type=cli.file_path, help=results)
    parser.add_argument("--trained-on", metavar="TEXT", help="description of the training faces")
    parser.add_argument("--trained-on-short", metavar="TEXT", help="a short one for the table in docs/results.md")
    terms = "licence of the weights"
    parser.add_argument("--terms", metavar="TEXT", default="research only; see README.md", help=terms)
    parser.add_argument("--root", type=cli.file_path, default=ROOT, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    missing = [name for name in ("name", "results", "trained_on") if not getattr(arguments, name)]
    if missing and not arguments.halve:
        raise ValueError(f"--{missing[0].replace('_', '-')} is missing: see --help")
    return arguments


def _public_path(path: str) -> str:
    """A path as the records name it: what ships as weights/FILE, a run or a file of one as runs/..."""
    parts = Path(path).parts
    if "weights" in parts:
        return "/".join(parts[parts.index("weights") :])
    return "/".join(("runs", *parts[-2 if Path(path).suffix else -1 :]))


# How the value of an option, by its name in Python, is published; values of other options hold no path.
PUBLIC: dict[str, Callable[[str], str]] = {
    **dict.fromkeys(("init", "baseline", "out", "resume", "shape_model", "weights"), _public_path),
    **dict.fromkeys(("backbone_weights", "imagenet", "exclude"), lambda path: Path(path).name),
    **dict.fromkeys(("data", "background", "backgrounds"), lambda path: "DIR"),
    # A file of centernet_slim's training; the hourglass's is a version, such as v1.
    "backbone": lambda value: _public_path(value) if Path(value).suffix else value,
    "more": lambda named: re.sub("=.*", "=DIR", named),
}


def _public_value(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_public_value(name, each) for each in value]
    return PUBLIC[name](value) if name in PUBLIC and isinstance(value, str) else value


def public_command(command: str) -> str:
    """A command without paths of the machine that it ran on."""
    text = shlex.split(re.sub(r"\S*/(?=\w+\.py )", "", command))
    for number, option in enumerate(text[:-1], start=1):
        if option.startswith("--"):
            text[number] = _public_value(option[2:].replace("-", "_"), text[number])
    return shlex.join(text)


def public_record(record: dict[str, Any]) -> dict[str, Any]:
    """run.json or metrics.json without paths of this machine and names of faces."""
    public = {name: value for name, value in record.items() if name != "names"}
    public.update({name: empty for name, empty in (("skipped", {}), ("missing", [])) if name in record})
    if "arguments" in record:
        public["arguments"] = {name: _public_value(name, value) for name, value in record["arguments"].items()}
    return {**public, "command": public_command(record["command"])}


def commands_of(run: Path, index: dict[str, Any]) -> list[str]:
    """The commands that made a run's weights, beginning with the weights it started from."""
    record = read_json(run / "run.json")
    before: list[str] = []
    for start in filter(None, (record["arguments"].get(option) for option in ("init", "baseline"))):
        shipped = index.get(Path(start).stem)
        commands = shipped["commands"] if shipped else commands_of(Path(start).parent, index)
        before += [each for each in commands if each not in before]
    return [*before, public_command(record["command"])]


def shipped_file(run: Path, record: dict[str, Any], evaluations: Sequence[dict[str, Any]]) -> Path:
    """The weights that ship: the best ones of a run or their float16 copy, whichever was evaluated.

    Raises:
        ValueError: the run is not finished, the file is too large, or the evaluations do not fit it.
    """
    if "result" not in record:
        raise ValueError(f"{run} is not finished: continue it with --resume {run}")
    shape = run / SHAPE
    fitted = [each.get("shape_model_sha256", "") for each in evaluations[1:]]
    if not _is_detector(record) and fitted not in ([], [shape.is_file() and file_sha256(shape)]):
        raise ValueError("a landmark network ships with one evaluation, and one by the run's own shape model if any")
    files = {file_sha256(path): path for path in (run / HALVED, run / "best.params") if path.is_file()}
    measured = {each["weights_sha256"] for each in evaluations}
    if measured - set(files):
        raise ValueError(f"the evaluation is not of {run / 'best.params'}: evaluate it with --weights")
    if len(measured) > 1:
        raise ValueError("the evaluations are not all of one file: measure the one that ships everywhere")
    weights = files[measured.pop()]
    if weights.stat().st_size > LARGEST:
        raise ValueError(f"{weights} is larger than {LARGEST // 10**6} MB: it cannot ship")
    return weights


def ship(run: Path, name: str, evaluations: Sequence[dict[str, Any]], root: Path, **about: str) -> None:
    """Checks first, then writes: the index after everything that it names, and the documents, which show it, last.

    Args:
        run: folder of a finished run.
        name: of the shipped files.
        evaluations: contents of metrics.json.
        root: folder of the project.
        about: further values of the index entry: "data" and "terms", and "short" if any.

    Raises:
        ValueError: as in `shipped_file`.
    """
    record, index = read_json(run / "run.json"), read_json(root / "weights" / "index.json")
    weights = shipped_file(run, record, evaluations)
    results, sha256 = [public_record(each) for each in evaluations], file_sha256(weights)
    if _is_detector(record):
        average = 1 - best_error(record)
        described = {"kind": DETECTOR, "model": detector_name(weights), "validation_average_precision": average}
        written = {name: {"model": results[0]["model"], "weights_sha256": sha256, "evaluations": results}}
    else:
        model = read_info(weights).model
        described = {"model": model, **get_paper(model), "validation_nme": best_error(record)}
        written = dict(zip((name, name + FITTED), results))
    entry = {
        "file": f"{name}.params",
        "sha256": sha256,
        **described,
        "commands": commands_of(run, index),
        "seed": record["arguments"]["seed"],
        **about,
        "run": f"docs/runs/{name}",
        "metrics": f"docs/results/{name}.json",
    }
    folder = make_folder(root / entry["run"])
    _write(folder / "run.json", public_record(record))
    for file in ("log.jsonl", "curve.png"):
        shutil.copyfile(run / file, folder / file)
    for result, content in written.items():
        _write(make_folder(root / "docs" / "results") / f"{result}.json", content)
    for suffix in (".params", ".json"):
        shutil.copyfile(weights.with_suffix(suffix), root / "weights" / (name + suffix))
    if (run / SHAPE).is_file():
        shape = root / "weights" / f"{name}.{SHAPE}"
        shutil.copyfile(run / SHAPE, shape)
        entry["shape_model"] = {"file": shape.name, "sha256": file_sha256(shape)}
    _write(root / "weights" / "index.json", {**index, name: entry})
    documents.rewrite(root)


def main(argv: Sequence[str] | None = None) -> int:
    """Ships a run, or halves its weights."""
    arguments = parse(argv)
    run = Path(arguments.run)
    if arguments.halve:
        halve(run / "best.params", run / HALVED)
        print(f"evaluate {run / HALVED}, then ship it")
        return 0
    about = {"data": arguments.trained_on, "short": arguments.trained_on_short, "terms": arguments.terms}
    about = {key: text for key, text in about.items() if text}
    results = [read_json(folder / "metrics.json") for folder in arguments.results]
    with exclusive(arguments.root / "weights", "wait for it to end"):  # the index is read and written again
        ship(run, arguments.name, results, arguments.root, **about)
    return 0


def _is_detector(record: dict[str, Any]) -> bool:
    return record["arguments"]["model"] in NAMES


def _write(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=1 if "results" in path.parts else 2) + "\n")


if __name__ == "__main__":
    cli.run(main)
