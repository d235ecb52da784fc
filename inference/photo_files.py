"""Photos by the words of a command line, and the files for each: `<stem>.json`, `<stem>_<face>.pts`, `<stem>.png`."""

from __future__ import annotations

import glob
import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any, Mapping, Sequence

import numpy as np

from datasets.images import write_image
from datasets.markups import Markup
from datasets.pts_files import write_pts
from inference.drawing import draw_faces
from inference.landmark_detector import LocatedFace

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
COORDINATES = "pixels of the upright image, x then y, centre of the first pixel at (0, 0); the .pts files count from 1"


def find_photos(words: Sequence[str]) -> list[Path]:
    """Photos that files, folders (not those within) and globs stand for, each once.

    Raises:
        FileNotFoundError: a word stands for none.
        ValueError: two photos have one stem, so their outputs would have one name.
    """
    by_stem: dict[str, Path] = {}
    for path in (path for word in words for path in _expand(word)):
        other = by_stem.setdefault(path.stem, path)
        if other.resolve() != path.resolve():
            raise ValueError(f"{other} and {path} would both become {path.stem}.json: rename one, or run them apart")
    return list(by_stem.values())


def _expand(word: str) -> list[Path]:
    path = Path(word)
    if path.is_dir():
        found = sorted(child for child in path.iterdir() if child.suffix.lower() in SUFFIXES and child.is_file())
    elif path.exists():
        found = [path]
    else:
        found = [Path(match) for match in sorted(glob.glob(word, recursive=True)) if Path(match).is_file()]
    if not found:
        raise FileNotFoundError(
            f"{word}: no photo is there; check the path (folders are searched for {' '.join(SUFFIXES)})"
        )
    return found


class PhotoFiles:
    """Writes what was found in photos.

    Args:
        folder: where to; it exists.
        about: what each JSON says besides the image and its faces, such as the model.
        markup: of the points.
        overwrite: replace the files of an earlier run.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any], markup: Markup, overwrite: bool = False) -> None:
        self._folder, self._about, self._markup, self._overwrite = folder, about, markup, overwrite

    def check(self, photos: Sequence[Path]) -> None:
        """Sees to it that neither photos nor foreign files are overwritten, and earlier outputs only if that is wanted.

        Raises:
            ValueError: one would be.
            OSError: the folder cannot be written to.
        """
        if not os.access(self._folder, os.W_OK | os.X_OK):
            raise PermissionError(f"{self._folder}: no permission to write here; name another folder with --out")
        inputs = {photo.resolve() for photo in photos}
        stems = {photo.stem for photo in photos}
        for name in sorted(os.listdir(self._folder)):
            stem = _stem_of_output(name)
            if stem in stems:
                self._check_replaceable(self._folder / name, stem, inputs)

    def _check_replaceable(self, path: Path, stem: str, inputs: set[Path]) -> None:
        if path.resolve() in inputs:
            raise ValueError(f"{path}: the annotated copy would replace this photo; name another folder with --out")
        if not self._overwrite:
            raise ValueError(f"{path} is already there: pass --overwrite to replace it, or name another --out")
        if path.name not in self._earlier(stem):
            raise ValueError(f"{path} is in the way and not of an earlier run: move it, or name another --out")

    def write(self, photo: Path, image: np.ndarray, faces: Sequence[LocatedFace]) -> None:
        """Writes the files of one photo aside and then, JSON last, puts them in the place of an earlier run's.

        Raises:
            OSError: they could not be written; what an earlier run left is untouched.
        """
        try:
            with tempfile.TemporaryDirectory(dir=self._folder, prefix=".predict.") as aside:
                names = self._write_aside(Path(aside), photo, image, faces)
                for old in self._earlier(photo.stem) - set(names):
                    (self._folder / old).unlink()
                for name in names:
                    os.replace(Path(aside) / name, self._folder / name)
        except OSError as error:
            reason = error.strerror or error
            raise OSError(
                f"{self._folder}: cannot write what {photo} shows ({reason}); free space or name another --out"
            ) from error

    def _write_aside(self, aside: Path, photo: Path, image: np.ndarray, faces: Sequence[LocatedFace]) -> list[str]:
        """The names of the files written, in the order in which they are to appear."""
        stem = photo.stem
        points_names = _points_names(stem, len(faces))
        write_image(aside / f"{stem}.png", draw_faces(image, faces, self._markup))
        for name, face in zip(points_names, faces):
            write_pts(aside / name, face.points)
        content = {
            "image": str(photo),
            "width": image.shape[1],
            "height": image.shape[0],
            **self._about,
            "coordinates": COORDINATES,
            "faces": [_plain(face) for face in faces],
        }
        (aside / f"{stem}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        return [f"{stem}.png", *points_names, f"{stem}.json"]

    def _earlier(self, stem: str) -> set[str]:
        """Names of the files that an earlier run wrote for a stem, by what its JSON says."""
        try:
            count = len(json.loads((self._folder / f"{stem}.json").read_text(encoding="utf-8"))["faces"])
        except (OSError, ValueError, KeyError, TypeError):
            return set()
        names = {f"{stem}.json", f"{stem}.png", *_points_names(stem, count)}
        return {name for name in names if (self._folder / name).is_file()}


def _points_names(stem: str, count: int) -> list[str]:
    return [f"{stem}_{number}.pts" for number in range(1, count + 1)]


def _stem_of_output(name: str) -> str | None:
    """The photo's stem if a file of this name can be an output."""
    match = re.fullmatch(r"(.+?)(\.json|\.png|_\d+\.pts)", name, re.DOTALL)
    return match.group(1) if match else None


def _plain(face: LocatedFace) -> dict[str, Any]:
    points = np.round(face.points, 3).tolist()
    return {"box": np.round(face.box, 3).tolist(), "score": round(face.score, 4), "points": points}
