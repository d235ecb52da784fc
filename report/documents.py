"""Tables in README.md and docs/ that are made from what is on record, so that none of their figures is typed.

In a document all that stands between `<!-- table: NAME -->` and `<!-- end of table -->`, each on a line of its own, is
replaced by what is on record under NAME, a key of TABLES; some take a word more, such as the name of weights.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, NamedTuple

from report.cost_tables import cost_table, peers_table
from report.detector_tables import detector_table
from report.document_tables import (
    DETECTOR,
    faces_line,
    record_line,
    scores_table,
    shipped_table,
    stages_table,
    study_table,
)

INDEX = "weights/index.json"
RESULTS = "docs/results"
FITTED = "_shape_model"  # what the name of a record ends with where the weights' own shape model read the maps
END = "<!-- end of table -->"
_BEGIN = re.compile(r"<!--\s*table:\s*(.*?)\s*-->")


@dataclass(frozen=True)
class Source:
    """Where a table's figures come from.

    Attributes:
        root: Folder of the project; paths of records are below it.
        folder: The document's.
        name: What the table is of, "" for a table of everything.
    """

    root: Path
    folder: Path
    name: str

    def read(self, path: str) -> dict[str, Any]:
        """A JSON file below the root.

        Raises:
            ValueError: it is not there, or damaged.
        """
        return self._parsed(path, json.loads)

    def read_lines(self, path: str) -> list[dict[str, Any]]:
        """The same of a file that has one JSON value a line."""
        return self._parsed(path, lambda text: [json.loads(line) for line in text.splitlines()])

    def _parsed(self, path: str, parse: Callable[[str], Any]) -> Any:
        try:
            return parse((self.root / path).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ValueError(f"{path} is not on record") from None
        except ValueError as error:
            raise ValueError(f"{path} is damaged ({error})") from None

    def entry(self) -> dict[str, Any]:
        """The entry of the index that the table is of."""
        index = self.read(INDEX)
        if self.name not in index:
            raise ValueError(f"no weights '{self.name}' in {INDEX}, but {', '.join(index)}")
        return index[self.name]

    def link(self, path: str) -> str:
        """A link from the document to a file below the root."""
        there = Path(os.path.relpath(self.root / path, self.folder)).as_posix()
        return f"[{there}]({there})"


def _shipped(source: Source) -> str:
    return shipped_table(*_shipped_records(source))


def _faces(source: Source) -> str:
    return faces_line(_shipped_records(source)[1].values())


def _shipped_records(source: Source) -> tuple[dict[str, Any], dict[str, Any]]:
    """The entries of all weights that place landmarks, and the evaluation of each."""
    index = source.read(INDEX)
    placing = {name: entry for name, entry in index.items() if entry.get("kind") != DETECTOR}
    return placing, {name: source.read(entry["metrics"]) for name, entry in placing.items()}


def _scores(source: Source) -> str:
    return scores_table(source.read(_placing(source)["metrics"]))


def _fitted(source: Source) -> str:
    return _once_measured(source, source.name + FITTED, scores_table)


def _stages(source: Source) -> str:
    entry = _placing(source)
    return stages_table(source.read(entry["metrics"]), source.read_lines(f"{entry['run']}/log.jsonl"))


def _placing(source: Source) -> dict[str, Any]:
    """The entry of weights that place landmarks."""
    entry = source.entry()
    if entry.get("kind") == DETECTOR:
        raise ValueError(f"'{source.name}' is a detector: it has no scores of landmarks")
    return entry


def _record(source: Source) -> str:
    entry = source.entry()
    return record_line(entry, source.link(f"{entry['run']}/run.json"), source.link(entry["metrics"]))


def _study(source: Source) -> str:
    return study_table(source.read(f"{RESULTS}/{source.name}.json"))


def _cost(source: Source) -> str:
    return _once_measured(source, "cost", cost_table)


def _peers(source: Source) -> str:
    return _once_measured(source, "peers", peers_table)


def _detector(source: Source) -> str:
    return _once_measured(source, source.name, detector_table)


def _once_measured(source: Source, name: str, make: Callable[[dict[str, Any]], str]) -> str:
    """The table of a result that a document may wait for."""
    path = f"{RESULTS}/{name}.json"
    return make(source.read(path)) if (source.root / path).is_file() else "Not measured yet."


class Table(NamedTuple):
    """A kind of table: what makes it, and the words that follow its name in the mark."""

    make: Callable[[Source], str]
    text: str = ""


TABLES = {
    "shipped": Table(_shipped),
    "faces": Table(_faces),
    "scores": Table(_scores, " WEIGHTS"),
    "fitted": Table(_fitted, " WEIGHTS"),
    "stages": Table(_stages, " WEIGHTS"),
    "record": Table(_record, " WEIGHTS"),
    "study": Table(_study, " STUDY"),
    "cost": Table(_cost),
    "peers": Table(_peers),
    "detector": Table(_detector, " WEIGHTS"),
}


def rewritten(root: Path) -> dict[Path, str]:
    """README.md, the pages of docs/ and the diaries of docs/runs/ whose tables are not those on record.

    Returns:
        By path, the text that each should have.

    Raises:
        ValueError: a mark is wrong or names what is not on record; the message starts with file and line.
    """
    pages = (*sorted((root / "docs").glob("*.md")), *sorted((root / "docs" / "runs").glob("*/README.md")))
    documents = [path for path in (root / "README.md", *pages) if path.is_file()]
    texts = {path: path.read_text(encoding="utf-8") for path in documents}
    made = {path: fill(text, root, path) for path, text in texts.items()}
    return {path: text for path, text in made.items() if text != texts[path]}


def fill(text: str, root: Path, path: Path) -> str:
    """A document's text with every table made anew.

    Args:
        text: of the document.
        root: folder of the project.
        path: of the document, for messages and links.

    Raises:
        ValueError: as in `rewritten`.
    """
    lines, begun, file = [], 0, path.relative_to(root).as_posix()
    for number, line in enumerate(text.split("\n"), start=1):
        begin = _BEGIN.fullmatch(line.strip())
        if begin and not begun:
            begun = number
            lines += [line, _table(begin[1], root, path, f"{file}:{number}")]
        elif line.strip() == END:
            if not begun:
                raise ValueError(f"{file}:{number}: no table begins before this {END}")
            begun = 0
            lines.append(line)
        elif begin:
            break
        elif not begun:
            lines.append(line)
    if begun:
        raise ValueError(f"{file}:{begun}: the table has no {END}")
    return "\n".join(lines)


def _table(text: str, root: Path, path: Path, where: str) -> str:
    kind, _, name = text.partition(" ")
    if kind not in TABLES or bool(name) != bool(TABLES[kind].text):
        known = ", ".join(key + table.text for key, table in TABLES.items())
        raise ValueError(f"{where}: no table is called '{text}'; known: {known}")
    try:
        return TABLES[kind].make(Source(root, path.parent, name))
    except KeyError as error:
        raise ValueError(f"{where}: what is on record for '{text}' lacks {error}") from error
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
