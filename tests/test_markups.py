"""Markups against published flip tables, written out here, and against faces drawn by hand, point by point."""

import json
from dataclasses import replace

import numpy as np
import pytest

from datasets.conversions import CONVERSIONS, convert, sources_of
from datasets.markup import from_dict, to_dict
from datasets.markups import (
    AFLW_19,
    AFLW_21,
    COFW_29,
    HELEN_194,
    IBUG_49,
    IBUG_51,
    IBUG_68,
    INSIGHTFACE_5,
    MARKUPS,
    WFLW_98,
    get_markup,
    markup_named,
    other_side,
)
from datasets.render.faces import RenderedFaces

REGIONS = ("jaw", "right_brow", "left_brow", "nose", "right_eye", "left_eye", "mouth")
each_markup = pytest.mark.parametrize("markup", MARKUPS, ids=lambda markup: markup.name)

# Faces drawn by hand on squared paper: x to the right of the picture, y down, the midline at x = 0.
# Every point is placed by its number in the data set's own figure.
FACE_68 = np.array(
    [
        *((-9, -3), (-9, -1), (-8.6, 1), (-8, 3), (-7, 5), (-5.5, 6.8), (-4, 8), (-2, 9), (0, 9.4)),
        *((2, 9), (4, 8), (5.5, 6.8), (7, 5), (8, 3), (8.6, 1), (9, -1), (9, -3)),
        *((-7, -5), (-5.8, -6), (-4.4, -6.3), (-3, -6), (-1.6, -5.4)),
        *((1.6, -5.4), (3, -6), (4.4, -6.3), (5.8, -6), (7, -5)),
        *((0, -3.4), (0, -2), (0, -0.6), (0, 0.8), (-1.6, 1.7), (-0.8, 2), (0, 2.2), (0.8, 2), (1.6, 1.7)),
        *((-5, -3), (-4, -4), (-3, -4), (-2, -3), (-3, -2.6), (-4, -2.6)),
        *((2, -3), (3, -4), (4, -4), (5, -3), (4, -2.6), (3, -2.6)),
        *((-3.4, 5), (-2.2, 4.3), (-0.9, 3.9), (0, 4.1), (0.9, 3.9), (2.2, 4.3), (3.4, 5)),
        *((2.2, 6), (1, 6.5), (0, 6.6), (-1, 6.5), (-2.2, 6)),
        *((-2.8, 5), (-1, 4.7), (0, 4.8), (1, 4.7), (2.8, 5), (1, 5.4), (0, 5.5), (-1, 5.4)),
    ],
    dtype=float,
)
FACE_29 = np.array(
    [
        *((-8, -6), (8, -6), (-2, -6), (2, -6), (-5, -7), (-5, -6.2), (5, -7), (5, -6.2)),
        *((-6.5, -4), (6.5, -4), (-2.5, -4), (2.5, -4), (-4.5, -4.8), (-4.5, -3.6), (4.5, -4.8), (4.5, -3.6)),
        *((-4.5, -4.2), (4.5, -4.2), (-2.4, 0.6), (2.4, 0.6), (0, 0.2), (0, 1.5)),
        *((-3.6, 4), (3.6, 4), (0, 3.3), (0, 3.9), (0, 4.6), (0, 5.6), (0, 9)),
    ],
    dtype=float,
)
FACE_21 = np.array(
    [
        *((-5, -5), (-3.2, -5.5), (-1.4, -5), (1.4, -5), (3.2, -5.5), (5, -5)),
        *((-4.2, -3.5), (-2.8, -3.6), (-1.6, -3.4), (1.6, -3.4), (2.8, -3.6), (4.2, -3.5)),
        *((-7.5, -1), (-1.9, 1), (0, 0.4), (1.9, 1), (7.5, -1), (-2.4, 4.2), (0, 4.4), (2.4, 4.2), (0, 9)),
    ],
    dtype=float,
)


def _arc(centre, width, height, start, stop, count, include_end):
    """Points of an ellipse; angles in degrees from the picture's right, turning upwards."""
    angles = np.deg2rad(np.linspace(start, stop, count, endpoint=include_end))
    return np.stack([centre[0] + width * np.cos(angles), centre[1] - height * np.sin(angles)], axis=1)


# Contours in the order of the annotation: every one starts as the comment at HELEN_194 says it does.
FACE_194 = np.concatenate(
    [
        _arc((0, -2), 9, 11, 180, 360, 41, True),  # jaw, from the picture's left under the chin
        _arc((0, 0), 2, 2.5, 150, 390, 17, True),  # nose, from its left side under the tip
        _arc((0, 5), 3.5, 1.6, 180, -180, 28, False),  # outer lips, from the left corner over the top
        _arc((0, 5), 2.6, 0.6, 180, -180, 28, False),
        _arc((4, -3), 1.5, 0.7, 180, -180, 20, False),  # eye on the picture's right, from its inner corner over the top
        _arc((-4, -3), 1.5, 0.7, 0, 360, 20, False),
        _arc((4.4, -6), 2.4, 0.6, 180, -180, 20, False),  # brow on the picture's right, from its inner end over the top
        _arc((-4.4, -6), 2.4, 0.6, 0, 360, 20, False),
    ]
)


RIGHT_BROW = [
    (-7, -5),
    (-5.8, -6),
    (-4.4, -6.3),
    (-3, -6),
    (-1.6, -5.4),
    (-1.7, -5),
    (-3, -5.5),
    (-4.4, -5.8),
    (-5.8, -5.5),
]
RIGHT_EYE = [(-5, -3), (-4.3, -3.7), (-3.5, -4), (-2.7, -3.7), (-2, -3), (-2.7, -2.6), (-3.5, -2.5), (-4.3, -2.6)]
JAW_33 = _arc((0, -3), 9, 12.4, 180, 360, 33, True)


def _mirrored(points, order):
    """Points on the other side of the face, in this order."""
    return [(-points[k][0], points[k][1]) for k in order]


LEFT_BROW = _mirrored(RIGHT_BROW, (4, 3, 2, 1, 0, 8, 7, 6, 5))
LEFT_EYE = _mirrored(RIGHT_EYE, (4, 3, 2, 1, 0, 7, 6, 5))
# In the order of WFLW's figure.
FACE_98 = np.array(
    [
        *JAW_33,
        *RIGHT_BROW,
        *LEFT_BROW,
        *FACE_68[27:36],
        *RIGHT_EYE,
        *LEFT_EYE,
        *FACE_68[48:],
        (-3.5, -3.3),
        (3.5, -3.3),
    ],
    dtype=float,
)
# InsightFace's figure: what carries each number on the photo, each contour followed by eye from its left end.
PLACES_106 = {
    **dict(zip([1, *range(9, 17), *range(2, 9), 0, *range(24, 17, -1), *range(32, 24, -1), 17], JAW_33)),
    **dict(zip((43, 48, 49, 51, 50, 46, 47, 45, 44), RIGHT_BROW)),
    **dict(zip((102, 103, 104, 105, 101, 100, 99, 98, 97), LEFT_BROW)),
    **dict(zip((35, 41, 40, 42, 39, 37, 33, 36), RIGHT_EYE)),
    **dict(zip((89, 95, 94, 96, 93, 91, 87, 90), LEFT_EYE)),
    **dict(zip((72, 73, 74, 86), FACE_68[27:31])),
    **dict(zip((75, 76, 77), [(-1, -1.5), (-1.4, 0), (-2, 1)])),
    **dict(zip((78, 79, 80, 85, 84), FACE_68[31:36])),
    **dict(zip((81, 82, 83), [(1, -1.5), (1.4, 0), (2, 1)])),
    **dict(zip((52, 64, 63, 71, 67, 68, 61, 58, 59, 53, 56, 55), FACE_68[48:60])),
    **dict(zip((65, 66, 62, 70, 69, 57, 60, 54), FACE_68[60:])),
    **dict(zip((34, 38, 88, 92), [(-3.5, -3.3), (-3.5, -3.2), (3.5, -3.3), (3.5, -3.2)])),
}
FACE_106 = np.array([PLACES_106[k] for k in range(106)], dtype=float)
FACE_5 = np.array([(-3.5, -3), (3.5, -3), (0, 0.8), (-3.4, 5), (3.4, 5)], dtype=float)

FACES = {
    "ibug_68": FACE_68,
    "ibug_51": FACE_68[17:],
    "ibug_49": np.delete(FACE_68, [*range(17), 60, 64], axis=0),
    "cofw_29": FACE_29,
    "aflw_21": FACE_21,
    "aflw_19": np.delete(FACE_21, [12, 16], axis=0),
    "helen_194": FACE_194,
    "wflw_98": FACE_98,
    "insightface_106": FACE_106,
    "insightface_5": FACE_5,
}


def _swaps(markup):
    """The pairs that trade places, counted from 1 as the published tables count."""
    return {(k + 1, m + 1) for k, m in enumerate(markup.flip_order) if k < m}


def test_68_points_flip_as_in_hrnets_table():
    published = {
        *((1, 17), (2, 16), (3, 15), (4, 14), (5, 13), (6, 12), (7, 11), (8, 10)),
        *((18, 27), (19, 26), (20, 25), (21, 24), (22, 23), (32, 36), (33, 35)),
        *((37, 46), (38, 45), (39, 44), (40, 43), (41, 48), (42, 47)),
        *((49, 55), (50, 54), (51, 53), (62, 64), (61, 65), (66, 68), (57, 59), (56, 60)),
    }
    assert _swaps(IBUG_68) == published


def test_29_points_flip_as_in_hrnets_table():
    published = {
        *((1, 2), (3, 4), (5, 7), (6, 8), (9, 10), (11, 12), (13, 15), (14, 16)),
        *((17, 18), (19, 20), (23, 24)),
    }
    assert _swaps(COFW_29) == published


def test_19_points_flip_as_in_hrnets_table():
    published = {(1, 6), (2, 5), (3, 4), (7, 12), (8, 11), (9, 10), (13, 15), (16, 18)}
    assert _swaps(AFLW_19) == published


def test_21_points_flip_with_the_ears():
    published = {(1, 6), (2, 5), (3, 4), (7, 12), (8, 11), (9, 10), (13, 17), (14, 16), (18, 20)}
    assert _swaps(AFLW_21) == published


def test_194_points_flip_as_published_tables_agree():
    flip = HELEN_194.flip_order
    assert flip[:41] == tuple(range(40, -1, -1))
    assert flip[41:58] == tuple(range(57, 40, -1))
    assert flip[114:] == (*range(134, 154), *range(114, 134), *range(174, 194), *range(154, 174))


def test_194_points_keep_each_lip_contour_in_one_piece_when_flipped():
    for first in (58, 86):
        ring = np.array(HELEN_194.flip_order[first : first + 28]) - first
        steps = np.diff(np.append(ring, ring[0])) % 28
        assert (steps == 27).all()  # once around, backwards


@each_markup
def test_flipping_twice_gives_the_same_face(markup):
    flip = np.array(markup.flip_order)
    np.testing.assert_array_equal(flip[flip], np.arange(markup.num_landmarks))


@each_markup
def test_a_symmetric_face_is_its_own_mirror_image(markup):
    face = FACES[markup.name]
    mirrored = (face * (-1, 1))[list(markup.flip_order)]
    np.testing.assert_allclose(mirrored, face, atol=1e-9)


@each_markup
def test_sides_are_the_subjects_own(markup):
    face = FACES[markup.name]
    assert len(face) == markup.num_landmarks
    for name, (x, _) in zip(markup.names, face):
        if name.startswith("right_"):
            assert x < -1e-6, name
        elif name.startswith("left_"):
            assert x > 1e-6, name
        else:
            assert abs(x) < 1e-6, name


@each_markup
def test_outer_eye_corners_are_the_outermost_points_of_the_eyes(markup):
    face = FACES[markup.name]
    if markup.outer_eye_corners is None:
        assert not any("outer_corner" in name for name in markup.names)
        return
    right, left = markup.outer_eye_corners
    assert right == min(markup.regions["right_eye"], key=lambda k: face[k, 0])
    assert left == max(markup.regions["left_eye"], key=lambda k: face[k, 0])
    assert (markup.names[right], markup.names[left]) == ("right_eye_outer_corner", "left_eye_outer_corner")


@each_markup
def test_pupils_lie_between_the_corners_of_their_eye(markup):
    face = FACES[markup.name]
    for side, pupil in zip(("right", "left"), markup.pupils):
        eye = face[[k for k, name in enumerate(markup.names) if name.startswith(f"{side}_eye")]]
        x, y = face[list(pupil)].mean(axis=0)
        assert eye[:, 0].min() < x < eye[:, 0].max() or len(eye) == 1
        assert abs(y - eye[:, 1].mean()) < 0.5


@each_markup
def test_upper_points_lie_above_lower_ones(markup):
    height = dict(zip(markup.names, FACES[markup.name][:, 1]))
    for upper, lower in (("upper", "lower"), ("_top", "_bottom")):
        for name in markup.names:
            partner = name.replace(upper, lower).replace("underside", "upperside")
            if partner != name and partner in height:
                assert height[name] < height[partner], name


@each_markup
def test_regions_lie_where_a_face_has_them(markup):
    face = FACES[markup.name]
    centre = {region: face[list(indices)].mean(axis=0) for region, indices in markup.regions.items()}
    if "right_brow" in centre:
        assert centre["right_brow"][0] < 0 < centre["left_brow"][0]
    assert centre["right_eye"][0] < 0 < centre["left_eye"][0]
    for higher, lower in (*((("brow", "eye"),) if "right_brow" in centre else ()), ("eye", None)):
        for side in ("right", "left"):
            below = centre[f"{side}_{lower}"] if lower else centre["nose"]
            assert centre[f"{side}_{higher}"][1] < below[1]
    assert centre["nose"][1] < centre["mouth"][1]


@each_markup
def test_regions_share_out_the_points(markup):
    assert set(markup.regions) <= set(REGIONS)
    members = sorted(k for indices in markup.regions.values() for k in indices)
    assert members == list(range(markup.num_landmarks))


@each_markup
def test_a_region_flips_to_its_other_side(markup):
    for region, indices in markup.regions.items():
        flipped = {markup.flip_order[k] for k in indices}
        assert flipped == set(markup.regions[other_side(region)])


@each_markup
def test_lines_join_neighbours(markup):
    face = FACES[markup.name]
    for indices, closed in markup.lines:
        assert len(indices) > 1
        path = face[list(indices) + ([indices[0]] if closed else [])]
        # The longest step on any of the drawn faces is from the mouth's corner to its middle.
        assert np.linalg.norm(np.diff(path, axis=0), axis=1).max() < (4.5 if len(face) > 5 else 8)


def test_49_and_51_points_are_those_of_68():
    assert IBUG_51.names == IBUG_68.names[17:]
    assert [name for name in IBUG_51.names if name not in IBUG_49.names] == [
        "right_inner_mouth_corner",
        "left_inner_mouth_corner",
    ]
    assert "jaw" not in IBUG_49.regions
    assert IBUG_49.outer_eye_corners == (19, 28)
    assert IBUG_49.pupils == ((19, 20, 21, 22, 23, 24), (25, 26, 27, 28, 29, 30))


@each_markup
def test_a_markup_is_found_by_its_number_of_points(markup):
    assert get_markup(markup.num_landmarks) is markup


def test_98_points_flip_as_in_mmposes_table():
    published = {
        *((k, 32 - k) for k in range(16)),
        *((33, 46), (34, 45), (35, 44), (36, 43), (37, 42), (38, 50), (39, 49), (40, 48), (41, 47), (55, 59), (56, 58)),
        *((60, 72), (61, 71), (62, 70), (63, 69), (64, 68), (65, 75), (66, 74), (67, 73)),
        *((76, 82), (77, 81), (78, 80), (83, 87), (84, 86), (88, 92), (89, 91), (93, 95), (96, 97)),
    }
    assert {(k, m) for k, m in enumerate(WFLW_98.flip_order) if k < m} == published


class TestOfOnesOwn:
    @pytest.mark.parametrize("count", [1, 7, 478])
    def test_any_other_number_of_points_is_never_mirrored_and_measured_by_its_box(self, count):
        markup = get_markup(count)
        assert (markup.name, markup.num_landmarks, markup.normalizer) == (f"points_{count}", count, "box_geometric")
        assert markup_named(markup.name) == markup
        assert not markup.can_flip
        with pytest.raises(ValueError, match=f"points_{count} does not say which points trade places"):
            _ = markup.flip_order

    def test_what_a_length_is_measured_between(self):
        assert [get_markup(count).normalizer for count in (68, 98, 106, 5)] == [*["outer_eye"] * 3, "pupil"]

    def test_names_with_sides_or_pairs_say_how_to_mirror(self):
        named = from_dict({"names": ["right_eye", "nose", "left_eye"]})
        assert named.flip_order == (2, 1, 0)
        paired = from_dict({"flip_pairs": [[0, 3]], "outer_eye_corners": [0, 3], "lines": [[0, 1, 2, 0], [1, 2]]}, 4)
        assert paired.flip_order == (3, 1, 2, 0)
        assert paired.lines == (((0, 1, 2), True), ((1, 2), False))
        assert (paired.name, paired.normalizer) == ("points_4", "outer_eye")
        assert from_dict({"flip_pairs": []}, 4).flip_order == (0, 1, 2, 3)  # all on the midline
        assert not from_dict({}, 4).can_flip

    @each_markup
    def test_as_plain_json_and_back(self, markup):
        again = from_dict(json.loads(json.dumps(to_dict(markup))), markup.num_landmarks)
        assert again == replace(
            markup, offset=0.0
        )  # which is measured on faces that all were marked by the same people
        assert again.regions == markup.regions

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ([1], "it is no object"),
            ({"pairs": [[0, 1]]}, "it has 'pairs', which is none of name, names, flip_pairs"),
            ({"flip_pairs": [[0, 4]]}, "flip_pairs: 4 is no point; they count from 0 to 3"),
            ({"flip_pairs": [[0, True]]}, "flip_pairs: True is no point"),
            ({"flip_pairs": [[0, 1, 2]]}, "are not two points"),
            ({"flip_pairs": [[0, 1], [1, 2]]}, "a point is in two of them, or its own partner"),
            ({"flip_pairs": [[1, 1]]}, "a point is in two of them, or its own partner"),
            ({"flip_pairs": 3}, "flip_pairs is no list: 3"),
            ({"names": ["a", "b"]}, "names: there are 2, where faces have 4 points"),
            ({"names": ["a", "b", "a", "c"]}, "names: two points have the same one"),
            ({"names": ["right_eye", "b", "a", "c"]}, "'right_eye' has no partner 'left_eye'"),
            ({"lines": [[]]}, "lines: an empty list of points"),
            ({"lines": [["a"]]}, "lines: 'a' is no point"),
            ({"regions": {"ear": [0]}}, "regions: an object whose keys are some of jaw, right_brow"),
            ({"pupils": [0]}, "pupils: give the points of the right one and those of the left one"),
            ({"name": 5}, "name is no text: 5"),
        ],
    )
    def test_what_it_cannot_say(self, values, message):
        with pytest.raises(ValueError, match=message):
            from_dict(values, 4)

    def test_an_unknown_name(self):
        for name in ("ibug_69", "points_", "points_0", "points_-3"):
            with pytest.raises(ValueError, match=f"no markup is called '{name}'; known are ibug_68, .* points_N"):
                markup_named(name)


class TestConversions:
    @pytest.mark.parametrize(("source", "target"), CONVERSIONS)
    def test_the_drawn_faces_convert_to_each_other(self, source, target):
        source, target = markup_named(source), markup_named(target)
        converted, drawn = convert(FACES[source.name], source, target), FACES[target.name]
        assert converted.shape == drawn.shape
        # Drawn by hand, an outline of 33 points is not the one of 17, nor are six points of an eye those of eight.
        assert np.linalg.norm(converted - drawn, axis=1).max() < (1.5 if source is WFLW_98 else 1e-9)

    @pytest.mark.parametrize(("source", "target"), CONVERSIONS)
    def test_a_mirrored_face_converts_to_the_mirrored_one(self, source, target):
        source, target = markup_named(source), markup_named(target)
        points = np.random.default_rng(0).normal(size=(3, source.num_landmarks, 2))
        first = convert(points * (-1, 1), source, target)[:, list(target.flip_order)]
        second = convert((points * (-1, 1))[:, list(source.flip_order)], source, target)
        np.testing.assert_allclose(first, second, atol=1e-12)

    def test_98_points_to_68_as_published(self):
        taken = {36: 60, 37: 61, 38: 63, 39: 64, 40: 65, 41: 67, 42: 68, 43: 69, 44: 71, 45: 72, 46: 73, 47: 75}
        taken.update({k: 2 * k for k in range(17)})
        for first, last, start in ((17, 22, 33), (22, 27, 42), (27, 36, 51), (48, 68, 76)):
            taken.update({k: start + k - first for k in range(first, last)})
        points = np.arange(98 * 2.0).reshape(98, 2)
        np.testing.assert_array_equal(convert(points, WFLW_98, IBUG_68), points[[taken[k] for k in range(68)]])

    def test_68_points_to_five_take_the_middle_of_the_corners(self):
        points = np.arange(68 * 2.0).reshape(1, 68, 2)
        expected = [[75, 76], [87, 88], [60, 61], [96, 97], [108, 109]]
        np.testing.assert_array_equal(convert(points, IBUG_68, INSIGHTFACE_5)[0], expected)

    def test_names_tell_the_points_of_a_markup_of_ones_own(self):
        names = ("nose_tip", "left_eye_centre", "left_mouth_corner")
        own = from_dict({"name": "mine", "names": list(names), "flip_pairs": []})
        # The nose's tip is point 30, the left eye's corners are 42 and 45, the left mouth corner is 54.
        assert sources_of(IBUG_68, own) == ((30,), (42, 45), (54,))
        assert sources_of(INSIGHTFACE_5, own) == ((2,), (1,), (4,))
        assert sources_of(IBUG_68, get_markup(7)) is sources_of(own, IBUG_68) is None

    def test_there_is_no_way_back(self):
        with pytest.raises(ValueError, match="insightface_5 points to ibug_68: none leads from it"):
            convert(np.zeros((5, 2)), INSIGHTFACE_5, IBUG_68)
        with pytest.raises(ValueError, match="ibug_68 points to wflw_98: it converts to ibug_51, ibug_49"):
            convert(np.zeros((68, 2)), IBUG_68, WFLW_98)
        with pytest.raises(ValueError, match="are not 68 of ibug_68"):
            convert(np.zeros((5, 2)), IBUG_68, IBUG_51)


def test_a_mirrored_rendered_face_keeps_its_right_side_on_the_right():
    for face in RenderedFaces(6, seed=3):
        for points in (face.points_image, (face.points_image * (-1, 1))[list(IBUG_68.flip_order)]):
            eyes = {side: points[list(IBUG_68.regions[f"{side}_eye"])].mean(axis=0) for side in ("right", "left")}
            assert eyes["right"][0] < eyes["left"][0]
            mouth = points[list(IBUG_68.regions["mouth"])].mean(axis=0)
            across, down = eyes["left"] - eyes["right"], mouth - (eyes["left"] + eyes["right"]) / 2
            assert across[0] * down[1] - across[1] * down[0] > 0  # the mouth is below the eyes, not above
