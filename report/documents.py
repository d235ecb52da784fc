"""Generated tables in README.md, docs/ and the diaries in docs/runs/: no figure in them is typed.

In a document everything between `<!-- table: NAME -->` and `<!-- end of table -->`, each on a line of its own, is
replaced by the table NAME, a key of TABLES; some take one more word, such as the name of weights.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Callable, NamedTuple

from common.readers import read_json, read_json_lines
from report import tables
from report.tables import markdown

INDEX = "weights/index.json"
RESULTS = "docs/results"
DETECTOR = "detector"  # the "kind" of an entry of the index that places no landmarks
FITTED = "_shape_model"  # ends the name of a record where the weights' own shape model read the heatmaps
END = "<!-- end of table -->"
MARK = re.compile(r"^ *<!-- table: (\w+) ?(\w*) --> *$|^ *" + END + " *$", re.MULTILINE)


class Source(NamedTuple):
    """Where a table's figures come from: the project's folder, the document's, and the word after the table's name."""

    root: Path
    folder: Path
    name: str

    def read(self, path: str) -> Any:
        """A JSON file below the root, or the values of a .jsonl file; ValueError if it is missing or damaged."""
        try:
            read = read_json_lines if path.endswith("l") else read_json
            return read(self.root / path)
        except FileNotFoundError:
            raise ValueError(f"{path} is not on record") from None
        except ValueError as error:
            raise ValueError(f"{path} is damaged ({error})") from None

    def result(self, suffix: str = "") -> Any:
        """The record docs/results/NAME<suffix>.json."""
        return self.read(f"{RESULTS}/{self.name}{suffix}.json")

    def entry(self) -> dict[str, Any]:
        """The entry of the index that the table is about."""
        index = self.read(INDEX)
        if self.name not in index:
            raise ValueError(f"no weights '{self.name}' in {INDEX}, only {', '.join(index)}")
        return index[self.name]

    def shipped(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The entries of all weights that place landmarks, and the evaluation of each."""
        index = {name: each for name, each in self.read(INDEX).items() if each.get("kind") != DETECTOR}
        return index, {name: self.read(each["metrics"]) for name, each in index.items()}

    def path(self, path: str) -> str:
        """The way from the document to a file below the root."""
        return Path(os.path.relpath(self.root / path, self.folder)).as_posix()


def _shipped(source: Source) -> str:
    index, records = source.shipped()
    for entry in index.values():
        entry["megabytes"] = (source.root / "weights" / entry["file"]).stat().st_size / 1e6
        entry.update({key: source.path(entry[key]) for key in ("code", "ledger")})
    return markdown(*tables.shipped_table(index, records, source.read(f"{RESULTS}/cost.json")))


def _stages(source: Source) -> str:
    entry = source.entry()
    return markdown(*tables.stages_table(source.read(entry["metrics"]), source.read(f"{entry['run']}/log.jsonl")))


def _record(source: Source) -> str:
    entry, score = source.entry(), ""
    if "validation_nme" in entry:
        score = f"validation NME {100 * entry['validation_nme']:.2f} %, "
    elif "validation_average_precision" in entry:
        score = f"validation average precision {100 * entry['validation_average_precision']:.1f} %, "
    run, figures = (f"[{path}]({path})" for path in map(source.path, (f"{entry['run']}/run.json", entry["metrics"])))
    return f"Seed {entry['seed']}, {score}SHA-256 `{entry['sha256'][:16]}...`; record: {run}, all figures: {figures}."


def _cost(source: Source) -> str:
    record = source.read(f"{RESULTS}/cost.json")
    return f"{tables.machine_text(record)}\n\n{markdown(*tables.cost_table(record))}"


def _detectors(source: Source) -> str:
    index = {name: each for name, each in source.read(INDEX).items() if each.get("kind") == DETECTOR}
    return markdown(*tables.detector_table(source.read(each["metrics"]) for each in index.values()))


TABLES: dict[str, Callable[[Source], str]] = {
    "shipped": _shipped,
    "errors": lambda source: markdown(*tables.errors_table(*source.shipped())),
    "faces": lambda source: tables.faces_text(source.shipped()[1].values()),
    "scores": lambda source: markdown(*tables.scores_table(source.result())),
    "fitted": lambda source: markdown(*tables.scores_table(source.result(FITTED))),
    "stages": _stages,
    "record": _record,
    "study": lambda source: markdown(*tables.study_table(source.result())),
    "cost": _cost,
    "peers": lambda source: markdown(*tables.peers_table(source.read(f"{RESULTS}/peers.json"))),
    "detectors": _detectors,
}


def rewritten(root: Path) -> dict[Path, str]:
    """The documents whose tables differ from the records, by path with the text that each should have.

    Raises:
        ValueError: a mark is wrong or its record is missing; the message starts with file and line.
    """
    docs = root / "docs"
    documents = [root / "README.md", *sorted(docs.glob("*.md")), *sorted(docs.glob("runs/*/README.md"))]
    texts = {path: path.read_text(encoding="utf-8") for path in documents if path.is_file()}
    made = {path: _fill(text, root, path) for path, text in texts.items()}
    return {path: text for path, text in made.items() if text != texts[path]}


def _fill(text: str, root: Path, path: Path) -> str:
    """A document's text with its tables from the records."""
    pieces, position, begun = [], 0, ""
    for mark in MARK.finditer(text):
        where = f"{path.relative_to(root).as_posix()}:{1 + text.count(chr(10), 0, mark.start())}"
        if begun and mark[1]:
            break
        if mark[1]:
            source = Source(root, path.parent, mark[2])
            pieces += [text[position : mark.end()], "\n", _table(mark[1], source, where), "\n"]
        elif not begun:
            raise ValueError(f"{where}: no table begins before this {END}")
        position, begun = mark.start(), where if mark[1] else ""
    if begun:
        raise ValueError(f"{begun}: the table has no {END}")
    return "".join([*pieces, text[position:]])


def _table(kind: str, source: Source, where: str) -> str:
    if kind not in TABLES:
        raise ValueError(f"{where}: no table is called '{kind}'; known: {', '.join(TABLES)}")
    try:
        return TABLES[kind](source)
    except KeyError as error:
        raise ValueError(f"{where}: the record lacks {error}") from error
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
