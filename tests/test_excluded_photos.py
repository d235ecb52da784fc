"""Training without the faces of some photos."""

import numpy as np
import pytest

import train_lgcn
from datasets.ibug_300w import is_validation, write_pts
from datasets.images import write_image
from training.landmark_training import read_photo_names, without_photos

NAMES = ("afw/12_1", "afw/12_2", "afw/123_1", "afw/7_1", "helen/trainset/12_9", "lfpw/trainset/image_0001")
HELD_OUT = ("afw/42_1", "helen/trainset/42_2")


def arguments_for(*text):
    return train_lgcn.TRAINING.parse(["--out", "run", "--allow-missing", *map(str, text)])[:2]


@pytest.fixture
def data(tmp_path):
    """Eight photos in 300-W's layout, two of them for validation, and a list of photos."""
    for name in (*NAMES, *HELD_OUT):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(tmp_path / f"{name}.png", np.zeros((20, 20, 3), np.uint8))
        write_pts(tmp_path / f"{name}.pts", np.random.default_rng(0).uniform(2, 17, (68, 2)))
    (tmp_path / "list.txt").write_text("12\n\n42\nimage_0001.png\nnot there\n")
    return tmp_path


def test_all_faces_of_a_listed_photo_go_from_training_and_validation(data):
    assert [name for name in (*NAMES, *HELD_OUT) if is_validation(name)] == list(HELD_OUT[:1])
    plain = train_lgcn.TRAINING.load_faces(*arguments_for("--data", data))
    assert [len(faces) for faces in plain] == [7, 1]
    train, validation = train_lgcn.TRAINING.load_faces(*arguments_for("--data", data, "--exclude", data / "list.txt"))
    assert sorted(train.names) == ["afw/123_1", "afw/7_1"]
    assert list(validation.names) == []
    assert train[0].name in train.names


class Names:
    def __init__(self, *names):
        self.names, self.markup = names, None

    def __len__(self):
        return len(self.names)


def test_turned_copies_of_a_photo_go_with_it():
    faces = Names("AFW/AFW_12_1_3", "AFW_Flip/AFW_12_2_0", "AFW/AFW_123_1_0", "HELEN/HELEN_12_9_1")
    assert without_photos(faces, {"12"}, "300w_lp").names == ["AFW/AFW_123_1_0"]
    assert without_photos(faces, {"8"}, "300w_lp") is faces


def test_names_are_read_with_and_without_extension(tmp_path):
    (tmp_path / "list.txt").write_text("a\n b.jpg \nfolder/c.png\n\n")
    assert read_photo_names(tmp_path / "list.txt") == {"a", "b", "c"}


def test_bad_lists(data):
    with pytest.raises(FileNotFoundError, match="no such list of photos"):
        train_lgcn.TRAINING.load_faces(*arguments_for("--data", data, "--exclude", data / "none.txt"))
    (data / "other.txt").write_text("99\n")
    with pytest.raises(ValueError, match="names no photo of the training faces"):
        train_lgcn.TRAINING.load_faces(*arguments_for("--data", data, "--exclude", data / "other.txt"))


@pytest.mark.data
def test_the_photos_with_several_faces(face_data):
    listed, home = face_data("afw_photos/test.txt"), face_data("300w")
    stored = train_lgcn.TRAINING.load_faces(*arguments_for("--data", home))
    kept = train_lgcn.TRAINING.load_faces(*arguments_for("--data", home, "--exclude", listed))
    photos = read_photo_names(listed)
    annotated = {f"afw/{path.stem}" for photo in photos for path in listed.parent.glob(f"{photo}_*.pts")}
    gone = {name for faces in stored for name in faces.names} - {name for faces in kept for name in faces.names}
    assert gone == annotated
