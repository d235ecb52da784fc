"""Changes of a crop's pixels on the device against those of the loading processes: the same draws, the same shares."""

from dataclasses import replace

import mxnet as mx
import numpy as np
import pytest

from datasets.augment import (
    Augmentation,
    Look,
    TrainingCrop,
    add_noise,
    draw_look,
    occlude,
    with_colour,
    with_photometric,
)
from datasets.loader import Loader, UnfinishedBatch
from datasets.markups import IBUG_68
from datasets.render.faces import RenderedFaces
from training.looks import LookObjective, apply_looks, upload_looks

SIZE = 48
PHOTOMETRIC = with_photometric(Augmentation(rotation_degrees=30.0, flip_probability=0.5))
GRAY = np.full((SIZE, SIZE, 3), 128, np.uint8)


def on_device(crops, looks):
    return apply_looks(mx.nd.array(crops, dtype="uint8"), upload_looks(looks, mx.cpu())).asnumpy()


@pytest.fixture(scope="module")
def faces():
    return RenderedFaces(4, seed=3, size=96)


def both_ways(faces, setting, count=24):
    """Crops (N, S, S, 3) of the loading processes and of the device, from the same generators; and their looks."""
    crops = [TrainingCrop(SIZE, 0.25, IBUG_68, setting, apart) for apart in (False, True)]
    pairs = [[crop(faces[k % len(faces)], np.random.default_rng(k)) for crop in crops] for k in range(count)]
    for (_, points), (_, points_apart, _) in pairs:
        np.testing.assert_array_equal(points, points_apart)
    host = np.stack([each[0][0] for each in pairs])
    plain, looks = (np.stack([each[1][part] for each in pairs]) for part in (0, 2))
    return host, on_device(plain, looks), looks


def test_colour_blur_and_plain_boxes_are_those_of_the_loading_processes(faces):
    setting = replace(PHOTOMETRIC, noise_probability=0.0, blur_probability=0.5)
    host, device, looks = both_ways(faces, setting)
    look = Look.split(looks)
    is_noise = np.isnan(look.box_colour[:, 0])
    assert 0 < is_noise.sum() < (look.box[:, 2] > 0).sum() < len(looks)
    assert 0 < (look.blur_sigma > 0).sum() < len(looks)
    # OpenCV changes colours and blurs in fixed-point numbers: each may differ by one grey level.
    assert np.abs(host[~is_noise].astype(int) - device[~is_noise]).max() <= 2
    assert np.abs(host[~is_noise].astype(int) - device[~is_noise]).mean() < 0.3
    for face in np.flatnonzero(is_noise):  # there the box is another noise, around it all is the same
        x, y, width, height = look.box[face].astype(int)
        inside = np.zeros((SIZE, SIZE), bool)
        inside[y : y + height, x : x + width] = True
        assert np.abs(host[face][~inside].astype(int) - device[face][~inside]).max() <= 2


def test_without_changes_not_a_pixel_changes(faces):
    host, device, _ = both_ways(faces, Augmentation(rotation_degrees=30.0), count=4)
    np.testing.assert_array_equal(host, device)


def noisy(setting, change, count=60):
    """Gray crops that the loading processes change, and the same on the device."""
    host = np.stack([change(GRAY.copy(), setting, np.random.default_rng(k)) for k in range(count)])
    looks = np.stack([draw_look(SIZE, setting, np.random.default_rng(1000 + k)) for k in range(count)])
    return host, on_device(np.stack([GRAY] * count), looks)


def test_noise_is_equal_in_distribution():
    mx.random.seed(0)
    setting = Augmentation(noise_probability=1.0, noise_sigma_levels=12.0)
    host, device = (each.astype(float) - 128 for each in noisy(setting, add_noise))
    # The spread of the noise is drawn evenly from 2.4 to 12 levels for each crop.
    spread = [each.std(axis=(1, 2, 3)) for each in (host, device)]
    np.testing.assert_allclose(
        np.quantile(spread[0], (0.1, 0.5, 0.9)), np.quantile(spread[1], (0.1, 0.5, 0.9)), atol=1.5
    )
    assert abs(device.mean()) < 0.1
    # Over its spread, the noise of one crop is as the normal distribution, in the values and in its tails.
    scaled = [(each / each.std(axis=(1, 2, 3), keepdims=True)).ravel() for each in (host, device)]
    shares = np.array([[np.mean(each < bound) for bound in (-2.5, -2, -1, 0.5, 1.5)] for each in scaled])
    np.testing.assert_allclose(shares[0], shares[1], atol=0.02)
    # No two pixels or channels are drawn together.
    assert abs(np.corrcoef(device[..., 0].ravel(), device[..., 1].ravel())[0, 1]) < 0.02
    assert abs(np.corrcoef(device[:, 1:].ravel(), device[:, :-1].ravel())[0, 1]) < 0.02


def test_boxes_are_equal_in_distribution():
    mx.random.seed(0)
    setting = Augmentation(occlusion_probability=0.6)
    host, device = noisy(setting, occlude, count=400)
    shares, areas, noise = [], [], []
    for crops in (host, device):
        changed = (crops != GRAY).any(axis=3)
        covered = changed.any(axis=(1, 2))
        shares.append(covered.mean())
        areas.append(changed.mean(axis=(1, 2))[covered].mean())
        spread = np.array([crop[mask].std(axis=0).max() for crop, mask in zip(crops[covered], changed[covered])])
        noise.append(np.mean(spread > 20))
    assert abs(shares[0] - shares[1]) < 0.1
    assert abs(areas[0] - areas[1]) < 0.01
    assert abs(noise[0] - noise[1]) < 0.12
    assert noise[1] == pytest.approx(0.5, abs=0.12)


def test_every_level_of_a_noisy_box_is_as_likely():
    mx.random.seed(0)
    look = draw_look(SIZE, Augmentation(), np.random.default_rng(0))
    look[13:17], look[17:20] = (0, 0, SIZE, SIZE), np.nan
    levels = np.bincount(on_device(np.stack([GRAY] * 20), np.stack([look] * 20)).ravel(), minlength=256)
    assert levels.min() > 0.7 * levels.mean()
    assert levels.max() < 1.3 * levels.mean()


class Seen:
    """Stands in for the losses of a network: keeps the crops that it is given."""

    def prepare(self, net, arrays, context):
        crops, points_crop = arrays
        return mx.nd.array(crops, context, dtype="uint8"), points_crop

    def losses(self, net, prepared, context):
        self.crops, self.points = prepared[0].asnumpy(), prepared[1]
        return {}


def test_a_batch_of_the_loader_is_finished_before_the_losses_see_it(faces):
    setting = with_colour(Augmentation(rotation_degrees=30.0))
    host, apart = (TrainingCrop(SIZE, 0.25, IBUG_68, setting, each) for each in (False, True))
    (expected,) = Loader(faces, host, 4, seed=1).epoch(0)
    with Loader(faces, apart, 4, seed=1, workers=1) as loader:
        (batch,) = loader.epoch(0)
    assert isinstance(batch, UnfinishedBatch)
    seen = Seen()
    LookObjective(seen)(None, batch, mx.cpu())
    assert np.abs(seen.crops.astype(int) - expected.crops).max() <= 1
    np.testing.assert_array_equal(seen.points, expected.points_crop)
