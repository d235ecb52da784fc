"""The markups that are known: which points a face has in each, and which of a user's own number of points stands.

Names, sides and flip orders: see `datasets.markup`.
"""

from __future__ import annotations

from dataclasses import replace

from datasets.markup import Indices, Line, Markup, other_side, part_of, plain_markup

__all__ = ["MARKUPS", "Indices", "Line", "Markup", "get_markup", "is_known", "markup_named", "other_side"]


def get_markup(num_landmarks: int) -> Markup:
    """The known markup with so many points; where there is none, one that knows no mirror, eyes or lines."""
    known = {markup.num_landmarks: markup for markup in MARKUPS}
    return known.get(num_landmarks) or plain_markup(num_landmarks)


def markup_named(name: str) -> Markup:
    """The markup of this name, "points_7" among them.

    Raises:
        ValueError: There is none.
    """
    for markup in MARKUPS:
        if markup.name == name:
            return markup
    count = name[len("points_") :] if name.startswith("points_") else ""
    if count.isascii() and count.isdigit() and 0 < int(count) < 100_000:
        return plain_markup(int(count))
    known = ", ".join(markup.name for markup in MARKUPS)
    raise ValueError(f"no markup is called '{name}'; known are {known}, and points_N for N others")


def is_known(markup: Markup) -> bool:
    """Whether a markup is the one that its name stands for."""
    return markup in MARKUPS or markup == plain_markup(markup.num_landmarks)


def _span(first: int, last: int) -> Indices:
    return tuple(range(first, last + 1))


def _up(name: str, last: int) -> list[str]:
    return [f"{name}_{number}" for number in range(1, last + 1)]


def _down(name: str, first: int) -> list[str]:
    return _up(name, first)[::-1]


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
    offset=0.0043,
)

# Without the outline; and without the two inner mouth corners too, as SDM (Xiong and De la Torre, 2013) places them.
# Their boxes are 0.803 as wide.
IBUG_51 = replace(part_of(IBUG_68, "ibug_51", _span(17, 67)), offset=IBUG_68.offset / 0.803)
IBUG_49 = replace(
    part_of(IBUG_68, "ibug_49", _span(17, 59) + _span(61, 63) + _span(65, 67)), offset=IBUG_68.offset / 0.803
)

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
AFLW_19 = part_of(AFLW_21, "aflw_19", [k for k in range(21) if k not in (12, 16)])


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

# WFLW (Wu et al., "Look at Boundary", CVPR 2018). Outline, upper and lower edge of each brow, nose, eyes, lips, pupils.
WFLW_98 = Markup(
    name="wflw_98",
    names=(
        *_up("right_jaw", 16),
        "chin",
        *_down("left_jaw", 16),
        *("right_brow_outer", "right_brow_upper_2", "right_brow_upper_3", "right_brow_upper_4", "right_brow_inner"),
        *("right_brow_lower_4", "right_brow_lower_3", "right_brow_lower_2", "right_brow_lower_1"),
        *("left_brow_inner", "left_brow_upper_4", "left_brow_upper_3", "left_brow_upper_2", "left_brow_outer"),
        *("left_brow_lower_1", "left_brow_lower_2", "left_brow_lower_3", "left_brow_lower_4"),
        *("nose_bridge_1", "nose_bridge_2", "nose_bridge_3", "nose_tip"),
        *("right_nostril", "right_nostril_inner", "nose_base", "left_nostril_inner", "left_nostril"),
        *("right_eye_outer_corner", "right_eye_upper_outer", "right_eye_upper", "right_eye_upper_inner"),
        *("right_eye_inner_corner", "right_eye_lower_inner", "right_eye_lower", "right_eye_lower_outer"),
        *("left_eye_inner_corner", "left_eye_upper_inner", "left_eye_upper", "left_eye_upper_outer"),
        *("left_eye_outer_corner", "left_eye_lower_outer", "left_eye_lower", "left_eye_lower_inner"),
        *IBUG_68.names[48:],
        *("right_pupil", "left_pupil"),
    ),
    outer_eye_corners=(60, 72),
    pupils=((96,), (97,)),
    regions={
        "jaw": _span(0, 32),
        "right_brow": _span(33, 41),
        "left_brow": _span(42, 50),
        "nose": _span(51, 59),
        "right_eye": (*_span(60, 67), 96),
        "left_eye": (*_span(68, 75), 97),
        "mouth": _span(76, 95),
    },
    lines=(
        (_span(0, 32), False),
        (_span(33, 41), True),
        (_span(42, 50), True),
        (_span(51, 54), False),
        (_span(55, 59), False),
        (_span(60, 67), True),
        (_span(68, 75), True),
        (_span(76, 87), True),
        (_span(88, 95), True),
    ),
)

# InsightFace's detectors (RetinaFace, SCRFD) and its ArcFace template: the eyes' centres, the nose, the mouth's
# corners, those on the left of the photo first.
INSIGHTFACE_5 = Markup(
    name="insightface_5",
    names=("right_eye_centre", "left_eye_centre", "nose_tip", "right_mouth_corner", "left_mouth_corner"),
    outer_eye_corners=None,
    pupils=((0,), (1,)),
    regions={"nose": (2,), "right_eye": (0,), "left_eye": (1,), "mouth": (3, 4)},
    lines=((_span(0, 1), False), (_span(3, 4), False)),
)

# InsightFace's 2d106det. Its published figure numbers the points out of order; each contour is listed here as it runs,
# after the lists of several programs that draw it. Two points mark the middle of an eye: 34 and 88 are the pupils.
_JAW_106 = (1, *_span(9, 16), *_span(2, 8), 0, *_span(18, 24)[::-1], *_span(25, 32)[::-1], 17)
_RIGHT_BROW_106, _LEFT_BROW_106 = (43, 48, 49, 51, 50, 46, 47, 45, 44), (102, 103, 104, 105, 101, 100, 99, 98, 97)
_RIGHT_EYE_106, _LEFT_EYE_106 = (35, 41, 40, 42, 39, 37, 33, 36), (89, 95, 94, 96, 93, 91, 87, 90)
_BRIDGE_106, _NOSTRILS_106 = (72, 73, 74, 86), (75, 76, 77, 78, 79, 80, 85, 84, 83, 82, 81)
_OUTER_LIPS_106, _INNER_LIPS_106 = (52, 64, 63, 71, 67, 68, 61, 58, 59, 53, 56, 55), (65, 66, 62, 70, 69, 57, 60, 54)
_MIDDLES_106 = (34, 38, 88, 92)
_NAMES_106 = dict(
    zip(
        (
            *(*_JAW_106, *_RIGHT_BROW_106, *_LEFT_BROW_106, *_BRIDGE_106, *_NOSTRILS_106),
            *(*_RIGHT_EYE_106, *_LEFT_EYE_106, *_OUTER_LIPS_106, *_INNER_LIPS_106, *_MIDDLES_106),
        ),
        (
            *WFLW_98.names[:55],
            *("right_nose_side_1", "right_nose_side_2", "right_nose_wing", "right_nostril", "right_nostril_inner"),
            "nose_base",
            *("left_nostril_inner", "left_nostril", "left_nose_wing", "left_nose_side_2", "left_nose_side_1"),
            *WFLW_98.names[60:96],
            *("right_pupil", "right_eye_centre", "left_pupil", "left_eye_centre"),
        ),
    )
)
INSIGHTFACE_106 = Markup(
    name="insightface_106",
    names=tuple(_NAMES_106[k] for k in range(106)),
    outer_eye_corners=(35, 93),
    pupils=((34,), (88,)),
    regions={
        "jaw": _JAW_106,
        "right_brow": _RIGHT_BROW_106,
        "left_brow": _LEFT_BROW_106,
        "nose": _BRIDGE_106 + _NOSTRILS_106,
        "right_eye": (*_RIGHT_EYE_106, 34, 38),
        "left_eye": (*_LEFT_EYE_106, 88, 92),
        "mouth": _OUTER_LIPS_106 + _INNER_LIPS_106,
    },
    lines=(
        (_JAW_106, False),
        (_RIGHT_BROW_106, True),
        (_LEFT_BROW_106, True),
        (_BRIDGE_106, False),
        (_NOSTRILS_106, False),
        (_RIGHT_EYE_106, True),
        (_LEFT_EYE_106, True),
        (_OUTER_LIPS_106, True),
        (_INNER_LIPS_106, True),
    ),
)

MARKUPS = (IBUG_68, IBUG_51, IBUG_49, COFW_29, AFLW_21, AFLW_19, HELEN_194, WFLW_98, INSIGHTFACE_106, INSIGHTFACE_5)
