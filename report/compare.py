"""Two systems on the same faces: which faces got better, which worse, and whether the difference is significant."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Sequence

import numpy as np

from common.files import write_set
from common.readers import entry, read_json, read_npy
from evaluation.resampling import ROUNDS, Difference, paired_difference
from report.comparison import NORMALIZER_WORDS
from report.outputs import csv_bytes, json_bytes
from report.plots import draw_pairs

_AGAIN = "it was not written by evaluate.py: evaluate again"
SAME_FACES = ("dataset", "subset", "seed")  # beside the names; the seed of rendered faces, whose names are numbers
CHANCE = 0.05  # a p-value below this is called significant


@dataclass(frozen=True)
class Scored:
    """One system's errors, as evaluate.py wrote them.

    Attributes:
        label: The network and its weights file.
        metrics: What metrics.json says.
        names: n faces.
        errors: (n,) fractions in the primary normalizer, NaN for a face that was not found.
    """

    label: str
    metrics: dict[str, Any]
    names: list[str]
    errors: np.ndarray


@dataclass(frozen=True)
class Comparison:
    """Two systems on the same faces.

    Attributes:
        first: The one, A.
        second: The other, B, its faces in the order of the first's.
        difference: Of the errors, B minus A.
    """

    first: Scored
    second: Scored
    difference: Difference

    @property
    def changes(self) -> np.ndarray:
        """(n,) fractions, B minus A; NaN where a face was not measured by both."""
        return self.second.errors - self.first.errors

    @property
    def order(self) -> list[int]:
        """The faces measured by both, those that gain most from B first."""
        changes = self.changes
        return [int(index) for index in np.argsort(changes, kind="stable") if not np.isnan(changes[index])]

    def counts(self) -> dict[str, int]:
        """How many faces are better or worse in B, the same, or measured by one system alone."""
        changes = self.changes
        alone = np.isnan(self.first.errors) != np.isnan(self.second.errors)
        return {
            "better": int((changes < 0).sum()),
            "worse": int((changes > 0).sum()),
            "same": int((changes == 0).sum()),
            "only_first": int((alone & np.isnan(self.second.errors)).sum()),
            "only_second": int((alone & np.isnan(self.first.errors)).sum()),
        }


def read_scored(folder: Path) -> Scored:
    """What evaluate.py wrote into a folder.

    Raises:
        FileNotFoundError: A file is not there.
        ValueError: evaluate.py did not write the files, or not in one run.
    """
    for name in ("metrics.json", "errors.npy"):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder} has no {name}: name a folder that evaluate.py wrote")
    source = folder / "metrics.json"
    metrics = read_json(source, _AGAIN)
    errors = read_npy(folder / "errors.npy", _AGAIN, (None,))
    names, normalizer = entry(metrics, "names", list, source, _AGAIN), entry(metrics, "normalizer", str, source, _AGAIN)
    if not all(isinstance(name, str) for name in names) or len(set(names)) != len(names):
        raise ValueError(f"{source}: its names are not those of faces; {_AGAIN}")
    if errors.shape != (len(names),):
        raise ValueError(f"{folder}: {len(names)} names do not fit errors of shape {errors.shape}; evaluate again")
    weights = metrics.get("weights")
    label = str(metrics.get("model", folder.name)) + (f" ({weights})" if weights else "")
    return Scored(label, {**metrics, "normalizer": normalizer}, names, errors.astype(np.float64))


def compare_systems(first: Scored, second: Scored, seed: int = 0) -> Comparison:
    """Puts two systems side by side.

    Args:
        first: A.
        second: B, on the same faces in any order.
        seed: Of the bootstrap and of the permutation test.

    Raises:
        ValueError: They are not of the same faces, or not over the same length, or no face was measured by both.
    """
    _check_same("normalizer", first.metrics["normalizer"], second.metrics["normalizer"])
    for key in SAME_FACES:
        if key in first.metrics and key in second.metrics and (key != "seed" or _is_rendered(first)):
            _check_same(key, first.metrics[key], second.metrics[key])
    _check_names(first.names, second.names)
    place = {name: index for index, name in enumerate(second.names)}
    errors = second.errors[[place[name] for name in first.names]]
    aligned = Scored(second.label, second.metrics, first.names, errors)
    return Comparison(first, aligned, paired_difference(first.errors, errors, seed=seed))


def _is_rendered(scored: Scored) -> bool:
    return scored.metrics.get("dataset") == "rendered"


def _check_same(what: str, first: object, second: object) -> None:
    if first != second:
        raise ValueError(f"not comparable: the {what} of A is {first}, that of B is {second}; evaluate both alike")


def _check_names(first: Sequence[str], second: Sequence[str]) -> None:
    lacking, further = set(first) - set(second), set(second) - set(first)
    if lacking or further:
        example = sorted(lacking or further)[0]
        raise ValueError(
            f"not comparable: of {len(first)} and {len(second)} faces {len(lacking)} are in A alone and {len(further)} "
            f"in B alone, such as {example}; evaluate both on the same faces"
        )


def format_comparison(comparison: Comparison, listed: int) -> str:
    """The comparison as text for a terminal.

    Args:
        comparison: From `compare_systems`.
        listed: How many of the faces that gain and lose most are listed.
    """
    first, second, difference = comparison.first, comparison.second, comparison.difference
    counts, order = comparison.counts(), comparison.order
    low, high = (100 * end for end in difference.interval)
    verdict = "significant" if difference.p_value < CHANCE else "may be chance"
    lines = [
        f"A  {first.label}",
        f"B  {second.label}",
        f"{difference.faces} faces{_of(first)}, error over {_length(first)}, per cent",
        "",
        f"mean of A {100 * first.errors[order].mean():.2f}, of B {100 * second.errors[order].mean():.2f}",
        f"B minus A {100 * difference.mean:+.2f}, 95 % interval {low:+.2f} to {high:+.2f}",
        f"p = {difference.p_value:.4f} (sign-flip permutation test): {verdict}",
        f"better in B {counts['better']}, worse {counts['worse']}, the same {counts['same']}",
    ]
    if counts["only_first"] or counts["only_second"]:
        lines.append(f"found by A alone {counts['only_first']}, by B alone {counts['only_second']}: left out above")
    changes = comparison.changes
    better = [index for index in order[:listed] if changes[index] < 0]
    worse = [index for index in order[::-1][:listed] if changes[index] > 0]
    for text, indices in (("better", better), ("worse", worse)):
        lines += ["", f"most {text} in B: A, B, difference"] if indices else []
        lines += [_face_line(comparison, index) for index in indices]
    return "\n".join(lines)


def _of(scored: Scored) -> str:
    dataset, subset = scored.metrics.get("dataset"), scored.metrics.get("subset")
    return f" of {dataset} {subset}" if dataset and subset else ""


def _length(scored: Scored) -> str:
    normalizer = scored.metrics["normalizer"]
    return NORMALIZER_WORDS.get(normalizer, normalizer)


def _face_line(comparison: Comparison, index: int) -> str:
    pair = (comparison.first.errors[index], comparison.second.errors[index], comparison.changes[index])
    a, b, change = (100 * value for value in pair)
    return f"  {a:7.2f} {b:7.2f} {change:+7.2f}  {comparison.first.names[index]}"


def write_comparison(out: Path, comparison: Comparison) -> None:
    """Writes comparison.json, comparison.csv with every face, and comparison.png.

    Raises:
        OSError: The folder cannot be written.
    """
    first, second = comparison.first, comparison.second
    order = comparison.order
    record = {
        "first": first.label,
        "second": second.label,
        "normalizer": first.metrics["normalizer"],
        **{key: first.metrics[key] for key in SAME_FACES if key in first.metrics},
        "units": "fractions",
        "mean_first": first.errors[order].mean(),
        "mean_second": second.errors[order].mean(),
        "difference": comparison.difference._asdict(),
        "rounds": ROUNDS,
        "counts": comparison.counts(),
    }
    rows = zip(first.names, first.errors.tolist(), second.errors.tolist(), comparison.changes.tolist())
    title = f"{comparison.difference.faces} faces{_of(first)}, error over {_length(first)}"
    files = {
        "comparison.json": json_bytes(record),
        "comparison.csv": csv_bytes(["name", "first", "second", "difference"], list(rows)),
        "comparison.png": draw_pairs(first.errors[order], second.errors[order], (first.label, second.label), title),
    }
    write_set(out, files)
