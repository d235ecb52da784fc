"""The weights of a face detector: ImageNet's to start from, and the files that hold what was learnt."""

from __future__ import annotations

import json
import os
from pathlib import Path

import mxnet as mx
from mxnet.gluon import Constant, HybridBlock

from common.files import write_text, write_whole
from common.readers import entry, read_json
from gluon_models.detector import centernet
from gluon_models.detector.gluoncv_parts import FasterRCNN
from gluon_models.detector.network import SETTINGS, build_detector, initialise, resnet_backbone
from gluon_models.parameter_files import check_parameters, read_parameters
from gluon_models.weights import info_path

NAMES = (*SETTINGS, centernet.NAME)  # of all detectors that train here
COPY_AGAIN = "it does not name a face detector: copy it again from where it came"


def load_backbone(net: FasterRCNN, path: str | os.PathLike[str]) -> None:
    """Fills the backbone from a classifier of Gluon's model zoo.

    Args:
        net: initialised.
        path: parameters of `resnet50_v1`, as `save_parameters` names them; float16 will do.

    Raises:
        FileNotFoundError, ValueError: there is no such file, or it is of another network.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: there is no such file; name parameters of Gluon's resnet50_v1")
    check_parameters(path)
    classifier = resnet_backbone()
    try:
        classifier.load_parameters(
            str(path), ctx=mx.cpu(), ignore_extra=True, allow_missing=True, cast_dtype=True, dtype_source="current"
        )
        for name, parameter in classifier.features.collect_params().items():
            net.collect_params()[name].set_data(parameter.data())
    except (mx.MXNetError, AssertionError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path} does not hold resnet50_v1: name parameters of that network of Gluon's zoo") from error


def save_detector(net: HybridBlock, path: str | os.PathLike[str], name: str) -> None:
    """Writes all that was learnt to PATH and the detector's name to the .json beside it, each whole or not at all.

    Raises:
        OSError: there is no room, or no permission.
    """
    arrays = {key: parameter.data(parameter.list_ctx()[0]).as_in_context(mx.cpu()) for key, parameter in learnt(net)}
    text = json.dumps({"detector": name}) + "\n"
    write_text(info_path(path), text)
    write_whole(path, lambda part: mx.nd.save(part, arrays))


def load_detector(path: str | os.PathLike[str], context: mx.Context | None = None) -> HybridBlock:
    """Builds and fills the detector of a weights file; float16 will do.

    Raises:
        FileNotFoundError, ValueError: the file or the .json beside it is not there, or they do not fit.
    """
    name, contexts = detector_name(path), [context or mx.cpu()]
    net: HybridBlock
    if name == centernet.NAME:
        net = centernet.CenterNet()
        centernet.initialise(net, contexts, seed=0)
    else:
        net = build_detector(name)
        initialise(net, contexts, seed=0)
    fill_detector(net, path)
    return net


def detector_name(path: str | os.PathLike[str]) -> str:
    """Which of `NAMES` a weights file is of, by the .json beside it.

    Raises:
        FileNotFoundError, ValueError: the file or the .json is not there, or names no detector.
    """
    beside = info_path(path)
    for needed in (Path(path), beside):
        if not needed.is_file():
            raise FileNotFoundError(f"{needed} is not there: a detector is a .params with a .json of the same name")
    name = entry(read_json(beside, COPY_AGAIN), "detector", str, beside, COPY_AGAIN)
    if name not in NAMES:
        raise ValueError(f"{beside} names no face detector of this project, but '{name[:40]}': {COPY_AGAIN}")
    return name


def fill_detector(net: HybridBlock, path: str | os.PathLike[str]) -> None:
    """Fills an initialised detector from what `save_detector` wrote.

    Raises:
        FileNotFoundError, ValueError: there is no such file, or it is of another network.
    """
    wanted = learnt(net)
    stored = read_parameters(path)
    shapes = {key: array.shape for key, array in stored.items()}
    if shapes != {key: parameter.shape for key, parameter in wanted}:
        raise ValueError(f"{path} belongs to another network: name weights of this detector")
    for key, parameter in wanted:
        parameter.set_data(stored[key].astype("float32"))


def learnt(net: HybridBlock) -> list[tuple[str, mx.gluon.Parameter]]:
    """All parameters but what follows from the setting: megabytes of anchors, and the scale of the targets."""
    return [item for item in net._collect_params_with_prefix().items() if not isinstance(item[1], Constant)]
