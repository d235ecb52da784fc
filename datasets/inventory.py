"""What a copy of a data set holds of what was shipped, and how readers say so."""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Callable, Collection, Iterable, Sequence

from datasets.images import PathLike

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
_SHOWN = 4  # of what is missing
_LONGEST_NAME = 1000  # characters of a path in a list


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
    """The files of a folder whose names end so in whatever case, sorted; `below`: those of the folders in it, too."""
    found = folder.rglob("*") if below else folder.iterdir()
    # Archives packed on a Mac hold a "._name.jpg" beside each file.
    shown = (path for path in found if not path.name.startswith("."))
    return sorted(path for path in shown if path.name.lower().endswith(tuple(endings)))


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
    remedy = f"complete it, or allow missing {unit}" if present else if_none
    text = f" ({shown})" if shown else ""
    raise FileNotFoundError(f"{title} has {present} of {expected} {unit}{text}: {remedy}")
