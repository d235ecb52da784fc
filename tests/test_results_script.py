"""tools/results.py from its command line to its files, on rendered faces with weights that ship."""

import argparse
import json
import shlex
from pathlib import Path

import numpy as np
import pytest

import evaluate
from datasets.ibug_300w import write_pts
from datasets.images import write_image
from datasets.render.faces import RenderedFaces
from inference.quantized import NotQuantizable
from tools import results

NAMES = ("resnet18_slim", "resnet18_slim_rendered")
FILES = {"results.json", "results.md", "report.html", "ced_rendered_test.png"}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The results of two of the weights on two faces, which are not made harder: test_evaluate_script.py does that."""
    out, index = tmp_path_factory.mktemp("results"), results.shipped()
    taken = {**{name: index[name] for name in NAMES}, "a_detector": {"kind": "detector"}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results, "shipped", lambda: taken)
        text = ["--count", "2", "--stress-faces", "0", "--gpus", "none", "--keep", str(out / "kept"), "--seed", "3"]
        assert results.main([*text, "--out", str(out / "out")]) == 0
    return out


@pytest.fixture(scope="module")
def record(written):
    return json.loads((written / "out" / "results.json").read_text(encoding="utf-8"))


def test_all_that_ships_has_an_entry_with_what_made_it(written, record):
    assert {path.name for path in (written / "out").iterdir()} == FILES
    index = results.shipped()
    assert [entry["name"] for entry in record["evaluations"]] == list(NAMES)
    for entry in record["evaluations"]:
        about = index[entry["name"]]
        assert entry["weights_sha256"] == about["sha256"]
        assert (entry["data"], entry["trained_with_seed"], entry["run"]) == (about["data"], about["seed"], about["run"])
        assert entry["seed"] == 3
        errors = np.load(written / "kept" / entry["name"] / "rendered_test" / "errors.npy")
        assert entry["results"]["outer_eye"]["mean"] == pytest.approx(errors.mean())
        at = np.array(entry["ced"]["thresholds"])
        shares = [(errors <= threshold).mean() for threshold in at]
        np.testing.assert_allclose(entry["ced"]["fractions"], shares, atol=1e-6)
        assert entry["stress"] is None
        in_int8 = np.load(written / "kept" / entry["name"] / "rendered_test" / "int8" / "errors.npy")
        assert entry["int8"]["mean"] == pytest.approx((in_int8 - errors).mean())
        assert 0 < abs(entry["int8"]["mean"]) < 0.005
    (pair,) = record["pairs"]
    means = [entry["results"]["outer_eye"]["mean"] for entry in record["evaluations"]]
    assert (pair["first"], pair["second"]) == NAMES
    assert pair["mean"] == pytest.approx(means[1] - means[0])


def test_commands_are_those_of_evaluate_and_name_no_folder_of_the_machine(written, record):
    for entry in record["evaluations"]:
        script, *text = shlex.split(entry["command"])
        assert script == "evaluate.py"
        parsed = evaluate.parse(text)
        assert (parsed.dataset, parsed.count, parsed.stress, parsed.seed) == ("rendered", 2, False, 3)
    for name in ("results.json", "results.md", "report.html"):
        assert str(written) not in (written / "out" / name).read_text(encoding="utf-8")


def test_a_shape_model_that_ships_is_a_system_of_its_own():
    plain, fitted = results.systems_of("lgcn_64", results.shipped()["lgcn_64"])
    subset = results.Subset("300w", "helen_test", Path("photos"), "ibug_68")
    assert plain == results.System("lgcn_64", "lgcn_64", "lgcn_64", ())
    text = results.evaluate_text(fitted, subset, argparse.Namespace(seed=0, count=5))
    parsed = evaluate.parse(text)
    assert (parsed.model, parsed.weights, parsed.shape_model) == ("lgcn_64", None, "weights/lgcn_64.shape.npz")
    assert text[-1] == "results/lgcn_64_shape_model/300w_helen_test"
    assert len(results.systems_of("resnet18_slim", results.shipped()["resnet18_slim"])) == 1


@pytest.mark.parametrize("kind", [NotQuantizable, ValueError])
def test_a_network_without_an_int8_form_is_said_to_have_none(tmp_path, monkeypatch, kind):
    def refuse(text):
        raise kind("no int8 form")

    monkeypatch.setattr(evaluate, "main", refuse)
    subset, setting = (
        results.Subset("rendered", "test", None, "ibug_68"),
        argparse.Namespace(batch_size=8, gpus=None, count=1, seed=0),
    )
    found = results.run_int8(results.System("a", "a", "a", ()), subset, setting, tmp_path, np.zeros(1))
    assert found == {"missing": "no int8 form"}


def test_what_has_no_weights_has_an_empty_row(record):
    lacking = {entry["name"] for entry in record["untrained"]}
    assert {"lgcn_64", "hourglass_resnet50", "region_direct", "deeppose_resnet18", "ffld_resnet50"} <= lacking
    assert "resnet18_slim" not in lacking
    text = json.dumps(record["untrained"])
    assert "NaN" not in text


def test_everything_is_made_again_from_the_record(written, record):
    for name, file in results.output_files(record).items():
        if not name.endswith(".png"):  # a picture's bytes are its library's affair
            assert (written / "out" / name).read_bytes() == file, name


def test_a_record_is_drawn_again_without_measuring(written, tmp_path, monkeypatch):
    monkeypatch.setattr(results, "measure", None)
    assert results.main(["--record", str(written / "out" / "results.json"), "--out", str(tmp_path / "again")]) == 0
    for name in FILES:
        assert (tmp_path / "again" / name).read_bytes() == (written / "out" / name).read_bytes(), name


def test_what_is_no_record_is_refused(tmp_path):
    (tmp_path / "other.json").write_text("{}")
    for name, message in (("none.json", "there is no such file"), ("other.json", "this is no results.json")):
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            results.main(["--record", str(tmp_path / name), "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_the_page_of_the_committed_record_is_that_of_its_figures():
    folder = results.SHIPPED_FOLDER.parent / "docs" / "results"
    assert results.output_files(results.recorded(folder / "results.json"))["results.md"].decode() == (
        folder / "results.md"
    ).read_text(encoding="utf-8")


def test_the_papers_figures_stand_beside_a_network_without_weights():
    subset = results.Subset("300w", "helen_test", None, "ibug_68")
    (entry,) = results.untrained(subset, ["lgcn_64"])
    rows = {row["quantity"]: (row["ours"], row["paper"]) for row in entry["table"]}
    assert [paper for _, paper in rows.values()] == [3.04, 2.34, 2.86, 2.21]
    assert "median without outline, outer eye corners + shape model" in rows
    assert all(np.isnan(ours) for ours, _ in rows.values())


def test_subsets_that_are_there_are_found_and_none_twice(tmp_path, capsys):
    folder = tmp_path / "300w" / "helen" / "testset"
    folder.mkdir(parents=True)
    face = RenderedFaces(1, seed=5)[0]
    write_image(folder / "1.png", face.image)
    write_pts(folder / "1.pts", face.points_image)
    found = results.find_subsets(tmp_path, None)
    assert [(each.dataset, each.subset, each.markup) for each in found] == [("300w", "common", "ibug_68")]
    said = capsys.readouterr().err
    assert "left out: 300w helen_test: the same faces as common" in said
    assert "left out: 300w private" in said
    with pytest.raises(
        FileNotFoundError, match="holds no data set to measure on: name the folder that holds one of cofw"
    ):
        results.find_subsets(tmp_path, ["cofw"])


def test_command_line_of_a_part_of_a_data_set(tmp_path):
    arguments = results.parse(["--data", str(tmp_path), "--out", "x", "--stress-faces", "0"])
    subset = results.Subset("300w", "common", tmp_path / "300w", "ibug_68")
    system = results.System("ffld_resnet18_rendered", "ffld_resnet18_rendered", "ffld_resnet18", ())
    text = results.evaluate_text(system, subset, arguments)
    assert text == shlex.split(
        "--model ffld_resnet18 --weights weights/ffld_resnet18_rendered.params --dataset 300w --subset common "
        "--data DIR/300w --allow-missing --seed 0 --out results/ffld_resnet18_rendered/300w_common"
    )
    shipped = system._replace(weights="ffld_resnet18")
    further = results.evaluate_text(shipped, subset, arguments, ["--stress", "--stress-faces", "7"])
    assert "--stress --stress-faces 7 --seed" in shlex.join(further)
    assert "--weights" not in further


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (["--stress-faces", "-1"], "--stress-faces must be at least 0"),
        (["--datasets", "300w,lfw"], "--datasets lfw: choose from 300w"),
        (["--data", "no/such"], "no/such holds no data set"),
    ],
)
def test_bad_arguments(tmp_path, text, message):
    with pytest.raises((ValueError, OSError), match=message) as error:
        results.main([*text, "--out", str(tmp_path / "out")])
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()
