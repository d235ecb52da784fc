"""AFLW's list of faces: tiny files of the format of AFLWinfo_release.mat, every fault one can have, and real counts."""

import numpy as np
import pytest
import scipy.io
from PIL import Image

from datasets import aflw
from datasets.aflw import Aflw, load, photo_of, read_list
from datasets.markups import AFLW_19
from evaluation.metrics import nme

# Row k of the list, counted from 0. Rows 1 and 4 are two faces of one photo.
PHOTOS = ["0/image00002.jpg", "0/image00013.jpg", "2/image00035.jpg", "3/image00499.png", "0/image00013.jpg"]
ORDER = [3, 1, 5, 2, 4]  # rows 2 and 0 train, rows 4, 1 and 3 test
HIDDEN = {0: [18], 1: [0, 5]}  # so that of the test faces those of rows 4 and 3 show all
BOXES = [(10, 30, 20, 50), (5, 25, 6, 26), (0, 30, 0, 30), (-4, 12, -3, 22), (1, 17, 2, 11)]  # left, right, top, bottom


def _fields():
    """The list's fields: x of landmark j of row k is 100 k + j, y is 100 k + j + 50.5."""
    x = 100.0 * np.arange(5)[:, None] + np.arange(19)
    mask = np.ones((5, 19), np.uint8)
    for row, landmarks in HIDDEN.items():
        mask[row, landmarks] = 0
    names = np.empty((5, 1), object)
    names[:, 0] = PHOTOS
    return {
        "bbox": np.array(BOXES, np.int16),
        "data": np.hstack([x, x + 50.5]),
        "mask_new": mask,
        "nameList": names,
        "ra": np.array([ORDER], np.uint16),
    }


def _write(root, **changed):
    """Writes the list; a field given as None is left out."""
    fields = {name: value for name, value in {**_fields(), **changed}.items() if value is not None}
    scipy.io.savemat(root / "AFLWinfo_release.mat", fields)


def _replaced(name, place, value):
    values = _fields()[name].astype(np.float64)
    values[place] = value
    return {name: values}


@pytest.fixture(autouse=True)
def _small(request, monkeypatch):
    """A list of five faces is a whole one, but for the real one."""
    if "data" not in request.keywords:
        monkeypatch.setattr(aflw, "SUBSETS", {"train": 2, "full": 3, "frontal": 2})


@pytest.fixture
def copy(tmp_path):
    """A whole copy of that small AFLW, as its archives unpack; each photo has a colour of its own."""
    _write(tmp_path)
    for shade, photo in enumerate(sorted(set(PHOTOS))):
        path = tmp_path / "data" / "flickr" / photo
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40 + shade, 36), (shade, 100, 200)).save(path)
    return tmp_path


class TestLoad:
    @pytest.mark.parametrize(
        ("subset", "names"),
        [
            ("train", ("2/image00035-2", "0/image00002-0")),
            ("full", ("0/image00013-4", "0/image00013-1", "3/image00499-3")),
            ("frontal", ("0/image00013-4", "3/image00499-3")),
        ],
    )
    def test_the_permutation_counts_from_one_and_is_cut_after_the_training_faces(self, copy, subset, names):
        faces = load(copy, subset)
        assert isinstance(faces, Aflw)
        assert faces.markup is AFLW_19
        assert faces.names == names
        assert len(faces) == faces.expected_count == len(names)
        assert faces.missing == ()
        assert faces.damaged == {}
        assert [path.relative_to(copy).as_posix() for path in faces.image_paths] == [
            f"data/flickr/{PHOTOS[int(name[-1])]}" for name in names
        ]
        assert [photo_of(name) for name in names] == [PHOTOS[int(name[-1])][:-4] for name in names]

    def test_points_are_all_x_then_all_y_and_not_shifted(self, copy):
        points = load(copy, "full").points
        assert points.shape == (3, 19, 2)
        assert points.dtype == np.float64
        np.testing.assert_array_equal(points[0, :2], [(400, 450.5), (401, 451.5)])
        np.testing.assert_array_equal(points[1, 18], (118, 168.5))

    def test_landmarks_that_are_not_visible_keep_their_place(self, copy):
        faces = load(copy, "full")
        assert faces.visible.dtype == bool
        assert [np.flatnonzero(~row).tolist() for row in faces.visible] == [[], [0, 5], []]
        np.testing.assert_array_equal(faces.points[1, 5], (105, 155.5))

    def test_boxes_are_listed_left_right_top_bottom(self, copy):
        faces = load(copy, "full")
        np.testing.assert_array_equal(faces.boxes, [(1, 2, 17, 11), (5, 6, 25, 26), (-4, -3, 12, 22)])
        np.testing.assert_allclose(faces.face_sizes, [12, 20, 20], rtol=1e-15)  # sqrt(16 * 9), 20, sqrt(16 * 25)

    def test_errors_over_the_face_size_by_hand(self, copy):
        faces = load(copy, "full")
        predicted = faces.points.copy()
        predicted[0] += (3, 4)
        predicted[1, 0] += (0, 19)
        errors = nme(predicted, faces.points, normalizer=faces.face_sizes)
        np.testing.assert_allclose(errors, [5 / 12, 1 / 20, 0], rtol=1e-12)
        of_visible = np.where(faces.visible[..., None], faces.points, np.nan)
        np.testing.assert_allclose(nme(predicted, of_visible, faces.face_sizes), [5 / 12, 0, 0], rtol=1e-12)

    def test_asking_for_a_face_reads_its_photo(self, copy):
        face = load(copy, "full")[2]
        assert face.name == "3/image00499-3"
        assert face.image.shape == (36, 43, 3)
        assert face.image[0, 0].tolist() == [3, 100, 200]
        np.testing.assert_array_equal(face.box, (-4, -3, 12, 22))
        np.testing.assert_array_equal(face.points_image[0], (300, 350.5))

    def test_photos_are_not_turned_as_their_tag_says(self, copy):
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.new("RGB", (40, 36)).save(copy / "data/flickr/0/image00013.jpg", exif=exif)
        assert load(copy, "full")[0].image.shape == (36, 40, 3)

    @pytest.mark.parametrize("place", ["", "aflw/data/flickr"])
    def test_photos_may_lie_elsewhere(self, copy, place):
        (copy / place).mkdir(parents=True, exist_ok=True)
        for folder in "023":
            (copy / "data" / "flickr" / folder).rename(copy / place / folder)
        assert load(copy, "full").image_paths[2] == copy / place / "3" / "image00499.png"

    def test_a_subset_is_a_whole_of_its_own(self, copy):
        faces = load(copy, "full").subset([2, 0])
        assert faces.names == ("3/image00499-3", "0/image00013-4")
        assert faces.expected_count == 2
        assert faces[0].image.shape == (36, 43, 3)
        np.testing.assert_array_equal(faces.points[:, 0, 0], [300, 400])
        np.testing.assert_array_equal(faces.face_sizes, [20, 12])
        assert faces.visible.all()


class TestMissing:
    def test_a_photo_that_is_not_there_is_named(self, copy):
        (copy / "data/flickr/3/image00499.png").unlink()
        with pytest.raises(FileNotFoundError) as caught:
            load(copy, "full")
        assert str(caught.value) == (
            f"{copy / 'AFLWinfo_release.mat'}: AFLW full has 2 of 3 faces "
            f"({copy / 'data/flickr/3/image00499.png'} is not there): complete it, or allow missing faces"
        )
        assert len(load(copy, "train")) == 2

    def test_what_is_there_can_be_taken(self, copy):
        (copy / "data/flickr/0/image00013.jpg").unlink()
        faces = load(copy, "full", allow_missing=True)
        assert faces.names == ("3/image00499-3",)
        assert faces.expected_count == 3
        assert faces.missing == (f"{copy / 'data/flickr/0/image00013.jpg'} is not there",)
        np.testing.assert_array_equal(faces.points[0, 0], (300, 350.5))

    def test_without_any_photo_of_the_subset_nothing_can_be_taken(self, copy):
        for photo in (PHOTOS[1], PHOTOS[3]):
            (copy / "data/flickr" / photo).unlink()
        with pytest.raises(FileNotFoundError, match=r"full has 0 of 3 faces \(.*\): put the photos there$"):
            load(copy, "full", allow_missing=True)

    def test_photos_that_are_nowhere(self, tmp_path):
        _write(tmp_path)
        with pytest.raises(FileNotFoundError) as caught:
            load(tmp_path, "full", allow_missing=True)
        assert str(caught.value) == f"{tmp_path}: AFLW's photos are not here; put their folders 0, 2, 3 into it"

    def test_other_visibility_than_the_protocols_is_told(self, copy):
        _write(copy, **_replaced("mask_new", (3, 7), 0))
        with pytest.raises(FileNotFoundError, match=r"AFLW frontal has 1 of 2 faces \(the list itself has 1\)"):
            load(copy, "frontal")
        faces = load(copy, "frontal", allow_missing=True)
        assert (faces.names, faces.expected_count) == (("0/image00013-4",), 2)


class TestDamage:
    @pytest.mark.parametrize(
        ("changed", "reason"),
        [
            (_replaced("bbox", (4, 1), 1), "the box has no area"),
            (_replaced("bbox", (4, 0), np.nan), "the box has no area"),
            (_replaced("data", (4, 30), np.nan), "a landmark has no coordinates"),
        ],
    )
    def test_a_row_without_sense_is_an_error_or_kept_as_damaged(self, copy, changed, reason):
        _write(copy, **changed)
        message = (
            f"{copy / 'AFLWinfo_release.mat'}: face 0/image00013-4: {reason}; "
            "download the list again, or leave the face out"
        )
        with pytest.raises(ValueError, match=reason) as caught:
            load(copy, "full")
        assert str(caught.value) == message
        faces = load(copy, "full", keep_damaged=True)
        assert faces.damaged == {"0/image00013-4": message}
        assert np.isnan(faces.points[0]).all()
        np.testing.assert_array_equal(faces.face_sizes, [np.nan, 20, 20])
        assert np.isfinite(faces.points[1:]).all()
        with pytest.raises(ValueError, match=reason):
            faces[0]
        assert faces[1].name == "0/image00013-1"

    def test_a_landmark_that_is_not_visible_may_have_no_coordinates(self, copy):
        _write(copy, **_replaced("data", (1, [5, 24]), np.nan))
        faces = load(copy, "full")
        assert np.argwhere(np.isnan(faces.points)).tolist() == [[1, 5, 0], [1, 5, 1]]
        assert faces.damaged == {}

    def test_but_one_landmark_must_have_them(self, copy):
        _write(copy, **_replaced("data", 1, np.nan), **_replaced("mask_new", 1, 0))
        with pytest.raises(ValueError, match="face 0/image00013-1: a landmark has no coordinates"):
            load(copy, "full")

    @pytest.mark.parametrize(
        ("changed", "reason"),
        [
            ({"bbox": None}, "it has no field 'bbox'"),
            ({"nameList": _fields()["nameList"][:4]}, "its nameList has 4 faces, not 5"),
            ({"bbox": _fields()["bbox"][:4]}, r"its bbox is \(4, 4\) where 5 faces need \(5, 4\)"),
            ({"data": _fields()["data"][:, :36]}, r"its data is \(5, 36\) where 5 faces need \(5, 38\)"),
            ({"ra": np.array([ORDER]) - 1}, "its ra is no permutation of 1 to 5"),
            ({"ra": np.array([[3, 1, 5, 2, 2]])}, "its ra is no permutation of 1 to 5"),
            ({"bbox": "four numbers"}, "its bbox does not hold numbers"),
            ({"nameList": np.arange(1.0, 6)}, "row 1 of its nameList names no photo"),
            ({"nameList": np.array([*PHOTOS[:4], " "], object)}, "row 5 of its nameList names no photo"),
        ],
    )
    def test_a_damaged_list_is_told_in_one_line(self, copy, changed, reason):
        _write(copy, **changed)
        path = copy / "AFLWinfo_release.mat"
        with pytest.raises(ValueError, match=reason) as caught:
            load(copy, "full", keep_damaged=True)
        assert str(caught.value).startswith(f"{path}: not AFLW's list of faces: ")
        assert str(caught.value).endswith("; download it again")
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        "names",
        [
            np.array(PHOTOS, object),
            np.array(PHOTOS),
            np.array([f" {photo}".replace("/", "\\") for photo in PHOTOS], object)[:, None],
        ],
        ids=["column", "padded text", "backslashes"],
    )
    def test_harmless_shapes_of_the_names_are_tolerated(self, copy, names):
        _write(copy, nameList=names, ra=np.array(ORDER, float)[:, None])
        assert read_list(copy / "AFLWinfo_release.mat").photos == tuple(PHOTOS)
        assert load(copy, "frontal").names == ("0/image00013-4", "3/image00499-3")

    def test_names_in_cells_in_cells(self, copy):
        names = np.empty((5, 1), object)
        for row, photo in enumerate(PHOTOS):
            inner = np.empty((1, 1), object)
            inner[0, 0] = photo
            names[row, 0] = inner
        _write(copy, nameList=names)
        assert read_list(copy / "AFLWinfo_release.mat").photos == tuple(PHOTOS)

    @pytest.mark.parametrize("compressed", [False, True])
    def test_a_file_cut_short_anywhere_is_told_in_one_line(self, tmp_path, compressed):
        path = tmp_path / "AFLWinfo_release.mat"
        scipy.io.savemat(path, _fields(), do_compression=compressed)
        whole = path.read_bytes()
        for size in [0, 3, 60, *range(100, len(whole) - 1, 37)]:
            path.write_bytes(whole[:size])
            with pytest.raises(ValueError, match=r"AFLWinfo_release.mat: not .*; download it again$") as caught:
                read_list(path)
            assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("content", [b"<html>404</html>" * 20, b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM"])
    def test_another_kind_of_file(self, tmp_path, content):
        path = tmp_path / "AFLWinfo_release.mat"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"list of faces: .* not of MATLAB's version 5 \(.*\); download it again$"):
            read_list(path)


@pytest.mark.data
@pytest.mark.parametrize(("subset", "count"), [("train", 20000), ("full", 4386), ("frontal", 1314)])
def test_counts_of_the_real_data(face_data, subset, count):
    faces = load(face_data("aflw/AFLWinfo_release.mat").parent, subset)
    assert len(faces) == count
    assert (faces.face_sizes > 0).all()
