"""Menpo-3D, 300W-Testset-3D and 300VW-3D: tiny copies in exactly Torch's format, and every fault a file can have."""

import struct

import numpy as np
import pytest
from PIL import Image

from datasets import menpo_3d
from datasets.markups import IBUG_68
from datasets.menpo_3d import Part, load, read_t7

POINTS = np.random.default_rng(0).uniform(2, 30, (68, 2)).round(3)


def text(words):
    return struct.pack("<i", len(words)) + words


def t7(points, kind=b"Float", shape=None, stride=None, offset=1):
    """A tensor as `torch.save` writes it: type, index, version, class, sizes, strides, offset, storage; longs of 8."""
    dtype = {b"Float": "<f4", b"Double": "<f8", b"Long": "<i8"}[kind]
    values = np.ascontiguousarray(points, dtype)
    shape = values.shape if shape is None else shape
    stride = [each // values.itemsize for each in values.strides] if stride is None else stride
    tensor = struct.pack("<ii", 4, 1) + text(b"V 1") + text(b"torch." + kind + b"Tensor")
    tensor += struct.pack("<i", len(shape)) + struct.pack(f"<{2 * len(shape)}q", *shape, *stride)
    tensor += struct.pack("<q", offset)
    storage = struct.pack("<ii", 4, 2) + text(b"V 1") + text(b"torch." + kind + b"Storage")
    return tensor + storage + struct.pack("<q", values.size) + values.tobytes()


def add(root, name, points=POINTS, suffix=".jpg", size=(40, 36)):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (90, 120, 150)).save(path.with_suffix(suffix))
    path.with_suffix(".t7").write_bytes(t7(points + 1))


@pytest.fixture
def menpo(tmp_path, monkeypatch):
    """A whole copy of a Menpo-3D of three faces."""
    monkeypatch.setitem(menpo_3d.SUBSETS, "menpo_3d", {"all": Part(("",), 3)})
    for name in ("aflw__face_2", "aflw__face_1", "fddb__img_9"):
        add(tmp_path, name)
    return tmp_path


@pytest.fixture
def videos(tmp_path, monkeypatch):
    """A whole copy of a 300VW-3D of one video of two frames in each category."""
    parts = {f"category_{letter.lower()}": Part((f"Cat{letter}",), 2) for letter in "ABC"}
    monkeypatch.setitem(menpo_3d.SUBSETS, "300vw_3d", {**parts, "test": Part(("CatA", "CatB", "CatC"), 6)})
    for category, video in (("CatA", "114"), ("CatB", "203"), ("CatC", "410"), ("Trainset", "001")):
        for frame in ("0001", "0002"):
            add(tmp_path, f"{category}/{video}/{frame}")
    return tmp_path


def fails(error, reason, call, *arguments, **options):
    with pytest.raises(error, match=reason) as caught:
        call(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestFaces:
    def test_a_face(self, menpo):
        faces = load(str(menpo), "menpo_3d", "all")
        assert faces.names == ("aflw__face_1", "aflw__face_2", "fddb__img_9")
        assert (faces.markup, faces.expected_count, faces.missing) == (IBUG_68, 3, ())
        face = faces[1]
        assert face.name == "aflw__face_2"
        assert face.image.shape == (36, 40, 3)
        assert face.points_image.dtype == np.float64
        np.testing.assert_allclose(face.points_image, POINTS, rtol=0, atol=1e-5)
        np.testing.assert_allclose(face.box, [*POINTS.min(0), *POINTS.max(0)], rtol=0, atol=1e-5)

    def test_png_photos_and_the_folder_around(self, tmp_path, monkeypatch):
        monkeypatch.setitem(menpo_3d.SUBSETS, "300w_3d", {"all": Part(("",), 2)})
        add(tmp_path / "300W-Testset-3D", "indoor_001", suffix=".png")
        add(tmp_path / "300W-Testset-3D", "outdoor_300", suffix=".png")
        add(tmp_path / "Menpo-3D", "another")
        assert load(tmp_path, "300w_3d", "all").names == ("indoor_001", "outdoor_300")

    def test_categories_of_the_videos(self, videos):
        assert load(videos, "300vw_3d", "category_b").names == ("CatB/203/0001", "CatB/203/0002")
        every = load(videos, "300vw_3d", "test")
        assert every.names[::2] == ("CatA/114/0001", "CatB/203/0001", "CatC/410/0001")
        some = every.subset([5, 0])
        assert (some.names, some.expected_count) == (("CatC/410/0002", "CatA/114/0001"), 2)

    def test_what_is_missing_is_named(self, menpo):
        (menpo / "fddb__img_9.t7").unlink()
        message = fails(FileNotFoundError, "Menpo-3D has 2 of 3 faces", load, menpo, "menpo_3d", "all")
        assert "(fddb__img_9.jpg has no .t7): complete it, or allow missing faces" in message
        faces = load(menpo, "menpo_3d", "all", allow_missing=True)
        assert (len(faces), faces.expected_count) == (2, 3)
        assert faces.missing == ("2 of 3 faces", "fddb__img_9.jpg has no .t7")

    def test_nothing_at_all(self, tmp_path):
        fails(FileNotFoundError, "0 of 8955 faces.*name the folder", load, tmp_path, "menpo_3d", "all", True)
        fails(FileNotFoundError, "no such folder; name Menpo-3D", load, tmp_path / "no", "menpo_3d", "all")
        fails(ValueError, "has no subset 'easy'; it has category_a, ", load, tmp_path, "300vw_3d", "easy")

    def test_a_damaged_annotation(self, menpo):
        (menpo / "aflw__face_2.t7").write_bytes(b"")
        fails(ValueError, "aflw__face_2.t7: .*it is empty", load, menpo, "menpo_3d", "all", allow_missing=True)
        faces = load(menpo, "menpo_3d", "all", keep_damaged=True)
        assert np.isnan(faces.points).any(axis=(1, 2)).tolist() == [False, True, False]
        with pytest.raises(ValueError, match="it is empty"):
            faces[1]

    def test_the_published_counts(self):
        # FAN (ICCV 2017), Sec. 3: 600 and 8,955 photos.
        assert [menpo_3d.SUBSETS[name]["all"].faces for name in ("300w_3d", "menpo_3d")] == [600, 8955]
        categories = [part.faces for name, part in menpo_3d.W300_VW_3D.items() if name != "test"]
        assert sum(categories) == menpo_3d.W300_VW_3D["test"].faces


class TestReadT7:
    def refused(self, path, reason):
        message = fails(ValueError, reason, read_t7, path)
        assert message.startswith(f"{path}: not a readable .t7 file: ")
        assert message.endswith("; restore it from the original data")

    def test_pixels_count_from_one_in_the_file_and_from_zero_here(self, tmp_path):
        marks = np.tile([[1.0, 1.0], [11.5, 21.25]], (34, 1))
        (tmp_path / "a.t7").write_bytes(t7(marks))
        np.testing.assert_array_equal(read_t7(tmp_path / "a.t7")[:2], [(0, 0), (10.5, 20.25)])

    @pytest.mark.parametrize("kind", [b"Float", b"Double", b"Long"])
    def test_tensors_of_any_numbers(self, tmp_path, kind):
        marks = np.arange(136).reshape(68, 2)
        (tmp_path / "a.t7").write_bytes(t7(marks, kind))
        found = read_t7(tmp_path / "a.t7")
        assert found.dtype == np.float64
        np.testing.assert_array_equal(found, marks - 1)

    def test_a_transposed_tensor_and_one_that_starts_later(self, tmp_path):
        marks = np.arange(136.0).reshape(2, 68)
        (tmp_path / "a.t7").write_bytes(t7(marks, shape=(68, 2), stride=(1, 68)))
        np.testing.assert_array_equal(read_t7(tmp_path / "a.t7"), marks.T - 1)
        (tmp_path / "b.t7").write_bytes(t7(np.arange(140.0), shape=(68, 2), stride=(2, 1), offset=5))
        np.testing.assert_array_equal(read_t7(tmp_path / "b.t7").ravel(), np.arange(4.0, 140) - 1)

    @pytest.mark.parametrize("stop", ["anywhere", "in the numbers"])
    def test_cut_short(self, tmp_path, stop):
        data = t7(POINTS)
        lengths = range(1, len(data) - 544, 7) if stop == "anywhere" else (len(data) - 400, len(data) - 1)
        for length in lengths:
            (tmp_path / "a.t7").write_bytes(data[:length])
            self.refused(tmp_path / "a.t7", "cut short")

    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (b"", "it is empty"),
            (b"version: 1\nn_points: 68\n", "cut short or no Torch file"),
            (t7(POINTS[:67]), r"a tensor of \(67, 2\), not one of \(68, 2\)"),
            (struct.pack("<id", 1, 5.0), "it holds a int, not one of"),
            (t7(np.where(np.arange(136).reshape(68, 2) == 9, np.nan, 1)), "values that are not finite numbers"),
            (t7(POINTS, stride=(1 << 40, 1)), "more numbers than are there"),
            (t7(POINTS, stride=(-200, 1)), "more numbers than are there"),
        ],
        ids=["empty", "text", "67 points", "number", "nan", "stride", "backwards"],
    )
    def test_what_is_no_such_tensor(self, tmp_path, data, reason):
        (tmp_path / "a.t7").write_bytes(data)
        self.refused(tmp_path / "a.t7", reason)

    def test_a_flipped_bit_is_a_value_error_or_harmless(self, tmp_path):
        data = t7(POINTS)
        refused = 0
        for place in range(len(data) - 544):
            damaged = bytearray(data)
            damaged[place] ^= 1 << place % 5
            (tmp_path / "a.t7").write_bytes(damaged)
            try:
                read_t7(tmp_path / "a.t7")
            except ValueError:
                refused += 1
        assert refused > 60

    def test_a_missing_file_is_said_to_be_missing(self, tmp_path):
        fails(FileNotFoundError, "no.t7: there is no such .t7 file; check the path", read_t7, tmp_path / "no.t7")
