"""A parameters file that contradicts itself is refused before MXNet reads it, which would end the process."""

import struct
import subprocess
import sys
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest

from gluon_models.parameter_files import check_parameters, read_parameters

ROOT = Path(__file__).resolve().parent.parent
V1_MAGIC, V2_MAGIC = 0xF993FAC8, 0xF993FAC9
VALUES = np.array([[1.5, -2.0, 3.25]], np.float32)
BODY = VALUES.tobytes()


def list_of(array, name=b"a"):
    """A file of one array, as bytes."""
    return struct.pack("<QQQ", 0x112, 0, 1) + array + struct.pack("<QQ", 1, len(name)) + name


def v2(axes=2, shape=(1, 3), stype=0, device=(1, 0), dtype=0, data=BODY):
    head = struct.pack("<Iii", V2_MAGIC, stype, axes) + struct.pack(f"<{len(shape)}q", *shape)
    return head + struct.pack("<iii", *device, dtype) + data


LAYOUTS = {
    "1.9.1": v2(),
    "V1": struct.pack("<Iiqqiii", V1_MAGIC, 2, 1, 3, 1, 0, 0) + VALUES.tobytes(),
    "legacy": struct.pack("<IIIiii", 2, 1, 3, 1, 0, 0) + VALUES.tobytes(),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_three_layouts_are_read(tmp_path, layout):
    path = tmp_path / "a.params"
    path.write_bytes(list_of(LAYOUTS[layout]))
    np.testing.assert_array_equal(read_parameters(path)["a"].asnumpy(), VALUES)


def test_what_mxnet_writes_passes(tmp_path):
    arrays = {
        f"array_{k}": mx.nd.ones(shape, dtype=kind)
        for k, (shape, kind) in enumerate(
            [((2, 3), "float32"), ((1,), "float16"), ((4, 1, 2), "int8"), ((3,), "int64"), ((2,), "float64")]
        )
    }
    mx.nd.save(str(tmp_path / "a.params"), arrays)
    assert read_parameters(tmp_path / "a.params").keys() == arrays.keys()


@pytest.mark.parametrize("path", sorted((ROOT / "weights").glob("*.params")), ids=lambda path: path.stem)
def test_the_files_that_ship_pass(path):
    check_parameters(path)


FAULTS = {
    "negative number of axes": list_of(v2(axes=-1)),
    "many axes": list_of(v2(axes=2**30)),
    "many legacy axes": list_of(struct.pack("<I", 2**31) + bytes(64)),
    "negative length": list_of(v2(shape=(-1, 3))),
    "huge length": list_of(v2(shape=(2**40, 2**40))),
    "sparse": list_of(v2(stype=1)),
    "unknown type": list_of(v2(dtype=77)),
    "unknown device": list_of(v2(device=(9, 0))),
    "negative device": list_of(v2(device=(2, -1))),
    "too few bytes": list_of(v2(data=b"")),
    "too many bytes": list_of(v2()) + b"0",
    "many arrays": struct.pack("<QQQ", 0x112, 0, 2**60),
    "long name": list_of(v2())[:-9] + struct.pack("<Q", 2**60) + b"a",
    "name that is no text": list_of(v2(), b"\xff"),
    "another file": b"PK\x03\x04" + bytes(60),
    "nothing": b"",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_contradictions_are_refused(tmp_path, fault):
    path = tmp_path / "a.params"
    path.write_bytes(FAULTS[fault])
    with pytest.raises(ValueError, match=r"a\.params is cut short or no parameters file \(.*\): restore it"):
        read_parameters(path)


def test_no_way_into_a_network_passes_the_check_by(tmp_path):
    """Each way in a process of its own, as a failure would end it."""
    path = tmp_path / "a.params"
    path.write_bytes(list_of(v2(axes=-1)))
    (tmp_path / "a.json").write_text((ROOT / "weights" / "resnet18_slim.json").read_text())
    code = f"""
from gluon_models import get_model
from gluon_models.backbones import fill_features, backbone
from gluon_models.detector.weights import load_backbone
from gluon_models.weights import fill, halve, load_weights
path = {str(path)!r}
slim = get_model("resnet18_slim")
for way in (
    lambda: load_weights(path),
    lambda: fill(slim, path),
    lambda: fill(slim, path, whole=False),
    lambda: halve(path, path + ".half"),
    lambda: fill_features(backbone("v1", 4), path, "resnet50_v1"),
    lambda: load_backbone(None, path),
):
    try:
        way()
    except ValueError as error:
        assert "is cut short" in str(error), error
    else:
        raise SystemExit("accepted")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
