"""A network as files that run without this project: MXNet's symbol and parameters, and ONNX.

Either kind has one input, "data", and one output, "points" or "heatmaps", and takes any number of crops at once.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Callable, Tuple, Union

import mxnet as mx
import numpy as np
import onnx
import onnxruntime
from mxnet import onnx as mx_onnx
from mxnet.gluon import HybridBlock, SymbolBlock

from datasets.markups import Markup
from gluon_models.spec import InputSpec, Normalize
from inference.detectors import CORRECTIONS, BoxCorrection
from inference.pipeline import points_from_output
from inference.tilt import LARGEST_TILT, tilt_points
from inference.training_boxes import SAME_BOX

INPUT = "data"
TILT_MEANING = (
    "degrees, clockwise, by the mean points of the eyes and the mouth: atan2(y - down_x, x + down_y) of (x, y) from "
    "the right eye to the left one and (down_x, down_y) from between them to the mouth; crops after the first are "
    "turned upright, and the network runs again while a face is tilted by more than the largest angle in its crop"
)
OPSET = 13  # the newest that MXNet 1.9.1 has converters for

Runner = Callable[[np.ndarray], np.ndarray]
Shape = Tuple[Union[int, str], ...]


class ExportGraph(HybridBlock):
    """The network between a named input and a named output, behind the normalization if one is given."""

    def __init__(self, net: HybridBlock, normalize: Normalize | None, output: str) -> None:
        super().__init__(prefix="")
        self.net, self.normalize, self._output = net, normalize, output

    def hybrid_forward(self, F, data):
        """Crops (N, S, S, 3) or, without normalization, the network's input -> the network's output."""
        return F.identity(self.net(self.normalize(data) if self.normalize else data), name=self._output)


class Exporter:
    """Writes a network and compares what was written with the network itself.

    Args:
        net: initialised.
        spec: how it sees a face.
        raw_input: put the normalization into the graph, which then takes crops as they are.
        ctx: where the network's parameters are.
        output_name: of the graph's output; what the network returns if None.
    """

    def __init__(
        self, net: HybridBlock, spec: InputSpec, raw_input: bool, ctx: mx.Context, output_name: str | None = None
    ) -> None:
        self._net, self._spec, self._raw_input, self.ctx = net, spec, raw_input, ctx
        self._output_name = output_name or spec.output
        self._normalize = Normalize(spec)
        self._normalize.initialize(ctx=ctx)

    def output(self, crops: np.ndarray) -> np.ndarray:
        """The network's output for crops (N, S, S, 3) uint8: fractions (N, K, 2) or heatmaps (N, K, H, W)."""
        return self._net(self._normalize(mx.nd.array(crops, self.ctx, dtype="uint8"))).asnumpy()

    def feed(self, crops: np.ndarray) -> np.ndarray:
        """What the written graph takes for crops (N, S, S, 3) uint8."""
        if self._raw_input:
            return crops
        return self._normalize(mx.nd.array(crops, self.ctx, dtype="uint8")).asnumpy()

    def write_mxnet(self, prefix: Path, crops: np.ndarray) -> tuple[Path, Path]:
        """Writes PREFIX-symbol.json and PREFIX-0000.params; crops (N, S, S, 3) uint8 run through the graph once."""
        graph = ExportGraph(self._net, self._normalize if self._raw_input else None, self._output_name)
        graph.hybridize()
        data = self.feed(crops)
        graph(mx.nd.array(data, self.ctx, dtype=data.dtype))
        graph.export(str(prefix))
        # What was written is compared with the network run operator by operator.
        self._net.hybridize(False)
        return Path(f"{prefix}-symbol.json"), Path(f"{prefix}-0000.params")

    def shapes(self, crops: np.ndarray) -> tuple[Shape, Shape]:
        """The shapes of the written graph's input and output for crops (N, S, S, 3) uint8; names are free sizes."""
        return ("batch", *self.feed(crops).shape[1:]), ("batch", *self.output(crops).shape[1:])

    def largest_difference(self, run: Runner, crops: np.ndarray) -> float:
        """Largest difference between a written network and this one, in pixels of the crop.

        Raises:
            ValueError: they differ by more than 1e-3 of the output plus 1e-5.
        """
        expected, got = self.output(crops), run(self.feed(crops))
        points_crop = [points_from_output(output, self._spec) for output in (got, expected)]
        pixels = float(np.abs(points_crop[0] - points_crop[1]).max())
        if not np.allclose(got, expected, rtol=1e-3, atol=1e-5):
            raise ValueError(f"what was written differs from the network by {pixels:.3g} pixels at batch {len(crops)}")
        return pixels


def read_mxnet(symbol: Path, params: Path, ctx: mx.Context) -> Runner:
    """The written network, ready to run."""
    with warnings.catch_warnings():
        # MXNet says that it cannot know the input's type before there is an input.
        warnings.simplefilter("ignore")
        block = SymbolBlock.imports(str(symbol), [INPUT], str(params), ctx)
    return lambda data: block(mx.nd.array(data, ctx, dtype=data.dtype)).asnumpy()


def write_onnx(symbol: Path, params: Path, path: Path, data: np.ndarray, shapes: tuple[Shape, Shape]) -> None:
    """Turns PREFIX-symbol.json and PREFIX-0000.params into ONNX.

    Args:
        symbol: one of the written files.
        params: the other.
        path: of the file to write.
        data: one batch of the input.
        shapes: of input and output, see `Exporter.shapes`.
    """
    with warnings.catch_warnings():
        # MXNet calls functions of onnx that are deprecated.
        warnings.simplefilter("ignore")
        mx_onnx.export_model(
            str(symbol),
            str(params),
            [data.shape],
            [data.dtype],
            str(path),
            dynamic=True,
            dynamic_input_shapes=[shapes[0]],
        )
    model = onnx.load(str(path))
    _tidy(model, shapes[1])
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))


def _tidy(model: onnx.ModelProto, output_shape: Shape) -> None:
    """Leaves the data as the only input, so that runtimes may fold the weights; states opset and output shape."""
    kept = [value for value in model.graph.input if value.name == INPUT]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    # MXNet states the newest opset that the onnx package knows, whatever the nodes were written for.
    model.opset_import[0].version = OPSET
    for dimension, size in zip(model.graph.output[0].type.tensor_type.shape.dim, output_shape):
        if isinstance(size, str):
            dimension.dim_param = size
        else:
            dimension.dim_value = size
    for node in model.graph.node:
        # MXNet counts the elements of one axis by the product of a list of one, at which OpenCV's reader crashes.
        if node.op_type == "ReduceProd":
            node.op_type = "Identity"
            del node.attribute[:]


def read_onnx(path: Path) -> Runner:
    """The written ONNX file, ready to run on the CPU."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda data: session.run(None, {INPUT: data})[0]


def describe_graph(spec: InputSpec, raw_input: bool, markup: Markup, box: BoxCorrection = SAME_BOX) -> dict[str, Any]:
    """What goes into the graph, what comes out, and how to cut crops and turn outputs into points of the photo.

    Args:
        spec: of the network.
        raw_input: whether the graph has the normalization.
        markup: of the points.
        box: see `inference.training_boxes.training_box`.
    """
    size, margin = spec.size, spec.box_margin
    shape, kind, meaning = ["N", size, size, 3], "uint8", "face crops, RGB, 0 to 255"
    if not raw_input:
        shape, kind = ["N", len(spec.mean), size, size], "float32"
        meaning = f"face crops, {spec.colour}, each channel (pixel - mean) * scale with pixels from 0 to 255"
    read_out, use = _how_to_read(spec, markup.num_landmarks)
    parts = tilt_points(markup)
    tilt = {"tilt": {"meaning": TILT_MEANING, "largest": LARGEST_TILT, **parts}} if parts else {}
    return {
        "normalization_in_graph": raw_input,
        "input": {"name": INPUT, "shape": shape, "type": kind, "meaning": meaning},
        "output": {"name": spec.output, "type": "float32", **read_out},
        "use": {
            "crop": "a square about the centre of the face's landmark box (x0, y0, x1, y1), black outside the photo, "
            f"scaled to {size} x {size} pixels; side = (1 + {margin}) * max(x1 - x0, y1 - y0); pixel centres are whole",
            "interpolation": f"bilinear (OpenCV's warpAffine); where side is above {2 * size} pixels, the photo is "
            f"first averaged (INTER_AREA) over cells of the whole part of side / {size} pixels",
            "detector_box_to_landmark_box": {
                "meaning": "of a detector's box: the centre moves by shift times its width and height, which are then "
                "multiplied by width and height; run the network twice, the second time on the tight box of its points",
                **{name: _rounded(correction.then(box)) for name, correction in CORRECTIONS.items()},
            },
            **tilt,
            **use,
            "crop_to_image": f"x_image = (x0 + x1 - side) / 2 + (x_crop + 0.5) * side / {size} - 0.5, and y alike",
        },
    }


def _rounded(correction: BoxCorrection) -> dict[str, float]:
    return {key: round(value, 4) for key, value in correction._asdict().items()}


def _how_to_read(spec: InputSpec, num_landmarks: int) -> tuple[dict[str, Any], dict[str, str]]:
    """Shape and meaning of the output, and how it becomes points of the crop."""
    if spec.output == "points":
        output = {"shape": ["N", num_landmarks, 2], "meaning": "fractions of the crop, x then y"}
        return output, {"fraction_to_crop": f"x_crop = fraction * {spec.size} - 0.5"}
    cells = spec.size // spec.stride
    meaning = f"heatmaps, rows then columns, {spec.stride} pixels of the crop per cell"
    return {"shape": ["N", num_landmarks, cells, cells], "meaning": meaning}, {
        "heatmap_to_cell": "x_cell = c + (a - b) / (2 * (a + b)) with c the column of the map's largest cell, a and b "
        "the logarithms of its left and right neighbour's value over its own; y_cell alike from rows",
        "cell_to_crop": f"x_crop = (x_cell + 0.5) * {spec.stride} - 0.5, and y alike",
    }
