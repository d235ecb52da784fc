"""What networks cost to run and to train, and others' networks beside ours, as tables for documents.

A record is what tools/benchmark.py --json wrote: of every network (--model all), or of the peers (--peers).
"""

from __future__ import annotations

from typing import Any, Mapping

from report.markdown import markdown_table

Record = Mapping[str, Any]
COST_HEADS = (
    *("network", "parameters", "multiply-adds", "one face", "64 at a time", "of the peak", "memory"),
    *("int8: one face", "64 at a time", "photo to points", "training", "its memory"),
)
PEER_HEADS = ("network", "one face", "64 at a time", "memory", "ours is faster: one face, 64 at a time")


def cost_table(record: Record) -> str:
    """What each network costs, and in a line above it on what machine."""
    return (
        machine_text(record)
        + "\n\n"
        + markdown_table(COST_HEADS, [[f"`{name}`", *row] for name, *row in cost_rows(record)])
    )


def machine_text(record: Record) -> str:
    """What the costs were measured on."""
    versions, threads = record["versions"], record["OMP_NUM_THREADS"] or "not set"
    return (
        f"{record['processors']} processors, network on {record['device']}, OMP_NUM_THREADS {threads}, MXNet "
        f"{versions['mxnet']}; {record['peak_gflops']:.0f} GFLOP/s at most in float32; load average at the start "
        f"{record['load_average_at_start']:.2f}."
    )


def cost_rows(record: Record) -> list[list[str]]:
    """A row for each network."""
    return [_cost_row(name, cost) for name, cost in record["models"].items()]


def _cost_row(name: str, cost: Record) -> list[str]:
    full, trained = cost["float32"], cost["training"]
    one, many = _prediction(full)
    reached = [f"{100 * full['share_of_peak']:.0f} %", _megabytes(full)] if one else ["", ""]
    whole = full.get("pipeline")
    return [
        *(name, f"{cost['parameters']:,}", f"{cost['multiply_adds'] / 1e6:,.0f} million"),
        *(one, many, *reached, *_prediction(cost["int8"])),
        f"{whole['photos_per_second']:.1f} photos/s" if whole else "",
        *(["", ""] if "missing" in trained else [_rate(trained), _megabytes(trained)]),
    ]


def _prediction(cost: Record) -> tuple[str, str]:
    """Time of one face and rate of a batch; empty where the network has no such form."""
    return ("", "") if "missing" in cost else (f"{cost['milliseconds']:.2f} ms", _rate(cost))


def _rate(cost: Record) -> str:
    return f"{cost['faces_per_second']:.1f} faces/s"


def _megabytes(cost: Record) -> str:
    return f"{cost['memory_megabytes']:.0f} MB"


def peers_table(record: Record) -> str:
    """Others' networks measured in turn with ours, and how many times as fast ours is."""
    return markdown_table(PEER_HEADS, [_peer_row(*item) for item in record["peers"].items()])


def _peer_row(name: str, cost: Record) -> list[str]:
    if "missing" in cost:
        return [name, cost["missing"], "", "", ""]
    measured = [*_prediction(cost), _megabytes(cost)]
    if "ours" not in cost:
        return [f"`{name}`", *measured, ""]
    ratios = ", ".join(f"{cost[key]:.2f}" for key in ("ours_faster_one", "ours_faster_batch"))
    return [name, *measured, f"`{cost['ours']}`: {ratios} times"]
