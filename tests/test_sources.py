"""What the words of predict.py's command line stand for."""

import pytest

from inference.media.sources import Camera, find_inputs


def put(folder, *names):
    for name in names:
        (folder / name).write_bytes(b"x")


def names(found):
    return [path.name for path in found]


def test_every_photo_of_a_folder_and_what_looks_like_one(tmp_path, caplog):
    put(
        tmp_path,
        "a.jpg",
        "b.jfif",
        "c.jpe",
        "d.TIF",
        "e.webp",
        "IMG_1.HEIC",
        "f.cr2",
        "._a.jpg",
        ".g.png",
        "n.txt",
        "v.mp4",
    )
    assert names(find_inputs([str(tmp_path)])) == ["IMG_1.HEIC", "a.jpg", "b.jfif", "c.jpe", "d.TIF", "e.webp", "f.cr2"]
    (record,) = caplog.records
    assert record.message.endswith("1 not used, hidden, as a name starts with a dot: .g.png")


def test_raw_files_beside_their_jpegs_are_named_and_not_in_the_way(tmp_path, caplog):
    put(tmp_path, "IMG_1.CR2", "IMG_1.JPG", "IMG_2.heic", "IMG_2.jpg")
    assert names(find_inputs([str(tmp_path)])) == ["IMG_1.JPG", "IMG_2.jpg"]
    assert [record.getMessage().rpartition(": ")[2] for record in caplog.records] == ["IMG_1.CR2", "IMG_2.heic"]


def test_nothing_to_look_at(tmp_path):
    put(tmp_path, "notes.txt", "._a.jpg")
    with pytest.raises(FileNotFoundError, match=r"no photo is there; folders are searched for \.bmp"):
        find_inputs([str(tmp_path)])
    with pytest.raises(FileNotFoundError, match="there is no such photo, video or folder"):
        find_inputs([str(tmp_path / "*.jpg")])


def test_cameras_globs_and_files(tmp_path):
    put(tmp_path, "a.jpg", "b.jpg")
    assert find_inputs(["0"]) == [Camera(0)]
    assert names(find_inputs([str(tmp_path / "*.jpg"), str(tmp_path / "a.jpg")])) == ["a.jpg", "b.jpg"]
    put(tmp_path, "a.png")
    with pytest.raises(ValueError, match=r"a\.jpg and .*a\.png would both become a\.json"):
        find_inputs([str(tmp_path)])
