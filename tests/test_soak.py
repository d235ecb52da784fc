"""The tool that loads detectors: its photos, what it compares, and when it fails."""

import itertools

import numpy as np
import pytest

from inference.landmark_detector import LocatedFace
from tools import soak

SMALL = ["--photos", "5", "--faces", "9", "--calls", "10", "--growth", "1000"]


@pytest.fixture(autouse=True)
def few_rendered_faces(monkeypatch):
    monkeypatch.setattr(soak, "TILES", 3)
    monkeypatch.setattr(soak, "LOOP", 4)


def test_photos_have_as_many_faces_and_sizes_as_asked_for():
    photos = soak.crowds(7, 64)
    assert [len(photo.boxes) for photo in photos] == [1, 2, 4, 8, 16, 32, 64]
    assert len({photo.image.shape[1] for photo in photos}) == 7
    for photo in photos:
        height, width = photo.image.shape[:2]
        sides = photo.boxes[:, 2:] - photo.boxes[:, :2]
        assert (photo.boxes >= 0).all()
        assert (photo.boxes[:, 2:] <= (width, height)).all()
        assert (sides > 0.2 * width / np.ceil(np.sqrt(len(photo.boxes)))).all()


def face(x):
    return LocatedFace(np.zeros(4), np.full((68, 2), x), 1.0)


def test_answers_differ_by_their_worst_point():
    assert soak.difference([], []) == 0
    assert soak.difference([face(1.0), face(2.0)], [face(1.0), face(2.25)]) == 0.25
    assert soak.difference([face(1.0)], []) == np.inf


@pytest.mark.parametrize("detector", ["boxes", "haar"])
def test_threads_find_what_one_finds_on_photos_of_many_sizes(detector, capsys):
    assert soak.main(["photos", "--detector", detector, "--threads", "4", *SMALL]) == 0
    lines = capsys.readouterr().out.splitlines()
    found, true = (int(word) for word in lines[0].split()[3:7:3])
    assert found == true == 20 if detector == "boxes" else 0 < found < 40
    assert [int(line.split()[0]) for line in lines[1:12]] == list(range(11))


def test_an_answer_that_differs_ends_the_work():
    answers = itertools.count()

    class Drifting:
        def detect(self, image, boxes):
            return [face(0.0 if next(answers) < 5 else 1.0)]

    with pytest.raises(ValueError, match="2 threads find other points than one: up to 1 px apart"):
        soak.soak_photos(Drifting(), True, soak.crowds(5, 2), 2, 20)


def test_memory_that_grows_fails(monkeypatch, capsys):
    megabytes = itertools.count(100, 8)
    monkeypatch.setattr(soak, "resident_megabytes", lambda: float(next(megabytes)))
    assert soak.main(["video", "--frames", "10", "--growth", "50"]) == 1
    # Nine parts after the first, 8 MB each.
    assert "memory grew by 72 MB after the first tenth, 50 MB are allowed" in capsys.readouterr().out
