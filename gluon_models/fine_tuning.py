"""Starting a network from weights that were trained on another number of landmarks."""

from __future__ import annotations

import os
from typing import Sequence

import mxnet as mx
import numpy as np
from mxnet.gluon import nn

from gluon_models.parameter_files import read_parameters

Sources = Sequence[Sequence[int]]
LEAST_SHARE = 0.5  # of a network's numbers that must fit; of other networks' weights less does


def fill_fitting(
    net: nn.HybridBlock, path: str | os.PathLike[str], whole: bool = True, sources: Sources = ()
) -> list[str]:
    """Loads the parameters that have the network's shape; all others keep the values that they have.

    Args:
        net: initialised, every shape settled.
        path: of a .params file of the same network, but for its number of landmarks.
        whole: whether the file may hold no more than the network.
        sources: the landmarks of the file whose mean is each landmark of the network, where there are such. A layer
            with an output or two for each landmark then starts with the mean of the rows of these.

    Returns:
        Names of the parameters that were not loaded.

    Raises:
        FileNotFoundError, ValueError: there is no such file, it is damaged, or it is of another network.
    """
    stored, own = read_parameters(path), net._collect_params_with_prefix()
    fitting = {name: value for name, value in stored.items() if name in own and own[name].shape == value.shape}
    numbers = {name: parameter.data(parameter.list_ctx()[0]).size for name, parameter in own.items()}
    share = sum(numbers[name] for name in fitting) / sum(numbers.values())
    if not set(own) <= set(stored) or (whole and set(own) != set(stored)) or share < LEAST_SHARE:
        raise ValueError(
            f"{path} belongs to another network: {100 * share:.0f} % of this one's weights fit; name its own weights"
        )
    for name in own:
        if name not in fitting:
            converted = _converted(stored[name].asnumpy(), own[name].shape, sources)
            if converted is not None:
                fitting[name] = mx.nd.array(converted)
    for name, value in fitting.items():
        own[name].set_data(value.astype(own[name].dtype))
    return [name for name in own if name not in fitting]


def _converted(value: np.ndarray, shape: Sequence[int], sources: Sources) -> np.ndarray | None:
    """A parameter whose first axis counts landmarks, or x and y of each in turn, for other landmarks; None for others.

    A layer with one row for each of a landmark's coordinates is linear in them, as their mean is, so the conversion of
    points by rows is exact.
    """
    count = 1 + max((k for each in sources for k in each), default=-1)
    for each in (1, 2):
        per_landmark = len(value) % each == 0 and shape[0] == each * len(sources) and len(value) >= each * count
        if sources and per_landmark and tuple(shape[1:]) == value.shape[1:]:
            rows = value.reshape(-1, each, *value.shape[1:])
            return np.stack([rows[list(group)].mean(axis=0) for group in sources]).reshape(shape)
    return None


def layers_of(parameters: list[str]) -> str:
    """The layers that parameters belong to, in words."""
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in parameters))
    return ", ".join(layers[:4]) + (f" and {len(layers) - 4} more" if len(layers) > 4 else "")
