"""Landmarks of every face of a photo with no face detector (LGCN, Sec. 4.3).

A fully convolutional network sees the whole photo at several sizes (`inference.photo_pyramid`). Local maxima of its
heatmaps are candidates. Each votes for the centre of the face that it would be a landmark of; candidates whose votes
agree make a hypothesis, which the shape model accepts or rejects. The heatmaps themselves are not kept.

Numbers in brackets, such as [L28], point into docs/lgcn.md, where each detail the paper leaves open is settled.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Iterable, Iterator

import cv2
import numpy as np

from datasets.geometry import landmark_box
from datasets.markups import Markup
from gluon_models import load_weights
from inference.detectors import overlap
from inference.landmark_detector import LocatedFace, check_image, find_weights, markup_of
from inference.photo_pyramid import MIN_FACE, OCTAVE, Level, PhotoPyramid, Tile, take_any_size
from inference.pipeline import PointPredictor, crop_faces, heatmap_codec, shape_fitter, to_image
from inference.shape_model import ShapeFit, ShapeModel, kabsch, load_shape_model

LEAST_PEAK = 0.2  # "a simple threshold" [L29]
PEAKS_OF_A_MAP = 100  # of a tile at most, the highest ones
JOIN_RADIUS = 0.05  # of a face: what joins candidates of one landmark across sizes [L30]
VOTE_RADIUS = 0.3  # of a face: how far votes of one face may lie apart [L31]
LEAST_LANDMARKS = 0.2  # of all, that a hypothesis has candidates of
LEAST_SUPPORT = 0.7  # mean value of the heatmaps under a shape that is accepted [L32]
ROUNDS = 2  # that a hypothesis is cropped and fitted [L32]
MOST_CANDIDATES = 20_000  # of a photo, the highest ones
MOST_HYPOTHESES = 300  # of a photo
SHARED_AREA = 0.4  # of the smaller box: two faces that share more are one [L33]


@dataclass(frozen=True)
class Candidates:
    """Local maxima of heatmaps, n of them.

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


def find_peaks(heatmaps: np.ndarray, least: float = LEAST_PEAK) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Local maxima >= `least` of heatmaps (K, H, W): their landmarks (n,), cells (n, 2) x then y, values (n,)."""
    landmarks, cells, values = [], [], []
    for landmark in np.flatnonzero(heatmaps.max(axis=(1, 2)) >= least):
        one = heatmaps[landmark]
        rows, columns = np.nonzero((one >= least) & (one >= cv2.dilate(one, np.ones((3, 3), np.uint8))))
        highest = np.argsort(-one[rows, columns], kind="stable")[:PEAKS_OF_A_MAP]
        landmarks.append(np.full(len(highest), landmark))
        cells.append(np.stack([columns[highest], rows[highest]], axis=1))
        values.append(one[rows[highest], columns[highest]])
    if not values:
        return np.zeros(0, int), np.zeros((0, 2), int), np.zeros(0)
    return np.concatenate(landmarks), np.concatenate(cells), np.concatenate(values).astype(float)


def join(candidates: Candidates, radius: float = JOIN_RADIUS) -> Candidates:
    """What is left of candidates where heatmaps of all sizes are joined by their maximum [L30].

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
    """Finds faces and their landmarks, with the network as its own detector; use it as a LandmarkDetector.

    Args:
        predictor: the landmark network, which returns heatmaps as large as its input and takes input of any size.
        model: shape model that hypotheses are verified by.
        markup: of the network's points.
        min_face: longer side of the landmarks' box of the smallest face to be found, pixels.
        least_support: mean value of the heatmaps under the points of a face that is accepted.

    Attributes:
        pyramid: the heatmaps of a photo that candidates are taken from.

    Raises:
        ValueError: the network does not return such heatmaps, or has other landmarks than the shape model.
    """

    def __init__(
        self,
        predictor: PointPredictor,
        model: ShapeModel,
        markup: Markup,
        min_face: float = MIN_FACE,
        least_support: float = LEAST_SUPPORT,
    ) -> None:
        self.pyramid = PhotoPyramid(predictor, min_face)
        if model.num_landmarks != markup.num_landmarks:
            raise ValueError(f"a shape model of {model.num_landmarks} landmarks does not fit those of {markup.name}")
        self.markup = markup
        self._predictor, self._min_face, self._least_support = predictor, min_face, least_support
        self._fitter, self._clusters = shape_fitter(model, predictor.spec, prior=True), Clusters(model)

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
        return cls(predictor, load_shape_model(shape_model), markup_of(info), min_face)

    def __call__(self, image: np.ndarray, name: str = "") -> list[LocatedFace]:
        """Faces of an image (H, W, 3) uint8 RGB, the surest first; the score is the mean support of a face's points.

        Raises:
            ValueError: the array is no such image.
        """
        check_image(image)
        faces = [self._verify(image, shape) for shape in self._clusters(self.candidates(image))]
        return _apart([face for face in faces if face is not None])

    def candidates(self, image: np.ndarray) -> Candidates:
        """Local maxima of the heatmaps of all sizes, joined."""
        height, width = image.shape[:2]
        found = [_candidates_at(level, tiled_maps, (width, height)) for level, tiled_maps in self.pyramid(image)]
        together = Candidates(*(np.concatenate(each) for each in zip(*(vars(each).values() for each in found))))
        highest = np.argsort(-together.values, kind="stable")[:MOST_CANDIDATES]
        return join(together.chosen(highest))

    def _verify(self, image: np.ndarray, shape: np.ndarray) -> LocatedFace | None:
        """Crops a hypothesis as a detector's box would be, and fits the shape model; None if too little supports it."""
        height, width = image.shape[:2]
        for _ in range(ROUNDS):
            box = landmark_box(shape)
            outside = (box[2:] <= 0).any() or box[0] >= width or box[1] >= height
            if outside or not 0.5 * self._min_face <= (box[2:] - box[:2]).max() <= 2 * max(height, width):
                return None
            crops, matrices = crop_faces(image, [box], self._predictor.spec)
            fit = self._fit(self._predictor.output(crops)[0])
            if fit is None:
                return None
            points_crop = heatmap_codec(self._predictor.spec).to_crop(np.stack([fit.points, fit.shape]))
            points, shape = to_image(points_crop, np.repeat(matrices, 2, axis=0))
        score = float(np.clip(fit.support, 0, 1).mean())
        return LocatedFace(landmark_box(points), points, score) if score >= self._least_support else None

    def _fit(self, heatmaps: np.ndarray) -> ShapeFit | None:
        return self._fitter(heatmaps) if heatmaps.max() >= LEAST_PEAK else None


def _candidates_at(level: Level, tiled_maps: Iterable[tuple[Tile, np.ndarray]], size: tuple[int, int]) -> Candidates:
    """The candidates of one size of a photo, whose own width and height are `size`."""
    found = [_own_peaks(tile, heatmaps) for tile, heatmaps in tiled_maps]
    landmarks, cells, values = (np.concatenate(each) for each in zip(*found))
    zoom = np.array(level.size) / size
    return Candidates(landmarks, (cells + 0.5) / zoom - 0.5, values, np.full(len(values), level.face))


def _own_peaks(tile: Tile, heatmaps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    landmarks, cells, values = find_peaks(heatmaps)
    cells = cells + tile.seen[:2]
    left, top, right, bottom = tile.own
    own = ((cells >= (left, top)) & (cells < (right, bottom))).all(axis=1)
    return landmarks[own], cells[own], values[own]


def _apart(faces: list[LocatedFace]) -> list[LocatedFace]:
    """Faces, the surest first, without those that share too much of their box with a surer one [L33]."""
    kept: list[LocatedFace] = []
    for face in sorted(faces, key=lambda each: -each.score):
        if all(overlap(face.box, other.box) <= SHARED_AREA for other in kept):
            kept.append(face)
    return kept
