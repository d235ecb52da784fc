"""The landmarks of each part of the face, for every markup that has parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Tuple

Indices = Tuple[int, ...]


@dataclass(frozen=True)
class Part:
    """A part of the face with a network of its own.

    Attributes:
        name: of the part.
        regions: the regions of the markup that it consists of.
        size: height and width of its network's input in pixels [R10].
    """

    name: str
    regions: tuple[str, ...]
    size: tuple[int, int]


PARTS = (
    Part("right_eye", ("right_brow", "right_eye"), (64, 96)),
    Part("left_eye", ("left_brow", "left_eye"), (64, 96)),
    Part("nose", ("nose",), (96, 64)),
    Part("mouth", ("mouth",), (64, 96)),
)
JAW = Part("jaw", ("jaw",), (96, 128))


def _span(first: int, last: int) -> Indices:
    return tuple(range(first, last + 1))


_IBUG_68: dict[str, Indices] = {
    "jaw": _span(0, 16),
    "right_eye": _span(17, 21) + _span(36, 41),
    "left_eye": _span(22, 26) + _span(42, 47),
    "nose": _span(27, 35),
    "mouth": _span(48, 67),
}
_IBUG_49 = _span(17, 59) + _span(61, 63) + _span(65, 67)
_AFLW_21: dict[str, Indices] = {
    "jaw": (12, 20, 16),
    "right_eye": (0, 1, 2, 6, 7, 8),
    "left_eye": (3, 4, 5, 9, 10, 11),
    "nose": (13, 14, 15),
    "mouth": (17, 18, 19),
}


def _kept(landmarks: dict[str, Indices], kept: Indices) -> dict[str, Indices]:
    """The parts of a markup that has only some of the landmarks of another, in the same order."""
    number = {old: new for new, old in enumerate(kept)}
    return {name: tuple(number[old] for old in indices if old in number) for name, indices in landmarks.items()}


LANDMARKS: dict[int, dict[str, Indices]] = {
    68: _IBUG_68,
    51: _kept(_IBUG_68, _span(17, 67)),
    49: _kept(_IBUG_68, _IBUG_49),
    29: {
        "jaw": (28,),
        "right_eye": (0, 4, 2, 5, 8, 12, 10, 13, 16),
        "left_eye": (3, 6, 1, 7, 11, 14, 9, 15, 17),
        "nose": (18, 20, 19, 21),
        "mouth": (22, 24, 23, 27, 25, 26),
    },
    21: _AFLW_21,
    19: _kept(_AFLW_21, tuple(k for k in range(21) if k not in (12, 16))),
    194: {
        "jaw": _span(0, 40),
        "right_eye": _span(174, 193) + _span(134, 153),
        "left_eye": _span(154, 173) + _span(114, 133),
        "nose": _span(41, 57),
        "mouth": _span(58, 113),
    },
}
"""By number of landmarks, as `datasets.markups` numbers them."""


@dataclass(frozen=True)
class PartLandmarks:
    """How a markup falls into parts.

    Attributes:
        parts: each with its landmarks.
        rest: landmarks of no part.
    """

    parts: tuple[tuple[Part, Indices], ...]
    rest: Indices

    @property
    def indices(self) -> tuple[Indices, ...]:
        """The landmarks of each part."""
        return tuple(indices for _, indices in self.parts)

    @property
    def order(self) -> Indices:
        """Where each landmark stands when the rest and the parts are put one after the other."""
        joined = [k for group in (self.rest, *self.indices) for k in group]
        return tuple(joined.index(k) for k in range(len(joined)))


def parts_of(num_landmarks: int, with_jaw: bool = False) -> PartLandmarks:
    """How the markup with so many landmarks falls into parts; the jaw belongs to the rest unless it is asked for [R17].

    Raises:
        ValueError: no markup with so many landmarks has regions, or it has no jaw.
    """
    if num_landmarks not in LANDMARKS:
        known = ", ".join(str(count) for count in sorted(LANDMARKS))
        raise ValueError(f"{num_landmarks} landmarks have no known regions to cut: take a markup of {known} points")
    landmarks = LANDMARKS[num_landmarks]
    if with_jaw and len(landmarks["jaw"]) < 2:
        raise ValueError(f"{num_landmarks} landmarks have no outline to cut: leave the jaw's network out")
    parts = tuple((part, landmarks[part.name]) for part in (*PARTS, *([JAW] if with_jaw else [])))
    taken = {k for _, indices in parts for k in indices}
    return PartLandmarks(parts, tuple(k for k in range(num_landmarks) if k not in taken))
