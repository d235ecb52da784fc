"""Weights files, each a .params with a JSON that describes its network, and the files that ship."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mxnet as mx
from mxnet.gluon import nn

from common.files import write_text, write_whole
from common.readers import entry, read_json
from gluon_models.parameter_files import check_parameters, read_parameters
from gluon_models.registry import get_model, get_spec
from gluon_models.spec import InputSpec

SHIPPED_FOLDER = Path(__file__).resolve().parent.parent / "weights"


RESTORE_INDEX = "restore it with git checkout"
COPY_AGAIN = "it does not describe weights: copy it again from where it came"
BOX_KEYS = ("shift_x", "shift_y", "width", "height")
LARGEST_BOX = 100.0  # of them
LARGEST_OVERRIDE = 1024  # of the numbers that a network is built with
# All that building a network of impossible settings raises.
_UNBUILDABLE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, AssertionError, mx.MXNetError)
_AS_THE_NETWORK = {"cast_dtype": True, "dtype_source": "current"}


@dataclass(frozen=True)
class WeightsInfo:
    """The JSON beside a weights file.

    Attributes:
        model: name in the registry.
        overrides: arguments the network was built with, such as num_landmarks.
        spec: how the network sees a face.
        markup: name of the landmark markup.
        markup_definition: what a markup of a user's own is, as plain JSON types; None for one that is known by name.
        training_box: the faces' boxes in training beside the tight box of 68 points, as fractions of its width and
            height: `BOX_KEYS`; None where the markup tells.
    """

    model: str
    overrides: dict[str, Any]
    spec: InputSpec
    markup: str
    markup_definition: dict[str, Any] | None = None
    training_box: dict[str, float] | None = None

    def as_dict(self) -> dict[str, Any]:
        """The same as plain JSON types."""
        own = {"markup_definition": self.markup_definition, "training_box": self.training_box}
        return {
            "model": self.model,
            "overrides": self.overrides,
            "spec": self.spec.as_dict(),
            "markup": self.markup,
            **{key: value for key, value in own.items() if value is not None},
        }


def describe(model: str, markup: str, **overrides: Any) -> WeightsInfo:
    """WeightsInfo of a registered network."""
    return WeightsInfo(model, overrides, get_spec(model, **overrides), markup)


def info_path(path: str | os.PathLike[str]) -> Path:
    """The JSON beside a weights file."""
    return Path(path).with_suffix(".json")


def save_weights(net: nn.HybridBlock, path: str | os.PathLike[str], info: WeightsInfo) -> None:
    """Writes the parameters and the JSON beside them, each whole or not at all."""
    path = Path(path)
    text = json.dumps(info.as_dict(), indent=2) + "\n"
    write_text(info_path(path), text)
    write_whole(path, lambda part: _save_parameters(net, part))


def halve(path: str | os.PathLike[str], out: str | os.PathLike[str]) -> None:
    """Writes a copy of a weights file with matrices in float16, half as large; scripts read it like any other.

    Biases, scales and running statistics stay float32: they are small, and a running variance may exceed float16.

    Args:
        path: of the .params file, its .json beside it.
        out: of the copy.

    Raises:
        FileNotFoundError, ValueError: the file or its JSON is missing, or the file is damaged.
    """
    # A face detector's JSON has other keys than a landmark network's, so it is copied as text.
    stored, text = read_parameters(path), info_path(path).read_text(encoding="utf-8")
    halved = {name: value.astype("float16") if value.ndim > 1 else value for name, value in stored.items()}
    write_text(info_path(out), text)
    write_whole(out, lambda part: mx.nd.save(part, halved))


def _save_parameters(net: nn.HybridBlock, path: str) -> None:
    try:
        net.save_parameters(path)
        # If the last few kilobytes find no room, MXNet notices only when it reads them.
        mx.nd.load(path)
    except mx.MXNetError as error:
        raise OSError("the disk is full") from error


def read_info(path: str | os.PathLike[str]) -> WeightsInfo:
    """Reads the JSON beside a weights file.

    Raises:
        FileNotFoundError: the weights or the JSON are not there.
        ValueError: the JSON does not describe weights.
    """
    beside = info_path(path)
    for needed in (Path(path), beside):
        if not needed.is_file():
            raise FileNotFoundError(f"{needed} is not there: a weights file is a .params with a .json of the same name")
    values = read_json(beside, COPY_AGAIN)
    model, overrides, spec, markup = (
        entry(values, key, kind, beside, COPY_AGAIN)
        for key, kind in (("model", str), ("overrides", dict), ("spec", dict), ("markup", str))
    )
    try:
        own, box = (
            entry(values, key, dict, beside, COPY_AGAIN) if key in values else None
            for key in ("markup_definition", "training_box")
        )
        _check_overrides(overrides, markup if own is None else "")
        _check_box(box)
        return WeightsInfo(model, overrides, InputSpec.from_dict(spec), markup, own, box)
    except ValueError as error:
        raise ValueError(f"{beside}: {error}; {COPY_AGAIN}") from error


def _check_box(box: dict[str, Any] | None) -> None:
    """ValueError for a training box that is none."""
    if box is None:
        return
    values = [box.get(key) for key in BOX_KEYS]
    numbers = set(box) == set(BOX_KEYS) and all(type(value) in (int, float) for value in values)
    if not numbers or not all(abs(value) <= LARGEST_BOX for value in values) or min(values[2:]) < 1 / LARGEST_BOX:
        raise ValueError(f"'training_box' is no {', '.join(BOX_KEYS)} of a box")


def _check_overrides(overrides: dict[str, Any], markup: str) -> None:
    """ValueError for what no network is built with, or for another number of landmarks than the markup's name has."""
    for key, value in overrides.items():
        if isinstance(value, (int, float)) and not 0 <= value <= LARGEST_OVERRIDE:
            raise ValueError(f"'{key[:40]}' cannot be {value}")
    counted = re.search(r"_(\d+)$", markup)
    count = overrides.get("num_landmarks")
    if counted and count is not None and int(counted.group(1)) != count:
        raise ValueError(f"{count} landmarks are not those of {markup}")


def load_weights(
    path: str | os.PathLike[str], model: str | None = None, ctx: Any = None
) -> tuple[nn.HybridBlock, WeightsInfo]:
    """Builds the network that a weights file belongs to, fills it and hybridizes it.

    Args:
        path: the .params file, its .json beside it.
        model: the network that the caller expects; any if None.
        ctx: context or list of contexts; CPU by default.

    Raises:
        FileNotFoundError, ValueError: a file is missing or does not fit.
    """
    info = read_info(path)
    if model is not None and model != info.model:
        raise ValueError(f"{path} holds weights of {info.model}, not of {model}: pass --model {info.model}")
    try:
        net, built = get_model(info.model, **info.overrides), get_spec(info.model, **info.overrides)
        for key in ("colour", "output", "stride"):
            if getattr(info.spec, key) != getattr(built, key):
                raise ValueError(f"its spec's '{key}' is {getattr(info.spec, key)}, not {getattr(built, key)}")
    except _UNBUILDABLE as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{info_path(path)} describes no network of this project: {reason}") from error
    fill(net, path, ctx)
    # With static shapes MXNet keeps every layer's output: 330 MB per face of LGCN at full resolution, instead of 38.
    net.hybridize(static_alloc=True, static_shape=info.spec.output != "heatmaps")
    return net, info


def fill(net: nn.HybridBlock, path: str | os.PathLike[str], ctx: Any = None, whole: bool = True) -> None:
    """Loads parameters from a file into a network of exactly that shape.

    Args:
        net: gets them.
        path: of the .params file.
        ctx: context or list of contexts; CPU by default.
        whole: refuse a file that holds more than the network; else the rest of the file is ignored.

    Raises:
        FileNotFoundError, ValueError: there is no such file, or it does not fit.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: there is no such weights file; check the path")
    check_parameters(path)
    try:
        net.load_parameters(str(path), ctx=ctx or mx.cpu(), ignore_extra=not whole, **_AS_THE_NETWORK)
    except (mx.MXNetError, AssertionError, ValueError) as error:
        reason = f"{path} is cut short or belongs to another network"
        raise ValueError(f"{reason}: restore it, or name the weights of this one") from error


def shipped_weights(name: str, folder: Path = SHIPPED_FOLDER) -> Path:
    """Path of a shipped weights file, its SHA-256 checked against the index.

    Args:
        name: a model's name, or the stem of one of its further files, such as "resnet18_slim_rendered".
        folder: holds the files and their index.json.

    Raises:
        ValueError: none ships under that name, or the file is not the one of the index.
    """
    listing = folder / "index.json"
    if not listing.is_file():
        raise FileNotFoundError(f"{listing} is not there, so no weights ship with this copy: pass --weights FILE")
    index = read_json(listing, RESTORE_INDEX)
    if name not in index:
        raise ValueError(f"no weights ship for '{name}', but for {', '.join(sorted(index))}: pass --weights FILE")
    about = entry(index, name, dict, listing, RESTORE_INDEX)
    file, sha256 = (entry(about, key, str, listing, RESTORE_INDEX) for key in ("file", "sha256"))
    path = folder / Path(file).name
    if not path.is_file() or file_sha256(path) != sha256:
        raise ValueError(f"{path} is missing or not the file of weights/index.json: restore it with git checkout")
    return path


def shipped_spec(name: str) -> InputSpec:
    """How the network whose weights ship under a name sees a face; its paper's spec where none ship."""
    try:
        return read_info(shipped_weights(name)).spec
    except (ValueError, FileNotFoundError):
        return get_spec(name)


def file_sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file in hexadecimal."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
