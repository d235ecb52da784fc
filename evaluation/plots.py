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
    _finish_ced(axes, limit, title)
    return _png(figure)


def _axis_limit(curves: Mapping[str, np.ndarray], protocol: Protocol) -> float:
    finite = [errors[np.isfinite(errors)] for errors in curves.values()]
    largest = max((float(np.quantile(errors, 0.98)) for errors in finite if errors.size), default=0.0)
    return min(max(1.25 * protocol.failure_threshold, largest), 0.5)


def _finish_ced(axes: Axes, limit: float, title: str) -> None:
    axes.set(xlim=(0, limit), ylim=(0, 1.005))
    axes.set_title(title, pad=22)
    axes.set_xlabel("normalised mean error of a face")
    axes.set_ylabel("faces with at most this error")
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.grid(color="0.88")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", frameon=True, framealpha=1, edgecolor="0.85", title="error over")


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
    return _png(figure)


def _draw_words(words: str) -> bytes:
    figure = Figure(figsize=(6, 3))
    figure.text(0.5, 0.5, words, ha="center", va="center", fontsize=14)
    return _png(figure)


def _in_rows(pictures: Sequence[Picture], rank: str, columns: int) -> list[tuple[Picture, str] | None]:
    cells: list[tuple[Picture, str] | None] = [(picture, rank) for picture in pictures]
    return cells + [None] * (-len(cells) % columns)


def _draw_face(axes: Axes, picture: Picture, rank: str) -> None:
    size = picture.crop.shape[0]
    axes.imshow(picture.crop)
    for true, predicted in zip(picture.truth, picture.predicted):
        axes.plot(*zip(true, predicted), color="white", linewidth=0.8, zorder=2)
    axes.plot(*picture.truth.T, "s", color=SKY, markersize=3.0, label="true", zorder=3)
    axes.plot(*picture.predicted.T, "o", color=ORANGE, markersize=2.2, label="predicted", zorder=4)
    axes.set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5))
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
    return _png(figure)


def _mean_face(truth: np.ndarray) -> np.ndarray:
    """The mean (K, 2) of faces moved to their centroid and scaled to one size; a landmark nobody has is NaN."""
    known = np.ma.masked_invalid(truth)
    centred = known - known.mean(axis=1, keepdims=True)
    scaled = centred / np.ma.sqrt((centred**2).mean(axis=(1, 2), keepdims=True))
    return np.ma.filled(scaled.mean(axis=0), np.nan)


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=_DOTS_PER_INCH)
    return file.getvalue()
