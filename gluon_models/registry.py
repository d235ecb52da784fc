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


class Paper(NamedTuple):
    """What a network reproduces: the paper's short name and the page that numbers the gaps in its text."""

    name: str
    ledger: str


class _Entry(NamedTuple):
    build: Callable[..., nn.HybridBlock]
    spec: InputSpec
    paper: Paper


_DEEPPOSE = Paper("DeepPose ResNet-18", "docs/deeppose.md")
_FFLD = Paper("FFLD", "docs/ffld.md")
_HOURGLASS = Paper("modified stacked hourglass", "docs/hourglass.md")
_LGCN = Paper("LGCN", "docs/lgcn.md")
_REGIONS = Paper("region ResNets", "docs/region_resnet.md")

_MODELS = {
    "deeppose_resnet18": _Entry(deeppose.deeppose_resnet18, deeppose.SPEC, _DEEPPOSE),
    "ffld_resnet18": _Entry(ffld.ffld_resnet18, ffld.SPEC, _FFLD),
    "ffld_resnet50": _Entry(ffld.ffld_resnet50, ffld.SPEC, _FFLD),
    "hourglass_resnet50": _Entry(hourglass.hourglass_resnet50, hourglass.SPEC, _HOURGLASS),
    "region_boxes": _Entry(region_resnet.region_boxes, region_resnet.SPEC, _REGIONS),
    "region_direct": _Entry(region_resnet.region_direct, region_resnet.SPEC, _REGIONS),
    "region_parts": _Entry(region_resnet.region_parts, region_resnet.SPEC, _REGIONS),
    "lgcn_128": _Entry(lgcn.lgcn_128, lgcn.SPEC, _LGCN),
    "lgcn_64": _Entry(lgcn.lgcn_64, lgcn.SPEC, _LGCN),
    "resnet18_slim": _Entry(ffld.resnet18_slim, ffld.SPEC, _FFLD),
    "resnet50_slim": _Entry(ffld.resnet50_slim, ffld.SPEC, _FFLD),
}


def register(name: str, build: Callable[..., nn.HybridBlock], spec: InputSpec, paper: Paper | None = None) -> None:
    """Adds a network of your own.

    Args:
        name: for `get_model` and the command lines.
        build: returns the network, not initialised; takes at least num_landmarks.
        spec: how it sees a face.
        paper: what it reproduces, for the tables of networks that ship.

    Raises:
        ValueError: the name is taken.
    """
    if name in _MODELS:
        raise ValueError(f"there is a model '{name}' already: choose another name")
    _MODELS[name] = _Entry(build, spec, paper or Paper(name, "README.md"))


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
    colour = overrides.get("colour", spec.colour)
    if colour != spec.colour:
        spec = spec.of_colour(colour)
    return replace(spec, stride=overrides.get("backbone_stride", spec.stride))


def get_paper(name: str) -> dict[str, str]:
    """The named network's paper, and the files with its code and its ledger; ValueError as get_model."""
    entry = _entry(name)
    return {
        "paper": entry.paper.name,
        "code": entry.build.__module__.replace(".", "/") + ".py",
        "ledger": entry.paper.ledger,
    }
