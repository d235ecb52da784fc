"""Draws the figures of figures/ffld.py; each function returns the bytes of a PNG file."""

from __future__ import annotations

from typing import Mapping, NamedTuple, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, PercentFormatter

from datasets.markups import Markup
from report.plots import BLUE, NETWORK_LINES, ORANGE, SKY, VERMILION, Picture, show_points, to_png

GROUP_COLOURS = (VERMILION, BLUE)  # Fig. 5's red and blue


class Level(NamedTuple):
    """Feature maps of one level of a network: its name and the channels to show (C, s, s)."""

    name: str
    maps: np.ndarray


class PatchGroup(NamedTuple):
    """Patches after channel selection: the group's name, its landmarks' numbers (m,), patches (m, 4, 8, 8)."""

    name: str
    landmarks: np.ndarray
    patches: np.ndarray


class Landscapes(NamedTuple):
    """Losses as the predicted point moves about the true one.

    Attributes:
        name: What the map is.
        window: (P, P) the map about the true point, which is in the middle.
        losses: (G, G) values by the loss's name; rows move along y, columns along x.
        reach: How far the point moves to each side, in cells of the map.
    """

    name: str
    window: np.ndarray
    losses: dict[str, np.ndarray]
    reach: float


class Cell(NamedTuple):
    """One picture of a grid.

    Attributes:
        image: (S, S, 3) uint8.
        points: (K, 2) predicted, in its pixels.
        title: Above it.
        truth: (K, 2) the true points, if they are to be shown.
        frame: (4,) a square to outline, in fractions of the image.
    """

    image: np.ndarray
    points: np.ndarray
    title: str = ""
    truth: np.ndarray | None = None
    frame: np.ndarray | None = None


def draw_maps(crop: np.ndarray, levels: Sequence[Level], title: str) -> bytes:
    """Fig. 2: the face, and a row of channels for each level, each from its lowest (dark) to its highest value."""
    columns = max(len(level.maps) for level in levels)
    figure = Figure(figsize=(3.4 + 1.25 * columns, 0.5 + 1.25 * len(levels)), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(3.0, 1.25 * columns))
    face = left.add_subplot()
    face.imshow(crop)
    _bare(face, f"the face as the network sees it,\n{crop.shape[1]} x {crop.shape[0]} pixels")
    grid = right.subplots(len(levels), columns, squeeze=False)
    for row, level in zip(grid, levels):
        for axes, channel in zip(row, level.maps):
            axes.imshow(channel, cmap="gray", interpolation="bicubic")  # as the paper enlarges its third level
        for axes in row:
            _bare(axes)
        row[0].set_ylabel(level.name, fontsize=9)
    figure.suptitle(title, fontsize=11)
    return to_png(figure)


def draw_selected(crop: np.ndarray, points: np.ndarray, groups: Sequence[PatchGroup], title: str) -> bytes:
    """Fig. 5: the landmarks (K, 2) on the face, and the four selected channels of each landmark shown."""
    figure = Figure(figsize=(10.4, 5.2), layout="constrained")
    left, *rights = figure.subfigures(1, 1 + len(groups), width_ratios=(4.6, *(2.6 for _ in groups)))
    face = left.add_subplot()
    face.imshow(crop)
    for group, colour in zip(groups, GROUP_COLOURS):
        face.plot(*points[group.landmarks].T, "o", color=colour, markersize=5, markeredgecolor="white")
        for number in group.landmarks:
            text = {"textcoords": "offset points", "xytext": (5, 4), "color": "white", "fontsize": 8}
            box = {"boxstyle": "round,pad=0.12", "facecolor": colour, "edgecolor": "none"}
            face.annotate(str(number), points[number], bbox=box, **text)
    _bare(face, "where the stage crops (numbers count from 0)")
    for group, colour, right in zip(groups, GROUP_COLOURS, rights):
        grid = right.subplots(len(group.landmarks), group.patches.shape[1], squeeze=False)
        for row, number, patches in zip(grid, group.landmarks, group.patches):
            for axes, patch in zip(row, patches):
                axes.imshow(patch, cmap="gray")
                _bare(axes)
            row[0].set_ylabel(str(number), color=colour, rotation=0, ha="right", va="center", fontsize=9)
        right.suptitle(group.name, color=colour, fontsize=10)
    figure.suptitle(title, fontsize=11)
    return to_png(figure)


def draw_landscapes(rows: Sequence[Landscapes], patch: int, title: str) -> bytes:
    """Fig. 6: a map about the true point, then each loss by where the predicted point is, from 0 to its largest value.

    Args:
        rows: One for each map.
        patch: Side in cells of the patch that the CropNet sees, which is outlined.
        title: Over the picture.
    """
    columns = 1 + len(rows[0].losses)
    figure = Figure(figsize=(2.1 * columns + 0.6, 2.2 * len(rows) + 0.6), layout="constrained")
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for line, row in zip(grid, rows):
        reach = row.reach
        _landscape(line[0], row.window, reach, "gray")
        line[0].add_patch(Rectangle((-patch / 2, -patch / 2), patch, patch, fill=False, color=ORANGE, linewidth=1.2))
        line[0].set_ylabel(row.name, fontsize=9)
        for axes, values in zip(line[1:], row.losses.values()):
            shown = _landscape(axes, values / max(values.max(), np.finfo(float).tiny), reach, "viridis")
            ticks = np.linspace(-reach, reach, len(values))
            axes.contour(ticks, ticks, shown.get_array(), levels=np.arange(0.1, 1, 0.1), colors="white", linewidths=0.4)
    for letter, axes, name in zip("abcdefgh", grid[0], ("map and patch", *rows[0].losses)):
        axes.set_title(f"({letter}) {name}", fontsize=9)
    figure.colorbar(shown, ax=grid[:, -1], label="loss over the panel's largest", shrink=0.8)
    figure.supxlabel("cells of the map from the true point (red circle)", fontsize=9)
    figure.suptitle(title, fontsize=11)
    return to_png(figure)


def _landscape(axes: Axes, values: np.ndarray, reach: float, colours: str):
    half_cell = reach / (len(values) - 1)
    extent = (-reach - half_cell, reach + half_cell, reach + half_cell, -reach - half_cell)
    shown = axes.imshow(values, cmap=colours, extent=extent)
    axes.plot(0, 0, "o", markersize=7, markerfacecolor="none", markeredgecolor="red", markeredgewidth=1.4)
    ticks = np.arange(-reach, reach + 1, reach / 2)
    axes.set(xticks=ticks, yticks=ticks)
    axes.tick_params(labelsize=7)
    return shown


def draw_cells(rows: Mapping[str, Sequence[Cell]], markup: Markup, title: str) -> bytes:
    """A grid of faces, a row for each network: predicted points joined by the markup's lines, true ones as squares."""
    columns = max(len(cells) for cells in rows.values())
    height = 2.35 * len(rows) + 0.4 + 0.2 * len(title.splitlines())
    figure = Figure(figsize=(max(2.15 * columns + 0.5, 7.5), height), layout="constrained")
    for line, (name, cells) in zip(figure.subplots(len(rows), columns, squeeze=False), rows.items()):
        for axes, cell in zip(line, cells):
            _draw_cell(axes, cell, markup)
        line[0].set_ylabel(name, fontsize=8.5)
    with_truth = [axes for axes in figure.axes if len(axes.get_legend_handles_labels()[1]) > 1]
    handles = (with_truth or figure.axes)[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=2, frameon=False, fontsize=9, markerscale=1.6)
    figure.suptitle(title, fontsize=9.5)
    return to_png(figure)


def _draw_cell(axes: Axes, cell: Cell, markup: Markup) -> None:
    size, rim = cell.image.shape[0], {"markeredgecolor": "0.1", "markeredgewidth": 0.4}
    axes.imshow(cell.image)
    for indices, closed in markup.lines:
        joined = [*indices, indices[0]] if closed else list(indices)
        axes.plot(*cell.points[joined].T, color=ORANGE, linewidth=0.8)
    if cell.truth is not None:
        axes.plot(*cell.truth.T, "s", color=SKY, markersize=3.4, label="true", **rim)
    axes.plot(*cell.points.T, "o", color=ORANGE, markersize=2.8, label="predicted", **rim)
    if cell.frame is not None:
        x0, y0, x1, y1 = size * cell.frame
        axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, color=SKY, linewidth=1.2))
    axes.set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5))
    _bare(axes, cell.title)


def draw_corrections(corrections: np.ndarray, size: int, title: str) -> bytes:
    """Fig. 13: how far each stage moves the points along x and y; a logarithmic axis, so that tails would show.

    Args:
        corrections: (stages, n, K, 2) pixels of the crop.
        size: Side of the crop in pixels.
        title: Over the picture.
    """
    figure = Figure(figsize=(3.9 * len(corrections), 3.9), layout="constrained")
    grid = figure.subplots(1, len(corrections), sharex=True, sharey=True, squeeze=False)[0]
    edges = np.linspace(-1, 1, 82) * max(float(np.abs(corrections).max()), 1e-3)
    for stage, (axes, moved) in enumerate(zip(grid, corrections), start=1):
        for values, name, colour, dash in zip(np.moveaxis(moved, -1, 0), "xy", (BLUE, VERMILION), ("-", "--")):
            weights = np.full(values.size, 1 / values.size)
            axes.hist(values.ravel(), edges, weights=weights, histtype="step", color=colour, linestyle=dash, label=name)
        sizes = np.abs(moved)
        text = (
            f"deviation {moved.std():.2f}",
            f"99 % below {np.quantile(sizes, 0.99):.2f}",
            f"largest {sizes.max():.2f}",
        )
        axes.annotate("\n".join(text), (0.03, 0.97), xycoords="axes fraction", va="top", fontsize=8.5)
        axes.set_title(f"stage {stage}")
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g} %"))
        axes.grid(color="0.9")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    grid[0].set_ylabel("share of the corrections in a bin")
    grid[-1].legend(title="along", frameon=False, loc="upper right")
    figure.supxlabel(f"correction in pixels of the crop, which is {size} x {size}")
    figure.suptitle(title, fontsize=11)
    return to_png(figure)


def draw_failures(
    sides: Sequence[int], errors: Mapping[str, np.ndarray], worst: Sequence[Picture], side: int, text: tuple[str, str]
) -> bytes:
    """Fig. 14: mean error by resolution, and the worst faces at one of them.

    Args:
        sides: Resolutions, the side in pixels that the crop was shrunk to, (m,).
        errors: (m,) mean errors, fractions, by the network's name.
        worst: The worst faces at resolution `side`, of the last network.
        side: That resolution.
        text: What an error is, and the title.
    """
    figure = Figure(figsize=(4.6 + 2.6 * len(worst), 4.3), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(4.6, 2.6 * len(worst)))
    axes = left.add_subplot()
    for (name, means), (colour, dash) in zip(errors.items(), NETWORK_LINES):
        axes.plot(sides, means, color=colour, linestyle=dash, marker="o", markersize=4, label=name)
    axes.axvline(side, color="0.45", linewidth=1)
    axes.annotate(" shown", (side, 1.0), xycoords=("data", "axes fraction"), va="top", color="0.35", fontsize=9)
    axes.set_xscale("log", base=2)
    axes.set_xticks(sides, [str(each) for each in sides])
    axes.minorticks_off()
    axes.set(xlabel="side of the shrunk crop in pixels", ylabel=text[0], ylim=(0, None))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(color="0.88")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    for cell, picture in zip(right.subplots(1, len(worst), squeeze=False)[0], worst):
        show_points(cell, picture)
        _bare(cell, f"{picture.name}\n{100 * picture.error:.2f} %")
    right.suptitle(f"worst faces of {list(errors)[-1]} at {side} pixels", fontsize=10)
    handles = right.axes[0].get_legend_handles_labels()
    right.legend(*handles, loc="outside lower center", ncols=2, frameon=False, markerscale=1.8)
    figure.suptitle(text[1], fontsize=11)
    return to_png(figure)


def _bare(axes: Axes, title: str = "") -> None:
    """No ticks and no frame, but a title."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.set_title(title, fontsize=8.5)
