"""The figures of LGCN (D. Merget et al., CVPR 2018; gluon_models/lgcn/network.py), one command each, as one PNG file.

Without --data they show rendered faces or matplotlib's sample photo. See docs/figures.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Sequence

import cv2
import mxnet as mx
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from common import cli
from datasets.images import read_image
from datasets.markups import IBUG_49
from evaluation.metrics import nme
from figures.commands import Command, FaceChoice, FigureCommands, option, show_option
from figures.found_faces import FoundFaces, annotated_photos, rates, rates_table
from figures.inputs import FACES, INPUT, Sample, load_sample, read_photo, spread
from figures.networks import TrainedNetwork, weights_option
from gluon_models.lgcn.network import dense_kernel
from inference.drawing import draw_faces
from inference.face_hypotheses import LEAST_SUPPORT, WholePhotoLandmarks
from inference.landmark_detector import find_weights
from inference.photo_pyramid import MIN_FACE, take_any_size
from inference.pipeline import PointPredictor
from inference.shape_model import load_shape_model, shape_model_beside
from report.plots import BLUE, ORANGE, SKY, VERMILION, draw_networks, to_png

MODELS = ("lgcn_128", "lgcn_64")
FARTHEST = 45  # cells that the kernels are shifted apart at most: then they do not touch
COLUMNS = 10  # Fig. 5
UPPER_ROWS = 4
FROM_QUANTILE = 0.5  # of the errors: "all but the first two images shown are worse than the average"
LARGEST_ERROR = 0.1  # Fig. 4, a fraction
LOWEST_SUPPORT = 0.15  # from which on found faces are counted


def shifted_errors(farthest: int = FARTHEST) -> np.ndarray:
    """Squared difference of K (Eq. 1) and itself shifted by up to `farthest` cells, over twice the sum of its squares.

    Returns:
        (2 * farthest + 1, 2 * farthest + 1), no shift in the middle.
    """
    kernel = np.pad(dense_kernel(), farthest)
    energy = (kernel**2).sum()
    transformed = np.fft.rfft2(kernel, [2 * side for side in kernel.shape])
    products = np.fft.irfft2(transformed * transformed.conj())
    near = np.arange(-farthest, farthest + 1)
    return (energy - products[np.ix_(near, near)]) / energy


def make_kernel(context: mx.Context) -> bytes:
    """Fig. 2: the kernel, and the error between two of them by how far they are shifted."""
    errors = shifted_errors()
    reach, middle = np.arange(-FARTHEST, FARTHEST + 1), errors[FARTHEST]
    figure = Figure(figsize=(9, 7.4), layout="constrained")
    grid = figure.add_gridspec(2, 2)
    half = len(dense_kernel()) // 2
    for place, (values, side, title) in enumerate(
        ((dense_kernel(), half, "kernel K (Eq. 1)"), (errors, FARTHEST, "squared error of two kernels, shifted"))
    ):
        axes = figure.add_subplot(grid[0, place])
        shown = axes.imshow(values, cmap="viridis", extent=(-side - 0.5, side + 0.5, side + 0.5, -side - 0.5))
        axes.set(title=title, xlabel="cells", ylabel="cells")
        figure.colorbar(shown, ax=axes, shrink=0.85)
    axes = figure.add_subplot(grid[1, :])
    axes.plot(reach, middle, color=BLUE, linewidth=2)
    axes.axhline(0.5, color=VERMILION, linestyle="--", label="error of an empty map")
    axes.set(xlabel="shift along x, cells", ylabel="error over twice the kernel's squares", xlim=(-FARTHEST, FARTHEST))
    axes.set_title(f"slice through the middle: a peak within {gain_radius():.1f} cells is better than none")
    axes.grid(color="0.88")
    axes.legend()
    return to_png(figure)


def gain_radius() -> float:
    """How far off along one axis a peak may be, in cells, and still err by less than an empty heatmap [L35]."""
    errors = shifted_errors()[FARTHEST, FARTHEST:]
    return float(np.interp(0.5, errors[: errors.argmax() + 1], np.arange(errors.argmax() + 1)))


def make_context(context: mx.Context, weights: str, faces: FaceChoice, show: int) -> bytes:
    """Fig. 3: heatmaps of the local-context subnet and of both, ordered by how much they differ."""
    network = TrainedNetwork(weights, MODELS, context)
    sample = load_sample(faces, network)
    local, full = subnet_maps(network, sample.crops)
    differences = np.abs(full - local).mean(axis=(1, 2, 3))
    chosen = np.argsort(differences, kind="stable")[spread(len(differences), show)]
    figure = Figure(figsize=(1.9 * len(chosen), 4.2), layout="constrained")
    cells = figure.subplots(2, len(chosen), squeeze=False)
    for column, number in enumerate(chosen):
        for axes, heatmaps in zip(cells[:, column], (local[number], full[number])):
            show_activation(axes, sample.crops[number], heatmaps.max(axis=0))
        cells[0, column].set_title(f"{differences[number]:.4f}", fontsize=8)
    for axes, text in zip(cells[:, 0], ("local context, K * O$^l$", "both, Ω")):
        axes.text(-0.08, 0.5, text, rotation=90, va="center", ha="right", transform=axes.transAxes)
    figure.suptitle(f"{sample.title}: highest of all heatmaps, by the mean change between the subnets", fontsize=10)
    return to_png(figure)


def subnet_maps(network: TrainedNetwork, crops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Crops (n, S, S, 3) -> heatmaps (n, K, S, S) of the local-context subnet and of the whole network.

    Raises:
        ValueError: the network has no global-context subnet.
    """
    stages = [network.net.cascade(network.input(crop)) for crop in crops]
    if len(stages[0]) < 2:
        raise ValueError(f"{network.source} has no global-context subnet to compare")
    scored = ([network.net.read_out(mx.nd, heatmaps).asnumpy()[0] for heatmaps in each] for each in stages)
    local, full = zip(*scored)
    return np.stack(local), np.stack(full)


def show_activation(axes: Axes, picture: np.ndarray, activation: np.ndarray) -> None:
    """A picture in gray with an activation (h, w) over it, from 0 to its own maximum, its contrast enhanced."""
    height, width = picture.shape[:2]
    large = cv2.resize(np.clip(activation, 0, None).astype(np.float32), (width, height))
    strength = np.sqrt(large / max(float(large.max()), 1e-6))
    axes.imshow(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cmap="gray", vmin=0, vmax=255)
    axes.imshow(strength, cmap="inferno", vmin=0, vmax=1, alpha=0.25 + 0.65 * strength)
    axes.set_axis_off()


def make_ced(context: mx.Context, weights: str, faces: FaceChoice, shape_model: str | None) -> bytes:
    """Fig. 4: cumulative errors with and without shape model, with and without outline."""
    network = TrainedNetwork(weights, MODELS, context)
    sample = load_sample(faces, network)
    inner = [network.markup.names.index(name) for name in IBUG_49.names if name in network.markup.names]
    curves = {}
    for text, predictor in predictors(network, shape_model, context).items():
        points = predictor(sample.crops)
        for part, kept in (("", slice(None)), (f", {len(inner)} points", inner)):
            errors = nme(points[:, kept], sample.truth_crop[:, kept], sample.lengths)
            curves[f"{text}{part}: median {100 * np.nanmedian(errors):.2f} %"] = errors
    return draw_networks(curves, (0.0, LARGEST_ERROR), sample.curve_text, sample.title)


def predictors(network: TrainedNetwork, shape_model: str | None, context: mx.Context) -> dict[str, PointPredictor]:
    """The network alone and, where there is one, with a shape model, by words for each."""
    found = {"no model fit": PointPredictor(network.net, network.spec, context)}
    if shape_model:
        model = load_shape_model(shape_model)
        found["shape model"] = PointPredictor(network.net, network.spec, context, shape_model=model)
    return found


def make_faces(context: mx.Context, weights: str, faces: FaceChoice, shape_model: str | None) -> bytes:
    """Fig. 5: faces in order of error, four rows evenly from the middle on, and the worst in the fifth."""
    network = TrainedNetwork(weights, MODELS, context)
    sample = load_sample(faces, network)
    points = list(predictors(network, shape_model, context).values())[-1](sample.crops)
    errors = sample.errors(points)
    rows = rows_by_quantile(errors)
    figure = Figure(figsize=(1.35 * COLUMNS, 1.62 * len(rows)), layout="constrained")
    cells = figure.subplots(len(rows), COLUMNS, squeeze=False)
    for axes in cells.ravel():
        axes.set_axis_off()
    for row, chosen in zip(cells, rows):
        for axes, number in zip(row, chosen):
            show_face(axes, sample, number, points[number])
            axes.set_title(f"{100 * errors[number]:.2f} %", fontsize=8)
    figure.suptitle(f"{sample.title}, by error over the {sample.unit}; the last row: the worst", fontsize=10)
    return to_png(figure)


def rows_by_quantile(errors: np.ndarray) -> list[np.ndarray]:
    """Numbers of the faces of each row: of the errors' upper part evenly, then the worst, each face once."""
    order = np.argsort(errors, kind="stable")[: int((~np.isnan(errors)).sum())]
    worst = order[max(0, len(order) - COLUMNS) :]
    others = order[int(FROM_QUANTILE * len(order)) : len(order) - len(worst)]
    upper = others[spread(len(others), UPPER_ROWS * COLUMNS)] if len(others) else others
    rows = [upper[start : start + COLUMNS] for start in range(0, len(upper), COLUMNS)]
    return [*rows, worst]


def show_face(axes: Axes, sample: Sample, number: int, points: np.ndarray) -> None:
    """A crop with its predicted and its true points."""
    axes.imshow(sample.crops[number])
    axes.plot(*sample.truth_crop[number].T, "s", color=SKY, markersize=1.0)
    axes.plot(*points.T, "o", color=ORANGE, markersize=1.2)


def make_photo(context: mx.Context, weights: str, shape_model: str | None, min_face: float, photo: str | None) -> bytes:
    """Fig. 6: a photo at all sizes, what they have in common, and the faces found with no detector."""
    detector = photo_detector(weights, shape_model, min_face, context, LEAST_SUPPORT)
    image = read_photo(photo)
    levels, candidates, faces = detector.pyramid.activations(image), detector.candidates(image), detector(image)
    panels = pipeline_panels(image, levels)
    figure = Figure(figsize=(3.4 * 3, 3.6 * -(-(len(panels) + 2) // 3)), layout="constrained")
    cells = figure.subplots(-(-(len(panels) + 2) // 3), 3, squeeze=False).ravel()
    for axes in cells:
        axes.set_axis_off()
    for axes, (text, activation) in zip(cells, panels):
        show_activation(axes, image, activation)
        axes.set_title(text, fontsize=9)
    cells[len(panels)].imshow(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cmap="gray")
    cells[len(panels)].plot(*candidates.points_image.T, ".", color=ORANGE, markersize=2)
    cells[len(panels)].set_title(f"{len(candidates)} candidates", fontsize=9)
    cells[len(panels) + 1].imshow(draw_faces(image, faces, detector.markup))
    cells[len(panels) + 1].set_title(f"{len(faces)} face{'' if len(faces) == 1 else 's'} accepted", fontsize=9)
    return to_png(figure)


def photo_detector(
    weights: str, shape_model: str | None, min_face: float, context: mx.Context, least_support: float
) -> WholePhotoLandmarks:
    """The network as its own detector; its own shape model if `shape_model` is None."""
    network = TrainedNetwork(weights, MODELS, context)
    take_any_size(network.net)
    predictor = PointPredictor(network.net, network.spec, context)
    model = load_shape_model(shape_model or shape_model_beside(find_weights(weights)))
    return WholePhotoLandmarks(predictor, model, network.markup, min_face, least_support)


def pipeline_panels(image: np.ndarray, levels: Sequence[np.ndarray]) -> list[tuple[str, np.ndarray]]:
    """The activation of each size, and their maximum at the photo's size, with words for each."""
    height, width = image.shape[:2]
    panels = [(f"{each.shape[1]} x {each.shape[0]} pixels", each) for each in levels]
    combined = np.max([cv2.resize(each, (width, height)) for each in levels], axis=0)
    return [*panels, ("combined", combined)]


def make_found(
    context: mx.Context, weights: str, shape_model: str | None, min_face: float, photos: str, listed: str | None
) -> bytes:
    """Sec. 4.3: the share of annotated faces found with no detector, over false faces per photo."""
    detector = photo_detector(weights, shape_model, min_face, context, LOWEST_SUPPORT)
    annotated = annotated_photos(Path(photos), listed)
    judged = []
    for path, truth in cli.progress(annotated, "searching", unit="photo"):
        faces = detector(read_image(path))
        points = np.array([face.points for face in faces]).reshape(-1, *truth.shape[1:])
        judged.append(FoundFaces(points, np.array([face.score for face in faces]), truth))
    thresholds = np.round(np.arange(LOWEST_SUPPORT, 1.0, 0.05), 2)
    measured = rates(judged, thresholds, min_face)
    sides = np.concatenate([np.ptp(photo.truth, axis=1).max(axis=1) for photo in judged])
    wanted = int((sides >= min_face).sum())
    print(f"{len(judged)} photos, {wanted} of {len(sides)} annotated faces of at least {min_face:g} pixels")
    print(rates_table(measured))
    figure = Figure(figsize=(7.2, 4.8), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([each.false for each in measured], [each.found for each in measured], "o-", color=BLUE)
    for each in measured[::2]:
        axes.annotate(f"{each.threshold:.2f}", (each.false, each.found), xytext=(5, -9), textcoords="offset points")
    axes.set(xlabel="false faces per photo", ylabel="share of annotated faces found", ylim=(0, 1.02))
    axes.set_title(f"{len(judged)} photos with no face detector, by least support")
    axes.grid(color="0.88")
    return to_png(figure)


WEIGHTS = weights_option(MODELS[-1])
FITTED = "shape.npz of train_lgcn.py (default where one is needed: the weights' own)"
SHAPE_MODEL = option("--shape-model", metavar="FILE", type=cli.path, help=FITTED)
PHOTOS = (
    option(
        "--photos",
        metavar="DIR",
        type=cli.path,
        required=True,
        help="photos with <photo>_<face>.pts of each annotated face",
    ),
    option(
        "--list",
        dest="listed",
        metavar="FILE",
        type=cli.path,
        help="text file of photo names, one per line (default: all)",
    ),
)
SMALLEST = "longer side of the smallest face's landmark box, pixels"
SEARCH = (
    WEIGHTS,
    SHAPE_MODEL,
    option("--min-face", type=cli.positive, default=MIN_FACE, metavar="PIXELS", help=SMALLEST),
)
FIGURES = {
    "kernel": Command(make_kernel),
    "context": Command(make_context, (WEIGHTS, *FACES, show_option(8, "faces to show"))),
    "ced": Command(make_ced, (WEIGHTS, *FACES, SHAPE_MODEL)),
    "faces": Command(make_faces, (WEIGHTS, *FACES, SHAPE_MODEL)),
    "photo": Command(make_photo, (*SEARCH, INPUT)),
    "found": Command(make_found, (*SEARCH, *PHOTOS)),
}
COMMANDS = FigureCommands("lgcn", __doc__, FIGURES)


if __name__ == "__main__":
    cli.run(COMMANDS.main)
