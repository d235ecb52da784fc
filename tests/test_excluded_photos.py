"""Training without the faces of some photos."""

import numpy as np
import pytest

import train_lgcn
from datasets.ibug_300w import is_validation, write_pts
from datasets.images import write_image
from datasets.name_lists import PhotoList, read_lines
from training.chosen_faces import without_photos

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
    (tmp_path / "list.txt").write_text("12\n\n42\nC:\\faces\\image_0001.png\n")
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


def listed(folder, *lines):
    (folder / "some.txt").write_text("\n".join(lines))
    return PhotoList(folder / "some.txt")


def test_turned_copies_of_a_photo_go_with_it(tmp_path):
    faces = Names("AFW/AFW_12_1_3", "AFW_Flip/AFW_12_2_0", "AFW/AFW_123_1_0", "HELEN/HELEN_12_9_1")
    assert without_photos(faces, listed(tmp_path, "12"), "300w_lp").names == ["AFW/AFW_123_1_0"]
    assert without_photos(faces, listed(tmp_path, "8"), "300w_lp") is faces


def test_numbers_at_the_end_of_ones_own_names_are_no_faces_of_a_photo(tmp_path):
    faces = Names("IMG_1", "IMG_2", "crowd_1", "crowd_2")
    faces.photo_names = ("IMG_1", "IMG_2", "crowd", "crowd")
    assert without_photos(faces, listed(tmp_path, "crowd.jpg", "IMG_1"), "pts").names == ["IMG_2"]
    assert without_photos(faces, listed(tmp_path, "crowd_2"), "pts").names == ["IMG_1", "IMG_2", "crowd_1"]
    assert without_photos(faces, listed(tmp_path, "IMG"), "pts") is faces


def test_bad_lists(data):
    with pytest.raises(FileNotFoundError, match="check the path of the list of photos"):
        train_lgcn.TRAINING.load_faces(*arguments_for("--data", data, "--exclude", data / "none.txt"))
    (data / "other.txt").write_text("12\n99\n7_1\nimage 1\n")
    with pytest.raises(ValueError, match=r"other\.txt: no photo of 300w is called '99', 'image 1'; correct the name"):
        train_lgcn.TRAINING.load_faces(*arguments_for("--data", data, "--exclude", data / "other.txt"))


def test_a_line_may_mean_a_photo_of_a_further_set(data, tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    for name in ("a", "b", "c", "d"):
        write_image(own / f"{name}.png", np.zeros((20, 20, 3), np.uint8))
        write_pts(own / f"{name}.pts", np.random.default_rng(0).uniform(2, 17, (68, 2)))
    (data / "mixed.txt").write_text("12\nb\n")
    text = ("--data", data, "--more", f"pts={own}", "--exclude", data / "mixed.txt")
    train, _ = train_lgcn.TRAINING.load_faces(*arguments_for(*text))
    assert not {"b", "afw/12_1", "afw/12_2"} & set(train.names)
    assert {"afw/7_1"} <= set(train.names)


@pytest.mark.data
def test_the_photos_with_several_faces(face_data):
    listed, home = face_data("afw_photos/test.txt"), face_data("300w")
    stored = train_lgcn.TRAINING.load_faces(*arguments_for("--data", home))
    kept = train_lgcn.TRAINING.load_faces(*arguments_for("--data", home, "--exclude", listed))
    photos = read_lines(listed, "")
    annotated = {f"afw/{path.stem}" for photo in photos for path in listed.parent.glob(f"{photo}_*.pts")}
    gone = {name for faces in stored for name in faces.names} - {name for faces in kept for name in faces.names}
    assert gone == annotated
