"""How a network sees a face and what it outputs: the one place for these numbers."""

from __future__ import annotations

import math
import threading
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Callable, Sequence

import mxnet as mx
import numpy as np
from mxnet import autograd
from mxnet.gluon import nn

LARGEST_SIZE = 4096  # pixels of a crop's side
LARGEST_LEVEL = 1e6  # of a mean or a scale
COLOURS = {"gray": 1, "rgb": 3, "hsv": 3}  # number of channels
NETWORK_LOCK = threading.RLock()
"""Held while a network predicts: Gluon keeps the state of a call on its blocks, so threads must take turns."""


@dataclass(frozen=True)
class InputSpec:
    """What every consumer of a network reads.

    Attributes:
        size: side of the square crop in pixels.
        colour: one of `COLOURS`; "hsv" has hue, saturation and value from 0 to 255.
        mean: grey level (0 to 255) subtracted from each channel.
        scale: factor on each channel after that; network input = (pixel - mean) * scale.
        box_margin: the crop is a square of side (1 + box_margin) * max(width, height) of the face box.
        output: "points", (N, K, 2) as fractions of the crop with x_crop = fraction * size - 0.5, or "heatmaps".
        stride: crop pixels per heatmap cell; 1 for points.
        sigma: of the Gaussians that heatmaps are trained on, in cells; 0 for points.
        decoding: how heatmaps become points where nothing else is asked for, see `datasets.heatmaps`.
    """

    size: int
    colour: str
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    box_margin: float
    output: str
    stride: int = 1
    sigma: float = 0.0
    decoding: str = "subpixel"

    def as_dict(self) -> dict[str, Any]:
        """The same as plain JSON types."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    def of_colour(self, colour: str) -> InputSpec:
        """The same for other colours, each channel with the first one's range; ValueError if they are unknown."""
        if colour not in COLOURS:
            raise ValueError(f"unknown colour '{colour}': choose one of {', '.join(COLOURS)}")
        count = COLOURS[colour]
        return replace(self, colour=colour, mean=self.mean[:1] * count, scale=self.scale[:1] * count)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> InputSpec:
        """Reads what `as_dict` wrote.

        Raises:
            ValueError: the values describe no network's input.
        """
        known = {each.name for each in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ValueError(f"its spec has an unknown entry '{str(unknown[0])[:40]}'")
        lacking = sorted(known - {"stride", "sigma", "decoding"} - set(values))
        if lacking:
            raise ValueError(f"its spec has no '{lacking[0]}'")
        plain = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
        wrong = next((key for key, value in plain.items() if not _POSSIBLE[key](value)), None)
        if wrong is None and any(len(plain[key]) != COLOURS[plain["colour"]] for key in ("mean", "scale")):
            wrong = "mean" if len(plain["mean"]) != COLOURS[plain["colour"]] else "scale"
        if wrong is None and plain.get("stride", 1) > plain["size"]:
            wrong = "stride"
        if wrong:
            raise ValueError(f"its spec's '{wrong}' cannot be {str(values[wrong])[:40]}")
        return cls(**plain)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= LARGEST_SIZE


def _are_numbers(values: Any) -> bool:
    return isinstance(values, tuple) and all(_is_number(each) and abs(each) <= LARGEST_LEVEL for each in values)


_POSSIBLE: dict[str, Callable[[Any], bool]] = {
    "size": _is_count,
    "colour": lambda value: value in COLOURS,
    "mean": _are_numbers,
    "scale": lambda values: _are_numbers(values) and all(values),
    "box_margin": lambda value: _is_number(value) and -0.9 <= value <= 10,
    "output": lambda value: value in ("points", "heatmaps"),
    "stride": _is_count,
    "sigma": lambda value: _is_number(value) and 0 <= value <= LARGEST_SIZE,
    "decoding": lambda value: value in ("subpixel", "argmax", "quarter", "enlarged"),
}


class Normalize(nn.HybridBlock):
    """Turns crops (N, S, S, 3), RGB in 0 to 255, into the network's input (N, C, S, S) float32."""

    def __init__(self, spec: InputSpec, **kwargs: Any):
        super().__init__(**kwargs)
        self._colour = spec.colour
        channels = len(spec.mean)
        with self.name_scope():
            self.mean = self.params.get_constant("mean", mx.nd.array(spec.mean).reshape((1, channels, 1, 1)))
            self.scale = self.params.get_constant("scale", mx.nd.array(spec.scale).reshape((1, channels, 1, 1)))
            if self._colour == "gray":
                luma = mx.nd.array([0.299, 0.587, 0.114]).reshape((1, 3, 1, 1))  # ITU-R BT.601
                self.luma = self.params.get_constant("luma", luma)

    def hybrid_forward(self, F, crops, mean, scale, luma=None):
        """crops (N, S, S, 3) uint8 or float -> (N, C, S, S) float32."""
        pixels = F.transpose(F.cast(crops, "float32"), (0, 3, 1, 2))
        if self._colour == "gray":
            pixels = F.sum(F.broadcast_mul(pixels, luma), axis=1, keepdims=True)
        elif self._colour == "hsv":
            pixels = _hsv(F, pixels)
        return F.broadcast_mul(F.broadcast_sub(pixels, mean), scale)


def _hsv(F, pixels):
    """RGB (N, 3, H, W) -> hue, saturation and value (Smith, 1978), all from 0 to 255; a gray's hue is 0."""
    red, green, blue = F.split(pixels, num_outputs=3, axis=1)
    value = F.max(pixels, axis=1, keepdims=True)
    spread = value - F.min(pixels, axis=1, keepdims=True)
    is_red, is_green = red == value, green == value
    divisor = spread + (spread == 0)
    other_hue = is_green * ((blue - red) / divisor + 2) + (1 - is_green) * ((red - green) / divisor + 4)
    hue = is_red * ((green - blue) / divisor) + (1 - is_red) * other_hue
    sixths = hue + 6 * (hue < 0)
    return F.concat(sixths * (255 / 6) * (spread > 0), 255 * spread / (value + (value == 0)), value, dim=1)


def _normalized_rgb(crops: np.ndarray, spec: InputSpec) -> np.ndarray:
    """What `Normalize` makes of crops (N, S, S, 3) uint8 RGB, bit for bit."""
    mean, scale = (np.array(values, np.float32).reshape(-1, 1, 1) for values in (spec.mean, spec.scale))
    pixels = np.empty((len(crops), 3, *crops.shape[1:3]), np.float32)
    np.subtract(np.asarray(crops, np.uint8).transpose(0, 3, 1, 2), mean, out=pixels)
    return np.multiply(pixels, scale, out=pixels)


def upload_crops(crops: np.ndarray, context: mx.Context) -> mx.nd.NDArray:
    """Crops (N, S, S, 3) uint8 RGB -> the same on the device."""
    return mx.nd.array(crops, context, dtype="uint8")


class NetworkInput:
    """Turns crops into a network's input on a device; no gradient is recorded on the way.

    Args:
        spec: how the network sees a face.
        contexts: devices of the inputs.
    """

    def __init__(self, spec: InputSpec, contexts: Sequence[mx.Context]) -> None:
        self._spec, self._normalize = spec, Normalize(spec)
        self._normalize.initialize(ctx=list(contexts))
        # Operator by operator every step would allocate a batch of its own, which takes longer than the arithmetic.
        self._normalize.hybridize(static_alloc=True, static_shape=True)

    def __call__(self, crops: np.ndarray, context: mx.Context) -> mx.nd.NDArray:
        """Crops (N, S, S, 3) uint8 RGB -> (N, C, S, S) float32 on the device."""
        if context.device_type == "cpu" and self._spec.colour == "rgb":
            # NumPy takes a third of the time of MXNet's transpose and broadcasts, and the array is not copied.
            return mx.nd.from_numpy(_normalized_rgb(crops, self._spec)).as_in_context(context)
        return self.normalized(upload_crops(crops, context))

    def normalized(self, crops: mx.nd.NDArray) -> mx.nd.NDArray:
        """The same of crops on the device."""
        with autograd.pause():
            return self._normalize(crops)
