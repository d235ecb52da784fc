"""Memory of a training step, from MXNet's own plan, before anything is trained.

The plan is what a GPU's step takes, less the loss and cuDNN's workspace. A CPU takes more: oneDNN keeps feature maps in
layouts of its own beside MXNet's. `python -m tools.benchmark` prints the plan beside the peak it measures.
"""

from __future__ import annotations

import math
import os
import re
from typing import Sequence

import mxnet as mx
from mxnet.gluon import HybridBlock

COPIES = 4  # of every trained value: itself, its gradient, Adam's two moments
FLOAT_BYTES = 4
MEGABYTE = 2**20


def training_megabytes(net: HybridBlock, input_shape: Sequence[int]) -> float:
    """Megabytes of a step on a device: activations and their gradients, the batch, and all copies of the weights.

    Activations and gradients share memory as MXNet plans it for this network and batch. The loss and the workspace of
    libraries such as cuDNN are not included.

    Args:
        net: initialised, every parameter's shape settled.
        input_shape: (N, C, H, W) of a whole batch on the device.
    """
    output = net(mx.sym.var("faces"))
    output = mx.sym.Group(list(output)) if isinstance(output, (tuple, list)) else output
    trained = {name: p.shape for name, p in net.collect_params().items() if p.grad_req != "null"}
    gradients = {name: "write" if name in trained else "null" for name in output.list_arguments()}
    # Keeps MXNet from printing its graph optimizer to stderr.
    os.environ.setdefault("MXNET_SUBGRAPH_VERBOSE", "0")
    executor = output.simple_bind(mx.cpu(), grad_req=gradients, faces=tuple(input_shape))
    planned = float(re.search(r"Total (\d+) MB allocated", executor.debug_str()).group(1))
    numbers = COPIES * sum(math.prod(shape) for shape in trained.values()) + math.prod(input_shape)
    return planned + numbers * FLOAT_BYTES / MEGABYTE
