"""Takes a run's best weights into weights/, with all that says where they come from.

Copies best.params with its .json, adds the entry of weights/index.json with SHA-256 and commands, puts the run's record
into docs/runs/NAME and the figures of an evaluation into docs/results/NAME.json. Paths of this machine become DIR or
runs/..., names of faces are left out. Then the tables of README.md and docs/ are made anew, as tools/documents.py does.

--halve writes best_float16.params beside best.params and does nothing else; evaluate that copy, and it is what ships.
A shape model that the run fitted ships as NAME.shape.npz; --results may then be given twice, the second time of an
evaluation with it. A face detector's may be given several times, for photos of several data sets.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any, Sequence

from common import cli
from common.files import make_folder, write_text
from engine.record import best_error
from gluon_models import file_sha256
from gluon_models.detector.network import SETTINGS
from gluon_models.detector.weights import detector_name
from gluon_models.weights import halve, read_info
from inference.shape_model import FILE_NAME as SHAPE
from report.document_tables import DETECTOR
from report.documents import FITTED
from tools import documents

ROOT = Path(__file__).resolve().parent.parent
LARGEST = 60 * 10**6  # bytes of a file that ships
HALVED = "best_float16.params"
RUN_PATHS = ("init", "baseline", "out", "resume", "shape_model", "weights")
FILES = ("backbone_weights", "imagenet", "exclude")
FOLDERS = ("data", "background")
SCRIPT_FOLDER = re.compile(r"\S*/(?=\w+\.py )")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = cli.make_parser(__doc__)
    parser.add_argument("run", metavar="RUN", help="folder of a finished training run")
    parser.add_argument("--halve", action="store_true", help="write the float16 copy, to be evaluated and shipped")
    parser.add_argument("--name", help="of the files; the model's own makes them its default weights")
    results = "what evaluate.py or tools/evaluate_detector.py wrote about these weights"
    parser.add_argument("--results", metavar="DIR", action="append", help=results)
    parser.add_argument("--trained-on", metavar="TEXT", help="the faces, in words")
    parser.add_argument("--trained-on-short", metavar="TEXT", help="the same for the table in README.md, in few words")
    parser.add_argument("--terms", metavar="TEXT", default="research only; see README.md", help="of the weights")
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    missing = [name for name in ("name", "results", "trained_on") if not getattr(arguments, name)]
    if missing and not arguments.halve:
        raise ValueError(f"--{missing[0].replace('_', '-')} is missing: see --help")
    return arguments


def public_path(path: str) -> str:
    """A path as the records name it: what ships as weights/FILE, a run or a file of one as runs/..."""
    parts = Path(path).parts
    if "weights" in parts:
        return "/".join(parts[parts.index("weights") :])
    return "/".join(("runs", *parts[-2 if Path(path).suffix else -1 :]))


def public_value(name: str, value: str) -> str:
    """The value of an option, by the option's name in Python, without the paths of the machine."""
    if name in RUN_PATHS:
        return public_path(value)
    if name in FILES:
        return Path(value).name
    if name == "more":
        return re.sub("=.*", "=DIR", value)
    return "DIR" if name in FOLDERS else value


def public_command(command: str) -> str:
    """A command of a run record without the paths of the machine it ran on."""
    text = shlex.split(SCRIPT_FOLDER.sub("", command))
    for i, option in enumerate(text[:-1]):
        if option.startswith("--"):
            text[i + 1] = public_value(option[2:].replace("-", "_"), text[i + 1])
    return shlex.join(text)


def public_record(record: dict[str, Any]) -> dict[str, Any]:
    """run.json without the paths of the machine."""
    arguments = dict(record["arguments"])
    for name, value in arguments.items():
        if isinstance(value, str):
            arguments[name] = public_value(name, value)
        elif isinstance(value, list):
            arguments[name] = [public_value(name, each) if isinstance(each, str) else each for each in value]
    return {**record, "command": public_command(record["command"]), "arguments": arguments}


def public_results(results: dict[str, Any]) -> dict[str, Any]:
    """metrics.json without the paths of the machine and the names of faces."""
    kept = {name: value for name, value in results.items() if name != "names"}
    return {**kept, "command": public_command(results["command"]), "skipped": {}, "missing": []}


def public_detection(evaluations: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The evaluations of a detector as one record, without the paths of the machine."""
    public = [{**each, "command": public_command(each["command"])} for each in evaluations]
    return {"model": public[0]["model"], "weights_sha256": public[0]["weights_sha256"], "evaluations": public}


def is_detector(record: dict[str, Any]) -> bool:
    """Whether a run trained a face detector."""
    return record["arguments"]["model"] in SETTINGS


def commands_of(run: Path, index: dict[str, Any]) -> list[str]:
    """The commands that made a run's weights, those of the weights it started from first."""
    record = _read(run / "run.json")
    before: list[str] = []
    for option in ("init", "baseline"):
        start = record["arguments"].get(option)
        if start:
            shipped = index.get(Path(start).stem)
            commands = shipped["commands"] if shipped else commands_of(Path(start).parent, index)
            before += [each for each in commands if each not in before]
    return [*before, public_command(record["command"])]


def evaluated_weights(run: Path, sha256: str) -> Path:
    """The run's weights that an evaluation is of: the best ones or their float16 copy.

    Raises:
        ValueError: it is of other weights.
    """
    for weights in (run / "best.params", run / HALVED):
        if weights.is_file() and file_sha256(weights) == sha256:
            return weights
    raise ValueError(f"the evaluation is not of {run / 'best.params'}: evaluate it with --weights")


def by_shape_model(run: Path, further: Sequence[dict[str, Any]]) -> bool:
    """Whether further evaluations are none, or one by the shape model that the run fitted."""
    shape = run / SHAPE
    return [each.get("shape_model_sha256", "") for each in further] in ([], [shape.is_file() and file_sha256(shape)])


def check(run: Path, record: dict[str, Any], evaluations: Sequence[dict[str, Any]]) -> Path:
    """The file that ships, which is refused where it may not.

    Raises:
        ValueError: the run is not finished, the file is too large, or the figures are of other weights.
    """
    if "result" not in record:
        raise ValueError(f"{run} is not finished: go on with --resume {run}")
    if not (is_detector(record) or by_shape_model(run, evaluations[1:])):
        raise ValueError("a landmark network ships with one evaluation, and one by the run's own shape model if any")
    weights, *others = (evaluated_weights(run, each["weights_sha256"]) for each in evaluations)
    if set(others) - {weights}:
        raise ValueError("the evaluations are not all of one file: measure the one that ships everywhere")
    if weights.stat().st_size > LARGEST:
        raise ValueError(f"{weights} is larger than {LARGEST // 10**6} MB: it cannot ship")
    return weights


def learnt(record: dict[str, Any], weights: Path) -> dict[str, Any]:
    """What the index says of a network itself: its name and how well it did on validation data."""
    best = best_error(record)
    if is_detector(record):
        return {"kind": DETECTOR, "model": detector_name(weights), "validation_average_precision": 1 - best}
    return {"model": read_info(weights).model, "validation_nme": best}


def main(argv: Sequence[str] | None = None) -> int:
    """Checks first, then writes: the index after all that it names, and the documents, which show it, last."""
    arguments = parse(argv)
    run, root, name = Path(arguments.run), arguments.root, arguments.name
    if arguments.halve:
        halve(run / "best.params", run / HALVED)
        print(f"evaluate {run / HALVED}, then ship it")
        return 0
    record = _read(run / "run.json")
    evaluations = [_read(Path(folder) / "metrics.json") for folder in arguments.results]
    weights = check(run, record, evaluations)
    about = learnt(record, weights)
    results = public_detection(evaluations) if is_detector(record) else public_results(evaluations[0])
    index = _read(root / "weights" / "index.json")
    commands = commands_of(run, index)
    record_folder = make_folder(root / "docs" / "runs" / name)
    write_text(record_folder / "run.json", json.dumps(public_record(record), indent=2) + "\n")
    for file in ("log.jsonl", "curve.png"):
        shutil.copyfile(run / file, record_folder / file)
    make_folder(root / "docs" / "results")
    write_text(root / "docs" / "results" / f"{name}.json", json.dumps(results, indent=1) + "\n")
    for suffix in (".params", ".json"):
        shutil.copyfile(weights.with_suffix(suffix), root / "weights" / (name + suffix))
    index[name] = {
        "file": f"{name}.params",
        "sha256": results["weights_sha256"],
        **about,
        "commands": commands,
        "seed": record["arguments"]["seed"],
        "data": arguments.trained_on,
        **({"short": arguments.trained_on_short} if arguments.trained_on_short else {}),
        "terms": arguments.terms,
        "run": f"docs/runs/{name}",
        "metrics": f"docs/results/{name}.json",
    }
    if (run / SHAPE).is_file():
        shape = root / "weights" / f"{name}.{SHAPE}"
        shutil.copyfile(run / SHAPE, shape)
        index[name]["shape_model"] = {"file": shape.name, "sha256": file_sha256(shape)}
        for fitted in evaluations[1:]:
            text = json.dumps(public_results(fitted), indent=1) + "\n"
            write_text(root / "docs" / "results" / f"{name}{FITTED}.json", text)
    write_text(root / "weights" / "index.json", json.dumps(index, indent=2) + "\n")
    documents.rewrite(root)
    return 0


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    cli.run(main)
