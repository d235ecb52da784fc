"""The way of a face through crops and back, with stand-in networks whose answers are known, and one real network."""

import mxnet as mx
import numpy as np
import pytest

import untrained
from datasets.faces import Face
from datasets.geometry import invert, transform_points
from datasets.heatmaps import HeatmapCodec
from datasets.markups import AFLW_19
from datasets.render.faces import RenderedFaces
from gluon_models import InputSpec, get_model, get_spec
from inference import pipeline
from inference.pipeline import (
    PointPredictor,
    StagePredictor,
    crop_dataset,
    crop_faces,
    locate,
    points_from_fractions,
    points_from_output,
    predict_cropped,
    predict_dataset,
)
from inference.shape_model import ShapeModel, fit_shapes


def make_spec(size=8, margin=0.0, mean=(0.0, 0.0, 0.0), scale=(1.0, 1.0, 1.0)):
    return InputSpec(size=size, colour="rgb", mean=mean, scale=scale, box_margin=margin, output="points")


class FixedPoints:
    """Answers the same fractions (K, 2) for every crop and remembers its inputs."""

    def __init__(self, *fractions):
        self.fractions, self.inputs = np.array(fractions, np.float32), []

    def __call__(self, faces):
        self.inputs.append(faces.asnumpy())
        return mx.nd.array(np.repeat(self.fractions[None], faces.shape[0], axis=0))


class Centroid:
    """Answers the centre of brightness of each crop, and each crop's brightest value as a second point."""

    def __call__(self, faces):
        light = faces.asnumpy().sum(axis=1)
        cells = (np.arange(light.shape[-1]) + 0.5) / light.shape[-1]
        total = light.sum(axis=(1, 2))
        x, y = (light.sum(axis=1) @ cells) / total, (light.sum(axis=2) @ cells) / total
        brightest = light.max(axis=(1, 2))
        return mx.nd.array(np.stack([np.stack([x, y], -1), np.stack([brightest, brightest], -1)], axis=1))


def with_spots(height, width, *centres):
    """A black photo with a smooth spot of light, 3 px wide, about each centre."""
    y, x = np.mgrid[:height, :width]
    light = sum(np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * 3.0**2)) for cx, cy in centres)
    return np.repeat((200 * light).round().astype(np.uint8)[..., None], 3, axis=2)


def test_fractions_count_from_the_outer_edge_of_the_crop():
    # Eight pixels span -0.5 to 7.5.
    np.testing.assert_array_equal(points_from_fractions(np.array([[0, 0.5], [1, 0.0625]]), 8), [[-0.5, 3.5], [7.5, 0]])


# For each box the square the network sees, worked out by hand; x = x0 + fraction * side - 0.5.
@pytest.mark.parametrize(
    ("box", "margin", "corner", "side"),
    [
        ((10, 20, 26, 36), 0.0, (10, 20), 16),
        ((10, 20, 26, 36), 0.25, (8, 18), 20),
        ((10, 20, 14, 36), 0.0, (4, 20), 16),  # narrow: the longer side counts
        ((-6, -10, 10, 6), 0.0, (-6, -10), 16),  # across the top left border
        ((50, 30, 66, 46), 0.5, (46, 26), 24),  # across the bottom right border
        ((-100, -100, 164, 140), 0.0, (-100, -112), 264),  # larger than the photo
    ],
)
def test_known_fractions_land_where_the_box_says(box, margin, corner, side):
    net = FixedPoints((0, 0), (0.5, 0.25), (1, 1))
    found = locate(
        PointPredictor(net, make_spec(margin=margin)), np.zeros((40, 60, 3), np.uint8), [np.array(box, float)]
    )
    (x, y), end = corner, side - 0.5
    expected = [[x - 0.5, y - 0.5], [x + side / 2 - 0.5, y + side / 4 - 0.5], [x + end, y + end]]
    np.testing.assert_allclose(found, [expected], atol=1e-4)


@pytest.mark.parametrize("centre", [(70.3, 52.8), (4.0, 50.0), (140.0, 96.5)], ids=["inside", "left", "bottom right"])
@pytest.mark.parametrize("side", [25, 40, 90])
def test_a_spot_of_light_is_found_where_it_is(centre, side):
    # The box is not centred on the spot, so that a shift or a flip of crop against points shows.
    x0, y0 = centre[0] - 0.45 * side, centre[1] - 0.6 * side
    photo = with_spots(110, 150, centre)
    predictor = PointPredictor(Centroid(), make_spec(size=64))
    found = locate(predictor, photo, [np.array([x0, y0, x0 + side, y0 + side])])[0, 0]
    full = min(centre[0], 149 - centre[0], centre[1], 109 - centre[1]) > 9
    # Where the border cuts the spot, its centre of brightness moves inwards by at most the tail of a 3 px Gaussian.
    np.testing.assert_allclose(found, centre, atol=0.1 if full else 1.0)


def test_each_face_comes_back_through_its_own_matrix():
    centres = [(30.0, 30.0), (100.0, 40.0), (60.0, 80.0)]
    boxes = [np.array([x - 14, y - 12, x + 12, y + 14]) for x, y in centres]
    found = locate(PointPredictor(Centroid(), make_spec(size=32), batch_size=2), with_spots(110, 150, *centres), boxes)
    np.testing.assert_allclose(found[:, 0], centres, atol=0.1)


def test_crops_are_black_beyond_the_border():
    white = np.full((20, 20, 3), 255, np.uint8)
    crops, matrices = crop_faces(white, [np.array([-8.0, 0, 8, 16])], make_spec(size=16))
    assert crops.shape == (1, 16, 16, 3)
    assert crops.dtype == np.uint8
    assert (crops[0, :, :8] == 0).all()
    assert (crops[0, :, 8:] == 255).all()
    np.testing.assert_allclose(transform_points(np.array([[0.0, 0.0]]), matrices[0]), [[8, 0]])
    np.testing.assert_allclose(transform_points(np.array([[8.0, 0.0]]), invert(matrices[0])), [[0, 0]], atol=1e-12)


def test_the_network_sees_normalized_rgb_planes():
    net = FixedPoints((0.5, 0.5))
    spec = make_spec(size=4, mean=(10.0, 20.0, 30.0), scale=(1.0, 0.5, 0.25))
    photo = np.full((9, 9, 3), (110, 220, 31), np.uint8)
    locate(PointPredictor(net, spec), photo, [np.array([2.0, 2, 6, 6])])
    assert net.inputs[0].shape == (1, 3, 4, 4)
    for plane, value in zip(net.inputs[0][0], (100, 100, 0.25)):
        np.testing.assert_allclose(plane, value)


def test_many_faces_run_in_batches_and_keep_their_order():
    net = Centroid()
    crops = np.zeros((7, 8, 8, 3), np.uint8)
    crops[:, 4, 4] = np.arange(10, 80, 10)[:, None]
    found = PointPredictor(net, make_spec(), batch_size=3)(crops)
    assert found.shape == (7, 2, 2)
    # The brightest value, three channels of it, read as fractions of eight pixels.
    np.testing.assert_allclose(found[:, 1, 0], 3 * np.arange(10, 80, 10) * 8 - 0.5)
    counted = FixedPoints((0, 0))
    PointPredictor(counted, make_spec(), batch_size=3)(crops)
    assert [len(batch) for batch in counted.inputs] == [3, 3, 1]


def test_a_second_look_is_at_the_box_of_the_first_ones_points():
    net = FixedPoints((0.25, 0.25), (0.75, 0.75))
    predictor, photo = PointPredictor(net, make_spec()), np.zeros((40, 40, 3), np.uint8)
    # 0.25 and 0.75 of 16 pixels from 10 on are 13.5 and 21.5; of the 8 pixels from 13.5 on, 15 and 19.
    np.testing.assert_allclose(locate(predictor, photo, [np.array([10.0, 10, 26, 26])]), [[[13.5] * 2, [21.5] * 2]])
    np.testing.assert_allclose(
        locate(predictor, photo, [np.array([10.0, 10, 26, 26])], passes=2), [[[15] * 2, [19] * 2]]
    )


def test_answers_that_are_no_numbers_are_refused():
    with pytest.raises(ValueError, match="weights are damaged"):
        locate(PointPredictor(FixedPoints((np.nan, 0)), make_spec()), np.zeros((9, 9, 3), np.uint8), [np.arange(4.0)])


class Nearing:
    """Answers the centre of the crop, then half the way from there to its light, then the light's place.

    The points are two; the second lies a tenth of the crop to the right of the first and below it.
    """

    def all_stages(self, faces):
        light = Centroid()(faces).asnumpy()[:, 0]
        places = (np.stack([place, place + 0.1], axis=1) for place in (0 * light + 0.5, 0.5 * light + 0.25, light))
        return [mx.nd.array(place) for place in places]

    def __call__(self, faces):
        return self.all_stages(faces)[-1]


def test_the_stages_of_a_network_in_pixels_of_each_crop():
    crops = np.stack([with_spots(64, 64, centre) for centre in ((31.5, 31.5), (20, 40), (44, 24), (31.5, 12))])
    predictor = PointPredictor(Nearing(), make_spec(size=64), batch_size=3)
    # Fractions of 64 pixels from -0.5 on, so the middle is at 31.5 and a tenth is 6.4.
    firsts = [[[31.5, 31.5]] * 3]
    firsts += [[[31.5, 31.5], [25.75, 35.75], [20, 40]], [[31.5, 31.5], [37.75, 27.75], [44, 24]]]
    firsts += [[[31.5, 31.5], [31.5, 21.75], [31.5, 12]]]
    expected = np.stack([firsts, np.add(firsts, 6.4)], axis=2)
    np.testing.assert_allclose(predictor.stages(crops), expected, atol=0.02)
    np.testing.assert_array_equal(StagePredictor(predictor)(crops), predictor.stages(crops))
    np.testing.assert_array_equal(predictor.stages(crops)[:, -1], predictor(crops))


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("ffld_resnet18", {"num_stages": 2}),
        ("hourglass_resnet50", {"stacks": 3, "channels": 16, "depth": 1, "backbone_stride": 4}),
        ("lgcn_64", {"filters": 4}),
        ("lgcn_64", {"filters": 4, "background": True}),
    ],
)
def test_the_last_stage_of_a_real_network_is_its_answer_to_the_bit(name, settings):
    """Of networks as evaluations run them, hybridized."""
    spec = get_spec(name, **settings)
    net = get_model(name, num_landmarks=5, **settings)
    net.initialize()
    net(mx.nd.zeros((1, len(spec.mean), spec.size, spec.size)))
    untrained.fill(net)
    net.hybridize(static_alloc=True, static_shape=True)
    predictor = PointPredictor(net, spec, batch_size=2)
    crops = np.random.default_rng(0).integers(0, 256, (3, spec.size, spec.size, 3), dtype=np.uint8)
    stages = predictor.stages(crops)
    assert stages.shape == (3, 2 if name == "lgcn_64" else 3, 5, 2)
    np.testing.assert_array_equal(stages[:, -1], predictor(crops))
    assert np.abs(np.diff(stages, axis=1)).max(axis=(0, 2, 3)).min() > 1e-3


def test_the_maps_of_one_stage_and_batch_are_decoded_at_a_time(monkeypatch):
    decoded = []

    def counted(answer, spec, decoding):
        decoded.append(answer.shape)
        return points_from_output(answer, spec, decoding)

    monkeypatch.setattr(pipeline, "points_from_output", counted)
    codec = HeatmapCodec(size=8, stride=4, sigma=1.0)
    maps = HeatmapsOfTheBrightest(codec)
    maps.all_stages = lambda faces: [maps(faces)] * 3
    spec = InputSpec(32, "rgb", (0.0,) * 3, (1.0,) * 3, 0.0, "heatmaps", stride=4, sigma=1.0)
    crops = np.stack([with_spots(32, 32, (10, 12))] * 5)
    assert PointPredictor(maps, spec, batch_size=4).stages(crops).shape == (5, 3, 2, 2)
    assert decoded == [(4, 2, 8, 8)] * 3 + [(1, 2, 8, 8)] * 3


class HeatmapsOfTheBrightest:
    """Answers Gaussian maps about the brightest pixel of each crop, and about that pixel's mirror image."""

    def __init__(self, codec):
        self._codec = codec

    def __call__(self, faces):
        light = faces.asnumpy().sum(axis=1)
        size = light.shape[-1]
        places = light.reshape(len(light), -1).argmax(axis=1)
        point = np.stack([places % size, places // size], axis=-1)
        maps, _ = self._codec.encode(np.stack([point, (size - 1, 0) + point * (-1, 1)], axis=1))
        return mx.nd.array(maps)


@pytest.mark.parametrize(("decoding", "bound"), [("subpixel", 1e-4), ("argmax", 2.0), ("quarter", 1.0)])
def test_heatmaps_become_points_where_the_light_is(decoding, bound):
    spec = InputSpec(32, "rgb", (0.0,) * 3, (1.0,) * 3, 0.0, "heatmaps", stride=4, sigma=1.0)
    predictor = PointPredictor(
        HeatmapsOfTheBrightest(HeatmapCodec(8, 4, 1.0)),
        spec,
        batch_size=2,
        **({} if bound < 1 else {"decoding": decoding}),
    )
    # Boxes of 32 and 64 pixels: one pixel of the crop is one of the photo, and two.
    photo = np.zeros((100, 100, 3), np.uint8)
    photo[33, 22], photo[68:70, 60:62] = 255, 255
    boxes = [np.array([10.0, 20, 42, 52]), np.array([30.0, 36, 94, 100]), np.array([12.0, 20, 44, 52])]
    found = locate(predictor, photo, boxes)
    np.testing.assert_allclose(found[[0, 2], 0], [[22, 33]] * 2, atol=bound)
    np.testing.assert_allclose(found[0, 1], [10 + 31 - 12, 33], atol=bound)
    np.testing.assert_allclose(found[1, 0], [60.5, 68.5], atol=2 * bound)
    if bound >= 1:
        assert (
            np.abs(found[:, 0] - [[22, 33], [60.5, 68.5], [22, 33]]).max() > 0.4
        )  # not the fit, but the rule asked for


def test_a_real_network_answers_the_same_in_a_batch_and_one_by_one():
    mx.random.seed(1)
    net = get_model("resnet18_slim", num_landmarks=19)
    net.initialize(mx.init.Xavier())
    net.hybridize(static_alloc=True, static_shape=True)
    crops = np.random.default_rng(0).integers(0, 256, (5, 224, 224, 3), dtype=np.uint8)
    spec = get_spec("resnet18_slim")
    together, pairs = (PointPredictor(net, spec, batch_size=size)(crops) for size in (64, 2))
    alone = np.concatenate([PointPredictor(net, spec)(crop[None]) for crop in crops])
    assert np.ptp(together, axis=0).max() > 0.1  # the faces do differ
    np.testing.assert_allclose(together, alone, atol=1e-3)
    np.testing.assert_allclose(pairs, alone, atol=1e-3)


class Blobs:
    """Answers Gaussians about given points on maps of a given size."""

    def __init__(self, points, codec):
        self._maps = codec.encode(points[None])[0]

    def __call__(self, faces):
        return mx.nd.tile(mx.nd.array(self._maps), (faces.shape[0], 1, 1, 1))


@pytest.mark.parametrize("stride", [1, 4])
def test_a_shape_model_places_what_a_map_misleads(stride):
    """Points of a coarse map too: the shape model's cells are brought back to the crop."""
    shapes = RenderedFaces(40, 0, 64)
    points = np.stack([shapes[k].points_image for k in range(40)])
    points = 20 + 88 * (points - points.min(axis=1, keepdims=True)) / np.ptp(points, axis=1).max(axis=1)[:, None, None]
    model = fit_shapes(points)
    size = 128
    spec = InputSpec(size, "rgb", (0.0,) * 3, (1.0,) * 3, 0.17, "heatmaps", stride=stride, sigma=2.0)
    misled = points[3].copy()
    misled[30] += (30, -25)
    net = Blobs(misled, HeatmapCodec(size // stride, stride, 2.0))
    crops = np.zeros((2, size, size, 3), np.uint8)
    peaks, fitted = PointPredictor(net, spec)(crops), PointPredictor(net, spec, shape_model=model)(crops)
    np.testing.assert_allclose(peaks[1], misled, atol=0.3)
    errors = np.linalg.norm(fitted - points[3], axis=2)
    assert errors[:, 30].max() < 5
    assert np.delete(errors, 30, axis=1).mean() < 0.5
    assert np.delete(errors, 30, axis=1).max() < 2


def test_what_reads_heatmaps_is_refused_where_there_are_none():
    model = ShapeModel(np.zeros((19, 2)), np.zeros((1, 19, 2)), np.ones(1))
    for given in ({"decoding": "argmax"}, {"shape_model": model}):
        with pytest.raises(ValueError, match="predicts points, not heatmaps"):
            PointPredictor(Centroid(), make_spec(), **given)
    spec = InputSpec(32, "rgb", (0.0,) * 3, (1.0,) * 3, 0.0, "heatmaps", stride=4, sigma=1.0)
    with pytest.raises(ValueError, match="give one of the two"):
        PointPredictor(Centroid(), spec, decoding="argmax", shape_model=model)


class SpotFaces:
    """Four photos with a spot of light; the third cannot be read."""

    markup = AFLW_19
    names = ("a", "b", "c", "d")
    centres = ((30.0, 30.0), (34.5, 28.0), (0.0, 0.0), (27.0, 36.0))

    def __len__(self):
        return len(self.names)

    def __getitem__(self, index):
        if self.names[index] == "c":
            raise ValueError("c.jpg: cut short")
        points = np.repeat([self.centres[index]], 19, axis=0)
        return Face(with_spots(64, 64, self.centres[index]), points, np.array([15.0, 15, 47, 47]), self.names[index])


class AllAtTheCentroid(Centroid):
    def __call__(self, faces):
        return mx.nd.repeat(super().__call__(faces)[:, :1], 19, axis=1)


def test_a_data_set_is_predicted_past_faces_that_are_bad_or_not_found():
    faces = SpotFaces()
    boxes = lambda face: None if face.name == "b" else np.array([10.0, 10, 50, 50])  # noqa: E731
    predicted = predict_dataset(PointPredictor(AllAtTheCentroid(), make_spec(size=32)), faces, boxes)
    points, skipped = predicted.points_image, predicted.skipped
    assert points.shape == (4, 19, 2)
    assert skipped == {"b": "no face was found", "c": "c.jpg: cut short"}
    assert np.isnan(points[1:3]).all()
    assert np.isnan(predicted.truth_image).all(axis=(1, 2)).tolist() == [False, False, True, False]
    assert predicted.boxes[[0, 3]].tolist() == [[10, 10, 50, 50]] * 2
    assert np.isnan(predicted.boxes[1:3]).all()
    for index in (0, 3):
        np.testing.assert_allclose(points[index], np.repeat([faces.centres[index]], 19, axis=0), atol=0.1)


class TwoStages(FixedPoints):
    """Answers the same fractions for every crop, before that those of its upper left corner."""

    def all_stages(self, faces):
        return [mx.nd.zeros((faces.shape[0], *self.fractions.shape)), self(faces)]


def test_every_stage_of_a_data_set_at_its_second_look():
    """The second look is at the box of the last stage's points of the first one, or none would be there at all."""
    net = TwoStages(*[(0.25, 0.25)] * 18, (0.75, 0.75))
    predictor = StagePredictor(PointPredictor(net, make_spec(size=32)))
    predicted = predict_dataset(predictor, SpotFaces(), passes=2)
    points, skipped = predicted.points_image, predicted.skipped
    assert points.shape == (4, 2, 19, 2)
    assert list(skipped) == ["c"]
    np.testing.assert_allclose(points[0, 1, [0, 18]], [[26, 26], [34, 34]])
    # Half a pixel before the first look's first points, at 22.5, the second crop begins.
    np.testing.assert_allclose(points[0, 0], np.full((19, 2), 22.0))


def test_a_face_left_out_is_so_at_every_stage():
    predictor = StagePredictor(PointPredictor(TwoStages(*[(0.5, 0.5)] * 19), make_spec(size=32)))
    points = predict_dataset(predictor, SpotFaces(), lambda face: np.array([10.0, 20, 50, 60])).points_image
    assert points.shape == (4, 2, 19, 2)
    np.testing.assert_array_equal(np.isnan(points).all(axis=(1, 2, 3)), [False, False, True, False])
    np.testing.assert_allclose(points[3, :, 7], [[9.5, 19.5], [29.5, 39.5]])
    none = predict_dataset(predictor, SpotFaces(), lambda face: None).points_image
    assert none.shape == (4, 19, 2)
    assert np.isnan(none).all()


def test_cropped_faces_and_the_data_set_itself_give_the_same_points():
    faces = SpotFaces()
    faces.names = ("a", "b", "x", "d")  # all readable
    faces.centres = (*faces.centres[:2], (31.0, 31.0), faces.centres[3])
    predictor = PointPredictor(AllAtTheCentroid(), make_spec(size=32, margin=0.25))
    cropped = crop_dataset(faces, predictor.spec)
    assert cropped.crops.shape == (4, 32, 32, 3)
    np.testing.assert_allclose(cropped.truth_image[:, 0], faces.centres)
    one_by_one = predict_dataset(predictor, faces)
    assert one_by_one.skipped == {}
    np.testing.assert_array_equal(one_by_one.truth_image, cropped.truth_image)
    np.testing.assert_allclose(predict_cropped(predictor, cropped), one_by_one.points_image, atol=1e-4)
    np.testing.assert_allclose(one_by_one.points_image[:, 0], faces.centres, atol=0.1)
