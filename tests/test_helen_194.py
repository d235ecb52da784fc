"""HELEN's own annotation: the reader on files made here, and what is wrong with copies of them."""

import numpy as np
import pytest

from datasets import helen_194
from datasets.helen_194 import load, read_landmarks
from datasets.images import write_image
from datasets.markups import HELEN_194

NAMES = {"train": ["100_1", "232_1", "9.b"], "test": ["77_2"]}


def points_of(number):
    return np.random.default_rng(number).uniform(1, 40, (194, 2)).round(4)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A copy of four faces in the distributor's format: photos in folders, annotations by number."""
    monkeypatch.setattr(helen_194, "SUBSETS", {"train": 3, "test": 1})
    names = [name for group in NAMES.values() for name in group]
    (tmp_path / "annotation").mkdir()
    for number, name in enumerate(names, start=1):
        rows = "".join(f"{x:.4f} , {y:.4f}\r\n" for x, y in points_of(number))
        (tmp_path / "annotation" / f"{number}.txt").write_bytes(f"{name}\r\n{rows}".encode())
        folder = tmp_path / f"helen_{number % 2}"
        folder.mkdir(exist_ok=True)
        write_image(folder / f"{name}.jpg", np.full((44, 50, 3), 40 * number, np.uint8))
    for subset, group in NAMES.items():
        (tmp_path / f"{subset}names.txt").write_text("".join(f"{name}\n" for name in group))
    return tmp_path


def test_faces_come_in_the_order_of_the_list_with_points_box_and_photo(home):
    faces = load(home, "train")
    assert faces.names == ("100_1", "232_1", "9.b")
    assert (faces.markup, faces.expected_count, faces.missing) == (HELEN_194, 3, ())
    face = faces[1]
    np.testing.assert_allclose(face.points_image, points_of(2))
    np.testing.assert_allclose(face.box, [*points_of(2).min(axis=0), *points_of(2).max(axis=0)])
    assert face.image.shape == (44, 50, 3)
    assert abs(int(face.image[0, 0, 0]) - 80) <= 1
    assert load(home, "test").names == ("77_2",)


def test_names_may_have_their_extension(home):
    (home / "testnames.txt").write_text("77_2.jpg\n\n")
    annotation = home / "annotation" / "4.txt"
    annotation.write_text(annotation.read_text().replace("77_2", "77_2.JPG", 1))
    assert load(home, "test").names == ("77_2",)


def test_the_real_subsets_have_the_papers_counts():
    assert helen_194.SUBSETS == {"train": 2000, "test": 330}


def test_a_part_of_a_copy_is_an_error_or_says_what_it_lacks(home):
    (home / "helen_1" / "100_1.jpg").unlink()
    (home / "annotation" / "2.txt").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"HELEN train has 1 of 3 faces \(100_1 has no photo; 232_1 has no annot"
    ):
        load(home, "train")
    faces = load(home, "train", allow_missing=True)
    assert faces.names == ("9.b",)
    assert faces.missing == ("100_1 has no photo", "232_1 has no annotation")
    (home / "trainnames.txt").write_text("9.b\n")
    with pytest.raises(FileNotFoundError, match="trainnames.txt names 1 of 3"):
        load(home, "train")


@pytest.mark.parametrize(
    ("lines", "reason"),
    [(193, "193 points instead of 194"), ("1.0 2.0", "a line is not 'x , y'"), ("1.0 , x", "a line is not 'x , y'")],
)
def test_damaged_annotations_are_an_error_or_kept_as_damaged(home, lines, reason):
    rows = [f"{x} , {y}" for x, y in points_of(0)]
    rows = [*rows, rows[0]][:lines] if isinstance(lines, int) else [lines, *rows[1:]]
    path = home / "annotation" / "1.txt"
    path.write_text("\n".join(["100_1", *rows]))
    with pytest.raises(ValueError, match=f"1.txt: {reason}.*; restore it"):
        read_landmarks(path)
    with pytest.raises(ValueError, match=reason):
        load(home, "train")
    faces = load(home, "train", keep_damaged=True)
    assert list(faces.damaged) == ["100_1"]
    assert np.isnan(faces.points[0]).all()
    with pytest.raises(ValueError, match=reason):
        faces[0]
    assert faces[1].name == "232_1"


def test_what_is_not_there_is_named(home, tmp_path):
    with pytest.raises(ValueError, match="HELEN has no subset 'common'; it has train, test"):
        load(home, "common")
    with pytest.raises(FileNotFoundError, match="annotation: there is no such folder"):
        load(tmp_path / "none", "train")
    (home / "testnames.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"testnames.txt: there is no such list"):
        load(home, "test")
