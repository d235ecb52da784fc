"""Data sets by name: each can be asked for, parted and measured as the command lines do."""

import numpy as np
import pytest

from datasets import aflw, aflw21, cofw, ibug_300w, menpo_3d, w300_lp, w300_vw, wflw
from datasets.catalog import CATALOG, chosen_subset, further_faces, load_subset, training_pair
from datasets.ibug_300w import is_validation
from evaluation.protocols import PROTOCOLS
from evaluation.published import PUBLISHED


class Stored:
    """Faces that are names alone."""

    markup = None
    missing = ()
    face_sizes = None
    videos = ()

    def __init__(self, names, **more):
        self.names = list(names)
        self.expected_count = self.expected_videos = len(self.names)
        vars(self).update(more)

    def __len__(self):
        return len(self.names)

    def subset(self, indices):
        return Stored(self.names[k] for k in indices)


def give(monkeypatch, module, faces, function="load"):
    """Makes a reader hand out these faces; returns what it is asked for."""
    asked = []

    def load(*positional, **named):
        asked.append((positional, named))
        return faces

    monkeypatch.setattr(module, function, load)
    return asked


@pytest.mark.parametrize(("name", "subset"), [("300w", "common"), ("pts", "all"), ("rendered", "test")])
def test_the_subset_that_is_meant_where_none_is_named(name, subset):
    assert chosen_subset(name, None) == subset
    assert chosen_subset(name, subset) == subset


def test_an_unknown_subset_lists_those_there_are():
    with pytest.raises(
        ValueError, match="--dataset cofw has no subset 'common': choose one of test, train, validation$"
    ):
        chosen_subset("cofw", "common")
    with pytest.raises(ValueError, match="--dataset rendered has no subset 'common': choose one of test$"):
        chosen_subset("rendered", "common")


def test_every_subset_that_can_be_measured_has_its_protocol_and_no_other():
    known = {(name, subset) for name, entry in CATALOG.items() for subset in entry.measured}
    assert set(PROTOCOLS) == known | {("rendered", "test")}


def test_every_published_figure_is_of_a_subset_that_can_be_measured():
    assert {(cell.dataset, cell.subset) for cell in PUBLISHED} <= set(PROTOCOLS)


@pytest.mark.parametrize("module", [ibug_300w, aflw, aflw21, cofw, w300_vw, wflw])
def test_the_readers_know_the_subsets(module):
    names = {ibug_300w: "300w", aflw: "aflw", aflw21: "aflw21", cofw: "cofw", w300_vw: "300vw", wflw: "wflw"}
    assert set(CATALOG[names[module]].subsets) == set(module.SUBSETS)


class TestTrainingPair:
    def names(self, monkeypatch, name, module, faces):
        asked = give(monkeypatch, module, Stored(faces))
        train, validation = training_pair(name, "DIR", allow_missing=True)
        mirrored = {face for face in faces if face.replace("_Flip/", "/") in validation.names} - set(validation.names)
        assert sorted([*train.names, *validation.names, *mirrored]) == sorted(faces)
        return set(train.names), set(validation.names), asked[0]

    def test_of_aflw_the_faces_of_a_photo_stay_together(self, monkeypatch):
        faces = [f"0/image{number // 2:05}-{number}" for number in range(80)]
        train, validation, asked = self.names(monkeypatch, "aflw", aflw, faces)
        assert asked == (("DIR", "train", True, False), {})
        assert validation == {face for face in faces if is_validation(face.rpartition("-")[0])}
        assert 0 < len(validation) < 24
        assert not {face[:12] for face in train} & {face[:12] for face in validation}

    def test_of_300vw_whole_videos_are_held_out(self, monkeypatch):
        faces = [f"{video}/{frame:06d}" for video in w300_vw.SUBSETS["train"] for frame in (1, 11, 21)]
        train, validation, asked = self.names(monkeypatch, "300vw", w300_vw, faces)
        assert asked == (("DIR", "train", 10, True, False), {})
        held_out = {face[:3] for face in validation}
        assert 2 <= len(held_out) <= 10
        assert not {face[:3] for face in train} & held_out
        assert held_out == {video for video in w300_vw.SUBSETS["train"] if is_validation(video)}

    @pytest.mark.parametrize(
        ("copies", "original"),
        [
            ("AFW/AFW_1051618982_1_{}", "afw/1051618982_1"),
            ("HELEN/HELEN_1002681492_1_{}", "helen/trainset/1002681492_1"),
            ("LFPW/LFPW_image_train_0001_{}", "lfpw/trainset/image_0001"),
            ("AFW_Flip/AFW_1051618982_1_{}", "afw/1051618982_1"),
        ],
    )
    def test_300w_lp_holds_out_the_copies_of_what_300w_holds_out(self, copies, original):
        asked_of = CATALOG["300w_lp"].photo_of
        assert {is_validation(asked_of(copies.format(turn))) for turn in range(14)} == {is_validation(original)}
        assert asked_of(copies.format(3)) == asked_of(copies.format(11))
        # The rule looks at AFW's folder and the photo's name alone.
        assert asked_of(copies.format(0)).rpartition("/")[2] == original.rpartition("/")[2]
        assert asked_of(copies.format(0)).startswith("afw/") == original.startswith("afw/")

    @pytest.mark.parametrize(("name", "points"), [("300w_lp", "2d"), ("300w_lp_3d", "3d")])
    def test_of_300w_lp_the_outline_is_trained_on_or_the_points_of_the_head(self, monkeypatch, name, points):
        halves = ("HELEN", "HELEN_Flip")
        faces = [f"{half}/HELEN_{photo}_1_{turn}" for half in halves for photo in range(40) for turn in (0, 11)]
        train, validation, asked = self.names(monkeypatch, name, w300_lp, faces)
        assert asked == (("DIR", points, True, True, False), {})
        photos = {face.rpartition("_")[0] for face in validation}
        assert 0 < len(photos) < 12
        assert len(validation) == 2 * len(photos)
        # The mirror images of what validation takes are neither trained on nor validated on.
        assert not {face.replace("_Flip/", "/") for face in train} & set(validation)
        assert len(train) == len(faces) - 2 * len(validation)

    def test_photos_that_are_test_photos_too_are_left_out_of_training(self, monkeypatch, caplog):
        names = [*ibug_300w.LEAKS, *(f"helen/trainset/{number}" for number in range(40))]
        give(monkeypatch, ibug_300w, Stored(names))
        train, validation = training_pair("300w", "DIR")
        (line,) = caplog.messages
        assert line == "4 training faces of 300w left out: test photos, too; --official-split keeps them"
        official, same = training_pair("300w", "DIR", official_split=True)
        assert (train.names, validation.names) == ([n for n in official.names if n not in ibug_300w.LEAKS], same.names)
        assert len(official) - len(train) == 4
        assert not set(further_faces("300w", "DIR", ()).names) & set(ibug_300w.LEAKS)
        assert further_faces("300w", "DIR", (), official_split=True).names == names

    def test_further_faces_lack_the_validation_photos_of_the_first_set(self, monkeypatch):
        turned = ["HELEN/HELEN_7_1_0", "HELEN_Flip/HELEN_7_1_3", "AFW/AFW_8_1_0", "AFW/AFW_8_2_5", "HELEN/HELEN_8_1_1"]
        give(monkeypatch, w300_lp, Stored(turned))
        held = ["helen/trainset/7_1", "afw/8_1"]
        assert further_faces("300w_lp", "DIR", held).names == ["HELEN/HELEN_8_1_1"]
        assert further_faces("300w_lp", "DIR", ["helen/trainset/9_1"]).names == turned

    def test_no_folder_or_an_unknown_name(self):
        with pytest.raises(ValueError, match=r"--dataset cofw needs --data DIR, .*; see docs/data.md"):
            training_pair("cofw", None)
        with pytest.raises(ValueError, match="unknown data set 'aflw2000_3d': choose one of rendered, 300w"):
            training_pair("aflw2000_3d", "DIR")


class TestLoadSubset:
    def test_aflw_comes_with_face_sizes(self, monkeypatch):
        stored = Stored("abc", face_sizes=np.array([1.0, 2, 3]), missing=("d is not there",), expected_count=4)
        asked = give(monkeypatch, aflw, stored)
        faces, about = load_subset("aflw", "DIR", "frontal", allow_missing=True)
        assert faces is stored
        assert asked == [(("DIR", "frontal", True, True), {})]
        assert (about.expected, about.missing, about.present) == (4, ("d is not there",), "")
        np.testing.assert_array_equal(about.face_sizes, [1, 2, 3])

    def test_of_300vw_videos_are_counted_and_every_frame_is_taken(self, monkeypatch):
        stored = Stored("abc", videos=("114", "124"), expected_videos=31, missing=("125: no such folder",))
        asked = give(monkeypatch, w300_vw, stored)
        _, about = load_subset("300vw", "DIR", "category_1", allow_missing=True)
        assert asked == [(("DIR", "category_1", 1, True, True), {})]
        assert (about.expected, about.present) == (3, "2 of 31 videos")
        vars(stored)["missing"] = ()
        assert load_subset("300vw", "DIR", "category_1")[1].present == ""

    def test_aflw2000_by_yaw(self, monkeypatch):
        stored = Stored("abcd", yaw=np.array([-10.0, 45, -61, 30]), expected_count=4)
        give(monkeypatch, w300_lp, stored, "load_aflw2000")
        for subset, names in (("0-30", ["a", "d"]), ("30-60", ["b"]), ("60-90", ["c"])):
            faces, about = load_subset("aflw2000_3d", "DIR", subset)
            assert faces.names == names
            assert (about.expected, about.present) == (len(names), "")
        vars(stored)["expected_count"] = 2000
        assert load_subset("aflw2000_3d", "DIR", "0-30")[1].present == "4 of 2000 faces of all yaws"

    @pytest.mark.parametrize(("name", "subset"), [("menpo_3d", "all"), ("300w_3d", "all"), ("300vw_3d", "category_c")])
    def test_the_parts_of_ls3d_w(self, monkeypatch, name, subset):
        stored = Stored("abc", missing=("3 of 4 faces",), expected_count=4)
        asked = give(monkeypatch, menpo_3d, stored)
        faces, about = load_subset(name, "DIR", subset, allow_missing=True)
        assert faces is stored
        assert asked == [(("DIR", name, subset, True, True), {})]
        assert (about.expected, about.missing, about.present) == (4, ("3 of 4 faces",), "")

    def test_validation_is_what_training_leaves_out(self, monkeypatch):
        names = [f"helen/trainset/{number}" for number in range(60)]
        stored = Stored(names, face_sizes=np.arange(60.0))
        asked = give(monkeypatch, ibug_300w, stored)
        faces, about = load_subset("300w", "DIR", "validation", allow_missing=True)
        assert asked == [(("DIR", "train", True, True), {})]
        assert faces.names == training_pair("300w", "DIR")[1].names == [name for name in names if is_validation(name)]
        assert 0 < len(faces) < 20
        assert (about.expected, about.present) == (len(faces), "")
        assert about.face_sizes.tolist() == [names.index(name) for name in faces.names]

    def test_validation_faces_of_a_part_of_the_training_faces(self, monkeypatch):
        lacking = {"expected_count": 3148, "missing": ("ibug: no such folder",)}
        give(monkeypatch, ibug_300w, Stored([f"afw/{number}" for number in range(60)], **lacking))
        _, about = load_subset("300w", "DIR", "validation", allow_missing=True)
        assert about.present == "those of 60 of 3148 training faces"
        give(
            monkeypatch, w300_vw, Stored(["114/1", "124/1"], videos=("114", "124"), expected_videos=50, missing=("x",))
        )
        assert load_subset("300vw", "DIR", "validation", allow_missing=True)[1].present == "2 of 50 videos"

    def test_where_the_reader_parts_the_faces_itself_it_is_asked(self, monkeypatch):
        stored = Stored("abc")
        asked = give(monkeypatch, aflw21, stored)
        assert load_subset("aflw21", "DIR", "validation")[0] is stored
        assert asked == [(("DIR", "validation", False, True), {})]

    def test_nothing_is_held_out_where_nothing_is_trained_on(self):
        with pytest.raises(ValueError, match="has no subset 'validation': choose one of frontal$"):
            load_subset("menpo", "DIR", "validation")
