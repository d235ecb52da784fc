"""The figures of FFLD (Y. Yan et al., CVIU 200, 2020; gluon_models/ffld.py), one command each, as one PNG file.

Without --data they show rendered faces or matplotlib's sample photo. See docs/figures.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Callable, NamedTuple, Sequence

import cv2
import mxnet as mx
import numpy as np

from datasets.augment import Augmentation, occlude
from datasets.geometry import compose, crop_matrix, transform_points, warp_image
from datasets.images import write_whole
from datasets.markups import Markup
from engine import cli, devices
from engine.files import make_folder
from evaluation.metrics import landmark_errors, mean_of_known
from evaluation.plots import Picture, draw_networks
from figures import ffld_drawing as drawing
from figures.inputs import (
    LENGTHS,
    Network,
    Sample,
    add_face_arguments,
    add_network_arguments,
    cli_count,
    crop_photo,
    load_networks,
    load_sample,
    spread,
)
from figures.loss_landscapes import contour_map, landscapes
from gluon_models.ffld import MAP_SIZES
from gluon_models.patch_crop import PATCH, SELECTED

BASELINE, REFINED = "resnet18_slim", "ffld_resnet18"
CHANNELS_SHOWN = 8
LANDMARKS_SHOWN = 6  # of each contour
LANDMARK_LIMITS, LANDMARK_SAMPLE = (0.01, 0.03), 0.0275  # Sec. 6.4, Fig. 11
ZOOM_FRACTION = 0.25  # of the crop's side
VIEW_SIDE = 448  # pixels
SIDES = (16, 24, 32, 48, 64, 112, 224)  # pixels
OCCLUSION = Augmentation(occlusion_probability=1.0, occlusion_fraction=0.5)


def make_maps(arguments: argparse.Namespace, networks: list[Network]) -> bytes:
    """Fig. 2: channels of the maps that the CropNets look at, finest first."""
    network = networks[0]
    crop = _one_face(arguments, network)
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


def make_selected(arguments: argparse.Namespace, networks: list[Network]) -> bytes:
    """Fig. 5: the patches that a CropNet gets, four selected channels for each landmark of two contours."""
    network = networks[0]
    stage = _stage(arguments, network)
    crop = _one_face(arguments, network)
    answers, maps = network.refined().cascade.with_maps(mx.nd, network.input(crop))
    start = answers[stage - 1]
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


def make_landscapes(arguments: argparse.Namespace, networks: list[Network]) -> bytes:
    """Fig. 6: the losses about one landmark, on an artificial map as in the paper and on one of the network's."""
    network = networks[0]
    stage = _stage(arguments, network)
    sample = load_sample(arguments, network, _only(arguments.face))
    landmark = _number("landmark", arguments.landmark, network.baseline.num_landmarks)
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


def make_ced(arguments: argparse.Namespace, networks: list[Network]) -> bytes:
    """Fig. 9: the cumulative error distribution of each network."""
    sample = load_sample(arguments, networks[0])
    curves = {}
    for network in networks:
        errors = sample.errors(network.points(sample.crops))
        curves[f"{network.label}: mean {100 * np.nanmean(errors):.2f} %"] = errors
    words = (f"mean error of a face over its {sample.unit}", "faces with at most this error")
    limit = 0.05 if sample.unit == LENGTHS["face_size"] else 0.1
    return draw_networks(curves, (0.0, limit), words, f"Cumulative error distribution: {sample.title}")


def make_stages(arguments: argparse.Namespace, networks: list[Network]) -> bytes:
    """Sec. 6.3: what each refinement adds, as a table on the screen and as curves."""
    network = networks[0]
    network.refined()
    sample = load_sample(arguments, network)
    errors = [sample.errors(points) for points in network.stages(sample.crops)]
    names = ["baseline network", *(f"refinement {stage}" for stage in range(1, len(errors)))]
    print(f"{sample.title}, error over the {sample.unit}\n{stage_table(names, errors)}")
    curves = {f"{name}: mean {100 * np.nanmean(each):.2f} %": each for name, each in zip(names, errors)}
    words = (f"mean error of a face over its {sample.unit}", "faces with at most this error")
    return draw_networks(curves, (0.0, 0.08), words, f"Stage by stage: {network.label}, {sample.title}")


def stage_table(names: Sequence[str], errors: Sequence[np.ndarray]) -> str:
    """The mean error (%) of each stage, and by what share it is below the first's and the one's before."""
    means = [100 * np.nanmean(each) for each in errors]
    lines = [f"{'stage':<20}{'mean':>8}{'of the first':>15}{'of the last':>15}"]
    for name, mean, before in zip(names, means, [means[0], *means]):
        lines.append(
            f"{name:<20}{mean:>6.2f} %{100 * (mean / means[0] - 1):>13.1f} %{100 * (mean / before - 1):>13.1f} %"
        )
    return "\n".join(lines)


def make_landmark_ced(arguments: argparse.Namespace, networks: list[Network]) -> bytes:
    """Fig. 11: the share of all landmarks of all faces with at most some small error."""
    sample = load_sample(arguments, networks[0])
    curves = {}
    for network in networks:
        errors = pooled_errors(sample, network.points(sample.crops))
        reached = np.mean(errors <= LANDMARK_SAMPLE)
        curves[f"{network.label}: {100 * reached:.1f} % at {100 * LANDMARK_SAMPLE:g} %"] = errors
    words = (f"error of a landmark over the face's {sample.unit}", "landmarks with at most this error")
    return draw_networks(curves, LANDMARK_LIMITS, words, f"Small errors, landmark by landmark: {sample.title}")


def pooled_errors(sample: Sample, points_crop: np.ndarray) -> np.ndarray:
    """The errors of all annotated landmarks of all faces in one list, fractions."""
    errors = landmark_errors(points_crop, sample.truth_crop, sample.lengths).ravel()
    return errors[~np.isnan(errors)]


def make_compare(arguments: argparse.Namespace, networks: list[Network]) -> bytes:
    """Fig. 10, 15 to 17: each network's points on the same faces, with a zoom where first and last differ most."""
    if len(networks) < 2:
        raise ValueError("compare takes two networks or more: give --weights several files, the baseline first")
    sample = load_sample(arguments, networks[0], lambda count: spread(count, arguments.show))
    answers = [network.points(sample.crops) for network in networks]
    rows: dict[str, list[drawing.Cell]] = {network.label: [] for network in networks}
    whole = np.array([0, 0, *sample.crops.shape[1:3]])
    for face in range(len(sample.indices)):
        close = zoom_square(answers[0][face], answers[-1][face], ZOOM_FRACTION * sample.crops.shape[1])
        for network, points in zip(networks, answers):
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
    """The square (4,) about one of the landmarks in which two answers (K, 2) differ most in all."""
    middle = 0.5 * (one + other)
    near = (np.abs(middle[:, None] - middle[None]) <= side / 2).all(axis=2)
    difference = np.linalg.norm(one - other, axis=1)
    centre = middle[(near * difference).sum(axis=1).argmax()]
    return np.concatenate([centre - side / 2, centre + side / 2])


def make_occluded(arguments: argparse.Namespace, networks: list[Network]) -> bytes:
    """Fig. 12: faces of which a box hides a part; shown are those with the most landmarks hidden."""
    sample = load_sample(arguments, networks[0])
    crops, hidden = occlude_faces(sample, np.random.default_rng(arguments.seed))
    shown = np.argsort(-hidden.sum(axis=1), kind="stable")[: arguments.show]
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


def make_corrections(arguments: argparse.Namespace, networks: list[Network]) -> bytes:
    """Fig. 13: histograms of what each CropNet adds to the points."""
    network = networks[0]
    network.refined()
    sample = load_sample(arguments, network)
    title = f"Corrections of {network.label}, landmark by landmark: {sample.title}"
    return drawing.draw_corrections(np.diff(network.stages(sample.crops), axis=0), network.spec.size, title)


def make_failures(arguments: argparse.Namespace, networks: list[Network]) -> bytes:
    """Fig. 14: the worst faces at a low resolution, and the mean error at several."""
    size = networks[0].spec.size
    if not 2 <= arguments.side <= size:
        raise ValueError(f"--side {arguments.side}: give pixels from 2 to {size}, the side of the whole crop")
    sample = load_sample(arguments, networks[0])
    sides = sorted({*SIDES, arguments.side, size})
    at_side = {side: lower_resolution(sample.crops, side) for side in sides}
    means = {
        network.label: np.array([np.nanmean(sample.errors(network.points(at_side[side]))) for side in sides])
        for network in networks
    }
    points = networks[-1].points(at_side[arguments.side])
    errors = sample.errors(points)
    worst = np.argsort(-np.nan_to_num(errors, nan=-1.0), kind="stable")[: arguments.show]
    pictures = [
        Picture(
            at_side[arguments.side][k],
            points[k],
            sample.truth_crop[k],
            sample.faces.names[sample.indices[k]],
            errors[k],
        )
        for k in worst
    ]
    words = (f"mean error over the {sample.unit}", f"Low resolution: {sample.title}, crops shrunk and enlarged again")
    return drawing.draw_failures(sides, means, pictures, arguments.side, words)


def lower_resolution(crops: np.ndarray, side: int) -> np.ndarray:
    """Crops (n, S, S, 3) shrunk to `side` pixels by averaging, and enlarged again by linear interpolation."""
    size = crops.shape[1]
    small = (cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA) for crop in crops)
    return np.stack([cv2.resize(crop, (size, size), interpolation=cv2.INTER_LINEAR) for crop in small])


def _one_face(arguments: argparse.Namespace, network: Network) -> np.ndarray:
    """The crop (S, S, 3) to look into: of --input, of the data set's face --face, or of the sample photo."""
    if arguments.data or arguments.dataset or arguments.face is not None:
        if arguments.input:
            raise ValueError("--input names one face, --data, --dataset and --face another: leave one out")
        return load_sample(arguments, network, _only(arguments.face)).crops[0]
    return crop_photo(arguments.input, network.spec)


def _only(face: int | None) -> Callable[[int], list[int]]:
    """Picks one face for `load_sample`, the first if none is named."""
    return lambda count: [_number("face", face or 0, count)]


def _number(name: str, number: int, count: int) -> int:
    """A number that counts from 0, which must be one of `count`."""
    if not 0 <= number < count:
        raise ValueError(f"--{name} {number}: give a number from 0 to {count - 1}")
    return number


def _stage(arguments: argparse.Namespace, network: Network) -> int:
    """The refinement to look at, the last if none is named."""
    last = network.refined().num_stages
    stage = arguments.stage or last
    if stage > last:
        raise ValueError(f"--stage {stage}: {network.source} has {last}")
    return stage


class Figure(NamedTuple):
    """One command.

    Attributes:
        make: draws the figure.
        shipped: whose weights are taken where none are named; several where the figure compares networks.
        options: further arguments it takes, of `OPTIONS`.
    """

    make: Callable[[argparse.Namespace, list[Network]], bytes]
    shipped: tuple[str, ...]
    options: tuple[str, ...] = ()


FIGURES = {
    "maps": Figure(make_maps, (REFINED,), ("--input", "--face")),
    "selected": Figure(make_selected, (REFINED,), ("--input", "--face", "--stage")),
    "landscapes": Figure(make_landscapes, (REFINED,), ("--face", "--stage", "--landmark")),
    "ced": Figure(make_ced, (BASELINE, REFINED)),
    "stages": Figure(make_stages, (REFINED,)),
    "compare": Figure(make_compare, (BASELINE, REFINED), ("--show",)),
    "landmark-ced": Figure(make_landmark_ced, (BASELINE, REFINED)),
    "occluded": Figure(make_occluded, (BASELINE, REFINED), ("--show",)),
    "corrections": Figure(make_corrections, (REFINED,)),
    "failures": Figure(make_failures, (BASELINE, REFINED), ("--show", "--side")),
}
OPTIONS = {
    "--input": {"metavar": "PHOTO", "help": "photo with a face; else matplotlib's sample photo"},
    "--face": {"type": int, "help": "which face of the data set, counted from 0; the first if left out"},
    "--stage": {"type": int, "choices": (1, 2, 3), "help": "which CropNet; else the last"},
    "--landmark": {"type": int, "default": 8, "help": "which landmark, counted from 0"},
    "--show": {"type": cli_count, "default": 3, "help": "how many faces to show"},
    "--side": {"type": int, "default": 32, "help": "pixels to which the crop's side is shrunk for the faces shown"},
}


def make_parser() -> argparse.ArgumentParser:
    """The command line: the figure's name, then its arguments."""
    parser = cli.make_parser(__doc__)
    parser.prog = "python -m figures.ffld"
    commands = parser.add_subparsers(metavar="FIGURE", dest="figure", required=True)
    for name, figure in FIGURES.items():
        words = str(figure.make.__doc__)
        command = commands.add_parser(name, help=words, description=words, formatter_class=parser.formatter_class)
        add_network_arguments(command, figure.shipped)
        add_face_arguments(command)
        for option in figure.options:
            command.add_argument(option, **OPTIONS[option])
        command.add_argument("--out", metavar="FILE.png", required=True, help="the picture to write")
        cli.add_device_arguments(command)
    return parser


def main(words: Sequence[str] | None = None) -> int:
    """Draws one figure."""
    arguments = make_parser().parse_args(words)
    out = Path(arguments.out)
    if out.suffix.lower() != ".png":
        raise ValueError(f"--out {out}: figures are PNG files; give a name that ends in .png")
    networks = load_networks(arguments.weights, arguments.labels, devices.contexts(arguments.gpus)[0])
    make_folder(out.parent)
    write_whole(out, FIGURES[arguments.figure].make(arguments, networks))
    print(f"open {out}")
    return 0


if __name__ == "__main__":
    cli.run(main)
