"""Your own faces: a folder of photos with a `.pts` file for each face, whatever its points are.

The number of points says which of the known markups they are of; `markup.json` in the folder says it otherwise, see
`datasets.markup.from_dict`. Photos are turned upright by their EXIF tag, and points count in the upright photo.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from common.readers import read_json
from datasets.annotated_photos import AnnotatedPhotos, read_each
from datasets.faces import Face, check_mostly_inside
from datasets.images import PathLike
from datasets.inventory import needed_folder
from datasets.markup import Markup, from_dict, plain_markup
from datasets.markups import INSIGHTFACE_5, MARKUPS, get_markup
from datasets.own_photos import find_photos, read_face, refuse_same_face
from datasets.point_order import is_plausible, median_face, plausible_names

MARKUP_FILE = "markup.json"
LEAST_FACES = 3  # whose points tell their order; of single faces 1 in 150 is turned too far
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class OwnPhotos(AnnotatedPhotos):
    """Faces by number; see `datasets.annotated_photos.AnnotatedPhotos`.

    Attributes:
        photo_names: Of the photo of each face, without extension: faces of one photo stay together.
    """

    photo_names: tuple[str, ...] = ()

    _PER_FACE: ClassVar[tuple[str, ...]] = (*AnnotatedPhotos._PER_FACE, "photo_names")
    _UPRIGHT: ClassVar[bool] = True

    def __getitem__(self, index: int) -> Face:
        """As of `AnnotatedPhotos`; ValueError, too, if most points lie outside the photo."""
        face = super().__getitem__(index)
        check_mostly_inside(face)
        return face


def load(root: PathLike, keep_damaged: bool = False) -> OwnPhotos:
    """The labelled faces below a folder, sorted by photo; a face's name is its .pts file's path without extension.

    Files that look like photos or labels and are not used are counted and named, see `datasets.own_photos`.

    Args:
        root: the folder.
        keep_damaged: keep a face whose annotation cannot be read; asking for it then says why.

    Raises:
        FileNotFoundError: there is no such folder, or no labelled photo in it.
        ValueError: an annotation is damaged, the files differ in their number of points, or which photo a file labels
            is unclear.
    """
    home = needed_folder(root, "one with photos and .pts files")
    photos = find_photos(home)
    labels = {_name(home, label): label for photo in photos for label in photo.labels}
    image_paths = tuple(photo.path for photo in photos for _ in photo.labels)
    read, damaged = read_each(labels, read_face, np.zeros((0, 2)), keep_damaged)
    if len(damaged) == len(labels):
        raise ValueError(next(iter(damaged.values())))
    markup = _markup(home, Counter(len(points) for points in read if len(points)).most_common(1)[0][0])
    points = _of_one_markup(labels, read, damaged, markup, keep_damaged)
    if not (home / MARKUP_FILE).is_file():
        markup = _as_they_lie(home, markup, points)
    points_of = dict(zip(labels.values(), points))
    for photo in photos:
        whole = [path for path in photo.labels if not np.isnan(points_of[path]).all()]
        refuse_same_face(whole, [points_of[path] for path in whole])
    return OwnPhotos(
        tuple(labels),
        image_paths,
        points,
        markup,
        damaged,
        expected_count=len(labels),
        photo_names=tuple(_name(home, path) for path in image_paths),
    )


def _as_they_lie(home: Path, markup: Markup, points: np.ndarray) -> Markup:
    """The markup that the number of points (n, K, 2) stands for, if they lie on the faces as its names say.

    Five points have no usual order, so five that lie otherwise are of no known markup; of others that do it is said.
    """
    known = points[~np.isnan(points).all(axis=(1, 2))]
    if markup not in MARKUPS or not len(known):
        return markup
    face = median_face(known)
    if is_plausible(face, markup):
        return markup
    other = markup == INSIGHTFACE_5 and len(known) >= LEAST_FACES
    taken = plain_markup(markup.num_landmarks) if other else markup
    _LOG.warning(
        "%s: %d points are those of %s by their number, but lie otherwise on the faces; taken as %s: say in %s there "
        "what they are, see docs/data.md%s",
        *(home, markup.num_landmarks, markup.name, taken.name, MARKUP_FILE, _suggestion(face, markup) if other else ""),
    )
    return taken


def _suggestion(face: np.ndarray, markup: Markup) -> str:
    names = plausible_names(face, markup)
    if names is None:
        return ""
    pupils = [[names.index(markup.names[k]) for k in eye] for eye in markup.pupils or ()]
    return f"; they look like {json.dumps({'names': names, 'pupils': pupils})}"


def _name(home: Path, path: Path) -> str:
    return path.relative_to(home).with_suffix("").as_posix()


def _markup(home: Path, num_landmarks: int) -> Markup:
    path = home / MARKUP_FILE
    if not path.is_file():
        return get_markup(num_landmarks)
    try:
        values = read_json(path, "correct it, see docs/data.md")
        named = [markup for markup in MARKUPS if markup.name == values.get("name")]
        if named and set(values) == {"name"} and named[0].num_landmarks == num_landmarks:
            return named[0]
        if named:
            raise ValueError(
                f"{named[0].name} is a known markup of {named[0].num_landmarks} points; name yours otherwise"
            )
        return from_dict(values, num_landmarks)
    except ValueError as error:
        text = str(error)
        raise ValueError(text if text.startswith(str(path)) else f"{path}: {text}; see docs/data.md") from None


def _of_one_markup(
    labels: dict[str, Path], read: list[np.ndarray], damaged: dict[str, str], markup: Markup, keep_damaged: bool
) -> np.ndarray:
    """Points (n, K, 2) of all faces, NaN where damaged, as those are whose number of points most others do not have."""
    points = np.full((len(read), markup.num_landmarks, 2), np.nan)
    for k, (name, each) in enumerate(zip(labels, read)):
        if len(each) == markup.num_landmarks:
            points[k] = each
        elif name not in damaged:
            text = f"{labels[name]} has {len(each)} points, most of the others have {markup.num_landmarks}; correct it"
            if not keep_damaged:
                raise ValueError(text)
            damaged[name] = text
    return points
