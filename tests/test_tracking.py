"""Faces followed from frame to frame, by a stand-in network that sees spots of light, and guesses in the dark."""

import dataclasses

import mxnet as mx
import numpy as np
import pytest

from datasets.render.video import RenderedVideo
from gluon_models import InputSpec
from inference import tracking
from inference.detectors import Detection
from inference.pipeline import PointPredictor
from inference.smoothing import FaceSmoother
from inference.tilt import TiltedBox
from inference.tracking import LARGEST_DISAGREEMENT, PATIENCE, SHIFT, FaceTracker, TrackedFace, locate_twice

SPEC = InputSpec(size=32, colour="rgb", mean=(0.0,) * 3, scale=(1.0,) * 3, box_margin=0.25, output="points")
CORNERS = np.array([[-0.4, -0.4], [0.4, -0.4], [-0.4, 0.4], [0.4, 0.4]])  # of a crop: a box as large as the last one
HALF = 12.0  # pixels, of a face's side


class CornersAboutTheLight:
    """Answers four corners about the centre of brightness of each crop; about its middle if the crop is dark."""

    def __call__(self, faces):
        light = faces.asnumpy().sum(axis=1)
        cells = (np.arange(light.shape[-1]) + 0.5) / light.shape[-1]
        total = light.sum(axis=(1, 2))
        dark = total < 500
        total = np.where(dark, 1, total)
        x, y = (light.sum(axis=1) @ cells) / total, (light.sum(axis=2) @ cells) / total
        centres = np.where(dark[:, None], 0.5, np.stack([x, y], axis=-1))
        return mx.nd.array(centres[:, None] + CORNERS)


PREDICTOR = PointPredictor(CornersAboutTheLight(), SPEC)


def frame(*centres):
    """A black picture with a spot of light, 2 px wide, at each centre."""
    y, x = np.mgrid[:120, :200]
    light = sum((np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 8.0) for cx, cy in centres), np.zeros(x.shape))
    return np.repeat((200 * light).clip(0, 255).round().astype(np.uint8)[..., None], 3, axis=2)


def box_about(x, y):
    return np.array([x - HALF, y - HALF, x + HALF, y + HALF])


class Detector:
    """Finds what it is told to, and counts how often it is asked."""

    def __init__(self):
        self.centres, self.calls = [], 0

    def __call__(self, image):
        self.calls += 1
        return [Detection(box_about(x + 1, y - 1), 7.0) for x, y in self.centres]


@pytest.fixture(autouse=True)
def one_frame_at_the_start(monkeypatch):
    """A scene starts with one search, where a test does not say otherwise."""
    monkeypatch.setattr(tracking, "START", 1)


class Play:
    """Shows frames with spots to a tracker; the detector sees those that `seen` lists, all of them if it is None."""

    def __init__(self, redetect=5, cutoff_hz=None):
        self.detector = Detector()
        self.tracker = FaceTracker(PREDICTOR, self.detector, redetect, cutoff_hz)
        self.count = 0

    def __call__(self, *centres, seen=None):
        self.detector.centres = centres if seen is None else seen
        faces = self.tracker(frame(*centres), self.count / 25)
        self.count += 1
        return faces


def centre_of(face):
    return face.points.mean(axis=0)


def test_two_looks_by_hand():
    boxes = [TiltedBox(box_about(50, 60)), TiltedBox(box_about(150, 60))]
    passes = locate_twice(PREDICTOR, frame((52, 57)), boxes)
    np.testing.assert_allclose(passes.points[0].mean(axis=0), [52, 57], atol=0.2)
    assert passes.disagreements[0] < 0.01
    # In the dark the answer moves with the crops, which are 2 * SHIFT of the side apart in x and in y.
    np.testing.assert_allclose(passes.points[1].mean(axis=0), [149.5, 59.5], atol=1e-3)
    np.testing.assert_allclose(passes.disagreements[1], 2 * SHIFT * np.sqrt(2), atol=1e-3)
    assert passes.disagreements[1] > LARGEST_DISAGREEMENT
    # A crop that shows twice as much about the box is shifted by twice as much, which counts half.
    wide = PointPredictor(CornersAboutTheLight(), dataclasses.replace(SPEC, box_margin=1.5))
    passes = locate_twice(wide, frame(), boxes)
    np.testing.assert_allclose(passes.disagreements, [2 * SHIFT * np.sqrt(2)] * 2, atol=1e-3)


def test_a_face_keeps_its_number_while_the_detector_rests():
    play = Play(redetect=5)
    for step in range(12):
        centre = (40 + 5 * step, 60 + 2 * step)
        (face,) = play(centre, seen=[centre] if step % 5 == 0 else [])
        assert (face.identity, face.score) == (1, 7.0)
        np.testing.assert_allclose(centre_of(face), centre, atol=0.5)
        np.testing.assert_allclose(np.ptp(face.points, axis=0), 2 * HALF, rtol=0.05)
    assert play.detector.calls == 3  # in frames 0, 5 and 10


def test_the_next_box_comes_from_the_last_points():
    play = Play()
    (first,) = play((50, 60))
    (second,) = play((56, 60), seen=[])
    np.testing.assert_allclose(second.box, np.concatenate([first.points.min(axis=0), first.points.max(axis=0)]))


def test_a_face_that_vanishes_is_looked_for_and_takes_its_number_again():
    play = Play(redetect=100)
    assert len(play((50, 60), (150, 60))) == 2
    assert [face.identity for face in play((150, 60))] == [2]
    assert [face.identity for face in play((150, 60))] == [2]
    assert play.detector.calls == 3  # in each frame while one is lost
    again = play((54, 58), (150, 60))
    assert sorted(face.identity for face in again) == [1, 2]
    calls = play.detector.calls
    play((54, 58), (150, 60))
    assert play.detector.calls == calls


def test_a_face_that_stays_away_comes_back_as_another():
    play = Play(redetect=100)
    play((50, 60), (150, 60))
    for _ in range(PATIENCE + 1):
        play((150, 60))
    calls = play.detector.calls
    play((150, 60))
    assert play.detector.calls == calls  # nobody is looked for any more
    play.tracker._frames = 100
    assert [face.identity for face in play((50, 60), (150, 60))] == [2, 3]


def test_new_faces_are_found_by_the_next_detection():
    play = Play(redetect=3)
    assert len(play((50, 60))) == 1
    assert [len(play((50, 60), (150, 60))) for _ in range(3)] == [1, 1, 2]


def test_the_first_frames_of_a_scene_are_all_searched(monkeypatch):
    monkeypatch.setattr(tracking, "START", 3)
    play = Play(redetect=100)
    shown = (50, 60), (150, 60)
    assert [len(play(*shown, seen=[shown[0]])), len(play(*shown)), play.detector.calls] == [1, 2, 2]
    for _ in range(5):
        play(*shown)
    assert play.detector.calls == 3


def test_what_is_no_face_is_not_taken_up():
    play = Play()
    assert [face.identity for face in play((50, 60), seen=[(150, 60), (50, 60)])] == [1]
    assert play(seen=[(150, 60)]) == []


def test_without_a_face_every_frame_is_searched():
    play = Play(redetect=10)
    assert [play() for _ in range(3)] == [[], [], []]
    assert play.detector.calls == 3
    assert len(play((50, 60))) == 1


def test_two_that_come_to_one_face_become_the_older():
    play = Play(redetect=100)
    assert len(play((61, 60), (83, 60))) == 2
    assert [face.identity for face in play((72, 60), seen=[])] == [1]


def test_two_boxes_on_one_new_face_become_one():
    assert [face.identity for face in Play()((50, 60), seen=[(50, 60), (55, 62)])] == [1]


def test_a_face_that_leaves_the_picture_ends():
    play = Play(redetect=100)
    seen = [len(play((180 + 4 * step, 60), seen=[(180, 60)] if step == 0 else [])) for step in range(8)]
    assert seen[0] == 1
    assert seen[-1] == 0


@pytest.mark.parametrize("box", [(300, 60), (50, -40)])
def test_boxes_outside_the_picture_are_left_out(box):
    assert Play()((50, 60), seen=[box]) == []


def test_given_boxes_are_asked_for_once():
    play = Play(redetect=0)
    play((50, 60))
    play(seen=[])
    assert play((50, 60)) == []
    assert play.detector.calls == 1


def test_smoothing_shows_other_points_but_follows_the_same():
    rng = np.random.default_rng(0)
    centres = [(50, 60 + rng.normal(0, 0.5)) for _ in range(20)]
    plain, smooth = Play(redetect=100), Play(redetect=100, cutoff_hz=1.0)
    shown = [[play(centre)[0] for centre in centres] for play in (plain, smooth)]
    np.testing.assert_allclose([face.box for face in shown[1]], [face.box for face in shown[0]])
    smoother = FaceSmoother(1.0)
    for index, (before, after) in enumerate(zip(*shown)):
        size = np.sqrt(np.prod(before.box[2:] - before.box[:2]))
        np.testing.assert_allclose(after.points, smoother(before.points, index / 25, size))
    assert np.abs(shown[1][9].points - shown[0][9].points).max() > 0.01


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="redetect -1"):
        FaceTracker(PREDICTOR, Detector(), -1)
    with pytest.raises(ValueError, match="more than 0"):
        FaceTracker(PREDICTOR, Detector(), cutoff_hz=0.0)


def test_a_cut_gives_new_numbers_and_a_flash_does_not():
    scenes = [RenderedVideo(3, seed=seed, side=160) for seed in (0, 1)]
    frames = [scene[k].image for scene in scenes for k in range(3)]
    frames.insert(2, (frames[1] // 2 + 120).astype(np.uint8))  # a flash
    tracker = FaceTracker(PREDICTOR, lambda image: [Detection(box_about(80, 80), 1.0)])
    tracker._locate = lambda image, boxes: [TrackedFace(box, box_about(80, 80).reshape(2, 2), 1.0) for box in boxes]
    numbers = [[face.identity for face in tracker(image, k / 25)] for k, image in enumerate(frames)]
    assert numbers == [[1], [1], [1], [1], [2], [2], [2]]
