"""What a copy of a data set holds of what was shipped, and how readers say so."""

from __future__ import annotations

import logging
import os
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from common.files import STAGED
from datasets.images import PathLike
from datasets.photo_formats import PHOTO_LIKE, PHOTO_SUFFIXES, why_unread

IMAGE_SUFFIXES = PHOTO_SUFFIXES
HIDDEN = "hidden, as a name starts with a dot"
_SHOWN = 4  # of what is missing
_LONGEST_NAME = 1000  # characters of a path in a list
_LOG = logging.getLogger(__name__)


def check_subset(title: str, subset: str, known: Collection[str]) -> None:
    """Refuses what a data set does not have; ValueError if the subset is none of the known ones."""
    if subset not in known:
        raise ValueError(f"{title} has no subset '{subset}'; it has {', '.join(known)}")


def needed_folder(root: PathLike, what: str) -> Path:
    """The folder that is named, if there is one.

    Args:
        root: The folder.
        what: Which one it is, such as "the one that holds afw and helen".

    Raises:
        FileNotFoundError: There is no such folder.
    """
    if not Path(root).is_dir():
        raise FileNotFoundError(f"{root}: there is no such folder; name {what}")
    return Path(root)


def files(folder: Path, endings: Sequence[str], below: bool = False) -> list[Path]:
    """The files of a folder whose names end so in whatever case, sorted; `below`: those of the folders in it, too.

    Those that are hidden, by a dot before their name or a folder's, are left out and named; a Mac's "._name.jpg", which
    its archives hold beside each file, are left out.
    """
    found = [path for path in _walk(folder, below) if path.name.lower().endswith(tuple(endings)) and path.is_file()]
    hidden = [path for path in found if any(part.startswith(".") for part in path.relative_to(folder).parts)]
    say_unused(folder, {HIDDEN: [path for path in hidden if not path.name.startswith("._")]})
    return sorted(set(found).difference(hidden))


def _walk(folder: Path, below: bool) -> Iterator[Path]:
    """What is in a folder; `below`: and in those in it, also behind links, each once."""
    seen: set[str] = set()
    for place, inner, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        # A part of a copy that is being written belongs to whoever writes it.
        inner[:] = sorted(each for each in inner if not each.endswith(STAGED)) if below and real not in seen else []
        if real not in seen:
            yield from (Path(place) / name for name in names)
        seen.add(real)


def photos_of(home: Path, below: bool = False) -> list[Path]:
    """The photos of a folder, sorted; says which files look like photos and cannot be read."""
    like_photos = files(home, PHOTO_LIKE, below)
    unread = [path for path in like_photos if path.suffix.lower() not in PHOTO_SUFFIXES]
    say_unused(
        home, {why_unread(path): [each for each in unread if why_unread(each) == why_unread(path)] for path in unread}
    )
    return [path for path in like_photos if path.suffix.lower() in PHOTO_SUFFIXES]


def say_unused(home: Path, unused: Mapping[str, Sequence[Path]]) -> None:
    """Counts and names the files below a folder that look like photos or labels and are not used, by the reason."""
    for reason, paths in unused.items():
        if paths:
            names = [path.relative_to(home).as_posix() for path in sorted(paths)]
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            _LOG.warning("%s: %d not used, %s: %s%s", home, len(names), reason, ", ".join(names[:_SHOWN]), more)


def listed_path(folder: Path, name: str, source: PathLike) -> Path:
    """The path of a photo that a list names by its place in a folder.

    Raises:
        ValueError: the name is no place in there; a list of a stranger's must not choose which files are read.
    """
    place = PurePosixPath(name.replace("\\", "/"))
    leads_out = place.is_absolute() or ".." in place.parts or PureWindowsPath(name).drive
    if leads_out or not place.parts or "\0" in name or len(name) > _LONGEST_NAME:
        raise ValueError(f"{source}: it names the photo {name[:80]!r}, which is no place in {folder}; correct it")
    return folder / name


def by_name(paths: Iterable[Path], name_of: Callable[[Path], str] = lambda path: path.stem) -> dict[str, Path]:
    """Files by the names of the faces that they are of; ValueError if two are of one face."""
    found: dict[str, Path] = {}
    for path in paths:
        name = name_of(path)
        if name in found:
            raise ValueError(f"{path}: the same face as {found[name].name}; remove one of the two")
        found[name] = path
    return found


def refuse_incomplete(
    title: str, counts: tuple[int, int], missing: Sequence[str], allow_missing: bool, if_none: str, unit: str = "faces"
) -> None:
    """Refuses a subset of which nothing is there, or which lacks something that was not allowed to be missing.

    Args:
        title: Where it should be and what it is, such as "DIR: 300-W full".
        counts: How many are there, and how many should be.
        missing: What else it lacks, in words, one line each.
        allow_missing: Take what is there.
        if_none: What to do where nothing is.
        unit: What is counted.

    Raises:
        FileNotFoundError: It is refused.
    """
    present, expected = counts
    whole = present == expected and not missing
    if present and (allow_missing or whole):
        return
    shown = "; ".join(missing[:_SHOWN]) + (f"; and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else "")
    remedy = "complete it, or pass --allow-missing" if present else if_none
    text = f" ({shown})" if shown else ""
    raise FileNotFoundError(f"{title} has {present} of {expected} {unit}{text}: {remedy}")
