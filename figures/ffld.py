"""The figures of FFLD (Y. Yan et al., CVIU 200, 2020; gluon_models/ffld/network.py), one command each, as one PNG file.

Without --data they show rendered faces or matplotlib's sample photo. See docs/figures.md.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial, wraps
from typing import Any, Callable, Sequence

import cv2
import mxnet as mx
import numpy as np

from common import cli
from datasets.augment import Augmentation, occlude
from datasets.geometry import compose, crop_matrix, transform_points, warp_image
from datasets.markups import Markup
from evaluation.metrics import landmark_errors, mean_of_known
from figures import ffld_drawing as drawing
from figures.commands import Command, FaceChoice, FigureCommands, Option, check_number, option, show_option
from figures.ffld_network import StagedNetwork
from figures.inputs import FACE, FACES, INPUT, LENGTHS, Sample, extreme_pictures, load_sample, one_face, only, spread
from figures.loss_landscapes import contour_map, landscapes
from figures.networks import load_networks, network_options
from gluon_models.ffld.crop import PATCH, SELECTED
from gluon_models.ffld.network import MAP_SIZES
from report.plots import draw_networks

BASELINE, REFINED = "resnet18_slim", "ffld_resnet18"
CHANNELS_SHOWN = 8
LANDMARKS_SHOWN = 6  # of each contour
LANDMARK_LIMITS, LANDMARK_SAMPLE = (0.01, 0.03), 0.0275  # Sec. 6.4, Fig. 11
ZOOM_FRACTION = 0.25  # of the crop's side
VIEW_SIDE = 448  # pixels
SIDES = (16, 24, 32, 48, 64, 112, 224)  # pixels
OCCLUSION = Augmentation(occlusion_probability=1.0, occlusion_fraction=0.5)


def make_maps(networks: list[StagedNetwork], faces: FaceChoice, photo: str | None, face: int | None) -> bytes:
    """Fig. 2: channels of the maps that the CropNets crop from, finest first."""
    network = networks[0]
    crop = one_face(network, faces, photo, face)
    maps = [each[0].asnumpy() for each in network.baseline.with_maps(mx.nd, network.input(crop))[1]]
    levels = [
        drawing.Level(f"level {level}\n{m.shape[1]} x {m.shape[1]}", m[most_varied(m, CHANNELS_SHOWN)])
        for level, m in enumerate(reversed(maps), start=1)
    ]
    title = f"Feature maps of {network.label}: of each level the {CHANNELS_SHOWN} channels that vary most"
    return drawing.draw_maps(crop, levels, title)


def most_varied(maps: np.ndarray, count: int) -> np.ndarray:
    """Numbers of the channels of (C, s, s) with the largest variance, in the order of their numbers."""
    return np.sort(np.argsort(-maps.var(axis=(1, 2)), kind="stable")[:count])


def make_selected(
    networks: list[StagedNetwork], faces: FaceChoice, photo: str | None, face: int | None, stage: int | None
) -> bytes:
    """Fig. 5: the patches that a CropNet gets, four selected channels for each landmark of two contours."""
    network = networks[0]
    stage = _stage(network, stage)
    crop = one_face(network, faces, photo, face)
    points, maps = network.refined().cascade.with_maps(mx.nd, network.input(crop))
    start = points[stage - 1]
    cropped = network.refined().cascade.refinements[stage - 1].crop(maps[stage - 1], start)
    patches = cropped.asnumpy().reshape(-1, SELECTED, PATCH, PATCH)
    groups = [
        drawing.PatchGroup(name, landmarks, patches[landmarks]) for name, landmarks in contours(network.markup).items()
    ]
    points = start[0].asnumpy() * network.spec.size - 0.5
    side = PATCH * network.spec.size // MAP_SIZES[stage - 1]
    title = f"Stage {stage} of {network.label}: patches of {PATCH} x {PATCH} cells ({side} x {side} pixels of the crop)"
    return drawing.draw_selected(crop, points, groups, title + ", each from its lowest to its highest value")


def contours(markup: Markup) -> dict[str, np.ndarray]:
    """Fig. 5's two groups: at most six landmarks each, evenly spread along the face's and the eyes' contours."""
    regions = {name: markup.regions.get(name, ()) for name in ("jaw", "right_eye", "left_eye")}
    eyes = (*regions["right_eye"], *regions["left_eye"])
    groups = {"face contour": regions["jaw"], "eye contours": eyes}
    return {name: np.array(all_)[spread(len(all_), LANDMARKS_SHOWN)] for name, all_ in groups.items() if all_}


def make_landscapes(
    networks: list[StagedNetwork], faces: FaceChoice, face: int | None, stage: int | None, landmark: int
) -> bytes:
    """Fig. 6: the losses about one landmark, on an artificial map as in the paper and on one of the network's."""
    network = networks[0]
    stage = _stage(network, stage)
    sample = load_sample(faces, network, only(face))
    check_number("landmark", landmark, network.baseline.num_landmarks)
    maps = network.refined().cascade.with_maps(mx.nd, network.input(sample.crops[0]))[1][stage - 1]
    crop = network.refined().cascade.refinements[stage - 1].crop
    rows = slice(SELECTED * landmark, SELECTED * (landmark + 1))
    truth = (sample.truth_crop[0, landmark] + 0.5) / network.spec.size
    if not np.isfinite(truth).all():
        raise ValueError(f"landmark {landmark} is not annotated on this face: name another --landmark or --face")
    artificial, middle = contour_map(2 * MAP_SIZES[0])
    name = network.markup.names[landmark].replace("_", " ")
    shown = (
        landscapes("artificial contour", mx.nd.array(artificial[None, None]), mx.nd.array(np.eye(SELECTED, 1)), middle),
        landscapes(f"stage {stage}, {name}", maps, crop.selection.data()[rows], truth),
    )
    title = f"Losses by where the predicted point is; below on the selected channels of {network.label}"
    return drawing.draw_landscapes(shown, PATCH, title)


def make_ced(networks: list[StagedNetwork], faces: FaceChoice) -> bytes:
    """Fig. 9: the cumulative error distribution of each network."""
    sample = load_sample(faces, networks[0])
    curves = {}
    for network in networks:
        errors = sample.errors(network.points(sample.crops))
        curves[f"{network.label}: mean {100 * np.nanmean(errors):.2f} %"] = errors
    limit = 0.05 if sample.unit == LENGTHS["face_size"] else 0.1
    return draw_networks(curves, (0.0, limit), sample.curve_text, f"Cumulative error distribution: {sample.title}")


def make_stages(networks: list[StagedNetwork], faces: FaceChoice) -> bytes:
    """Sec. 6.3: what each refinement adds, as a table on the screen and as curves."""
    network = networks[0]
    network.refined()
    sample = load_sample(faces, network)
    errors = [sample.errors(points) for points in network.stages(sample.crops)]
    names = ["baseline network", *(f"refinement {stage}" for stage in range(1, len(errors)))]
    print(f"{sample.title}, error over the {sample.unit}\n{stage_table(names, errors)}")
    curves = {f"{name}: mean {100 * np.nanmean(each):.2f} %": each for name, each in zip(names, errors)}
    return draw_networks(curves, (0.0, 0.08), sample.curve_text, f"Stage by stage: {network.label}, {sample.title}")


def stage_table(names: Sequence[str], errors: Sequence[np.ndarray]) -> str:
    """The mean error (%) of each stage, and by what share it is below the first's and the one's before."""
    means = [100 * np.nanmean(each) for each in errors]
    lines = [f"{'stage':<20}{'mean':>8}{'of the first':>15}{'of the last':>15}"]
    for name, mean, before in zip(names, means, [means[0], *means]):
        lines.append(
            f"{name:<20}{mean:>6.2f} %{100 * (mean / means[0] - 1):>13.1f} %{100 * (mean / before - 1):>13.1f} %"
        )
    return "\n".join(lines)


def make_landmark_ced(networks: list[StagedNetwork], faces: FaceChoice) -> bytes:
    """Fig. 11: the share of all landmarks of all faces with at most some small error."""
    sample = load_sample(faces, networks[0])
    curves = {}
    for network in networks:
        errors = pooled_errors(sample, network.points(sample.crops))
        reached = np.mean(errors <= LANDMARK_SAMPLE)
        curves[f"{network.label}: {100 * reached:.1f} % at {100 * LANDMARK_SAMPLE:g} %"] = errors
    text = (f"error of a landmark over the face's {sample.unit}", "landmarks with at most this error")
    return draw_networks(curves, LANDMARK_LIMITS, text, f"Small errors, landmark by landmark: {sample.title}")


def pooled_errors(sample: Sample, points_crop: np.ndarray) -> np.ndarray:
    """The errors of all annotated landmarks of all faces in one list, fractions."""
    errors = landmark_errors(points_crop, sample.truth_crop, sample.lengths).ravel()
    return errors[~np.isnan(errors)]


def make_compare(networks: list[StagedNetwork], faces: FaceChoice, show: int) -> bytes:
    """Fig. 10, 15 to 17: each network's points on the same faces, with a zoom where first and last differ most."""
    if len(networks) < 2:
        raise ValueError("compare takes two networks or more: give --weights several files, the baseline first")
    sample = load_sample(faces, networks[0], lambda count: spread(count, show))
    predictions = [network.points(sample.crops) for network in networks]
    rows: dict[str, list[drawing.Cell]] = {network.label: [] for network in networks}
    whole = np.array([0, 0, *sample.crops.shape[1:3]])
    for face in range(len(sample.indices)):
        close = zoom_square(predictions[0][face], predictions[-1][face], ZOOM_FRACTION * sample.crops.shape[1])
        for network, points in zip(networks, predictions):
            error = sample.errors(points)[face]
            cells = show_squares(sample, face, points[face], (whole, close))
            framed = cells[0]._replace(title=f"{100 * error:.2f} %", truth=None, frame=close / len(sample.crops[face]))
            rows[network.label] += [framed, cells[1]]
    title = f"{sample.title}: mean error over the {sample.unit}; zoom to where first and last row differ most"
    return drawing.draw_cells(rows, sample.faces.markup, title)


def show_squares(
    sample: Sample, face: int, points_crop: np.ndarray, squares: Sequence[np.ndarray]
) -> list[drawing.Cell]:
    """Parts of one face, cut sharply from its photo.

    Args:
        sample: the faces.
        face: which of them.
        points_crop: (K, 2) predicted, pixels of the crop.
        squares: of the crop, (4,) each.
    """
    image = sample.faces[sample.indices[face]].image
    cells = []
    for square in squares:
        to_view = crop_matrix(square, VIEW_SIDE)
        view = warp_image(image, compose(to_view, sample.matrices[face]), VIEW_SIDE)
        points, truth = (transform_points(each, to_view) for each in (points_crop, sample.truth_crop[face]))
        cells.append(drawing.Cell(view, points, truth=truth))
    return cells


def zoom_square(one: np.ndarray, other: np.ndarray, side: float) -> np.ndarray:
    """The square (4,) about one of the landmarks in which two predictions (K, 2) differ most in all."""
    middle = 0.5 * (one + other)
    near = (np.abs(middle[:, None] - middle[None]) <= side / 2).all(axis=2)
    difference = np.linalg.norm(one - other, axis=1)
    centre = middle[(near * difference).sum(axis=1).argmax()]
    return np.concatenate([centre - side / 2, centre + side / 2])


def make_occluded(networks: list[StagedNetwork], faces: FaceChoice, show: int) -> bytes:
    """Fig. 12: faces of which a box hides a part; shown are those with the most landmarks hidden."""
    sample = load_sample(faces, networks[0])
    crops, hidden = occlude_faces(sample, np.random.default_rng(faces.seed))
    shown = np.argsort(-hidden.sum(axis=1), kind="stable")[:show]
    rows, lines = {}, []
    for network in networks:
        before, after = network.points(sample.crops), network.points(crops)
        errors = landmark_errors(after, sample.truth_crop, sample.lengths)
        each = mean_of_known(errors, axis=1)
        rows[network.label] = [drawing.Cell(crops[k], after[k], f"{100 * each[k]:.2f} %") for k in shown]
        lines.append(
            f"{network.label}: clear faces {_percent(sample.errors(before))}, occluded {_percent(each)}"
            f" (hidden landmarks {_percent(errors[hidden])}, others {_percent(errors[~hidden])})"
        )
    title = f"{sample.title}, each with a random box in front: mean error over the {sample.unit}"
    return drawing.draw_cells(rows, sample.faces.markup, "\n".join([title, *lines]))


def occlude_faces(sample: Sample, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Crops (n, S, S, 3) with a box in front of each, and which landmarks it hides, (n, K)."""
    crops = np.stack([occlude(crop.copy(), OCCLUSION, rng) for crop in sample.crops])
    hidden = np.zeros(sample.truth_crop.shape[:2], bool)
    for face, (before, after) in enumerate(zip(sample.crops, crops)):
        rows, columns = np.nonzero((before != after).any(axis=2))
        low, high = (np.array([pick(columns), pick(rows)]) for pick in (np.min, np.max))
        points = sample.truth_crop[face]
        hidden[face] = ((points >= low - 0.5) & (points <= high + 0.5)).all(axis=1)
    return crops, hidden


def _percent(errors: np.ndarray) -> str:
    known = errors[~np.isnan(errors)]
    return f"{100 * known.mean():.2f} %" if known.size else "none"


def make_corrections(networks: list[StagedNetwork], faces: FaceChoice) -> bytes:
    """Fig. 13: histograms of what each CropNet adds to the points."""
    network = networks[0]
    network.refined()
    sample = load_sample(faces, network)
    title = f"Corrections of {network.label}, landmark by landmark: {sample.title}"
    return drawing.draw_corrections(np.diff(network.stages(sample.crops), axis=0), network.spec.size, title)


def make_failures(networks: list[StagedNetwork], faces: FaceChoice, show: int, side: int) -> bytes:
    """Fig. 14: the worst faces at a low resolution, and the mean error at several."""
    size = networks[0].spec.size
    if not 2 <= side <= size:
        raise ValueError(f"--side {side}: give pixels from 2 to {size}, the side of the whole crop")
    sample = load_sample(faces, networks[0])
    sides = sorted({*SIDES, side, size})
    at_side = {each: lower_resolution(sample.crops, each) for each in sides}
    means = {
        network.label: np.array([np.nanmean(sample.errors(network.points(at_side[each]))) for each in sides])
        for network in networks
    }
    shown = replace(sample, crops=at_side[side])
    points = networks[-1].points(shown.crops)
    _, worst, _ = extreme_pictures(shown, points, shown.errors(points), show)
    text = (f"mean error over the {sample.unit}", f"Low resolution: {sample.title}, crops shrunk and enlarged again")
    return drawing.draw_failures(sides, means, worst, side, text)


def lower_resolution(crops: np.ndarray, side: int) -> np.ndarray:
    """Crops (n, S, S, 3) shrunk to `side` pixels by averaging, and enlarged again by linear interpolation."""
    size = crops.shape[1]
    small = (cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA) for crop in crops)
    return np.stack([cv2.resize(crop, (size, size), interpolation=cv2.INTER_LINEAR) for crop in small])


def _stage(network: StagedNetwork, stage: int | None) -> int:
    """The refinement to show, the last if none is named."""
    last = network.refined().num_stages
    stage = stage or last
    if stage > last:
        raise ValueError(f"--stage {stage}: {network.source} has {last}")
    return stage


def _command(make: Callable[..., bytes], shipped: Sequence[str], *options: Option) -> Command:
    """A figure of some networks, those that ship where none are named, and of faces."""

    @wraps(make)
    def draw(context: mx.Context, weights: list[str], labels: list[str] | None, **options: Any) -> bytes:
        return make(load_networks(partial(StagedNetwork, context=context), weights, labels), **options)

    return Command(draw, (*network_options(shipped), *FACES, *options))


STAGE = option("--stage", type=cli.count, choices=(1, 2, 3), help="CropNet to show (default: the last)")
LANDMARK = option("--landmark", type=cli.count_or_none, default=8, help="number of a landmark, from 0")
SHOW = show_option(3, "faces to show")
SIDE = option("--side", type=cli.count, default=32, help="side of the shrunk crops of the faces shown, pixels")
FIGURES = {
    "maps": _command(make_maps, [REFINED], INPUT, FACE),
    "selected": _command(make_selected, [REFINED], INPUT, FACE, STAGE),
    "landscapes": _command(make_landscapes, [REFINED], FACE, STAGE, LANDMARK),
    "ced": _command(make_ced, [BASELINE, REFINED]),
    "stages": _command(make_stages, [REFINED]),
    "compare": _command(make_compare, [BASELINE, REFINED], SHOW),
    "landmark-ced": _command(make_landmark_ced, [BASELINE, REFINED]),
    "occluded": _command(make_occluded, [BASELINE, REFINED], SHOW),
    "corrections": _command(make_corrections, [REFINED]),
    "failures": _command(make_failures, [BASELINE, REFINED], SHOW, SIDE),
}
COMMANDS = FigureCommands("ffld", __doc__, FIGURES)


if __name__ == "__main__":
    cli.run(COMMANDS.main)
