"""The folder that results go to: nothing in it is overwritten silently, and no file stands there half written."""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any, ContextManager, Mapping, Protocol, Sequence

from common.files import publish, staging, write_text
from common.readers import entry, read_json


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
        resume: leave inputs alone whose files are complete, and replace those of one that was being written.
    """

    def __init__(self, folder: Path, overwrite: bool = False, resume: bool = False) -> None:
        self._folder, self._overwrite, self._resume = folder, overwrite, resume

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
            owners = _stems_of_output(name) & stems
            if owners and not (self._resume and any(map(self.is_complete, owners))):
                self._check_replaceable(self._folder / name, owners, inputs)

    def is_complete(self, stem: str) -> bool:
        """Whether an earlier run wrote all files of a stem, the last of which is the JSON."""
        return f"{stem}.json" in self._earlier(stem) and not self._list_path(stem).exists()

    def check_same(self, source: Source, about: Mapping[str, Any]) -> None:
        """Refuses to take complete results for those of another input of the same name, or of other settings.

        Args:
            source: whose name the results have.
            about: what its JSON would say of the settings.

        Raises:
            ValueError: it says something else; the message has both.
        """
        path = self._folder / f"{source.stem}.json"
        content = read_json(path)
        made_of = str(content.get("video", content.get("image")))
        if not _can_be(made_of, source):
            raise ValueError(f"{path} is of {made_of}, not of {source}: name another --out")
        for key, value in about.items():
            if content.get(key) != value:
                made = f"{path} was made with {key} {content.get(key)}, not {value}"
                raise ValueError(f"{made}: repeat its options, or name another --out")

    def _check_replaceable(self, path: Path, stems: set[str], inputs: set[Path]) -> None:
        if path.resolve() in inputs:
            kind = "video" if path.suffix == VIDEO_SUFFIX else "photo"
            raise ValueError(f"{path}: the annotated copy would replace this {kind}; name another folder with --out")
        if not (self._overwrite or self._resume):
            raise ValueError(f"{path} is already there: pass --overwrite to replace it, or name another --out")
        if not any(path.name in self._earlier(stem) for stem in stems):
            raise ValueError(f"{path} is in the way and not of an earlier run: move it, or name another --out")

    def aside(self, source: Source) -> ContextManager[Path]:
        """A temporary folder for a source's files, until `put` shows them; see `common.files.staging`."""
        return staging(
            self._folder, f"the results of {source} to {self._folder}", "free the space or name another --out"
        )

    def put(self, aside: Path, stem: str, names: Sequence[str]) -> None:
        """Replaces the files of an earlier run, in the order of `names`, whose last is the JSON.

        A list of the old and the new ones stands beside them meanwhile, so that after a kill the next run knows them.
        """
        earlier, listed = self._earlier(stem), self._list_path(stem)
        write_text(listed, json.dumps(sorted({*earlier, *names})))
        publish(aside, self._folder, names)
        for old in earlier - set(names):
            (self._folder / old).unlink(missing_ok=True)
        listed.unlink(missing_ok=True)

    def _list_path(self, stem: str) -> Path:
        return self._folder / f".{stem}.files"

    def _earlier(self, stem: str) -> set[str]:
        """Names of the files that earlier runs wrote for a stem, by the JSON and by the list of a killed one."""
        names: set[str] = set()
        with suppress(OSError, ValueError):
            names |= _outputs(stem, read_json(self._folder / f"{stem}.json"))
        with suppress(OSError, ValueError):
            listed = read_json(self._list_path(stem), kind=list)
            names |= {name for name in listed if isinstance(name, str) and stem in _stems_of_output(name)}
        return {name for name in names if (self._folder / name).is_file()}


VIDEO_SUFFIX = ".mp4"  # of annotated videos


def points_names(stem: str, count: int) -> list[str]:
    """Names of the point files of a photo's faces."""
    return [f"{stem}_{number}.pts" for number in range(1, count + 1)]


def crop_names(stem: str, count: int) -> list[str]:
    """Names of the aligned crops of a photo's faces."""
    return [f"{stem}_{number}_crop.png" for number in range(1, count + 1)]


def check_crop_names(photos: Sequence[Source]) -> None:
    """Refuses photos to write crops of, such as a.png and a_1_crop.png, whose outputs would have one name.

    Raises:
        ValueError: the annotated copy of one would be a crop of another.
    """
    by_stem = {photo.stem: photo for photo in photos}
    for photo in photos:
        for stem in (_stems_of_output(f"{photo.stem}.png") - {photo.stem}) & by_stem.keys():
            other = by_stem[stem]
            raise ValueError(f"a crop of {other} and {photo} would both become {photo.stem}.png: rename one of the two")


def _outputs(stem: str, content: dict[str, Any]) -> set[str]:
    """All that a run writes whose JSON says this."""
    if "video" in content:
        return {f"{stem}.json", f"{stem}.jsonl", f"{stem}{VIDEO_SUFFIX}"}
    count = len(entry(content, "faces", list, stem))
    crops = crop_names(stem, count) if content.get("crops") else []
    return {f"{stem}.json", f"{stem}.png", *points_names(stem, count), *crops}


def _can_be(written: str, source: Source) -> bool:
    """Whether a path, perhaps relative to the folder of an earlier command, can be that of a source."""
    if not isinstance(source, Path):
        return written == str(source)
    if Path(written).resolve() == source.resolve():
        return True
    end = tuple(part for part in Path(os.path.normpath(written)).parts if part != os.pardir)
    return end in (path.parts[-len(end) :] for path in (source.absolute(), source.resolve()))


def _stems_of_output(name: str) -> set[str]:
    """The stems of the sources that a file of this name can be an output of."""
    ends = (r"\.jsonl?", r"_\d+_crop\.png", r"\.png", re.escape(VIDEO_SUFFIX), r"_\d+\.pts")
    matches = (re.fullmatch(f"(.+){end}", name, re.DOTALL) for end in ends)
    return {match.group(1) for match in matches if match}
