"""Faces followed from frame to frame by their landmarks.

The box of the next frame is the tight one of the last frame's points, turned as the face is, so the face detector is
needed only every few frames, for faces that are new, and while one is lost. A landmark network has no face score: shown
a wall it returns a face all the same. But that face moves along with the crop. Each face therefore gets two passes, in
two crops shifted to opposite sides: on a face both passes agree, on anything else they lie apart by about as much as
the crops do. The tracker returns the mean of both passes.

docs/video.md says what was measured to choose the numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, NamedTuple, Sequence

import cv2
import numpy as np

from datasets.geometry import landmark_box
from inference.detectors import Detection, overlap
from inference.pipeline import PointPredictor, locate, locate_at
from inference.smoothing import FaceSmoother
from inference.tilt import TiltedBox, upright_box

SHIFT = 0.05  # of the box's longer side, to the lower right and to the upper left
LARGEST_DISAGREEMENT = 0.045  # mean distance between both passes over sqrt(w h) of the box
USUAL_MARGIN = 0.25  # for which both were measured; where a crop shows more about the box, they grow with it
REDETECT = 15  # frames
START = 15  # first frames of a scene, all of which are searched: the first one alone may hide a face
PATIENCE = 15  # frames for which a lost face keeps its number
SAME_FACE = 0.4  # of the smaller box: a detection that shares more with a face that is followed is that face
FOUND_AGAIN = 0.2  # of the smaller box: what a lost face shares with a detection that is to take its number
MERGED = 0.7  # of the smaller box: two faces that share more are one
SAME_SCENE = 0.45  # least correlation of two frames, see `same_scene`
LEAST_CHANGE = 10.0  # grey levels, of a cut
LEAST_SIDE = 8.0  # pixels of the box's longer side

Find = Callable[[np.ndarray], Sequence[Detection]]


class TrackedFace(NamedTuple):
    """One face of a frame; see `LocatedFace` for box, points and score.

    Attributes:
        box: (4,), the box that the landmarks were sought around.
        points: (K, 2).
        score: what the detector said when it last saw the face.
        identity: the same number in all frames, from 1; None where faces are not followed.
        disagreement: distance between both passes, a fraction of the box; 0 after a single pass.
    """

    box: np.ndarray
    points: np.ndarray
    score: float
    identity: int | None = None
    disagreement: float = 0.0


class TwoPasses(NamedTuple):
    """Landmarks from two passes over each face.

    Attributes:
        points: (n, K, 2) pixels, the mean of both.
        disagreements: (n,) mean distance between both over sqrt(w h) of the box, at the usual margin.
        distances: (n, K) the same of each point.
    """

    points: np.ndarray
    disagreements: np.ndarray
    distances: np.ndarray


def locate_twice(predictor: PointPredictor, image: np.ndarray, places: Sequence[TiltedBox]) -> TwoPasses:
    """Landmarks of faces at places, at least one, of an image (H, W, 3), all crops run together."""
    boxes = np.array([place.box for place in places], np.float64)
    sizes = (boxes[:, 2:] - boxes[:, :2]) * (1 + predictor.spec.box_margin) / (1 + USUAL_MARGIN)
    shifts = SHIFT * sizes.max(axis=1, keepdims=True)
    moved = [place._replace(box=box) for sign in (1, -1) for place, box in zip(places, boxes + sign * shifts)]
    points = locate_at(predictor, [image] * len(moved), moved)
    one, other = np.split(points, 2)
    distances = np.linalg.norm(one - other, axis=2) / np.sqrt(sizes.prod(axis=1))[:, None]
    return TwoPasses((one + other) / 2, distances.mean(axis=1), distances)


@dataclass
class _Track:
    """A face that is followed, or was until lately.

    Attributes:
        face: as the network places it.
        lost_for: frames since it was last seen; 0 while it is followed.
        smooth: what its points go through to be shown.
    """

    face: TrackedFace
    lost_for: int = 0
    smooth: FaceSmoother | None = None


class FaceTracker:
    """Follows the faces of one video.

    Args:
        predictor: the landmark network.
        find: boxes, tight around the landmarks, of the faces in an image; the face detector.
        redetect: frames between two searches for new faces, after `START`; 0 searches the first frame alone.
        cutoff_hz: smooth the points, see `FaceSmoother`; None leaves them as they are.

    Raises:
        ValueError: a negative number of frames, or a cutoff that is not positive.
    """

    def __init__(
        self, predictor: PointPredictor, find: Find, redetect: int = REDETECT, cutoff_hz: float | None = None
    ) -> None:
        if redetect < 0:
            raise ValueError(f"redetect {redetect}: give the frames between two searches for faces, 0 or more")
        self._predictor, self._find, self._redetect, self._cutoff_hz = predictor, find, redetect, cutoff_hz
        self._smoother()  # says what cannot be
        self._tracks: list[_Track] = []
        self._frames = self._of_scene = self._identities = 0
        self._previous: np.ndarray | None = None

    def __call__(self, image: np.ndarray, seconds: float) -> list[TrackedFace]:
        """Faces of the next frame (H, W, 3) uint8 RGB and its time, the longest followed first."""
        small = thumbnail(image)
        if self._previous is not None and not same_scene(self._previous, small):
            self._tracks = []  # whoever is where a face was before a cut may be someone else
            self._of_scene = 0
        self._previous = small
        self._follow(image)
        if self._must_find():
            self._add(image, self._find(image))
        self._frames += 1
        self._of_scene += 1
        return [_shown(track, seconds) for track in self._tracks if not track.lost_for]

    def _smoother(self) -> FaceSmoother | None:
        return None if self._cutoff_hz is None else FaceSmoother(self._cutoff_hz)

    def _must_find(self) -> bool:
        if not self._redetect:
            return self._frames == 0
        if self._of_scene < START or self._frames % self._redetect == 0:
            return True
        return not self._tracks or any(track.lost_for for track in self._tracks)

    def _follow(self, image: np.ndarray) -> None:
        """Moves each track to its place in this frame, or notes that it is lost."""
        followed = [track for track in self._tracks if not track.lost_for]
        for track in self._tracks:
            track.lost_for += 1
        self._tracks = [track for track in self._tracks if track.lost_for <= PATIENCE]
        for track, face in zip(followed, self._locate(image, [track.face.points for track in followed])):
            if face is not None:
                track.face = face._replace(score=track.face.score, identity=track.face.identity)
                track.lost_for = 0
        self._merge()

    def _locate(self, image: np.ndarray, last: Sequence[np.ndarray]) -> list[TrackedFace | None]:
        """For points (K, 2) of each face the face that is there now, without a number, or None if there is none."""
        boxes = [landmark_box(points) for points in last]
        faces: list[TrackedFace | None] = [None] * len(boxes)
        usable = [index for index, box in enumerate(boxes) if _can_show_a_face(box, image)]
        if usable:
            places = [upright_box(last[index], self._predictor.markup) for index in usable]
            passes = locate_twice(self._predictor, image, places)
            for index, points, disagreement in zip(usable, passes.points, passes.disagreements):
                if disagreement <= LARGEST_DISAGREEMENT and _can_show_a_face(landmark_box(points), image):
                    faces[index] = TrackedFace(boxes[index], points, 0.0, None, float(disagreement))
        return faces

    def _merge(self) -> None:
        """Ends the younger of two tracks that have come to the same face."""
        kept: list[_Track] = []
        for track in sorted(self._tracks, key=lambda each: each.face.identity or 0):
            seen = [other for other in kept if not other.lost_for]
            if track.lost_for or all(_shared(track.face, other.face) <= MERGED for other in seen):
                kept.append(track)
        self._tracks = kept

    def _add(self, image: np.ndarray, found: Sequence[Detection]) -> None:
        """Takes up the detections that no track is at, each under the number of a lost face or a new one."""
        followed = [landmark_box(track.face.points) for track in self._tracks if not track.lost_for]
        new = [
            each
            for each in found
            if _can_show_a_face(each.box, image) and all(overlap(each.box, box) <= SAME_FACE for box in followed)
        ]
        if not new:
            return
        # A detector's box is rougher than one of landmarks; one pass brings it close to that.
        settled = locate(self._predictor, image, [each.box for each in new])
        for detection, face in zip(new, self._locate(image, settled)):
            if face is not None:
                self._take_up(face._replace(score=detection.score))
        self._merge()

    def _take_up(self, face: TrackedFace) -> None:
        lost = [track for track in self._tracks if track.lost_for and _shared(track.face, face) > FOUND_AGAIN]
        if lost:
            track = max(lost, key=lambda each: _shared(each.face, face))
            track.face, track.lost_for = face._replace(identity=track.face.identity), 0
            track.smooth = self._smoother()
            return
        self._identities += 1
        self._tracks.append(_Track(face._replace(identity=self._identities), smooth=self._smoother()))


def thumbnail(image: np.ndarray) -> np.ndarray:
    """Image (H, W, 3) as (32, 32) grey levels."""
    return cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (32, 32), interpolation=cv2.INTER_AREA).astype(float)


def same_scene(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two thumbnails (32, 32) are of one scene: they correlate, whatever their brightness, or differ little."""
    one, other = one - one.mean(), other - other.mean()
    if np.abs(one - other).mean() < LEAST_CHANGE:
        return True
    return float((one * other).sum()) >= SAME_SCENE * float(np.linalg.norm(one) * np.linalg.norm(other))


def _shown(track: _Track, seconds: float) -> TrackedFace:
    """A track's face, smoothed if it is to be; what the next box is made of stays as the network placed it."""
    if track.smooth is None:
        return track.face
    size = float(np.sqrt(np.prod(track.face.box[2:] - track.face.box[:2])))
    return track.face._replace(points=track.smooth(track.face.points, seconds, size))


def _shared(one: TrackedFace, other: TrackedFace) -> float:
    return overlap(landmark_box(one.points), landmark_box(other.points))


def _can_show_a_face(box: np.ndarray, image: np.ndarray) -> bool:
    """Whether a box is large enough and has its centre in the image."""
    centre, size = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
    inside = (centre >= 0).all() and (centre < image.shape[1::-1]).all()
    return bool(inside and size.max() >= LEAST_SIDE and size.min() > 0)
