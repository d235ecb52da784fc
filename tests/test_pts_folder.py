"""A folder of one's own as a data set: what users bring, small, against what is right by hand."""

import hashlib
import json
import os
from itertools import permutations

import numpy as np
import pytest
from PIL import Image

from datasets import pts_folder
from datasets.catalog import load_subset, training_pair
from datasets.conversions import convert
from datasets.detection import landmark_boxes
from datasets.ibug_300w import is_validation
from datasets.images import write_image
from datasets.markup import plain_markup
from datasets.markups import IBUG_49, IBUG_51, IBUG_68, INSIGHTFACE_5
from datasets.own_photos import find_photos
from datasets.point_order import is_plausible, median_face
from datasets.pts_files import write_pts
from datasets.render.faces import RenderedFaces

FIVE_OF_A_FACE = np.array([[10.0, 10], [30, 10], [20, 20], [12, 30], [28, 30]])  # in InsightFace's order


def fill(folder, count, num_landmarks=29):
    rng = np.random.default_rng(0)
    points = {}
    for index in range(count):
        name = f"deep/face {index}"
        (folder / "deep").mkdir(exist_ok=True)
        write_image(folder / f"{name}.png", np.full((20, 30, 3), index, np.uint8))
        points[name] = rng.uniform(2, 18, (num_landmarks, 2)).round(3)
        write_pts(folder / f"{name}.pts", points[name])
    return points


def test_faces_come_with_their_names_points_boxes_and_markup(tmp_path):
    points = fill(tmp_path, 3)
    (tmp_path / "alone.jpg").write_bytes(b"no annotation, no face")
    faces = pts_folder.load(tmp_path)
    assert list(faces.names) == sorted(points)
    assert faces.markup.name == "cofw_29"
    face = faces[2]
    np.testing.assert_allclose(face.points_image, points["deep/face 2"], atol=1e-6)
    np.testing.assert_allclose(face.box[:2], points["deep/face 2"].min(axis=0), atol=1e-6)
    assert face.image[0, 0].tolist() == [2, 2, 2]


def test_a_damaged_annotation_stops_training_and_is_listed_in_an_evaluation(tmp_path):
    fill(tmp_path, 2)
    (tmp_path / "deep" / "face 0.pts").write_text("version: 1\nn_points: 29\n{\n1 2\n}\n")
    with pytest.raises(ValueError, match=r"face 0\.pts: not a readable \.pts file"):
        pts_folder.load(tmp_path)
    faces = pts_folder.load(tmp_path, keep_damaged=True)
    assert np.isnan(faces.points[0]).all()
    with pytest.raises(ValueError, match=r"face 0\.pts"):
        faces[0]
    assert faces[1].name == "deep/face 1"


def test_what_cannot_be_a_data_set_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no such folder"):
        pts_folder.load(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match=r"no photo has a \.pts file"):
        pts_folder.load(tmp_path)
    fill(tmp_path, 3, num_landmarks=67)
    assert pts_folder.load(tmp_path).markup.name == "points_67"
    write_pts(tmp_path / "deep" / "face 0.pts", np.random.default_rng(0).uniform(2, 18, (68, 2)))
    with pytest.raises(ValueError, match=r"face 0\.pts has 68 points, most of the others have 67"):
        pts_folder.load(tmp_path)
    assert list(pts_folder.load(tmp_path, keep_damaged=True).damaged) == ["deep/face 0"]


def test_training_and_validation_share_no_face(tmp_path):
    fill(tmp_path, 40)
    train, validation = training_pair("pts", str(tmp_path))
    assert len(train) + len(validation) == 40
    assert 0 < len(validation) < 12
    assert not set(train.names) & set(validation.names)


FACE = np.array([[10.0, 20], [30, 20], [20, 30], [12, 40], [28, 40]])  # InsightFace's five
OTHER_FACE = FACE + np.array([100, 0])


def label(path, points=FACE):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_pts(path, points)


def photo(path, width=64, height=48, colour=90):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((height, width, 3), colour, np.uint8)).save(path)


def readers():
    """The two that look at a folder of one's own."""
    return pytest.mark.parametrize("load", [pts_folder.load, landmark_boxes.load], ids=["landmarks", "boxes"])


class TestUprightPhotos:
    @pytest.fixture
    def phone(self, tmp_path):
        """A photo, 40 wide and 60 high as one sees it, stored on its side; a white spot marks x = 10, y = 50."""
        seen = np.zeros((60, 40, 3), np.uint8)
        seen[48:53, 8:13] = 255
        exif = Image.Exif()
        exif[0x0112] = 6  # turn clockwise to see it
        stored = Image.fromarray(np.ascontiguousarray(np.rot90(seen)))
        stored.save(tmp_path / "me.jpg", quality=95, exif=exif)
        label(tmp_path / "me.pts", np.array([[10.0, 50], [30, 10], [20, 30]]))
        return tmp_path

    def test_points_lie_where_a_viewer_sees_them(self, phone):
        face = pts_folder.load(phone)[0]
        assert face.image.shape == (60, 40, 3)
        x, y = face.points_image[0].astype(int)
        assert face.image[y, x].min() > 200
        assert face.image.sum(axis=2).mean() < 30

    def test_the_detector_is_trained_on_the_same_frame(self, phone):
        for photos in (landmark_boxes.load(phone), landmark_boxes.load(phone).for_training().subset([0])):
            assert photos[0].image.shape == (60, 40, 3)
            np.testing.assert_allclose(photos[0].boxes, [[10, 2, 30, 50]])

    def test_parts_of_it_stay_upright(self, phone):
        assert pts_folder.load(phone).subset([0])[0].image.shape == (60, 40, 3)


class TestFiles:
    @readers()
    def test_every_kind_of_photo_and_any_case_of_the_extensions(self, load, tmp_path):
        suffixes = (".jpg", ".JPG", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif")
        for number, suffix in enumerate(suffixes):
            kind = {".jfif": "JPEG", ".jpe": "JPEG"}.get(suffix)
            Image.fromarray(np.full((48, 64, 3), 9, np.uint8)).save(tmp_path / f"f{number:02}{suffix}", kind)
            label(tmp_path / f"f{number:02}{'.PTS' if number % 2 else '.pts'}")
        faces = load(tmp_path)
        assert faces.names == tuple(f"f{number:02}" for number in range(len(suffixes)))
        assert all(faces[k].image.shape == (48, 64, 3) for k in range(len(faces)))

    @readers()
    def test_what_is_not_used_is_counted_and_named(self, load, tmp_path, caplog):
        for name in ("a.png", "in/b.png", "bare.jpg", "bare2.jpg"):
            photo(tmp_path / name)
        for name in ("a.pts", "in/b.pts", "lonely.pts", "phone.pts"):
            label(tmp_path / name)
        for name in ("phone.HEIC", "camera.NEF", "._a.png", "in/._b.png", ".DS_Store", "notes.txt"):
            (tmp_path / name).write_bytes(b"x")
        assert load(tmp_path).names == ("a", "in/b")
        lines = [record.getMessage() for record in caplog.records]
        assert sorted(line.partition(": ")[2] for line in lines) == [
            "1 not used, .heic needs pillow-heif: pip install -r requirements-heif.txt, or save the photo as .jpg: "
            "phone.HEIC",
            "1 not used, labels without a photo: lonely.pts",
            "1 not used, not an image of a known format; use .jpg or .png: camera.NEF",
            "2 not used, without a .pts file of their name: bare.jpg, bare2.jpg",
        ]

    def test_hidden_files_are_named_and_linked_folders_are_read(self, tmp_path, caplog):
        home = tmp_path / "home"
        for name in ("a/me", "elsewhere/you", "home/.old/he"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            photo(tmp_path / f"{name}.png")
            label(tmp_path / f"{name}.pts", np.random.default_rng(len(name)).uniform(2, 40, (7, 2)))
        (home / "sub").symlink_to(tmp_path / "elsewhere")
        (home / "sub" / "back").symlink_to(home)  # round and round
        assert pts_folder.load(home).names == ("sub/you",)
        assert "1 not used, hidden, as a name starts with a dot: .old/he.png" in caplog.text

    def test_a_mac_writes_accents_in_two_signs(self, tmp_path):
        photo(tmp_path / "cafe\u0301.png")
        label(tmp_path / "caf\xe9_2.pts", np.random.default_rng(1).uniform(2, 40, (7, 2)))
        assert pts_folder.load(tmp_path).image_paths == (tmp_path / "cafe\u0301.png",)

    def test_nothing_is_said_where_all_is_used(self, tmp_path, caplog):
        photo(tmp_path / "a.png")
        label(tmp_path / "a.pts")
        (tmp_path / "._a.png").write_bytes(b"Mac")
        pts_folder.load(tmp_path)
        assert not caplog.records

    @readers()
    def test_two_photos_with_one_label_are_refused(self, load, tmp_path):
        photo(tmp_path / "x.jpg")
        photo(tmp_path / "x.png")
        label(tmp_path / "x.pts")
        with pytest.raises(ValueError, match=r"x\.jpg and x\.png have one \.pts file between them"):
            load(tmp_path)
        (tmp_path / "x.png").unlink()
        label(tmp_path / "x.PTS")
        with pytest.raises(ValueError, match=r"x\.(PTS|pts): the same face as x\.(pts|PTS); remove one"):
            load(tmp_path)

    @readers()
    def test_labels_of_another_kind_are_pointed_at(self, load, tmp_path):
        photo(tmp_path / "x.jpg")
        (tmp_path / "x.txt").write_text("1 2 3 4")
        with pytest.raises(FileNotFoundError, match=r"\(x\.txt is there: write its points as a \.pts file"):
            load(tmp_path)

    @readers()
    def test_fractions_of_the_photo_are_no_pixels(self, load, tmp_path):
        photo(tmp_path / "x.jpg")
        label(tmp_path / "x.pts", FACE / 64)
        with pytest.raises(ValueError, match=r"x\.pts: 0\.3125 x 0\.3125 pixels are no face, .*fractions"):
            load(tmp_path)

    @readers()
    @pytest.mark.parametrize("mark", [0, -1])
    def test_a_mark_for_a_missing_point_is_no_point(self, load, tmp_path, mark):
        photo(tmp_path / "x.jpg")
        label(tmp_path / "x.pts", np.concatenate([FACE, [[mark - 1, mark - 1]]]))
        with pytest.raises(ValueError, match=rf"x\.pts: the point {mark} {mark} marks one that is missing"):
            load(tmp_path)

    @readers()
    def test_two_points_of_one_height_have_no_box(self, load, tmp_path):
        photo(tmp_path / "x.jpg")
        label(tmp_path / "x.pts", FACE[:2])
        with pytest.raises(ValueError, match=r"x\.pts: its points are level .*: mark one more"):
            load(tmp_path)

    def test_points_of_a_larger_photo_are_refused(self, tmp_path):
        for name, height in (("a.png", 48), ("b.png", 31), ("c.png", 30)):
            photo(tmp_path / name, height=height)
            label(tmp_path / name.replace("png", "pts"))
        faces = pts_folder.load(tmp_path)
        assert faces[0].name == "a"
        assert faces[1].name == "b"  # the two corners of the mouth, at a height of 40, are cut off
        with pytest.raises(ValueError, match=r"c\.pts: 3 of 5 points lie outside the photo of 64 x 30 pixels: label"):
            faces[2]

    def test_names_that_are_not_utf_8(self, tmp_path):
        name = os.fsdecode("é".encode("latin-1"))
        for number in range(12):
            photo(tmp_path / f"{name}{number}.png", colour=number)
            label(tmp_path / f"{name}{number}.pts")
        train, validation = training_pair("pts", str(tmp_path))
        assert len(train) + len(validation) == 12
        assert train[0].image.shape == (48, 64, 3)


class TestSeveralFacesInAPhoto:
    @pytest.fixture
    def crowd(self, tmp_path):
        """What predict.py and a user's own hand leave: two faces in one photo, one in each of the others."""
        for name in ("crowd.jpg", "12.jpg", "12_3.jpg"):
            photo(tmp_path / name, 200, 60)
        label(tmp_path / "crowd_1.pts")
        label(tmp_path / "crowd_2.pts", OTHER_FACE)
        label(tmp_path / "12_3.pts")
        label(tmp_path / "12_1.pts")
        return tmp_path

    def test_each_is_a_face_of_its_own(self, crowd):
        faces = pts_folder.load(crowd)
        owners = dict(zip(faces.names, (path.name for path in faces.image_paths)))
        assert owners == {"12_1": "12.jpg", "12_3": "12_3.jpg", "crowd_1": "crowd.jpg", "crowd_2": "crowd.jpg"}
        place = faces.names.index("crowd_2")
        np.testing.assert_allclose(faces[place].points_image, OTHER_FACE, atol=1e-5)
        assert faces[place].box[0] == pytest.approx(110)

    def test_the_detector_sees_them_in_one_photo(self, crowd):
        photos = landmark_boxes.load(crowd, tight=True)
        assert photos.names == ("12", "12_3", "crowd")
        np.testing.assert_allclose(photos.boxes[2], [[10, 20, 30, 40], [110, 20, 130, 40]], atol=1e-5)

    def test_faces_of_one_photo_stay_together(self, tmp_path):
        for number in range(30):
            photo(tmp_path / f"{number}.png", 200, 60)
            label(tmp_path / f"{number}_1.pts")
            label(tmp_path / f"{number}_2.pts", OTHER_FACE)
        train, validation = training_pair("pts", str(tmp_path))
        assert len(train) + len(validation) == 60
        assert not set(train.photo_names) & set(validation.photo_names)

    @readers()
    def test_one_face_that_is_labelled_twice_is_refused(self, load, crowd):
        label(crowd / "crowd.pts", FACE + 0.7)
        with pytest.raises(ValueError, match=r"crowd(_1)?\.pts: the same face as crowd(_1)?\.pts; remove one"):
            load(crowd)

    @readers()
    def test_what_predict_drew_is_never_trained_on(self, load, crowd, caplog):
        record = json.dumps({"image": "crowd.jpg", "faces": [], "coordinates": "pixels"})
        (crowd / "crowd.json").write_text(record)
        photo(crowd / "crowd.png", 200, 60)
        assert "crowd" in " ".join(load(crowd).names)
        assert [path.name for path in (found.path for found in find_photos(crowd))] == [
            "12.jpg",
            "12_3.jpg",
            "crowd.jpg",
        ]
        assert "copies that predict.py drew: crowd.png" in caplog.text
        (crowd / "crowd.jpg").unlink()
        with pytest.raises(ValueError, match=r"crowd\.png is a copy that predict\.py drew the points into"):
            load(crowd)


class TestPhotosOfABurst:
    """x.png and x_1.png, where x_1.pts may be of the second or, as its first face, of the first."""

    def fill(self, folder, *labels):
        for name in ("x.png", "x_1.png"):
            photo(folder / name, 400, 60)
        for number, name in enumerate(labels):
            label(folder / f"{name}.pts", FACE + 50 * number)

    def owners(self, folder, *labels):
        self.fill(folder, *labels)
        return {path.stem: [each.stem for each in labels] for path, labels in find_photos(folder)}

    def test_faces_have_numbers_where_predict_wrote_them(self, tmp_path):
        assert self.owners(tmp_path, "x_1", "x_2", "x_1_1") == {"x": ["x_1", "x_2"], "x_1": ["x_1_1"]}

    def test_points_have_the_names_of_photos_where_the_first_has(self, tmp_path):
        assert self.owners(tmp_path, "x", "x_1") == {"x": ["x"], "x_1": ["x_1"]}

    @readers()
    def test_a_label_that_may_be_of_either_is_refused(self, load, tmp_path):
        self.fill(tmp_path, "x_1")
        with pytest.raises(ValueError, match=r"x_1\.pts: points of the photo x_1, or of face 1 of x\? .* x_1_1\.pts"):
            load(tmp_path)
        (tmp_path / "x_1.pts").rename(tmp_path / "x_1_1.pts")
        assert [path.name for path, _ in find_photos(tmp_path)] == ["x_1.png"]


class TestValidation:
    def parted(self, folder, count, name="photo {}"):
        for number in range(count):
            photo(folder / f"{name.format(number)}.png")
            label(folder / f"{name.format(number)}.pts")
        return training_pair("pts", str(folder))

    def test_where_no_name_falls_to_it_a_tenth_is_held_out_and_said(self, tmp_path, caplog):
        names = [f"n{number}" for number in range(200) if not is_validation(f"n{number}")][:20]
        for name in names:
            photo(tmp_path / f"{name}.png")
            label(tmp_path / f"{name}.pts")
        train, validation = training_pair("pts", str(tmp_path))
        least = sorted(names, key=lambda name: hashlib.sha1(name.encode()).hexdigest())[:2]
        assert sorted(validation.names) == sorted(least)
        assert len(train) == 18
        assert f"of 20 photos none is for validation by its name: held out {', '.join(sorted(least))}" in caplog.text
        again = load_subset("pts", str(tmp_path), "validation")[0]
        assert again.names == validation.names

    @pytest.mark.parametrize("count", [2, 3, 5, 10])
    def test_no_set_is_too_small_but_a_single_photo(self, tmp_path, count):
        train, validation = self.parted(tmp_path, count)
        assert len(train) >= 1
        assert len(validation) >= 1
        assert len(train) + len(validation) == count

    def test_a_single_photo_is(self, tmp_path):
        with pytest.raises(ValueError, match="1 photos cannot be parted into training and validation"):
            self.parted(tmp_path, 1)

    def test_nothing_is_said_of_a_set_that_is_large_enough(self, tmp_path, caplog):
        _, validation = self.parted(tmp_path, 150)
        assert len(validation) >= 10
        assert not caplog.records


class TestMarkup:
    def load(self, folder, markup=None, count=7):
        points = np.random.default_rng(1).uniform(2, 40, (count, 2))
        photo(folder / "x.png")
        label(folder / "x.pts", points)
        if markup is not None:
            (folder / "markup.json").write_text(markup)
        return pts_folder.load(folder).markup

    @pytest.mark.parametrize(("count", "name"), [(5, "insightface_5"), (98, "wflw_98"), (106, "insightface_106")])
    def test_known_ones_go_by_their_number(self, tmp_path, count, name):
        assert self.load(tmp_path, count=count).name == name

    def test_any_other_number_is_taken_too(self, tmp_path):
        assert self.load(tmp_path, count=478).name == "points_478"

    def test_a_file_beside_the_photos_says_more(self, tmp_path):
        text = '{"name": "mine", "flip_pairs": [[0, 1]], "outer_eye_corners": [0, 1], "lines": [[2, 3]]}'
        markup = self.load(tmp_path, "\ufeff" + text)
        assert (markup.name, markup.num_landmarks, markup.normalizer) == ("mine", 7, "outer_eye")
        assert markup.flip_order == (1, 0, 2, 3, 4, 5, 6)

    def test_it_overrules_the_number(self, tmp_path):
        assert not self.load(tmp_path, '{"name": "other"}', 68).can_flip

    def test_the_name_of_a_known_one_alone_is_that_one(self, tmp_path):
        assert self.load(tmp_path, '{"name": "insightface_5"}', 5) == INSIGHTFACE_5
        with pytest.raises(ValueError, match="wflw_98 is a known markup of 98 points; name yours otherwise"):
            self.load(tmp_path, '{"name": "wflw_98"}')

    def faces(self, folder, order, count=3):
        """Photos of one face whose five points stand in another order: names by InsightFace's numbers."""
        folder.mkdir()
        for k in range(count):
            photo(folder / f"{k}.png")
            label(folder / f"{k}.pts", FIVE_OF_A_FACE[list(order)] + k)
        return pts_folder.load(folder).markup

    def test_five_points_in_another_order_are_not_taken_for_insightfaces(self, tmp_path, caplog):
        assert self.faces(tmp_path / "known", range(5)) == INSIGHTFACE_5
        assert not caplog.records
        assert self.faces(tmp_path / "other", (2, 1, 0, 4, 3)) == plain_markup(5)  # the nose first, then the left side
        names = ["nose_tip", "left_eye_centre", "right_eye_centre", "left_mouth_corner", "right_mouth_corner"]
        assert json.dumps({"names": names, "pupils": [[2], [1]]}) in caplog.text
        (tmp_path / "other" / "markup.json").write_text(json.dumps({"names": names}))
        assert pts_folder.load(tmp_path / "other").markup.flip_order == (0, 2, 1, 4, 3)

    def test_of_all_orders_one_is_taken(self):
        taken = [order for order in permutations(range(5)) if is_plausible(FIVE_OF_A_FACE[list(order)], INSIGHTFACE_5)]
        assert taken == [(0, 1, 2, 3, 4)]

    def test_rendered_faces_have_their_points_where_the_markups_say(self):
        face = median_face(np.stack([face.points_image for face in RenderedFaces(3, seed=1, size=64)]))
        assert is_plausible(face, IBUG_68)
        assert not is_plausible(face * (-1, 1), IBUG_68)
        for markup in (IBUG_51, IBUG_49, INSIGHTFACE_5):
            assert is_plausible(convert(face, IBUG_68, markup), markup)

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"flip_pairs": [[0, 7]]}', '{"names": ["a"]}'])
    def test_a_wrong_one_is_refused_by_its_name(self, tmp_path, text):
        with pytest.raises(ValueError, match=r"markup\.json: .*see docs/data.md"):
            self.load(tmp_path, text)
