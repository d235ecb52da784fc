"""What readers say of a copy that lacks something, by hand; and which files they look at."""

from dataclasses import dataclass

import numpy as np
import pytest

from datasets.annotated_photos import AnnotatedPhotos, read_each
from datasets.faces import subset_of
from datasets.inventory import by_name, check_subset, files, needed_folder, photos_of, refuse_incomplete
from datasets.markups import IBUG_68


def put(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def test_files_by_their_endings_in_whatever_case_without_those_of_a_mac(tmp_path):
    put(tmp_path, "b.JPG", "a.png", "c.txt", "._a.png", ".png", "in/a.jpg", "in/._a.jpg", "a_pts.mat", "a.mat")
    found = [path.relative_to(tmp_path).as_posix() for path in files(tmp_path, (".jpg", ".png"))]
    assert found == ["a.png", "b.JPG"]
    below = [path.relative_to(tmp_path).as_posix() for path in files(tmp_path, (".jpg", ".png"), below=True)]
    assert below == ["a.png", "b.JPG", "in/a.jpg"]
    assert [path.name for path in files(tmp_path, ("_pts.mat",))] == ["a_pts.mat"]


def test_photos_of_a_folder_and_what_is_not_read_of_it(tmp_path, caplog):
    put(tmp_path, "b.jfif", "a.TIF", "c.heic", "d.nef", "e.HEIC", "n.txt", "._a.tif", "in/f.webp")
    assert [path.name for path in photos_of(tmp_path)] == ["a.TIF", "b.jfif"]
    lines = sorted(record.getMessage().partition(": ")[2] for record in caplog.records)
    assert [line.partition(",")[0] for line in lines] == ["1 not used", "2 not used"]
    assert [line.rpartition(": ")[2] for line in lines] == ["d.nef", "c.heic, e.HEIC"]
    assert [path.name for path in photos_of(tmp_path, below=True)] == ["a.TIF", "b.jfif", "f.webp"]


def test_two_files_of_one_face_are_refused(tmp_path):
    put(tmp_path, "a.jpg", "b.jpg", "a.png")
    assert list(by_name(files(tmp_path, (".jpg",)))) == ["a", "b"]
    assert by_name(files(tmp_path, (".jpg",)), lambda path: path.name.upper())["B.JPG"] == tmp_path / "b.jpg"
    with pytest.raises(ValueError, match=r"a\.png: the same face as a\.jpg; remove one of the two"):
        by_name(files(tmp_path, (".jpg", ".png")))


def test_what_cannot_be_asked_for(tmp_path):
    check_subset("X", "b", {"a": 1, "b": 2})
    with pytest.raises(ValueError, match="^X has no subset 'c'; it has a, b$"):
        check_subset("X", "c", {"a": 1, "b": 2})
    assert needed_folder(str(tmp_path), "one with photos") == tmp_path
    with pytest.raises(FileNotFoundError, match="no: there is no such folder; name one with photos$"):
        needed_folder(tmp_path / "no", "one with photos")


@pytest.mark.parametrize(
    ("counts", "missing", "allowed", "message"),
    [
        ((3, 3), [], False, None),
        ((2, 3), ["b is not there"], True, None),
        ((2, 3), [], False, "D: X has 2 of 3 faces: complete it, or pass --allow-missing"),
        (
            (3, 3),
            ["c has no photo"],
            False,
            "D: X has 3 of 3 faces (c has no photo): complete it, or pass --allow-missing",
        ),
        (
            (2, 8),
            list("abcdef"),
            False,
            "D: X has 2 of 8 faces (a; b; c; d; and 2 more): complete it, or pass --allow-missing",
        ),
        ((0, 3), ["a"], True, "D: X has 0 of 3 faces (a): look elsewhere"),
    ],
)
def test_a_subset_that_lacks_something(counts, missing, allowed, message):
    if message is None:
        refuse_incomplete("D: X", counts, missing, allowed, "look elsewhere")
        return
    with pytest.raises(FileNotFoundError) as caught:
        refuse_incomplete("D: X", counts, missing, allowed, "look elsewhere")
    assert str(caught.value) == message


def test_a_part_of_the_faces_keeps_what_is_not_of_single_ones():
    @dataclass(frozen=True)
    class Some:
        names: tuple
        values: np.ndarray
        title: str

    part = subset_of(Some(("a", "b", "c"), np.arange(6).reshape(3, 2), "t"), np.array([2, 0]), ("names", "values"))
    assert (part.names, part.title) == (("c", "a"), "t")
    np.testing.assert_array_equal(part.values, [[4, 5], [0, 1]])
    nothing = subset_of(part, [], ("names", "values"))
    assert (nothing.names, nothing.values.shape) == ((), (0, 2))


def test_a_part_of_annotated_photos_is_a_whole_of_its_own():
    points = np.arange(3 * 136.0).reshape(3, 68, 2)
    faces = AnnotatedPhotos(("a", "b", "c"), ("x", "y", "z"), points, IBUG_68, {"b": "bad"}, 5, ("d is not there",))
    part = faces.subset([1])
    assert (part.names, part.image_paths, part.expected_count, part.missing) == (("b",), ("y",), 1, ())
    np.testing.assert_array_equal(part.points, points[[1]])
    with pytest.raises(ValueError, match="bad"):
        part[0]


def test_damaged_annotations_stop_the_reading_or_leave_a_blank():
    sources = {"a": "1.5", "b": "x", "c": "2"}
    with pytest.raises(ValueError, match="could not convert"):
        read_each(sources, float, np.nan, keep_damaged=False)
    found, damaged = read_each(sources, float, np.nan, keep_damaged=True)
    np.testing.assert_array_equal(found, [1.5, np.nan, 2])
    assert list(damaged) == ["b"]
