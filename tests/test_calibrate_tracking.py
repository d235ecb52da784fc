"""The measure of disagreement: where boxes without a face lie, and what is counted, by hand."""

import numpy as np
import pytest

from datasets.detection.boxed_photos import BoxedPhoto
from gluon_models import InputSpec
from tools.calibrate_tracking import Measured, Place, area_under_roc, is_away, measure, places_elsewhere, table


def test_a_box_keeps_its_distance():
    box = np.array([50.0, 50, 90, 90])  # so 6 pixels
    near, beside, below = [np.array(each, float) for each in ([95, 60, 99, 70], [97, 60, 120, 70], [60, 97, 80, 120])]
    assert is_away(box, np.zeros((0, 4)))
    assert is_away(box, np.stack([beside, below]))
    assert not is_away(box, np.stack([beside, near]))


class Photos:
    """Photos whose left half is one face."""

    def __init__(self, count, size=200):
        self.count, self.size = count, size

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        image = np.full((self.size, self.size, 3), index, np.uint8)
        boxes = np.array([[0.0, 0, self.size / 2, self.size]])
        return BoxedPhoto(image, boxes, np.zeros(1, bool), f"{index}")


def test_boxes_elsewhere_lie_beside_the_faces():
    places = places_elsewhere(Photos(30), 20, np.random.default_rng(0))
    assert len(places) == 20
    for image, box, points_image in places:
        assert points_image is None
        side = box[2] - box[0]
        assert 30 <= side <= 100
        assert box[0] >= 100 + 0.15 * side
        assert (box[2:] <= 200).all()
        assert image.shape == (200, 200, 3)
    assert len({int(place.image[0, 0, 0]) for place in places}) >= 10
    with pytest.raises(ValueError, match="no photo has a place"):
        places_elsewhere(Photos(3, size=40), 20, np.random.default_rng(0))


HALF = 12.0  # pixels, of the face's side
OFFSETS = np.tile([[-1.0, -1], [1, -1], [-1, 1], [1, 1]], (17, 1))  # 68 points, as many as the error asks for


class AboutTheLight:
    """Answers points about the brightest place of each crop, or about its middle if there is no light."""

    spec = InputSpec(size=32, colour="rgb", mean=(0.0,) * 3, scale=(1.0,) * 3, box_margin=0.25, output="points")
    batch_size = 8
    markup = None

    def __call__(self, crops):
        light = crops[..., 0].astype(float)
        total = np.maximum(light.sum(axis=(1, 2)), 1e-9)
        steps = np.arange(32.0)
        centres = np.stack([light.sum(axis=1) @ steps / total, light.sum(axis=2) @ steps / total], axis=1)
        centres[total < 1] = 15.5
        return centres[:, None] + 32 / 30 * HALF * OFFSETS  # crops show 30 pixels


def test_faces_and_the_dark_are_told_apart():
    y, x = np.mgrid[:120, :200]
    light = 200 * np.exp(-((x - 50) ** 2 + (y - 60) ** 2) / 8.0)
    image = np.repeat(light.astype(np.uint8)[..., None], 3, axis=2)
    boxes = [np.array([cx - HALF, cy - HALF, cx + HALF, cy + HALF]) for cx, cy in ((51, 59), (150, 60))]
    face = Place(image, boxes[0], HALF * OFFSETS + (50, 60))
    measured = measure(AboutTheLight(), [face], [Place(image, boxes[1])])
    assert measured.faces[0] < 0.01
    # In the dark both answers are as far apart as the crops: 5 % of the side to each corner.
    np.testing.assert_allclose(measured.elsewhere, [0.1 * np.sqrt(2)], atol=1e-6)
    assert measured.errors.shape == (1, 2)
    assert measured.errors.max() < 0.02


def test_the_area_by_hand():
    # Of six pairs four are in order and one is a tie.
    assert area_under_roc(np.array([0.1, 0.3]), np.array([0.2, 0.3, 0.4])) == pytest.approx(4.5 / 6)


def test_the_table_counts_at_the_threshold():
    row = Measured(np.array([0.01, 0.02, 0.05, 0.03]), np.array([0.04, 0.2]), np.full((4, 2), (0.03, 0.04)))
    text = table({"net": row}).splitlines()[1].split()
    assert text[0] == "net"
    assert text[-5:] == ["0.8750", "25.0", "50.0", "3.00", "4.00"]
