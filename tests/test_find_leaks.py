"""Copies of one photograph in training and test faces."""

import cv2
import numpy as np
import pytest

from datasets.faces import Face
from datasets.geometry import landmark_box
from datasets.images import write_image
from datasets.near_copies import SAME_PHOTO, SIDE, likeness, signature
from datasets.pts_files import write_pts
from datasets.render.faces import RenderedFaces
from tools import find_leaks


@pytest.fixture(scope="module")
def faces():
    rendered = RenderedFaces(5, 0, 160)
    return [rendered[k] for k in range(5)]


def copy_of(face, zoom=0.7, mirrored=False):
    """The face as another site and another annotator have it: smaller, brighter, paler, each point 1 % off."""
    size = (round(face.image.shape[1] * zoom), round(face.image.shape[0] * zoom))
    image = cv2.resize(face.image, size, interpolation=cv2.INTER_AREA)
    image = (0.6 * image + 90).astype(np.uint8)
    points = (face.points_image + 0.5) * zoom - 0.5
    points = points + 0.01 * np.ptp(points, axis=0).max() * np.random.default_rng(0).choice([-1, 1], (1, 2))
    if mirrored:
        image, points = np.ascontiguousarray(image[:, ::-1]), [size[0] - 1, 0] + points * [-1, 1]
    return Face(image, points, landmark_box(points), f"{face.name}_copy")


def put(folder, faces):
    folder.mkdir()
    for face in faces:
        write_image(folder / f"{face.name}.png", face.image)
        write_pts(folder / f"{face.name}.pts", face.points_image)


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_copy_is_like_its_photo_and_another_face_is_not(faces, mirrored):
    copies = np.stack([signature(copy_of(face, mirrored=mirrored)) for face in faces])
    found = likeness(copies, np.stack([signature(face) for face in faces]))
    assert ((found >= SAME_PHOTO) == np.eye(len(faces), dtype=bool)).all()


def test_likeness_is_the_best_correlation_of_shifted_and_mirrored_middles():
    one, other = np.random.default_rng(0).normal(size=(2, SIDE, SIDE))
    middle = other[4:36, 4:36].ravel()
    shifted = [each[y : y + 32, x : x + 32] for each in (one, one[:, ::-1]) for y in (3, 4, 5) for x in (3, 4, 5)]
    correlations = [np.corrcoef(each.ravel(), middle)[0, 1] for each in shifted]
    np.testing.assert_allclose(likeness(one[None], other[None]), [[max(correlations)]], atol=1e-6)


def test_the_command_lists_the_training_copies_for_exclude(faces, tmp_path, capsys, refused):
    put(tmp_path / "train", [faces[0], copy_of(faces[3]), faces[1]])
    put(tmp_path / "test", faces[2:])
    train, test = f"pts={tmp_path / 'train'}", f"pts={tmp_path / 'test'}"
    assert find_leaks.main(["--train", train, "--test", test, "--out", str(tmp_path / "out")]) == 0
    assert "1 pairs of 3 training and 3 test faces" in capsys.readouterr().out
    assert (tmp_path / "out" / "exclude.txt").read_text() == f"{faces[3].name}_copy\n"
    header, row = (tmp_path / "out" / "pairs.csv").read_text().splitlines()
    assert row.startswith(f"{faces[3].name}_copy,{faces[3].name},0.")
    assert (tmp_path / "out" / "pairs.png").is_file()
    # A set against itself: no face is its own copy.
    find_leaks.main(["--train", test, "--test", test, "--out", str(tmp_path / "self")])
    assert (tmp_path / "self" / "exclude.txt").read_text() == ""
    refused(lambda: find_leaks.main(["--train", "pts", "--test", test, "--out", str(tmp_path / "x")]), "write NAME=DIR")
