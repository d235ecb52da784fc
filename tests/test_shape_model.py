"""The shape model on maps that are known: true ones, ones with false peaks, ones cut off; and averaging of answers."""

from dataclasses import replace

import mxnet as mx
import numpy as np
import pytest

from datasets.geometry import crop_matrix, landmark_box, square_box, transform_points
from datasets.markup import Markup
from datasets.markups import IBUG_68
from datasets.render.faces import RenderedFaces
from gluon_models.lgcn.network import LGCN, SPEC, dense_kernel
from inference.ensembles import AugmentedPredictor, DropoutEnsemble
from inference.shape_model import (
    ShapeFitter,
    fit_shapes,
    kabsch,
    load_shape_model,
    save_shape_model,
    shape_model_beside,
    training_shapes,
)
from untrained import start_lively

SIDE = 96


@pytest.fixture(scope="module")
def shapes():
    """Points (60, 68, 2) of rendered faces in crops of 96 pixels."""
    faces = RenderedFaces(60, 0, 64)
    points = [faces[i].points_image for i in range(len(faces))]
    squares = [square_box(landmark_box(each), SPEC.box_margin) for each in points]
    return np.stack([transform_points(each, crop_matrix(square, SIDE)) for each, square in zip(points, squares)])


@pytest.fixture(scope="module")
def model(shapes):
    return fit_shapes(training_shapes(shapes[:46], IBUG_68.flip_order))


def true_maps(points):
    """Maps (K, 96, 96): the kernel of Eq. 1 about each point, sampled between cells; 0 for points beyond the crop."""
    kernel = np.pad(dense_kernel(), 1)
    maps = np.zeros((len(points), SIDE + 48, SIDE + 48))
    for one, (x, y) in zip(maps, points):
        if not (-0.5 <= x < SIDE - 0.5 and -0.5 <= y < SIDE - 0.5):
            continue
        left, top = int(np.floor(x)), int(np.floor(y))
        for column, share_x in ((left, left + 1 - x), (left + 1, x - left)):
            for row, share_y in ((top, top + 1 - y), (top + 1, y - top)):
                one[row + 1 : row + 48, column + 1 : column + 48] += share_x * share_y * kernel
    return maps[:, 24:-24, 24:-24].astype("f")


class TestModel:
    def test_kabsch_finds_the_turn(self):
        points = np.random.RandomState(0).normal(0, 1, (9, 2))
        angle = np.deg2rad(35)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        target = 3 * points @ turn.T + (4, -2)
        np.testing.assert_allclose(kabsch(points, target), turn, atol=1e-12)
        # A point of no weight may lie anywhere.
        target[0] = 100
        np.testing.assert_allclose(kabsch(points, target, np.arange(9.0)), turn, atol=1e-12)

    def test_it_finds_the_components_that_shapes_were_made_of(self):
        rng = np.random.RandomState(0)
        mean = rng.normal(0, 1, (20, 2))
        mean -= mean.mean(axis=0)
        mean /= np.sqrt((mean**2).sum() / 20)
        # A change that neither moves, turns nor scales: no alignment takes it away.
        change = rng.normal(0, 1, (20, 2))
        change -= change.mean(axis=0)
        for direction in (mean, mean[:, ::-1] * (-1, 1)):
            change -= direction * (change * direction).sum() / (direction**2).sum()
        change /= np.linalg.norm(change)
        amounts = rng.normal(0, 0.1, 400)
        plain = mean + amounts[:, None, None] * change
        angles = rng.uniform(-0.5, 0.5, 400)
        turns = np.stack([[np.cos(angles), -np.sin(angles)], [np.sin(angles), np.cos(angles)]]).transpose(2, 0, 1)
        moved = rng.uniform(5, 9, (400, 1, 1)) * plain @ turns.swapaxes(1, 2) + rng.uniform(-50, 50, (400, 1, 2))
        model = fit_shapes(moved, components=2)
        found = model.components[0]
        turn = kabsch(model.mean, mean)
        assert abs((found @ turn.T * change).sum()) == pytest.approx(1, abs=1e-3)
        assert model.deviations[0] == pytest.approx(amounts.std(), rel=0.02)
        assert model.deviations[1] < 1e-2 * model.deviations[0] + 1e-3
        np.testing.assert_allclose(model.mean @ turn.T, mean, atol=0.02)

    def test_mirrored_shapes_swap_left_and_right(self, shapes):
        both = training_shapes(shapes[:1], IBUG_68.flip_order)
        np.testing.assert_array_equal(both[0], shapes[0])
        np.testing.assert_array_equal(both[1, 36], shapes[0, 45] * (-1, 1))

    def test_saved_and_read(self, model, tmp_path):
        save_shape_model(model, tmp_path / "shape.npz")
        again = load_shape_model(tmp_path / "shape.npz")
        for one, two in zip(vars(model).values(), vars(again).values()):
            np.testing.assert_array_equal(one, two)
        assert again.components.shape == (12, 68, 2)

    def test_bad_files_and_shapes(self, model, tmp_path):
        with pytest.raises(FileNotFoundError, match="no such shape model"):
            load_shape_model(tmp_path / "none.npz")
        (tmp_path / "text.npz").write_text("no")
        np.savez(tmp_path / "other.npz", mean=np.zeros((68, 3)), components=np.zeros((2, 68, 2)), deviations=np.ones(2))
        for name in ("text.npz", "other.npz"):
            with pytest.raises(ValueError, match="name the .npz that training wrote"):
                load_shape_model(tmp_path / name)
        with pytest.raises(ValueError, match="12 complete shapes are too few"):
            fit_shapes(np.concatenate([np.random.RandomState(0).normal(0, 1, (12, 5, 2)), np.full((9, 5, 2), np.nan)]))
        with pytest.raises(ValueError, match="do not fit a shape model of 68"):
            ShapeFitter(model)(np.ones((5, 96, 96), "f"))
        with pytest.raises(ValueError, match="no activation"):
            ShapeFitter(model)(np.zeros((68, 96, 96), "f"))


class TestFit:
    def test_true_maps_give_the_points(self, model, shapes):
        # Sec. 4: the landmarks' tight square, enlarged by 17 %; of 100 by 80 pixels about (50, 40).
        np.testing.assert_allclose(square_box((0, 0, 100, 80), SPEC.box_margin), [-8.5, -18.5, 108.5, 98.5])
        errors = []
        for points in shapes[46:]:
            errors.append(np.linalg.norm(ShapeFitter(model)(true_maps(points)).points - points, axis=1))
        assert np.mean(errors) < 0.1
        assert np.quantile(errors, 0.99) < 0.3

    @pytest.mark.parametrize("angle", [-60, 30, 75])
    def test_turned_faces(self, model, shapes, angle):
        turn = kabsch(
            np.array([[0.0, 0.0], [1.0, 0.0]]), np.array([[0, 0], np.exp(1j * np.deg2rad(angle)).view("2f8")])
        )
        points = (shapes[47] - 47.5) * 0.75 @ turn.T + 47.5
        errors = np.linalg.norm(ShapeFitter(model)(true_maps(points)).points - points, axis=1)
        assert errors.mean() < 0.1

    def test_false_peaks_on_ten_maps(self, model, shapes):
        rng = np.random.RandomState(0)
        errors, alone = [], []
        for points in shapes[46:]:
            wrong = rng.choice(68, 10, replace=False)
            maps = true_maps(points)
            moved = points.copy()
            moved[wrong] = rng.uniform(0, 95, (10, 2))
            maps[wrong] = true_maps(moved)[wrong]
            fit = ShapeFitter(model)(maps)
            errors.append(np.linalg.norm(fit.points - points, axis=1)[wrong].mean())
            alone.append(np.linalg.norm(moved - points, axis=1)[wrong].mean())
            others = np.delete(np.linalg.norm(fit.points - points, axis=1), wrong)
            assert others.mean() < 0.5
        assert np.mean(alone) > 20
        assert np.mean(errors) < 3

    def test_points_cut_off_by_the_border_are_restored(self, model, shapes):
        errors, distances = [], []
        for points in shapes[46:] + (22, 0):
            beyond = points[:, 0] >= SIDE - 0.5
            fit = ShapeFitter(model, prior=True)(true_maps(points))
            errors.extend(np.linalg.norm(fit.points - points, axis=1)[beyond])
            distances.extend(points[beyond, 0] - (SIDE - 1))
            assert np.linalg.norm(fit.points - points, axis=1)[~beyond].mean() < 0.3
            assert (fit.support[beyond & (fit.shape[:, 0] > SIDE)] == 0).all()
        assert len(errors) > 50
        # What any answer inside the crop would err by at least, against what the model errs by.
        assert np.mean(errors) < 0.5 * np.mean(distances)
        assert np.mean(errors) < 5

    def test_a_coarser_map_has_smaller_windows(self, model, shapes):
        """Gaussians of one cell on 32 x 32 cells, as the hourglass answers them."""
        cells = (shapes[51] + 0.5) / 3 - 0.5
        grid = np.arange(32)
        squares = (cells[:, 0, None, None] - grid) ** 2 + (cells[:, 1, None, None] - grid[:, None]) ** 2
        fit = ShapeFitter(model, cells_per_pixel=1 / 3)(np.exp(-squares / 2).astype("f"))
        errors = 3 * np.linalg.norm(fit.points - cells, axis=1)
        assert errors.mean() < 0.3

    def test_a_weak_peak_counts_as_little_as_it_is_high(self, model, shapes):
        points = shapes[49]
        maps = true_maps(points)
        sure = ShapeFitter(model)(maps)
        maps[30] *= 0.5
        fit = ShapeFitter(model)(maps)
        np.testing.assert_allclose(fit.points[30], 0.5 * (fit.shape[30] + points[30]), atol=0.1)
        assert fit.support[30] == pytest.approx(0.5 * sure.support[30], abs=0.05)

    def test_maps_that_are_low_everywhere_are_fitted_too(self, model, shapes):
        faint = ShapeFitter(model)(0.005 * true_maps(shapes[50]))
        assert np.linalg.norm(faint.points - shapes[50], axis=1).mean() < 5


def test_the_shape_model_of_some_weights_lies_beside_them(tmp_path):
    weights = tmp_path / "best.params"
    with pytest.raises(ValueError, match=r"best.params has no shape model beside it: pass --shape-model FILE"):
        shape_model_beside(weights)
    (tmp_path / "shape.npz").touch()
    assert shape_model_beside(weights) == tmp_path / "shape.npz"
    (tmp_path / "best.shape.npz").touch()
    assert shape_model_beside(weights) == tmp_path / "best.shape.npz"


class Painted:
    """A predictor that answers where the crop is bright red, green and blue: three landmarks, the last two a pair."""

    spec, batch_size = SPEC, 64

    def __init__(self, error):
        self._error = np.asarray(error)

    def __call__(self, crops):
        grid = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE)), axis=-1)
        weights = np.clip(crops.astype(float) - 60, 0, None)
        sums = np.einsum("nijk,ijc->nkc", weights, grid)
        return sums / weights.sum(axis=(1, 2))[..., None] + self._error


PAIR = Markup("pair", ("chin", "right_eye", "left_eye"), None, None, {}, ())


class TestAnswersTogether:
    def test_copies_are_brought_back_to_the_crop(self):
        points = np.array([[48.0, 60.0], [30.0, 40.0], [62.0, 43.0]])
        distances = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE)), axis=-1)[:, :, None] - points
        crop = (255 * np.exp(-(distances**2).sum(axis=-1) / 18)).astype(np.uint8)[None]

        class Mirrors(Painted):
            """A mirrored crop shows the left landmark in the right one's colour, as a real face would to a network."""

            def __call__(self, crops):
                answers = super().__call__(crops)
                wrong = answers[:, 1, 0] > answers[:, 2, 0]
                answers[wrong] = answers[wrong][:, [0, 2, 1]]
                return answers

        got = AugmentedPredictor(Mirrors((0, 0)), PAIR)(crop)[0]
        np.testing.assert_allclose(got, points, atol=0.1)
        # What annotators place 3 px further to the right than a mirror image says, predictions may, too.
        side = SIDE / (1 + SPEC.box_margin)
        habit = AugmentedPredictor(Mirrors((3, 0)), replace(PAIR, offset=3 / side))(crop)[0]
        np.testing.assert_allclose(habit, points + np.array([3, 0]), atol=0.4)
        # Any other error to the right is mirrored in half of the copies.
        biased = AugmentedPredictor(Mirrors((2, 0)), PAIR)(crop)[0]
        assert np.abs(biased - points).max() < 0.5

    def test_copies_keep_the_crops_middle_in_place(self):
        """Turned and enlarged about the middle, a crop has its middle where it was: an answer there stays there."""
        middle = np.full((1, 3, 2), (SIDE - 1) / 2)

        class Middle(Painted):
            def __call__(self, crops):
                return np.repeat(middle, len(crops), axis=0)

        got = AugmentedPredictor(Middle((0, 0)), PAIR)(np.zeros((1, SIDE, SIDE, 3), np.uint8))
        np.testing.assert_allclose(got, middle, atol=1e-9)

    def test_dropout_answers_are_averaged(self):
        net = LGCN(num_landmarks=2, filters=4)
        mx.random.seed(0)
        net.initialize()
        faces = mx.nd.random.uniform(-0.1, 0.1, (1, 1, 16, 16))
        net(faces)
        start_lively(net)
        net.hybridize()
        faces = mx.nd.tile(faces, (60, 1, 1, 1))  # the copies drop other units
        one, ten = (DropoutEnsemble(net, answers)(faces).asnumpy().std(axis=0).mean() for answers in (1, 10))
        assert one > 1e-4
        assert ten / one == pytest.approx(np.sqrt(0.1), rel=0.3)
