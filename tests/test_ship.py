"""tools/ship.py: what enters weights/ and docs/, and what is refused."""

import json
import shlex

import mxnet as mx
import numpy as np
import pytest

from gluon_models import file_sha256
from tools import ship

COMMAND = "{run}/train_x.py --model m --init {init} --data {run}/photos --gpus none --out {run}"


def make_run(folder, init, finished=True):
    folder.mkdir(parents=True)
    (folder / "best.params").write_bytes(str(folder).encode())
    (folder / "best.json").write_text(
        json.dumps({"model": "resnet18_slim", "overrides": {}, "spec": _SPEC, "markup": "ibug_68"})
    )
    (folder / "log.jsonl").write_text('{"epoch": 1}\n')
    (folder / "curve.png").write_bytes(b"png")
    record = {
        "command": COMMAND.format(run=folder, init=init),
        "arguments": {
            "model": "resnet18_slim",
            "init": init,
            "out": str(folder),
            "resume": None,
            "data": f"{folder}/photos",
            "more": [f"pts={folder}/frames", "rendered"],
            "imagenet": f"{folder}/resnet.params",
            "backbone": "v1",
            "seed": 7,
        },
    }
    record.update({"result": {"best_nme": 0.03}} if finished else {})
    (folder / "run.json").write_text(json.dumps(record))
    return folder


_SPEC = ship.read_info(ship.ROOT / "weights" / "resnet18_slim.params").spec.as_dict()


def make_results(folder, sha256):
    folder.mkdir()
    results = {"outer_eye": {"mean": 0.0312}}
    command = f"evaluate.py --model m --weights {folder}/run/best.params --data {folder}/photos --out {folder}"
    skipped = {"helen/testset/1": "damaged"}
    values = {"command": command, "weights_sha256": sha256, "skipped": skipped, "missing": ["a"], "results": results}
    values["names"] = ["helen/testset/1"]
    (folder / "metrics.json").write_text(json.dumps(values))
    return folder


@pytest.fixture
def root(tmp_path):
    (tmp_path / "root" / "weights").mkdir(parents=True)
    index = {"m_base": {"commands": ["train_x.py --model base"]}}
    (tmp_path / "root" / "weights" / "index.json").write_text(json.dumps(index))
    return tmp_path / "root"


def ship_argv(run, results, root):
    trained_on = ["--trained-on", "12 photos", "--trained-on-short", "photos"]
    return [str(run), "--name", "m", "--results", str(results), *trained_on, "--root", str(root)]


def test_everything_goes_to_its_place_and_no_path_or_name_with_it(tmp_path, root, capsys):
    first = make_run(tmp_path / "work" / "first", f"{root}/weights/m_base.params")
    second = make_run(tmp_path / "work" / "second", f"{first}/best.params")
    results = make_results(tmp_path / "eval", file_sha256(second / "best.params"))
    (root / "README.md").write_text("<!-- table: record m -->\n<!-- end of table -->\n")
    ship.main(ship_argv(second, results, root))
    entry = json.loads((root / "weights" / "index.json").read_text())["m"]
    assert entry["commands"] == [
        "train_x.py --model base",
        "train_x.py --model m --init weights/m_base.params --data DIR --gpus none --out runs/first",
        "train_x.py --model m --init runs/first/best.params --data DIR --gpus none --out runs/second",
    ]
    assert (entry["sha256"], entry["seed"], entry["validation_nme"]) == (file_sha256(second / "best.params"), 7, 0.03)
    assert (entry["data"], entry["short"]) == ("12 photos", "photos")
    assert (entry["paper"], entry["code"], entry["ledger"]) == ("FFLD", "gluon_models/ffld/network.py", "docs/ffld.md")
    assert file_sha256(root / "weights" / "m.params") == entry["sha256"]
    assert (root / entry["run"] / "log.jsonl").read_text() == '{"epoch": 1}\n'
    texts = [path.read_text() for path in root.rglob("*.json")]
    assert len(texts) == 4
    assert not any(str(tmp_path) in text or "helen/testset/1" in text for text in texts)
    arguments = json.loads((root / entry["run"] / "run.json").read_text())["arguments"]
    assert (arguments["out"], arguments["data"], arguments["resume"]) == ("runs/second", "DIR", None)
    assert (arguments["more"], arguments["imagenet"]) == (["pts=DIR", "rendered"], "resnet.params")
    assert arguments["backbone"] == "v1"
    assert f"Seed 7, validation NME 3.00 %, SHA-256 `{entry['sha256'][:16]}...`" in (root / "README.md").read_text()
    assert capsys.readouterr().out == "new tables in README.md\n"


@pytest.mark.parametrize(
    ("finished", "sha256", "message"), [(False, None, "is not finished"), (True, "other", "the evaluation is not of")]
)
def test_what_may_not_ship_leaves_everything_as_it_was(tmp_path, root, finished, sha256, message):
    run = make_run(tmp_path / "work" / "run", f"{root}/weights/m_base.params", finished)
    results = make_results(tmp_path / "eval", sha256 or file_sha256(run / "best.params"))
    with pytest.raises(ValueError, match=message):
        ship.main(ship_argv(run, results, root))
    assert [path.name for path in root.rglob("*") if path.is_file()] == ["index.json"]


def test_a_file_that_is_too_large_is_refused(tmp_path, root, monkeypatch):
    monkeypatch.setattr(ship, "LARGEST", 3)
    run = make_run(tmp_path / "work" / "run", f"{root}/weights/m_base.params")
    results = make_results(tmp_path / "eval", file_sha256(run / "best.params"))
    with pytest.raises(ValueError, match="cannot ship"):
        ship.main(ship_argv(run, results, root))


def test_every_option_with_a_path_loses_it():
    command = (
        "/a/train_x.py --init /b/weights/m.params --baseline /b/weights/n.params --more pts=/c/d --more rendered "
        "--backbone-weights /e/resnet.params --background /f/g --exclude /h/list.txt --out /i/run"
    )
    assert ship.public_command(command) == (
        "train_x.py --init weights/m.params --baseline weights/n.params --more pts=DIR --more rendered "
        "--backbone-weights resnet.params --background DIR --exclude list.txt --out runs/run"
    )


def test_a_backbones_version_is_no_path():
    assert ship.public_command("train_x.py --backbone v2") == "train_x.py --backbone v2"
    assert ship.public_command("train_x.py --backbone /b/a.params") == "train_x.py --backbone runs/b/a.params"


def test_both_networks_that_weights_came_from_are_named(tmp_path):
    run = make_run(tmp_path / "run", "weights/whole.params")
    record = json.loads((run / "run.json").read_text())
    record["arguments"]["baseline"] = "weights/part.params"
    (run / "run.json").write_text(json.dumps(record))
    index = {"whole": {"commands": ["rendered", "refined"]}, "part": {"commands": ["rendered", "photos"]}}
    assert ship.commands_of(run, index)[:-1] == ["rendered", "refined", "photos"]


def test_the_float16_copy_ships_where_it_was_evaluated_and_the_shape_model_with_it(tmp_path, root):
    run = make_run(tmp_path / "work" / "run", "")
    weights = {"a.weight": mx.nd.array([[1.0, 1 / 3]]), "a.running_var": mx.nd.array([1e6])}
    mx.nd.save(str(run / "best.params"), weights)
    (run / "shape.npz").write_bytes(b"shape")
    assert ship.main([str(run), "--halve"]) == 0
    copy = mx.nd.load(str(run / "best_float16.params"))
    assert copy["a.weight"].dtype == np.float16
    assert copy["a.running_var"].asscalar() == 1e6
    results = make_results(tmp_path / "eval", file_sha256(run / "best_float16.params"))
    ship.main(ship_argv(run, results, root))
    entry = json.loads((root / "weights" / "index.json").read_text())["m"]
    assert (root / "weights" / "m.params").read_bytes() == (run / "best_float16.params").read_bytes()
    assert entry["shape_model"]["sha256"] == file_sha256(root / "weights" / "m.shape.npz")


def test_what_the_runs_own_shape_model_makes_of_the_maps_ships_too(tmp_path, root):
    run = make_run(tmp_path / "work" / "run", "")
    (run / "shape.npz").write_bytes(b"shape")
    sha256 = file_sha256(run / "best.params")
    plain, fitted = make_results(tmp_path / "plain", sha256), make_results(tmp_path / "fitted", sha256)
    values = json.loads((fitted / "metrics.json").read_text())
    values["command"] += f" --shape-model {run}/shape.npz"
    (fitted / "metrics.json").write_text(json.dumps({**values, "shape_model_sha256": "of another"}))
    twice = [*ship_argv(run, plain, root), "--results", str(fitted)]
    with pytest.raises(ValueError, match="one by the run's own shape model"):
        ship.main(twice)
    values["shape_model_sha256"] = file_sha256(run / "shape.npz")
    (fitted / "metrics.json").write_text(json.dumps(values))
    assert ship.main(twice) == 0
    kept = json.loads((root / "docs" / "results" / "m_shape_model.json").read_text())
    assert kept["command"].endswith("--shape-model runs/run/shape.npz")
    assert "names" not in kept
    assert "--shape-model" not in json.loads((root / "docs" / "results" / "m.json").read_text())["command"]


# --- face detectors


def make_detector_run(folder):
    """A finished run whose best epoch found 87.5 %, and its float16 copy."""
    make_run(folder, "")
    mx.nd.save(str(folder / "best.params"), {"a.weight": mx.nd.array([[1.0, 1 / 3]])})
    (folder / "best.json").write_text('{"detector": "faster_rcnn_fpn"}\n')
    record = json.loads((folder / "run.json").read_text())
    record["command"] = f"/x/train_detector.py --model faster_rcnn_fpn --data {folder}/photos --out {folder}"
    record["arguments"]["model"] = "faster_rcnn_fpn"
    record["result"] = {"best_nme": 0.125}
    (folder / "run.json").write_text(json.dumps(record))
    assert ship.main([str(folder), "--halve"]) == 0
    return folder


def make_detection(folder, weights, dataset, title):
    """What tools.evaluate_detector writes: 3 faces of any size, 2 from 24 px, none from 40; the network finds half."""

    def row(faces, share):
        return {"faces": faces, "average_precision": share, "recall": share, "precision": 1.0}

    folder.mkdir()
    text = f"--weights {weights} --dataset {dataset} --data {folder} --title {shlex.quote(title)} --out {folder}"
    sizes = {"all": row(3, 0.5), "from 24": row(2, 0.5), "from 40": row(0, None)}
    results = {"faster_rcnn": {"seconds_per_photo": 0.25, "sizes": sizes}}
    about = {"model": "faster_rcnn_fpn", "dataset": dataset, "title": title, "photos": 2, "results": results}
    sha256 = file_sha256(weights)
    values = {
        "command": f"python -m tools.evaluate_detector {text}",
        "weights": weights.name,
        "weights_sha256": sha256,
        **about,
    }
    (folder / "metrics.json").write_text(json.dumps(values))
    return folder


def detector_text(run, root, *results):
    options = [word for each in results for word in ("--results", str(each))]
    return [str(run), "--name", "finder", *options, "--trained-on", "photos", "--root", str(root)]


def test_a_detector_ships_with_its_evaluations_on_several_data_sets(tmp_path, root):
    run = make_detector_run(tmp_path / "work" / "finder_run")
    half = run / "best_float16.params"
    held_out = make_detection(tmp_path / "held_out", half, "face_boxes", "held-out fifth")
    afw = make_detection(tmp_path / "afw", half, "pts", "AFW's photos")
    (root / "docs").mkdir()
    page = root / "docs" / "page.md"
    page.write_text("<!-- table: detectors -->\n<!-- end of table -->\n")
    assert ship.main(detector_text(run, root, held_out, afw)) == 0
    entry = json.loads((root / "weights" / "index.json").read_text())["finder"]
    assert (entry["kind"], entry["model"], entry["seed"]) == ("detector", "faster_rcnn_fpn", 7)
    assert entry["validation_average_precision"] == 0.875
    assert "validation_nme" not in entry
    assert entry["commands"] == ["train_detector.py --model faster_rcnn_fpn --data DIR --out runs/finder_run"]
    assert entry["sha256"] == file_sha256(root / "weights" / "finder.params") == file_sha256(half)
    assert json.loads((root / "weights" / "finder.json").read_text()) == {"detector": "faster_rcnn_fpn"}
    assert (root / entry["run"] / "curve.png").read_bytes() == b"png"
    record = json.loads((root / entry["metrics"]).read_text())
    assert (record["model"], record["weights_sha256"]) == ("faster_rcnn_fpn", entry["sha256"])
    assert [each["title"] for each in record["evaluations"]] == ["held-out fifth", "AFW's photos"]
    assert record["evaluations"][0]["command"] == (
        "python -m tools.evaluate_detector --weights runs/finder_run/best_float16.params --dataset face_boxes "
        "--data DIR --title 'held-out fifth' --out runs/held_out"
    )
    assert not any(str(tmp_path) in path.read_text() for path in root.rglob("*.json"))
    assert "| held-out fifth, 2 | 3 / 2 / 0 | `faster_rcnn` | 50.0 / 50.0 / - |" in page.read_text()


def test_a_detector_whose_evaluations_are_of_two_files_is_refused(tmp_path, root):
    run = make_detector_run(tmp_path / "run")
    first = make_detection(tmp_path / "first", run / "best_float16.params", "face_boxes", "a")
    second = make_detection(tmp_path / "second", run / "best.params", "pts", "b")
    with pytest.raises(ValueError, match="not all of one file"):
        ship.main(detector_text(run, root, first, second))
    other = tmp_path / "other.params"
    other.write_bytes(b"other")
    third = make_detection(tmp_path / "third", other, "pts", "c")
    with pytest.raises(ValueError, match="the evaluation is not of"):
        ship.main(detector_text(run, root, first, third))
    assert [path.name for path in root.rglob("*") if path.is_file()] == ["index.json"]
