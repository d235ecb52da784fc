"""The face detector: its network, its targets and losses, its weights files and what it finds."""

import json
from dataclasses import replace
from functools import partial

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd, gluon

from datasets.detection.boxed_photos import BoxedPhoto
from gluon_models.detector import network as face_detector
from gluon_models.detector.network import BACKBONE, build_detector, find_boxes, initialise, limit_short_side
from gluon_models.detector.objective import DetectorObjective, DetectorSamples
from gluon_models.detector.weights import (
    detector_name,
    fill_detector,
    learnt,
    load_backbone,
    load_detector,
    save_detector,
)
from gluon_models.weights import file_sha256, halve, shipped_weights
from inference import detectors

CPU = mx.cpu()
BOXES = np.array([[10.0, 12, 42, 50], [60, 20, 90, 58]])


@pytest.fixture(scope="module")
def small_setting():
    """The CPU's detector at a size that takes a fraction of a second."""
    whole = face_detector.SETTINGS["faster_rcnn_fpn"]
    small = face_detector.Setting(64, 128, 16, 16, 32, 16, (60, 20), (200, 100))
    face_detector.SETTINGS["faster_rcnn_fpn"] = small
    yield small
    face_detector.SETTINGS["faster_rcnn_fpn"] = whole


@pytest.fixture(scope="module")
def net(small_setting):
    built = build_detector("faster_rcnn_fpn")
    initialise(built, [CPU], seed=0)
    return built


@pytest.fixture(scope="module")
def photo():
    image = np.random.default_rng(0).integers(0, 256, (72, 100, 3)).astype(np.uint8)
    for x0, y0, x1, y1 in BOXES.astype(int):
        image[y0:y1, x0:x1] = (200, 150, 120)
    return image


def photo_with(image):
    return BoxedPhoto(image, BOXES, np.zeros(len(BOXES), bool), "a")


@pytest.fixture(scope="module")
def arrays(net, photo):
    return DetectorSamples(net, 0.0, (1.0, 1.0))([photo_with(photo)], (0,))


def test_the_settings_are_those_of_the_ledger():
    fpn, single = (face_detector.SETTINGS[name] for name in ("faster_rcnn_fpn", "faster_rcnn"))
    assert (fpn.short_side, fpn.proposal_channels <= 256, fpn.regions) == (320, True, 32)
    assert (single.short_side, single.max_side, single.regions) == (600, 1000, 128)


def test_labels_follow_the_photo_and_its_mirror(net, photo, arrays):
    images, labels, classes, targets, masks = arrays
    factor = 64 / 72
    assert images.shape == (1, 3, 64, round(100 * factor))
    width = images.shape[3]
    scale = np.array([width / 100, factor] * 2)
    np.testing.assert_allclose(labels[0], np.hstack([BOXES * scale, [[0], [0]]]), rtol=1e-6)
    mirrored = DetectorSamples(net, 1.0, (1.0, 1.0))([photo_with(photo)], (0,))
    np.testing.assert_allclose(mirrored[0], images[..., ::-1])
    np.testing.assert_allclose(mirrored[1][0, :, [0, 2]], width - labels[0][:, [2, 0]].T, rtol=1e-6)
    assert classes.shape[1] * 4 == targets[0].size == masks[0].size
    assert (classes == 1).sum() >= len(BOXES)
    assert (masks.max(axis=2) > 0).sum() == (classes == 1).sum()


def test_targets_lead_from_the_anchors_to_the_boxes(net, arrays):
    """Undoes the box targets of all positive anchors by hand; each must give one of the true boxes."""
    images, labels, classes, targets, _ = arrays
    with autograd.record():
        answers = net(*(mx.nd.array(each) for each in (images, labels[:, :, :4], labels[:, :, 4:])))
    anchors = np.concatenate([each.asnumpy()[0] for each in answers[7]])
    assert len(anchors) == classes.shape[1]
    for number in np.flatnonzero(classes[0] == 1):
        x0, y0, x1, y1 = anchors[number]
        dx, dy, dw, dh = targets[0, number]
        x, y, half = (x0 + x1) / 2 + dx * (x1 - x0), (y0 + y1) / 2 + dy * (y1 - y0), (x1 - x0) * np.exp(dw) / 2
        tall = (y1 - y0) * np.exp(dh) / 2
        box = [x - half, y - tall, x + half, y + tall]
        assert np.abs(labels[0, :, :4] - box).max(axis=1).min() < 0.01


def test_samples_follow_their_seed_and_leave_the_shared_generators_alone(net, photo):
    samples = DetectorSamples(net, 0.5, (0.7, 1.3))
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    one, again = (samples([photo_with(photo)], (3, 1)) for _ in range(2))
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    for first, second in zip(one, again):
        np.testing.assert_array_equal(first, second)
    shapes = {samples([photo_with(photo)], (3, k))[0].shape for k in range(8)}
    assert len(shapes) > 3


def test_losses_are_gluoncvs_and_the_pyramid_reads_no_stray_memory(net, arrays):
    """The same losses as GluonCV's training task, and the same again after memory was filled with huge numbers."""
    images, labels, classes, boxes, masks = (mx.nd.array(each) for each in arrays)
    mx.random.seed(1)
    with autograd.record():
        losses = DetectorObjective()(net, arrays, CPU)
    mx.random.seed(1)
    with autograd.record():
        region_scores, region_boxes, _, _, _, scores, offsets, _, truth, goals, counted, _ = net(
            images, labels[:, :, :4], labels[:, :, 4:5]
        )
    valid = classes.asnumpy() >= 0
    raw = scores.asnumpy()[..., 0]
    entropy = np.log1p(np.exp(-np.abs(raw))) + np.maximum(raw, 0) - raw * classes.asnumpy()
    assert losses["anchor_class"].asscalar() == pytest.approx(entropy[valid].sum() / valid.sum(), rel=1e-4)
    for name, found, goal, mask, rho, count in (
        ("anchor_box", offsets, boxes, masks, 1 / 9, valid.sum()),
        ("region_box", region_boxes, goals, counted, 1.0, (truth.asnumpy() >= 0).sum()),
    ):
        off = np.abs(found.asnumpy() - goal.asnumpy()).reshape(-1) * mask.asnumpy().reshape(-1)
        by_hand = np.where(off > rho, off - rho / 2, off**2 / (2 * rho)).sum() / count
        assert losses[name].asscalar() == pytest.approx(by_hand, rel=1e-4)
    logits = region_scores.asnumpy()[0] - region_scores.asnumpy()[0].max(axis=1, keepdims=True)
    chosen = truth.asnumpy()[0].astype(int)
    known = chosen >= 0
    log_softmax = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    by_hand = -log_softmax[known, chosen[known]].mean()
    assert losses["region_class"].asscalar() == pytest.approx(by_hand, rel=1e-4)


def test_each_region_is_read_from_one_map(net):
    """Maps of constant values 2, 3, 4 and 5: a region's features are the number of its map."""
    strides = (4, 8, 16, 32, 64)
    maps = [mx.nd.full((1, 8, 512 // stride, 512 // stride), level) for level, stride in enumerate(strides, start=2)]
    sides = [30, 111, 113, 223, 225, 447, 449, 500]
    regions = mx.nd.array([[0, 5, 5, 4 + side, 4 + side] for side in sides])
    expected = [int(np.clip(np.floor(4 + np.log2(side / 224)), 2, 5)) for side in sides]
    for _ in range(3):
        junk = [mx.nd.full((len(sides), 8, 7, 7), 1e30) for _ in range(20)]
        mx.nd.waitall()
        del junk
        pooled = net._pyramid_roi_feats(mx.nd, maps, regions, (7, 7), strides).asnumpy()
        for values, level in zip(pooled, expected):
            np.testing.assert_allclose(values, level)
    assert expected == [2, 2, 3, 3, 4, 4, 5, 5]


def test_a_few_steps_bring_the_loss_down_and_leave_the_frozen_layers(net, arrays):
    frozen = {n: p.data().asnumpy() for n, p in net.collect_params().items() if p.grad_req == "null"}
    assert any("batchnorm" in name for name in frozen)
    assert f"{BACKBONE}conv0_weight" in frozen
    assert not any("stage3_conv" in name or name.startswith("P") for name in frozen)
    trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.002, "momentum": 0.9})
    totals = []
    for step in range(6):
        mx.random.seed(step)
        with autograd.record():
            losses = DetectorObjective()(net, arrays, CPU)
            total = sum(losses.values())
        total.backward()
        trainer.step(1)
        totals.append([total.asscalar(), losses["anchor_class"].asscalar()])
    assert np.isfinite(totals).all()
    # The regions are other ones in every step, the anchors are not.
    assert (np.diff([anchors for _, anchors in totals]) < 0).all()
    for name, before in frozen.items():
        np.testing.assert_array_equal(net.collect_params()[name].data().asnumpy(), before)


def test_found_boxes_are_in_the_photos_pixels(net, photo):
    boxes, scores = find_boxes(net, photo, CPU)
    assert boxes.shape == (len(scores), 4)
    assert len(scores) > 0
    assert (np.diff(scores) <= 0).all()
    big = np.kron(photo, np.ones((4, 4, 1), np.uint8))
    enlarged, _ = find_boxes(net, big, CPU)
    assert enlarged[:, 2:].max() > 2 * boxes[:, 2:].max()
    assert (enlarged[:, 2:] <= [400.5, 288.5]).all()
    assert find_boxes(net, np.zeros((1, 900, 3), np.uint8), CPU)[0].shape == (0, 4)
    find_boxes(net, np.zeros((1, 1, 3), np.uint8), CPU)


def test_big_photos_are_averaged_down_first():
    image = np.tile(np.array([[0, 255], [255, 0]], np.uint8), (200, 150))[..., None].repeat(3, axis=2)
    small = limit_short_side(image, 100)
    assert small.shape == (133, 100, 3)
    assert abs(small.astype(int) - 127).max() < 40
    assert limit_short_side(small, 100) is small


def test_weights_go_round_and_ship_in_float16(net, photo, tmp_path, monkeypatch):
    path = tmp_path / "best.params"
    save_detector(net, path, "faster_rcnn_fpn")
    assert json.loads((tmp_path / "best.json").read_text()) == {"detector": "faster_rcnn_fpn"}
    assert not any("anchor" in key or "target" in key for key in mx.nd.load(str(path)))
    other = load_detector(path)
    for wanted, got in zip(find_boxes(net, photo, CPU), find_boxes(other, photo, CPU)):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)
    half = tmp_path / "half.params"
    halve(path, half)
    assert half.stat().st_size < 0.51 * path.stat().st_size
    entry = {"file": half.name, "sha256": file_sha256(half), "kind": "detector"}
    (tmp_path / "index.json").write_text(json.dumps({detectors.FasterRcnnDetector.name: entry}))
    monkeypatch.setattr(detectors, "shipped_weights", partial(shipped_weights, folder=tmp_path))
    shipped = detectors.FasterRcnnDetector(least_score=0.0, largest_overlap=net.nms_thresh)
    kept = shipped._net.collect_params()
    for name, parameter in net.collect_params(f"{BACKBONE}.*weight").items():
        values = kept[name].data().asnumpy()
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values, parameter.data().asnumpy().astype(np.float16))
    surest = [detection.score for detection in shipped(photo)[:3]]
    np.testing.assert_allclose(surest, find_boxes(net, photo, CPU)[1][:3], atol=0.01)


def test_weights_that_do_not_fit_are_refused(net, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"a\.params is not there"):
        load_detector(tmp_path / "a.params")
    path = tmp_path / "a.params"
    mx.nd.save(str(path), {"features.x": mx.nd.zeros((2,))})
    with pytest.raises(FileNotFoundError, match=r"a\.json is not there"):
        load_detector(path)
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(ValueError, match="does not name a face detector"):
        detector_name(path)
    with pytest.raises(ValueError, match="belongs to another network"):
        fill_detector(net, path)
    with pytest.raises(ValueError, match="does not hold resnet50_v1"):
        load_backbone(net, path)
    path.write_bytes(b"no parameters")
    with pytest.raises(ValueError, match="cut short"):
        fill_detector(net, path)
    with pytest.raises(FileNotFoundError, match="name parameters of Gluon's resnet50_v1"):
        load_backbone(net, tmp_path / "none.params")


@pytest.fixture(scope="module")
def single_map():
    whole = face_detector.SETTINGS["faster_rcnn"]
    face_detector.SETTINGS["faster_rcnn"] = replace(whole, proposals=(40, 4))  # ResNet-50's last stage sees each
    built = build_detector("faster_rcnn")
    initialise(built, [CPU], seed=0)
    face_detector.SETTINGS["faster_rcnn"] = whole
    return built


def test_the_single_map_is_gluoncvs_own_network(single_map):
    assert single_map.num_stages == 1
    # ResNet-50 without its classifier 23.5 M, a 3x3 convolution from 1,024 to 1,024 channels 9.4 M, small layers.
    count = sum(np.prod(p.shape) for _, p in learnt(single_map))
    assert 32.9e6 < count < 33.2e6


def test_the_backbone_is_gluons_resnet50_v1(net, single_map, tmp_path):
    """The maps are those of the classifier in Gluon's own model zoo, whose file is read, float16 included."""
    classifier = gluon.model_zoo.vision.resnet50_v1()
    mx.random.seed(3)
    classifier.initialize(mx.init.Xavier())
    classifier(mx.nd.zeros((1, 3, 32, 32)))
    named = classifier._collect_params_with_prefix()
    for name, parameter in named.items():
        if "gamma" in name or "running" in name:
            parameter.set_data(mx.nd.random.uniform(0.5, 1.5, parameter.shape))
        parameter.set_data(parameter.data().astype("float16").astype("float32"))
    path = tmp_path / "resnet50.params"
    mx.nd.save(str(path), {name: parameter.data().astype("float16") for name, parameter in named.items()})
    image = mx.nd.random.uniform(shape=(1, 3, 64, 64))
    load_backbone(single_map, path)
    expected = image
    for layer in classifier.features[:7]:
        expected = layer(expected)
    np.testing.assert_allclose(single_map.features(image).asnumpy(), expected.asnumpy(), rtol=1e-4, atol=1e-5)
    load_backbone(net, path)
    ours = dict(single_map.collect_params(f"{BACKBONE}.*").items())
    assert len(ours) == len([name for name in named if name.startswith("features")])
    for name, parameter in ours.items():
        np.testing.assert_array_equal(net.collect_params()[name].data().asnumpy(), parameter.data().asnumpy())
