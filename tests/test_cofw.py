"""COFW: small files in exactly the format of its colour files, every fault one can have, and the real counts."""

import pickle

import h5py
import numpy as np
import pytest

from datasets import cofw
from datasets.cofw import FILES, Cofw, load
from datasets.markups import COFW_29

SMALL = {"train": 4, "test": 3}
HEADER = b"MATLAB 7.3 MAT-file, Platform: PCWIN64, Created on: Wed Dec 04 10:12:27 2013 HDF5 schema 1.00 ."


def picture(row):
    """A picture of a face's own colour and size with one white pixel at x = 5, y = 2; each third one is grey."""
    height, width = 20 + row, 31 + row
    image = np.full((height, width, 3), (10 * row, 100, 200), np.uint8)
    if row % 3 == 2:
        image = image[:, :, 1].copy()
    image[2, 5] = 255
    return image


def tables(count):
    """What MATLAB shows: landmark k of row r is at x = 2 k + r + 1, y = 3 k + r + 1; box x, y, w, h."""
    k, rows = np.arange(29), np.arange(count)[:, None]
    occluded = (k[None] % 7 == rows).astype(np.float64)
    phis = np.hstack([2.0 * k + rows + 1, 3.0 * k + rows + 1, occluded])
    boxes = np.hstack([4.0 + rows, 6.0 + rows, np.full((count, 1), 16), np.full((count, 1), 25)])
    return phis, boxes


def write(root, subset, count=None, images=None, phis=None, boxes=None, without=()):
    """Writes the file as MATLAB does: 512 bytes of text, then HDF5 with reversed axes and cells in `#refs#`."""
    layout, count = FILES[subset], SMALL[subset] if count is None else count
    images = [picture(row) for row in range(count)] if images is None else images
    made = tables(count)
    path = root / layout.name
    with h5py.File(path, "w", userblock_size=512) as file:
        cells = np.empty((1, len(images)), h5py.ref_dtype)
        for row, image in enumerate(images):
            stored = file.create_dataset(f"#refs#/{row:x}", data=image.T, compression="gzip")
            stored.attrs["MATLAB_class"] = np.bytes_(image.dtype.name)
            cells[0, row] = stored.ref
        fields = {
            layout.images: (cells, "cell"),
            layout.points: ((made[0] if phis is None else phis).T, "double"),
            layout.boxes: ((made[1] if boxes is None else boxes).T, "double"),
        }
        for name, (values, kind) in fields.items():
            if name not in without:
                file.create_dataset(name, data=values).attrs["MATLAB_class"] = np.bytes_(kind)
    with open(path, "r+b") as file:
        file.write(HEADER.ljust(116) + b"\0" * 8 + b"\0\2IM")
    return path


@pytest.fixture(autouse=True)
def _small(request, monkeypatch):
    """A few faces are a whole copy, but for the real one."""
    if "data" not in request.keywords:
        monkeypatch.setattr(cofw, "SUBSETS", SMALL)


@pytest.fixture
def copy(tmp_path):
    for subset in SMALL:
        write(tmp_path, subset)
    return tmp_path


@pytest.mark.parametrize(("subset", "count"), [("train", 4), ("test", 3)])
def test_each_subset_is_a_file(copy, subset, count):
    faces = load(str(copy), subset)
    assert isinstance(faces, Cofw)
    assert faces.markup is COFW_29
    assert len(faces) == faces.expected_count == count
    assert faces.names == tuple(f"{subset}/{row:04d}" for row in range(1, count + 1))
    assert faces.damaged == {}


def test_points_are_all_x_then_all_y_and_count_from_0(copy):
    points = load(copy, "test").points
    assert points.shape == (3, 29, 2)
    np.testing.assert_array_equal(points[0, :3], [(0, 0), (2, 3), (4, 6)])
    np.testing.assert_array_equal(points[2, 28], (58, 86))


def test_occlusion_by_landmark(copy):
    occluded = load(copy, "test").occluded
    assert occluded.dtype == bool
    assert np.flatnonzero(occluded[1]).tolist() == [1, 8, 15, 22]


def test_boxes_are_x_y_w_h_counted_from_1(copy):
    faces = load(copy, "test")
    np.testing.assert_array_equal(faces.boxes[0], (3, 5, 19, 30))
    np.testing.assert_allclose(faces.face_sizes, [20, 20, 20], rtol=1e-15)  # sqrt(16 * 25)


@pytest.mark.parametrize("row", [0, 1, 2])
def test_images_come_upright_and_in_rgb(copy, row):
    face = load(copy, "test")[row]
    grey = picture(row).ndim == 2
    assert face.image.shape == (20 + row, 31 + row, 3)
    assert face.image.dtype == np.uint8
    assert face.image.flags.c_contiguous
    assert face.image[0, 0].tolist() == ([100] * 3 if grey else [10 * row, 100, 200])
    assert np.argwhere((face.image == 255).all(axis=2)).tolist() == [[2, 5]]
    assert face.name == f"test/{row + 1:04d}"


def test_a_face_comes_with_the_tight_box_of_its_landmarks(copy):
    face = load(copy, "train")[3]
    np.testing.assert_array_equal(face.points_image[1], (5, 6))
    np.testing.assert_array_equal(face.box, (3, 3, 3 + 56, 3 + 84))


def test_a_subset_is_a_whole_of_its_own(copy):
    faces = load(copy, "train").subset(np.array([2, 0]))
    assert faces.names == ("train/0003", "train/0001")
    assert faces.expected_count == 2
    assert faces[0].image.shape == (22, 33, 3)
    np.testing.assert_array_equal(faces.points[1, 1], (2, 3))
    assert faces.occluded[0, 2]
    np.testing.assert_array_equal(faces.boxes[0, :2], (5, 7))


def test_a_copy_by_pickle_reads_its_images(copy):
    faces = load(copy, "test")
    expected = faces[1].image
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(faces))[1].image, expected)


class TestFaults:
    def fails(self, root, error, reason, subset="test", **options):
        with pytest.raises(error, match=reason) as caught:
            load(root, subset, **options)
        assert "\n" not in str(caught.value)
        assert str(caught.value).startswith(str(root)) or subset not in FILES

    def test_a_file_that_is_not_there_is_named(self, copy):
        (copy / "COFW_test_color.mat").unlink()
        self.fails(copy, FileNotFoundError, r"COFW_test_color\.mat: there is no such file; put COFW's colour file")
        assert len(load(copy, "train")) == 4

    @pytest.mark.parametrize(
        "content", [b"", b"MATLAB 5.0 MAT-file, Platform: PCWIN64".ljust(124) + b"\0\1IM" + bytes(900)]
    )
    def test_a_file_of_another_kind(self, copy, content):
        (copy / "COFW_test_color.mat").write_bytes(content)
        self.fails(
            copy,
            ValueError,
            r"color\.mat: not an HDF5 file, which COFW's colour files are \(MATLAB 7\.3\); download it again$",
        )

    def test_a_file_cut_short_anywhere(self, copy):
        path = copy / "COFW_test_color.mat"
        whole = path.read_bytes()
        for size in range(600, len(whole) - 1, 257):
            path.write_bytes(whole[:size])
            self.fails(copy, ValueError, r"not COFW's COFW_test_color\.mat: .*; download it again$")

    @pytest.mark.parametrize("name", ["IsT", "phisT", "bboxesT"])
    def test_a_field_that_is_not_there(self, copy, name):
        write(copy, "test", without=[name])
        self.fails(copy, ValueError, f"it has no field '{name}'; download it again")

    @pytest.mark.parametrize(
        ("changed", "reason"),
        [
            ({"count": 2}, "its IsT has 2 images, not 3"),
            ({"phis": np.zeros((3, 58))}, r"its phisT is \(3, 58\) where \(3, 87\) numbers are due"),
            ({"phis": np.zeros((3, 87), "S1")}, r"its phisT is \(3, 87\) where \(3, 87\) numbers are due"),
            ({"boxes": np.zeros((2, 4))}, r"its bboxesT is \(2, 4\) where \(3, 4\) numbers are due"),
        ],
    )
    def test_fields_of_another_shape(self, copy, changed, reason):
        write(copy, "test", **changed)
        self.fails(copy, ValueError, reason)

    def test_images_that_are_no_cells(self, copy):
        path = write(copy, "test", without=["IsT"])
        with h5py.File(path, "r+") as file:
            file["IsT"] = np.zeros((1, 3))
        self.fails(copy, ValueError, "its IsT is no cell array")

    @pytest.mark.parametrize(
        ("field", "place", "value", "reason"),
        [("phis", (1, 30), np.nan, "a landmark has no coordinates"), ("boxes", (1, 2), 0, "the box has no area")],
    )
    def test_a_row_without_sense_is_an_error_or_kept_as_damaged(self, copy, field, place, value, reason):
        values = dict(zip(("phis", "boxes"), tables(3)))
        values[field][place] = value
        write(copy, "test", **values)
        self.fails(copy, ValueError, f"face test/0002: {reason}; download it again, or leave the face out")
        faces = load(copy, "test", keep_damaged=True)
        assert list(faces.damaged) == ["test/0002"]
        assert np.isnan(faces.points[1]).all()
        np.testing.assert_allclose(faces.face_sizes, [20, np.nan, 20])
        with pytest.raises(ValueError, match=reason):
            faces[1]
        assert faces[2].name == "test/0003"

    @pytest.mark.parametrize(
        ("image", "reason"),
        [
            (np.zeros((8, 9, 4), np.uint8), r"uint8 of \(8, 9, 4\), not an image of 8 bits"),
            (np.zeros((9, 1, 1, 3), np.uint8), "not an image of 8 bits"),
        ],
    )
    def test_an_image_that_is_none_is_told_when_it_is_asked_for(self, copy, image, reason):
        write(copy, "test", images=[picture(0), image, picture(2)])
        faces = load(copy, "test")
        with pytest.raises(ValueError, match=reason) as caught:
            faces[1]
        assert str(caught.value).startswith(f"{copy / 'COFW_test_color.mat'}: the image of test/0002 cannot be read (")
        assert faces[2].image.shape == (22, 33, 3)

    def test_an_image_whose_bytes_are_damaged(self, copy):
        path = copy / "COFW_test_color.mat"
        with h5py.File(path, "r") as file:
            chunk = file["#refs#/1"].id.get_chunk_info(0)
            start, size = chunk.byte_offset + file.userblock_size, chunk.size
        whole = bytearray(path.read_bytes())
        assert whole[start] == 0x78  # of zlib
        whole[start : start + size] = bytes(size)
        path.write_bytes(whole)
        faces = load(copy, "test")
        with pytest.raises(ValueError, match=r"the image of test/0002 cannot be read \(.*\); download it again"):
            faces[1]
        assert faces[0].image.shape == (20, 31, 3)


@pytest.mark.data
@pytest.mark.parametrize(("subset", "count", "lfpw"), [("train", 1345, 845), ("test", 507, 0)])
def test_counts_of_the_real_data(face_data, subset, count, lfpw):
    faces = load(face_data(f"cofw/{FILES[subset].name}").parent, subset)
    assert len(faces) == count
    # The training file begins with LFPW's faces; of COFW's own landmarks 23 % are occluded on average.
    assert faces.occluded[lfpw:].mean() == pytest.approx(0.23, abs=0.05)
    face = faces[count - 1]
    assert (face.points_image.max(axis=0) < face.image.shape[1::-1]).all()
