"""The pictures of an evaluation, each as the bytes of a PNG file.

Colours are those of Okabe and Ito, which the colour-blind tell apart; lines differ in dash, points in shape as well.
"""

from __future__ import annotations

import io
from typing import Mapping, NamedTuple, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from evaluation.metrics import ced
from evaluation.protocols import Protocol

BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"
_LINES = ((BLUE, "-"), (VERMILION, "--"), (GREEN, "-."), (PURPLE, ":"))
NETWORK_LINES = (*_LINES, (ORANGE, "-"), (SKY, "--"))
_LEGEND = {"frameon": True, "framealpha": 1, "edgecolor": "0.85"}
_DOTS_PER_INCH = 120


class Picture(NamedTuple):
    """One face to show.

    Attributes:
        crop: (S, S, 3) uint8 RGB.
        predicted: (K, 2) pixels of the crop.
        truth: (K, 2) pixels of the crop.
        name: The face's name.
        error: Fraction, in the normaliser of record.
    """

    crop: np.ndarray
    predicted: np.ndarray
    truth: np.ndarray
    name: str
    error: float


def draw_ced(curves: Mapping[str, np.ndarray], protocol: Protocol, title: str) -> bytes:
    """The cumulative error distributions of one network.

    Args:
        curves: At most four sets of errors, (n,) fractions, by the words for their normaliser, the one of record first.
        protocol: Gives the failure threshold, which is marked.
        title: Over the picture.
    """
    figure = Figure(figsize=(7.2, 4.8), layout="constrained")
    axes = figure.add_subplot()
    limit = _axis_limit(curves, protocol)
    at = np.linspace(0.0, limit, 1500)
    for (words, errors), (colour, dash) in zip(curves.items(), _LINES):
        axes.plot(at, ced(errors, at), color=colour, linestyle=dash, linewidth=2, label=words)
    axes.axvline(protocol.failure_threshold, color="0.45", linewidth=1)
    words = f"failure above {100 * protocol.failure_threshold:.0f} %"
    axes.annotate(words, (protocol.failure_threshold, 1.012), ha="center", color="0.35", annotation_clip=False)
    axis_words = ("normalised mean error of a face", "faces with at most this error")
    _finish_ced(axes, (0.0, limit), axis_words)
    axes.legend(loc="lower right", title="error over", **_LEGEND)
    axes.set_title(title, pad=22)
    return to_png(figure)


def _axis_limit(curves: Mapping[str, np.ndarray], protocol: Protocol) -> float:
    finite = [errors[np.isfinite(errors)] for errors in curves.values()]
    largest = max((float(np.quantile(errors, 0.98)) for errors in finite if errors.size), default=0.0)
    return min(max(1.25 * protocol.failure_threshold, largest), 0.5)


def draw_networks(
    curves: Mapping[str, np.ndarray], limits: tuple[float, float], words: tuple[str, str], title: str
) -> bytes:
    """The cumulative error distributions of several networks.

    Args:
        curves: Errors, fractions, by the network's name; at most as many as NETWORK_LINES.
        limits: What the axis shows of the errors, fractions; the other axis shows what the curves reach there.
        words: What an error is, and what is counted.
        title: Over the picture.
    """
    figure = Figure(figsize=(7.2, 4.8), layout="constrained")
    axes = figure.add_subplot()
    at = np.linspace(*limits, 1500)
    heights = [ced(errors, at) for errors in curves.values()]
    for name, height, (colour, dash) in zip(curves, heights, NETWORK_LINES):
        axes.plot(at, height, color=colour, linestyle=dash, linewidth=2, label=name)
    _finish_ced(axes, limits, words)
    axes.legend(loc="best", **_LEGEND)
    if limits[0] > 0:
        low, high = min(height[0] for height in heights), max(height[-1] for height in heights)
        axes.set_ylim(max(0.0, low - 0.03), min(1.005, high + 0.03))
    axes.set_title(title)
    return to_png(figure)


def _finish_ced(axes: Axes, limits: tuple[float, float], words: tuple[str, str]) -> None:
    axes.set(xlim=limits, ylim=(0, 1.005), xlabel=words[0], ylabel=words[1])
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.grid(color="0.88")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def draw_faces(worst: Sequence[Picture], best: Sequence[Picture], columns: int = 4) -> bytes:
    """Faces with their true and predicted points, the worst above the best; words where there is no face to show."""
    if not worst and not best:
        return _draw_words("no face was found")
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


def _draw_words(words: str) -> bytes:
    figure = Figure(figsize=(6, 3))
    figure.text(0.5, 0.5, words, ha="center", va="center", fontsize=14)
    return to_png(figure)


def _in_rows(pictures: Sequence[Picture], rank: str, columns: int) -> list[tuple[Picture, str] | None]:
    cells: list[tuple[Picture, str] | None] = [(picture, rank) for picture in pictures]
    return cells + [None] * (-len(cells) % columns)


def show_points(axes: Axes, picture: Picture) -> None:
    """A face with its true and its predicted points, and lines from these to those."""
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
    mean_face, errors = _mean_face(truth), np.array(list(per_landmark.values()))
    figure = Figure(figsize=(7.2, 6.6), layout="constrained")
    axes = figure.add_subplot()
    dots = axes.scatter(*mean_face.T, c=100 * errors, s=300, cmap="cividis_r", edgecolors="0.3", linewidths=0.6)
    middle = np.nanmean([dots.norm.vmin, dots.norm.vmax]) if np.isfinite(errors).any() else 0.0
    for index, (point, error) in enumerate(zip(mean_face, errors)):
        if np.isfinite(point).all():
            colour = "white" if 100 * error > middle else "black"
            axes.annotate(str(index), point, ha="center", va="center", fontsize=7.5, color=colour)
    axes.set_aspect("equal")
    axes.invert_yaxis()
    axes.set_axis_off()
    axes.set_title("Mean error of each landmark (numbers count from 0)")
    figure.colorbar(dots, ax=axes, shrink=0.8, format=PercentFormatter(100, decimals=1))
    return to_png(figure)


def _mean_face(truth: np.ndarray) -> np.ndarray:
    """The mean (K, 2) of faces moved to their centroid and scaled to one size; a landmark nobody has is NaN."""
    known = np.ma.masked_invalid(truth)
    centred = known - known.mean(axis=1, keepdims=True)
    scaled = centred / np.ma.sqrt((centred**2).mean(axis=(1, 2), keepdims=True))
    return np.ma.filled(scaled.mean(axis=0), np.nan)


def to_png(figure: Figure) -> bytes:
    """A figure as the bytes of a PNG file."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=_DOTS_PER_INCH)
    return file.getvalue()
