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
from report.tables import (
    cost_table,
    detector_table,
    faces_text,
    machine_text,
    markdown,
    peers_table,
    scores_table,
    shipped_table,
    stages_table,
    study_table,
)

INDEX = "weights/index.json"
RESULTS = "docs/results"
DETECTOR = "detector"  # the "kind" of an entry of the index that places no landmarks
FITTED = "_shape_model"  # ends the name of a record where the weights' own shape model read the heatmaps
MARK = re.compile(r"<!-- table: (\w+) ?(\w*) -->")
END = "<!-- end of table -->"


class Source(NamedTuple):
    """Where a table's figures come from.

    Attributes:
        root: folder of the project.
        folder: the document's, for links.
        name: the word after the table's name, or "".
    """

    root: Path
    folder: Path
    name: str

    def read(self, path: str) -> Any:
        """A JSON file below the root, or a list of the values of a .jsonl file.

        Raises:
            ValueError: it is missing or damaged.
        """
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

    def link(self, path: str) -> str:
        """A link from the document to a file below the root."""
        there = Path(os.path.relpath(self.root / path, self.folder)).as_posix()
        return f"[{there}]({there})"


def _shipped(source: Source) -> tuple[dict[str, Any], dict[str, Any]]:
    """The entries of all weights that place landmarks, and the evaluation of each."""
    index = {name: each for name, each in source.read(INDEX).items() if each.get("kind") != DETECTOR}
    return index, {name: source.read(each["metrics"]) for name, each in index.items()}


def _stages(source: Source) -> str:
    entry = source.entry()
    return markdown(*stages_table(source.read(entry["metrics"]), source.read(f"{entry['run']}/log.jsonl")))


def _record(source: Source) -> str:
    entry, score = source.entry(), ""
    for key, text, digits in (
        ("validation_nme", "validation NME", 2),
        ("validation_average_precision", "validation average precision", 1),
    ):
        score += f"{text} {100 * entry[key]:.{digits}f} %, " if key in entry else ""
    run, figures = source.link(f"{entry['run']}/run.json"), source.link(entry["metrics"])
    return f"Seed {entry['seed']}, {score}SHA-256 `{entry['sha256'][:16]}...`; record: {run}, all figures: {figures}."


def _cost(source: Source) -> str:
    record = source.read(f"{RESULTS}/cost.json")
    return f"{machine_text(record)}\n\n{markdown(*cost_table(record))}"


TABLES: dict[str, Callable[[Source], str]] = {
    "shipped": lambda source: markdown(*shipped_table(*_shipped(source))),
    "faces": lambda source: faces_text(_shipped(source)[1].values()),
    "scores": lambda source: markdown(*scores_table(source.result())),
    "fitted": lambda source: markdown(*scores_table(source.result(FITTED))),
    "stages": _stages,
    "record": _record,
    "study": lambda source: markdown(*study_table(source.result())),
    "cost": _cost,
    "peers": lambda source: markdown(*peers_table(source.read(f"{RESULTS}/peers.json"))),
    "detector": lambda source: markdown(*detector_table(source.result())),
}


def rewritten(root: Path) -> dict[Path, str]:
    """The documents whose tables differ from the records, by path with the text that each should have.

    Raises:
        ValueError: a mark is wrong or its record is missing; the message starts with file and line.
    """
    docs = root / "docs"
    documents = [root / "README.md", *sorted(docs.glob("*.md")), *sorted(docs.glob("runs/*/README.md"))]
    texts = {path: path.read_text(encoding="utf-8") for path in documents if path.is_file()}
    made = {path: fill(text, root, path) for path, text in texts.items()}
    return {path: text for path, text in made.items() if text != texts[path]}


def fill(text: str, root: Path, path: Path) -> str:
    """A document's text with its tables from the records; arguments and errors as in `rewritten`."""
    lines, begun, file = [], 0, path.relative_to(root).as_posix()
    for number, line in enumerate(text.split("\n"), start=1):
        mark, ends = MARK.fullmatch(line.strip()), line.strip() == END
        if begun and mark:
            break
        if ends and not begun:
            raise ValueError(f"{file}:{number}: no table begins before this {END}")
        if mark or ends or not begun:
            lines.append(line)
        if mark:
            lines.append(_table(mark[1], Source(root, path.parent, mark[2]), f"{file}:{number}"))
        begun = number if mark else 0 if ends else begun
    if begun:
        raise ValueError(f"{file}:{begun}: the table has no {END}")
    return "\n".join(lines)


def _table(kind: str, source: Source, where: str) -> str:
    if kind not in TABLES:
        raise ValueError(f"{where}: no table is called '{kind}'; known: {', '.join(TABLES)}")
    try:
        return TABLES[kind](source)
    except KeyError as error:
        raise ValueError(f"{where}: the record lacks {error}") from error
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
