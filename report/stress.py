"""How errors grow as faces are made harder: the table and the picture of a stress test."""

from __future__ import annotations

from typing import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from evaluation.stress import Curve, Level
from report.plots import MANY_LINES, to_png
from report.tables import markdown

_COLUMNS = 3
_MOST_BANDS = 4  # the intervals of more systems would hide each other


def stress_table(curves: Sequence[Curve]) -> str:
    """The mean error at every amount as a Markdown table, per cent; untouched faces in bold, failures in brackets."""
    rows = [[f"{each.title}, {each.unit}", *(_cell(level, each.neutral) for level in each.levels)] for each in curves]
    columns = max(map(len, rows))
    heads = ["faces made harder by", "amount: NME (failures), per cent"]
    filled = [[*row, *[""] * (columns - len(row))] for row in (heads, *rows)]
    return markdown(filled[0], filled[1:]) + "\n"


def _cell(level: Level, neutral: float) -> str:
    figures = f"{100 * level.mean:.2f} ({100 * level.failure_rate:.1f})"
    return f"{level.amount:g}: " + (f"**{figures}**" if level.amount == neutral else figures)


def draw_stress(systems: Mapping[str, Sequence[Curve]], error_text: str, title: str) -> bytes:
    """Small multiples, one panel per degradation, with bands for the 95 % intervals of a few systems.

    Args:
        systems: The same degradations' curves by the system's name; at most as many systems as MANY_LINES.
        error_text: What the error is, for the axes.
        title: Over the picture.
    """
    panels = list(zip(*systems.values()))
    rows = -(-len(panels) // _COLUMNS)
    figure = Figure(figsize=(3.5 * _COLUMNS, 2.7 * rows + 0.6), layout="constrained")
    grid = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    limits = limits_of(panels)
    for axes, curves in zip(grid, panels):
        draw_panel(axes, dict(zip(systems, curves)), limits)
    for number, axes in enumerate(grid):
        axes.set_visible(number < len(panels))
        if number % _COLUMNS == 0:
            axes.set_ylabel(error_text)
    figure.suptitle(title)
    if len(systems) > 1:
        figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return to_png(figure)


def draw_panel(axes: Axes, curves: Mapping[str, Curve], limits: tuple[float, float]) -> None:
    """One degradation for each system, amounts evenly spaced, the untouched faces marked by a ring.

    In SVG the ids of a system's parts end with "--NAME".

    Args:
        axes: To draw on.
        curves: The degradation's curve by the system's name.
        limits: What the axis shows of the errors, fractions.
    """
    for (name, curve), (colour, dash) in zip(curves.items(), MANY_LINES):
        places = np.arange(len(curve.levels))
        means = np.array([level.mean for level in curve.levels])
        untouched = [level.amount == curve.neutral for level in curve.levels]
        if len(curves) <= _MOST_BANDS:
            ends = zip(*(level.mean_interval for level in curve.levels))
            axes.fill_between(places, *ends, color=colour, alpha=0.15).set_gid(f"{curve.name}-band--{name}")
        (line,) = axes.plot(places, means, color=colour, linestyle=dash, marker=".", linewidth=1.8, label=name)
        (ring,) = axes.plot(places[untouched], means[untouched], "o", color=colour, markerfacecolor="white", zorder=3)
        line.set_gid(f"{curve.name}-line--{name}")
        ring.set_gid(f"{curve.name}-ring--{name}")
    first = next(iter(curves.values()))
    axes.set_xticks(range(len(first.levels)), [f"{level.amount:g}" for level in first.levels])
    axes.set(title=first.title, xlabel=first.unit, yscale="log", ylim=limits)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(color="0.88")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def limits_of(panels: Sequence[Sequence[Curve]]) -> tuple[float, float]:
    """From below the smallest error of all panels to above the largest, fractions."""
    means = [level.mean for curves in panels for curve in curves for level in curve.levels]
    return max(min(means) / 1.2, 1e-4), max(*means, 2e-4) * 1.2
