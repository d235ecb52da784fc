"""How much memory a training step takes, from MXNet's own plan of it, before anything is trained."""

from __future__ import annotations

import math
import os
import re
from typing import Sequence

import mxnet as mx
from mxnet.gluon import HybridBlock

COPIES = 4  # of every trained number: itself, its gradient, Adam's two moments
FLOAT_BYTES = 4
MEGABYTE = 2**20


def training_megabytes(net: HybridBlock, input_shape: Sequence[int]) -> float:
    """Megabytes that a step takes on a device: maps and their gradients, the batch, and all that is kept per weight.

    The maps and gradients share memory as MXNet plans it for this network and batch. What a library such as cuDNN
    takes on top for speed, and the loss, are not in it.

    Args:
        net: initialised, every parameter's shape settled.
        input_shape: (N, C, H, W) of a whole batch on the device.
    """
    answer = net(mx.sym.var("faces"))
    answer = mx.sym.Group(list(answer)) if isinstance(answer, (tuple, list)) else answer
    trained = {name: p.shape for name, p in net.collect_params().items() if p.grad_req != "null"}
    gradients = {name: "write" if name in trained else "null" for name in answer.list_arguments()}
    # Else MXNet tells on stderr which graph optimiser it uses.
    os.environ.setdefault("MXNET_SUBGRAPH_VERBOSE", "0")
    executor = answer.simple_bind(mx.cpu(), grad_req=gradients, faces=tuple(input_shape))
    planned = float(re.search(r"Total (\d+) MB allocated", executor.debug_str()).group(1))
    numbers = COPIES * sum(math.prod(shape) for shape in trained.values()) + math.prod(input_shape)
    return planned + numbers * FLOAT_BYTES / MEGABYTE
