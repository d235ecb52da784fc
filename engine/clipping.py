"""The norm of all gradients kept below a bound, without waiting for its value."""

from __future__ import annotations

from typing import Sequence

import mxnet as mx

_LEAST_NORM = 1e-8  # keeps gradients of 0 from a division by 0, as Gluon does


def clip_global_norm(gradients: Sequence[mx.nd.NDArray], largest: float) -> None:
    """Scales arrays of one device in place so that the norm over all of them is at most `largest`.

    `mxnet.gluon.utils.clip_global_norm` with one operator for all squares in place of two for each array.
    """
    squares = mx.nd.multi_sum_sq(*gradients, num_arrays=len(gradients))
    scale = mx.nd.minimum(largest / (mx.nd.sqrt(squares.sum()) + _LEAST_NORM), 1)
    for gradient in gradients:
        gradient *= scale
