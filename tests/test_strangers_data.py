"""Annotation of a stranger's: it reads no file outside its folder, ends in time and memory, and is refused in words."""

import os
import resource
import sqlite3
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from common.readers import read_json
from datasets import aflw21, cofw, helen_194, ibug_300w, mat_files, menpo_3d, pts_folder
from datasets.annotated_photos import read_each
from datasets.detection import fddb, landmark_boxes, voc, wider_face
from datasets.faces import Face, checked
from datasets.geometry import square_box
from datasets.images import read_image, write_image
from datasets.inventory import listed_path
from datasets.mat_files import read_fields
from datasets.pts_files import read_pts, write_pts
from datasets.w300_vw import FrameReader
from gluon_models.parameter_files import read_parameters

OUTSIDE = ["../secret.jpg", "a/../../secret.jpg", "/etc/secret.jpg", "..\\secret.jpg", "C:\\secret.jpg", "", "a\0b"]
GRAY = np.full((20, 30, 3), 128, np.uint8)


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_list_names_no_photo_outside_its_folder(tmp_path, name):
    with pytest.raises(ValueError, match=r"list\.txt: it names the photo .*, which is no place in"):
        listed_path(tmp_path, name, "list.txt")


def test_a_list_names_photos_in_folders_of_its_folder(tmp_path):
    assert listed_path(tmp_path, "0--Parade/a..b.jpg", "list.txt") == tmp_path / "0--Parade" / "a..b.jpg"


@pytest.fixture
def photos(tmp_path):
    """A folder for each kind of annotation, beside a photo that none of them may read."""
    write_image(tmp_path / "secret.jpg", GRAY)
    for folder in ("voc/annotations", "voc/images", "wider/wider_face_split", "wider/WIDER_val/images"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "fddb/FDDB-folds").mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize("name", ["../../secret.jpg", "{root}/secret.jpg"])
def test_readers_of_boxes_stay_in_their_folders(photos, name):
    name = name.format(root=photos)
    object_ = "<object><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object>"
    (photos / "voc/annotations/a.xml").write_text(f"<a><filename>{name}</filename>{object_}</a>")
    (photos / "wider/wider_face_split/wider_face_val_bbx_gt.txt").write_text(f"{name}\n1\n1 1 5 5 0 0 0 0 0 0\n")
    (photos / "fddb/FDDB-folds/FDDB-fold-01-ellipseList.txt").write_text(f"{name[:-4]}\n1\n5 4 0 9 9 1\n")
    for load, root in ((voc.load, "voc"), (lambda root: wider_face.load(root, "val"), "wider"), (fddb.load, "fddb")):
        with pytest.raises(ValueError, match="it names the photo"):
            load(photos / root)


ENTITIES = "".join(f'<!ENTITY a{k} "{f"&a{k - 1};" * 10}">' for k in range(1, 12))


@pytest.mark.parametrize(
    "text",
    [
        f'<!DOCTYPE a [<!ENTITY a0 "lol">{ENTITIES}]><a><filename>&a11;</filename></a>',
        '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a><filename>&b;</filename></a>',
        '<?xml version="1.0" encoding="bogus"?><a/>',
        "<a><filename>a.jpg</filename><object><bndbox><xmin>nan</xmin></bndbox></object></a>",
        "",
    ],
    ids=["growing entities", "another file", "unknown encoding", "no number", "nothing"],
)
def test_a_voc_file_defines_nothing_of_its_own(tmp_path, text):
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(ValueError, match=r"a\.xml: not a readable VOC annotation"):
        voc.read_voc(tmp_path / "a.xml")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a.jpg\n-1\n",
        "a.jpg\n2\n1 1 5 5 0 0 0 0 0 0\n1 1 5 5\n",
        "a.jpg\n1\nnan 1 5 5 0 0 0 0 0 0\n",
        "a.jpg\n1\n1 1 1e308 5 0 0 0 0 0 0\n",
        "a.jpg\n1000000000000\n1 1 5 5 0 0 0 0 0 0\n",
    ],
)
def test_a_list_of_wider_face_that_makes_no_sense(photos, text):
    (photos / "wider/wider_face_split/wider_face_val_bbx_gt.txt").write_text(text)
    with pytest.raises(ValueError, match=r"wider_face_val_bbx_gt\.txt: .*restore the list"):
        wider_face.load(photos / "wider", "val")


@pytest.mark.parametrize("content", [b"", b"\xff\xfea", b"a\n1\n5 4 0 9\n", b"a\n1\n1e308 1e308 0 1 1 1\n"])
def test_a_list_of_fddb_that_makes_no_sense(photos, content):
    (photos / "fddb/FDDB-folds/FDDB-fold-01-ellipseList.txt").write_bytes(content)
    with pytest.raises(ValueError, match=r"ellipseList\.txt: .*restore the list"):
        fddb.load(photos / "fddb")


@pytest.mark.parametrize("number", ["1e308", "-1e17", "nan", "inf"])
def test_a_coordinate_that_no_photo_has_is_refused(tmp_path, number):
    (tmp_path / "a.pts").write_text(f"version: 1\nn_points: 1\n{{\n{number} 3\n}}\n")
    with pytest.raises(ValueError, match=r"a\.pts: not a readable .*: the line .* is not two numbers of pixels"):
        read_pts(tmp_path / "a.pts")


def test_a_face_far_outside_its_photo_is_named_and_the_others_are_read(tmp_path):
    shape = np.stack([np.linspace(5, 25, 68), np.linspace(4, 15, 68) ** 1.01], axis=1)
    far = shape.copy()
    far[3] = 5000.0, 5.0
    for name, points in (("a", shape), ("b", far)):
        write_image(tmp_path / f"{name}.png", GRAY)
        write_pts(tmp_path / f"{name}.pts", points)
    faces = pts_folder.load(tmp_path)
    np.testing.assert_allclose(faces[0].points_image, shape, atol=1e-5)
    with pytest.raises(ValueError, match=r"b: \(5000, 5\) is far outside its photo of 30 x 20 pixels"):
        faces[1]
    boxes = landmark_boxes.load(tmp_path)
    assert len(boxes[0].boxes) == 1
    with pytest.raises(ValueError, match=r"b: .* is far outside its photo"):
        boxes[1]


def test_points_that_are_not_annotated_are_nowhere():
    face = Face(GRAY, np.full((3, 2), np.nan), np.array([1.0, 2.0, 9.0, 9.0]), "a")
    assert checked(face) is face


@pytest.mark.parametrize("box", [(0, 0, 1e17, 9), (0, 0, 1e-9, 9), (-1e308, 0, 1e308, 9), (0, 0, np.nan, 9)])
def test_no_crop_is_cut_from_an_absurd_box(box):
    with pytest.raises(ValueError, match="face box .* has no area"):
        square_box(np.array(box), 0.25)


def database(path, endless):
    """AFLW's tables without rows; one of them may be a view that has no end."""
    with sqlite3.connect(path) as made:
        made.execute("CREATE TABLE FaceImages (file_id, filepath)")
        made.execute("CREATE TABLE FaceRect (face_id, x, y, w, h)")
        made.execute("CREATE TABLE FeatureCoordTypes (feature_id, descr)")
        made.execute("CREATE TABLE FeatureCoords (face_id, feature_id, x, y)")
        faces = "CREATE VIEW Faces AS WITH RECURSIVE n(k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM n) "
        faces += "SELECT k AS face_id, k AS file_id FROM n"
        made.execute(faces if endless else "CREATE TABLE Faces (face_id, file_id)")
    made.close()


def test_a_view_is_no_table_of_aflw(tmp_path):
    database(tmp_path / "aflw.sqlite", endless=True)
    with pytest.raises(ValueError, match=r"aflw\.sqlite: not AFLW's database: no such table: Faces"):
        aflw21.read_database(tmp_path / "aflw.sqlite")


def test_a_query_without_end_is_ended(tmp_path, monkeypatch):
    """Tables that join to 10^10 rows."""
    monkeypatch.setattr(aflw21, "_PATIENCE", 0.2)
    path = tmp_path / "aflw.sqlite"
    database(path, endless=False)
    with sqlite3.connect(path) as made:
        made.executemany("INSERT INTO Faces VALUES (1, ?)", [(1,)] * 2000)
        made.executemany("INSERT INTO FaceImages VALUES (?, 'a.jpg')", [(1,)] * 2000)
        made.executemany("INSERT INTO FaceRect VALUES (1, 1, 1, ?, 1)", [(1,)] * 2000)
    made.close()
    with pytest.raises(ValueError, match="not AFLW's database: interrupted"):
        aflw21.read_database(path)


def cofw_file(path, fill):
    """COFW's test file, whose first image is what `fill(file)` makes."""
    with h5py.File(path, "w") as file:
        small = file.create_dataset("plain", data=np.zeros((4, 5), np.uint8))
        cells = file.create_dataset("IsT", (1, 507), h5py.ref_dtype)
        for column in range(507):
            cells[0, column] = small.ref
        cells[0, 0] = fill(file).ref
        file["phisT"] = np.ones((87, 507))
        file["phisT"][:58] += np.arange(58)[:, None] % 29
        file["bboxesT"] = np.ones((4, 507))


def stored_elsewhere(file):
    """An image whose numbers are bytes of another file."""
    return file.create_dataset("stolen", (4, 5), np.uint8, external=[("/etc/passwd", 0, 20)])


def virtual(file):
    layout = h5py.VirtualLayout((4, 5), np.uint8)
    layout[:] = h5py.VirtualSource("/etc/passwd.h5", "data", (4, 5))
    return file.create_virtual_dataset("stolen", layout)


def enormous(file):
    return file.create_dataset("bomb", (40_000, 40_000), np.uint8, compression="gzip", chunks=(1000, 1000))


@pytest.mark.parametrize(
    ("fill", "text"),
    [(stored_elsewhere, "in another file"), (virtual, "in another file"), (enormous, r"would take 1,526 MB")],
)
def test_an_image_of_cofw_is_in_its_file_and_no_bomb(tmp_path, fill, text):
    cofw_file(tmp_path / "COFW_test_color.mat", fill)
    faces = cofw.load(tmp_path, "test")
    assert faces[1].image.shape == (5, 4, 3)
    with pytest.raises(ValueError, match=rf"image of test/0001 cannot be read \(.*{text}"):
        faces[0]


def test_a_table_of_cofw_is_in_its_file(tmp_path):
    path = tmp_path / "COFW_test_color.mat"
    cofw_file(path, lambda file: file["plain"])
    with h5py.File(path, "a") as file:
        del file["phisT"]
        file["phisT"] = h5py.ExternalLink("/etc/passwd", "phisT")
    with pytest.raises(ValueError, match="it has no field 'phisT'"):
        cofw.load(tmp_path, "test")


def test_a_mat_file_that_inflates_is_refused_in_little_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(mat_files, "LARGEST", 2**25)
    deflate = zlib.compressobj(1)
    pieces = [deflate.compress(bytes(2**20)) for _ in range(200)]
    body = b"".join([*pieces, deflate.flush()])
    header = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    (tmp_path / "a.mat").write_bytes(header + np.array([15, len(body)], "<u4").tobytes() + body)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match="its fields would take more than 32 MB"):
        read_fields(tmp_path / "a.mat", ["pt2d"])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024


def test_the_command_line_of_300w_refuses_a_folder_that_is_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="none"):
        ibug_300w.main([str(tmp_path / "none")])
    assert not Path(tmp_path / "none").exists()


PIPES = {
    "a.jpg": read_image,
    "a.pts": read_pts,
    "a.txt": helen_194.read_landmarks,
    "a.mat": lambda path: read_fields(path, ["pt2d"]),
    "a.t7": menpo_3d.read_t7,
    "a.xml": voc.read_voc,
    "a.avi": lambda path: FrameReader().read(path, 0),
    "a.json": read_json,
    "a.params": read_parameters,
}


@pytest.mark.parametrize("name", PIPES)
def test_what_is_no_file_is_not_waited_for(tmp_path, name):
    """A pipe that nobody writes to."""
    os.mkfifo(tmp_path / name)
    with pytest.raises((ValueError, FileNotFoundError), match=rf"{name}: .*file"):
        PIPES[name](tmp_path / name)


def test_an_annotation_that_may_not_be_read_leaves_out_its_face_alone():
    def read(name):
        if name == "b":
            raise PermissionError(13, "Permission denied", "b.pts")
        return name

    found, damaged = read_each({"a": "a", "b": "b", "c": "c"}, read, "blank", keep_damaged=True)
    assert found == ["a", "blank", "c"]
    assert damaged == {"b": "[Errno 13] Permission denied: 'b.pts'"}
    with pytest.raises(PermissionError):
        read_each({"b": "b"}, read, "blank", keep_damaged=False)
