"""The pictures of an evaluation, each as the bytes of a PNG file.

Colours are from Okabe and Ito's palette for colour-blind readers; lines also differ in dash, points in shape.
"""

from __future__ import annotations

import io
from html import escape
from typing import Mapping, NamedTuple, Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, PercentFormatter

from datasets.markups import get_markup
from evaluation.metrics import ced
from evaluation.protocols import Protocol

BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"
_LINES = ((BLUE, "-"), (VERMILION, "--"), (GREEN, "-."), (PURPLE, ":"))
NETWORK_LINES = (*_LINES, (ORANGE, "-"), (SKY, "--"))
# For more networks: twelve colours, with the same four dashes in turn and then shifted, so that no two lines are alike.
_FURTHER = ("#000000", "#882255", "#8C6D31", "#332288", "#7F7F7F", "#999933")
_MANY_COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, *_FURTHER)
_DASHES = ("-", "--", "-.", ":")
MANY_LINES = tuple(
    (colour, _DASHES[(number + shift) % 4]) for shift in range(4) for number, colour in enumerate(_MANY_COLOURS)
)
_LEGEND = {"frameon": True, "framealpha": 1, "edgecolor": "0.85"}
_DOTS_PER_INCH = 120


class Picture(NamedTuple):
    """One face to show.

    Attributes:
        crop: (S, S, 3) uint8 RGB.
        predicted: (K, 2) pixels of the crop.
        truth: (K, 2) pixels of the crop.
        name: The face's name.
        error: Fraction, in the primary normalizer.
    """

    crop: np.ndarray
    predicted: np.ndarray
    truth: np.ndarray
    name: str
    error: float


def draw_ced(curves: Mapping[str, np.ndarray], protocol: Protocol, title: str) -> bytes:
    """The cumulative error distributions of one network.

    Args:
        curves: At most four sets of errors, (n,) fractions, by the name of their normalizer, the primary one first.
        protocol: Gives the failure threshold, which is marked.
        title: Over the picture.
    """
    figure = Figure(figsize=(7.2, 4.8), layout="constrained")
    axes = figure.add_subplot()
    limit = _axis_limit(curves, protocol)
    at = np.linspace(0.0, limit, 1500)
    for (text, errors), (colour, dash) in zip(curves.items(), _LINES):
        axes.plot(at, ced(errors, at), color=colour, linestyle=dash, linewidth=2, label=text)
    axes.axvline(protocol.failure_threshold, color="0.45", linewidth=1)
    text = f"failure above {100 * protocol.failure_threshold:.0f} %"
    axes.annotate(text, (protocol.failure_threshold, 1.012), ha="center", color="0.35", annotation_clip=False)
    axis_text = ("normalized mean error of a face", "faces with at most this error")
    _finish_ced(axes, (0.0, limit), axis_text)
    axes.legend(loc="lower right", title="error over", **_LEGEND)
    axes.set_title(title, pad=22)
    return to_png(figure)


def _axis_limit(curves: Mapping[str, np.ndarray], protocol: Protocol) -> float:
    finite = [errors[np.isfinite(errors)] for errors in curves.values()]
    largest = max((float(np.quantile(errors, 0.98)) for errors in finite if errors.size), default=0.0)
    return min(max(1.25 * protocol.failure_threshold, largest), 0.5)


def draw_networks(
    curves: Mapping[str, np.ndarray], limits: tuple[float, float], text: tuple[str, str], title: str
) -> bytes:
    """The cumulative error distributions of several networks.

    Args:
        curves: Errors, fractions, by the network's name; at most as many as NETWORK_LINES.
        limits: Limits of the error axis, fractions; the other axis fits the curves there.
        text: Labels of the two axes.
        title: Over the picture.
    """
    at = np.linspace(*limits, 1500)
    figure = ced_figure({name: ced(errors, at) for name, errors in curves.items()}, at, text, title)
    figure.axes[0].legend(loc="best", **_LEGEND)
    return to_png(figure)


def ced_figure(heights: Mapping[str, np.ndarray], at: np.ndarray, text: tuple[str, str], title: str) -> Figure:
    """Several networks' cumulative error distributions, each line with the identity "ced--NAME" in SVG.

    Args:
        heights: (m,) fractions of the faces, by the network's name; at most as many as MANY_LINES.
        at: (m,) errors, rising fractions.
        text: Labels of the two axes.
        title: Over the picture.
    """
    figure = Figure(figsize=(7.2, 4.8), layout="constrained")
    axes = figure.add_subplot()
    for (name, height), (colour, dash) in zip(heights.items(), MANY_LINES):
        axes.plot(at, height, color=colour, linestyle=dash, linewidth=2, label=name, gid=f"ced--{name}")
    _finish_ced(axes, (at[0], at[-1]), text)
    if at[0] > 0:
        low, high = min(height[0] for height in heights.values()), max(height[-1] for height in heights.values())
        axes.set_ylim(max(0.0, low - 0.03), min(1.005, high + 0.03))
    axes.set_title(title)
    return figure


def _finish_ced(axes: Axes, limits: tuple[float, float], text: tuple[str, str]) -> None:
    axes.set(xlim=limits, ylim=(0, 1.005), xlabel=text[0], ylabel=text[1])
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.grid(color="0.88")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def draw_pairs(first: np.ndarray, second: np.ndarray, labels: tuple[str, str], title: str) -> bytes:
    """The errors of two systems on the same faces against each other, with the diagonal where they are equal.

    Args:
        first: (n,) fractions, across.
        second: (n,) fractions of the same faces, upwards.
        labels: What the systems are called.
        title: Over the picture.
    """
    figure = Figure(figsize=(6.2, 6.2), layout="constrained")
    axes = figure.add_subplot()
    both = np.maximum(np.stack([first, second]), 1e-4)  # the axes are logarithmic
    limits = (both.min() / 1.15, both.max() * 1.15)
    better = second < first
    for chosen, text, colour, shape in ((better, "better", BLUE, "o"), (second > first, "worse", VERMILION, "^")):
        label = f"{text} in {labels[1]}: {int(chosen.sum())}"
        axes.plot(*both[:, chosen], shape, color=colour, markersize=4, alpha=0.7, label=label)
    axes.plot(limits, limits, color="0.45", linewidth=1, zorder=1)
    axes.set(xscale="log", yscale="log", xlim=limits, ylim=limits, xlabel=labels[0], ylabel=labels[1], title=title)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(PercentFormatter(1.0))
        axis.set_minor_formatter(NullFormatter())
    axes.grid(color="0.88")
    axes.set_axisbelow(True)
    axes.set_aspect("equal")
    axes.legend(loc="upper left", **_LEGEND)
    return to_png(figure)


def draw_faces(worst: Sequence[Picture], best: Sequence[Picture], columns: int = 4) -> bytes:
    """Faces with their true and predicted points, the worst above the best; a text if there is none."""
    if not worst and not best:
        return _draw_text("no face was found")
    cells = [*_in_rows(worst, "worst", columns), *_in_rows(best, "best", columns)]
    rows = -(-len(cells) // columns)
    figure = Figure(figsize=(2.5 * columns, 2.75 * rows + 0.45), layout="constrained")
    for axes, cell in zip(figure.subplots(rows, columns, squeeze=False).ravel(), cells):
        axes.set_axis_off()
        if cell is not None:
            _draw_face(axes, *cell)
    figure.get_layout_engine().set(h_pad=0.09)
    handles = figure.axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=2, frameon=False, fontsize=11, markerscale=1.8)
    return to_png(figure)


def _draw_text(text: str) -> bytes:
    figure = Figure(figsize=(6, 3))
    figure.text(0.5, 0.5, text, ha="center", va="center", fontsize=14)
    return to_png(figure)


def _in_rows(pictures: Sequence[Picture], rank: str, columns: int) -> list[tuple[Picture, str] | None]:
    cells: list[tuple[Picture, str] | None] = [(picture, rank) for picture in pictures]
    return cells + [None] * (-len(cells) % columns)


def show_points(axes: Axes, picture: Picture) -> None:
    """A face with its true and its predicted points, and lines between them."""
    size = picture.crop.shape[0]
    axes.imshow(picture.crop)
    for true, predicted in zip(picture.truth, picture.predicted):
        axes.plot(*zip(true, predicted), color="white", linewidth=0.8, zorder=2)
    axes.plot(*picture.truth.T, "s", color=SKY, markersize=3.0, label="true", zorder=3)
    axes.plot(*picture.predicted.T, "o", color=ORANGE, markersize=2.2, label="predicted", zorder=4)
    axes.set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5))


def _draw_face(axes: Axes, picture: Picture, rank: str) -> None:
    show_points(axes, picture)
    name = picture.name if len(picture.name) <= 26 else "…" + picture.name[-25:]
    axes.set_title(f"{rank}: {100 * picture.error:.2f} %\n{name}", fontsize=8.5)


def draw_landmarks(truth: np.ndarray, per_landmark: Mapping[str, float]) -> bytes:
    """The mean error of each landmark, as colour and number on the mean true face.

    Args:
        truth: (n, K, 2) pixels.
        per_landmark: Mean error by landmark name, fractions, K of them.
    """
    title = "Mean error of each landmark (numbers count from 0)"
    return to_png(landmarks_figure(_mean_face(truth), per_landmark, title))


def landmarks_figure(
    points: np.ndarray, per_landmark: Mapping[str, float], title: str, limits: tuple[float, float] | None = None
) -> Figure:
    """The mean error of each landmark, as colour and number on a face.

    Args:
        points: (K, 2), y downwards; NaN for a landmark that nobody has.
        per_landmark: Mean error by landmark name, fractions, K of them.
        title: Over the picture.
        limits: The errors at the ends of the colours, fractions; their own extremes if left out.
    """
    errors = 100 * np.array(list(per_landmark.values()), np.float64)
    figure = Figure(figsize=(7.2, 6.6), layout="constrained")
    axes = figure.add_subplot()
    for indices, closed in get_markup(len(points)).lines:
        joined = points[[*indices, *indices[:1]] if closed else list(indices)]
        axes.plot(*joined.T, color="0.8", linewidth=1.5, zorder=0)
    low, high = (None, None) if limits is None else (100 * limits[0], 100 * limits[1])
    colours = {"cmap": "cividis_r", "vmin": low, "vmax": high}
    dots = axes.scatter(*points.T, c=errors, s=300, edgecolors="0.3", linewidths=0.6, **colours)
    middle = np.nanmean([dots.norm.vmin, dots.norm.vmax]) if np.isfinite(errors).any() else 0.0
    for index, (point, error) in enumerate(zip(points, errors)):
        if np.isfinite(point).all():
            colour = "white" if error > middle else "black"
            axes.annotate(str(index), point, ha="center", va="center", fontsize=7.5, color=colour)
    axes.set_aspect("equal")
    axes.invert_yaxis()
    axes.set_axis_off()
    axes.set_title(title)
    figure.colorbar(dots, ax=axes, shrink=0.8, format=PercentFormatter(100, decimals=1))
    return figure


def _mean_face(truth: np.ndarray) -> np.ndarray:
    """The mean (K, 2) of faces moved to their centroid and scaled to one size; a landmark nobody has is NaN."""
    known = np.ma.masked_invalid(truth)
    centred = known - known.mean(axis=1, keepdims=True)
    scaled = centred / np.ma.sqrt((centred**2).mean(axis=(1, 2), keepdims=True))
    return np.ma.filled(scaled.mean(axis=0), np.nan)


def to_svg(figure: Figure, label: str) -> str:
    """A figure as an <svg> element to stand in a page, with a label for screen readers.

    The same figure gives the same text.
    """
    file = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "evaluation"}):
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    return f'<svg role="img" aria-label="{escape(label)}"' + text[text.index("<svg") + len("<svg") :]


def to_png(figure: Figure) -> bytes:
    """A figure as the bytes of a PNG file."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=_DOTS_PER_INCH)
    return file.getvalue()
