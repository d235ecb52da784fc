"""What a markup is: points, their mirror images, eyes, regions and lines; and a user's own as plain JSON.

"right" and "left" are the subject's own sides, so the right eye is on the left of an upright photo. The names carry the
sides, and the flip order follows from them: a point goes to the one whose name has the sides exchanged.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Mapping, Sequence, Tuple

import numpy as np

Indices = Tuple[int, ...]
Line = Tuple[Indices, bool]
Pairs = Tuple[Tuple[int, int], ...]

REGIONS = ("jaw", "right_brow", "left_brow", "nose", "right_eye", "left_eye", "mouth")
KEYS = ("name", "names", "flip_pairs", "outer_eye_corners", "pupils", "regions", "lines")


@dataclass(frozen=True)
class Markup:
    """One convention of facial landmarks; indices count from 0.

    Attributes:
        name: The markup's short name, such as "ibug_68".
        names: One name per point, in the order of the points.
        outer_eye_corners: The right and the left eye's outer corner, or None where they are not marked.
        pupils: The points whose mean is the right pupil, and those of the left one, or None.
        regions: Points of jaw, right_brow, left_brow, nose, right_eye, left_eye and mouth, as far as they are marked.
        lines: What to draw: points to join in this order, and whether the last one joins the first.
        flip_pairs: Points that trade places in a mirror, all others keep theirs; None where the names tell.
        offset: How far to the right of where a mirror image says annotators put points, of the box's longer side [P1].
    """

    name: str
    names: tuple[str, ...]
    outer_eye_corners: tuple[int, int] | None
    pupils: tuple[Indices, Indices] | None
    regions: dict[str, Indices] = field(hash=False)
    lines: tuple[Line, ...]
    flip_pairs: Pairs | None = None
    offset: float = 0.0

    @property
    def num_landmarks(self) -> int:
        """How many points a face has."""
        return len(self.names)

    @property
    def can_flip(self) -> bool:
        """Whether it is known which points trade places in a mirror; faces are not mirrored where it is not."""
        return self.flip_pairs is not None or any(other_side(name) != name for name in self.names)

    @cached_property
    def flip_order(self) -> Indices:
        """Point k of a mirrored face is point ``flip_order[k]`` of the face, mirrored.

        Raises:
            ValueError: It is not known, see `can_flip`.
        """
        if not self.can_flip:
            raise ValueError(f"the markup {self.name} does not say which points trade places in a mirror")
        if self.flip_pairs is None:
            index = {name: k for k, name in enumerate(self.names)}
            return tuple(index[other_side(name)] for name in self.names)
        order = list(range(self.num_landmarks))
        for one, other in self.flip_pairs:
            order[one], order[other] = other, one
        return tuple(order)

    def mirrored(self, points: np.ndarray, side: float) -> np.ndarray:
        """Points (..., K, 2) of a face such that their mirror image is what annotators would mark in the mirror image.

        Args:
            points: Of the face.
            side: The longer side of the face's tight box.
        """
        return points[..., list(self.flip_order), :] - (2 * self.offset * side, 0.0)

    @property
    def normalizer(self) -> str:
        """The first length of `evaluation.metrics` that its points define: between outer eye corners, pupils, a box."""
        if self.outer_eye_corners:
            return "outer_eye"
        return "pupil" if self.pupils else "box_geometric"


def other_side(name: str) -> str:
    """A point's name with right and left exchanged; a point on the midline keeps its name."""
    for here, there in (("right_", "left_"), ("left_", "right_")):
        if name.startswith(here):
            return there + name[len(here) :]
    return name


def plain_markup(num_landmarks: int) -> Markup:
    """The markup of points that nothing is known about: no mirror, no eyes, no lines."""
    names = tuple(f"point_{number}" for number in range(num_landmarks))
    return Markup(f"points_{num_landmarks}", names, None, None, {}, ())


def part_of(markup: Markup, name: str, kept: Sequence[int]) -> Markup:
    """The markup of some of another's points, in the same order."""
    number = {old: new for new, old in enumerate(kept)}

    def renumbered(indices: Indices) -> Indices:
        return tuple(number[old] for old in indices if old in number)

    right, left = markup.outer_eye_corners or (-1, -1)
    pupils = markup.pupils
    regions = {region: renumbered(indices) for region, indices in markup.regions.items()}
    lines = [(renumbered(indices), closed) for indices, closed in markup.lines]
    return Markup(
        name=name,
        names=tuple(markup.names[old] for old in kept),
        outer_eye_corners=(number[right], number[left]) if right in number and left in number else None,
        pupils=(renumbered(pupils[0]), renumbered(pupils[1])) if pupils else None,
        regions={region: indices for region, indices in regions.items() if indices},
        lines=tuple((indices, closed) for indices, closed in lines if len(indices) > 1),
    )


def to_dict(markup: Markup) -> dict[str, Any]:
    """The markup as plain JSON types, which `from_dict` takes; a closed line ends with its first point."""
    pairs = None if markup.flip_pairs is None else [list(pair) for pair in markup.flip_pairs]
    corners, pupils = markup.outer_eye_corners, markup.pupils
    values = {
        "name": markup.name,
        "names": list(markup.names),
        "flip_pairs": pairs,
        "outer_eye_corners": list(corners) if corners else None,
        "pupils": [list(points) for points in pupils] if pupils else None,
        "regions": {region: list(indices) for region, indices in markup.regions.items()},
        "lines": [[*indices, indices[0]] if closed else list(indices) for indices, closed in markup.lines],
    }
    return {key: value for key, value in values.items() if value}


def from_dict(values: Any, num_landmarks: int | None = None) -> Markup:
    """The markup that plain JSON types describe; all of `KEYS` may be left out.

    Args:
        values: An object with some of `KEYS`.
        num_landmarks: How many points a face has; as many as there are names if None.

    Raises:
        ValueError: It says something else, or names, pairs and points contradict each other.
    """
    if not isinstance(values, Mapping):
        raise ValueError('it is no object such as {"flip_pairs": [[0, 1]]}')
    unknown = sorted(set(values) - set(KEYS))
    if unknown:
        raise ValueError(f"it has '{unknown[0]}', which is none of {', '.join(KEYS)}")
    given = values.get("names")
    count = len(given) if num_landmarks is None and isinstance(given, list) else num_landmarks
    if not count:
        raise ValueError("its names are no list")
    plain = plain_markup(count)
    read = _Reader(count)
    lines = [read.indices("lines", line) for line in read.list_of("lines", values.get("lines") or [])]
    pairs = [read.pair("flip_pairs", pair) for pair in read.list_of("flip_pairs", values.get("flip_pairs") or [])]
    markup = replace(
        plain,
        name=read.text("name", values.get("name") or plain.name),
        names=plain.names if given is None else read.names(given),
        outer_eye_corners=read.pair("outer_eye_corners", values["outer_eye_corners"])
        if values.get("outer_eye_corners")
        else None,
        pupils=read.pupils(values["pupils"]) if values.get("pupils") else None,
        regions=read.regions(values.get("regions") or {}),
        lines=tuple((line[:-1], True) if line[0] == line[-1] else (line, False) for line in lines if len(line) > 1),
        flip_pairs=tuple(pairs) if "flip_pairs" in values else None,
    )
    _check_flip(markup)
    return markup


def _check_flip(markup: Markup) -> None:
    """Refuses points that have no partner, or two."""
    traded = [k for pair in markup.flip_pairs or () for k in pair]
    if len(set(traded)) != len(traded):
        raise ValueError("flip_pairs: a point is in two of them, or its own partner")
    lonely = [name for name in markup.names if markup.flip_pairs is None and other_side(name) not in markup.names]
    if lonely:
        raise ValueError(f"names: '{lonely[0]}' has no partner '{other_side(lonely[0])}'; add it, or give flip_pairs")


class _Reader:
    """Checks the values of a markup with so many points."""

    def __init__(self, count: int) -> None:
        self._count = count

    def text(self, key: str, value: Any) -> str:
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"{key} is no text: {value!r}")
        return value

    def list_of(self, key: str, value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise ValueError(f"{key} is no list: {value!r}")
        return value

    def names(self, value: Any) -> tuple[str, ...]:
        names = tuple(self.text("names", name) for name in self.list_of("names", value))
        if len(names) != self._count:
            raise ValueError(f"names: there are {len(names)}, where faces have {self._count} points")
        if len(set(names)) != len(names):
            raise ValueError("names: two points have the same one")
        return names

    def indices(self, key: str, value: Any) -> Indices:
        numbers = self.list_of(key, value)
        for number in numbers:
            if type(number) is not int or not 0 <= number < self._count:
                raise ValueError(f"{key}: {number!r} is no point; they count from 0 to {self._count - 1}")
        if not numbers:
            raise ValueError(f"{key}: an empty list of points")
        return tuple(numbers)

    def pair(self, key: str, value: Any) -> tuple[int, int]:
        indices = self.indices(key, value)
        if len(indices) != 2:
            raise ValueError(f"{key}: {value!r} are not two points, the right one and the left one")
        return indices[0], indices[1]

    def pupils(self, value: Any) -> tuple[Indices, Indices]:
        eyes = self.list_of("pupils", value)
        if len(eyes) != 2:
            raise ValueError("pupils: give the points of the right one and those of the left one")
        right, left = (self.indices("pupils", eye if isinstance(eye, list) else [eye]) for eye in eyes)
        return right, left

    def regions(self, value: Any) -> dict[str, Indices]:
        if not isinstance(value, Mapping) or not set(value) <= set(REGIONS):
            raise ValueError(f"regions: an object whose keys are some of {', '.join(REGIONS)}")
        return {region: self.indices("regions", indices) for region, indices in value.items()}
