"""tools.launch: which processes it starts, by what means, and how they end."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tools import launch

ROOT = Path(__file__).resolve().parent.parent
# Takes the place of a training script: notes its role and what MXNet would read.
SCRIPT = """
import os, sys
from pathlib import Path

role = os.environ["DMLC_ROLE"]
if role == "worker" and sys.argv[1] == "fail":
    sys.exit(7)
names = ("ROOT_URI", "ROOT_PORT"), ("NUM_WORKER", "NUM_SERVER")
values = [os.environ["DMLC_PS_" + each] for each in names[0]] + [os.environ["DMLC_" + each] for each in names[1]]
Path(sys.argv[2], f"{role}_{os.getpid()}").write_text(repr((values, os.environ.get("DMLC_NODE_HOST"), sys.argv[3:])))
if sys.argv[1] == "fail":
    import time
    time.sleep(600)
"""
ODD = ["a b", "it's", "$HOME", 'q"q']
# In the place of programs that reach other machines: they run what they are given here.
SSH = '#!/bin/bash\necho "$@" >> {log}\nexec bash -c "${{@: -1}}"\n'
SRUN = """#!/bin/bash
echo "$DMLC_ROLE $@" >> {log}
count=$6; shift 6
for i in $(seq $count); do "$@" & done
wait
"""


def launched(tmp_path, *words, kind="run", stand_in=None):
    """Runs a job of SCRIPT; returns it with what its processes noted, by role."""
    (tmp_path / "script.py").write_text(SCRIPT)
    notes = tmp_path / "notes"
    notes.mkdir()
    environment = {key: value for key, value in os.environ.items() if not key.startswith("DMLC_")}
    if stand_in:
        name, text = stand_in
        program = tmp_path / "bin" / name
        program.parent.mkdir()
        program.write_text(text.format(log=tmp_path / "log"))
        program.chmod(0o755)
        environment["PATH"] = f"{program.parent}:{environment['PATH']}"
    command = [sys.executable, "-m", "tools.launch", *words, str(tmp_path / "script.py"), kind, str(notes), *ODD]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    found = {}
    for path in notes.iterdir():
        values, host, options = eval(path.read_text())
        assert options == ODD
        found.setdefault(path.name.partition("_")[0], []).append((values, host))
    return done, found


def test_a_local_job_has_its_processes_and_a_free_port(tmp_path):
    done, found = launched(tmp_path, "--workers", "2")
    assert (done.returncode, done.stderr) == (0, "")
    assert {role: len(each) for role, each in found.items()} == {"scheduler": 1, "server": 1, "worker": 2}
    assert len({tuple(values) for each in found.values() for values, _ in each}) == 1
    address, port, *counts = found["worker"][0][0]
    assert (address, counts) == ("127.0.0.1", ["2", "1"])
    assert int(port) >= 1024
    assert found["server"][0][1] == "127.0.0.1"


def test_machines_that_start_their_own_workers(tmp_path):
    lead, joined = tmp_path / "lead", tmp_path / "joined"
    lead.mkdir()
    joined.mkdir()
    common, port = ("--workers", "3", "--servers", "2"), str(launch.free_port())
    _, found = launched(lead, *common, "--here", "1", "--port", port, "--address", "127.0.0.1")
    assert {role: len(each) for role, each in found.items()} == {"scheduler": 1, "server": 2, "worker": 1}
    _, others = launched(joined, *common, "--here", "2", "--join", f"localhost:{port}")
    assert {role: len(each) for role, each in others.items()} == {"worker": 2}
    assert others["worker"][0] == found["worker"][0] == (["127.0.0.1", port, "3", "2"], "127.0.0.1")


def test_a_job_over_ssh(tmp_path):
    (tmp_path / "hosts").write_text("localhost:2222\nlocalhost\n")
    words = ("--workers", "2", "--cluster", "ssh", "--hosts", str(tmp_path / "hosts"), "--address", "127.0.0.1")
    done, found = launched(tmp_path, *words, stand_in=("ssh", SSH))
    assert done.returncode == 0, done.stderr
    assert {role: len(each) for role, each in found.items()} == {"scheduler": 1, "server": 1, "worker": 2}
    assert [host for _, host in found["worker"]] == ["127.0.0.1"] * 2  # no name, which MXNet does not bind to
    calls = (tmp_path / "log").read_text().splitlines()
    assert sorted(call.partition("export")[0].split()[-3:] for call in calls) == [
        ["localhost", "-p", "22"],
        ["localhost", "-p", "2222"],
        ["localhost", "-p", "2222"],
    ]
    assert all(call.startswith("-tt -o BatchMode=yes -o StrictHostKeyChecking=accept-new") for call in calls)


def test_a_job_within_a_slurm_allocation(tmp_path):
    words = ("--workers", "2", "--servers", "2", "--cluster", "slurm", "--address", "127.0.0.1")
    done, found = launched(tmp_path, *words, stand_in=("srun", SRUN))
    assert done.returncode == 0, done.stderr
    assert {role: len(each) for role, each in found.items()} == {"scheduler": 1, "server": 2, "worker": 2}
    calls = sorted(call[: call.index(" /")] for call in (tmp_path / "log").read_text().splitlines())
    assert calls == [f"{role} --overlap --kill-on-bad-exit=1 -N 2 -n 2" for role in ("server", "worker")]


def test_a_port_that_is_taken_is_refused(monkeypatch, refused):
    monkeypatch.chdir(ROOT)
    with socket.create_server(("", 0)) as server:
        port = str(server.getsockname()[1])
        refused(lambda: launch.main(["--workers", "1", "--port", port, "demo.py"]), f"--port {port} cannot be used")


def test_what_cannot_be_started_ends_the_job():
    def fails():
        raise RuntimeError("no such host")

    job = launch.Job()
    job.start(fails)
    job.wait(workers=1)
    assert (job.failure, job.code) == ("a process could not be started (no such host)", 2)


def test_a_process_that_fails_ends_the_others(tmp_path):
    done, found = launched(tmp_path, "--workers", "1", kind="fail")
    assert done.returncode == 7
    assert done.stderr == "a worker ended with exit code 7: all processes of the training are ended\n"
    assert "worker" not in found
    for role in found:
        for path in (tmp_path / "notes").glob(f"{role}_*"):
            assert not Path("/proc", path.name.partition("_")[2]).exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--workers", "2", "nothing.py"], "nothing.py: there is no such script"),
        (["--workers", "2", "--cluster", "ssh", "demo.py"], "--cluster ssh and --hosts FILE go together"),
        (
            ["--workers", "2", "--cluster", "slurm", "--here", "1", "demo.py"],
            "--here and --join are for --cluster local",
        ),
        (["--workers", "2", "--join", "there", "demo.py"], "--join there: write HOST:PORT"),
        (["--workers", "2", "--here", "3", "demo.py"], "--here 3 is more than --workers 2"),
        (["demo.py"], "--workers"),
    ],
)
def test_what_cannot_be_started_is_refused(monkeypatch, refused, words, message):
    monkeypatch.chdir(ROOT)
    refused(lambda: launch.main(words), message)
