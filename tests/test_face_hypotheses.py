"""Faces found without a detector, by a network that predicts the true maps of known faces."""

import mxnet as mx
import numpy as np
import pytest

from datasets.geometry import crop_matrix, landmark_box, square_box, transform_points
from datasets.markups import IBUG_68
from datasets.render.faces import RenderedFaces
from gluon_models import InputSpec
from gluon_models.lgcn.network import LGCN, SIGMAS, SPEC
from inference.face_hypotheses import Candidates, WholePhotoLandmarks, find_peaks, join
from inference.photo_pyramid import PhotoPyramid, pyramid, resized, tiles
from inference.pipeline import PointPredictor
from inference.shape_model import fit_shapes, training_shapes
from untrained import start_lively

RGB = InputSpec(96, "rgb", (0.0,) * 3, (1.0,) * 3, SPEC.box_margin, "heatmaps", stride=1, sigma=2.0)
WHOLE = 96 / (1 + SPEC.box_margin)  # pixels of a face that fills a crop


@pytest.fixture(scope="module")
def shapes():
    """Points (40, 68, 2) of rendered faces, each in a box of longer side 1 about 0."""
    faces = RenderedFaces(40, 0, 64)
    points = [faces[i].points_image for i in range(len(faces))]
    return np.stack([transform_points(each, crop_matrix(square_box(landmark_box(each), 0), 1)) for each in points])


@pytest.fixture(scope="module")
def model(shapes):
    return fit_shapes(training_shapes(shapes, IBUG_68.flip_order))


def canvas(width, height):
    """A photo that says where each pixel lies: red from left to right, green from top to bottom, blue inside."""
    photo = np.full((height, width, 3), 255.0)
    photo[..., 0] = np.linspace(0, 255, width)
    photo[..., 1] = np.linspace(0, 255, height)[:, None]
    return photo.round().astype(np.uint8)


class TrueMaps:
    """The maps of known faces in a canvas: each peak as high as the face is near to the size it should have.

    Args:
        faces: (n, 68, 2) pixels of the canvas.
        size: width and height of the canvas.
        strays: (m, 3) further peaks: landmark, x, y in pixels of the canvas, of the height 1 at every size.
    """

    def __init__(self, faces, size, strays=()):
        self._faces, self._size, self._strays = faces, np.array(size), strays
        self.largest = 0

    def __call__(self, pictures):
        answers = [self._maps(each) for each in pictures.asnumpy().transpose(0, 2, 3, 1)]
        return mx.nd.array(np.stack(answers))

    def _maps(self, picture):
        height, width = picture.shape[:2]
        self.largest = max(self.largest, width * height)
        maps = np.zeros((68, height, width), "f")
        inside = picture[..., 2] > 250
        if inside.sum() < 30:
            return maps
        x, offset_x = self._line(picture[..., 0], inside, 1)
        y, offset_y = self._line(picture[..., 1], inside, 0)
        for face in self._faces:
            side = np.ptp(face, axis=0).max() * x
            for landmark, point in enumerate(face * (x, y) + (offset_x, offset_y)):
                add_peak(maps[landmark], point, np.exp(-2 * np.log2(side / WHOLE) ** 2))
        for landmark, *point in self._strays:
            add_peak(maps[landmark], np.array(point) * (x, y) + (offset_x, offset_y), 1.0)
        return maps

    def _line(self, colours, inside, axis):
        """Scale and offset that take a coordinate of the canvas to one of the picture."""
        places = np.broadcast_to(np.arange(colours.shape[axis]).reshape((1, -1) if axis else (-1, 1)), colours.shape)
        length = self._size[1 - axis] - 1
        slope, offset = np.polyfit(places[inside], colours[inside] / 255 * length, 1)
        return 1 / slope, -offset / slope


def add_peak(one, point, height):
    """Raises a map (H, W) to the kernel of Eq. 1 about a point, times `height`."""
    low = np.maximum(np.floor(point).astype(int) - 22, 0)
    high = np.minimum(np.floor(point).astype(int) + 24, one.shape[::-1])
    if (high <= low).any():
        return
    across, down = (np.arange(a, b) - c for a, b, c in zip(low, high, point))
    kernel = 0
    for sigma in SIGMAS:
        kernel = kernel + np.exp(-0.5 * (across / sigma) ** 2) * np.exp(-0.5 * (down[:, None] / sigma) ** 2) / 5
    part = one[low[1] : high[1], low[0] : high[0]]
    np.maximum(part, height * kernel, out=part)


def at(shape, x, y, side):
    """A face of longer side `side` whose box has its centre at (x, y)."""
    return shape * side + (x, y)


def found_in(faces, model, size=(640, 480), strays=(), **settings):
    net = TrueMaps(faces, size, strays)
    return WholePhotoLandmarks(PointPredictor(net, RGB), model, IBUG_68, **settings)(canvas(*size))


def error(found, truth):
    """Mean distance over the longer side of the face."""
    return np.linalg.norm(found.points - truth, axis=1).mean() / np.ptp(truth, axis=0).max()


class TestPyramid:
    def test_sizes_halve_until_one_is_below_96(self):
        # Sec. 4.3: "four iterations, the last one being 80 x 60 px".
        levels = pyramid(640, 480, RGB, WHOLE / np.sqrt(2))
        assert [level.size for level in levels] == [(640, 480), (320, 240), (160, 120), (80, 60)]
        np.testing.assert_allclose([level.face for level in levels], WHOLE * 2.0 ** np.arange(4))

    def test_every_face_is_within_the_root_of_two_of_some_size(self):
        levels = pyramid(1000, 800, RGB, 60)
        for face in np.geomspace(60, 800, 50):
            assert min(abs(np.log2(face / level.face)) for level in levels) < 0.51

    def test_a_small_photo_is_looked_at_once(self):
        assert [level.size for level in pyramid(50, 40, RGB, WHOLE / np.sqrt(2))] == [(50, 40)]


class TestTiles:
    @pytest.mark.parametrize(("width", "height"), [(500, 100), (384, 385), (3000, 386)])
    def test_they_cover_each_pixel_once_with_all_that_the_network_sees(self, width, height):
        count = np.zeros((height, width), int)
        sizes = set()
        for (x0, y0, x1, y1), (left, top, right, bottom) in tiles(width, height):
            count[top:bottom, left:right] += 1
            sizes.add((x1 - x0, y1 - y0))
            assert x0 >= 0
            assert y0 >= 0
            assert x0 == 0 or left - x0 >= 72
            assert y0 == 0 or top - y0 >= 72
            assert x1 == width or x1 - right >= 72
            assert y1 == height or y1 - bottom >= 72
        assert (count == 1).all()
        assert sizes == {(min(width, 384), min(height, 384))}

    def test_the_maps_of_tiles_are_those_of_the_whole(self):
        net = LGCN(num_landmarks=3, filters=4)
        net.initialize()
        net(mx.nd.zeros((1, 1, 8, 8)))
        start_lively(net)
        predictor = PointPredictor(net, SPEC)
        photo = np.random.RandomState(0).randint(0, 256, (40, 420, 3)).astype(np.uint8)
        whole = predictor.output(photo[None])[0]
        assert whole.std(axis=(1, 2)).min() > 1e-3
        for (x0, y0, x1, y1), (left, top, right, bottom) in tiles(420, 40, side=200):
            part = predictor.output(photo[None, y0:y1, x0:x1])[0][:, top - y0 : bottom - y0, left - x0 : right - x0]
            np.testing.assert_allclose(part, whole[:, top:bottom, left:right], atol=1e-4)


class TestPhotoPyramid:
    def test_activations_are_the_highest_of_all_maps_at_each_size(self, shapes):
        truth, size = at(shapes[0], 250, 60, 62), (500, 120)
        pyramid_ = PhotoPyramid(PointPredictor(TrueMaps([truth], size), RGB), WHOLE / np.sqrt(2))
        found = pyramid_.activations(canvas(*size))
        assert [each.shape for each in found] == [(120, 500), (60, 250)]
        whole = PointPredictor(TrueMaps([truth], size), RGB).output(canvas(*size)[None])[0]
        np.testing.assert_allclose(found[0], whole.max(axis=0), atol=0.01)  # colours tell places to 0.02 pixels
        assert found[0].max() > 0.5


class TestCandidates:
    def test_peaks_by_hand(self):
        maps = np.zeros((3, 5, 6), "f")
        maps[0, 1, 2], maps[0, 1, 3], maps[0, 4, 5] = 0.9, 0.5, 0.3
        maps[2, 0, 0] = 0.1
        landmarks, cells, values = find_peaks(maps, 0.2)
        assert landmarks.tolist() == [0, 0]
        assert cells.tolist() == [[2, 1], [5, 4]]
        np.testing.assert_allclose(values, [0.9, 0.3])
        assert [len(each) for each in find_peaks(maps, 2.0)] == [0, 0, 0]

    def test_the_higher_of_two_sizes_stays(self):
        points = np.array([[10.0, 10], [14, 10], [16.5, 10], [10, 10]])
        joined = join(
            Candidates(np.array([4, 4, 4, 5]), points, np.array([0.5, 0.9, 0.4, 0.3]), np.array([60.0, 120, 60, 60]))
        )
        # 0.05 of 120 pixels is 6, so both others of landmark 4 are the same one.
        assert sorted(joined.values) == [0.3, 0.9]
        far = Candidates(np.array([4, 4]), points[:2], np.array([0.5, 0.9]), np.array([60.0, 60]))
        assert len(join(far)) == 2


class TestFaces:
    @pytest.mark.parametrize("side", [62, 164, 400])
    def test_faces_of_any_size(self, shapes, model, side):
        truth = at(shapes[0], 330, 230, side)
        (found,) = found_in([truth], model)
        assert error(found, truth) < 0.01
        assert found.score > 0.8
        np.testing.assert_allclose(found.box, landmark_box(found.points))

    def test_several_faces_of_several_sizes_the_surest_first(self, shapes, model):
        truth = [at(shapes[1], 120, 120, 80), at(shapes[2], 215, 125, 70), at(shapes[3], 450, 280, 260)]
        strays = np.random.RandomState(0).uniform((0, 0, 0), (68, 640, 480), (40, 3))
        strays[:, 0] = strays[:, 0].astype(int)
        faces = found_in(truth, model, strays=[(int(k), x, y) for k, x, y in strays])
        assert len(faces) == 3
        assert [face.score for face in faces] == sorted((face.score for face in faces), reverse=True)
        for each in truth:
            assert min(error(face, each) for face in faces) < 0.02

    def test_turned_and_cut_off_faces(self, shapes, model):
        angle = np.deg2rad(25)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        truth = [at(shapes[4] @ turn, 200, 200, 110), at(shapes[5], 632, 300, 130)]
        faces = found_in(truth, model)
        assert len(faces) == 2
        inside = truth[1][:, 0] < 640
        assert 0.5 < inside.mean() < 0.9
        assert error(min(faces, key=lambda face: face.points[:, 0].mean()), truth[0]) < 0.01
        cut = max(faces, key=lambda face: face.points[:, 0].mean())
        assert np.linalg.norm(cut.points - truth[1], axis=1)[inside].mean() < 0.02 * 130

    def test_strays_alone_are_no_face(self, model):
        rng = np.random.RandomState(1)
        strays = [(int(k), *rng.uniform(0, (320, 240))) for k in rng.randint(0, 68, 100)]
        assert found_in([], model, (320, 240), strays=strays) == []

    def test_support_decides(self, shapes, model):
        truth, size = at(shapes[6], 110, 80, 90), (220, 160)
        (face,) = found_in([truth], model, size)
        assert found_in([truth], model, size, least_support=face.score + 0.01) == []
        assert len(found_in([truth], model, size, least_support=face.score - 0.01)) == 1

    @pytest.mark.parametrize("size", [(640, 480), (1, 1)])
    def test_no_face_is_an_empty_list(self, model, size):
        assert found_in([], model, size) == []

    def test_a_big_photo_is_worked_through_in_tiles(self, shapes, model):
        size = (1000, 620)
        truth = [at(shapes[7], 400, 310, 100), at(shapes[8], 560, 150, 90), at(shapes[9], 780, 310, 380)]
        net = TrueMaps(truth, size)
        faces = WholePhotoLandmarks(PointPredictor(net, RGB), model, IBUG_68)(canvas(*size))
        assert len(faces) == 3
        assert net.largest <= 384**2
        for each in truth:
            assert min(error(face, each) for face in faces) < 0.02

    def test_the_smallest_face_sets_the_first_size(self, shapes, model):
        truth = [at(shapes[1], 40, 60, 32), at(shapes[3], 160, 90, 120)]
        assert len(found_in(truth, model, (240, 180))) == 1
        assert len(found_in(truth, model, (240, 180), min_face=30)) == 2


def test_what_cannot_work_is_refused(model):
    points = InputSpec(96, "rgb", (0.0,) * 3, (1.0,) * 3, 0.1, "points")
    with pytest.raises(ValueError, match="use lgcn_64 or lgcn_128"):
        WholePhotoLandmarks(PointPredictor(None, points), model, IBUG_68)
    with pytest.raises(ValueError, match="more than 0"):
        WholePhotoLandmarks(PointPredictor(None, RGB), model, IBUG_68, min_face=-1)
    spoilt = PointPredictor(lambda pictures: mx.nd.zeros((1, 68, *pictures.shape[2:])) * np.nan, RGB)
    with pytest.raises(ValueError, match="weights are damaged"):
        WholePhotoLandmarks(spoilt, model, IBUG_68)(canvas(64, 64))
    with pytest.raises(ValueError, match="is gray"):
        WholePhotoLandmarks(spoilt, model, IBUG_68)(canvas(64, 64)[..., 0])


def test_a_photo_is_averaged_where_it_shrinks():
    photo = np.indices((4, 4)).sum(axis=0)[..., None].repeat(3, axis=2) % 2 * 200
    np.testing.assert_array_equal(resized(photo.astype(np.uint8), (2, 2)), np.full((2, 2, 3), 100))
