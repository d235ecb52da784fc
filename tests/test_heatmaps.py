"""Points to maps and back: every decoding at every sixteenth of a cell, at the borders, and through crop and back."""

import cv2
import numpy as np
import pytest

from datasets.geometry import compose, crop_matrix, invert, similarity_matrix, square_box, transform_points
from datasets.heatmaps import DECODINGS, HeatmapCodec
from gluon_models import get_spec

CODEC = HeatmapCodec(size=32, stride=8, sigma=1.0)

# Largest error of a point along each axis, in pixels of the crop of a stride of 8: half a cell; a quarter of one;
# half a pixel and what cubics make of a Gaussian; nothing but the maps' single precision.
BOUNDS = {"argmax": 4.0, "quarter": 2.0, "enlarged": 0.75, "subpixel": 1e-4}


def sixteenths(first_cell, last_cell):
    """Crop points (1, 16 * 16, 2) at every sixteenth of a cell, from `first_cell` to `last_cell` as cells permit."""
    offsets = (np.arange(16) - 7.5) / 16  # symmetric, so that a bias shows as a mean error
    cells = np.random.RandomState(0).randint(first_cell, last_cell + 1, (256, 2))
    grid = np.stack(np.meshgrid(offsets, offsets), axis=-1).reshape(-1, 2)
    return CODEC.to_crop(cells + grid)[None]


def errors_of(points_crop, decoding, codec=CODEC):
    maps, visible = codec.encode(points_crop)
    assert visible.all()
    return codec.decode(maps, decoding) - points_crop


def test_cells_are_read_as_the_crop_is():
    # Cell 0 covers the pixels -0.5 to 7.5 of the crop, so its centre is 3.5; the last cell's outer edge is 255.5.
    np.testing.assert_allclose(CODEC.to_crop(np.array([[0.0, 31.5]])), [[3.5, 255.5]])
    np.testing.assert_allclose(CODEC.to_heatmap(np.array([[-0.5, 255.5], [11.5, 3.5]])), [[-0.5, 31.5], [1, 0]])


def test_a_target_by_hand():
    codec = HeatmapCodec(size=4, stride=2, sigma=0.5)
    # x = 2.5 is the centre of cell 1; y = 3.5 lies half a cell below that of cell 1.
    maps, visible = codec.encode(np.array([[[2.5, 3.5]]]))
    assert visible.all()
    expected = [
        [np.exp(-((column - 1) ** 2 + (row - 1.5) ** 2) / (2 * 0.25)) for column in range(4)] for row in range(4)
    ]
    assert maps.dtype == np.float32
    np.testing.assert_allclose(maps[0, 0], expected, rtol=1e-5)
    # The hourglass's: 1 at the landmark, exp(-1/2) and exp(-2) at one and two cells from it.
    spec = get_spec("hourglass_resnet50")
    (((_, row, *_),),), _ = HeatmapCodec(4, spec.stride, spec.sigma).encode(np.array([[[3.5, 11.5]]]))
    np.testing.assert_allclose(row[:3], [1, 0.60653066, 0.13533528], rtol=1e-5)


def test_points_without_a_place_on_the_map_are_not_visible():
    points = np.array([[[np.nan, np.nan], [10.0, np.nan], [-0.6, 50.0], [50.0, 255.6], [-0.5, 255.5], [7.0, 9.0]]])
    maps, visible = CODEC.encode(points)
    np.testing.assert_array_equal(visible, [[False, False, False, False, True, True]])
    assert (maps[0, :4] == 0).all()
    assert maps[0, 4, 31, 0] == maps[0, 4].max() > 0.7
    assert np.isfinite(maps).all()


@pytest.mark.parametrize("decoding", DECODINGS)
def test_every_sub_pixel_offset(decoding):
    errors = errors_of(sixteenths(2, 29), decoding)
    assert np.abs(errors).max() <= BOUNDS[decoding]
    # Neither axis is pulled to one side: less than a hundredth of a cell, on the average over all offsets.
    assert np.abs(errors.mean(axis=(0, 1))).max() < (1e-5 if decoding == "subpixel" else 0.08)


@pytest.mark.parametrize("decoding", ["argmax", "quarter", "subpixel"])
@pytest.mark.parametrize("edge", [0, 31])
def test_the_cells_along_the_border_are_as_good(decoding, edge):
    errors = errors_of(sixteenths(edge, edge), decoding)
    assert np.abs(errors).max() <= BOUNDS[decoding]
    assert np.abs(errors.mean(axis=(0, 1))).max() < (1e-5 if decoding == "subpixel" else 0.08)


@pytest.mark.parametrize("edge", [0, 31])
def test_enlarging_is_out_by_less_than_a_cell_at_the_border(edge):
    # OpenCV repeats the outermost cells, which moves the largest pixel.
    errors = errors_of(sixteenths(edge, edge), "enlarged")
    assert BOUNDS["enlarged"] < np.abs(errors).max() < 8
    # Two cells further in, nothing of it is left.
    assert np.abs(errors_of(sixteenths(abs(edge - 2), abs(edge - 2)), "enlarged")).max() <= BOUNDS["enlarged"]


@pytest.mark.parametrize("decoding", DECODINGS)
def test_centres_of_cells_and_the_middle_between_two(decoding):
    for offset in (0.0, 0.5):
        points = CODEC.to_crop(np.array([[[9 + offset, 20.0], [20.0, 9 + offset], [9 + offset, 9 + offset]]]))
        errors = errors_of(points, decoding)
        assert np.abs(errors).max() <= BOUNDS[decoding] + 1e-9
        if offset == 0 and decoding != "enlarged":
            np.testing.assert_allclose(errors, 0, atol=1e-5)


@pytest.mark.parametrize(("size", "stride"), [(16, 16), (64, 4), (32, 1)])
@pytest.mark.parametrize("sigma", [0.8, 1.5])
def test_bounds_are_in_cells_whatever_their_size(size, stride, sigma):
    codec = HeatmapCodec(size, stride, sigma)
    points = codec.to_crop(np.random.RandomState(1).uniform(-0.5, size - 0.5, (5, 40, 2)))
    for decoding, cells in (("argmax", 0.5), ("quarter", 0.25), ("subpixel", 1e-4)):
        errors = errors_of(points, decoding, codec)
        assert np.abs(errors).max() <= cells * stride + 1e-9
        if decoding != "subpixel":
            assert np.abs(errors).max() > 0.8 * cells * stride  # the rule is the one it says


@pytest.mark.parametrize("decoding", DECODINGS)
def test_through_crop_and_back(decoding):
    """Photo to crop, turned and shrunk to a third; to maps; back to the photo."""
    to_crop = crop_matrix(square_box(np.array([100.0, 80, 900, 700]), 0.1), 256)
    matrix = compose(similarity_matrix((127.5, 127.5), 25.0, 0.9, (3.0, -2.0)), to_crop)
    points_image = np.random.RandomState(2).uniform((200, 150), (800, 650), (1, 300, 2))
    points_crop = transform_points(points_image, matrix)
    maps, visible = CODEC.encode(points_crop)
    assert visible.all()
    found = transform_points(CODEC.decode(maps, decoding), invert(matrix))
    errors = found - points_image
    zoom = np.sqrt(np.linalg.det(matrix[:, :2]))
    # Turned, the errors of both axes can add up to their diagonal.
    assert np.linalg.norm(errors, axis=-1).max() <= np.sqrt(2) * BOUNDS[decoding] / zoom
    assert np.abs(errors.mean(axis=(0, 1))).max() < 0.1 * BOUNDS[decoding] / zoom


def test_quarters_and_the_parabola_by_hand():
    codec = HeatmapCodec(size=5, stride=1, sigma=1.0)
    maps = np.full((1, 1, 5, 5), 1e-6)
    maps[0, 0, 2, 1:4] = np.exp([-2.0, 0.0, -1.0])
    maps[0, 0, 1, 2], maps[0, 0, 3, 2] = np.exp(-1.5), np.exp(-1.5)
    np.testing.assert_allclose(codec.decode(maps, "argmax"), [[[2, 2]]])
    np.testing.assert_allclose(codec.decode(maps, "quarter"), [[[2.25, 2]]])
    # Through -2, 0, -1 at -1, 0, 1: a t^2 + b t with a = -1.5 and b = 0.5, highest at 1 / 6.
    np.testing.assert_allclose(codec.decode(maps, "subpixel"), [[[2 + 1 / 6, 2]]])


def test_enlarging_is_opencvs():
    maps = np.random.RandomState(3).uniform(0, 1, (2, 3, 32, 32)).astype(np.float32)
    found = CODEC.decode(maps, "enlarged")
    for face in range(2):
        for landmark in range(3):
            large = cv2.resize(maps[face, landmark], (256, 256), interpolation=cv2.INTER_CUBIC)
            y, x = np.unravel_index(large.argmax(), large.shape)
            np.testing.assert_array_equal(found[face, landmark], [x, y])


@pytest.mark.parametrize("decoding", DECODINGS)
def test_maps_of_a_network_may_be_negative_or_ragged(decoding):
    maps = np.random.RandomState(4).normal(-0.5, 0.1, (2, 5, 32, 32)).astype(np.float32)
    maps[0, :, 7, 12] = 0.9  # a single cell stands out
    maps[1, :, 31, 0] = -0.01  # nothing is positive
    found = CODEC.decode(maps, decoding)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[0], np.repeat([CODEC.to_crop(np.array([12.0, 7.0]))], 5, axis=0), atol=4)
    np.testing.assert_allclose(found[1], np.repeat([CODEC.to_crop(np.array([0.0, 31.0]))], 5, axis=0), atol=4.001)


@pytest.mark.parametrize("value", [0.0, 0.3, np.nan, np.inf])
@pytest.mark.parametrize("decoding", DECODINGS)
def test_a_map_without_a_peak_is_refused(decoding, value):
    maps, _ = CODEC.encode(np.full((3, 4, 2), 100.0))
    maps[1, 2] = value
    with pytest.raises(ValueError, match="the heatmap of landmark 2 of face 1 has no peak"):
        CODEC.decode(maps, decoding)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="unknown decoding 'mean': choose one of subpixel, argmax, quarter, enlarged"):
        CODEC.decode(np.zeros((1, 1, 32, 32)), "mean")
    with pytest.raises(ValueError, match=r"shape \(1, 1, 64, 64\) are not \(N, K, 32, 32\)"):
        CODEC.decode(np.zeros((1, 1, 64, 64)))
    for wrong in ((1, 8, 1.0), (32, 0, 1.0), (32, 8, 0.0)):
        with pytest.raises(ValueError, match="heatmaps of size"):
            HeatmapCodec(*wrong)
