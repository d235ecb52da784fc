"""Other people's networks measured in turn with ours, for python -m tools.benchmark --peers."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any, Callable, NamedTuple, Sequence

PEER_ROUNDS = 3


class Peer(NamedTuple):
    """Someone else's network, and the one of ours that it is compared with.

    Attributes:
        command: the module that measures it, and its arguments.
        ours: a network of ours.
        package: what must be installed.
    """

    command: tuple[str, ...]
    ours: str
    package: str


_TWINS = ("resnet18_slim", "ffld_resnet18", "hourglass_resnet50")
_TORCH = "tools.peers.torch_twin"
PEERS = {
    **{f"PyTorch's {ours}": Peer((_TORCH, ours), ours, "torch") for ours in _TWINS},
    **{f"{ours}, torch.compile": Peer((_TORCH, ours, "--compile"), ours, "torch") for ours in _TWINS},
    "FAN in PyTorch": Peer((_TORCH, "fan"), "hourglass_resnet50", "torch"),
    "dlib's predictor": Peer(("tools.peers.dlib_twin",), "resnet18_slim", "dlib"),
}


def check_peers() -> None:
    """Refuses to start without the packages; ValueError if one is not installed."""
    missing = sorted({peer.package for peer in PEERS.values() if importlib.util.find_spec(peer.package) is None})
    if missing:
        raise ValueError(f"--peers needs {' and '.join(missing)}: pip install -r requirements-peers.txt")


def measure_peer(peer: Peer, seconds: float, seed: int) -> dict[str, Any]:
    """Cost of someone else's network on as many cores as MXNet takes; {"missing": why} where it fails."""
    command = ["-m", *peer.command, "--seconds", str(seconds), "--seed", str(seed)]
    cores = os.environ.get("OMP_NUM_THREADS") or str(max(1, (os.cpu_count() or 1) // 2))
    done = subprocess.run(
        [sys.executable, *command],
        cwd=Path(__file__).resolve().parents[2],
        env={**os.environ, "OMP_NUM_THREADS": cores},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = (done.stderr if done.returncode else done.stdout).strip().splitlines() or ["the system ended it"]
    return {"missing": lines[-1]} if done.returncode else json.loads(lines[-1])


def compare_with_peers(
    measure_ours: Callable[[str], dict[str, Any]], seconds: float, seed: int, rounds: int = PEER_ROUNDS
) -> dict[str, Any]:
    """Measures ours and the peers in turn; figures and ratios are medians over the rounds.

    Args:
        measure_ours: cost of prediction by a network of ours, given its name.
        seconds: length of each measurement.
        seed: of the peers' weights and crops.
        rounds: how often all are measured.
    """
    ours = sorted({peer.ours for peer in PEERS.values()})
    costs: dict[str, list[dict[str, Any]]] = {name: [] for name in (*ours, *PEERS)}
    for _ in range(rounds):
        for name in ours:
            costs[name].append(measure_ours(name))
        for name, peer in PEERS.items():
            costs[name].append(measure_peer(peer, seconds, seed))
    found = {name: summarise_rounds(costs[name]) for name in ours}
    return {**found, **{name: summarise_peer(costs[name], peer.ours, costs[peer.ours]) for name, peer in PEERS.items()}}


def summarise_rounds(costs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Medians over rounds; {"missing": why} for a failure."""
    for each in costs:
        if "missing" in each:
            return each
    keys = ("milliseconds", "faces_per_second", "memory_megabytes")
    return {key: median(each[key] for each in costs) for key in keys}


def summarise_peer(costs: Sequence[dict[str, Any]], name: str, ours: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The same of a peer, the name of the network of ours, and how many times as fast that was in the same round."""
    values = summarise_rounds(costs)
    missing = [each for each in (values, summarise_rounds(ours)) if "missing" in each]
    if missing:
        return missing[0]
    pairs = list(zip(ours, costs))
    return {
        **values,
        "ours": name,
        "ours_faster_one": median(peer["milliseconds"] / own["milliseconds"] for own, peer in pairs),
        "ours_faster_batch": median(own["faces_per_second"] / peer["faces_per_second"] for own, peer in pairs),
    }


def describe_peers(found: dict[str, Any]) -> str:
    """The comparison as a table to read."""
    head = f"{'':<34}{'one face':>11}{'batch 64':>15}{'memory':>9}  ours is faster, one face and batch 64"
    lines = [head]
    for name, values in found.items():
        if "missing" in values:
            lines.append(f"{name:<34}{values['missing']}")
            continue
        times = f"{values['milliseconds']:>8.2f} ms{values['faces_per_second']:>7.0f} faces/s"
        line = f"{name:<34}{times}{values['memory_megabytes']:>6.0f} MB"
        if "ours" in values:
            faster = f"{values['ours_faster_one']:.2f} and {values['ours_faster_batch']:.2f} times"
            line += f"  {values['ours']}: {faster}"
        lines.append(line)
    return "\n".join(lines)
