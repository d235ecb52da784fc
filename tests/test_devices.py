"""Which processors a script runs on, and how many of them."""

import os

import mxnet as mx
import pytest

from engine import devices


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
    assert "on 2 of 4 cores; with OMP_NUM_THREADS=4" in devices.idle_cores_advice([mx.cpu()])
    assert devices.idle_cores_advice([mx.gpu(0)]) is None
    monkeypatch.setattr(devices, "physical_cores", lambda: 2)
    assert devices.idle_cores_advice([mx.cpu()]) is None
    monkeypatch.setattr(devices, "physical_cores", lambda: 4)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert devices.idle_cores_advice([mx.cpu()]) is None
