"""The networks of the five papers and their losses, by name."""

import common  # noqa: F401 - first: Ctrl-C while the others are imported shows no traceback

# isort: split
from gluon_models.registry import get_model, get_spec, list_models, register
from gluon_models.spec import InputSpec, NetworkInput, Normalize
from gluon_models.weights import WeightsInfo, describe, file_sha256, load_weights, save_weights, shipped_weights

__all__ = [
    "InputSpec",
    "NetworkInput",
    "Normalize",
    "WeightsInfo",
    "describe",
    "file_sha256",
    "get_model",
    "get_spec",
    "list_models",
    "load_weights",
    "register",
    "save_weights",
    "shipped_weights",
]
