"""What a network costs, as lines to read: the figures of `tools.benchmark` beside the paper's."""

from __future__ import annotations

from typing import Any

from evaluation.published import QUOTED


def describe_cost(model: str, values: dict[str, Any]) -> str:
    """The figures of one network as lines to read."""
    lines = [
        f"{model}: {values['parameters']:,} parameters, {values['multiply_adds'] / 1e6:,.0f} million multiply-adds"
    ]
    lines += [
        _line("  the paper's", f"{each.value:g} {each.unit} ({each.section})")
        for each in QUOTED
        if each.model == model and "per second" in each.unit
    ]
    for precision in ("float32", "int8"):
        lines += _prediction_lines(precision, values[precision])
    trained = values["training"]
    if "missing" in trained:
        return "\n".join([*lines, f"  training: {trained['missing']}"])
    return "\n".join(
        [
            *lines,
            _line("loading from JPEG files", f"{trained['loader_from_files']:.0f} faces/s"),
            _line("loading from memory (--cache)", f"{trained['loader_from_memory']:.0f} faces/s"),
            _line(
                f"training, batch {trained['batch_size']}, from memory", f"{trained['faces_per_second']:.1f} faces/s"
            ),
            _line("  memory at most", f"{trained['memory_megabytes']:.0f} MB"),
        ]
    )


def _prediction_lines(precision: str, cost: dict[str, Any]) -> list[str]:
    if "missing" in cost:
        return [f"  {precision}: {cost['missing']}"]
    middle, low, high = (cost[key] for key in ("milliseconds", "milliseconds_10", "milliseconds_90"))
    pipeline, whole = cost["pipeline"], "flat maps: the weights are random"
    if pipeline:
        found = f"{pipeline['faces_per_photo']:.2f} faces found in each, {pipeline['passes']} passes"
        whole = f"{pipeline['photos_per_second']:.1f} photos/s, {found}"
    return [
        _line(f"{precision}, one face", f"{middle:.2f} ms, 80 % of them {low:.2f} to {high:.2f}"),
        _line(f"{precision}, batch 64", f"{cost['faces_per_second']:.1f} faces/s"),
        _line("  of float32's peak", f"{cost['gflops']:.0f} GFLOP/s, {100 * cost['share_of_peak']:.0f} %"),
        _line("  memory at most", f"{cost['memory_megabytes']:.0f} MB"),
        _line("  photo -> box -> crop -> network -> points", whole),
    ]


def _line(what: str, figure: str) -> str:
    return f"  {what:<44}{figure}"
