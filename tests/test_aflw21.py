"""AFLW's database: small ones with the tables that it ships, every fault one can have, and the real counts."""

import re
import sqlite3

import numpy as np
import pytest
from PIL import Image

from datasets.aflw21 import POINT_NAMES, load, read_database
from datasets.ibug_300w import is_validation
from datasets.markups import AFLW_21, other_side

TABLES = """
    CREATE TABLE Faces (face_id INTEGER PRIMARY KEY, file_id TEXT, db_id TEXT);
    CREATE TABLE FaceImages (image_id INTEGER PRIMARY KEY, db_id TEXT, file_id TEXT, filepath TEXT, bw INTEGER,
        width INTEGER, height INTEGER);
    CREATE TABLE FacePose (face_id INTEGER PRIMARY KEY, roll REAL, pitch REAL, yaw REAL, annot_type_id INTEGER);
    CREATE TABLE FaceRect (face_id INTEGER PRIMARY KEY, x INTEGER, y INTEGER, w INTEGER, h INTEGER,
        annot_type_id INTEGER);
    CREATE TABLE FeatureCoords (face_id INTEGER, feature_id INTEGER, x REAL, y REAL, annot_type_id INTEGER,
        PRIMARY KEY (face_id, feature_id));
    CREATE TABLE FeatureCoordTypes (feature_id INTEGER PRIMARY KEY, descr TEXT, code TEXT, x REAL, y REAL, z REAL);
"""
# The real table goes on after the 21, with points that no face has.
TYPES = [*POINT_NAMES, "LeftTemple", "RightTemple"]

# Number, photo, rectangle, and the landmarks that are not annotated. Faces 39342 and 39350 are on one photo.
FACES = [
    (39341, "0/image00002.jpg", (10, 20, 40, 40), []),
    (39342, "0/image00013.jpg", (-4, -3, 16, 25), [12, 16]),
    (39350, "0/image00013.jpg", (8, 6, 12, 12), [*range(3, 6), 9, 10, 11, 16]),
    (39361, "2/image00035.jpg", (1, 2, 30, 30), range(1, 21)),
]


def write(root, faces=FACES, without=(), statements=()):
    """The database: landmark k of face number n is at x = n - 39341 + k, y = 2 k + 0.5; angles are in radians."""
    path = root / "aflw.sqlite"
    path.unlink(missing_ok=True)
    database = sqlite3.connect(path)
    with database:
        database.executescript(TABLES)
        kinds = [(k + 1, name, f"C{k}", 0.0, 0.0, 0.0) for k, name in enumerate(TYPES) if name not in without]
        database.executemany("INSERT INTO FeatureCoordTypes VALUES (?, ?, ?, ?, ?, ?)", kinds)
        for number, photo, box, hidden in faces:
            file_id = photo.rpartition("/")[2]
            database.execute("INSERT INTO Faces VALUES (?, ?, 'flickr')", (number, file_id))
            database.execute("INSERT INTO FacePose VALUES (?, 0.1, -0.2, 0.5, 1)", (number,))
            if box is not None:
                database.execute("INSERT INTO FaceRect VALUES (?, ?, ?, ?, ?, 1)", (number, *box))
            shown = [k for k in range(21) if k not in hidden]
            rows = [(number, k + 1, number - 39341.0 + k, 2 * k + 0.5, 1) for k in shown]
            database.executemany("INSERT INTO FeatureCoords VALUES (?, ?, ?, ?, ?)", rows)
        for photo in dict.fromkeys(photo for _, photo, _, _ in faces):
            row = (photo.rpartition("/")[2], photo)
            database.execute("INSERT INTO FaceImages VALUES (NULL, 'flickr', ?, ?, 0, 40, 36)", row)
        for statement in statements:
            database.execute(statement)
    database.close()
    return path


@pytest.fixture
def copy(tmp_path):
    write(tmp_path)
    for shade, photo in enumerate(sorted({photo for _, photo, _, _ in FACES})):
        path = tmp_path / "data" / "flickr" / photo
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40 + shade, 36), (shade, 100, 200)).save(path, quality=95)
    return tmp_path


def test_the_databases_names_are_those_of_the_markup():
    """The database's left is the viewer's, and so the subject's right."""
    for name, ours in zip(POINT_NAMES, AFLW_21.names):
        side = re.search("Left|Right", name)
        assert other_side(ours) != ours if side else other_side(ours) == ours
        assert ours.startswith({"Left": "right_", "Right": "left_"}[side.group()] if side else "")
        part = next(part for part in ("Brow", "Eye", "Ear", "Nose", "Mouth", "Chin") if part in name).lower()
        assert part in ours or (part, ours.partition("_")[2]) == ("nose", "nostril")


def test_faces_come_with_what_is_annotated(copy):
    faces = load(copy, "all")
    assert faces.markup is AFLW_21
    assert faces.names == ("0/image00002-39341", "0/image00013-39342", "0/image00013-39350", "2/image00035-39361")
    assert (len(faces), faces.expected_count, faces.missing) == (4, 4, ())
    assert faces.points.shape == (4, 21, 2)
    np.testing.assert_array_equal(faces.points[1, :3], [(1, 0.5), (2, 2.5), (3, 4.5)])
    for row, (_, _, _, hidden) in enumerate(FACES):
        assert np.flatnonzero(~faces.visible[row]).tolist() == list(hidden)
        np.testing.assert_array_equal(np.isnan(faces.points[row]).all(axis=1), ~faces.visible[row])


def test_boxes_are_the_rectangles(copy):
    faces = load(copy, "all")
    np.testing.assert_array_equal(faces.boxes[:2], [(10, 20, 50, 60), (-4, -3, 12, 22)])
    np.testing.assert_allclose(faces.face_sizes, [40, 20, 12, 30], rtol=1e-15)


def test_asking_for_a_face_reads_its_photo(copy):
    face = load(copy, "all")[3]
    assert face.name == "2/image00035-39361"
    assert face.image.shape == (36, 42, 3)
    np.testing.assert_array_equal(face.points_image[0], (20, 0.5))


@pytest.mark.parametrize("place", ["data", "aflw/data"])
def test_the_database_may_lie_where_its_archive_puts_it(copy, place):
    (copy / place).mkdir(parents=True, exist_ok=True)
    (copy / "aflw.sqlite").rename(copy / place / "aflw.sqlite")
    assert len(load(copy, "all")) == 4


def test_reading_leaves_nothing_behind(copy):
    before = sorted(copy.iterdir())
    load(copy, "all")
    assert sorted(copy.iterdir()) == before


def test_a_face_without_a_rectangle_or_a_landmark_is_none(copy):
    faces = [*FACES, (39400, "2/image00035.jpg", None, []), (39401, "2/image00035.jpg", (0, 0, 9, 9), range(21))]
    write(copy, faces)
    assert load(copy, "all").names[-1] == "2/image00035-39361"


def test_train_and_validation_share_no_photo(copy):
    photos = [f"0/image{number // 2:05}.jpg" for number in range(80)]
    write(copy, [(number, photo, (0, 0, 9, 9), []) for number, photo in enumerate(photos)])
    annotated = read_database(copy / "aflw.sqlite")
    held_out = [number for number, photo in enumerate(photos) if is_validation(photo[:-4])]
    assert 0 < len(held_out) < 24
    assert annotated.rows("validation").tolist() == held_out
    assert sorted([*annotated.rows("train"), *held_out]) == annotated.rows("all").tolist() == list(range(80))


class TestFaults:
    def test_a_database_that_is_not_there(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="there is no aflw.sqlite here; put AFLW's database there"):
            load(tmp_path, "all")

    def test_a_photo_that_is_not_there_is_named_or_left_out(self, copy):
        photo = copy / "data/flickr/0/image00013.jpg"
        photo.unlink()
        with pytest.raises(FileNotFoundError) as caught:
            load(copy, "all")
        assert str(caught.value) == (
            f"{copy / 'aflw.sqlite'}: AFLW all has 2 of 4 faces ({photo} is not there): complete it, "
            "or allow missing faces"
        )
        faces = load(copy, "all", allow_missing=True)
        assert faces.names == ("0/image00002-39341", "2/image00035-39361")
        assert (faces.expected_count, faces.missing) == (4, (f"{photo} is not there",))

    @pytest.mark.parametrize("content", [b"", b"<html>404</html>" * 90, b"SQLite format 3\0" + bytes(900)])
    def test_a_file_of_another_kind(self, copy, content):
        (copy / "aflw.sqlite").write_bytes(content)
        with pytest.raises(ValueError, match=r"aflw\.sqlite: not AFLW's database: .*; unpack it again$") as caught:
            load(copy, "all")
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("statements", "reason"),
        [
            (["DROP TABLE FeatureCoords"], "no such table: FeatureCoords"),
            (["DELETE FROM Faces"], "it has no face"),
            (["UPDATE FeatureCoords SET x = 'nowhere'"], "could not convert string to float"),
        ],
    )
    def test_a_database_of_another_kind(self, copy, statements, reason):
        write(copy, statements=statements)
        with pytest.raises(ValueError, match=rf"not AFLW's database: {reason}.*; unpack it again$"):
            load(copy, "all")

    def test_a_rectangle_without_area_is_an_error_or_kept_as_damaged(self, copy):
        write(copy, statements=["UPDATE FaceRect SET w = 0 WHERE face_id = 39342"])
        with pytest.raises(ValueError, match=r"aflw\.sqlite: face 0/image00013-39342: the box has no area"):
            load(copy, "all")
        faces = load(copy, "all", keep_damaged=True)
        assert list(faces.damaged) == ["0/image00013-39342"]
        np.testing.assert_array_equal(faces.face_sizes, [40, np.nan, 12, 30])
        with pytest.raises(ValueError, match="the box has no area"):
            faces[1]


@pytest.mark.data
def test_counts_of_the_real_data(face_data):
    faces = load(face_data("aflw", "**/aflw.sqlite"), "all", keep_damaged=True)
    assert 24_000 < len(faces) < 26_000
    # Its paper counts some 380,000 landmarks on 25,993 faces.
    assert 13 < faces.visible.sum(axis=1).mean() < 19
