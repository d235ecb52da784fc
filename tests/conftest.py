"""What tests of several files share."""

import json
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest


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

    def __call__(self, words, cwd, check):
        self.commands.append(words[1:])
        folder = Path(words[words.index("--out" if "--out" in words else "--resume") + 1])
        if folder.name in self._fails:
            return SimpleNamespace(returncode=2)
        folder.mkdir(exist_ok=True)
        (folder / "run.json").write_text(json.dumps({"result": {"best_nme": self._nme_of(folder.name)}}))
        return SimpleNamespace(returncode=0)


@pytest.fixture
def stub_trainings(monkeypatch):
    """A function that puts `Trainings` in the place of the scripts that would be started."""

    def install(nme_of, fails=()):
        made = Trainings(nme_of, fails)
        monkeypatch.setattr(subprocess, "run", made)
        return made

    return install
