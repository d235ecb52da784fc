"""Photos with face boxes: VOC, WIDER FACE, FDDB, landmark files; the parts they are divided into; canvases."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from datasets.cache import CachedFaces
from datasets.detection import fddb, landmark_boxes, wider_face
from datasets.detection import voc as face_boxes
from datasets.detection.boxed_photos import BoxedPhotos, JoinedSources, part_of
from datasets.detection.canvases import CanvasSetting, FaceCanvases, cut_around
from datasets.faces import Face
from datasets.images import write_image
from datasets.pts_files import write_pts
from datasets.render.faces import RenderedFaces

VOC = """<annotation><filename> {name}.jpg </filename><size><width>40</width></size>{objects}</annotation>"""
OBJECT = """<object><name>{kind}</name><difficult>{difficult}</difficult>
<bndbox><xmin>{0}</xmin><ymin>{1}</ymin><xmax>{2}</xmax><ymax>{3}</ymax></bndbox>stray text</object>"""


def write_voc(root, name, *boxes):
    for folder in ("annotations", "images"):
        (root / folder).mkdir(exist_ok=True)
    objects = "".join(OBJECT.format(*box, kind=kind, difficult=hard) for box, kind, hard in boxes)
    (root / "annotations" / f"{name}.xml").write_text(VOC.format(name=name, objects=objects))
    write_image(root / "images" / f"{name}.jpg", np.full((30, 40, 3), 90, np.uint8))


def test_voc_counts_from_1_and_every_object_is_a_face(tmp_path):
    write_voc(tmp_path, "b", ((1, 1, 11, 21), "with_mask", 0), ((5, 6, 25, 30.5), "dog", 1))
    write_voc(tmp_path, "a")
    photos = face_boxes.load(tmp_path)
    assert photos.names == ("a", "b")
    photo = photos[1]
    assert photo.image.shape == (30, 40, 3)
    np.testing.assert_array_equal(photo.boxes, [[0, 0, 10, 20], [4, 5, 24, 29.5]])
    assert photo.ignored.tolist() == [False, True]
    assert photos[0].boxes.shape == (0, 4)
    trained = photos.for_training()
    assert trained.names == ("b",)
    np.testing.assert_array_equal(trained.boxes[0], [[0, 0, 10, 20]])


def test_voc_says_what_is_wrong(tmp_path):
    with pytest.raises(FileNotFoundError, match="has no folder 'annotations'"):
        face_boxes.load(tmp_path)
    write_voc(tmp_path, "a", ((3, 3, 3, 9), "face", 0))
    with pytest.raises(ValueError, match=r"a\.xml: .*a box has no area"):
        face_boxes.load(tmp_path)
    (tmp_path / "annotations" / "a.xml").write_text("<annotation><object>")
    with pytest.raises(ValueError, match=r"a\.xml: not a readable VOC annotation"):
        face_boxes.load(tmp_path)
    write_voc(tmp_path, "a", ((3, 3, 8, 9), "face", 0))
    write_voc(tmp_path, "b", ((3, 3, 8, 9), "face", 0))
    (tmp_path / "images" / "b.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"b\.jpg and 0 more photos"):
        face_boxes.load(tmp_path)
    assert face_boxes.load(tmp_path, allow_missing=True).names == ("a",)


WIDER = """0--Parade/0_Parade_a.jpg
2
10 20 30 40 0 0 0 0 0 0
1 2 3 4 2 0 0 1 2 0
0--Parade/0_Parade_b.jpg
0
0 0 0 0 0 0 0 0 0 0
1--Handshaking/1_c.jpg
1
5 5 0 7 0 0 0 0 0 0
"""


def test_wider_face(tmp_path):
    folder = tmp_path / "WIDER_train" / "images" / "0--Parade"
    folder.mkdir(parents=True)
    (tmp_path / "wider_face_split").mkdir()
    listing = tmp_path / "wider_face_split" / "wider_face_train_bbx_gt.txt"
    listing.write_text(WIDER)
    write_image(folder / "0_Parade_a.jpg", np.zeros((9, 9, 3), np.uint8))
    photos = wider_face.load(tmp_path)
    assert photos.names == ("0--Parade/0_Parade_a", "0--Parade/0_Parade_b", "1--Handshaking/1_c")
    np.testing.assert_array_equal(photos[0].boxes, [[10, 20, 40, 60], [1, 2, 4, 6]])
    assert photos[0].ignored.tolist() == [False, True]
    assert len(photos.boxes[1]) == 0
    assert photos.ignored[2].tolist() == [True]
    assert photos.for_training().names == photos.names[:1]
    listing.write_text(WIDER.replace("2\n10", "3\n10"))
    with pytest.raises(ValueError, match=r"what follows line 1, '0--Parade/0_Parade_a\.jpg', is damaged"):
        wider_face.load(tmp_path)
    with pytest.raises(ValueError, match="has no boxes for 'test'"):
        wider_face.load(tmp_path, "test")
    with pytest.raises(FileNotFoundError, match="WIDER_val|wider_face_val"):
        wider_face.load(tmp_path, "val")


def test_fddb(tmp_path):
    (tmp_path / "FDDB-folds").mkdir()
    fold = tmp_path / "FDDB-folds" / "FDDB-fold-02-ellipseList.txt"
    fold.write_text("2002/08/11/big/img_591\n1\n20.0 10.0 1.5707963267948966 50.0 40.0  1\n2002/x/y\n0\n")
    folder = tmp_path / "originalPics" / "2002" / "08" / "11" / "big"
    folder.mkdir(parents=True)
    write_image(folder / "img_591.jpg", np.zeros((80, 90, 3), np.uint8))
    photos = fddb.load(tmp_path)
    assert photos.names == ("2002/08/11/big/img_591", "2002/x/y")
    # The longer axis stands upright.
    np.testing.assert_allclose(photos[0].boxes, [[40, 20, 60, 60]])
    assert photos.boxes[1].shape == (0, 4)
    fold.write_text("2002/08/11/big/img_591\n2\n20 10 1 50 40 1\n")
    with pytest.raises(ValueError, match="what follows line 1"):
        fddb.load(tmp_path)


def test_boxes_of_ellipses_touch_them():
    rng = np.random.default_rng(0)
    ellipses = np.column_stack([rng.uniform(5, 40, (6, 2)), rng.uniform(-3, 3, 6), rng.uniform(-9, 9, (6, 2))])
    turn = np.linspace(0, 2 * np.pi, 20001)
    for (major, minor, angle, x, y), box in zip(ellipses, fddb.ellipse_boxes(ellipses)):
        along, across = major * np.cos(turn), minor * np.sin(turn)
        xs, ys = x + along * np.cos(angle) - across * np.sin(angle), y + along * np.sin(angle) + across * np.cos(angle)
        np.testing.assert_allclose(box, [xs.min(), ys.min(), xs.max(), ys.max()], atol=1e-4)


def test_boxes_of_landmark_files(tmp_path):
    write_image(tmp_path / "12_3.jpg", np.zeros((60, 60, 3), np.uint8))
    write_image(tmp_path / "crowd.png", np.zeros((60, 60, 3), np.uint8))
    square = np.array([[10.0, 20], [30, 20], [30, 45], [10, 45]])
    write_pts(tmp_path / "12_3.pts", square)
    write_pts(tmp_path / "crowd_1.pts", square)
    write_pts(tmp_path / "crowd_2.pts", square + np.array([5, 1]))
    write_pts(tmp_path / "stray_1.pts", square)
    photos = landmark_boxes.load(tmp_path)
    assert photos.names == ("12_3", "crowd")
    # A fifth of the 25 px from brows to chin is added above them.
    np.testing.assert_allclose(photos.boxes[1], [[10, 15, 30, 45], [15, 16, 35, 46]])
    np.testing.assert_allclose(landmark_boxes.load(tmp_path, tight=True).boxes[0], [[10, 20, 30, 45]])
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no photo has a \.pts file"):
        landmark_boxes.load(tmp_path / "empty")


def test_parts_go_by_the_names_sha1():
    names = [f"folder/photo_{k}" for k in range(2000)]
    rests = {name: int.from_bytes(hashlib.sha1(name[7:].encode()).digest(), "big") % 10 for name in names}
    expected = {0: "held_out", 5: "held_out", 1: "validation"}
    assert all(part_of(name) == expected.get(rest, "train") for name, rest in rests.items())
    boxes = tuple(np.zeros((1, 4)) for _ in names)
    photos = BoxedPhotos(tuple(names), tuple(map(Path, names)), boxes, tuple(np.zeros(1, bool) for _ in names))
    sizes = {part: len(photos.part(part)) for part in ("train", "validation", "held_out")}
    assert sum(sizes.values()) == 2000
    assert 0.17 < sizes["held_out"] / 2000 < 0.23
    with pytest.raises(ValueError, match="have no part 'test'"):
        photos.part("test")


def test_a_small_set_holds_out_a_tenth_for_validation_too():
    names = [name for name in map(str, range(100)) if part_of(name) == "train"][:20]
    boxes = tuple(np.zeros((1, 4)) for _ in names)
    photos = BoxedPhotos(tuple(names), tuple(map(Path, names)), boxes, tuple(np.zeros(1, bool) for _ in names))
    least = sorted(names, key=lambda name: hashlib.sha1(name.encode()).hexdigest())[:2]
    assert sorted(photos.part("validation").names) == sorted(least)
    assert sorted(photos.part("train").names) == sorted(set(names) - set(least))
    with pytest.raises(ValueError, match="none of 20 photos is in the part 'held_out'"):
        photos.part("held_out")
    with pytest.raises(ValueError, match="too small"):
        photos.subset([k for k, name in enumerate(names) if part_of(name) == "train"]).part("held_out")


class Marked:
    """Grey photos on whose face a red square lies exactly where its four landmarks are."""

    names = ("one", "two")

    def __len__(self):
        return 2

    def __getitem__(self, index):
        image = np.full((90, 80, 3), 128, np.uint8)
        image[30:60, 20 + index : 50 + index] = (255, 0, 0)
        corners = np.array([[19.5, 29.5], [49.5, 29.5], [49.5, 59.5], [19.5, 59.5]]) + np.array([index, 0])
        return Face(image, corners, np.array([19.5, 29.5, 49.5, 59.5]), self.names[index])


def test_canvas_boxes_are_where_the_faces_are():
    canvases = FaceCanvases(Marked(), CanvasSetting(200, 150, 24.0, 90.0, 3))
    counts = set()
    for number in range(40):
        photo = canvases.sample(number % 2, np.random.default_rng(number))
        assert photo.image.shape == (150, 200, 3)
        counts.add(len(photo.boxes))
        red = (photo.image[..., 0].astype(int) - photo.image[..., 1]) > 128
        for x0, y0, x1, y1 in photo.boxes:
            # The forehead above the landmarks is grey; below, the box is full and what touches it from outside is not.
            top = y1 - (y1 - y0) / 1.2
            inside = red[int(np.ceil(top + 1)) : int(y1), int(np.ceil(x0 + 1)) : int(x1)]
            assert inside.mean() > 0.98
            around = red[max(0, int(y0)) : int(y1) + 4, max(0, int(x0) - 3) : int(x1) + 4]
            assert abs(around.sum() - (x1 - x0) * (y1 - top)) < 2.5 * (x1 - x0 + y1 - top)
    assert counts >= {1, 2, 3}


def test_canvases_follow_their_generator_and_spread_the_sizes():
    canvases = FaceCanvases(CachedFaces(RenderedFaces(3, size=160)), CanvasSetting(smallest_face=16, largest_face=120))
    one, again, other = (canvases.sample(1, np.random.default_rng(seed)) for seed in (7, 7, 8))
    np.testing.assert_array_equal(one.image, again.image)
    np.testing.assert_array_equal(one.boxes, again.boxes)
    assert not np.array_equal(one.image, other.image)
    boxes = np.vstack([canvases.sample(0, np.random.default_rng(k)).boxes for k in range(25)])
    sizes = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
    assert (sizes > 15).all()
    assert (sizes < 120.5).all()
    assert 0.3 < (sizes < np.sqrt(16 * 120)).mean() < 0.75
    assert (boxes[:, :2] > -1).all()
    assert (boxes[:, 2:] < [480, 320]).all()


def test_a_cut_shows_the_whole_face():
    face = RenderedFaces(1, size=200)[0]
    for seed in range(20):
        cut, box = cut_around(face, np.random.default_rng(seed))
        expected = np.clip(landmark_boxes.face_box(face.points_image), 0, 200)
        assert (box[2:] <= np.array(cut.shape[1::-1]) + 0.5).all()
        np.testing.assert_allclose(box[2:] - box[:2], expected[2:] - expected[:2], atol=1)


def test_joined_sources_follow_one_another():
    first, second = FaceCanvases(Marked()), FaceCanvases(Marked())
    joined = JoinedSources((first, second))
    assert len(joined) == 4
    photo = joined.sample(3, np.random.default_rng(0))
    assert photo.name == "two"
    np.testing.assert_array_equal(photo.image, second.sample(1, np.random.default_rng(0)).image)
    with pytest.raises(IndexError):
        joined.sample(4, np.random.default_rng(0))


@pytest.mark.data
def test_real_face_boxes(face_data):
    photos = face_boxes.load(face_data("face_boxes"))
    assert (len(photos), sum(map(len, photos.boxes))) == (853, 4072)
    image, boxes, _, _ = photos[0]
    assert (boxes >= 0).all()
    assert (boxes[:, 2:] <= [image.shape[1], image.shape[0]]).all()
