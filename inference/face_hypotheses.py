"""Landmarks of every face of a photo with no face detector (LGCN, Sec. 4.3).

A fully convolutional network looks at the whole photo at sizes that differ by factors of two. Local maxima of its maps
are candidates; each votes for the centre of the face that it would be a landmark of, candidates whose votes agree make
a hypothesis, and the shape model accepts it or not. Only candidates are kept of the maps, and sizes too large for the
memory are worked through in tiles, whose maps are those of the whole.

Numbers in brackets, such as [L28], point into docs/lgcn.md, where each detail the paper leaves open is settled.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Iterator, NamedTuple

import cv2
import numpy as np
from mxnet.gluon import HybridBlock

from datasets.geometry import landmark_box
from datasets.markups import Markup
from gluon_models import load_weights
from gluon_models.spec import InputSpec
from inference.detectors import overlap
from inference.landmark_detector import LocatedFace, check_image, find_weights, markup_named
from inference.pipeline import PointPredictor, crop_faces, map_codec, shape_fitter, to_image
from inference.shape_model import ShapeFit, ShapeModel, kabsch, load_shape_model

MIN_FACE = 60.0  # pixels of the photo, longer side of the landmarks' box [L28]
OCTAVE = 2.0  # between two sizes of the photo: "by factors of two"
REACH = 72  # pixels that the network sees to each side: 10 and 10 of 5x5 and 3x3, 22 of the kernel, 28 dilated
TILE = 384  # pixels of a tile, those around its own part included
LEAST_PEAK = 0.2  # "a simple threshold" [L29]
PEAKS_OF_A_MAP = 100  # of a tile at most, the highest ones
JOIN_RADIUS = 0.05  # of a face: what joins candidates of one landmark across sizes [L30]
VOTE_RADIUS = 0.3  # of a face: how far votes of one face may lie apart [L31]
LEAST_LANDMARKS = 0.2  # of all, that a hypothesis has candidates of
LEAST_SUPPORT = 0.35  # mean value of the maps under a shape that is accepted [L32]
ROUNDS = 2  # that a hypothesis is cropped and fitted [L32]
MOST_CANDIDATES = 20_000  # of a photo, the highest ones
MOST_HYPOTHESES = 300  # of a photo
SHARED_AREA = 0.4  # of the smaller box: two faces that share more are one [L33]


@dataclass(frozen=True)
class Candidates:
    """Local maxima of maps, n of them.

    Attributes:
        landmarks: (n,) which map each is of.
        points_image: (n, 2) pixels of the photo.
        values: (n,).
        faces: (n,) pixels: longer side of the face that the network is made for, at the size it was found at.
    """

    landmarks: np.ndarray
    points_image: np.ndarray
    values: np.ndarray
    faces: np.ndarray

    def __len__(self) -> int:
        return len(self.values)

    def chosen(self, indices: np.ndarray) -> Candidates:
        """Those with these numbers, or those where a mask says so."""
        return Candidates(*(each[indices] for each in vars(self).values()))


class Level(NamedTuple):
    """A size at which a photo is looked at.

    Attributes:
        size: width and height in pixels.
        face: longer side of the face that the network is made for, in pixels of the photo.
    """

    size: tuple[int, int]
    face: float


class Tile(NamedTuple):
    """A part of a picture: what the network gets (x0, y0, x1, y1), and what of it no neighbour answers better."""

    seen: tuple[int, int, int, int]
    own: tuple[int, int, int, int]


def pyramid(width: int, height: int, spec: InputSpec, min_face: float = MIN_FACE) -> list[Level]:
    """The sizes at which a photo is looked at, from the one for the smallest faces to the first below the crop's side.

    Raises:
        ValueError: `min_face` is not positive.
    """
    if not min_face > 0:
        raise ValueError(f"the smallest face of {min_face} pixels cannot be: give more than 0")
    whole = spec.size / (1 + spec.box_margin)  # longer side of a face that fills a crop, pixels
    # Faces between two sizes are up to the root of a factor too large or too small for the nearer one.
    zoom = whole / np.sqrt(OCTAVE) / min_face
    levels = []
    while True:
        size = max(1, round(width * zoom)), max(1, round(height * zoom))
        levels.append(Level(size, whole / zoom))
        if min(size) < spec.size:
            return levels
        zoom /= OCTAVE


def tiles(width: int, height: int, side: int = TILE, reach: int = REACH) -> Iterator[Tile]:
    """Parts that cover a picture, all of one size, each with what the network sees around its own."""
    for y0, y1, top, bottom in _spans(height, side, reach):
        for x0, x1, left, right in _spans(width, side, reach):
            yield Tile((x0, y0, x1, y1), (left, top, right, bottom))


def _spans(length: int, side: int, reach: int) -> Iterator[tuple[int, int, int, int]]:
    """Start and end of what is seen, start and end of what is its own."""
    if length <= side:
        yield 0, length, 0, length
        return
    count = -(-(length - 2 * reach) // (side - 2 * reach))
    starts = np.linspace(0, length - side, count).round().astype(int).tolist()
    # Between neighbours the border lies in the middle of what both see.
    borders = [0, *((one + side + other) // 2 for one, other in zip(starts, starts[1:])), length]
    for start, left, right in zip(starts, borders, borders[1:]):
        yield start, start + side, left, right


def find_peaks(maps: np.ndarray, least: float = LEAST_PEAK) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Local maxima of maps (K, H, W) of at least `least`: their landmarks (n,), cells (n, 2) x then y, values (n,)."""
    landmarks, cells, values = [], [], []
    for landmark in np.flatnonzero(maps.max(axis=(1, 2)) >= least):
        one = maps[landmark]
        rows, columns = np.nonzero((one >= least) & (one >= cv2.dilate(one, np.ones((3, 3), np.uint8))))
        highest = np.argsort(-one[rows, columns], kind="stable")[:PEAKS_OF_A_MAP]
        landmarks.append(np.full(len(highest), landmark))
        cells.append(np.stack([columns[highest], rows[highest]], axis=1))
        values.append(one[rows[highest], columns[highest]])
    if not values:
        return np.zeros(0, int), np.zeros((0, 2), int), np.zeros(0)
    return np.concatenate(landmarks), np.concatenate(cells), np.concatenate(values).astype(float)


def join(candidates: Candidates, radius: float = JOIN_RADIUS) -> Candidates:
    """What is left of candidates where maps of all sizes are joined by their maximum [L30].

    A candidate goes if a higher one of its landmark, found at whatever size, lies within `radius` of the larger face.
    """
    kept = np.zeros(len(candidates), bool)
    for landmark in np.unique(candidates.landmarks):
        numbers = np.flatnonzero(candidates.landmarks == landmark)
        numbers = numbers[np.argsort(-candidates.values[numbers], kind="stable")]
        taken: list[int] = []
        for number in numbers:
            offsets = candidates.points_image[taken] - candidates.points_image[number]
            reach = radius * np.maximum(candidates.faces[taken], candidates.faces[number])
            if not (np.hypot(*offsets.T) < reach).any():
                taken.append(number)
        kept[taken] = True
    return candidates.chosen(np.flatnonzero(kept))


class Clusters:
    """Groups candidates into hypotheses of faces: similarity transforms of the mean shape.

    Args:
        model: what faces look like.
    """

    def __init__(self, model: ShapeModel) -> None:
        box = landmark_box(model.mean)
        side = (box[2:] - box[:2]).max()
        # A face of longer side 1 whose box has its centre at 0.
        self._mean = (model.mean - (box[:2] + box[2:]) / 2) / side

    def __call__(self, candidates: Candidates) -> Iterator[np.ndarray]:
        """Shapes (K, 2) in pixels of the photo, those of the most candidates first; each candidate is used once."""
        least = LEAST_LANDMARKS * len(self._mean)
        for _ in range(MOST_HYPOTHESES):
            group = self._densest(candidates)
            best = _highest_of_each(candidates.chosen(group))
            if len(best) < least:
                return
            yield self._place(best)
            candidates = candidates.chosen(~group)

    def _densest(self, candidates: Candidates) -> np.ndarray:
        """(n,) bool: the candidates whose votes are near the vote that has the most landmarks near it [L31]."""
        if not len(candidates):
            return np.zeros(0, bool)
        votes = candidates.points_image - self._mean[candidates.landmarks] * candidates.faces[:, None]
        most, chosen = 0.0, np.zeros(len(candidates), bool)
        # Any vote may be the middle; the highest candidates are enough to try.
        for middle in np.argsort(-candidates.values, kind="stable")[:MOST_HYPOTHESES]:
            near = np.hypot(*(votes - votes[middle]).T) < VOTE_RADIUS * candidates.faces[middle]
            near &= np.abs(np.log(candidates.faces / candidates.faces[middle])) < 1.01 * np.log(OCTAVE)
            highest = np.zeros(len(self._mean))
            np.maximum.at(highest, candidates.landmarks[near], candidates.values[near])
            if highest.sum() > most:
                most, chosen = highest.sum(), near
        return chosen

    def _place(self, best: Candidates) -> np.ndarray:
        """The mean shape where candidates, one of a landmark, say that it is; twice, the second time without strays."""
        kept = best
        for _ in range(2):
            weights = kept.values / kept.values.sum()
            mean = self._mean[kept.landmarks]
            rotation = kabsch(mean, kept.points_image, weights)
            middle, centre = weights @ mean, weights @ kept.points_image
            turned = (mean - middle) @ rotation.T
            along = weights @ (turned * (kept.points_image - centre)).sum(axis=1)
            zoom = along / max(weights @ (turned**2).sum(axis=1), 1e-9)
            face = float(np.median(kept.faces))
            zoom = np.clip(zoom, face / OCTAVE, face * OCTAVE)
            shape = (self._mean - middle) @ rotation.T * zoom + centre
            distances = np.hypot(*(shape[best.landmarks] - best.points_image).T)
            kept = best.chosen(distances <= max(np.median(distances), 0.1 * zoom))
        return shape


def _highest_of_each(candidates: Candidates) -> Candidates:
    """The highest candidate of each landmark."""
    order = np.argsort(-candidates.values, kind="stable")
    _, first = np.unique(candidates.landmarks[order], return_index=True)
    return candidates.chosen(order[first])


class WholePhotoLandmarks:
    """Finds faces and their landmarks, the network being its own detector; use it as a LandmarkDetector.

    Args:
        predictor: the landmark network, which answers maps as large as its input and takes input of any size.
        model: shape model that hypotheses are verified by.
        markup: of the network's points.
        min_face: longer side of the landmarks' box of the smallest face to be found, pixels.
        least_support: mean value of the maps under the points of a face that is accepted.

    Raises:
        ValueError: the network does not answer such maps, or has other landmarks than the shape model.
    """

    def __init__(
        self,
        predictor: PointPredictor,
        model: ShapeModel,
        markup: Markup,
        min_face: float = MIN_FACE,
        least_support: float = LEAST_SUPPORT,
    ) -> None:
        spec = predictor.spec
        if spec.output != "heatmaps" or spec.stride != 1:
            raise ValueError("only a network that takes whole photos needs no detector: use lgcn_64 or lgcn_128")
        if model.num_landmarks != markup.num_landmarks:
            raise ValueError(f"a shape model of {model.num_landmarks} landmarks does not fit those of {markup.name}")
        pyramid(1, 1, spec, min_face)  # says what cannot be
        self.markup = markup
        self._predictor, self._min_face, self._least_support = predictor, min_face, least_support
        self._fitter, self._clusters = shape_fitter(model, spec), Clusters(model)

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | os.PathLike[str],
        shape_model: str | os.PathLike[str],
        ctx: Any = None,
        model: str | None = None,
        min_face: float = MIN_FACE,
    ) -> WholePhotoLandmarks:
        """Joins trained weights and the shape model of their training faces.

        Args:
            name_or_path: a network whose weights ship, or a .params file, its .json beside it.
            shape_model: .npz that train_lgcn.py wrote.
            ctx: one MXNet context; CPU by default.
            model: the network that the weights must be of; any if None.
            min_face: see the class.

        Raises:
            ValueError, FileNotFoundError: files that are not there, damaged, or of another network.
        """
        net, info = load_weights(find_weights(name_or_path), model, ctx)
        take_any_size(net)
        predictor = PointPredictor(net, info.spec, ctx)
        return cls(predictor, load_shape_model(shape_model), markup_named(info.markup), min_face)

    def __call__(self, image: np.ndarray, name: str = "") -> list[LocatedFace]:
        """Faces of an image (H, W, 3) uint8 RGB, the surest first; the score is the mean support of a face's points.

        Raises:
            ValueError: the array is no such image.
        """
        check_image(image)
        faces = [self._verify(image, shape) for shape in self._clusters(self.candidates(image))]
        return _apart([face for face in faces if face is not None])

    def candidates(self, image: np.ndarray) -> Candidates:
        """Local maxima of the maps of all sizes, joined."""
        height, width = image.shape[:2]
        found = [self._peaks_at(image, level) for level in pyramid(width, height, self._predictor.spec, self._min_face)]
        together = Candidates(*(np.concatenate(each) for each in zip(*(vars(each).values() for each in found))))
        highest = np.argsort(-together.values, kind="stable")[:MOST_CANDIDATES]
        return join(together.chosen(highest))

    def _peaks_at(self, image: np.ndarray, level: Level) -> Candidates:
        height, width = image.shape[:2]
        picture = resized(image, level.size)
        found = [self._peaks_in(picture, tile) for tile in tiles(*level.size)]
        landmarks, cells, values = (np.concatenate(each) for each in zip(*found))
        zoom = np.array(level.size) / (width, height)
        return Candidates(landmarks, (cells + 0.5) / zoom - 0.5, values, np.full(len(values), level.face))

    def _peaks_in(self, picture: np.ndarray, tile: Tile) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        landmarks, cells, values = find_peaks(self._maps(picture, tile))
        cells = cells + tile.seen[:2]
        left, top, right, bottom = tile.own
        own = ((cells >= (left, top)) & (cells < (right, bottom))).all(axis=1)
        return landmarks[own], cells[own], values[own]

    def _maps(self, picture: np.ndarray, tile: Tile) -> np.ndarray:
        x0, y0, x1, y1 = tile.seen
        maps = self._predictor.answer(picture[None, y0:y1, x0:x1])[0]
        if not np.isfinite(maps.max()):
            raise ValueError("the network answers with maps that are no numbers: its weights are spoilt, use others")
        return maps

    def activations(self, image: np.ndarray) -> list[np.ndarray]:
        """For each size of the photo, largest first, the maximum (h, w) of all landmarks' maps."""
        height, width = image.shape[:2]
        found = []
        for level in pyramid(width, height, self._predictor.spec, self._min_face):
            picture = resized(image, level.size)
            highest = np.zeros(picture.shape[:2], np.float32)
            for tile in tiles(*level.size):
                left, top, right, bottom = tile.own
                x0, y0 = tile.seen[:2]
                own = self._maps(picture, tile)[:, top - y0 : bottom - y0, left - x0 : right - x0]
                highest[top:bottom, left:right] = own.max(axis=0)
            found.append(highest)
        return found

    def _verify(self, image: np.ndarray, shape: np.ndarray) -> LocatedFace | None:
        """Crops a hypothesis as a detector's box would be, and fits the shape model; None if too little supports it."""
        height, width = image.shape[:2]
        for _ in range(ROUNDS):
            box = landmark_box(shape)
            outside = (box[2:] <= 0).any() or box[0] >= width or box[1] >= height
            if outside or not 0.5 * self._min_face <= (box[2:] - box[:2]).max() <= 2 * max(height, width):
                return None
            crops, matrices = crop_faces(image, [box], self._predictor.spec)
            fit = self._fit(self._predictor.answer(crops)[0])
            if fit is None:
                return None
            points_crop = map_codec(self._predictor.spec).to_crop(np.stack([fit.points, fit.shape]))
            points, shape = to_image(points_crop, np.repeat(matrices, 2, axis=0))
        score = float(np.clip(fit.support, 0, 1).mean())
        return LocatedFace(landmark_box(points), points, score) if score >= self._least_support else None

    def _fit(self, maps: np.ndarray) -> ShapeFit | None:
        return self._fitter(maps) if maps.max() >= LEAST_PEAK else None


def take_any_size(net: HybridBlock) -> None:
    """Readies a network for pictures of many sizes.

    Memory planned ahead for one size is not shared between layers: a tile of 240 pixels then takes 2 GB, else 0.3.
    """
    net.hybridize(static_alloc=False, static_shape=False)


def resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A photo at one size (width, height), averaged where it shrinks."""
    shrinks = size[0] < image.shape[1]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _apart(faces: list[LocatedFace]) -> list[LocatedFace]:
    """Faces, the surest first, without those that share too much of their box with a surer one [L33]."""
    kept: list[LocatedFace] = []
    for face in sorted(faces, key=lambda each: -each.score):
        if all(overlap(face.box, other.box) <= SHARED_AREA for other in kept):
            kept.append(face)
    return kept
