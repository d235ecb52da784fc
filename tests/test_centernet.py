"""The small face detector: targets, losses and boxes by hand, its mosaics, its weights, and its exported files."""

from dataclasses import replace

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd, gluon

import export
from datasets.augment import Augmentation
from datasets.detection.boxed_photos import BoxedPhoto
from datasets.detection.centers import LEAST_SPREAD, SPREAD, center_batch, center_targets
from datasets.detection.mosaics import Mosaics, MosaicSetting
from datasets.images import write_image
from datasets.render.faces import RenderedFaces
from gluon_models import get_model
from gluon_models.detector import centernet
from gluon_models.detector.weights import load_detector, save_detector
from inference.detectors import CenterNetDetector, FasterRcnnDetector
from inference.exported import read_mxnet, read_onnx

CPU = mx.cpu()
GREEN = (0, 200, 0)


def photo_of(boxes, ignored=(), side=64):
    every = np.array([*boxes, *ignored], float).reshape(-1, 4)
    flags = np.array([False] * len(boxes) + [True] * len(ignored))
    return BoxedPhoto(np.zeros((side, side, 3), np.uint8), every, flags, "a")


@pytest.fixture(scope="module")
def net():
    built = centernet.CenterNet()
    centernet.initialise(built, [CPU], seed=0)
    return built


# --- targets


def test_targets_by_hand():
    # In cells of 4 px: a face from (2, 3) to (8, 11), so that its centre (5, 7) is in cell 5, 7.
    heat, counts, distances, weights = center_targets(photo_of([[8, 12, 32, 44]], ignored=[[40, 40, 56, 60]]), 4)
    assert heat.shape == counts.shape == weights.shape == (1, 16, 16)
    assert heat[0, 7, 5] == 1 == (heat == 1).sum()
    right = np.exp(-0.5 / (SPREAD * 6 + LEAST_SPREAD) ** 2)
    below = np.exp(-0.5 / (SPREAD * 8 + LEAST_SPREAD) ** 2)
    np.testing.assert_allclose(heat[0, 7:9, 5:7], [[1, right], [below, right * below]], rtol=1e-6)
    np.testing.assert_allclose(distances[:, 7, 6], [6.5 - 2, 7.5 - 3, 8 - 6.5, 11 - 7.5])
    assert weights.sum() == pytest.approx(1)
    assert weights[0, 7, 6] / weights[0, 7, 5] == pytest.approx(right)
    assert (counts[0, 10:15, 10:14] == 0).all()
    assert (counts == 0).sum() == 20


def test_each_face_counts_the_same_and_the_nearer_one_owns_a_cell():
    boxes = [[0, 0, 40, 40], [20, 0, 60, 40], [50, 50, 58, 60]]
    heat, _, distances, weights = center_targets(photo_of(boxes), 4)
    assert weights.sum() == pytest.approx(3)
    assert [heat[0, 5, 5], heat[0, 5, 10], heat[0, 13, 13]] == [1, 1, 1]
    # Between the first two, cell 6 is nearer to the first, cell 9 to the second.
    np.testing.assert_allclose(distances[0, 5, [6, 9]], [6.5, 9.5 - 5])


def test_a_large_face_has_several_centres_that_count_as_one():
    heat, counts, _, weights = center_targets(photo_of([[0, 0, 64, 64]]), 4)
    # One cell off the middle one the Gaussian is above 0.8, diagonally below.
    off = np.exp(-0.5 / (SPREAD * 16 + LEAST_SPREAD) ** 2)
    assert off > 0.8 > off**2
    centres = [(7, 8), (8, 7), (8, 8), (8, 9), (9, 8)]
    assert [tuple(cell) for cell in np.argwhere(heat[0] == 1)] == centres
    np.testing.assert_allclose([counts[0][cell] for cell in centres], 0.2)
    assert (counts == 1).sum() == 256 - 5
    assert weights.sum() == pytest.approx(1)


def test_a_face_at_the_border_keeps_a_centre():
    heat, *_ = center_targets(photo_of([[56, 56, 72, 72]]), 4)
    assert heat[0, 15, 15] == 1


# --- losses


def test_losses_by_hand():
    rng = np.random.default_rng(0)
    logits, heat = rng.normal(size=(2, 1, 3, 3)), rng.uniform(0, 0.9, (2, 1, 3, 3))
    heat[:, 0, 1, 1], counts = 1, rng.integers(0, 2, (2, 1, 3, 3))
    yes = 1 / (1 + np.exp(-logits))
    cells = np.where(heat == 1, -((1 - yes) ** 2) * np.log(yes), -((1 - heat) ** 4) * yes**2 * np.log(1 - yes))
    found = centernet.focal_loss(*(mx.nd.array(each) for each in (logits, heat, counts)))
    np.testing.assert_allclose(found.asnumpy(), (cells * counts).sum(axis=(1, 2, 3)), rtol=1e-5)
    # 4 by 4 inside 6 by 6: an IoU of 16 / 36. 2 by 2 and 2 by 2 whose corners touch in a hull of 4 by 4.
    first, second = np.full((1, 4, 1, 2), 2.0), np.full((1, 4, 1, 2), 3.0)
    first[0, :, 0, 1], second[0, :, 0, 1] = [2, 2, 0, 0], [0, 0, 2, 2]
    loss = centernet.giou_loss(mx.nd.array(first), mx.nd.array(second)).asnumpy()
    np.testing.assert_allclose(loss[0, 0, 0], [1 - 16 / 36, 1 + 8 / 16], rtol=1e-6)


def test_a_few_steps_bring_both_losses_down(net):
    photo = photo_of([[10, 12, 40, 50]])
    photo.image[12:50, 10:40] = GREEN
    arrays, objective = center_batch([photo, photo], centernet.STRIDE), centernet.CenterObjective([CPU])
    trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 2e-3})
    totals = []
    for _ in range(8):
        with autograd.record():
            losses = objective(net, arrays, CPU)
            total = sum(losses.values())
        total.backward()
        trainer.step(2)
        totals.append([losses["centre"].sum().asscalar(), losses["box"].sum().asscalar()])
    assert np.isfinite(totals).all()
    assert (np.array(totals[-1]) < 0.7 * np.array(totals[0])).all()


# --- boxes of a photo


def peaks_of_a_look(height, width, best):
    """The map of an input. At first: a face of 40 by 60 px about (102, 202), a worse copy beside it, a doubtful one.

    Closer: the first one's face, and one that the first look did not see. Farther: a face of 100 px about (66, 66), and
    one of 63 px, which is too small for that look.
    """
    first = (((25, 50), best, (20, 30)), ((27, 50), best - 0.1, (20, 30)), ((60, 20), 0.3, (20, 30)))
    closer = (((35, 70), best, (24, 36)), ((5, 5), best, (10, 10)))
    farther = (((16, 16), 0.85, (50, 50)), ((28, 28), 0.95, (31.5, 31.5)))
    found = np.zeros((1, 5, height // 4, width // 4), np.float32)
    for (column, row), score, half in {320: first, 448: closer, 128: farther}[min(height, width)]:
        found[0, :, row, column] = [score, *half, *half]
    return mx.nd.array(found)


def found_by_peaks(net, shape, best, least_score, largest_overlap=0.3):
    finder = centernet.CenterFinder(net, CPU, lambda _: lambda data: peaks_of_a_look(*data.shape[2:], best))
    return finder(np.zeros((*shape, 3), np.uint8), least_score, largest_overlap)


@pytest.mark.parametrize(("shape", "factor"), [((320, 480), 1), ((640, 320), 1), ((160, 240), 0.5)])
def test_boxes_of_the_first_and_the_farther_look_return_to_the_photos_pixels(net, shape, factor):
    boxes, scores = found_by_peaks(net, shape, 0.9, 0.5)  # sure of a face, so it does not look farther
    np.testing.assert_allclose(boxes, [np.array([82, 172, 122, 232]) * factor])
    smaller = (np.sqrt(40 * 60) / 64) ** 0.6  # than 64 px, so its score is lower than the probability
    np.testing.assert_allclose(scores, [0.9 * smaller], rtol=1e-6)
    boxes, scores = found_by_peaks(net, shape, 0.45, 0.38)
    np.testing.assert_allclose(boxes, np.array([[40, 40, 290, 290], [82, 172, 122, 232]]) * factor)
    np.testing.assert_allclose(scores, [0.85, 0.45 * smaller], rtol=1e-6)
    assert len(found_by_peaks(net, shape, 0.9, 0.2, 0.95)[0]) == 3
    assert found_by_peaks(net, shape, 0.4, 0.95)[0].shape == (0, 4)


@pytest.mark.parametrize(("side", "expected"), [(448, [118, 246, 166, 318]), (447, [114.5, 240.3, 170.4, 324.1])])
def test_a_large_photo_with_a_doubtful_face_is_looked_at_closer(net, side, expected):
    """The first look of 320 px sees 1.4 px of the photo as one; the closer one of 448 px each."""
    boxes, _ = found_by_peaks(net, (side, 800), 0.9, 0.5)
    np.testing.assert_allclose(boxes, [expected], rtol=2e-3)


def test_photos_of_all_shapes_become_41_sizes_of_input():
    sizes = [1, 2, 31, 100, 319, 320, 321, 383, 384, 500, 640, 641, 3000]
    for look, short, step in zip(centernet.LOOKS.values(), (320, 448, 128), (32, 64, 64)):
        inputs = {centernet.fitted_input(np.zeros((h, w, 3), np.uint8), look)[0].shape for h in sizes for w in sizes}
        steps = range(short, 2 * short + 1, step)
        assert inputs <= {(short, long, 3) for long in steps} | {(long, short, 3) for long in steps}
    padded, factors = centernet.fitted_input(np.full((200, 290, 3), 7, np.uint8), centernet.LOOKS["first"])
    assert (padded[:320, :464] == 7).all()
    assert padded.shape == (320, 480, 3)
    assert not padded[:, 464:].any()
    np.testing.assert_allclose(factors, [290 / 464, 200 / 320] * 2)


def test_a_box_is_read_at_each_peak_alone():
    found = np.random.default_rng(0).uniform(1, 2, (5, 9, 7)).astype(np.float32)
    found[0] -= 1
    plain = np.pad(found[0], 1)
    around = [plain[1 + dy : 10 + dy, 1 + dx : 8 + dx] for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    peaks = found[0] == np.max(around, axis=0)
    boxes, scores = centernet.read_boxes(found, 0.0)
    np.testing.assert_allclose(np.sort(scores), np.sort(found[0][peaks]))
    row, column = np.unravel_index(found[0].argmax(), peaks.shape)
    centre = 4 * np.array([column, row, column, row]) + 2
    expected = centre + found[1:, row, column] * [-1, -1, 1, 1]
    np.testing.assert_allclose(boxes[scores.argmax()], expected, rtol=1e-6)


def test_the_networks_outputs_become_probabilities_and_pixels(net):
    photo = mx.nd.random.uniform(-1, 1, (1, 3, 64, 64))
    scores, *distances = centernet.CenterBoxes(net)(photo)[0].asnumpy()
    logits, sides = (each[0].asnumpy() for each in net(photo))
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-logits[0])), rtol=1e-5)
    np.testing.assert_allclose(distances, 4 * np.exp(sides), rtol=1e-5)


# --- mosaics


class Marked:
    """Whole photos of noise with one green face; a number of pixels decides where."""

    def __len__(self):
        return 3

    def sample(self, index, rng):
        image = np.full((150, 200, 3), 90, np.uint8)
        box = np.array([[30.0 + 40 * index, 50, 70 + 40 * index, 100]])
        x0, y0, x1, y1 = box[0].astype(int)
        image[y0:y1, x0:x1] = GREEN
        return BoxedPhoto(image, box, np.zeros(1, bool), str(index))


def test_boxes_of_mosaics_are_where_the_faces_are():
    mosaics, areas = Mosaics(Marked(), setting=MosaicSetting(look=Augmentation(), covered=0)), []
    for seed in range(12):
        image, boxes, ignored, _ = mosaics.sample(0, np.random.default_rng(seed))
        green = np.zeros(image.shape[:2], bool)
        for x0, y0, x1, y1 in boxes:
            green[int(round(y0)) : int(round(y1)), int(round(x0)) : int(round(x1))] = True
        seen = (image[..., 1] > 145) & (image[..., 0] < 45)
        assert (seen == green).mean() > 0.97
        assert boxes.min(initial=0) >= 0
        assert boxes.max(initial=0) <= 320
        areas += [np.sqrt(np.prod(box[2:] - box[:2])) for box in boxes[~ignored]]
    assert min(areas) < 16 < 64 < max(areas)
    first, again = (mosaics.sample(0, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.boxes, again.boxes)


def test_covered_faces_stay_half_visible():
    setting = MosaicSetting(tiles=(1,), tile_shares=(1.0,), kinds=(1.0, 0.0, 0.0), look=Augmentation(), covered=1.0)
    visible = []
    for seed in range(40):
        image, boxes, _, _ = Mosaics(Marked(), setting=setting).sample(0, np.random.default_rng(seed))
        for x0, y0, x1, y1 in np.rint(boxes).astype(int):
            if x0 > 0 and y0 > 0 and max(x1, y1) < 320:
                visible.append((np.abs(image[y0:y1, x0:x1].astype(int) - GREEN).max(axis=2) < 60).mean())
    assert min(visible) > 0.4
    assert np.median(visible) < 0.8


def test_small_faces_stand_in_photos_without_faces(tmp_path):
    write_image(tmp_path / "wall.png", np.full((40, 60, 3), (0, 0, 250), np.uint8))
    kind = MosaicSetting(kinds=(0.0, 1.0, 0.0), tiles=(1,), tile_shares=(1.0,), look=Augmentation(), shrunk=1.0)
    setting = replace(kind, covered=0)
    mosaics = Mosaics(Marked(), (RenderedFaces(2, size=96),), (tmp_path / "wall.png",), setting)
    sides, walls = [], []
    for seed in range(12):
        image, boxes, _, _ = mosaics.sample(0, np.random.default_rng(seed))
        x0, y0, x1, y1 = np.rint(boxes[0]).astype(int)
        wall = (image == (0, 0, 250)).all(axis=2)
        assert not wall[y0:y1, x0:x1].any()
        assert len(boxes) == 1
        walls.append(wall.any())
        sides.append(np.sqrt((x1 - x0) * (y1 - y0)))
    assert sum(walls) > 8
    assert min(sides) < 70
    assert max(sides) > 130


def test_borders_of_small_parts_fade_into_what_lies_below():
    """A border of 4 of 20 px: opacities of 1/5 to 4/5, and nothing changes beyond it."""
    image, part = np.zeros((60, 60, 3), np.uint8), np.full((20, 20, 3), 200, np.uint8)
    x, y = Mosaics(Marked(), setting=MosaicSetting(soft_border=0.2))._lay_over(image, part, FixedDraws(7, 11))
    assert (x, y) == (7, 11)
    laid = image[y : y + 20, x : x + 20, 0]
    np.testing.assert_array_equal(laid[10], [40, 80, 120, 160, *[200] * 12, 160, 120, 80, 40])
    np.testing.assert_array_equal(laid[0], np.rint(laid[10] / 5.0))
    assert image.sum() == 3 * laid.sum(dtype=int)


class FixedDraws:
    """A generator that draws one corner, and of a range its end."""

    def __init__(self, *corner):
        self.integers = lambda *_: np.array(corner)
        self.uniform = lambda low, high: high


def test_mosaics_show_faces_and_photos_without_faces(tmp_path):
    write_image(tmp_path / "wall.png", np.full((40, 60, 3), (0, 0, 250), np.uint8))
    faces = (RenderedFaces(2, size=96),)
    setting = MosaicSetting(256, tiles=(2,), tile_shares=(1.0,), kinds=(0.0, 0.5, 0.5), shrunk=0, look=Augmentation())
    image, boxes, _, _ = Mosaics(Marked(), faces, (tmp_path / "wall.png",), setting).sample(0, np.random.default_rng(1))
    tiles = [(x, y) for x in (0, 128) for y in (0, 128)]
    blue = [(image[y : y + 128, x : x + 128] == (0, 0, 250)).all(axis=2).mean() > 0.3 for x, y in tiles]
    assert 1 <= sum(blue) <= 3
    with_face = {(int(x // 128), int(y // 128)) for x, y in 0.5 * (boxes[:, :2] + boxes[:, 2:])}
    assert with_face == {(x // 128, y // 128) for (x, y), is_blue in zip(tiles, blue) if not is_blue}


# --- weights


def test_the_backbone_is_the_landmark_networks(net, tmp_path):
    slim = get_model("resnet18_slim", num_landmarks=5)
    slim.initialize(mx.init.Xavier(rnd_type="gaussian"))
    photo = mx.nd.random.uniform(-1, 1, (1, 3, 64, 64))
    expected = slim.with_maps(mx.nd, photo)[1][0]
    path = tmp_path / "slim.params"
    slim.save_parameters(str(path))
    centernet.fill_backbone(net, path)
    found = net.stages[1](net.stages[0](net.pool(net.stem(photo))))
    np.testing.assert_allclose(found.asnumpy(), expected.asnumpy(), rtol=1e-5, atol=1e-6)
    other = get_model("resnet50_slim", num_landmarks=5)
    other.initialize()
    other(photo)
    other.save_parameters(str(path))
    with pytest.raises(ValueError, match="does not hold resnet18_slim"):
        centernet.fill_backbone(net, path)


@pytest.fixture(scope="module")
def weights(net, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "small.params"
    save_detector(net, path, centernet.NAME)
    assert path.stat().st_size < 5e6
    return path


def test_what_is_fused_finds_what_the_network_finds(weights):
    image = RenderedFaces(1, size=96)[0].image
    plain = centernet.CenterFinder(load_detector(weights), CPU)
    boxes, scores = plain(image, 0.0)
    found = CenterNetDetector(weights, 0.0)(image)
    assert len(found) == len(scores) > 3
    np.testing.assert_allclose([each.score for each in found], scores, atol=1e-5)
    np.testing.assert_allclose([each.box for each in found], boxes, atol=1e-2)


def test_a_detector_refuses_the_weights_of_the_other(weights):
    with pytest.raises(ValueError, match=r"small\.params holds weights of another detector than faster_rcnn"):
        FasterRcnnDetector(weights)


# --- export


def test_exported_files_take_photos_of_any_size(weights, tmp_path):
    text = ["--model", centernet.NAME, "--weights", str(weights), "--out", str(tmp_path / "det"), "--onnx"]
    assert export.main([*text, "--gpus", "none"]) == 0
    network = centernet.CenterBoxes(load_detector(weights))
    written = [tmp_path / f"det{end}" for end in ("-symbol.json", "-0000.params", ".onnx")]
    for shape in ((1, 320, 96), (2, 64, 160)):
        photos = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
        expected = network(mx.nd.array((photos.transpose(0, 3, 1, 2) - 127.5) / 127.5)).asnumpy()
        for run in (read_mxnet(*written[:2], CPU), read_onnx(written[2])):
            np.testing.assert_allclose(run(photos), expected, rtol=1e-3, atol=1e-4)
    with pytest.raises(ValueError, match="--int8 is for landmark networks"):
        export.main([*text, "--int8", "--gpus", "none"])
