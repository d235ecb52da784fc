"""Networks by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Callable, NamedTuple

from mxnet.gluon import nn

from gluon_models import deeppose, hourglass
from gluon_models.ffld import network as ffld
from gluon_models.lgcn import network as lgcn
from gluon_models.regions import network as region_resnet
from gluon_models.spec import InputSpec


class _Entry(NamedTuple):
    build: Callable[..., nn.HybridBlock]
    spec: InputSpec


_MODELS = {
    "deeppose_resnet18": _Entry(deeppose.deeppose_resnet18, deeppose.SPEC),
    "ffld_resnet18": _Entry(ffld.ffld_resnet18, ffld.SPEC),
    "ffld_resnet50": _Entry(ffld.ffld_resnet50, ffld.SPEC),
    "hourglass_resnet50": _Entry(hourglass.hourglass_resnet50, hourglass.SPEC),
    "region_boxes": _Entry(region_resnet.region_boxes, region_resnet.SPEC),
    "region_direct": _Entry(region_resnet.region_direct, region_resnet.SPEC),
    "region_parts": _Entry(region_resnet.region_parts, region_resnet.SPEC),
    "lgcn_128": _Entry(lgcn.lgcn_128, lgcn.SPEC),
    "lgcn_64": _Entry(lgcn.lgcn_64, lgcn.SPEC),
    "resnet18_slim": _Entry(ffld.resnet18_slim, ffld.SPEC),
    "resnet50_slim": _Entry(ffld.resnet50_slim, ffld.SPEC),
}


def register(name: str, build: Callable[..., nn.HybridBlock], spec: InputSpec) -> None:
    """Adds a network of your own.

    Args:
        name: for `get_model` and the command lines.
        build: returns the network, not initialised; takes at least num_landmarks.
        spec: how it sees a face.

    Raises:
        ValueError: the name is taken.
    """
    if name in _MODELS:
        raise ValueError(f"there is a model '{name}' already: choose another name")
    _MODELS[name] = _Entry(build, spec)


def list_models() -> list[str]:
    """Names that `get_model` and `get_spec` take."""
    return sorted(_MODELS)


def _entry(name: str) -> _Entry:
    if name not in _MODELS:
        raise ValueError(f"unknown model '{name}': choose one of {', '.join(list_models())}")
    return _MODELS[name]


def get_model(name: str, **overrides: Any) -> nn.HybridBlock:
    """Builds a network, not yet initialised.

    Args:
        name: one of `list_models()`.
        overrides: what the builder takes, such as num_landmarks.

    Raises:
        ValueError: the name is not known.
    """
    return _entry(name).build(**overrides)


def get_spec(name: str, **overrides: Any) -> InputSpec:
    """How the named network, built with `overrides`, sees a face and what it returns; ValueError as get_model."""
    spec = _entry(name).spec
    return replace(spec, stride=overrides.get("backbone_stride", spec.stride))
