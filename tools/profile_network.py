"""Shows where each millisecond of a prediction goes, operator by operator, as MXNet's own profiler times them.

A CPU runs the network fused, as prediction does. Operators run one by one here, so that they add up to a little more
than the time that tools.benchmark measures. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import os
from typing import Any, NamedTuple, Sequence

import mxnet as mx
from mxnet.gluon import HybridBlock

from common import cli
from datasets.workers import run_alone
from engine import devices
from engine.timing import PREDICTION_BATCH
from gluon_models import get_spec, list_models, load_weights, shipped_weights
from gluon_models.spec import InputSpec
from inference.pipeline import PointPredictor

WARM_UP = 3
WAITING = "WaitForVar"  # what the profiler calls waiting for the others
NAMES = {"_sg_mkldnn_conv": "fused convolution", "_sg_mkldnn_fully_connected": "fused dense layer"}


class OperatorTime(NamedTuple):
    """What the calls of one operator take in a prediction.

    Attributes:
        name: MXNet's, or a plain one for what is fused.
        calls: in one prediction.
        milliseconds: of them together, in one prediction.
    """

    name: str
    calls: float
    milliseconds: float


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.make_parser(__doc__)
    parser.add_argument("--model", choices=list_models(), default="ffld_resnet18", help="a network that ships")
    parser.add_argument("--faces", type=cli.count, default=1, help=f"predicted together, {PREDICTION_BATCH} at most")
    parser.add_argument("--repeats", type=cli.count, default=20, help="predictions that are averaged")
    cli.add_device_arguments(parser)
    return parser


def profile(net: HybridBlock, spec: InputSpec, faces: int, repeats: int, context: mx.Context) -> list[OperatorTime]:
    """Times a network's operators, the slowest first; random crops, on which time does not depend."""
    run = PointPredictor(net, spec, context).run
    crops = mx.nd.random.uniform(-1, 1, (faces, len(spec.mean), spec.size, spec.size), ctx=context)
    for _ in range(WARM_UP):
        run(crops)
    mx.nd.waitall()
    mx.profiler.set_config(profile_symbolic=True, profile_imperative=True, aggregate_stats=True, filename=os.devnull)
    mx.profiler.set_state("run")
    for _ in range(repeats):
        run(crops)
    mx.nd.waitall()
    mx.profiler.set_state("stop")
    return operator_times(json.loads(mx.profiler.dumps(reset=True, format="json")), repeats)


def operator_times(profiled: dict[str, Any], repeats: int) -> list[OperatorTime]:
    """Reads MXNet's aggregate statistics of some predictions."""
    found = profiled["Time"]["operator"]
    times = [
        OperatorTime(NAMES.get(name, name), each["Count"] / repeats, each["Total"] / repeats)
        for name, each in found.items()
        if name != WAITING
    ]
    return sorted(times, key=lambda each: -each.milliseconds)


def profile_shipped(model: str, faces: int, repeats: int, gpus: str | None) -> list[OperatorTime]:
    """`profile` of the weights that ship, on the first device."""
    # Else several operators run, and are timed, as one. MXNet reads this once, before the first network.
    os.environ["MXNET_EXEC_BULK_EXEC_INFERENCE"] = "0"
    context = devices.contexts(gpus)[0]
    net, info = load_weights(shipped_weights(model), model, context)
    return profile(net, info.spec, faces, repeats, context)


def describe(times: Sequence[OperatorTime]) -> str:
    """The times as a table to read."""
    total = sum(each.milliseconds for each in times)
    lines = [f"{'operator':<28}{'calls':>7}{'ms':>10}{'share':>8}"]
    for each in [*times, OperatorTime("all", sum(each.calls for each in times), total)]:
        lines.append(f"{each.name:<28}{each.calls:>7.0f}{each.milliseconds:>10.3f}{each.milliseconds / total:>8.1%}")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table."""
    arguments = make_parser().parse_args(argv)
    if arguments.faces > PREDICTION_BATCH:
        raise ValueError(f"--faces {arguments.faces}: at most {PREDICTION_BATCH}")
    size = get_spec(arguments.model).size
    print(f"{arguments.model}, {arguments.faces} of {size} px, mean of {arguments.repeats} predictions")
    print(describe(run_alone(profile_shipped, arguments.model, arguments.faces, arguments.repeats, arguments.gpus)))
    return 0


if __name__ == "__main__":
    cli.run(main)
