"""GluonCV beside a PyTorch that it refuses."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def run(tmp_path):
    """A function that runs Python code where a PyTorch of today's version number is installed."""
    (tmp_path / "torch.py").write_text("__version__ = '2.13.0'\n")

    def run(code):
        paths = os.pathsep.join([str(tmp_path), str(ROOT)])
        words = [sys.executable, "-c", code]
        environment = {**os.environ, "PYTHONPATH": paths}
        return subprocess.run(words, capture_output=True, text=True, env=environment, check=False)

    return run


def test_gluoncv_by_itself_refuses(run):
    assert "torch>=1.4.0,<2.0.0 is required" in run("import gluoncv").stderr


@pytest.mark.parametrize("before", ["", "import torch; "])
def test_the_detector_comes_all_the_same_and_pytorch_stays_at_hand(run, before):
    found = run(f"{before}import gluon_models.detector.network, torch; print(torch.__version__)")
    assert (found.returncode, found.stdout) == (0, "2.13.0\n"), found.stderr
