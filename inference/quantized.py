"""An exported network's int8 twin for the CPU: convolutions in eight bits, as oneDNN fuses and runs them.

The last layers stay float32: eight bits in the global average and the dense layer behind it would cost several times as
much accuracy as in all convolutions before them. Everything that is no convolution stays float32, too.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from pathlib import Path

import mxnet as mx
import numpy as np
from mxnet.contrib.quantization import quantize_net_v2
from mxnet.gluon import HybridBlock, SymbolBlock

from datasets.render.faces import RenderedFaces
from gluon_models.spec import InputSpec
from inference.exported import INPUT, Exporter

CALIBRATION_FACES = 64
BATCH = 8  # faces that calibration runs at once
KEPT_OPERATORS = ("_sg_mkldnn_fully_connected",)  # the name of oneDNN's fused dense layer
DOT_PRODUCTS = {"avx512_vnni", "avx_vnni", "amx_int8"}  # CPU flags, any of which is enough
SATURATES = "note: this CPU has no 8-bit dot products (VNNI); its 16-bit sums saturate, so int8 is less exact here"


class NotQuantizable(ValueError):
    """MXNet has no int8 form of a network."""


def calibration_faces(seed: int) -> RenderedFaces:
    """The default faces for calibration: rendered ones."""
    return RenderedFaces(CALIBRATION_FACES, seed + 2)


def cpu_note(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """What eight bits cost on this CPU, where it lacks 8-bit dot products; "" where it has them or does not say."""
    text = cpuinfo.read_text(encoding="utf-8") if cpuinfo.is_file() else ""
    flags = next((line.split(":")[1].split() for line in text.splitlines() if line.startswith("flags")), [])
    return SATURATES if flags and not DOT_PRODUCTS & set(flags) else ""


def int8_twin(net: HybridBlock, spec: InputSpec, crops: np.ndarray) -> HybridBlock:
    """The int8 twin of a network as a block on the CPU, calibrated on crops (n, S, S, 3).

    Raises:
        NotQuantizable: MXNet has none.
    """
    exporter = Exporter(net, spec, False, mx.cpu())
    with tempfile.TemporaryDirectory() as folder:
        written = exporter.write_mxnet(Path(folder) / "float32", crops[:1])
        twin = read_block(*write_int8(*written, Path(folder) / "int8", exporter.feed(crops)))
    twin.hybridize(static_alloc=True, static_shape=True)
    return twin


def write_int8(symbol: Path, params: Path, prefix: Path, data: np.ndarray) -> tuple[Path, Path]:
    """Writes PREFIX-symbol.json and PREFIX-0000.params, the int8 twin of a network that `Exporter` wrote.

    Args:
        symbol: of the float32 network.
        params: its parameters.
        prefix: of the new files.
        data: (n, ...) inputs of the network, from typical faces; they set the ranges of all activations.

    Raises:
        NotQuantizable: MXNet fails at it, or leaves every convolution in float32.
    """
    joinable = prefix.parent / f"{prefix.name}-joinable.json"
    kept = write_joinable(symbol, joinable)
    try:
        twin = _quantize(joinable, params, kept, data)
        twin(mx.nd.array(data[:1], dtype=data.dtype)).wait_to_read()
    except mx.MXNetError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise NotQuantizable(f"MXNet has no int8 form of this network ({reason})") from error
    finally:
        joinable.unlink()
    twin.export(str(prefix))
    written = Path(f"{prefix}-symbol.json"), Path(f"{prefix}-0000.params")
    if not count_int8(written[0]):
        raise NotQuantizable("MXNet leaves every convolution of this network in float32")
    return written


def read_block(symbol: Path, params: Path) -> SymbolBlock:
    """A written network as a block on the CPU."""
    with warnings.catch_warnings():
        # MXNet warns that the input's type is unknown before the first input.
        warnings.simplefilter("ignore")
        return SymbolBlock.imports(str(symbol), [INPUT], str(params), mx.cpu())


def _quantize(symbol: Path, params: Path, kept: list[str], data: np.ndarray) -> SymbolBlock:
    block = read_block(symbol, params)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as in `read_block`
        twin = quantize_net_v2(
            block,
            quantized_dtype="auto",
            # "full" would quantize coordinates as well, such as the ones a network crops its feature maps at.
            quantize_mode="smart",
            quantize_granularity="channel-wise",
            exclude_layers=kept,
            exclude_operators=list(KEPT_OPERATORS),
            calib_data=mx.io.NDArrayIter(data.astype(np.float32), batch_size=min(BATCH, len(data)), data_name=INPUT),
            calib_mode="naive",
        )
    twin.hybridize()
    return twin


def write_joinable(symbol: Path, path: Path) -> list[str]:
    """Writes a copy of a symbol whose ReLUs are Activation nodes, which oneDNN fuses with the convolutions before them.

    Returns:
        Names of the layers that stay float32: the averages over whole maps.
    """
    graph = json.loads(symbol.read_text(encoding="utf-8"))
    kept = []
    for node in graph["nodes"]:
        if node["op"] == "relu":
            node["op"], node["attrs"] = "Activation", {"act_type": "relu"}
        if node["op"] == "Pooling" and node["attrs"].get("global_pool") in ("True", "1"):
            kept.append(node["name"])
    path.write_text(json.dumps(graph), encoding="utf-8")
    return kept


def count_int8(symbol: Path) -> int:
    """Convolutions of a written network that run in int8."""
    nodes = json.loads(symbol.read_text(encoding="utf-8"))["nodes"]
    return sum(node["op"] == "_sg_mkldnn_conv" and node["attrs"].get("quantized") == "true" for node in nodes)
