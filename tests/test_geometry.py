"""The one matrix of a crop: against the written formula, and by looking where a drawn spot ends up in the picture."""

import cv2
import numpy as np
import pytest

from datasets.geometry import (
    compose,
    crop_matrix,
    invert,
    landmark_box,
    mirror_matrix,
    similarity_matrix,
    square_box,
    transform_points,
    warp_image,
)
from datasets.markups import MARKUPS

SIZE = 64
MIDDLE = 0.5 * (SIZE - 1)


def test_landmark_box_is_min_and_max_of_the_annotated_points():
    points = np.array([[3.0, 9.0], [np.nan, np.nan], [-2.0, 4.5], [7.0, 5.0]])
    np.testing.assert_array_equal(landmark_box(points), [-2, 4.5, 7, 9])


def test_no_annotated_point_has_no_box():
    with pytest.raises(ValueError, match="no annotated landmark"):
        landmark_box(np.full((5, 2), np.nan))


def test_square_box_by_hand():
    # 100 by 60 px about (70, 50): side 1.25 * 100.
    np.testing.assert_allclose(square_box(np.array([20, 20, 120, 80]), 0.25), [7.5, -12.5, 132.5, 112.5])
    np.testing.assert_allclose(square_box(np.array([20, 20, 40, 80]), 0.0), [0, 20, 60, 80])


@pytest.mark.parametrize("box", [[5, 5, 5, 9], [5, 5, 9, 5], [9, 5, 5, 9], [0, 0, np.nan, 9], [0, 0, np.inf, 9]])
def test_a_box_without_area_is_refused(box):
    with pytest.raises(ValueError, match="face box .* has no area"):
        square_box(np.array(box, float), 0.2)


def test_crop_matrix_is_the_written_formula():
    x0, y0, side, size = 13.0, -7.0, 90.0, 36
    to_image = invert(crop_matrix(np.array([x0, y0, x0 + side, y0 + side]), size))
    points_crop = np.random.default_rng(0).uniform(-20, 60, (50, 2))
    expected = np.array([x0, y0]) + (points_crop + 0.5) * side / size - 0.5
    np.testing.assert_allclose(transform_points(points_crop, to_image), expected, atol=1e-12)


def test_crop_matrix_on_known_points():
    # A square of 10 px from (20, 30) on 20 cells: two cells to a pixel, and pixel 20's own area is cells 0 and 1.
    matrix = crop_matrix(np.array([20.0, 30.0, 30.0, 40.0]), 20)
    np.testing.assert_allclose(
        transform_points(np.array([[20.0, 30.0], [29.0, 39.0]]), matrix), [[0.5, 0.5], [18.5, 18.5]]
    )


def test_a_crop_of_whole_pixels_copies_them():
    image = np.random.default_rng(1).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    crop = warp_image(image, crop_matrix(np.array([7.0, 4.0, 23.0, 20.0]), 16), 16)
    np.testing.assert_array_equal(crop, image[4:20, 7:23])


def test_shrinking_by_a_whole_number_averages_cells():
    image = np.random.default_rng(2).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    crop = warp_image(image, crop_matrix(np.array([0.0, 0.0, 48.0, 48.0]), 12), 12)
    expected = image.reshape(12, 4, 12, 4, 3).mean(axis=(1, 3))
    assert np.abs(crop - expected).max() <= 1


def test_outside_the_image_is_black():
    image = np.full((20, 20, 3), 255, np.uint8)
    crop = warp_image(image, crop_matrix(np.array([-20.0, -20.0, 20.0, 20.0]), 40), 40)
    assert crop[:19, :].max() == 0
    assert crop[:, :19].max() == 0
    assert crop[21:, 21:].min() == 255


@pytest.mark.parametrize("seed", range(3))
def test_cutting_out_before_warping_changes_nothing(seed):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (150, 200, 3), dtype=np.uint8)
    turn = similarity_matrix((100, 75), rng.uniform(-180, 180), rng.uniform(0.6, 3), (0, 0))
    matrix = compose(np.array([[1, 0, rng.uniform(-150, 0)], [0, 1, rng.uniform(-100, 0)]]), turn)
    expected = cv2.warpAffine(image, matrix, (SIZE, SIZE), flags=cv2.INTER_LINEAR)
    # OpenCV counts positions in 32nds of a pixel, so single roundings may differ.
    difference = np.abs(warp_image(image, matrix, SIZE).astype(int) - expected)
    assert np.mean(difference) < 0.5
    assert np.mean(difference > 16) < 0.002


def test_similarity_turns_clockwise_enlarges_and_moves():
    matrix = similarity_matrix((10.0, 20.0), 90.0, 2.0, (3.0, -4.0))
    # What lies right of the centre comes to lie below it, twice as far, then moves.
    np.testing.assert_allclose(transform_points(np.array([[10.0, 20.0], [11.0, 20.0]]), matrix), [[13, 16], [13, 18]])


def test_compose_and_invert():
    rng = np.random.default_rng(3)

    def drawn():
        return similarity_matrix(rng.normal(size=2), rng.uniform(-180, 180), rng.uniform(0.5, 2), rng.normal(size=2))

    first, second, third = drawn(), drawn(), drawn()
    points = rng.normal(size=(4, 5, 2))
    np.testing.assert_allclose(
        transform_points(points, compose(second, first)), transform_points(transform_points(points, first), second)
    )
    identity = np.eye(3)[:2]
    np.testing.assert_allclose(compose(invert(first), first), identity, atol=1e-12)
    np.testing.assert_allclose(compose(first, invert(first)), identity, atol=1e-12)
    np.testing.assert_allclose(compose(compose(third, second), first), compose(third, compose(second, first)))
    np.testing.assert_allclose(compose(mirror_matrix(9), mirror_matrix(9)), identity)


def test_points_that_are_not_annotated_stay_so():
    moved = transform_points(np.array([[1.0, 2.0], [np.nan, np.nan]]), mirror_matrix(8))
    np.testing.assert_array_equal(moved, [[6, 2], [np.nan, np.nan]])


def test_mirroring_reverses_the_columns():
    image = np.random.default_rng(4).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    np.testing.assert_array_equal(warp_image(image, mirror_matrix(SIZE), SIZE), image[:, ::-1])


def spot(centre, sigma, height, width):
    """A black picture (height, width, 3) with a soft white spot at a sub-pixel position."""
    y, x = np.mgrid[:height, :width]
    value = 250 * np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * sigma**2))
    return np.repeat(np.rint(value).astype(np.uint8)[..., None], 3, axis=2)


def centroid(crop):
    """Where the spot of a crop lies: the mean position weighted by brightness."""
    weight = crop[..., 0].astype(float)
    y, x = np.mgrid[: crop.shape[0], : crop.shape[1]]
    return np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()


CENTRE = (MIDDLE, MIDDLE)
TO_CROP = crop_matrix(np.array([30.0, 20.0, 94.0, 84.0]), SIZE)
MOVES = {
    "plain": np.eye(3)[:2],
    "turned": similarity_matrix(CENTRE, 33.0, 1.0, (0, 0)),
    "enlarged": similarity_matrix(CENTRE, 0.0, 1.37, (0, 0)),
    "shifted": similarity_matrix(CENTRE, 0.0, 1.0, (5.3, -4.8)),
    "mirrored": mirror_matrix(SIZE),
    "all": compose(mirror_matrix(SIZE), similarity_matrix(CENTRE, -21.0, 0.8, (2.4, 6.1))),
    "shrunk 0.45": similarity_matrix(CENTRE, 10.0, 0.45, (0.4, 0.3)),
    "shrunk 0.33": similarity_matrix(CENTRE, 0.0, 0.33, (0, 0)),
    "shrunk 0.21, mirrored": compose(mirror_matrix(SIZE), similarity_matrix(CENTRE, 140.0, 0.21, (0, 0))),
}


# Odd sizes do not divide by the whole-number factor that shrinking begins with.
@pytest.mark.parametrize("image_size", [(128, 128), (131, 117)])
@pytest.mark.parametrize("move", MOVES)
def test_picture_and_points_go_to_the_same_place(move, image_size):
    matrix = compose(MOVES[move], TO_CROP)
    sigma = 2.5 / np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    errors = []
    for place in ([62.3, 51.6], [57.81, 60.13], [71.0, 44.5]):
        crop = warp_image(spot(place, sigma, *image_size), matrix, SIZE)
        errors.append(centroid(crop) - transform_points(np.array(place), matrix))
    assert np.abs(errors).max() < 0.1
    # A shift of half a pixel, the usual mistake, would be in every error; rounding to grey levels is not.
    assert np.abs(np.mean(errors, axis=0)).max() < 0.05


@pytest.mark.parametrize("markup", MARKUPS, ids=lambda markup: markup.name)
def test_a_symmetric_face_is_its_own_mirror_image(markup):
    rng = np.random.default_rng(5)
    points = np.empty((markup.num_landmarks, 2))
    for k, other in enumerate(markup.flip_order):
        away = 0.0 if k == other else rng.uniform(2, 20)
        points[[k, other]] = [[MIDDLE - away, 3 * k], [MIDDLE + away, 3 * k]]
    mirrored = transform_points(points[list(markup.flip_order)], mirror_matrix(SIZE))
    np.testing.assert_allclose(mirrored, points, atol=1e-12)


def test_a_photo_longer_than_opencv_can_warp_is_cropped_all_the_same():
    image = np.zeros((8, 40_000, 3), np.uint8)
    image[4, 39_990] = 255
    matrix = np.array([[1.0, 0.0, 5 - 39_990], [0.0, 1.0, 3 - 4]])
    crop = warp_image(image, matrix, 10)
    assert crop[3, 5].tolist() == [255, 255, 255]
    assert int(crop.sum()) == 3 * 255
