"""An optimizer's state as plain arrays and numbers: reading it back runs no code, as MXNet's own pickles would."""

from __future__ import annotations

from typing import Any, Iterator, Mapping

import mxnet as mx
import numpy as np
from mxnet.gluon import Trainer
from mxnet.optimizer import Optimizer

from common.readers import entry

_PREFIX = "optimizer"
_SCALER = ("_loss_scale", "_next_loss_scale", "_unskipped")  # of MXNet's loss scaler


def pack(states: Mapping[int, Any], optimizer: Optimizer) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """What an optimizer keeps.

    Args:
        states: of an updater, by the number of the parameter: None, an array, or tuples of such.
        optimizer: whose counters and numbers are kept.

    Returns:
        Arrays by name, and the numbers as plain JSON types.
    """
    arrays = {
        f"{_PREFIX}/{number}/{part}": array.asnumpy()
        for number, state in states.items()
        for part, array in enumerate(_arrays(state))
    }
    counts = {str(device): counts for device, counts in optimizer._all_index_update_counts.items()}
    return arrays, {"numbers": _numbers(optimizer), "update_counts": counts}


def pack_trainer(trainer: Trainer) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """What a trainer's optimizer keeps, which is the same on all devices, and its loss scale if it has one."""
    arrays, numbers = pack(trainer._updaters[0].states, trainer._optimizer)
    scaler = getattr(trainer, "_amp_loss_scaler", None)
    if scaler is not None:
        numbers["loss_scaler"] = {name: getattr(scaler, name) for name in _SCALER}
    return arrays, numbers


def unpack_trainer(trainer: Trainer, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> None:
    """Puts back what `pack_trainer` returned, into a trainer of the same network and optimizer.

    Parameters that took no step were frozen, and are frozen again.

    Raises:
        ValueError: it is of another network or optimizer.
    """
    if not trainer._kv_initialized:
        trainer._init_kvstore()
    if trainer._params_to_init:
        trainer._init_params()
    optimizer = trainer._optimizer
    # Each state is created here, so that the file decides neither its shape nor its type.
    for updater, context in zip(trainer._updaters, trainer._contexts):
        for number in sorted({int(name.split("/")[1]) for name in arrays if name.startswith(f"{_PREFIX}/")}):
            if number >= len(trainer._params):
                raise ValueError("its optimizer trains another network")
            weight = trainer._params[number].data(context)
            state = optimizer.create_state_multi_precision(number, weight)
            for part, array in enumerate(_arrays(state)):
                stored = arrays.get(f"{_PREFIX}/{number}/{part}")
                if stored is None or stored.shape != array.shape:
                    raise ValueError("its optimizer is another one")
                array[:] = mx.nd.array(stored, context, dtype=stored.dtype)
            updater.states[number], updater.states_synced[number] = state, True
    own = _numbers(optimizer)
    for name, value in entry(values, "numbers", dict, "optimizer").items():
        if name in own and isinstance(value, (int, float)):
            setattr(optimizer, name, type(own[name])(value))
    counts = entry(values, "update_counts", dict, "optimizer")
    # Every device takes every step, but MXNet counts steps by device number: devices new to the run would count from 0,
    # and Adam's bias correction would take their steps for its first ones.
    steps = max(map(_counts, counts.values()), key=lambda each: max(each.values(), default=0), default={})
    optimizer._all_index_update_counts = {context.device_id: dict(steps) for context in trainer._contexts}
    optimizer._set_current_context(trainer._contexts[0].device_id)
    # What a run freezes may depend on the weights it started from, which a resumed run does not read.
    for number, parameter in enumerate(trainer._params):
        if steps and number not in steps:
            parameter.grad_req = "null"
    _set_loss_scale(trainer, values.get("loss_scaler"))


def _set_loss_scale(trainer: Trainer, stored: Any) -> None:
    """Sets the loss scale, unless only one of the two runs uses half precision."""
    scaler = getattr(trainer, "_amp_loss_scaler", None)
    if scaler is None or stored is None:
        return
    if not isinstance(stored, dict) or not all(isinstance(stored.get(name), (int, float)) for name in _SCALER):
        raise ValueError("its loss scale is none")
    for name in _SCALER:
        setattr(scaler, name, type(getattr(scaler, name))(stored[name]))


def _counts(values: Any) -> dict[int, int]:
    if not isinstance(values, dict):
        raise ValueError("its optimizer's counts are none")
    return {int(number): int(count) for number, count in values.items()}


def _numbers(optimizer: Optimizer) -> dict[str, Any]:
    return {name: value for name, value in vars(optimizer).items() if type(value) in (int, float)}


def _arrays(state: Any) -> Iterator[mx.nd.NDArray]:
    if isinstance(state, (tuple, list)):
        for each in state:
            yield from _arrays(each)
    elif state is not None:
        yield state
