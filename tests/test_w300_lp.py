"""300W-LP and AFLW2000-3D: tiny copies in exactly their formats, every fault a file can have, and real data."""

import shutil

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from datasets import w300_lp
from datasets.catalog import load_subset, training_pair
from datasets.markups import IBUG_68
from datasets.w300_lp import load, load_aflw2000, read_mat, yaw_groups

RNG = np.random.default_rng(0)
POINTS_2D = RNG.uniform(2, 30, (68, 2)).round(3)
POINTS_3D = RNG.uniform(2, 30, (68, 2)).round(3)
SHAPES = {"pt3d_68": (3, 68), "Pose_Para": (1, 7)}


def _photo(path, size=(40, 36)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (90, 120, 150)).save(path)


def _model(yaw=0.0):
    """The fields of a fitted model, as both distributors' files have them."""
    pose = np.array([[0.1, np.radians(yaw), -0.2, 220.0, 210.0, -90.0, 0.001]], np.float32)
    return {"Pose_Para": pose, "roi": np.array([[162, 52, 1182, 1072]], np.int16)}


def _add_lp(root, folder, stem):
    _photo(root / folder / f"{stem}.jpg")
    savemat(root / folder / f"{stem}.mat", {"pt2d": POINTS_2D.T + 1, **_model()})
    (root / "landmarks" / folder).mkdir(parents=True, exist_ok=True)
    marks = {"pts_2d": POINTS_2D + 1, "pts_3d": POINTS_3D + 1}
    savemat(root / "landmarks" / folder / f"{stem}_pts.mat", marks, do_compression=True)


def _aflw_fields(yaw=0.0, points=POINTS_3D):
    pt3d = np.vstack([points.T + 1, np.linspace(-90, 90, 68)]).astype(np.float32)
    return {"pt3d_68": pt3d, "pt2d": np.full((2, 21), -1.0), **_model(yaw)}


def _add_aflw(root, stem, **options):
    _photo(root / f"{stem}.jpg")
    savemat(root / f"{stem}.mat", _aflw_fields(**options), do_compression=True)


@pytest.fixture
def lp(tmp_path, monkeypatch):
    """A whole copy of a 300W-LP of two faces in each folder."""
    monkeypatch.setattr(w300_lp, "PARTS", dict.fromkeys(w300_lp.PARTS, 2))
    for part in w300_lp.PARTS:
        for folder in (part, f"{part}_Flip"):
            _add_lp(tmp_path, folder, f"{part}_image_0001_0")
            _add_lp(tmp_path, folder, f"{part}_image_0001_1")
    return tmp_path


@pytest.fixture
def aflw(tmp_path, monkeypatch):
    """A whole copy of an AFLW2000-3D of three faces."""
    monkeypatch.setattr(w300_lp, "AFLW2000_COUNT", 3)
    _add_aflw(tmp_path, "image00004", yaw=-45)
    _add_aflw(tmp_path, "image00002", yaw=12, points=POINTS_2D)
    _add_aflw(tmp_path, "image00006", yaw=75)
    return tmp_path


def _fails(error, reason, call, *arguments, **options):
    with pytest.raises(error, match=reason) as caught:
        call(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestW300Lp:
    @pytest.mark.parametrize(("points", "expected"), [("2d", POINTS_2D), ("3d", POINTS_3D)])
    def test_a_face(self, lp, points, expected):
        faces = load(str(lp), points)
        assert faces.markup is IBUG_68
        assert faces.points.shape == (8, 68, 2)
        face = faces[2]
        assert face.name == faces.names[2] == "HELEN/HELEN_image_0001_0"
        assert face.image.shape == (36, 40, 3)
        assert face.points_image.dtype == np.float64
        np.testing.assert_allclose(face.points_image, expected, rtol=0, atol=1e-12)
        np.testing.assert_allclose(face.box, [*expected.min(0), *expected.max(0)], rtol=0, atol=1e-12)

    def test_pixels_count_from_one_in_the_file_and_from_zero_here(self, lp):
        marks = np.tile([[1.0, 1.0], [11.5, 21.25]], (34, 1))
        savemat(lp / "landmarks/AFW/AFW_image_0001_0_pts.mat", {"pts_2d": marks, "pts_3d": marks})
        np.testing.assert_array_equal(load(lp).points[0, :2], [(0, 0), (10.5, 20.25)])

    def test_the_mirrored_copies_are_left_out_or_taken(self, lp):
        faces, both = load(lp), load(lp, mirrored=True)
        assert [len(faces), faces.expected_count, len(both), both.expected_count] == [8, 8, 16, 16]
        folders = [name.split("/")[0] for name in both.names[::2]]
        assert folders == ["AFW", "AFW_Flip", "HELEN", "HELEN_Flip", "IBUG", "IBUG_Flip", "LFPW", "LFPW_Flip"]
        assert not any("Flip" in name for name in faces.names)

    def test_training_asks_for_the_mirrored_half_and_names_the_folders_that_lack_it(self, lp):
        for part in w300_lp.PARTS:
            shutil.rmtree(lp / f"{part}_Flip")
        with pytest.raises(FileNotFoundError, match=r"has 8 of 16 faces .*AFW_Flip: no such folder \(0 of 2\)"):
            training_pair("300w_lp", str(lp))
        faces, about = load_subset("300w_lp", str(lp), "unmirrored")
        assert (len(faces), about.expected) == (8, 8)

    @pytest.mark.parametrize(("folder", "shown"), [("IBUG", "IBUG"), ("landmarks/IBUG", "landmarks/IBUG")])
    def test_a_missing_folder_is_named(self, lp, folder, shown):
        (lp / folder).rename(lp / "elsewhere")
        message = _fails(FileNotFoundError, "300W-LP has 6 of 8 faces", load, lp)
        assert f"({shown}: no such folder (0 of 2)): complete it, or pass --allow-missing" in message
        faces = load(lp, allow_missing=True)
        assert (len(faces), faces.expected_count) == (6, 8)
        assert faces.missing == (f"{shown}: no such folder (0 of 2)",)

    def test_missing_files_are_named(self, lp):
        (lp / "AFW/AFW_image_0001_0.jpg").unlink()
        (lp / "LFPW/LFPW_image_0001_1.jpg").rename(lp / "LFPW/other.jpg")
        assert load(lp, allow_missing=True).missing == (
            "AFW: 1 of 2",
            "AFW: AFW_image_0001_0_pts.mat has no image",
            "LFPW: 1 of 2",
            "LFPW/other.jpg has no other_pts.mat",
            "LFPW: LFPW_image_0001_1_pts.mat has no image",
        )
        _fails(FileNotFoundError, "has 6 of 8 faces .*; and 1 more", load, lp)

    def test_nothing_at_all(self, tmp_path):
        _fails(FileNotFoundError, "has 0 of 61225 faces .*: name the folder", load, tmp_path, allow_missing=True)
        _fails(FileNotFoundError, "there is no such folder; name the one that holds AFW", load, tmp_path / "no")

    def test_a_damaged_annotation(self, lp):
        path = lp / "landmarks/AFW/AFW_image_0001_0_pts.mat"
        savemat(path, {"pts_2d": POINTS_2D})
        _fails(ValueError, "AFW_image_0001_0_pts.mat: .* has no field 'pts_3d'", load, lp, allow_missing=True)
        faces = load(lp, keep_damaged=True)
        assert list(faces.damaged) == ["AFW/AFW_image_0001_0"]
        assert np.isnan(faces.points[0]).all()
        assert np.isfinite(faces.points[1:]).all()
        with pytest.raises(ValueError, match="has no field 'pts_3d'"):
            faces[0]
        assert faces[1].name == "AFW/AFW_image_0001_1"
        assert len(load(lp, "2d")) == 8

    def test_points_in_columns_are_refused(self, lp):
        savemat(lp / "landmarks/AFW/AFW_image_0001_0_pts.mat", {"pts_3d": POINTS_3D.T})
        _fails(ValueError, r"its field pts_3d is \(2, 68\), not \(68, 2\)", load, lp)

    def test_the_published_counts(self):
        # TensorFlow Datasets' the300w_lp; a published loader of the mirrored ones too counts 115,118 + 7,332.
        assert sum(w300_lp.PARTS.values()) == 61225
        assert 2 * sum(w300_lp.PARTS.values()) == 115118 + 7332


class TestAflw2000:
    def test_a_face(self, aflw):
        faces = load_aflw2000(str(aflw))
        assert faces.names == ("image00002", "image00004", "image00006")
        np.testing.assert_allclose(faces.yaw, [12, -45, 75], rtol=0, atol=1e-4)
        assert faces.points.shape == (3, 68, 2)
        face = faces[0]
        assert face.image.shape == (36, 40, 3)
        np.testing.assert_allclose(face.points_image, POINTS_2D, rtol=0, atol=1e-5)
        np.testing.assert_allclose(face.box, [*POINTS_2D.min(0), *POINTS_2D.max(0)], rtol=0, atol=1e-5)
        np.testing.assert_allclose(faces[1].points_image, POINTS_3D, rtol=0, atol=1e-5)

    def test_a_subset_keeps_its_yaw(self, aflw):
        some = load_aflw2000(aflw).subset([2, 0])
        assert some.names == ("image00006", "image00002")
        np.testing.assert_allclose(some.yaw, [75, 12], rtol=0, atol=1e-4)

    def test_the_groups_of_yaw(self):
        yaw = np.array([0, -30, 30.01, 60, -60.5, 95, np.nan, -12])
        groups = {name: list(numbers) for name, numbers in yaw_groups(yaw).items()}
        assert groups == {"0-30": [0, 1, 7], "30-60": [2, 3], "60-90": [4, 5]}

    def test_a_damaged_annotation(self, aflw):
        savemat(aflw / "image00004.mat", {key: value for key, value in _aflw_fields().items() if key != "Pose_Para"})
        _fails(ValueError, "image00004.mat: .* has no field 'Pose_Para'", load_aflw2000, aflw)
        faces = load_aflw2000(aflw, keep_damaged=True)
        assert np.isnan(faces.yaw).tolist() == [False, True, False]
        assert np.isnan(faces.points).any(axis=(1, 2)).tolist() == [False, True, False]
        with pytest.raises(ValueError, match="has no field 'Pose_Para'"):
            faces[1]


class TestReadMat:
    def _refused(self, path, reason):
        message = _fails(ValueError, reason, read_mat, path, SHAPES)
        assert message.startswith(f"{path}: not a readable .mat file: ")
        assert message.endswith("; restore it from the original data")

    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (b"", "it is empty"),
            (b"version: 1\nn_points: 68\n" * 20, "cut short or not of MATLAB's version 5"),
            (b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(400), "version 5 .*v7.3"),
        ],
        ids=["empty", "text", "version 7.3"],
    )
    def test_what_is_no_mat_file(self, tmp_path, data, reason):
        (tmp_path / "a.mat").write_bytes(data)
        self._refused(tmp_path / "a.mat", reason)

    @pytest.mark.parametrize("compressed", [False, True])
    def test_cut_short_anywhere(self, tmp_path, compressed):
        fields = {name: values for name, values in _aflw_fields().items() if name in SHAPES}
        savemat(tmp_path / "a.mat", fields, do_compression=compressed)
        data = (tmp_path / "a.mat").read_bytes()
        assert set(read_mat(tmp_path / "a.mat", SHAPES)) == set(SHAPES)
        for length in [*range(0, len(data) - 8, 37), len(data) - 9]:
            (tmp_path / "a.mat").write_bytes(data[:length])
            self._refused(tmp_path / "a.mat", "empty|cut short|has no field")

    def test_a_flipped_bit_is_a_value_error_or_harmless(self, tmp_path):
        savemat(tmp_path / "a.mat", _aflw_fields(), do_compression=True)
        data = (tmp_path / "a.mat").read_bytes()
        refused = 0
        for place in range(0, len(data), 11):
            damaged = bytearray(data)
            damaged[place] ^= 1 << place % 8
            (tmp_path / "a.mat").write_bytes(damaged)
            try:
                read_mat(tmp_path / "a.mat", SHAPES)
            except ValueError:
                refused += 1
        assert refused > len(data) // 11 // 3

    @pytest.mark.parametrize(
        ("name", "value", "reason"),
        [
            ("pt3d_68", np.zeros((3, 67)), r"its field pt3d_68 is \(3, 67\), not \(3, 68\)"),
            ("pt3d_68", np.where(np.arange(204).reshape(3, 68) == 9, np.nan, 1), "pt3d_68 has values that are not fin"),
            ("pt3d_68", np.full((3, 68), np.inf), "pt3d_68 has values that are not finite"),
            ("pt3d_68", np.full((3, 68), 1j), "an array of class 6, or of complex numbers"),
            ("pt3d_68", "face", r"its field pt3d_68 is \(1,\), not"),
            ("Pose_Para", np.zeros((1, 6)), r"its field Pose_Para is \(1, 6\), not \(1, 7\)"),
            ("Pose_Para", {"yaw": 3.0}, "an array of class 2"),
        ],
    )
    def test_a_field_that_is_not_what_it_must_be(self, tmp_path, name, value, reason):
        savemat(tmp_path / "a.mat", {**_aflw_fields(), name: value})
        self._refused(tmp_path / "a.mat", reason)

    def test_a_missing_file_is_said_to_be_missing(self, tmp_path):
        _fails(
            FileNotFoundError, "no.mat: there is no such .mat file; check the path", read_mat, tmp_path / "no.mat", {}
        )


@pytest.mark.data
def test_real_aflw2000(face_data):
    faces = load_aflw2000(face_data("aflw2000_3d"), allow_missing=True)
    shapes = [faces[k].image.shape for k in range(min(len(faces), 8))]
    assert shapes == [(450, 450, 3)] * len(shapes)
    # The photos are cut about the face, whose points may hardly leave them.
    assert faces.points.min() > -45
    assert faces.points.max() < 495
    towards = np.abs(faces.yaw) < 80
    right, left = (faces.points[towards, k] for k in IBUG_68.outer_eye_corners)
    assert (right[:, 0] < left[:, 0]).all()
    # The distance between the eyes shrinks about as the cosine of the yaw, which tells it from pitch and roll.
    widths = np.linalg.norm(right - left, axis=1)
    assert np.corrcoef(widths, np.cos(np.radians(faces.yaw[towards])))[0, 1] > 0.8
    assert sum(len(numbers) for numbers in yaw_groups(faces.yaw).values()) == len(faces)
