"""What export writes is run by other means than its own, and what it cannot vouch for it does not leave behind."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import cv2
import mxnet as mx
import numpy as np
import onnx
import onnxruntime
import pytest
from mxnet import autograd

import export
from datasets.images import write_image
from datasets.render.faces import RenderedFaces
from evaluation.metrics import nme
from gluon_models import InputSpec, describe, file_sha256, get_model, get_spec, load_weights, save_weights
from gluon_models.weights import read_info
from inference import quantized
from inference.detectors import get_detector
from inference.pipeline import PointPredictor, crop_dataset, crop_faces, locate, to_image
from inference.quantized import NotQuantizable, write_int8

ROOT = Path(__file__).resolve().parent.parent
NAME = "resnet18_slim"
SUFFIXES = ("-symbol.json", "-0000.params", ".onnx", ".json")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Random weights whose running statistics are those of a network that has seen something."""
    mx.random.seed(0)
    net = get_model(NAME, num_landmarks=68)
    net.initialize(mx.init.Xavier())
    for _ in range(3):
        with autograd.record():
            points = net(mx.nd.random.uniform(-1, 1, (4, 3, 224, 224)))
        points.backward()
    mx.nd.waitall()
    assert max(np.abs(net.stem[1].running_mean.data().asnumpy())) > 0
    path = tmp_path_factory.mktemp("weights") / "face.params"
    save_weights(net, path, describe(NAME, "ibug_68", num_landmarks=68))
    return path


def run_export(weights, prefix, *options):
    text = ["--model", NAME, "--weights", str(weights), "--out", str(prefix), "--gpus", "none", *options]
    assert export.main(text) == 0
    return prefix


@pytest.fixture(scope="module", params=[True, False], ids=["raw", "normalized"])
def exported(request, weights, tmp_path_factory):
    """(prefix, raw): all files with the normalization inside the graph and outside."""
    prefix = tmp_path_factory.mktemp("exported") / "slim"
    return run_export(weights, prefix, "--onnx", *["--raw-input"] * request.param), request.param


@pytest.fixture(scope="module")
def crops():
    """Faces that export did not compare on."""
    return crop_dataset(RenderedFaces(7, seed=99), get_spec(NAME)).crops


@pytest.fixture(scope="module")
def fractions(weights, crops):
    """What the network says of the crops."""
    net, info = load_weights(weights)
    return (PointPredictor(net, info.spec)(crops) + 0.5) / info.spec.size


def feed(crops, raw):
    return crops if raw else (crops.transpose(0, 3, 1, 2).astype(np.float32) - 127.5) / np.float32(127.5)


def files_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_all_files_and_nothing_else(exported):
    prefix, _ = exported
    assert files_in(prefix.parent) == sorted(prefix.name + suffix for suffix in SUFFIXES)
    assert json.loads(Path(f"{prefix}.json").read_text())["files"] == [prefix.name + suffix for suffix in SUFFIXES[:3]]


@pytest.mark.parametrize("count", [1, 7])
def test_the_symbol_runs_in_a_bare_executor(exported, crops, fractions, count):
    prefix, raw = exported
    data = feed(crops[:count], raw)
    symbol = mx.sym.load(f"{prefix}-symbol.json")
    stored = mx.nd.load(f"{prefix}-0000.params")
    arguments = {name[4:]: value for name, value in stored.items() if name.startswith("arg:")}
    auxiliary = {name[4:]: value for name, value in stored.items() if name.startswith("aux:")}
    assert set(symbol.list_arguments()) - set(arguments) == {"data"}
    assert set(symbol.list_auxiliary_states()) == set(auxiliary)
    executor = symbol.bind(mx.cpu(), {**arguments, "data": mx.nd.array(data, dtype=data.dtype)}, aux_states=auxiliary)
    (found,) = executor.forward(is_train=False)
    np.testing.assert_allclose(found.asnumpy(), fractions[:count], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("count", [1, 7])
def test_the_onnx_file_takes_any_number_of_faces(exported, crops, fractions, count):
    prefix, raw = exported
    session = onnxruntime.InferenceSession(f"{prefix}.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"data": feed(crops[:count], raw)})
    np.testing.assert_allclose(found, fractions[:count], rtol=1e-3, atol=1e-5)


def test_the_onnx_file_is_valid_and_names_its_ends(exported):
    prefix, raw = exported
    model = onnx.load(f"{prefix}.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert [each.version for each in model.opset_import] == [13]
    assert [each.name for each in model.graph.input] == ["data"]
    assert [each.name for each in model.graph.output] == ["points"]
    session = onnxruntime.InferenceSession(f"{prefix}.onnx", providers=["CPUExecutionProvider"])
    (data,), (points,) = session.get_inputs(), session.get_outputs()
    assert data.type == ("tensor(uint8)" if raw else "tensor(float)")
    assert data.shape == (["batch", 224, 224, 3] if raw else ["batch", 3, 224, 224])
    assert points.shape == ["batch", 68, 2]


def test_the_json_describes_the_graph(exported, weights):
    prefix, raw = exported
    values = json.loads(Path(f"{prefix}.json").read_text())
    info = read_info(weights)
    assert {key: values[key] for key in info.as_dict()} == info.as_dict()
    assert InputSpec.from_dict(values["spec"]) == get_spec(NAME)
    assert values["normalization_in_graph"] is raw
    assert (values["input"]["name"], values["output"]["name"]) == ("data", "points")
    assert values["input"]["shape"] == (["N", 224, 224, 3] if raw else ["N", 3, 224, 224])
    assert values["input"]["type"] == ("uint8" if raw else "float32")
    assert values["output"]["shape"] == ["N", 68, 2]
    assert values["weights"] == {"file": "face.params", "sha256": file_sha256(weights)}
    assert set(values["largest_difference_pixels"]) == {"mxnet", "onnx"}
    assert max(values["largest_difference_pixels"].values()) < 0.01


def test_the_instructions_lead_to_points_of_the_photo(exported, weights):
    """The formulas of the JSON are evaluated as they stand there, and no code of the project is used."""
    prefix, raw = exported
    values = json.loads(Path(f"{prefix}.json").read_text())
    face = RenderedFaces(1, seed=7, size=400)[0]
    x0, y0, x1, y1 = face.box
    formula_of_side = values["use"]["crop"].split("side = ")[1].split(";")[0]
    side = eval(formula_of_side, {"max": max}, {"x0": x0, "y0": y0, "x1": x1, "y1": y1})
    assert side == pytest.approx(1.25 * max(x1 - x0, y1 - y0))

    def to_image(coordinate_crop, low, high):
        formula = values["use"]["crop_to_image"].split("x_image = ")[1].split(",")[0]
        return eval(formula, {}, {"x0": low, "x1": high, "side": side, "x_crop": coordinate_crop})

    cells = np.arange(224)
    columns, rows = np.meshgrid(to_image(cells, x0, x1), to_image(cells, y0, y1))
    crop = cv2.remap(face.image, columns.astype(np.float32), rows.astype(np.float32), cv2.INTER_LINEAR)
    session = onnxruntime.InferenceSession(f"{prefix}.onnx", providers=["CPUExecutionProvider"])
    fraction = session.run(None, {"data": feed(crop[None], raw)})[0][0]
    points_crop = eval(values["use"]["fraction_to_crop"].split("x_crop = ")[1], {}, {"fraction": fraction})
    found = np.stack([to_image(points_crop[:, 0], x0, x1), to_image(points_crop[:, 1], y0, y1)], axis=1)

    net, info = load_weights(weights)
    expected = locate(PointPredictor(net, info.spec), face.image, [face.box])[0]
    assert np.abs(found - expected).max() < 0.2


@pytest.mark.parametrize("options", [[], ["--raw-input"]])
def test_the_fused_symbol_takes_the_same_parameters(weights, tmp_path, crops, fractions, options):
    prefix = run_export(weights, tmp_path / "slim", "--fused", *options)
    assert files_in(tmp_path) == ["slim-0000.params", "slim-fused-symbol.json", "slim-symbol.json", "slim.json"]
    values = json.loads(Path(f"{prefix}.json").read_text())
    assert "slim-fused-symbol.json" in values["files"]
    assert values["largest_difference_pixels"]["fused"] < 2e-4
    written = Path(f"{prefix}-fused-symbol.json").read_text()
    assert "_sg_mkldnn_conv" in written
    block = mx.gluon.SymbolBlock.imports(f"{prefix}-fused-symbol.json", ["data"], f"{prefix}-0000.params")
    data = feed(crops, bool(options))
    found = block(mx.nd.array(data, dtype=data.dtype)).asnumpy()
    np.testing.assert_allclose(found, fractions, atol=2e-6)


def test_an_export_removes_the_files_of_the_earlier_one_that_it_lacks(weights, tmp_path):
    run_export(weights, tmp_path / "slim", "--onnx", "--fused")
    (tmp_path / "own.onnx").write_text("not of the export, whatever its JSON says")
    values = json.loads((tmp_path / "slim.json").read_text())
    (tmp_path / "slim.json").write_text(json.dumps({**values, "files": [*values["files"], "own.onnx"]}))
    run_export(weights, tmp_path / "slim")
    assert files_in(tmp_path) == ["own.onnx", "slim-0000.params", "slim-symbol.json", "slim.json"]


@pytest.mark.parametrize("reader", ["read_mxnet", "read_onnx"])
def test_a_difference_leaves_what_was_there(weights, tmp_path, monkeypatch, reader):
    (tmp_path / "slim.onnx").write_text("an older export")
    read = getattr(export, reader)

    def off_by_a_third_of_a_pixel_for_the_fifth_face(*arguments):
        run = read(*arguments)
        return lambda data: run(data) + (np.arange(len(data)) == 4)[:, None, None] / 3 / 224

    monkeypatch.setattr(export, reader, off_by_a_third_of_a_pixel_for_the_fifth_face)
    with pytest.raises(ValueError, match="differs from the network by 0.333 pixels at batch 5") as caught:
        run_export(weights, tmp_path / "slim", *["--onnx"] * (reader == "read_onnx"))
    assert str(tmp_path / "slim") in str(caught.value)
    assert files_in(tmp_path) == ["slim.onnx"]
    assert (tmp_path / "slim.onnx").read_text() == "an older export"


def test_weights_that_are_no_numbers_are_not_exported(weights, tmp_path):
    net, info = load_weights(weights)
    net.points.bias.set_data(np.nan * mx.nd.ones(136))
    save_weights(net, tmp_path / "broken.params", info)
    with pytest.raises(ValueError, match="numbers in the weights finite"):
        run_export(tmp_path / "broken.params", tmp_path / "slim")
    assert files_in(tmp_path) == ["broken.json", "broken.params"]


def test_the_json_of_the_weights_is_not_replaced(weights):
    before = weights.with_suffix(".json").read_bytes()
    with pytest.raises(ValueError, match="would replace the JSON of"):
        run_export(weights, weights.with_suffix(""))
    assert weights.with_suffix(".json").read_bytes() == before


@pytest.mark.parametrize("out", ["{}/", "{}/.."])
def test_a_folder_is_no_prefix(weights, tmp_path, out):
    with pytest.raises(ValueError, match="names a folder"):
        run_export(weights, out.format(tmp_path))


@pytest.mark.parametrize("exported", [True], ids=["raw"], indirect=True)
def test_a_full_disk_is_one_line_and_exit_code_2(weights, exported, tmp_path):
    """No file may grow beyond a limit that the parameters exceed by their last bytes alone."""
    limit = Path(f"{exported[0]}-0000.params").stat().st_size - 3_000
    finished = subprocess.run(
        [sys.executable, "export.py", "--model", NAME, "--weights", weights, "--out", tmp_path / "slim", "--raw-input"],
        cwd=ROOT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert finished.returncode == 2
    (line,) = finished.stderr.splitlines()
    assert line.startswith(f"error: cannot write {tmp_path / 'slim'}")
    assert files_in(tmp_path) == []


# A fraction of the distance between the eyes. A face's error grows by 0.0014 with a deviation of 0.0024, with 8-bit
# dot products and without, so the mean of 16 faces stays below 0.0032 in all but a thousandth of the cases.
MOST_INT8_COSTS = 0.005


@pytest.fixture(scope="module")
def int8(tmp_path_factory):
    """Prefix of trained weights written as float32 and int8, calibrated on 16 rendered faces."""
    prefix = tmp_path_factory.mktemp("int8") / "slim"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantized, "CALIBRATION_FACES", 16)
        patch.setattr(export, "INT8_FACES", 16)
        run_export(ROOT / "weights" / "resnet18_slim_rendered.params", prefix, "--int8", "--raw-input")
    return prefix


def run_symbol(prefix, data, output=None):
    """The answer, or that of a layer inside, in a bare executor."""
    symbol = mx.sym.load(f"{prefix}-symbol.json")
    symbol = symbol.get_internals()[output] if output else symbol
    stored = {name[4:]: value for name, value in mx.nd.load(f"{prefix}-0000.params").items()}
    arguments = {name: stored[name] for name in symbol.list_arguments() if name != "data"}
    auxiliary = {name: stored[name] for name in symbol.list_auxiliary_states()}
    executor = symbol.bind(mx.cpu(), {**arguments, "data": mx.nd.array(data, dtype="uint8")}, aux_states=auxiliary)
    return executor.forward(is_train=False)[0]


def test_every_convolution_of_the_int8_graph_is_in_eight_bits(int8, crops):
    suffixes = ("-0000.params", "-int8-0000.params", "-int8-symbol.json", "-symbol.json", ".json")
    assert files_in(int8.parent) == sorted(int8.name + suffix for suffix in suffixes)
    nodes = json.loads(Path(f"{int8}-int8-symbol.json").read_text())["nodes"]
    convolutions = [node for node in nodes if "conv" in node["op"].lower() and "_contrib" not in node["op"]]
    assert len(convolutions) == 20
    assert all(node["attrs"]["quantized"] == "true" for node in convolutions)
    # What flows between them is in eight bits too: the first one's answer, and a later one's.
    for node in (convolutions[0], convolutions[9]):
        assert run_symbol(f"{int8}-int8", crops[:1], f"{node['name']}_output").dtype in (np.int8, np.uint8)


def test_int8_costs_little_on_faces_it_was_not_calibrated_on(int8):
    faces = crop_dataset(RenderedFaces(16, seed=99), get_spec(NAME))
    errors = []
    for prefix in (f"{int8}", f"{int8}-int8"):
        points_crop = run_symbol(prefix, faces.crops).asnumpy().astype(np.float64) * 224 - 0.5
        errors.append(nme(to_image(points_crop, faces.matrices), faces.truth_image, "outer_eye").mean())
    assert errors[0] < 0.06
    assert errors[1] - errors[0] < MOST_INT8_COSTS
    values = json.loads(Path(f"{int8}.json").read_text())["int8"]
    assert values["calibration"] == "16 faces: rendered, seed 2"
    assert 0 < values["mean_shift_pixels"] < 3
    assert abs(values["nme_rendered_int8"] - values["nme_rendered_float32"]) < MOST_INT8_COSTS


def test_a_network_that_has_no_int8_form_is_one_line_and_leaves_nothing(weights, tmp_path, monkeypatch):
    def refuse(*arguments):
        raise NotQuantizable("MXNet has no int8 form of this network (reason)")

    monkeypatch.setattr(quantized, "CALIBRATION_FACES", 1)
    monkeypatch.setattr(export, "INT8_FACES", 1)
    monkeypatch.setattr(export, "write_int8", refuse)
    with pytest.raises(ValueError, match=r"is not written: MXNet has no int8 .* \(reason\); leave out --int8"):
        run_export(weights, tmp_path / "slim", "--int8")
    assert files_in(tmp_path) == []


def test_without_a_convolution_there_is_no_int8_form(tmp_path):
    net = mx.gluon.nn.HybridSequential()
    net.add(mx.gluon.nn.Dense(4))
    net.initialize()
    net.hybridize()
    net(mx.nd.ones((2, 3)))
    net.export(str(tmp_path / "dense"))
    written = tmp_path / "dense-symbol.json", tmp_path / "dense-0000.params"
    with pytest.raises(NotQuantizable, match="leaves every convolution of this network in float32"):
        write_int8(*written, tmp_path / "int8", np.ones((2, 3), np.float32))


def test_calibration_photos(tmp_path):
    write_image(tmp_path / "empty.jpg", np.full((120, 120, 3), 127, np.uint8))
    with pytest.raises(ValueError, match="no face in 1 photos there"):
        export.crops_of_photos(str(tmp_path), get_spec(NAME))
    face = RenderedFaces(1, seed=0, size=490)[0]
    (tmp_path / "below").mkdir()
    write_image(tmp_path / "below" / "face.png", face.image)
    found = export.crops_of_photos(str(tmp_path), get_spec(NAME))
    assert found.shape == (1, 224, 224, 3)
    (detection,) = get_detector("haar")(face.image)
    np.testing.assert_array_equal(found, crop_faces(face.image, [detection.box], get_spec(NAME))[0])
    # That box is the face's, give or take a quarter of its width.
    assert np.abs(detection.box - face.box).max() < 0.25 * (face.box[2] - face.box[0])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--calibration", "faces"], "--calibration needs --int8"),
        (["--int8", "--calibration", "faces"], "no such folder"),
    ],
)
def test_calibration_that_cannot_be(weights, tmp_path, monkeypatch, options, text):
    monkeypatch.setattr(quantized, "CALIBRATION_FACES", 1)
    monkeypatch.setattr(export, "INT8_FACES", 1)
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=text):
        run_export(weights, tmp_path / "slim", *options)
