"""300-W's files and folders: tiny copies of its layout, every fault a copy can have, and counts of real data."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets import ibug_300w
from datasets.annotated_photos import AnnotatedPhotos
from datasets.catalog import CATALOG
from datasets.ibug_300w import is_validation, load, read_pts, write_pts
from datasets.markups import IBUG_68

ROOT = Path(__file__).resolve().parent.parent
POINTS = np.random.default_rng(0).uniform(2, 30, (68, 2)).round(3)


def _pts_text(points=POINTS, header="version: 1\nn_points:  68\n"):
    return header + "{\n" + "".join(f"{x} {y}\n" for x, y in points + 1) + "}"


def _add_face(root, name, suffix=".jpg", points=POINTS, pts_suffix=".pts"):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 36), (90, 120, 150)).save(f"{path}{suffix}")
    Path(f"{path}{pts_suffix}").write_text(_pts_text(points))


@pytest.fixture
def small(monkeypatch):
    """The layout, with two faces expected in each folder."""
    monkeypatch.setattr(ibug_300w, "PARTS", dict.fromkeys(ibug_300w.PARTS, 2))


@pytest.fixture
def copy(tmp_path, small):
    """A whole copy of that small 300-W, with names as the distributor's."""
    for name in ("afw/1051618982_1", "afw/111076519_2", "helen/trainset/100032540_1", "helen/trainset/100040721_2"):
        _add_face(tmp_path, name)
    for name in ("helen/testset/296814969_3", "helen/testset/2968560214_1"):
        _add_face(tmp_path, name)
    for part in ("lfpw/trainset", "lfpw/testset"):
        _add_face(tmp_path, f"{part}/image_0001", ".png")
        _add_face(tmp_path, f"{part}/image_0002", ".PNG")
    _add_face(tmp_path, "ibug/image_003_1", ".JPG")
    _add_face(tmp_path, "ibug/image_092 _01", ".jpg", pts_suffix=".PTS")
    for place in ("01_Indoor/indoor", "02_Outdoor/outdoor"):
        _add_face(tmp_path, f"300w/{place}_001", ".png")
        _add_face(tmp_path, f"300w/{place}_002", ".png")
    return tmp_path


class TestPts:
    def test_pixels_count_from_one_in_the_file_and_from_zero_here(self, tmp_path):
        (tmp_path / "a.pts").write_text("version: 1\nn_points: 2\n{\n1.000000 1.000000\n11.5 21.25\n}\n")
        np.testing.assert_array_equal(read_pts(tmp_path / "a.pts"), [(0, 0), (10.5, 20.25)])
        assert read_pts(tmp_path / "a.pts").dtype == np.float64

    @pytest.mark.parametrize("points", [POINTS, POINTS[:29] - 40.5, np.array([[1e-5, 12345.678]])])
    def test_what_is_written_is_read_back(self, tmp_path, points):
        write_pts(tmp_path / "a.pts", points)
        np.testing.assert_allclose(read_pts(tmp_path / "a.pts", len(points)), points, rtol=0, atol=5e-7)
        assert [path.name for path in tmp_path.iterdir()] == ["a.pts"]

    def test_the_text_is_the_distributors(self, tmp_path):
        write_pts(tmp_path / "a.pts", np.array([[0, 0.5], [9.25, 19]]))
        assert (tmp_path / "a.pts").read_bytes() == (
            b"version: 1\nn_points: 2\n{\n1.000000 1.500000\n10.250000 20.000000\n}\n"
        )

    @pytest.mark.parametrize("points", [np.zeros((68, 3)), np.zeros(4), np.array([[1.0, np.nan]])])
    def test_what_the_format_cannot_say_is_not_written(self, tmp_path, points):
        with pytest.raises(ValueError, match=r"a.pts: points to write are finite and \(k, 2\)"):
            write_pts(tmp_path / "a.pts", points)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        "text",
        [
            _pts_text().replace("\n", "\r\n"),
            _pts_text().replace(" ", "\t  ").replace("\n", "  \n\n"),
            _pts_text(header="VERSION:1\nN_Points :68\n"),
            _pts_text(header=""),
            "\ufeff" + _pts_text() + "\n\n",
            _pts_text().replace("\n{\n", " {").replace("\n}", "}"),
        ],
        ids=["crlf", "whitespace", "capitals", "no header", "byte order mark", "braces on the lines"],
    )
    def test_harmless_differences_are_tolerated(self, tmp_path, text):
        (tmp_path / "a.pts").write_bytes(text.encode("utf-8"))
        np.testing.assert_allclose(read_pts(tmp_path / "a.pts", 68), POINTS, rtol=0, atol=1e-12)

    @pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig"])
    def test_other_encodings_of_text_are_read(self, tmp_path, encoding):
        (tmp_path / "a.pts").write_bytes(_pts_text().replace("\n", "\r\n").encode(encoding))
        np.testing.assert_allclose(read_pts(tmp_path / "a.pts", 68), POINTS, rtol=0, atol=1e-12)

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("", "it is empty"),
            (_pts_text(POINTS[:67]), "it has 67 points where its header says 68"),
            (_pts_text(POINTS[:67], header=""), "it has 67 points, not 68"),
            (_pts_text(POINTS[:0]), "it has 0 points"),
            (_pts_text(np.where(POINTS[5, 0] == POINTS, np.nan, POINTS)), "the line 'nan .*' is not two numbers"),
            (_pts_text().replace("}", "nose 3\n}"), "the line 'nose 3' is not two numbers"),
            (_pts_text().replace("}", "1 2 3\n}"), "the line '1 2 3' is not two numbers"),
            (_pts_text().replace("{", ""), "do not stand between { and }"),
            (_pts_text()[:400], "do not stand between { and }"),
            (_pts_text() + _pts_text(), "it holds several lists of points"),
        ],
    )
    def test_damage_is_named_in_one_line(self, tmp_path, text, reason):
        path = tmp_path / "image_092 _01.pts"
        path.write_bytes(text.encode("latin-1"))
        with pytest.raises(ValueError, match=reason) as caught:
            read_pts(path, 68)
        message = str(caught.value)
        assert message.startswith(f"{path}: not a readable .pts file: ")
        assert message.endswith("; restore it from the original data")
        assert "\n" not in message

    def test_a_missing_file_is_said_to_be_missing(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"no.pts: there is no such .pts file; check the path"):
            read_pts(tmp_path / "no.pts")


class TestLoad:
    @pytest.mark.parametrize(
        ("subset", "parts"),
        [
            ("train", ["afw", "helen/trainset", "lfpw/trainset"]),
            ("common", ["helen/testset", "lfpw/testset"]),
            ("challenging", ["ibug"]),
            ("full", ["helen/testset", "lfpw/testset", "ibug"]),
            ("private", ["300w/01_Indoor", "300w/02_Outdoor"]),
            ("helen_test", ["helen/testset"]),
            ("lfpw_test", ["lfpw/testset"]),
        ],
    )
    def test_each_subset_has_its_folders(self, copy, subset, parts):
        faces = load(copy, subset)
        assert list(dict.fromkeys(name.rpartition("/")[0] for name in faces.names)) == parts
        assert len(faces) == len(set(faces.names)) == faces.expected_count == 2 * len(parts)
        assert faces.missing == ()
        assert faces.markup is IBUG_68

    def test_a_face(self, copy):
        shift = np.array([3, 0])
        _add_face(copy, "afw/111076519_2", points=POINTS + shift)
        faces = load(str(copy), "train")
        assert faces.names[:2] == ("afw/1051618982_1", "afw/111076519_2")
        face = faces[1]
        assert face.name == "afw/111076519_2"
        assert face.image.shape == (36, 40, 3)
        assert face.image.dtype == np.uint8
        np.testing.assert_allclose(face.points_image, POINTS + shift, atol=1e-12)
        np.testing.assert_allclose(face.box, [*(POINTS + shift).min(0), *(POINTS + shift).max(0)], atol=1e-12)
        np.testing.assert_array_equal(faces.points[1], face.points_image)
        assert faces.points.shape == (6, 68, 2)

    def test_spaces_and_capitals_in_names(self, copy):
        faces = load(copy, "challenging")
        assert faces.names == ("ibug/image_003_1", "ibug/image_092 _01")
        assert [faces[k].image.shape for k in range(2)] == [(36, 40, 3)] * 2

    def test_photos_are_read_in_the_frame_of_their_annotation(self, copy):
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.new("RGB", (40, 36)).save(copy / "ibug/image_003_1.JPG", exif=exif)
        assert load(copy, "challenging")[0].image.shape == (36, 40, 3)

    def test_folders_in_capitals(self, copy):
        (copy / "300w").rename(copy / "300W")
        (copy / "afw").rename(copy / "AFW")
        assert len(load(copy, "private")) == 4
        assert load(copy, "train").names[0] == "afw/1051618982_1"

    def test_the_folder_around_it(self, copy):
        (copy / "data").mkdir()
        inner = copy / "data" / "300W"
        inner.mkdir()
        for part in ("afw", "helen", "lfpw", "ibug", "300w"):
            (copy / part).rename(inner / part)
        assert len(load(copy / "data", "train")) == 6
        assert len(load(copy / "data", "private")) == 4

    def test_the_private_folder_is_not_taken_for_the_folder_around_it(self, tmp_path, small):
        for place in ("01_Indoor/indoor", "02_Outdoor/outdoor"):
            _add_face(tmp_path, f"300w/{place}_001", ".png")
            _add_face(tmp_path, f"300w/{place}_002", ".png")
        assert len(load(tmp_path, "private")) == 4
        with pytest.raises(FileNotFoundError, match="train has 0 of 6 faces"):
            load(tmp_path, "train")


class TestFaults:
    def _fails(self, root, subset, error, reason, **options):
        with pytest.raises(error, match=reason) as caught:
            load(root, subset, **options)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def test_a_missing_folder_is_named_with_its_count(self, copy):
        (copy / "ibug").rename(copy / "elsewhere")
        message = self._fails(copy, "full", FileNotFoundError, r"300-W full has 4 of 6 faces")
        assert "ibug: no such folder (0 of 2)" in message
        assert str(copy) in message

    def test_a_missing_folder_may_be_allowed(self, copy):
        (copy / "ibug").rename(copy / "elsewhere")
        faces = load(copy, "full", allow_missing=True)
        assert len(faces) == 4
        assert faces.expected_count == 6
        assert faces.missing == ("ibug: no such folder (0 of 2)",)

    def test_an_image_without_annotation_is_named(self, copy):
        (copy / "afw/111076519_2.pts").unlink()
        self._fails(copy, "train", FileNotFoundError, r"afw: 1 of 2; afw/111076519_2.jpg has no .pts\)")

    def test_an_annotation_without_image_is_named(self, copy):
        (copy / "afw/111076519_2.jpg").unlink()
        self._fails(copy, "train", FileNotFoundError, r"afw: 1 of 2; afw/111076519_2.pts has no image\)")

    def test_nothing_at_all_is_an_error_even_if_missing_is_allowed(self, tmp_path, small):
        message = self._fails(tmp_path, "common", FileNotFoundError, "common has 0 of 4 faces", allow_missing=True)
        assert "name the folder that holds afw, helen/trainset" in message

    def test_a_damaged_annotation(self, copy):
        (copy / "afw/111076519_2.pts").write_text(_pts_text(POINTS[:67]))
        self._fails(copy, "train", ValueError, r"afw/111076519_2.pts: .* 67 points", allow_missing=True)

    def test_more_faces_than_were_shipped(self, copy):
        _add_face(copy, "ibug/image_003_1_mirror")
        self._fails(copy, "challenging", ValueError, "ibug: 3 faces where 300-W has 2; move what is not its own away")


class TestValidation:
    @pytest.mark.parametrize(
        ("name", "kept"),
        [
            # By `printf NAME | sha1sum`, then bc with ibase=16 for the remainder by A.
            ("lfpw/trainset/image_0019", True),
            ("lfpw/trainset/image_0020", True),
            ("lfpw/trainset/image_0001", False),
            ("lfpw/trainset/image_0010", False),
            ("helen/trainset/106348540_1", True),
            ("helen/trainset/100032540_1", False),
            ("afw/1648807314_3", True),  # 1648807314 leaves 0, with its _3 it would be 6
            ("afw/18489332_7", False),  # 18489332 leaves 1, with its _7 it would be 0
        ],
    )
    def test_names_worked_out_on_the_command_line(self, name, kept):
        assert is_validation(name) == kept

    def test_faces_of_one_afw_photo_stay_together(self):
        photos = [str(number) for number in range(200)]
        kept = [photo for photo in photos if is_validation(f"afw/{photo}_1")]
        assert 5 < len(kept) < 40
        for photo in photos:
            assert is_validation(f"afw/{photo}_1") == is_validation(f"afw/{photo}_12") == (photo in kept)
            assert is_validation(f"afw/{photo}_1") == is_validation(f"helen/trainset/{photo}")

    def test_a_split_has_every_face_once(self):
        names = tuple(f"helen/trainset/{k}_1" for k in range(300))
        faces = AnnotatedPhotos(names, tuple(Path(name) for name in names), np.zeros((300, 68, 2)), IBUG_68)
        train, validation = (faces.subset(numbers) for numbers in CATALOG["300w"].part(faces))
        assert sorted(train.names + validation.names) == sorted(names)
        assert all(is_validation(name) for name in validation.names)
        assert not any(is_validation(name) for name in train.names)
        assert 15 < len(validation) < 50


class TestListing:
    def _run(self, capsys, root):
        code = ibug_300w.main([str(root)])
        return code, capsys.readouterr()

    def test_a_part_of_it(self, copy, capsys):
        (copy / "ibug").rename(copy / "elsewhere")
        (copy / "lfpw/testset/image_0001.pts").unlink()
        (copy / "afw/111076519_2.pts").write_text("no points")
        code, printed = self._run(capsys, copy)
        assert code == 1
        faults = [line for line in printed.out.splitlines() if line.startswith(("missing", "damaged"))]
        assert faults[:3] == [
            "missing: lfpw/testset: 1 of 2",
            "missing: lfpw/testset/image_0001.png has no .pts",
            "missing: ibug: no such folder (0 of 2)",
        ]
        assert faults[3].startswith(f"damaged: {copy / 'afw/111076519_2.pts'}: not a readable .pts file")
        assert len(faults) == 4

    def test_the_command(self, tmp_path):
        command = [sys.executable, "-m", "datasets.ibug_300w", str(tmp_path / "no")]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1


def test_the_distributors_counts():
    totals = {name: sum(ibug_300w.PARTS[part] for part in parts) for name, parts in ibug_300w.SUBSETS.items()}
    expected = {
        "train": 3148,
        "common": 554,
        "challenging": 135,
        "full": 689,
        "private": 600,
        "indoor": 300,
        "outdoor": 300,
    }
    assert totals == {**expected, "helen_test": 330, "lfpw_test": 224}


@pytest.mark.data
def test_real_data(face_data):
    folder = face_data("300w")
    faces = load(folder, "train", allow_missing=True)
    assert len(faces) == (2012 if faces.missing else 3148)
    assert faces.expected_count == 3148
    train, validation = CATALOG["300w"].part(faces)
    if faces.missing:
        assert (len(train), len(validation)) == (1798, 214)
    # The mean face tells the markup's sides and the order of its parts.
    boxes = np.concatenate([faces.points.min(axis=1), faces.points.max(axis=1)], axis=1)[:, None]
    mean = ((faces.points - boxes[..., :2]) / (boxes[..., 2:] - boxes[..., :2])).mean(axis=0)
    for name, (x, _) in zip(IBUG_68.names, mean):
        assert (x < 0.5) == name.startswith("right_") or abs(x - 0.5) < 0.03, name
    np.testing.assert_allclose(mean * (-1, 1) + (1, 0), mean[list(IBUG_68.flip_order)], atol=0.03)
    sizes = [faces[k].image.shape for k in range(0, len(faces), 200)]
    assert all(len(size) == 3 and size[2] == 3 for size in sizes)
    assert len(load(folder, "helen_test")) == 330
