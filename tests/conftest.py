"""What tests of several files share."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from common import cli
from datasets.ibug_300w import is_validation
from datasets.images import write_image
from datasets.pts_files import write_pts
from datasets.render.faces import RenderedFaces
from training.discovery import training_of

STARTED = time.monotonic()


def pytest_runtest_setup():
    """Has the commands that tests start heed Ctrl-C: a shell starts what runs in its background deaf to it.

    A command that was stopped within this process leaves it deaf, too.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)


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


@pytest.fixture(scope="session")
def few_photos(tmp_path_factory):
    """A folder of seven small labelled photos, two of which are for validation: rendered faces have sixteen."""
    folder, faces = tmp_path_factory.mktemp("few_photos"), RenderedFaces(7, 0, 96)
    names = list(map(str, range(100)))
    held, others = ([name for name in names if is_validation(name) == each] for each in (True, False))
    for index, name in enumerate([*held[:2], *others[:5]]):
        face = faces[index]
        write_image(folder / f"{name}.png", face.image)
        write_pts(folder / f"{name}.pts", face.points_image)
    return str(folder)


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
        arguments = training_of(text[1]).parse([*text[2:-2], "--out", str(folder)]).arguments
        record = {"arguments": arguments, "result": {"best_error": nme, "best_epoch": 2}}
        (folder / "run.json").write_text(json.dumps(record))
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


@pytest.fixture
def refused(capsys):
    """A function that checks that a command ends with code 2 and an error of one line that holds a message."""

    def check(command, message):
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            cli.run(command)
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert stopped.value.code == 2
        assert line.startswith("error: ")
        assert message in line

    return check
