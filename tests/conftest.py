"""What tests of several files share."""

import json
import os
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

STARTED = time.monotonic()


def pytest_runtest_logfinish():
    """Ends a run that takes longer than TEST_SECONDS, in one sentence."""
    limit = float(os.environ.get("TEST_SECONDS", "inf"))
    if "PYTEST_XDIST_WORKER" not in os.environ and time.monotonic() - STARTED > limit:
        message = f"not all tests were done after {limit:.0f} s: close what else runs here, or give them longer"
        pytest.exit(f"{message}, such as make test TEST_SECONDS={2 * limit:.0f}", returncode=3)


@pytest.fixture
def face_data():
    """A function that finds real data below $FACE_DATA; the test is skipped where it is not there."""

    def find(place, holding=None):
        """The path of a file or folder, which must hold something that fits the pattern `holding`."""
        path = Path(os.environ.get("FACE_DATA", "")) / place
        there = path.exists() if holding is None else any(path.glob(holding))
        if "FACE_DATA" not in os.environ or not there:
            what = f"$FACE_DATA/{place}" + (f" with {holding}" if holding else "")
            pytest.skip(f"needs {what}: set FACE_DATA to the folder that holds the data sets (docs/data.md)")
        return path

    return find


class Trainings:
    """Stands in for subprocess.run: writes the record of a run.

    Args:
        nme_of: with which error a run ends, from its folder's name.
        fails: names of the folders of runs that fail.

    Attributes:
        commands: what was run.
    """

    def __init__(self, nme_of, fails):
        self.commands, self._nme_of, self._fails = [], nme_of, fails

    def __call__(self, text, cwd, check):
        self.commands.append(text[1:])
        folder = Path(text[text.index("--out" if "--out" in text else "--resume") + 1])
        if folder.name in self._fails:
            return SimpleNamespace(returncode=2)
        folder.mkdir(exist_ok=True)
        nme = self._nme_of(folder.name)
        (folder / "run.json").write_text(json.dumps({"result": {"best_error": nme, "best_epoch": 2}}))
        (folder / "log.jsonl").write_text(
            "".join(json.dumps({"nme": error, "mse": 100 * error}) + "\n" for error in (1.0, nme, 1.0))
        )
        return SimpleNamespace(returncode=0)


@pytest.fixture
def stub_trainings(monkeypatch):
    """A function that puts `Trainings` in the place of the scripts that would be started."""

    def install(nme_of, fails=()):
        made = Trainings(nme_of, fails)
        monkeypatch.setattr(subprocess, "run", made)
        return made

    return install


YARDSTICK_SECONDS = 0.0011  # that `yardstick` takes on an idle core of the machine which limits of time were set on


def yardstick():
    """A fixed piece of work: arithmetic on arrays that no core's own cache holds, and plain Python."""
    maps = np.arange(600_000, dtype=np.float32)
    (maps * (maps > 1000)).reshape(-1, 100).sum(axis=1)
    sum(i * i for i in range(10_000))


@pytest.fixture
def idle_seconds():
    """A function that times a piece of work in seconds of an idle core, however slow this machine is at the moment.

    What else runs on a machine slows a thread by more than the time it takes away: caches and halves of cores are
    shared. So a yardstick is timed in turn with the work, and where it takes longer than it should, so may the work.
    """

    def seconds(work):
        start = time.thread_time()
        work()
        return time.thread_time() - start

    def measure(work, times=50):
        pairs = np.array([(seconds(yardstick), seconds(work)) for _ in range(times)])
        least_yardstick, least_work = pairs.min(axis=0)
        return least_work / max(least_yardstick / YARDSTICK_SECONDS, 1.0)

    return measure
