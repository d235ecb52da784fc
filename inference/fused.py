"""A network as oneDNN runs it fastest on a CPU: batch normalization folded into convolutions, ReLUs and sums fused.

The outputs differ from the network's own by rounding: at most 2e-4 pixels of the crop on the shipped networks.
"""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import Any, Callable

import mxnet as mx
from mxnet.gluon import HybridBlock, SymbolBlock

from common.files import write_text

_BACKEND = "MKLDNN"  # what MXNet 1.9.1 calls oneDNN
_INPUT = "data"
_KEEP_CHANNELS = ("Activation", "BatchNorm", "elemwise_add", "_plus_scalar")  # of their first input

Network = Callable[[mx.nd.NDArray], mx.nd.NDArray]


class FusedNetwork:
    """Takes the place of a network at prediction, and shares its parameters.

    A graph is fused when it is first needed. What is folded is kept from then on: make a new one after the parameters
    have changed.

    Args:
        net: initialised, on the CPU.
        values_at_once: a batch runs in parts of at most this many input values, so that layers stay in the cache. Parts
            run with static shapes: MXNet keeps the folded weights from one to the next, but also every layer's output.
            A face of more values runs alone, without.
    """

    def __init__(self, net: HybridBlock, values_at_once: int) -> None:
        self._net, self._values_at_once = net, values_at_once
        self._blocks: dict[tuple[bool, bool], Any] = {}

    def __call__(self, faces: mx.nd.NDArray) -> mx.nd.NDArray:
        """Faces (N, C, S, S) -> the network's output."""
        return self._outputs(False, faces)[0]

    def all_stages(self, faces: mx.nd.NDArray) -> list[mx.nd.NDArray]:
        """Faces (N, C, S, S) -> the outputs of all stages; a network without stages has one."""
        return self._outputs(hasattr(self._net, "all_stages"), faces)

    def _outputs(self, stages: bool, faces: mx.nd.NDArray) -> list[mx.nd.NDArray]:
        count = max(1, self._values_at_once // faces[0].size)
        parts = [faces[start : start + count] for start in range(0, len(faces), count)]
        outputs = [self._block(stages, part)(part) for part in parts]
        by_stage = zip(*(each if isinstance(each, (list, tuple)) else [each] for each in outputs))
        return [mx.nd.concat(*each, dim=0) if len(parts) > 1 else each[0] for each in by_stage]

    def _block(self, stages: bool, faces: mx.nd.NDArray) -> Callable[[mx.nd.NDArray], Any]:
        key = stages, faces.size <= self._values_at_once
        if key not in self._blocks:
            self._blocks[key] = self._fused(*key)
        return self._blocks[key]

    def _fused(self, stages: bool, static_shape: bool) -> Callable[[mx.nd.NDArray], Any]:
        """A block of the same parameters, or the network: in half precision casts stand between what could be fused."""
        data = mx.sym.var(_INPUT)
        graph = mx.sym.Group(self._net.all_stages(data)) if stages else self._net(data)
        if "amp_cast" in graph.tojson():
            return self._net.all_stages if stages else self._net
        with warnings.catch_warnings():
            # MXNet warns that the input's type is unknown before the first input.
            warnings.simplefilter("ignore")
            block = SymbolBlock(fuse(graph), data, params=self._net.collect_params())
        block.hybridize(static_alloc=True, static_shape=static_shape)
        return block


def fused(net: Network, values_at_once: int) -> Network:
    """A Gluon network's fused form, see `FusedNetwork`; what else stands for a network is returned as it is."""
    fusable = isinstance(net, HybridBlock) and not isinstance(net, SymbolBlock)
    return FusedNetwork(net, values_at_once) if fusable else net


def fuse(symbol: mx.sym.Symbol) -> mx.sym.Symbol:
    """The same graph with oneDNN's fused operators, its arguments and their names unchanged."""
    os.environ.setdefault("MXNET_SUBGRAPH_VERBOSE", "0")  # keeps MXNet from printing what it fuses to stderr
    graph = json.loads(symbol.tojson())
    name_relus(graph)
    enlarge_by_convolution(graph)
    return mx.sym.load_json(json.dumps(graph)).get_backend_symbol(_BACKEND)


def name_relus(graph: dict[str, Any]) -> None:
    """Makes the ReLUs of a graph as JSON Activation nodes, the only form that MXNet fuses with convolutions."""
    for node in graph["nodes"]:
        if node["op"] == "relu":
            node["op"], node["attrs"] = "Activation", {"act_type": "relu"}


def enlarge_by_convolution(graph: dict[str, Any]) -> None:
    """Makes the UpSampling nodes of a graph as JSON transposed convolutions by ones: oneDNN has a kernel for these."""
    nodes = graph["nodes"]
    for node in list(nodes):
        channels = _channels(nodes, nodes[node["inputs"][0][0]]) if node["op"] == "UpSampling" else 0
        if not channels or node["attrs"]["sample_type"] != "nearest":
            continue
        side = int(node["attrs"]["scale"])
        size = str((side, side))
        ones = {"op": "_ones", "name": f"{node['name']}_ones", "attrs": {"shape": str((channels, 1, side, side))}}
        sides = {"kernel": size, "stride": size, "num_filter": str(channels), "num_group": str(channels)}
        node.update(op="Deconvolution", attrs={**sides, "no_bias": "True"})
        node["inputs"].append([len(nodes), 0, 0])
        nodes.append({**ones, "inputs": []})


def _channels(nodes: list[dict[str, Any]], node: dict[str, Any]) -> int:
    """Channels of a node's output, if the last convolution tells them, else 0."""
    while node["op"] in _KEEP_CHANNELS:
        node = nodes[node["inputs"][0][0]]
    return int(node.get("attrs", {}).get("num_filter", 0))


def write_fused(symbol: Path, path: Path) -> Path:
    """Writes the fused form of a written symbol, which takes the same parameters; returns its path."""
    write_text(path, fuse(mx.sym.load(str(symbol))).tojson())
    return path
