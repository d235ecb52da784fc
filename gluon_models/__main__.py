"""Prints parameters and multiply-adds of a network, part by part: python -m gluon_models NAME; lists all without NAME.

It counts the products of convolutions, dense layers and matrix products for one face, but no biases, normalization,
activations, pooling or element-wise products. Running statistics are not parameters. The face has the size that the
shipped weights are for, which for lgcn_64 is 48 pixels and in its paper 96.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
from typing import Any, NamedTuple, Sequence

import mxnet as mx
from mxnet.gluon import HybridBlock

from common import cli
from gluon_models.registry import get_model, list_models
from gluon_models.weights import shipped_spec


class Row(NamedTuple):
    """One part of a network.

    Attributes:
        part: its path in the network, such as "cascade.stacks.0".
        parameters: trained numbers.
        multiply_adds: for one face.
    """

    part: str
    parameters: int
    multiply_adds: int


class _Node(NamedTuple):
    """One operation of the traced network; shapes are for one face."""

    name: str
    operation: str
    attributes: dict[str, str]
    inputs: list[str]
    input_shapes: list[tuple[int, ...]]
    shape: tuple[int, ...]


def summarize(net: HybridBlock, input_shape: Sequence[int], depth: int) -> list[Row]:
    """Counts a network's parameters and multiply-adds.

    Args:
        net: initialised or not.
        input_shape: of one face, (1, C, H, W).
        depth: names in a part's path at most; deeper parts are added up.

    Returns:
        Parts in the order in which the network runs them; shared parameters count with the first part.
    """
    nodes, shapes = _trace(net, tuple(input_shape))
    paths = {parameter.name: path for path, parameter in net._collect_params_with_prefix().items()}
    trained = {name for name, parameter in net.collect_params().items() if parameter.grad_req != "null"}
    counts: dict[str, list[int]] = {}
    counted: set[str] = set()
    for node in nodes:
        own = [name for name in node.inputs if name in paths]
        products = _multiply_adds(node)
        new = [name for name in own if name in trained and name not in counted]
        counted.update(new)
        if new or products:
            path = paths[own[0]].split(".")[:-1] if own else _owner(net, node.name)
            count = counts.setdefault(".".join(path[:depth]) or type(net).__name__, [0, 0])
            count[0] += sum(math.prod(shapes[name]) for name in new)
            count[1] += products
    return [Row(part, *numbers) for part, numbers in counts.items()]


def add_up(rows: Sequence[Row]) -> Row:
    """The row of all parts together."""
    return Row("total", sum(row.parameters for row in rows), sum(row.multiply_adds for row in rows))


def _trace(net: HybridBlock, input_shape: tuple[int, ...]) -> tuple[list[_Node], dict[str, tuple[int, ...]]]:
    """The operations of a network in order, and the shape of each parameter, without running it."""
    outputs = net(mx.sym.var("data"))
    internals = (mx.sym.Group(list(outputs)) if isinstance(outputs, (list, tuple)) else outputs).get_internals()
    _, found, _ = internals.infer_shape(data=input_shape)
    shapes = dict(zip(internals.list_outputs(), found))
    graph = json.loads(internals.tojson())["nodes"]
    nodes = []
    for each in graph:
        if each["op"] != "null":
            inputs = [graph[index]["name"] for index, *_ in each["inputs"]]
            before = [_shape_of(shapes, graph[index], output) for index, output, *_ in each["inputs"]]
            shape = _shape_of(shapes, each, 0)
            nodes.append(_Node(each["name"], each["op"], each.get("attrs", {}), inputs, before, shape))
    return nodes, shapes


def _shape_of(shapes: dict[str, tuple[int, ...]], node: dict[str, Any], output: int) -> tuple[int, ...]:
    """Shape of a node's output, which MXNet lists by the node's name plus "_output" or "_output0"."""
    name = node["name"]
    for key in (name,) if node["op"] == "null" else (f"{name}_output", f"{name}_output{output}"):
        if key in shapes:
            return shapes[key]
    return ()


def _multiply_adds(node: _Node) -> int:
    """Products that one operation adds up."""
    if node.operation in ("Convolution", "FullyConnected"):
        channels_out, *inner = node.input_shapes[1]
        return math.prod(node.shape) * math.prod(inner)
    if node.operation in ("dot", "batch_dot"):
        transposed = node.attributes.get("transpose_a") in ("True", "1")
        return math.prod(node.shape) * node.input_shapes[0][-2 if transposed else -1]
    return 0


def _owner(net: HybridBlock, name: str) -> list[str]:
    """Path of the innermost block whose prefix an operation's name has."""
    path: list[str] = []
    best = ""

    def visit(block: HybridBlock, here: list[str]) -> None:
        nonlocal path, best
        if name.startswith(block.prefix) and len(block.prefix) > len(best):
            path, best = here, block.prefix
        for key, child in block._children.items():
            visit(child, [*here, key])

    visit(net, [])
    return path


def format_table(rows: Sequence[Row]) -> str:
    """The rows and their sum, columns aligned."""
    total = add_up(rows)
    cells = [("part", "parameters", "multiply-adds")]
    cells += [(row.part, f"{row.parameters:,}", f"{row.multiply_adds:,}") for row in [*rows, total]]
    widths = [max(len(line[column]) for line in cells) for column in range(3)]
    lines = [f"{line[0]:<{widths[0]}}  {line[1]:>{widths[1]}}  {line[2]:>{widths[2]}}" for line in cells]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:-1], "-" * len(lines[0]), lines[-1]])


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = cli.make_parser(__doc__)
    parser.add_argument("model", nargs="?", metavar="NAME", help="one of: " + ", ".join(list_models()))
    parser.add_argument("--num-landmarks", type=cli.count, default=68, help="number of landmarks")
    size = "side of the face in pixels (default: that of the weights that ship, else the paper's)"
    parser.add_argument("--size", type=cli.count, help=size)
    parser.add_argument("--depth", type=cli.count, default=3, help="names in a part's path at most")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table or the names; ValueError for a name that is not known."""
    arguments = parse(argv)
    if arguments.model is None:
        print("\n".join(list_models()))
        return 0
    net, spec = get_model(arguments.model, num_landmarks=arguments.num_landmarks), shipped_spec(arguments.model)
    size = arguments.size or spec.size
    try:
        with contextlib.redirect_stdout(None):  # MXNet prints the shapes that do not fit
            rows = summarize(net, (1, len(spec.mean), size, size), arguments.depth)
    except mx.MXNetError:
        raise ValueError(f"--size {size}: {arguments.model} takes no such face") from None
    print(f"{arguments.model}, {arguments.num_landmarks} landmarks, one face of {size} x {size} pixels")
    print(format_table(rows))
    return 0


if __name__ == "__main__":
    cli.run(main)
