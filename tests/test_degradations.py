"""Each degradation against a value worked out by hand."""

from statistics import NormalDist

import numpy as np
import pytest

from datasets.degradations import (
    DEGRADATIONS,
    PICTURE_SIDE,
    View,
    add_noise,
    blur,
    compress,
    cover,
    expose,
    plain_view,
    scale_box,
    shift_box,
    shrink,
    turn,
)
from datasets.geometry import compose, crop_matrix, square_box, transform_points

BOX = np.array([256.0, 192.0, 384.0, 448.0])  # 128 by 256 px about the middle of the picture


def rng(seed=0):
    return np.random.default_rng(seed)


def view(level=0, box=BOX):
    image = np.full((PICTURE_SIDE, PICTURE_SIDE, 3), level, np.uint8)
    return View(image, box, np.eye(2, 3))


def test_the_plain_view_draws_every_face_at_one_size():
    """A box of 20 by 40 px about (30, 50) is drawn 6.4 times as large, its middle in the middle of 640 px."""
    image = rng().integers(0, 256, (100, 80, 3), np.uint8)
    drawn = plain_view(image, np.array([20.0, 30, 40, 70]))
    assert drawn.image.shape == (640, 640, 3)
    np.testing.assert_allclose(drawn.box, BOX)
    np.testing.assert_allclose(transform_points(np.array([29.5, 49.5]), drawn.matrix), [319.5, 319.5])
    np.testing.assert_allclose(drawn.matrix[:, :2], 6.4 * np.eye(2))


def test_a_crop_through_the_plain_view_is_that_of_the_photo():
    box = np.array([20.0, 30, 47, 70])
    drawn = plain_view(np.zeros((100, 80, 3), np.uint8), box)
    through = compose(crop_matrix(square_box(drawn.box, 0.25), 224), drawn.matrix)
    np.testing.assert_allclose(through, crop_matrix(square_box(box, 0.25), 224))


def test_turning_by_a_quarter():
    """A dot 100 px to the right of the middle comes to lie 100 px below or above it."""
    before = view()
    before.image[319:321, 419:421] = 255
    sides = set()
    for seed in range(8):
        after = turn(before, 90, rng(seed))
        (x, y) = transform_points(np.array([419.5, 319.5]), after.matrix)
        assert (x, abs(y - 319.5)) == pytest.approx((319.5, 100))
        lit = np.argwhere(after.image[..., 0] > 128)
        np.testing.assert_allclose(lit.mean(axis=0), [y, x], atol=0.6)
        np.testing.assert_array_equal(after.box, BOX)
        sides.add(np.sign(y - 319.5))
    assert sides == {-1, 1}


def test_more_of_it_turns_to_the_same_side():
    ends = [transform_points(np.array([419.5, 319.5]), turn(view(), angle, rng(3)).matrix)[1] for angle in (10, 30, 60)]
    np.testing.assert_allclose(np.abs(np.subtract(ends, 319.5)), 100 * np.sin(np.radians([10, 30, 60])))
    assert len(set(np.sign(np.subtract(ends, 319.5)))) == 1


def test_scaling_the_box():
    np.testing.assert_allclose(scale_box(view(), 1.5, rng()).box, [224, 128, 416, 512])


def test_shifting_the_box():
    moved = shift_box(view(), 0.1, rng()).box - BOX
    np.testing.assert_allclose(moved[:2], moved[2:])
    assert np.hypot(*moved[:2]) == pytest.approx(25.6)
    angles = [np.arctan2(*(shift_box(view(), 0.1, rng(seed)).box - BOX)[:2]) for seed in range(60)]
    assert min(angles) < -2.5
    assert max(angles) > 2.5


def test_an_edge_blurred():
    """Sigma is 0.02 * 256 = 5.12 px: d pixels from the edge the level is that of the normal distribution."""
    before = view()
    before.image[:, 320:] = 255
    row = blur(before, 0.02, rng()).image[300, :, 1].astype(float)
    for x in (310, 316, 319, 320, 325):
        assert row[x] == pytest.approx(255 * NormalDist(319.5, 5.12).cdf(x), abs=2)
    assert (row[280], row[360]) == (0, 255)


def test_noise():
    difference = add_noise(view(128), 16, rng()).image.astype(float) - 128
    assert difference.std() == pytest.approx(16, abs=0.1)
    assert difference.mean() == pytest.approx(0, abs=0.1)
    assert np.corrcoef(difference[:-1].ravel(), difference[1:].ravel())[0, 1] == pytest.approx(0, abs=0.01)
    assert add_noise(view(255), 16, rng()).image.max() == 255


def test_jpeg():
    """Grey 140 has a DC coefficient of 8 * 12 = 96.

    The standard's luminance table starts with 16: that is six steps at quality 50. At quality 5 a step is 160, and 0.6
    of one becomes one, which is 128 + 160 / 8.
    """
    assert set(compress(view(140), 50, rng()).image.ravel()) == {140}
    assert set(compress(view(140), 5, rng()).image.ravel()) == {148}


def test_jpeg_keeps_red_red():
    before = view()
    before.image[..., 0] = 200
    np.testing.assert_allclose(compress(before, 90, rng()).image.mean(axis=(0, 1)), [200, 0, 0], atol=3)


def test_shrinking_takes_the_mean_of_cells():
    before = view()._replace(image=rng().integers(0, 256, (640, 640, 3), np.uint8))
    after = shrink(before, 64, rng())
    cells = before.image.reshape(160, 4, 160, 4, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(after.image, cells, atol=0.5)
    np.testing.assert_allclose(after.box, [64, 48, 96, 112])
    # The first cell is that of pixels 0 to 3.
    np.testing.assert_allclose(transform_points(np.array([1.5, 1.5]), after.matrix), [0, 0], atol=1e-12)


@pytest.mark.parametrize("fraction", [0.0625, 0.25, 0.5625])
def test_covering_a_part_of_the_box(fraction):
    """A quarter of 128 by 256 px is 64 by 128 px."""
    places = []
    for seed in range(5):
        image = cover(view(), fraction, rng(seed)).image
        rows, columns = np.nonzero(image.any(axis=2))
        assert len(rows) == fraction * 128 * 256
        assert len({tuple(colour) for colour in image[rows, columns]}) == 1
        assert columns.min() >= 256
        assert columns.max() < 384
        assert rows.min() >= 192
        assert rows.max() < 448
        places.append((rows.min(), columns.min()))
    assert len(set(places)) == 5


def test_brightness():
    image = np.zeros((640, 640, 3), np.uint8)
    image[0, :4, 0] = (0, 100, 200, 255)
    assert expose(view()._replace(image=image), 1.5, rng()).image[0, :4, 0].tolist() == [0, 150, 255, 255]
    assert expose(view()._replace(image=image), 0.25, rng()).image[0, :4, 0].tolist() == [0, 25, 50, 64]


@pytest.mark.parametrize("degradation", DEGRADATIONS, ids=lambda each: each.name)
def test_every_degradation(degradation):
    """The neutral amount changes nothing at all, every other something; the same seed changes the same."""
    before = view()._replace(image=rng(1).integers(40, 200, (640, 640, 3), np.uint8))
    kept = before.image.copy()
    assert degradation.neutral in degradation.amounts
    assert len(set(degradation.amounts)) == len(degradation.amounts)
    assert degradation(before, degradation.neutral, rng()) is before
    for amount in degradation.amounts:
        first, second = (degradation(before, amount, rng(9)) for _ in range(2))
        assert all(np.array_equal(*pair) for pair in zip(first, second))
        same = all(np.array_equal(*pair) for pair in zip(first, before))
        assert same == (amount == degradation.neutral)
        # Nothing but what it names: either the picture changes or the box.
        moves = degradation.name in ("box_scale", "box_shift")
        assert np.array_equal(first.image, before.image) == (moves or same)
    np.testing.assert_array_equal(before.image, kept)
