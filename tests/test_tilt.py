"""How far a face is tilted, the upright crop of it, and the passes that a tilted face gets."""

import dataclasses

import cv2
import mxnet as mx
import numpy as np
import pytest

from datasets.geometry import transform_points
from datasets.markups import IBUG_68
from datasets.render.faces import RenderedFaces
from gluon_models import InputSpec, load_weights, shipped_weights
from inference import LandmarkDetector
from inference.pipeline import MOST_TURNS, PointPredictor, locate
from inference.tilt import LARGEST_TILT, TiltedBox, tilt_degrees, upright_box
from tools import evaluate_tilt

SPEC = InputSpec(size=32, colour="rgb", mean=(0.0,) * 3, scale=(1.0,) * 3, box_margin=0.0, output="points")
FACE = RenderedFaces(1, seed=3)[0]


def turned(points, degrees, centre=(0.0, 0.0)):
    angle = np.deg2rad(degrees)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return (points - centre) @ rotation.T + centre


def plain_face():
    """68 points whose eyes are 40 px apart, the mouth 30 px below their middle, and all others there, too."""
    points = np.full((68, 2), (50.0, 50.0))
    points[36:42], points[42:48], points[48:68] = (30, 50), (70, 50), (50, 80)
    return points


@pytest.mark.parametrize("degrees", [0, 30, -45, 135])
def test_a_face_is_tilted_as_far_as_it_was_turned(degrees):
    assert tilt_degrees(turned(plain_face(), degrees), IBUG_68) == pytest.approx(degrees)


def test_both_lines_count_by_their_lengths():
    points = plain_face()
    points[42:48] = (30, 51)  # seen from the side: the eyes almost one above the other
    points[48:68] = (30, 80.5)  # the mouth 30 px below their middle, straight down
    assert tilt_degrees(points, IBUG_68) == pytest.approx(np.degrees(np.arctan2(1, 30)))


def test_a_face_without_eyes_or_markup_counts_as_upright():
    assert tilt_degrees(plain_face(), None) == 0
    assert upright_box(plain_face(), None).box.tolist() == [30, 50, 70, 80]


def test_the_upright_box_is_tight_around_the_upright_face():
    # Upright, the face spans 40 by 30 px about (50, 65); turned about that, its box about the centre stays the same.
    tilted = turned(plain_face(), 60, (50, 65))
    place = upright_box(tilted, IBUG_68)
    np.testing.assert_allclose(place.box, [30, 50, 70, 80], atol=1e-9)
    assert place.degrees == pytest.approx(60)
    # In the crop of 32 px, which shows 40 px, the eyes lie level: (30, 50) is 5 px below the square's upper border.
    eyes = transform_points(tilted[[36, 42]], place.matrix(SPEC))
    np.testing.assert_allclose(eyes, [[-0.1, 3.9], [31.9, 3.9]], atol=1e-9)


class Blind:
    """Answers a face that is tilted by half of what it is in the crop: turning helps, pass after pass."""

    def __init__(self, degrees):
        self.left, self.calls = degrees, 0

    def __call__(self, faces):
        self.calls += 1
        self.left /= 2
        points = 0.5 + turned((plain_face() - (50, 65)) / 100, self.left)
        return mx.nd.array(np.repeat(points[None], len(faces), axis=0))


@pytest.mark.parametrize(
    ("degrees", "passes", "calls"),
    [
        (2 * LARGEST_TILT - 1, 1, 1),  # seen at less than the limit: one pass, as asked for
        (2 * LARGEST_TILT + 1, 1, 2),  # seen just beyond it: one more, where a quarter is left
        (2 * LARGEST_TILT - 1, 2, 2),
        (16 * LARGEST_TILT, 1, 1 + MOST_TURNS),  # no end of it otherwise
    ],
)
def test_a_tilted_face_gets_passes_more(degrees, passes, calls):
    net = Blind(degrees)
    photo = np.zeros((100, 100, 3), np.uint8)
    locate(PointPredictor(net, SPEC, markup=IBUG_68), photo, [np.array([20.0, 20, 80, 80])], passes)
    assert net.calls == calls


def test_without_a_markup_no_face_is_turned():
    net = Blind(90)
    locate(PointPredictor(net, SPEC), np.zeros((100, 100, 3), np.uint8), [np.array([20.0, 20, 80, 80])])
    assert net.calls == 1


@pytest.mark.parametrize("degrees", [-50, 50])
def test_a_tilted_face_is_found_as_accurately_as_the_upright_one(degrees):
    place = TiltedBox(FACE.box, -degrees)  # an upright crop of it is the photo, turned
    wide = InputSpec(224, "rgb", SPEC.mean, SPEC.scale, 0.5, "points")
    matrix = place.matrix(wide)
    photo = np.ascontiguousarray(cv2.warpAffine(FACE.image, matrix, (224, 224)))
    truth = transform_points(FACE.points_image, matrix)
    detector = LandmarkDetector.from_pretrained("ffld_resnet18_rendered", "whole")
    (face,) = detector.detect(photo, [[*truth.min(axis=0), *truth.max(axis=0)]])
    error = np.linalg.norm(face.points - truth, axis=1).mean() / np.linalg.norm(truth[36] - truth[45])
    assert error < 0.05


def test_without_a_mouth_the_eyes_alone_count():
    eyes_alone = dataclasses.replace(IBUG_68, regions={})
    points = plain_face()
    points[42:48] = (70, 90)
    assert tilt_degrees(points, eyes_alone) == pytest.approx(45)


def test_a_turned_photo_keeps_its_points():
    """A dot on the nose is where the turned point is, up to half a pixel."""
    dotted = FACE.image.copy()
    x, y = np.rint(FACE.points_image[30]).astype(int)
    dotted[:], dotted[y - 1 : y + 2, x - 1 : x + 2] = 0, 255
    points_image = FACE.points_image.copy()
    points_image[30] = x, y
    view, points = evaluate_tilt.turned(FACE._replace(image=dotted, points_image=points_image), 60.0)
    rows, columns = np.nonzero(view.image[..., 0] > 100)
    assert [columns.mean(), rows.mean()] == pytest.approx(points[30], abs=0.5)
    upright = evaluate_tilt.turned(FACE, 0.0)[1]
    assert tilt_degrees(points, IBUG_68) == pytest.approx(tilt_degrees(upright, IBUG_68) + 60, abs=1)


def test_more_passes_help_a_tilted_face_alone():
    net, info = load_weights(shipped_weights("resnet18_slim_rendered"), None, mx.cpu())
    predictor = PointPredictor(net, info.spec, mx.cpu(), markup=IBUG_68)
    one, given, found = evaluate_tilt.errors_of(predictor, *evaluate_tilt.turned(FACE, 0.0))
    assert one == given
    one, given, found = evaluate_tilt.errors_of(predictor, *evaluate_tilt.turned(FACE, 50.0))
    assert max(given, found) < 0.8 * one
