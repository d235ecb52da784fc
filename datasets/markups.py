"""Markups: which points a face has, what each is called, and which point becomes which in a mirror.

"right" and "left" are the subject's own sides, so the right eye is on the left of an upright photo. The names carry the
sides, and the flip order follows from them: a point goes to the one whose name has the sides exchanged.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Iterable, Tuple

Indices = Tuple[int, ...]
Line = Tuple[Indices, bool]


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
    """

    name: str
    names: tuple[str, ...]
    outer_eye_corners: tuple[int, int] | None
    pupils: tuple[Indices, Indices] | None
    regions: dict[str, Indices] = field(hash=False)
    lines: tuple[Line, ...]

    @property
    def num_landmarks(self) -> int:
        """How many points a face has."""
        return len(self.names)

    @cached_property
    def flip_order(self) -> Indices:
        """Point k of a mirrored face is point ``flip_order[k]`` of the face, mirrored."""
        index = {name: k for k, name in enumerate(self.names)}
        return tuple(index[other_side(name)] for name in self.names)


def other_side(name: str) -> str:
    """A point's name with right and left exchanged; a point on the midline keeps its name."""
    for here, there in (("right_", "left_"), ("left_", "right_")):
        if name.startswith(here):
            return there + name[len(here) :]
    return name


def _numbered(name: str, numbers: Iterable[int]) -> list[str]:
    return [f"{name}_{number}" for number in numbers]


def _span(first: int, last: int) -> Indices:
    return tuple(range(first, last + 1))


_IBUG_EYES_AND_MOUTH = """
    right_eye_outer_corner right_eye_upper_outer right_eye_upper_inner
    right_eye_inner_corner right_eye_lower_inner right_eye_lower_outer
    left_eye_inner_corner left_eye_upper_inner left_eye_upper_outer
    left_eye_outer_corner left_eye_lower_outer left_eye_lower_inner
    right_mouth_corner right_upper_lip_outer right_upper_lip_peak upper_lip_top
    left_upper_lip_peak left_upper_lip_outer left_mouth_corner
    left_lower_lip_outer left_lower_lip_inner lower_lip_bottom right_lower_lip_inner right_lower_lip_outer
    right_inner_mouth_corner right_upper_lip_underside upper_lip_underside left_upper_lip_underside
    left_inner_mouth_corner left_lower_lip_upperside lower_lip_upperside right_lower_lip_upperside
""".split()

# The 68 points of 300-W (Sagonas et al., "300 Faces in-the-Wild Challenge", 2013, Fig. 1), which count from 1 there.
IBUG_68 = Markup(
    name="ibug_68",
    names=(
        *_numbered("right_jaw", range(1, 9)),
        "chin",
        *_numbered("left_jaw", range(8, 0, -1)),
        *_numbered("right_brow", range(1, 6)),
        *_numbered("left_brow", range(5, 0, -1)),
        *_numbered("nose_bridge", range(1, 4)),
        "nose_tip",
        *_numbered("right_nostril", (1, 2)),
        "nose_base",
        *_numbered("left_nostril", (2, 1)),
        *_IBUG_EYES_AND_MOUTH,
    ),
    outer_eye_corners=(36, 45),
    pupils=(_span(36, 41), _span(42, 47)),
    regions={
        "jaw": _span(0, 16),
        "right_brow": _span(17, 21),
        "left_brow": _span(22, 26),
        "nose": _span(27, 35),
        "right_eye": _span(36, 41),
        "left_eye": _span(42, 47),
        "mouth": _span(48, 67),
    },
    lines=(
        (_span(0, 16), False),
        (_span(17, 21), False),
        (_span(22, 26), False),
        (_span(27, 30), False),
        (_span(31, 35), False),
        (_span(36, 41), True),
        (_span(42, 47), True),
        (_span(48, 59), True),
        (_span(60, 67), True),
    ),
)


def get_markup(num_landmarks: int) -> Markup:
    """The markup with so many points.

    Raises:
        ValueError: No markup has so many; the message lists those that there are.
    """
    known = {markup.num_landmarks: markup for markup in MARKUPS}
    if num_landmarks not in known:
        counts = ", ".join(str(count) for count in sorted(known))
        raise ValueError(f"no markup has {num_landmarks} points; the known ones have {counts}")
    return known[num_landmarks]


MARKUPS = (IBUG_68,)
