"""Markups: which points a face has, what each is called, and which point becomes which in a mirror.

"right" and "left" are the subject's own sides, so the right eye is on the left of an upright photo. The names carry the
sides, and the flip order follows from them: a point goes to the one whose name has the sides exchanged.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Sequence, Tuple

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


def get_markup(num_landmarks: int) -> Markup:
    """The markup with so many points; ValueError, which lists the known numbers, if there is none."""
    known = {markup.num_landmarks: markup for markup in MARKUPS}
    if num_landmarks not in known:
        counts = ", ".join(str(count) for count in sorted(known))
        raise ValueError(f"no markup has {num_landmarks} points; the known ones have {counts}")
    return known[num_landmarks]


def _span(first: int, last: int) -> Indices:
    return tuple(range(first, last + 1))


def _up(name: str, last: int) -> list[str]:
    return [f"{name}_{number}" for number in range(1, last + 1)]


def _down(name: str, first: int) -> list[str]:
    return _up(name, first)[::-1]


def _part(markup: Markup, name: str, kept: Sequence[int]) -> Markup:
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


# The 68 points of 300-W (Sagonas et al., "300 Faces in-the-Wild Challenge", 2013, Fig. 1), which count from 1 there.
IBUG_68 = Markup(
    name="ibug_68",
    names=(
        *_up("right_jaw", 8),
        "chin",
        *_down("left_jaw", 8),
        *("right_brow_outer", "right_brow_2", "right_brow_3", "right_brow_4", "right_brow_inner"),
        *("left_brow_inner", "left_brow_4", "left_brow_3", "left_brow_2", "left_brow_outer"),
        *("nose_bridge_1", "nose_bridge_2", "nose_bridge_3", "nose_tip"),
        *("right_nostril", "right_nostril_inner", "nose_base", "left_nostril_inner", "left_nostril"),
        *("right_eye_outer_corner", "right_eye_upper_outer", "right_eye_upper_inner"),
        *("right_eye_inner_corner", "right_eye_lower_inner", "right_eye_lower_outer"),
        *("left_eye_inner_corner", "left_eye_upper_inner", "left_eye_upper_outer"),
        *("left_eye_outer_corner", "left_eye_lower_outer", "left_eye_lower_inner"),
        *("right_mouth_corner", "right_upper_lip", "right_upper_lip_peak", "upper_lip_top"),
        *("left_upper_lip_peak", "left_upper_lip", "left_mouth_corner"),
        *("left_lower_lip_outer", "left_lower_lip", "lower_lip_bottom", "right_lower_lip", "right_lower_lip_outer"),
        *("right_inner_mouth_corner", "right_upper_lip_underside", "upper_lip_underside", "left_upper_lip_underside"),
        *("left_inner_mouth_corner", "left_lower_lip_upperside", "lower_lip_upperside", "right_lower_lip_upperside"),
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

# Without the outline; and without the two inner mouth corners too, as SDM (Xiong and De la Torre, 2013) places them.
IBUG_51 = _part(IBUG_68, "ibug_51", _span(17, 67))
IBUG_49 = _part(IBUG_68, "ibug_49", _span(17, 59) + _span(61, 63) + _span(65, 67))

# LFPW's order, which COFW (Burgos-Artizzu et al., 2013) keeps: sides alternate, the subject's right side first.
# Read from Menpo's face_lfpw_29 labels, from HRNet-Facial-Landmark-Detection's MATCHED_PARTS["COFW"] and from the mean
# face of PIPNet's data/COFW. Pupils are marked.
COFW_29 = Markup(
    name="cofw_29",
    names=(
        *("right_brow_outer", "left_brow_outer", "right_brow_inner", "left_brow_inner"),
        *("right_brow_top", "right_brow_bottom", "left_brow_top", "left_brow_bottom"),
        *("right_eye_outer_corner", "left_eye_outer_corner", "right_eye_inner_corner", "left_eye_inner_corner"),
        *("right_eye_top", "right_eye_bottom", "left_eye_top", "left_eye_bottom"),
        *("right_pupil", "left_pupil", "right_nostril", "left_nostril", "nose_tip", "nose_base"),
        *("right_mouth_corner", "left_mouth_corner"),
        *("upper_lip_top", "upper_lip_underside", "lower_lip_upperside", "lower_lip_bottom", "chin"),
    ),
    outer_eye_corners=(8, 9),
    pupils=((16,), (17,)),
    regions={
        "jaw": (28,),
        "right_brow": (0, 4, 2, 5),
        "left_brow": (3, 6, 1, 7),
        "nose": (18, 20, 19, 21),
        "right_eye": (8, 12, 10, 13, 16),
        "left_eye": (11, 14, 9, 15, 17),
        "mouth": (22, 24, 23, 27, 25, 26),
    },
    lines=(
        ((0, 4, 2, 5), True),
        ((3, 6, 1, 7), True),
        ((8, 12, 10, 13), True),
        ((11, 14, 9, 15), True),
        ((18, 20, 19, 21), True),
        ((22, 24, 23, 27), True),
        ((22, 25, 23, 26), True),
    ),
)

# AFLW (Koestinger et al., 2011). Its FeatureCoordTypes table says "left" for the viewer's left, that is the subject's
# right. It marks no pupil; the centres of the eyes (7 and 10) stand for them.
AFLW_21 = Markup(
    name="aflw_21",
    names=(
        *("right_brow_outer", "right_brow_middle", "right_brow_inner"),
        *("left_brow_inner", "left_brow_middle", "left_brow_outer"),
        *("right_eye_outer_corner", "right_eye_centre", "right_eye_inner_corner"),
        *("left_eye_inner_corner", "left_eye_centre", "left_eye_outer_corner"),
        *("right_ear", "right_nostril", "nose_tip", "left_nostril", "left_ear"),
        *("right_mouth_corner", "mouth_centre", "left_mouth_corner", "chin"),
    ),
    outer_eye_corners=(6, 11),
    pupils=((7,), (10,)),
    regions={
        "jaw": (12, 20, 16),
        "right_brow": (0, 1, 2),
        "left_brow": (3, 4, 5),
        "nose": (13, 14, 15),
        "right_eye": (6, 7, 8),
        "left_eye": (9, 10, 11),
        "mouth": (17, 18, 19),
    },
    lines=(
        ((0, 1, 2), False),
        ((3, 4, 5), False),
        ((6, 7, 8), False),
        ((9, 10, 11), False),
        ((13, 14, 15), False),
        ((17, 18, 19), False),
    ),
)

# Without the ears, as AFLWinfo_release.mat lists the points, with HRNet's MATCHED_PARTS["AFLW"] and mmpose's aflw.py.
AFLW_19 = _part(AFLW_21, "aflw_19", [k for k in range(21) if k not in (12, 16)])


def _rings(side: str, what: str, first: str, last: str) -> list[str]:
    """Names of a closed contour of 20 points that starts at its inner end and comes back below."""
    return [
        f"{side}_{what}_{first}",
        *_up(f"{side}_{what}_upper", 9),
        f"{side}_{what}_{last}",
        *_down(f"{side}_{what}_lower", 9),
    ]


def _lips(corner: str, upper: str, upper_middle: str, lower: str, lower_middle: str) -> list[str]:
    """Names of a closed contour of 28 points from the right corner over the upper lip and back below."""
    return [
        f"right_{corner}",
        *_up(f"right_{upper}", 6),
        upper_middle,
        *_down(f"left_{upper}", 6),
        f"left_{corner}",
        *_up(f"left_{lower}", 6),
        lower_middle,
        *_down(f"right_{lower}", 6),
    ]


# HELEN's own annotation (Le et al., 2012), after the PUT Face Database: contours one after the other, each resampled
# evenly. No list of names is published. Two published flip tables, of Deep Iterative Collaboration's augmentation and
# of a HELEN port of Stasm, agree on jaw, nose, eyes and brows; users of the 194-point dlib model draw eyeliner to 124
# and 144, so that an eye starts at its inner corner. Assumed: the lips, where the tables differ by a point and neither
# maps both contours onto themselves. Taken is what puts the corners opposite each other, as they are in the eyes and as
# most entries of the second table have them: 58 and 72 without, 86 and 100 within.
HELEN_194 = Markup(
    name="helen_194",
    names=(
        *_up("right_jaw", 20),
        "chin",
        *_down("left_jaw", 20),
        *_up("right_nose", 8),
        "nose_base",
        *_down("left_nose", 8),
        *_lips("mouth_corner", "upper_lip", "upper_lip_top", "lower_lip", "lower_lip_bottom"),
        *_lips(
            "inner_mouth_corner",
            "upper_lip_underside",
            "upper_lip_underside",
            "lower_lip_upperside",
            "lower_lip_upperside",
        ),
        *_rings("left", "eye", "inner_corner", "outer_corner"),
        *_rings("right", "eye", "inner_corner", "outer_corner"),
        *_rings("left", "brow", "inner", "outer"),
        *_rings("right", "brow", "inner", "outer"),
    ),
    outer_eye_corners=(144, 124),
    pupils=(_span(134, 153), _span(114, 133)),
    regions={
        "jaw": _span(0, 40),
        "right_brow": _span(174, 193),
        "left_brow": _span(154, 173),
        "nose": _span(41, 57),
        "right_eye": _span(134, 153),
        "left_eye": _span(114, 133),
        "mouth": _span(58, 113),
    },
    lines=(
        (_span(0, 40), False),
        (_span(41, 57), False),
        (_span(58, 85), True),
        (_span(86, 113), True),
        (_span(114, 133), True),
        (_span(134, 153), True),
        (_span(154, 173), True),
        (_span(174, 193), True),
    ),
)

MARKUPS = (IBUG_68, IBUG_51, IBUG_49, COFW_29, AFLW_21, AFLW_19, HELEN_194)
