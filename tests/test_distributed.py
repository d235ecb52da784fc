"""Several workers against one process with as many devices, and what they do when one of them dies."""

import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn

import train_ffld
from engine import connections, devices, distributed
from engine.averaging import share_running_statistics
from engine.checkpoint import read_progress
from engine.connections import Connections
from engine.distributed import ConnectedTeam, Team
from engine.fit import Fit, FitOptions
from engine.losses import NotFinite
from engine.record import ErrorMeasure, RunRecord
from engine.schedule import Schedule

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 300  # a run that hangs fails
# In each epoch a step of 8 faces by each worker, and one of a single face.
SMALL = "--recipe cpu --rendered-count 18 --epochs 2 --batch-size 16 --clip 1 --gpus none".split()


def launched(*words):
    command = [sys.executable, "-m", "tools.launch", "--workers", "2", "train_ffld.py", "--kv-store", "dist_sync"]
    return subprocess.Popen(
        [*command, *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def processes_of(launcher):
    """Roles of the processes that a launcher has started, by process number."""
    roles = {}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            if f"PPid:\t{launcher}\n" in status.read_text():
                words = (status.parent / "environ").read_bytes().split(b"\0")
                roles[int(status.parent.name)] = next(each[10:] for each in words if each.startswith(b"DMLC_ROLE="))
        except (OSError, StopIteration):
            continue  # it has just ended, or just begun
    return roles


def kill_second_worker(launcher, run):
    """Kills the worker that does not write, once the other one has written its first epoch."""
    end = time.monotonic() + SECONDS
    log = run / "log.jsonl"
    while not (log.exists() and log.read_text()) and launcher.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    started, first = processes_of(launcher.pid), int((run / ".lock").read_text())
    (second,) = (number for number, role in started.items() if role == b"worker" and number != first)
    os.kill(second, signal.SIGKILL)
    return list(started)


@pytest.mark.slow  # Two jobs of four processes each: only so are workers seen that do not share their memory.
def test_two_workers_of_which_one_is_killed_train_what_one_process_with_two_devices_does(tmp_path, monkeypatch):
    job = launched(*SMALL, "--workers", "1", "--out", str(tmp_path / "two"))
    started = kill_second_worker(job, tmp_path / "two")
    killed = time.monotonic()
    _, errors = job.communicate(timeout=SECONDS)
    assert job.returncode == 128 + signal.SIGKILL, errors
    assert time.monotonic() - killed < 60
    assert "worker 1 is gone, so worker 0 stops too; after a whole epoch --resume RUN goes on" in errors
    assert "a worker ended by SIGKILL: all processes of the training are ended" in errors
    assert len(started) == 4
    assert not [number for number in started if Path(f"/proc/{number}").exists()]

    resumed = launched("--resume", str(tmp_path / "two"), "--workers", "0", "--gpus", "none")
    monkeypatch.setattr(devices, "contexts", lambda gpus: [mx.cpu(0), mx.cpu(1)])
    assert train_ffld.TRAINING.main([*SMALL, "--workers", "0", "--out", str(tmp_path / "one")]) == 0
    output, errors = resumed.communicate(timeout=SECONDS)
    assert resumed.returncode == 0, errors
    assert output.count("best validation NME") == 1
    with np.load(tmp_path / "one" / "last.npz") as one, np.load(tmp_path / "two" / "last.npz") as two:
        arrays = [name for name in one.files if name.startswith(("weights/", "average/", "optimizer/"))]
        assert len(arrays) > 62
        for name in arrays:
            np.testing.assert_array_equal(one[name], two[name], err_msg=name)
    logs = [read_progress(tmp_path / run).history for run in ("one", "two")]
    timed = ("faces_per_second", "seconds")
    one, two = ([{key: line[key] for key in line if key not in timed} for line in log] for log in logs)
    assert len(one) == 2
    assert one == two


class OneOfTwo(Team):
    """The second worker; the first one contributes the same numbers to every total."""

    rank, size = 1, 2

    def __init__(self, *contributions):
        self._contributions = list(contributions)

    def total(self, values):
        return values + self._contributions.pop(0)


def fitted(tmp_path, batches, team, **options):
    net = nn.Dense(1, in_units=1, use_bias=False)
    net.initialize(mx.init.One())

    def squared(net, arrays, context):
        inputs, targets = (mx.nd.array(array, context) for array in arrays)
        return {"squared": mx.nd.square(net(inputs) - targets).sum(axis=1)}

    class Batches:
        def __len__(self):
            return len(batches)

        def epoch(self, epoch):
            yield from batches

    schedule = FitOptions(Schedule("constant", 0.1, 1), "sgd", **options)
    loop = Fit(net, Batches(), squared, dict, ErrorMeasure("d", "d"), print, schedule, [mx.cpu()], team=team)
    state = loop.run(tmp_path, RunRecord(tmp_path, {}, []), {})
    return net.weight.data().asscalar(), state


def test_a_worker_without_samples_in_a_last_batch_adds_nothing_to_it(tmp_path):
    # One sample x = 1, y = 3 of two in the batch: w = 1 - 0.1 * 2 (1 - 3) / 2 = 1.2; then none of one: w stays.
    whole, none = np.ones((1, 1), "f"), np.empty(0, "f")
    counts, losses = (np.ones(1), np.ones(1)), (np.zeros(1), np.full(1, 5.0))
    team = OneOfTwo(*counts, *losses)
    weight, state = fitted(tmp_path, [(whole, 3 * whole), (none, none)], team)
    assert weight == pytest.approx(1.2)
    assert state.history[0]["loss"] == pytest.approx((4 + 5) / 3)
    assert not list(tmp_path.iterdir())  # the first worker alone writes
    with pytest.raises(ValueError, match="fewer samples than there are devices: use fewer workers"):
        fitted(tmp_path, [(none, none)], OneOfTwo())


def test_a_loss_of_another_worker_that_is_not_finite_stops_this_one(tmp_path):
    ones = np.ones((1, 1), "f")
    with pytest.raises(NotFinite, match="the loss of another worker is not finite in epoch 1, step 1: see its message"):
        fitted(tmp_path, [(ones, ones)], OneOfTwo(np.ones(1), np.full(1, np.nan)))


def test_running_statistics_are_the_mean_over_all_devices_of_all_workers():
    net = nn.BatchNorm(in_channels=1)
    net.initialize(ctx=[mx.cpu(0), mx.cpu(1)])
    net.running_mean.list_data()[1][:] = 4
    # Of this worker 0 + 4 and 1 + 1, of the other one 10 and 2.
    share_running_statistics(net, OneOfTwo(np.array([10, 2], "f")))
    assert [float(each.asscalar()) for each in net.running_mean.list_data()] == [14 / 4] * 2
    assert float(net.running_var.list_data()[0].asscalar()) == 1


class Rank(ConnectedTeam):
    """One end of a team without a parameter server."""

    def __init__(self, rank, peers):
        self.rank, self.size, self._others = rank, 1 + max(len(peers), rank), range(1, 1 + len(peers))
        self._connections = Connections(peers, self._stop_without)
        self._clock = distributed._Clock(SECONDS, "hangs")


def test_workers_add_up_in_float64_decide_together_and_see_what_differs(monkeypatch):
    monkeypatch.setattr(connections, "PULSE_SECONDS", 0.02)
    to_first, to_second = zip(*(socket.socketpair() for _ in range(2)))
    teams = [Rank(0, dict(enumerate(to_second, 1))), *(Rank(k, {0: to_first[k - 1]}) for k in (1, 2))]
    for team in teams:
        team.size = 3
    found = {}

    def work(team):
        total = team.total(np.array([2.0**40, team.rank / 3]))
        told = team.from_first({"best": team.rank})
        try:
            team.agree({"--seed": 5, "data": team.rank // 2})
        except ValueError as error:
            found[team.rank] = (total.tolist(), told, str(error))

    threads = [threading.Thread(target=work, args=(team,)) for team in teams]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    for team in teams:
        team._clock.stop()
        team._connections.close(finished=True)
    expected = ([3 * 2.0**40, 1 / 3 + 2 / 3], {"best": 0}, "the workers differ in data: start all of them alike")
    assert found == {rank: expected for rank in range(3)}


def test_a_process_that_makes_no_step_in_time_ends(monkeypatch):
    said = queue.Queue()
    monkeypatch.setattr(distributed, "stop", said.put)
    clock = distributed._Clock(0.5, "no step")
    for _ in range(4):
        clock.restart()
        time.sleep(0.2)
    assert said.empty()
    assert said.get(timeout=SECONDS) == "no step"


@pytest.mark.parametrize("end", ["goodbye", "closed", "silent"])
def test_a_process_that_is_gone_is_noticed_and_one_that_has_finished_is_not(monkeypatch, end):
    for name, seconds in {"PULSE_SECONDS": 0.02, "SILENCE_SECONDS": 0.2, "GRACE_SECONDS": 0.05}.items():
        monkeypatch.setattr(connections, name, seconds)
    own, other = socket.socketpair()
    lost = threading.Event()
    watching = Connections({7: own}, lambda number: lost.set() if number == 7 else None)
    peer = None if end == "silent" else Connections({0: other}, lambda number: None)
    if peer:
        assert not lost.wait(0.4)  # its pulse is heard
        peer.close(finished=end == "goodbye")
    assert lost.wait(0.5 if end == "goodbye" else 10) == (end != "goodbye")
    watching.close(finished=False)
    other.close()


def test_a_process_knows_whether_it_is_one_of_several(monkeypatch):
    monkeypatch.delenv("DMLC_ROLE", raising=False)
    with pytest.raises(ValueError, match="start the workers with python -m tools.launch"), distributed.join(
        "dist_sync"
    ):
        pass
    with distributed.join("device") as team:
        assert (team.first, team.size, team.from_first(3)) == (True, 1, 3)
    monkeypatch.setenv("DMLC_ROLE", "worker")
    monkeypatch.setenv("DMLC_NUM_WORKER", "2")
    with pytest.raises(ValueError, match="pass --kv-store dist_sync"), distributed.join("device"):
        pass
