"""The figures of FFLD: the numbers that they show, by hand, and every command with untrained networks."""

import mxnet as mx
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

import untrained
from datasets.catalog import SubsetInfo
from datasets.faces import Face
from datasets.images import read_image, write_image
from datasets.markups import AFLW_19, AFLW_21, IBUG_68
from datasets.render.faces import RenderedFaces
from evaluation.metrics import ced
from figures import ffld as figures
from figures import ffld_drawing, inputs
from figures.commands import FaceChoice
from figures.ffld_network import StagedNetwork
from figures.inputs import Sample, load_sample, spread
from figures.loss_landscapes import HEATMAP_SIGMA, REACH, STEP, contour_map, heatmap_loss, landscapes
from figures.networks import load_networks
from gluon_models import get_spec

SPEC = get_spec("ffld_resnet18")


def save_random(path, model, num_landmarks=68, **settings):
    """Untrained weights whose CropNets correct the points a little."""

    def correct(net):
        for refinement in net.cascade.refinements if model.startswith("ffld") else ():
            last = refinement.cropnet.offsets.weight
            last.set_data(mx.nd.random.normal(0, 0.02, last.shape))

    untrained.save_random(path, model, num_landmarks, correct, **settings)
    return str(path)


def load(path):
    return StagedNetwork(path, mx.cpu())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("weights")


@pytest.fixture(scope="module")
def baseline(folder):
    return save_random(folder / "baseline.params", "resnet18_slim")


@pytest.fixture(scope="module")
def refined(folder):
    return save_random(folder / "refined.params", "ffld_resnet18", num_stages=2)


@pytest.fixture(scope="module")
def network(refined):
    return load(refined)


def sample_of(truth_crop, crops=None, lengths=None):
    """Faces with these true points; their names and photos are of no account."""
    n = len(truth_crop)
    crops = np.zeros((n, 32, 32, 3), np.uint8) if crops is None else crops
    lengths = np.full(n, 10.0) if lengths is None else lengths
    matrices = np.tile(np.eye(2, 3), (n, 1, 1))
    return Sample(RenderedFaces(n), np.arange(n), "faces", crops, matrices, truth_crop, lengths, "length")


class TestLandscapes:
    grid = np.arange(-REACH, REACH + STEP / 2, STEP)

    @pytest.fixture(scope="class")
    def shown(self):
        """A map that is 0 above and 1 below, and a selection of it as it is and doubled."""
        rows = np.zeros((1, 1, 28, 28))
        rows[:, :, 14:] = 1
        selection = mx.nd.array([[1], [2], [0], [0]])
        return landscapes("step", mx.nd.array(rows), selection, np.array([0.5, 0.5]))

    def test_the_middle_is_the_true_point(self, shown):
        assert len(self.grid) == 33
        assert all(values.shape == (33, 33) for values in shown.losses.values())
        for name, values in shown.losses.items():
            assert values[16, 16] == pytest.approx(0, abs=1e-6), name

    def test_l1_and_l2_by_hand(self, shown):
        x, y = self.grid[None, :], self.grid[:, None]
        np.testing.assert_allclose(shown.losses["L1"], abs(x) + abs(y), rtol=1e-6)
        np.testing.assert_allclose(shown.losses["L2"], x**2 + y**2, rtol=1e-6)

    def test_heat_maps_against_drawn_ones(self):
        y, x = np.mgrid[:41, :41]

        def draw(dx, dy):
            return np.exp(-((x - 20 - dx) ** 2 + (y - 20 - dy) ** 2) / (2 * HEATMAP_SIGMA**2))

        far = 2 * (draw(0, 0) ** 2).sum()
        for offset in ((0.5, 0), (1, -2), (3, 3)):
            expected = ((draw(*offset) - draw(0, 0)) ** 2).sum() / far
            assert heatmap_loss(np.array(offset)) == pytest.approx(expected, rel=1e-4)

    def test_align_loss_without_the_gaussian_by_hand(self, shown):
        """The patch's rows lie at 13.5 - 3.5 + q: 4 see the upper half. Moved down by one cell, one more row sees 1."""
        values = shown.losses["Align Loss, no Gaussian"]
        for column in (0, 16, 32):  # whatever the step along x
            one_row = 8 * (1 + 2**2)
            assert values[16 + 2, column] == pytest.approx(one_row)
            assert values[16 - 2 * 3, column] == pytest.approx(3 * one_row)
            assert values[16 + 1, column] == pytest.approx(one_row / 2**2)  # half a cell: one row half as bright

    def test_the_gaussian_lowers_align_loss(self, shown):
        with_gaussian, without = shown.losses["Align Loss"], shown.losses["Align Loss, no Gaussian"]
        moved = np.abs(self.grid) > 0
        assert (with_gaussian[moved] < without[moved]).all()

    def test_the_window_is_the_map_about_the_point(self, shown):
        """The point lies at 13.5; half a cell down begins row 14, half a cell up row 13."""
        np.testing.assert_allclose(shown.window[17:], 2)  # the channel that varies most
        np.testing.assert_allclose(shown.window[:16], 0)
        np.testing.assert_allclose(shown.window[16], 1)

    def test_on_the_artificial_contour_align_loss_runs_along_it(self):
        """The paper's claim of Fig. 6 (e): moving across the contour costs far more than along it."""
        drawn, middle = contour_map(56)
        shown = landscapes("arc", mx.nd.array(drawn[None, None]), mx.nd.array(np.eye(4, 1)), middle)
        loss = shown.losses["Align Loss"]
        step = 4  # two cells along both axes; the normal of the contour runs from the lower left to the upper right
        across, along = loss[16 - step, 16 + step], loss[16 + step, 16 + step]
        assert across > 10 * along
        between_cells = 0.5 * (1 + np.exp(-0.5 * 0.5))  # two cells about it lie on the contour, two 0.7 cells off it
        assert shown.window[16, 16] == pytest.approx(between_cells, abs=0.01)
        assert loss[0, 32] == pytest.approx(loss[2, 30], rel=1e-3)  # it saturates where the patch sees no contour

    def test_the_networks_own_selection_is_used(self, network):
        seen = []
        real = ffld_drawing.draw_landscapes
        try:
            ffld_drawing.draw_landscapes = lambda rows, patch, title: seen.extend(rows) or b""
            figures.make_landscapes([network], FaceChoice(), face=None, stage=2, landmark=30)
        finally:
            ffld_drawing.draw_landscapes = real
        sample = load_sample(FaceChoice(), network, lambda count: [0])
        cascade = network.net.cascade
        maps = cascade.with_maps(mx.nd, network.input(sample.crops[0]))[1][1]
        truth = (sample.truth_crop[0] + 0.5) / SPEC.size
        moved = truth.copy()
        moved[30] += np.array([3, -2]) / 56  # cells of the second stage's map
        patches = [cascade.refinements[1].crop(maps, mx.nd.array(points[None])).asnumpy() for points in (truth, moved)]
        expected = ((patches[1] - patches[0]) ** 2)[0, 4 * 30 : 4 * 31].sum()
        row = seen[1].losses["Align Loss, no Gaussian"]
        assert row[16 - 4, 16 + 6] == pytest.approx(expected, rel=1e-3)
        assert seen[1].name == f"stage 2, {IBUG_68.names[30]}".replace("_", " ")


class TestLandmarkErrors:
    def test_every_landmark_of_every_face_is_pooled(self):
        truth = np.zeros((2, 3, 2))
        truth[1, 2] = np.nan  # not annotated
        predicted = np.zeros((2, 3, 2))
        predicted[0] = [[3, 4], [0, 1], [0, 0]]
        predicted[1] = [[2, 0], [0, 4], [9, 9]]
        errors = figures.pooled_errors(sample_of(truth, lengths=np.array([10.0, 20.0])), predicted)
        np.testing.assert_allclose(errors, [0.5, 0.1, 0.0, 0.1, 0.2])
        np.testing.assert_allclose(ced(errors, np.array([0.1])), [3 / 5])

    def test_the_legend_reads_the_curve_at_2_75_percent(self, network, monkeypatch):
        sample = sample_of(np.zeros((1, 4, 2)), lengths=np.array([1.0]))
        monkeypatch.setattr(figures, "load_sample", lambda *_: sample)
        answer = np.array([[[0.0275, 0], [0.02, 0], [0.0276, 0], [0.01, 0]]])
        monkeypatch.setattr(StagedNetwork, "points", lambda *_: answer)
        shown = {}
        monkeypatch.setattr(figures, "draw_networks", lambda curves, limits, *_: shown.update(curves, limits=limits))
        figures.make_landmark_ced([network], FaceChoice())
        assert shown.pop("limits") == (0.01, 0.03)  # Sec. 6.4
        assert list(shown) == ["ffld_resnet18: 75.0 % at 2.75 %"]


class TestCorrections:
    def test_they_are_the_differences_of_the_stages_in_pixels_of_the_crop(self, network, monkeypatch):
        shown = []
        monkeypatch.setattr(ffld_drawing, "draw_corrections", lambda *given: shown.append(given))
        figures.make_corrections([network], FaceChoice(count=3))
        ((corrections, size, title),) = shown
        sample = load_sample(FaceChoice(count=3), network)
        crops = (sample.crops.astype(np.float32) - 127.5) / 127.5
        answers = [each.asnumpy() for each in network.net.cascade(mx.nd.array(crops.transpose(0, 3, 1, 2)))]
        expected = [224 * (answers[1] - answers[0]), 224 * (answers[2] - answers[1])]
        assert np.abs(expected).max() > 0.1
        np.testing.assert_allclose(corrections, expected, atol=1e-3)
        assert (size, title) == (224, "Corrections of ffld_resnet18, landmark by landmark: 3 rendered faces")


class TestLowResolution:
    def test_a_quarter_is_the_mean_of_the_cells_enlarged(self):
        rng = np.random.default_rng(0)
        crop = rng.integers(0, 256, (1, 8, 8, 3)).astype(np.uint8)
        means = crop.reshape(4, 2, 4, 2, 3).mean(axis=(1, 3))
        low = figures.lower_resolution(crop, 4)[0].astype(float)
        np.testing.assert_allclose(low[0, 0], means[0, 0], atol=1)  # beyond the outermost centres nothing changes
        between = 0.75 * means[0, 0] + 0.25 * means[0, 1]  # column 1 lies at 0.25 of the shrunk crop
        np.testing.assert_allclose(low[0, 1], between, atol=1.5)

    def test_nothing_moves(self):
        y, x = np.mgrid[:64, :64]
        spot = 255 * np.exp(-((x - 20.3) ** 2 + (y - 41.6) ** 2) / 50)
        low = figures.lower_resolution(np.repeat(spot[None, ..., None], 3, axis=3).astype(np.uint8), 16)[0, ..., 0]
        weight = low / low.sum()
        assert (weight * x).sum() == pytest.approx(20.3, abs=0.1)
        assert (weight * y).sum() == pytest.approx(41.6, abs=0.1)

    def test_the_worst_faces_are_shown(self, network, monkeypatch):
        truth = np.zeros((3, 2, 2))
        sample = sample_of(truth, crops=np.zeros((3, 224, 224, 3), np.uint8))
        monkeypatch.setattr(figures, "load_sample", lambda *_: sample)
        answer = np.zeros((3, 2, 2))
        answer[:, 0, 0] = [2, 6, 4]
        monkeypatch.setattr(StagedNetwork, "points", lambda *_: answer)
        shown = []
        monkeypatch.setattr(ffld_drawing, "draw_failures", lambda *given: shown.append(given))
        figures.make_failures([network], FaceChoice(), show=2, side=20)
        ((sides, means, worst, side, _),) = shown
        assert [picture.name for picture in worst] == ["rendered_000001", "rendered_000002"]
        assert [picture.error for picture in worst] == pytest.approx([0.3, 0.2])
        assert (sides, side) == ([16, 20, 24, 32, 48, 64, 112, 224], 20)
        np.testing.assert_allclose(means["ffld_resnet18"], [0.2] * 8)


class TestOccluded:
    def test_hidden_landmarks_lie_in_what_changed(self):
        crops = np.full((4, 100, 100, 3), 77, np.uint8)
        y, x = np.mgrid[:100:5, :100:5]
        truth = np.tile(np.stack([x, y], axis=-1).reshape(1, -1, 2).astype(float), (4, 1, 1))
        covered, hidden = figures.occlude_faces(sample_of(truth, crops), np.random.default_rng(2))
        changed = (covered != crops).any(axis=3)
        # A box of noise may leave a pixel as it was; the middle of 3 x 3 changed ones never lies outside it.
        expected = np.stack([each[y.ravel(), x.ravel()] for each in changed])
        assert (crops == 77).all()
        assert changed.any(axis=(1, 2)).all()
        assert (hidden >= expected).all()
        assert (hidden == expected).mean() > 0.999


class TestMarks:
    def test_channels_that_vary_most(self):
        maps = np.zeros((5, 4, 4))
        maps[3, 0], maps[1, 0], maps[4] = 9, 5, 100
        assert figures.most_varied(maps, 2).tolist() == [1, 3]

    def test_the_levels_are_the_maps_that_the_cropnets_see(self, network, monkeypatch):
        shown = []
        monkeypatch.setattr(ffld_drawing, "draw_maps", lambda *given: shown.append(given))
        figures.make_maps([network], FaceChoice(), photo=None, face=2)
        ((crop, levels, _),) = shown
        np.testing.assert_array_equal(crop, load_sample(FaceChoice(), network, lambda count: [2]).crops[0])
        finest = network.baseline.stem(network.input(crop)).asnumpy()[0]
        np.testing.assert_allclose(levels[0].maps, finest[np.sort(np.argsort(finest.var(axis=(1, 2)))[-8:])], atol=1e-5)
        assert [level.maps.shape for level in levels] == [(8, 112, 112), (8, 56, 56), (8, 28, 28)]

    def test_the_patches_are_cropped_where_the_stage_starts(self, network, monkeypatch):
        shown = []
        monkeypatch.setattr(ffld_drawing, "draw_selected", lambda *given: shown.append(given))
        figures.make_selected([network], FaceChoice(), photo=None, face=None, stage=2)
        ((crop, points, groups, title),) = shown
        start = network.stages(crop[None])[1, 0]
        np.testing.assert_allclose(points, start, atol=1e-3)
        maps = network.baseline.with_maps(mx.nd, network.input(crop))[1][1]
        weights = network.net.cascade.refinements[1].crop.selection.data().asnumpy()
        jaw = groups[0]
        selected = np.tensordot(weights[4 * 10 : 4 * 11], maps[0].asnumpy(), axes=1)  # landmark 10
        x, y = (start[10] + 0.5) * 56 / 224 - 0.5
        rows, columns = np.meshgrid(y - 3.5 + np.arange(8), x - 3.5 + np.arange(8), indexing="ij")
        expected = [map_coordinates(channel, [rows, columns], order=1, mode="grid-constant") for channel in selected]
        np.testing.assert_allclose(jaw.patches[jaw.landmarks.tolist().index(10)], expected, atol=1e-3)
        assert "32 x 32 pixels" in title

    def test_contours(self):
        groups = figures.contours(IBUG_68)
        assert groups["face contour"].tolist() == [0, 3, 6, 10, 13, 16]
        assert set(groups["eye contours"]) <= set(range(36, 48))
        assert len(groups["eye contours"]) == 6
        assert {name for markup in (AFLW_19, AFLW_21) for name in figures.contours(markup)} >= {"eye contours"}

    def test_the_zoom_shows_what_differs_most(self):
        one = np.array([[10.0, 10], [12, 10], [60, 60], [90, 20]])
        other = one + np.array([[0, 1.0], [0, 1], [0, 1.5], [0, 0]])
        np.testing.assert_allclose(figures.zoom_square(one, other, 20), [0, 0.5, 20, 20.5])  # two of them are near
        other[2, 1] = 63
        np.testing.assert_allclose(figures.zoom_square(one, other, 20), [50, 51.5, 70, 71.5])

    def test_a_part_is_cut_from_the_photo_with_its_points(self, network, monkeypatch):
        """A white pixel in the photo is where the true point is, in the zoom too."""
        image = np.zeros((400, 400, 3), np.uint8)
        point = np.array([150.0, 260.0])
        image[260, 150] = 255
        matrix = np.array([[0.5, 0, 10], [0, 0.5, -20]])
        sample = sample_of((matrix[:, :2] @ point + matrix[:, 2]).reshape(1, 1, 2))
        object.__setattr__(sample, "faces", [Face(image, point[None], np.zeros(4), "one")])
        object.__setattr__(sample, "matrices", matrix[None])
        (cell,) = figures.show_squares(sample, 0, sample.truth_crop[0] + 2, [np.array([70, 90, 110, 130])])
        row, column = np.unravel_index(cell.image[..., 0].argmax(), cell.image.shape[:2])
        np.testing.assert_allclose(cell.truth[0], [column, row], atol=6)  # a pixel of the photo is 5.6 of the zoom
        scale = figures.VIEW_SIDE / 40
        np.testing.assert_allclose(cell.points[0] - cell.truth[0], 2 * scale)

    @pytest.mark.parametrize(("count", "wanted", "expected"), [(10, 4, [0, 3, 6, 9]), (2, 5, [0, 1])])
    def test_spread(self, count, wanted, expected):
        assert spread(count, wanted).tolist() == expected


class TestNetworks:
    def test_stages_end_with_the_networks_answer(self, network, refined):
        crops = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3)).astype(np.uint8)
        stages = network.stages(crops)
        assert stages.shape == (3, 2, 68, 2)
        np.testing.assert_allclose(stages[-1], network.points(crops))
        faces = mx.nd.array((crops.transpose(0, 3, 1, 2).astype(np.float32) - 127.5) / 127.5)
        np.testing.assert_allclose(stages[-1], 224 * network.net(faces).asnumpy() - 0.5, atol=1e-3)

    def test_labels(self, folder, baseline, refined):
        both = load_networks(load, [baseline, refined], None)
        assert [network.label for network in both] == ["resnet18_slim", "ffld_resnet18"]
        both = load_networks(load, [baseline, refined], ["one", "two"])
        assert [network.label for network in both] == ["one", "two"]
        twice = load_networks(load, [baseline, "resnet18_slim"], None)
        assert [network.label for network in twice] == [f"{folder.name}/baseline", "weights/resnet18_slim"]


class TestSample:
    @pytest.fixture
    def faces(self, monkeypatch):
        """Two faces of AFLW's 19 points, in boxes of 80 and 120 pixels; the second face lacks a landmark."""
        points = np.random.default_rng(6).uniform(20, 100, (2, 19, 2))
        points[1, 4] = np.nan
        boxes = np.array([[10.0, 10, 90, 90], [5, 5, 125, 125]])
        image = np.zeros((130, 130, 3), np.uint8)

        class Faces(list):
            markup = AFLW_19

        faces = Faces(Face(image, each, box, str(k)) for k, (each, box) in enumerate(zip(points, boxes)))
        about = SubsetInfo(4386, face_sizes=np.array([80.0, 120.0]))
        monkeypatch.setattr(inputs, "load_subset", lambda *_: (faces, about))
        return points

    def test_aflw_errors_are_over_the_face_size(self, faces, folder):
        network = load(save_random(folder / "aflw.params", "resnet18_slim", 19))
        sample = load_sample(FaceChoice("aflw", "d"), network)
        zoom = 224 / (1.25 * np.array([80, 120]))  # the crop shows the box and a margin of 25 %
        np.testing.assert_allclose(sample.lengths, zoom * [80, 120])
        moved = sample.truth_crop + zoom[:, None, None] * [8.0, 0]  # by 8 pixels of the photo
        np.testing.assert_allclose(sample.errors(moved), [8 / 80, 8 / 120])
        assert figures.pooled_errors(sample, moved).shape == (37,)
        assert (sample.unit, sample.title) == ("face size", "2 faces of aflw full (2 of its 4386 at hand)")

    def test_rendered_faces_are_measured_between_the_eyes(self, network):
        sample = load_sample(FaceChoice(count=4), network, lambda count: [count - 1])
        face = sample.faces[3]
        assert (sample.title, sample.unit) == ("1 rendered faces", "inter-ocular distance")
        eyes = np.linalg.norm(face.points_image[45] - face.points_image[36])
        side = 1.25 * (face.box[2:] - face.box[:2]).max()
        np.testing.assert_allclose(sample.lengths, [eyes * 224 / side])


COMMANDS = {
    "maps": ("baseline",),
    "selected": ("refined",),
    "landscapes": ("refined",),
    "ced": ("baseline", "refined"),
    "compare": ("baseline", "refined"),
    "landmark-ced": ("baseline", "refined"),
    "occluded": ("baseline", "refined"),
    "corrections": ("refined",),
    "stages": ("refined",),
    "failures": ("baseline", "refined"),
}


@pytest.mark.parametrize("name", sorted(figures.FIGURES))
def test_every_command_draws(name, request, tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "SIDES", (32,))
    weights = [request.getfixturevalue(each) for each in COMMANDS[name]]
    out = tmp_path / "new" / f"{name}.png"
    text = [name, "--weights", *weights, "--count", "3", "--out", str(out), "--gpus", "none"]
    assert figures.COMMANDS.main(text) == 0
    picture = read_image(out)
    assert min(picture.shape[:2]) > 200
    assert picture.std() > 5


class TestBadInput:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (["corrections", "--weights", "BASELINE"], "has no CropNets: name weights of ffld_resnet18"),
            (["selected", "--weights", "REFINED", "--stage", "3"], "--stage 3: .* has 2"),
            (["landscapes", "--weights", "REFINED", "--landmark", "68"], "a number from 0 to 67"),
            (["landscapes", "--weights", "REFINED", "--face", "200"], "a number from 0 to 199"),
            (["maps", "--weights", "REFINED", "--input", "a.jpg", "--dataset", "rendered"], "leave one out"),
            (["maps", "--weights", "REFINED", "--input", "EMPTY"], "no face was found"),
            (["failures", "--weights", "REFINED", "--side", "225"], "pixels from 2 to 224"),
            (["compare", "--weights", "REFINED"], "two networks or more"),
            (["ced", "--weights", "BASELINE", "REFINED", "--labels", "one"], "give one for each"),
            (["ced", "--weights", "BASELINE", "BASELINE"], "a name of its own"),
            (["ced", "--weights", *["BASELINE"] * 7], "compares 6 networks at most"),
            (["ced", "--weights", "BASELINE", "OTHER"], "compare alike"),
            (["ced", "--weights", "BASELINE", "--dataset", "300w"], "needs --data DIR"),
        ],
    )
    def test_is_said_in_one_line(self, text, message, baseline, refined, folder, tmp_path):
        write_image(tmp_path / "empty.png", np.full((64, 64, 3), 128, np.uint8))
        other = folder / "other.params"
        if "OTHER" in text and not other.exists():
            save_random(other, "resnet18_slim", 19)
        known = {"BASELINE": baseline, "REFINED": refined, "OTHER": str(other), "EMPTY": str(tmp_path / "empty.png")}
        known["EMPTY_DIR"] = str(tmp_path)
        given = [known.get(word, word) for word in text]
        with pytest.raises((ValueError, FileNotFoundError), match=message) as raised:
            figures.COMMANDS.main([*given, "--out", str(tmp_path / "x.png"), "--gpus", "none"])
        assert "\n" not in str(raised.value)
        assert not (tmp_path / "x.png").exists()


def test_the_table_of_stages_by_hand():
    table = figures.stage_table(["baseline network", "refinement 1", "refinement 2"], [[0.05, 0.03], [0.03], [0.024]])
    assert [line.split()[-6:] for line in table.splitlines()[1:]] == [
        ["4.00", "%", "0.0", "%", "0.0", "%"],
        ["3.00", "%", "-25.0", "%", "-25.0", "%"],
        ["2.40", "%", "-40.0", "%", "-20.0", "%"],
    ]
