"""A folder of one's own as a data set."""

import numpy as np
import pytest

from datasets import pts_folder
from datasets.catalog import training_pair
from datasets.images import write_image
from datasets.pts_files import write_pts


def fill(folder, count, num_landmarks=29):
    rng = np.random.default_rng(0)
    points = {}
    for index in range(count):
        name = f"deep/face {index}"
        (folder / "deep").mkdir(exist_ok=True)
        write_image(folder / f"{name}.png", np.full((20, 30, 3), index, np.uint8))
        points[name] = rng.uniform(2, 18, (num_landmarks, 2)).round(3)
        write_pts(folder / f"{name}.pts", points[name])
    return points


def test_faces_come_with_their_names_points_boxes_and_markup(tmp_path):
    points = fill(tmp_path, 3)
    (tmp_path / "alone.jpg").write_bytes(b"no annotation, no face")
    faces = pts_folder.load(tmp_path)
    assert list(faces.names) == sorted(points)
    assert faces.markup.name == "cofw_29"
    face = faces[2]
    np.testing.assert_allclose(face.points_image, points["deep/face 2"], atol=1e-6)
    np.testing.assert_allclose(face.box[:2], points["deep/face 2"].min(axis=0), atol=1e-6)
    assert face.image[0, 0].tolist() == [2, 2, 2]


def test_a_damaged_annotation_stops_training_and_is_listed_in_an_evaluation(tmp_path):
    fill(tmp_path, 2)
    (tmp_path / "deep" / "face 0.pts").write_text("version: 1\nn_points: 29\n{\n1 2\n}\n")
    with pytest.raises(ValueError, match=r"face 0\.pts: not a readable \.pts file"):
        pts_folder.load(tmp_path)
    faces = pts_folder.load(tmp_path, keep_damaged=True)
    assert np.isnan(faces.points[0]).all()
    with pytest.raises(ValueError, match=r"face 0\.pts"):
        faces[0]
    assert faces[1].name == "deep/face 1"


def test_what_cannot_be_a_data_set_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no such folder"):
        pts_folder.load(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match=r"no photo has a \.pts file"):
        pts_folder.load(tmp_path)
    fill(tmp_path, 1, num_landmarks=67)
    with pytest.raises(ValueError, match=r"face 0\.pts: .*67"):
        pts_folder.load(tmp_path)


def test_training_and_validation_share_no_face(tmp_path):
    fill(tmp_path, 40)
    train, validation = training_pair("pts", str(tmp_path))
    assert len(train) + len(validation) == 40
    assert 0 < len(validation) < 12
    assert not set(train.names) & set(validation.names)
