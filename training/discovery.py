"""Finds the training of each landmark network: every train_*.py at the top that has a TRAINING."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from training.landmark_training import LandmarkTraining

ROOT = Path(__file__).resolve().parent.parent


def training_scripts(folder: Path) -> list[Path]:
    """The training scripts in a folder, by name."""
    return sorted(folder.glob("train_*.py"))


def find_trainings(folder: Path = ROOT) -> dict[str, LandmarkTraining]:
    """The training of each landmark network, by the network's name.

    Args:
        folder: the scripts in it are loaded, unless they are imported already.
    """
    found = (getattr(_load(path), "TRAINING", None) for path in training_scripts(folder))
    return {name: each for each in found if isinstance(each, LandmarkTraining) for name in each.models}


def training_of(script: str) -> LandmarkTraining:
    """The training of a landmark network's script, such as train_ffld.py."""
    training = getattr(_load(ROOT / script), "TRAINING", None)
    if not isinstance(training, LandmarkTraining):
        raise ValueError(f"{script} trains no landmark network: name another script")
    return training


def _load(path: Path) -> object:
    """The script as a module, under its own name, as `import` would load it."""
    loaded = sys.modules.get(path.stem)
    if loaded is not None and Path(getattr(loaded, "__file__", None) or "").resolve() == path.resolve():
        return loaded
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module
