"""tools/results.py from its command line to its files, on rendered faces with weights that ship."""

import json
import shlex
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest

import evaluate
from datasets.ibug_300w import write_pts
from datasets.images import write_image
from datasets.render.faces import RenderedFaces
from inference import evaluation, quantized
from inference.quantized import NotQuantizable
from report.results_page import summary_row
from tools import results

NAMES = ("resnet18_slim", "resnet18_slim_rendered")
FILES = {"results.json", "report.html", "ced_rendered_test.png"}
OPTIONS = results.Options(mx.cpu(), 8, 0, 2, 3)
RENDERED = results.Subset("rendered", "test", None, "ibug_68")


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """The results of two of the weights on two faces, which are not made harder: test_evaluate_script.py does that."""
    out, index = tmp_path_factory.mktemp("results") / "out", results.shipped()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results, "shipped", lambda: {name: index[name] for name in NAMES})
        patch.setattr(quantized, "CALIBRATION_FACES", 8)
        text = "--count 2 --stress-faces 0 --gpus none --seed 3 --out"
        assert results.main([*text.split(), str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def record(out):
    return json.loads((out / "results.json").read_text(encoding="utf-8"))


def errors_by_hand(name, faces, int8=False):
    weights = results.SHIPPED_FOLDER / f"{name}.params"
    predictor, _ = evaluation.load_predictor(weights, "resnet18_slim", mx.cpu(), int8=int8, seed=3)
    boxes = evaluation.box_source("truth")
    return evaluation.evaluate(predictor, faces, boxes, model="resnet18_slim").errors("outer_eye")


def test_all_that_ships_has_an_entry_with_what_made_it(out, record, monkeypatch):
    monkeypatch.setattr(quantized, "CALIBRATION_FACES", 8)
    assert {path.name for path in out.iterdir()} == FILES
    index, faces = results.shipped(), evaluation.load_faces("rendered", "test", count=2, seed=3)
    assert [entry["name"] for entry in record["evaluations"]] == list(NAMES)
    means = []
    for entry in record["evaluations"]:
        about = index[entry["name"]]
        assert entry["weights_sha256"] == about["sha256"]
        assert (entry["data"], entry["trained_with_seed"], entry["run"]) == (about["data"], about["seed"], about["run"])
        errors = errors_by_hand(entry["name"], faces)
        means.append(errors.mean())
        assert entry["results"]["outer_eye"]["mean"] == pytest.approx(errors.mean())
        shares = [(errors <= threshold).mean() for threshold in entry["ced"]["thresholds"]]
        np.testing.assert_allclose(entry["ced"]["fractions"], shares, atol=1e-6)
        assert entry["stress"] is None
        script, *argv = shlex.split(entry["command"])
        parsed = evaluate.parse(argv)
        assert (script, parsed.dataset, parsed.count, parsed.seed) == ("evaluate.py", "rendered", 2, 3)
    # How exact eight bits are depends on the processor; that the published cost is the int8 twin's does not.
    in_int8 = errors_by_hand(NAMES[1], faces, int8=True)
    assert entry["int8"]["mean"] == pytest.approx((in_int8 - errors).mean())
    assert entry["int8"]["mean"] != 0
    (pair,) = record["pairs"]
    assert (pair["first"], pair["second"]) == NAMES
    assert pair["mean"] == pytest.approx(means[1] - means[0])


def test_a_record_is_drawn_again_without_measuring(out, tmp_path, monkeypatch):
    monkeypatch.setattr(results, "measure", None)
    assert results.main(["--record", str(out / "results.json"), "--out", str(tmp_path / "again")]) == 0
    for name in FILES:
        assert (tmp_path / "again" / name).read_bytes() == (out / name).read_bytes(), name


def test_the_committed_record_is_drawn():
    record = results.recorded(results.ROOT / "docs" / "results" / "results.json")
    assert all(float(summary_row(entry, record["cost"])[1]) > 0 for entry in record["evaluations"])
    # Drawn of two networks, as a dozen of them take ten seconds.
    files = results.output_files({**record, "evaluations": record["evaluations"][:2]})
    assert set(files) == {"results.json", "report.html", "ced_300w_common.png", "stress_300w_common.png"}


def test_commands_of_a_shape_model_and_of_a_part_of_a_data_set():
    plain, fitted = results.systems_of("lgcn_64", results.shipped()["lgcn_64"])
    subset = results.Subset("300w", "helen_test", Path("photos"), "ibug_68")
    assert plain == results.System("lgcn_64", "lgcn_64", "lgcn_64", "")
    parsed = evaluate.parse(shlex.split(results.command_of(fitted, subset, OPTIONS, ["--int8"]))[1:])
    assert (parsed.model, parsed.weights, parsed.shape_model) == ("lgcn_64", None, "weights/lgcn_64.shape.npz")
    assert (parsed.data, parsed.subset, parsed.allow_missing, parsed.int8) == ("DIR/300w", "helen_test", True, True)
    other = results.System("ffld_resnet18_rendered", "ffld_resnet18_rendered", "ffld_resnet18", "")
    parsed = evaluate.parse(shlex.split(results.command_of(other, RENDERED, OPTIONS))[1:])
    assert (parsed.weights, parsed.data) == ("weights/ffld_resnet18_rendered.params", None)


@pytest.mark.parametrize("kind", [NotQuantizable, ValueError])
def test_a_network_without_an_int8_form_is_said_to_have_none(monkeypatch, kind):
    def refuse(*args, **kwargs):
        raise kind("no int8 form")

    monkeypatch.setattr(results, "load_predictor", refuse)
    faces = evaluation.load_faces("rendered", "test", count=1)
    found = results.int8_cost(results.System("a", "a", "a", ""), RENDERED, faces, OPTIONS, np.zeros(1))
    assert found == {"missing": "no int8 form"}


def test_subsets_that_are_there_are_found_and_none_twice(tmp_path, capsys):
    folder = tmp_path / "300w" / "helen" / "testset"
    folder.mkdir(parents=True)
    face = RenderedFaces(1, seed=5)[0]
    write_image(folder / "1.png", face.image)
    write_pts(folder / "1.pts", face.points_image)
    found = results.find_subsets(tmp_path)
    assert [(each.dataset, each.subset, each.markup) for each in found] == [("300w", "common", "ibug_68")]
    said = capsys.readouterr().err
    assert "left out: 300w helen_test: the same faces as common" in said
    assert "left out: 300w private" in said
    with pytest.raises(FileNotFoundError, match="holds no data set to measure on: .* holds one of cofw"):
        results.find_subsets(tmp_path, {"cofw"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (["--stress-faces", "-1"], "--stress-faces: .* from 0"),
        (["--datasets", "300w,lfw"], "--datasets 300w,lfw: choose from 300w"),
        (["--record", "none.json"], "there is no such file"),
        (["--record", "pyproject.toml"], "not JSON .*name a results.json"),
    ],
)
def test_bad_arguments(tmp_path, text, message):
    with pytest.raises((ValueError, OSError), match=message) as error:
        results.main([*text, "--out", str(tmp_path / "out")])
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()
