"""Colour, blur, occluding boxes and noise on the device that trains, in place of the processes that make crops.

What is drawn for a crop is drawn by those processes (datasets/augment.py); the pixels are changed here, rounded to grey
levels after each change as there. Noise is drawn by the device: it is equal in distribution.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Sequence

import mxnet as mx
import numpy as np
from mxnet import autograd
from mxnet.gluon import HybridBlock

from datasets.augment import NORMAL_QUANTILES, Look, blur_weights
from gluon_models.objective import BatchObjective

LEVELS = 256


class DeviceLook(NamedTuple):
    """Looks of N crops on the device; None where no crop needs that change.

    Attributes:
        factors: (N, 3, 3) of the colours.
        offsets: (N, 3, 1).
        blur: (3 * N, 1, 1, W), the weights along an axis for each channel of each crop.
        box: (N, 4), see Look.
        box_colour: (N, 3, 1, 1).
        box_is_noise: (N, 1, 1, 1) of 0 or 1.
        noise_sigma: (N, 1, 1, 1).
        quantiles: (LEVELS,) of the normal distribution.
    """

    factors: mx.nd.NDArray
    offsets: mx.nd.NDArray
    blur: mx.nd.NDArray | None
    box: mx.nd.NDArray
    box_colour: mx.nd.NDArray
    box_is_noise: mx.nd.NDArray | None
    noise_sigma: mx.nd.NDArray | None
    quantiles: mx.nd.NDArray


def upload_looks(looks: np.ndarray, context: mx.Context) -> DeviceLook:
    """Looks (N, LOOK_LENGTH) of `datasets.augment.draw_look` -> the same on the device."""
    look = Look.split(looks)
    is_noise = np.isnan(look.box_colour[:, :1])
    arrays = DeviceLook(
        factors=look.colour[:, :, :3],
        offsets=look.colour[:, :, 3:],
        blur=_blur_weights(look.blur_sigma[:, 0]) if look.blur_sigma.any() else None,
        box=look.box,
        box_colour=np.where(is_noise, 0, look.box_colour)[..., None, None],
        box_is_noise=is_noise[..., None, None] if is_noise.any() else None,
        noise_sigma=look.noise_sigma[..., None, None] if look.noise_sigma.any() else None,
        quantiles=NORMAL_QUANTILES,
    )
    return DeviceLook(*(None if array is None else mx.nd.array(array, context) for array in arrays))


def apply_looks(crops: mx.nd.NDArray, look: DeviceLook) -> mx.nd.NDArray:
    """Crops (N, S, S, 3) uint8 with their pixels changed, on their device."""
    count, size = crops.shape[:2]
    with autograd.pause():
        pixels = crops.transpose((0, 3, 1, 2)).astype("float32")
        mixed = mx.nd.batch_dot(look.factors, pixels.reshape((count, 3, -1)))
        pixels = _to_levels(mx.nd.broadcast_add(mixed, look.offsets)).reshape((count, 3, size, size))
        if look.blur is not None:
            pixels = _to_levels(_blurred(pixels, look.blur))
        pixels = _covered(pixels, look)
        if look.noise_sigma is not None:
            noise = mx.nd.take(look.quantiles, _any_levels(pixels)) * look.noise_sigma
            pixels = _to_levels(pixels + noise)
        return pixels.transpose((0, 2, 3, 1)).astype("uint8")


def _blur_weights(sigmas: np.ndarray) -> np.ndarray:
    """(3 * N, 1, 1, W) for sigmas (N,), one wide enough for all; 0 leaves a crop as it is."""
    each = [blur_weights(float(sigma)) if sigma else np.ones(1) for sigma in sigmas]
    width = max(map(len, each))
    padded = np.stack([np.pad(weights, (width - len(weights)) // 2) for weights in each])
    return np.repeat(padded, 3, axis=0)[:, None, None]


def _blurred(pixels: mx.nd.NDArray, weights: mx.nd.NDArray) -> mx.nd.NDArray:
    """Pixels (N, 3, S, S) blurred along both axes; beyond the border they are mirrored about its last pixel."""
    groups, width = weights.shape[0], weights.shape[3]
    wide = mx.nd.pad(pixels, mode="reflect", pad_width=(0, 0, 0, 0) + (width // 2,) * 4)
    planes, options = wide.reshape((1, groups, *wide.shape[2:])), {"num_filter": groups, "num_group": groups}
    across = mx.nd.Convolution(planes, weights, kernel=(1, width), no_bias=True, **options)
    down = mx.nd.Convolution(across, weights.swapaxes(2, 3), kernel=(width, 1), no_bias=True, **options)
    return down.reshape(pixels.shape)


def _covered(pixels: mx.nd.NDArray, look: DeviceLook) -> mx.nd.NDArray:
    """Pixels (N, 3, S, S) with each crop's box over them."""
    place = mx.nd.arange(pixels.shape[2], ctx=pixels.context).reshape((1, -1))
    x, y, width, height = (look.box[:, k : k + 1] for k in range(4))
    across, down = (
        mx.nd.broadcast_greater_equal(place, start) * mx.nd.broadcast_lesser(place, start + length)
        for start, length in ((x, width), (y, height))
    )
    inside = mx.nd.broadcast_mul(down.expand_dims(2), across.expand_dims(1)).expand_dims(1)
    colour = look.box_colour
    if look.box_is_noise is not None:
        colour = mx.nd.broadcast_add(colour, look.box_is_noise * _any_levels(pixels))
    return pixels * (1 - inside) + mx.nd.broadcast_mul(inside, colour)


def _any_levels(pixels: mx.nd.NDArray) -> mx.nd.NDArray:
    """Grey levels, each as likely as the others, for every one of the pixels."""
    return mx.nd.random.randint(0, LEVELS, pixels.shape, ctx=pixels.context).astype("float32")


def _to_levels(pixels: mx.nd.NDArray) -> mx.nd.NDArray:
    return mx.nd.rint(pixels).clip(0, LEVELS - 1)


class LookObjective(BatchObjective):
    """Changes the pixels of an `UnfinishedBatch` on the device, then goes on with another objective.

    Args:
        objective: whose `prepare` returns the crops first.
    """

    def __init__(self, objective: BatchObjective) -> None:
        self._objective = objective

    def prepare(self, net: HybridBlock, arrays: Sequence[np.ndarray], context: mx.Context) -> Sequence[Any]:
        """Uploads crops, points_crop and looks."""
        *others, looks = arrays
        return self._objective.prepare(net, others, context), upload_looks(looks, context)

    def losses(self, net: HybridBlock, prepared: Sequence[Any], context: mx.Context) -> dict[str, mx.nd.NDArray]:
        """The other objective's."""
        (crops, *others), looks = prepared
        return self._objective.losses(net, (apply_looks(crops, looks), *others), context)
