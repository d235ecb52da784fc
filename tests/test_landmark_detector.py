"""Detector and network joined, and what is drawn of the result."""

import itertools

import cv2
import mxnet as mx
import numpy as np
import pytest

from datasets.markups import AFLW_19, IBUG_68, MARKUPS
from gluon_models import InputSpec
from inference import landmark_detector
from inference.detectors import BoxCorrection, CorrectedDetector, Detection
from inference.drawing import REGION_COLOURS, WHITE, draw_faces
from inference.landmark_detector import LandmarkDetector, LocatedFace, check_image
from inference.pipeline import PointPredictor
from untrained import save_random

SPEC = InputSpec(size=16, colour="rgb", mean=(0.0,) * 3, scale=(1.0,) * 3, box_margin=0.5, output="points")
PHOTO = np.random.default_rng(0).integers(0, 256, (80, 120, 3), dtype=np.uint8)


class Diagonal:
    """Answers 19 points along the diagonal of each crop, and counts its calls."""

    calls = 0

    def __call__(self, faces):
        self.calls += 1
        steps = np.linspace(0, 1, 19)
        return mx.nd.array(np.repeat(np.stack([steps, steps], -1)[None], faces.shape[0], axis=0))


class Found:
    """A detector that finds the same boxes everywhere."""

    box_kind = "given"

    def __init__(self, *boxes):
        self.boxes, self.names = boxes, []

    def __call__(self, image, name=""):
        self.names.append(name)
        return [Detection(np.array(box, float), 0.5 + k) for k, box in enumerate(self.boxes)]


def joined(*boxes, net=None):
    return LandmarkDetector(PointPredictor(net or Diagonal(), SPEC), Found(*boxes), AFLW_19)


def test_points_come_back_in_pixels_of_the_image():
    # Margin 0.5: the square about (30, 40) of side 1.5 * 20, and one that crosses the corner, about (2, 3) of side 12.
    faces = joined((20, 35, 40, 45), (-2, -1, 6, 7))(PHOTO, "photo.jpg")
    assert [face.score for face in faces] == [0.5, 1.5]
    for face, (x0, y0), side in zip(faces, [(15, 25), (-4, -3)], [30, 12]):
        np.testing.assert_allclose(face.points[0], [x0 - 0.5, y0 - 0.5], atol=1e-4)
        np.testing.assert_allclose(face.points[9], [x0 + side / 2 - 0.5, y0 + side / 2 - 0.5], atol=1e-4)
        np.testing.assert_allclose(face.points[18], [x0 + side - 0.5, y0 + side - 0.5], atol=1e-4)
    np.testing.assert_array_equal(faces[1].box, [-2, -1, 6, 7])


def test_a_corrected_detector_moves_the_points_with_its_box():
    detector = CorrectedDetector(Found((20, 30, 40, 50)), BoxCorrection(0.5, 0.0, 2.0, 1.0))
    (face,) = LandmarkDetector(PointPredictor(Diagonal(), SPEC), detector, AFLW_19)(PHOTO)
    np.testing.assert_allclose(face.box, [20, 30, 60, 50])
    # The first look ends at 9.5 to 69.5, and 9.5 to 69.5 downwards; the second is at a square of 1.5 * 60 about there.
    np.testing.assert_allclose(face.points[[0, 9, 18]], [[-6, -6], [39, 39], [84, 84]], atol=1e-4)


def test_no_face_needs_no_network():
    net = Diagonal()
    detector = joined(net=net)
    assert detector(PHOTO) == []
    assert detector.detect(PHOTO, []) == []
    assert detector.detect(PHOTO, np.zeros((0, 4))) == []
    assert net.calls == 0


def test_given_boxes():
    detector = joined((0, 0, 5, 5))
    faces = detector.detect(PHOTO, [[20, 35, 40, 45], [-2, -1, 6, 7]])
    assert [face.score for face in faces] == [1, 1]
    np.testing.assert_allclose(faces[0].points, joined((20, 35, 40, 45))(PHOTO)[0].points)
    assert detector.detector.names == []


@pytest.mark.parametrize("box", [(120, 5, 140, 20), (5, 80, 20, 90), (-20, 5, 0, 20), (5, -9, 20, 0)])
def test_a_box_outside_the_image_is_refused(box):
    with pytest.raises(ValueError, match="lies outside the image of 120 x 80 pixels"):
        joined().detect(PHOTO, [(20, 30, 40, 50), box])


def test_a_box_that_reaches_one_pixel_is_taken():
    for box in [(119, 5, 140, 20), (5, 79, 20, 90), (-20, 5, 1, 20), (5, -9, 20, 1), (-1e4, -1e4, 1e4, 1e4)]:
        assert len(joined().detect(PHOTO, [box])) == 1


@pytest.mark.parametrize("box", [(5, 5, 5, 20), (20, 5, 5, 20), (5, 5, np.nan, 20)])
def test_a_box_without_area_is_refused(box):
    with pytest.raises(ValueError, match="no area"):
        joined().detect(PHOTO, [box])


@pytest.mark.parametrize(
    ("image", "advice"),
    [
        ("photo.jpg", "is a str: pass the array of datasets.images.read_image"),
        (None, "is a NoneType"),  # what cv2.imread answers for a missing file
        (PHOTO[..., 0], r"is gray, \(80, 120\): make it RGB with np.stack"),
        (np.dstack([PHOTO, PHOTO[..., 0]]), r"shape \(80, 120, 4\)"),
        (PHOTO[:0], "is empty"),
        (PHOTO / 255, r"is float64: make it uint8; .*\(image \* 255\)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "image",
)
def test_other_images_are_refused_with_advice(image, advice):
    for call in (joined((0, 0, 9, 9)), lambda each: joined().detect(each, [(0, 0, 9, 9)]), check_image):
        with pytest.raises(ValueError, match=advice):
            call(image)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "random.params"
    save_random(path, "resnet18_slim", 19)
    return path


def test_from_pretrained_takes_a_file(weights):
    detector = LandmarkDetector.from_pretrained(weights, Found((10, 10, 50, 60), (40, 20, 90, 70)))
    assert detector.markup is AFLW_19
    together = detector(PHOTO)
    assert [face.points.shape for face in together] == [(19, 2)] * 2
    alone = [detector.detect(PHOTO, [face.box])[0] for face in together]
    for one, other in zip(together, alone):
        np.testing.assert_allclose(one.points, other.points, atol=1e-3)


def test_from_pretrained_takes_a_shipped_name(weights, monkeypatch):
    asked = []
    monkeypatch.setattr(landmark_detector, "shipped_weights", lambda name: asked.append(name) or weights)
    detector = LandmarkDetector.from_pretrained("resnet18_slim", detector="whole")
    assert asked == ["resnet18_slim"]
    (face,) = detector(PHOTO)
    np.testing.assert_array_equal(face.box, [0, 0, 120, 80])


# Drawing


def face_at(x, y, size, markup=IBUG_68):
    """A face whose points stand in rows and columns in its box."""
    columns = int(np.ceil(np.sqrt(markup.num_landmarks)))
    cells = np.stack(np.divmod(np.arange(markup.num_landmarks), columns), axis=-1)[:, ::-1]
    points = (x, y) + size * (cells + 0.5) / columns
    return LocatedFace(np.array([x, y, x + size, y + size], float), points, 1.0)


def test_drawing_leaves_the_photo_and_the_rest_of_the_copy_alone():
    photo = np.random.default_rng(1).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    before = photo.copy()
    drawn = draw_faces(photo, [face_at(100, 80, 60)], IBUG_68)
    np.testing.assert_array_equal(photo, before)
    changed = np.argwhere((drawn != photo).any(axis=-1))
    assert 200 < len(changed) < 3000
    assert (changed.min(axis=0) >= (76, 96)).all()
    assert (changed.max(axis=0) <= (144, 164)).all()
    np.testing.assert_array_equal(draw_faces(photo, [], IBUG_68), photo)


@pytest.mark.parametrize("size", [300, 1500])
def test_each_landmark_has_its_regions_colour_and_a_dark_rim(size):
    photo = np.full((size + 100, size + 100, 3), 128, np.uint8)
    face = face_at(50, 50, size)
    drawn = draw_faces(photo, [face], IBUG_68)
    # Dots are drawn in order, so of those that overlap the last lies on top; region by region they do not.
    for region, indices in IBUG_68.regions.items():
        x, y = np.round(face.points[indices[0]]).astype(int)
        assert tuple(drawn[y, x]) == REGION_COLOURS[region]
        reach = round(size / 60)
        around = drawn[y - reach : y + reach + 1, x - reach : x + reach + 1].reshape(-1, 3)
        assert around.max(axis=1).min() < 90  # thin rims are mixed with what is beside them
    x0, y0 = face.box[:2].astype(int)
    assert tuple(drawn[y0, x0 + size // 2]) == WHITE


def test_lines_grow_with_the_face():
    shares = []
    for size in (200, 600, 1800):
        photo = np.zeros((2 * size, 2 * size, 3), np.uint8)
        shares.append(draw_faces(photo, [face_at(size / 2, size / 2, size)], IBUG_68).any(axis=-1).mean())
    np.testing.assert_allclose(shares, shares[1], rtol=0.4)  # drawn alike, they would fall to a third at each step


@pytest.mark.parametrize("markup", MARKUPS, ids=lambda markup: markup.name)
def test_every_markup_can_be_drawn_on_faces_of_any_size_and_place(markup):
    photo = np.zeros((90, 110, 3), np.uint8)
    places = [(30, 30, 40), (-20, 60, 50), (90, -10, 60), (50, 50, 2), (5000, 50, 60), (-2e9, -2e9, 4e9)]
    drawn = draw_faces(photo, [face_at(*place, markup) for place in places], markup)
    assert drawn.shape == photo.shape
    assert drawn[30:70, 30:70].any()


# G. Machado, M. Oliveira and L. Fernandes, "A physiologically-based model for simulation of color vision deficiency",
# 2009, Table 1, severity 1.0: what linear RGB looks like to the colour blind.
SIGHTS = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


@pytest.mark.parametrize("sight", SIGHTS)
def test_the_colour_blind_can_tell_the_regions_apart(sight):
    colours = np.array(sorted(set(REGION_COLOURS.values()))) / 255
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.array(SIGHTS[sight]).T, 0, 1)
    encoded = np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)
    lab = cv2.cvtColor(encoded[None].astype(np.float32), cv2.COLOR_RGB2LAB)[0]
    # A CIELAB distance of 2.3 is just noticeable; side by side on a photo 15 is plain.
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(lab, 2)) > 15
