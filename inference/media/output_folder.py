"""The folder that results go to: nothing in it is overwritten silently, and no file stands there half written."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, ContextManager, Protocol, Sequence

from common.files import publish, staging


class Source(Protocol):
    """What is worked on: a `Path`, or something else that names its outputs."""

    @property
    def stem(self) -> str:
        """Its outputs' names begin with it."""
        ...


class OutputFolder:
    """Writes the files of one photo or video after another.

    Args:
        folder: it exists.
        overwrite: replace the files of an earlier run.
    """

    def __init__(self, folder: Path, overwrite: bool = False) -> None:
        self._folder, self._overwrite = folder, overwrite

    def check(self, sources: Sequence[Source]) -> None:
        """Sees to it that neither inputs nor foreign files are overwritten, and earlier outputs only if that is wanted.

        Raises:
            ValueError: one would be.
            OSError: the folder cannot be written to.
        """
        if not os.access(self._folder, os.W_OK | os.X_OK):
            raise PermissionError(f"{self._folder}: no permission to write here; name another folder with --out")
        inputs = {source.resolve() for source in sources if isinstance(source, Path)}
        stems = {source.stem for source in sources}
        for name in sorted(os.listdir(self._folder)):
            stem = _stem_of_output(name)
            if stem in stems:
                self._check_replaceable(self._folder / name, stem, inputs)

    def _check_replaceable(self, path: Path, stem: str, inputs: set[Path]) -> None:
        if path.resolve() in inputs:
            kind = "video" if path.suffix == VIDEO_SUFFIX else "photo"
            raise ValueError(f"{path}: the annotated copy would replace this {kind}; name another folder with --out")
        if not self._overwrite:
            raise ValueError(f"{path} is already there: pass --overwrite to replace it, or name another --out")
        if path.name not in self._earlier(stem):
            raise ValueError(f"{path} is in the way and not of an earlier run: move it, or name another --out")

    def aside(self, source: Source) -> ContextManager[Path]:
        """A temporary folder for a source's files, until `put` shows them; see `common.files.staging`."""
        return staging(
            self._folder, f"the results of {source} to {self._folder}", "free the space or name another --out"
        )

    def put(self, aside: Path, stem: str, names: Sequence[str]) -> None:
        """Replaces the files of an earlier run, in the order of `names`, whose last is the JSON."""
        for old in self._earlier(stem) - set(names):
            (self._folder / old).unlink()
        publish(aside, self._folder, names)

    def _earlier(self, stem: str) -> set[str]:
        """Names of the files that an earlier run wrote for a stem, by what its JSON says."""
        try:
            content = json.loads((self._folder / f"{stem}.json").read_text(encoding="utf-8"))
            names = _outputs(stem, content)
        except (OSError, ValueError, KeyError, TypeError):
            return set()
        return {name for name in names if (self._folder / name).is_file()}


VIDEO_SUFFIX = ".mp4"  # of annotated videos


def points_names(stem: str, count: int) -> list[str]:
    """Names of the point files of a photo's faces."""
    return [f"{stem}_{number}.pts" for number in range(1, count + 1)]


def _outputs(stem: str, content: dict[str, Any]) -> set[str]:
    """All that a run writes whose JSON says this."""
    if "video" in content:
        return {f"{stem}.json", f"{stem}.jsonl", f"{stem}{VIDEO_SUFFIX}"}
    return {f"{stem}.json", f"{stem}.png", *points_names(stem, len(content["faces"]))}


def _stem_of_output(name: str) -> str | None:
    """The stem of its source if a file of this name can be an output."""
    match = re.fullmatch(rf"(.+?)(\.jsonl?|\.png|{re.escape(VIDEO_SUFFIX)}|_\d+\.pts)", name, re.DOTALL)
    return match.group(1) if match else None
