"""Which processors a script runs on, and how many of them."""

import os
import subprocess
import sys
from pathlib import Path

import mxnet as mx
import pytest

from engine import devices

ROOT = Path(__file__).resolve().parent.parent


def test_none_is_the_cpu_and_what_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(devices, "_gpu_count", lambda: 2)
    assert devices.contexts("none") == [mx.cpu()]
    assert devices.contexts(None) == [mx.gpu(0)]
    assert devices.contexts("1,0") == [mx.gpu(1), mx.gpu(0)]
    with pytest.raises(ValueError, match="there are 2 GPUs here"):
        devices.contexts("2")
    with pytest.raises(ValueError, match="give numbers such as 0,1"):
        devices.contexts("first")
    monkeypatch.setattr(devices, "_gpu_count", lambda: 0)
    assert devices.contexts(None) == [mx.cpu()]


@pytest.mark.parametrize(
    ("siblings", "cores"),
    [({0: "0", 1: "1"}, 2), ({0: "0-1", 1: "0-1"}, 1), ({0: "0,2", 1: "1,3", 2: "0,2", 3: "1,3"}, 2)],
)
def test_two_hyperthreads_are_one_core(tmp_path, monkeypatch, siblings, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(siblings))
    for number, text in siblings.items():
        folder = tmp_path / f"cpu{number}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(text + "\n")
    assert devices.physical_cores(tmp_path) == cores
    assert devices.physical_cores(tmp_path / "elsewhere") == len(siblings)


def test_advice_is_given_where_cores_stay_idle(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(devices, "physical_cores", lambda: 4)
    assert "uses 2 of 4 cores; set OMP_NUM_THREADS=4" in devices.idle_cores_advice([mx.cpu()])
    assert devices.idle_cores_advice([mx.gpu(0)]) is None
    monkeypatch.setattr(devices, "physical_cores", lambda: 2)
    assert devices.idle_cores_advice([mx.cpu()]) is None
    monkeypatch.setattr(devices, "physical_cores", lambda: 4)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert devices.idle_cores_advice([mx.cpu()]) is None


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("fpu avx512f avx512_bf16 avx512_vbmi2", "bfloat16"), ("amx_bf16 amx_tile", "bfloat16"), ("avx512f avx2", None)],
)
def test_half_precision_is_what_the_processor_multiplies_fast(tmp_path, flags, expected):
    processor = tmp_path / "cpuinfo"
    processor.write_text(f"processor\t: 0\nflags\t\t: {flags}\n")
    assert devices.half_precision(mx.cpu(), processor) == expected
    assert devices.half_precision(mx.gpu(0), processor) == "float16"
    assert devices.half_precision(mx.cpu(), tmp_path / "elsewhere") is None


HALF_PRECISION = """
import sys
import mxnet as mx
from mxnet import autograd
from mxnet.gluon import nn
from engine import devices

if sys.argv[1] == "half":
    devices.use_half_precision(mx.cpu())
mx.random.seed(0)
net = nn.HybridSequential()
net.add(nn.Conv2D(8, 3, in_channels=3), nn.BatchNorm(in_channels=8), nn.Activation("relu"), nn.Dense(3))
net.initialize(mx.init.Xavier())
net.hybridize()
with autograd.record():
    found = net(mx.nd.random.normal(shape=(2, 3, 8, 8)))
    loss = (found**2).sum()
loss.backward()
gradient = net[0].weight.grad()
print(found.dtype.__name__, gradient.dtype.__name__, loss.asscalar(), gradient.norm().asscalar())
"""


@pytest.mark.skipif(devices.half_precision(mx.cpu()) is None, reason="this CPU has no bfloat16")
def test_half_precision_rounds_convolutions_and_nothing_else():
    """In processes of their own, as it stays on until Python ends; bfloat16 rounds to 1 part in 256."""

    def trained(precision: str) -> "tuple[list[str], list[float]]":
        words = subprocess.check_output([sys.executable, "-c", HALF_PRECISION, precision], cwd=ROOT, text=True).split()
        return words[:2], [float(word) for word in words[2:]]

    (types, single), (half_types, half) = trained("single"), trained("half")
    assert types == half_types == ["float32", "float32"]
    assert half == pytest.approx(single, rel=0.02)
    assert half != single


GPU_HALF_PRECISION = """
import mxnet as mx
from engine import devices
from gluon_models import get_model

devices.use_half_precision(mx.gpu(0))
for name in ("resnet18_slim", "ffld_resnet18", "region_parts"):
    layers = get_model(name)(mx.sym.var("faces"))
    layers = mx.sym.Group(list(layers)) if isinstance(layers, (list, tuple)) else layers
    layers = layers.get_internals()
    types = dict(zip(layers.list_outputs(), layers.infer_type(faces="float32")[1]))
    for kind in ("conv", "dense"):
        print(*{types[each].__name__ for each in types if kind in each and each.endswith("_fwd_output")})
"""


def test_on_a_gpu_convolutions_are_halved_and_the_layers_of_points_are_not():
    """By the types MXNet infers: no CPU computes in float16. In a process of its own, as it stays on."""
    types = subprocess.check_output([sys.executable, "-c", GPU_HALF_PRECISION], cwd=ROOT, text=True).split()
    assert types == ["float16", "float32"] * 3


class Driver:
    """Stands in for libcuda: one card of compute capability 6.1."""

    def cuInit(self, flags):
        return 0

    def cuDeviceGet(self, device, number):
        device._obj.value = number
        return 0 if number == 0 else 101  # CUDA_ERROR_INVALID_DEVICE

    def cuDeviceGetAttribute(self, value, attribute, device):
        value._obj.value = {75: 6, 76: 1}[attribute]
        return 0


def test_half_precision_that_is_no_faster_is_said(monkeypatch):
    monkeypatch.setattr(devices.ctypes, "CDLL", lambda name: Driver())
    assert devices.compute_capability(0) == (6, 1)
    assert devices.compute_capability(1) is None
    assert "GPU 0 has compute capability 6.1; below 7.0" in devices.half_precision_advice(mx.gpu(0))
    assert devices.half_precision_advice(mx.cpu()) is None
    monkeypatch.setattr(devices, "compute_capability", lambda number: (7, 0))
    assert devices.half_precision_advice(mx.gpu(0)) is None


def test_without_a_driver_no_capability_is_known(monkeypatch):
    def missing(name):
        raise OSError(name)

    monkeypatch.setattr(devices.ctypes, "CDLL", missing)
    assert devices.compute_capability(0) is None
