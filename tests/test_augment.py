"""Random training crops: the range of each setting by sampling, and what must not happen."""

from dataclasses import replace

import numpy as np
import pytest

from datasets.augment import (
    Augmentation,
    TrainingCrop,
    add_noise,
    blur,
    change_colour,
    jitter_box,
    occlude,
    random_matrix,
    with_photometric,
)
from datasets.faces import Face
from datasets.geometry import crop_matrix, landmark_box, square_box, transform_points, warp_image
from datasets.markups import IBUG_68
from datasets.render.faces import RenderedFaces

SIZE = 96
MARGIN = 0.25
BOX = np.array([60.0, 70.0, 160.0, 150.0])
DRAWS = 400


@pytest.fixture(scope="module")
def face():
    return RenderedFaces(1, seed=3, size=224)[0]


def crop_of(face, setting, seed=0, size=SIZE):
    return TrainingCrop(size, MARGIN, IBUG_68, setting)(face, np.random.default_rng(seed))


def drawn_matrices(setting):
    """What a setting does beyond the plain crop: linear parts (n, 2, 2), and how the box's middle moves (n, 2)."""
    plain = crop_matrix(square_box(BOX, MARGIN), SIZE)
    middle = np.array([110.0, 110.0])
    linear, moved = [], []
    for seed in range(DRAWS):
        matrix = random_matrix(BOX, SIZE, MARGIN, setting, np.random.default_rng(seed))
        linear.append(matrix[:, :2] / plain[0, 0])
        moved.append(transform_points(middle, matrix) - transform_points(middle, plain))
    return np.array(linear), np.array(moved)


def assert_fills(values, limit):
    """Uniform between -limit and limit: never beyond, both ends nearly reached, centred."""
    assert np.abs(values).max() <= limit
    assert values.max() > 0.97 * limit
    assert values.min() < -0.97 * limit
    # Four standard deviations of the mean of so many uniform draws.
    assert abs(values.mean()) < 4 * limit / np.sqrt(3 * DRAWS)


def test_without_settings_it_is_the_plain_crop(face):
    crop, points = crop_of(face, Augmentation())
    matrix = crop_matrix(square_box(face.box, MARGIN), SIZE)
    np.testing.assert_array_equal(crop, warp_image(face.image, matrix, SIZE))
    np.testing.assert_allclose(points, transform_points(face.points_image, matrix), atol=1e-4)
    assert crop.dtype == np.uint8
    assert points.dtype == np.float32


def test_rotation():
    linear, moved = drawn_matrices(Augmentation(rotation_degrees=30.0))
    assert_fills(np.degrees(np.arctan2(linear[:, 1, 0], linear[:, 0, 0])), 30.0)
    np.testing.assert_allclose(np.linalg.det(linear), 1.0)
    # The turn is about the crop's middle, which is half an image pixel beside the box's.
    assert np.abs(moved).max() < 0.5


def test_scale():
    linear, _ = drawn_matrices(Augmentation(scale_fraction=0.2))
    assert_fills(linear[:, 0, 0] - 1, 0.2)
    np.testing.assert_allclose(linear[:, 1, 1], linear[:, 0, 0])
    np.testing.assert_allclose(linear[:, 0, 1], 0, atol=1e-15)


def test_shift_is_a_fraction_of_the_crop():
    linear, moved = drawn_matrices(Augmentation(shift_fraction=0.1))
    np.testing.assert_allclose(linear, np.broadcast_to(np.eye(2), linear.shape))
    for axis in (0, 1):
        assert_fills(moved[:, axis], 0.1 * SIZE)
    assert abs(np.corrcoef(moved.T)[0, 1]) < 0.2


def test_shear_moves_rows_to_the_side_about_the_middle():
    linear, moved = drawn_matrices(Augmentation(shear_fraction=0.1))
    assert_fills(linear[:, 0, 1], 0.1)
    np.testing.assert_allclose(linear[:, 0, 0], 1)
    np.testing.assert_allclose(linear[:, 1], [[0, 1]] * DRAWS, atol=1e-15)
    assert np.abs(moved).max() < 0.5


def test_box_jitter_is_a_fraction_of_the_box_for_each_side():
    drawn = np.array([jitter_box(BOX, 0.1, np.random.default_rng(seed)) for seed in range(DRAWS)]) - BOX
    for side, length in zip(drawn.T, (100, 80, 100, 80)):
        assert_fills(side, 0.1 * length)
    assert np.abs(np.corrcoef(drawn.T) - np.eye(4)).max() < 0.2
    linear, _ = drawn_matrices(Augmentation(box_jitter_fraction=0.1))
    assert np.ptp(linear[:, 0, 0]) > 0.1


def test_flip_takes_picture_and_points_together(face):
    flipped, points = crop_of(face, Augmentation(flip_probability=1.0))
    plain, plain_points = crop_of(face, Augmentation())
    assert np.abs(flipped.astype(int) - plain[:, ::-1]).max() <= 1
    # The box's longer side fills 1 / (1 + MARGIN) of the crop; annotators' habit to the right is not mirrored [P1].
    habit = 2 * IBUG_68.offset * SIZE / (1 + MARGIN)
    expected = plain_points[list(IBUG_68.flip_order)] * (-1, 1) + (SIZE - 1 + habit, 0)
    np.testing.assert_allclose(points, expected, atol=1e-3)
    # The right eye of any face that looks ahead is on the left of the picture, mirrored or not.
    assert points[36:42, 0].mean() < points[42:48, 0].mean()


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_probabilities_are_shares(probability):
    gray = np.full((SIZE, SIZE, 3), 128, np.uint8)
    setting = Augmentation(noise_probability=probability, occlusion_probability=probability)
    for change in (add_noise, occlude):
        changed = [(change(gray.copy(), setting, np.random.default_rng(i)) != gray).any() for i in range(DRAWS)]
        assert abs(np.mean(changed) - probability) <= 4 * np.sqrt(probability * (1 - probability) / DRAWS)


def colour_of(level, setting, seed):
    return change_colour(np.full((1, 1, 3), level, np.uint8), setting, np.random.default_rng(seed))[0, 0].astype(float)


def test_brightness_is_a_fraction_of_the_grey_levels():
    drawn = np.array([colour_of(128, Augmentation(brightness_fraction=0.2), seed) for seed in range(DRAWS)]) - 128
    np.testing.assert_array_equal(drawn[:, 0], drawn[:, 2])
    assert 49 <= drawn[:, 0].max() <= 51
    assert -51 <= drawn[:, 0].min() <= -49


def test_contrast_turns_about_mid_grey():
    setting = Augmentation(contrast_fraction=0.3)
    # Both lie 49.5 from mid-grey, 127.5.
    dark, light = (np.array([colour_of(level, setting, seed)[0] for seed in range(DRAWS)]) for level in (78, 177))
    slope = (light - dark) / 99
    assert 1.28 < slope.max() <= 1.32
    assert 0.68 <= slope.min() < 0.72
    np.testing.assert_allclose((light + dark) / 2, 127.5, atol=1.0)


def test_saturation_keeps_luma_and_can_take_all_colour():
    pixel = np.array([[[200, 100, 50]]], np.uint8)
    luma = np.array([0.299, 0.587, 0.114])
    setting = Augmentation(saturation_fraction=0.4)
    drawn = np.array([change_colour(pixel, setting, np.random.default_rng(i))[0, 0] for i in range(DRAWS)], float)
    np.testing.assert_allclose(drawn @ luma, pixel[0, 0] @ luma, atol=1.0)
    saturation = np.ptp(drawn, axis=1) / 150
    assert 1.38 < saturation.max() <= 1.41
    assert 0.59 <= saturation.min() < 0.62
    gray = change_colour(pixel, Augmentation(grayscale_probability=1.0), np.random.default_rng(0))[0, 0]
    # 0.299 * 200 + 0.587 * 100 + 0.114 * 50 = 124.2
    np.testing.assert_array_equal(gray, 124)


def test_noise_has_the_stated_strength():
    gray = np.full((SIZE, SIZE, 3), 128, np.uint8)
    setting = Augmentation(noise_probability=1.0, noise_sigma_levels=12.0)
    noise = [add_noise(gray, setting, np.random.default_rng(seed)).astype(float) - 128 for seed in range(DRAWS)]
    sigma = np.array([each.std() for each in noise])
    assert 0.2 * 12 * 0.95 < sigma.min() < 0.23 * 12
    assert 0.97 * 12 < sigma.max() < 1.02 * 12
    loud = noise[int(sigma.argmax())]
    assert abs(loud.mean()) < 0.3
    # A normal distribution holds 68.3 % within one deviation, 95.4 % within two; neighbours are independent.
    assert (np.abs(loud) < sigma.max()).mean() == pytest.approx(0.683, abs=0.03)
    assert (np.abs(loud) < 2 * sigma.max()).mean() == pytest.approx(0.954, abs=0.01)
    assert abs((loud[:, 1:] * loud[:, :-1]).mean()) < 0.03 * loud.var()
    assert abs((loud[..., 0] * loud[..., 1]).mean()) < 0.03 * loud.var()


def test_blur_widens_a_bar_by_the_stated_sigma():
    bar = np.zeros((41, 41, 3), np.uint8)
    bar[:, 18:23] = 255  # 5 px wide: its variance is (5 * 5 - 1) / 12 = 2
    setting = Augmentation(blur_probability=1.0, blur_sigma_pixels=2.0)
    sigmas = []
    for seed in range(100):
        row = blur(bar, setting, np.random.default_rng(seed))[20, :, 0].astype(float)
        x = np.arange(41) - 20
        sigmas.append(np.sqrt(max((row * x**2).sum() / row.sum() - 2, 0)))
    assert 1.9 < max(sigmas) < 2.05
    assert 0.55 < min(sigmas) < 0.75


def test_occlusion_covers_one_box_of_the_stated_size():
    plain = np.full((SIZE, SIZE, 3), 128, np.uint8)
    setting = Augmentation(occlusion_probability=1.0, occlusion_fraction=0.4)
    sides, corners, single = [], [], []
    for seed in range(DRAWS):
        changed = (occlude(plain.copy(), setting, np.random.default_rng(seed)) != plain).any(axis=2)
        rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
        sides += [np.ptp(rows) + 1, np.ptp(columns) + 1]
        corners.append((columns[0], rows[0], columns[-1], rows[-1]))
        single.append(changed.sum() == (np.ptp(rows) + 1) * (np.ptp(columns) + 1))
    assert max(sides) in (int(0.4 * SIZE), int(0.4 * SIZE) + 1)
    assert min(sides) <= 0.1 * 0.4 * SIZE + 2
    assert np.min(corners) == 0
    assert np.max(corners) == SIZE - 1
    assert np.mean(single) > 0.9  # noise may by chance leave a pixel as it was


def test_the_whole_crop_may_be_covered():
    setting = Augmentation(occlusion_probability=1.0, occlusion_fraction=1.0)
    for seed in range(DRAWS):
        occlude(np.zeros((8, 8, 3), np.uint8), setting, np.random.default_rng(seed))


EVERYTHING = replace(
    with_photometric(Augmentation(30.0, 0.2, 0.08, 0.05, 0.5)),
    blur_probability=1.0,
    noise_probability=1.0,
    occlusion_probability=1.0,
)


def test_the_face_is_left_as_it_was(face):
    # Faces are kept in memory and shared between epochs.
    before = [np.copy(part) for part in (face.image, face.points_image, face.box)]
    for setting in (EVERYTHING, Augmentation(occlusion_probability=1.0)):
        for seed in range(20):
            crop_of(face, setting, seed)
    for part, kept in zip((face.image, face.points_image, face.box), before):
        np.testing.assert_array_equal(part, kept)


def test_a_crop_that_is_the_whole_image_is_a_copy():
    image = np.full((SIZE, SIZE, 3), 128, np.uint8)
    box = np.array([0.0, 0.0, SIZE, SIZE])
    points = np.tile(box[:2], (68, 1))
    crop = TrainingCrop(SIZE, 0.0, IBUG_68, Augmentation(occlusion_probability=1.0))
    crop(Face(image, points, box, "whole"), np.random.default_rng(0))
    assert (image == 128).all()


def test_the_generator_decides_everything(face):
    crops = [crop_of(face, EVERYTHING, seed) for seed in (1, 1, 2)]
    for once, again, other in zip(*crops):
        np.testing.assert_array_equal(once, again)
        assert (once != other).any()


def test_points_stay_on_the_face_in_every_crop(face):
    """Bright marks on a black picture, one under each point, are under the crop's points too."""
    setting = Augmentation(rotation_degrees=30, scale_fraction=0.2, shift_fraction=0.08, flip_probability=0.5)
    marks = np.zeros_like(face.image)
    whole = face.points_image.round()
    for x, y in whole.astype(int):
        marks[y - 1 : y + 2, x - 1 : x + 2] = 200
    drawn = Face(marks, whole, landmark_box(whole), "marks")
    for seed in range(20):
        crop, points = crop_of(drawn, setting, seed, size=224)
        inside = (points > 2).all(axis=1) & (points < 221).all(axis=1)
        x, y = np.rint(points[inside]).astype(int).T
        assert crop[y, x, 0].min() > 60
        assert crop.mean() < 40


def test_missing_points_stay_missing(face):
    points = face.points_image.copy()
    points[3] = np.nan
    setting = Augmentation(flip_probability=1.0)
    _, moved = crop_of(face._replace(points_image=points, box=landmark_box(points)), setting)
    assert np.flatnonzero(np.isnan(moved).any(axis=1)).tolist() == [IBUG_68.flip_order[3]]


def test_a_range_of_scales_need_not_lie_about_one():
    box = np.array([20.0, 20.0, 80.0, 80.0])
    setting = Augmentation(scale_range=(0.5, 1.2))
    plain = random_matrix(box, SIZE, 0.0, Augmentation(), np.random.default_rng(0))
    scales = [
        random_matrix(box, SIZE, 0.0, setting, np.random.default_rng(seed))[0, 0] / plain[0, 0] for seed in range(300)
    ]
    assert 0.5 <= min(scales) < 0.52
    assert 1.18 < max(scales) <= 1.2
