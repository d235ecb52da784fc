"""Weights files: what is written comes back, what is damaged says so in one line, and nothing is ever half there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest

from gluon_models import describe, file_sha256, get_model, get_spec, load_weights, save_weights, shipped_weights

ROOT = Path(__file__).resolve().parent.parent
NAME = "resnet18_slim"
INFO = describe(NAME, "aflw_19", num_landmarks=19)


def new_net(seed):
    mx.random.seed(seed)
    net = get_model(NAME, num_landmarks=19)
    net.initialize(mx.init.Xavier())
    net(mx.nd.zeros((1, 3, 224, 224)))
    return net


@pytest.fixture(scope="module")
def net():
    return new_net(0)


@pytest.fixture
def saved(net, tmp_path):
    path = tmp_path / "face.params"
    save_weights(net, path, INFO)
    return path


def numbers(net):
    return [parameter.data().asnumpy() for parameter in net.collect_params().values()]


def assert_one_line(error, *text):
    assert "\n" not in str(error)
    for word in text:
        assert word in str(error)


def test_what_is_saved_comes_back(net, saved):
    loaded, info = load_weights(saved)
    assert info == INFO
    assert info.spec == get_spec(NAME)
    for here, there in zip(numbers(loaded), numbers(net)):
        np.testing.assert_array_equal(here, there)
    assert sorted(path.name for path in saved.parent.iterdir()) == ["face.json", "face.params"]


def test_the_json_says_what_belongs_to_the_weights(saved):
    values = json.loads(saved.with_suffix(".json").read_text())
    assert values == {
        "model": NAME,
        "overrides": {"num_landmarks": 19},
        "spec": get_spec(NAME).as_dict(),
        "markup": "aflw_19",
    }


def test_half_precision_is_read_into_float32(net, tmp_path):
    path = tmp_path / "half.params"
    save_weights(net, path, INFO)
    mx.nd.save(str(path), {name: value.astype("float16") for name, value in mx.nd.load(str(path)).items()})
    loaded, _ = load_weights(path)
    for here, there in zip(numbers(loaded), numbers(net)):
        assert here.dtype == np.float32
        np.testing.assert_array_equal(here, there.astype(np.float16))


def test_weights_of_another_model_say_which(saved):
    with pytest.raises(ValueError, match="resnet18_slim, not of resnet50_slim") as caught:
        load_weights(saved, model="resnet50_slim")
    assert_one_line(caught.value, str(saved), "--model resnet18_slim")


@pytest.mark.parametrize("overrides", [{"num_landmarks": 68}, {}])
def test_a_json_of_another_shape_does_not_load(saved, overrides):
    rewrite(saved, overrides=overrides, markup="ibug_68")
    with pytest.raises(ValueError, match="cut short or belongs to another network") as caught:
        load_weights(saved)
    assert_one_line(caught.value, str(saved))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999999])
def test_a_file_cut_short(saved, share):
    data = saved.read_bytes()
    saved.write_bytes(data[: int(share * len(data))])
    with pytest.raises(ValueError, match="cut short") as caught:
        load_weights(saved)
    assert_one_line(caught.value, str(saved))


def test_a_file_that_is_no_weights(saved):
    saved.write_text("<html>404 Not Found</html>" * 100)
    with pytest.raises(ValueError, match="cut short or no parameters file") as caught:
        load_weights(saved)
    assert_one_line(caught.value, str(saved))


@pytest.mark.parametrize("name", ["face.json", "face.params"])
def test_a_missing_half(saved, name):
    (saved.parent / name).unlink()
    with pytest.raises(FileNotFoundError) as caught:
        load_weights(saved)
    assert_one_line(caught.value, str(saved.parent / name))


def rewrite(weights, **changes):
    path = weights.with_suffix(".json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("text", ["", "[]", '{"model": "resnet18_slim"}', b"\xff\xfe{}"])
def test_a_broken_json(saved, text):
    path = saved.with_suffix(".json")
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match="does not describe weights") as caught:
        load_weights(saved)
    assert_one_line(caught.value, str(path))


@pytest.mark.parametrize("changes", [{"model": "resnet19_slim"}, {"overrides": {"landmarks": 19}}, {"overrides": 19}])
def test_a_json_of_an_unknown_network(saved, changes):
    rewrite(saved, **changes)
    with pytest.raises(ValueError, match="describes no network of this project|does not describe weights") as caught:
        load_weights(saved)
    assert_one_line(caught.value, str(saved.with_suffix(".json")))


@pytest.fixture
def shipped(saved):
    index = {NAME: {"file": saved.name, "sha256": file_sha256(saved)}}
    (saved.parent / "index.json").write_text(json.dumps(index))
    return saved


def test_shipped_weights_are_found_by_name(shipped):
    assert shipped_weights(NAME, shipped.parent) == shipped


def test_shipped_weights_of_another_name_list_what_ships(shipped):
    with pytest.raises(ValueError, match="no weights ship for 'resnet50_slim'.*resnet18_slim.*--weights"):
        shipped_weights("resnet50_slim", shipped.parent)


@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_shipped_weights_that_are_not_those_of_the_index(shipped, damage):
    if damage == "changed":
        data = bytearray(shipped.read_bytes())
        data[len(data) // 2] ^= 1  # a single bit
        shipped.write_bytes(data)
    else:
        shipped.unlink()
    with pytest.raises(ValueError, match="not the file of weights/index.json") as caught:
        shipped_weights(NAME, shipped.parent)
    assert_one_line(caught.value, str(shipped))


def test_sha256_is_that_of_the_standard(tmp_path):
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    # FIPS 180-2, appendix B.1.
    assert file_sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_rename_that_fails_leaves_the_old_weights(net, saved, monkeypatch):
    before = saved.read_bytes()

    def no_rename(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", no_rename)
    with pytest.raises(OSError, match="No space left on device") as caught:
        save_weights(new_net(1), saved, INFO)
    assert_one_line(caught.value, str(saved.with_suffix(".json")))
    assert saved.read_bytes() == before
    assert sorted(path.name for path in saved.parent.iterdir()) == ["face.json", "face.params"]


def test_a_folder_that_is_not_there(net, tmp_path):
    with pytest.raises(OSError, match="cannot write .*nowhere"):
        save_weights(net, tmp_path / "nowhere" / "face.params", INFO)


NETWORK = """
import glob, os, random, resource, signal, sys, time
import mxnet as mx
from gluon_models import describe, get_model, load_weights, save_weights

path = sys.argv[1]
info = describe("resnet18_slim", "aflw_19", num_landmarks=19)
net = get_model("resnet18_slim", num_landmarks=19)
net.initialize()
net(mx.nd.zeros((1, 3, 224, 224)))
"""

FULL_DISK = """
net.points.bias.set_data(mx.nd.ones(38))
save_weights(net, path, info)
whole = os.path.getsize(path)
net.points.bias.set_data(2 * mx.nd.ones(38))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for room in (0, 100, 5000, whole // 2, whole - 5000, whole - 2000, whole - 1, whole):
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, -1))
    try:
        save_weights(net, path, info)
        outcome = "saved"
    except OSError as error:
        outcome = str(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
    kept = load_weights(path)[0].points.bias.data().asnumpy()[0]
    print(int(kept), len(os.listdir(os.path.dirname(path))), outcome)
"""


def run_python(program, *arguments):
    finished = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.splitlines()


def test_a_disk_that_is_full_leaves_the_old_weights(tmp_path):
    """No file may grow beyond a limit, as on a disk with so much room left, up to the very last byte."""
    *refused, last = run_python(NETWORK + FULL_DISK, tmp_path / "face.params")
    assert len(refused) == 7
    for line in refused:
        assert line.startswith("1 2 cannot write"), line
        assert str(tmp_path) in line
    assert last == "2 2 saved"


KILLED = """
save_weights(net, path, info)
for attempt in range(20):
    child = os.fork()
    if child == 0:
        while True:
            save_weights(net, path, info)
    time.sleep(random.uniform(0.02, 0.06))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    load_weights(path)
print(len(glob.glob(os.path.join(os.path.dirname(path), ".*.part", "*"))))
"""


def test_a_kill_at_any_moment_leaves_weights_that_load(tmp_path):
    (halfway,) = run_python(NETWORK + KILLED, tmp_path / "face.params")
    # Otherwise no kill came while a file was being written, and nothing was tested.
    assert int(halfway) > 0


MEMORY = """
import resource, sys
import mxnet as mx
from gluon_models import load_weights

net, info = load_weights(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
net(mx.nd.zeros((4, 1, info.spec.size, info.spec.size))).wait_to_read()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 / 4)
"""


def test_a_batch_of_full_size_maps_fits_into_a_laptop(tmp_path):
    """Measured in a process of its own, as others leave memory behind: 38 MB a face, not 330."""
    net = get_model("lgcn_64", num_landmarks=68)
    net.initialize()
    net(mx.nd.zeros((1, 1, 96, 96)))
    save_weights(net, tmp_path / "a.params", describe("lgcn_64", "ibug_68", num_landmarks=68))
    words = [sys.executable, "-c", MEMORY, str(tmp_path / "a.params")]
    assert float(subprocess.check_output(words, cwd=ROOT, text=True).split()[-1]) < 100


# What was accepted, or ended in a traceback, before the spec was checked.
IMPOSSIBLE = [
    {"size": -5},
    {"size": 0},
    {"size": "112"},
    {"size": True},
    {"size": 10**9},
    {"colour": "banana"},
    {"colour": "gray"},  # with three means
    {"mean": [0.0]},
    {"mean": [0.0, 0.0, "0"]},
    {"mean": 0.0},
    {"scale": None},
    {"scale": [0.0, 1.0, 1.0]},
    {"scale": [float("nan"), 1.0, 1.0]},
    {"box_margin": float("inf")},
    {"box_margin": -2},
    {"output": "boxes"},
    {"output": "heatmaps"},  # of a network that predicts points
    {"stride": 0},
    {"stride": 2},
    {"sigma": -1.0},
    {"banana": 1},
]


@pytest.mark.parametrize("changes", IMPOSSIBLE, ids=str)
def test_a_spec_that_no_network_has_is_refused(saved, changes):
    spec = json.loads(saved.with_suffix(".json").read_text())["spec"]
    rewrite(saved, spec={**spec, **changes})
    with pytest.raises(ValueError, match=f"'{next(iter(changes))}'|'mean'") as caught:
        load_weights(saved)
    assert_one_line(caught.value, str(saved.with_suffix(".json")))


@pytest.mark.parametrize("lacking", ["size", "colour", "mean", "scale", "box_margin", "output"])
def test_a_spec_that_lacks_a_value_is_refused(saved, lacking):
    spec = json.loads(saved.with_suffix(".json").read_text())["spec"]
    rewrite(saved, spec={key: value for key, value in spec.items() if key != lacking})
    with pytest.raises(ValueError, match=f"'{lacking}'"):
        load_weights(saved)


@pytest.mark.parametrize(
    "overrides", [{"num_landmarks": -1}, {"num_landmarks": 10**9}, {"num_landmarks": float("nan")}]
)
def test_settings_that_no_network_is_built_with_are_refused(saved, overrides):
    rewrite(saved, overrides=overrides)
    with pytest.raises(ValueError, match="does not describe weights"):
        load_weights(saved)


def test_a_markup_of_another_number_of_landmarks_is_refused(saved):
    rewrite(saved, markup="cofw_29")
    with pytest.raises(ValueError, match="19 landmarks are not those of cofw_29"):
        load_weights(saved)
