"""Lists of photos as people write them, on Windows, on a Mac and by hand."""

import os
import unicodedata

import pytest

from datasets.name_lists import PhotoList, best_matches, by_last_part, photo_key, read_any_text

NAMES = ["f0", "f1", "f2", "f10", "deep/f0 b", "v1.2"]
LATIN = os.fsdecode("caf\u00e9".encode("latin-1"))  # a file name as Linux hands out one that is not UTF-8


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("f1", "f1"),
        ("f1.png", "f1"),
        ("f1.PTS", "f1"),
        (" 'f1.jpg' ", "f1"),
        ("\u201cf1.heic\u201d", "f1"),
        ("C:\\faces\\f1.png", "faces/f1"),
        ("c:/faces/f1", "faces/f1"),
        ("\\\\server\\share\\faces\\f1.png", "faces/f1"),
        ("./deep/f0 b.png", "deep/f0 b"),
        ("/home/me/f1.png", "/home/me/f1"),
        ("v1.2", "v1.2"),
        ("v1.2.jpg", "v1.2"),
        (unicodedata.normalize("NFD", "caf\u00e9.jpg"), "caf\u00e9"),
        (LATIN, "caf\u00e9"),
    ],
)
def test_every_spelling_of_a_photo_has_one_key(written, key):
    assert photo_key(written) == key


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_any_encoding_and_any_end_of_line(tmp_path, encoding, end):
    (tmp_path / "list.txt").write_bytes(end.join(["f0.png", "", "caf\u00e9", "f2"]).encode(encoding))
    listed = PhotoList(tmp_path / "list.txt")
    assert listed.find(["f0", "f1", "f2", "caf\u00e9", LATIN]) == [0, 2, 3, 4]
    listed.refuse_unmatched("it")


def test_what_is_no_text_is_refused(tmp_path):
    (tmp_path / "list.txt").write_bytes(bytes(range(256)) * 4)
    with pytest.raises(ValueError, match=r"list\.txt: not a text"):
        read_any_text(tmp_path / "list.txt", "check it")
    (tmp_path / "list.txt").write_text(" \n\n")
    with pytest.raises(ValueError, match=r"list\.txt: it names no photo"):
        PhotoList(tmp_path / "list.txt")
    with pytest.raises(FileNotFoundError, match="there is no such file; check the path of the list"):
        PhotoList(tmp_path / "none.txt")


def test_a_path_means_the_photo_in_that_folder_and_a_name_every_one():
    places = by_last_part(["a/1", "b/1", "b/2"])
    assert best_matches("a/1", places) == ["a/1"]
    assert best_matches("data/b/1", places) == ["b/1"]
    assert best_matches("1", places) == ["a/1", "b/1"]
    assert best_matches("elsewhere/1", places) == ["a/1", "b/1"]
    assert best_matches("3", places) == []


def test_a_line_that_means_nothing_is_named(tmp_path):
    (tmp_path / "list.txt").write_text('"C:\\faces\\f0.png"\nf1.jpeg\nf99\nf0 b\n')
    listed = PhotoList(tmp_path / "list.txt")
    assert [NAMES[k] for k in listed.find(NAMES)] == ["f0", "f1", "deep/f0 b"]
    with pytest.raises(ValueError, match=r"list\.txt: no photo of pts is called 'f99'; correct"):
        listed.refuse_unmatched("pts")
    assert listed.find(["x/f99"]) == [0]  # in another data set
    listed.refuse_unmatched("both")
