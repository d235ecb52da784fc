"""Face detectors: the box arithmetic by hand, OpenCV's cascade on a photo, given boxes, and the measured correction."""

import itertools
import json

import cv2
import numpy as np
import pytest
from matplotlib import cbook

from datasets.detection.landmark_boxes import face_box
from datasets.ibug_300w import load
from datasets.images import read_image
from inference.detectors import (
    BOX_SOURCES,
    CORRECTIONS,
    TIGHT_BOX,
    BoxCorrection,
    CorrectedDetector,
    Detection,
    FileDetector,
    HaarDetector,
    WholeImage,
    get_detector,
    merge_overlapping,
    overlap,
    relative_boxes,
)

EYES = np.array([[221.0, 191.0], [307.0, 185.0]])  # of the photo below, read off it in an image viewer
CHIN = np.array([277.0, 340.0])


@pytest.fixture(scope="module")
def photo():
    return read_image(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))


def boxes_of(detections):
    return np.array([box for box, _ in detections]).reshape(-1, 4)


def test_correction_by_hand():
    # 40 by 20 px about (30, 20); 4 px to the right, 5 px down, 20 by 30 px large.
    corrected = BoxCorrection(0.1, 0.25, 0.5, 1.5).apply(np.array([10.0, 10, 50, 30]))
    np.testing.assert_allclose(corrected, [24, 10, 44, 40])


def test_measuring_a_correction_undoes_it():
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 100, (20, 2))
    detected = np.hstack([corners, corners + rng.uniform(20, 80, (20, 2))])
    correction = BoxCorrection(-0.03, 0.15, 0.9, 0.8)
    wanted = np.array([correction.apply(box) for box in detected])
    np.testing.assert_allclose(relative_boxes(detected, wanted), np.repeat([correction], 20, axis=0))
    # 10 by 20 px to 5 by 40 px, its centre moved by (2, -4).
    by_hand = relative_boxes(np.array([[0.0, 0, 10, 20]]), np.array([[4.5, -14, 9.5, 26]]))
    np.testing.assert_allclose(by_hand, [[0.2, -0.2, 0.5, 2]])


def test_merging_keeps_the_larger_of_two_boxes_on_one_face():
    whole, inner, beside = np.array([[0.0, 0, 100, 100], [30, 30, 60, 60], [70, 0, 150, 80]])
    detections = [Detection(inner, 9.0), Detection(beside, 2.0), Detection(whole, 1.0)]
    # Of `beside` 30 by 80 px of 80 by 80 px lie in `whole`, 0.375 of it.
    assert [score for _, score in merge_overlapping(detections, 0.38)] == [1.0, 2.0]
    assert [score for _, score in merge_overlapping(detections, 0.37)] == [1.0]
    assert merge_overlapping([], 0.4) == []


def test_an_empty_box_shares_nothing():
    box, line = np.array([0.0, 0, 4, 4]), np.array([0.0, 2, 4, 2])
    assert (overlap(box, line), overlap(box, np.array([2.0, 0, 4, 8]))) == (0, 0.5)


def test_boxes_of_one_size_are_merged_alike_in_whatever_order_they_were_found():
    squares = [Detection(np.array([x, y, x + 10.0, y + 10.0]), x + y) for x, y in ((30, 0), (0, 20), (0, 0), (4, 0))]
    for order in itertools.permutations(squares):
        assert [score for _, score in merge_overlapping(list(order), 0.4)] == [0, 20, 30]


def test_haar_finds_the_face_of_a_photo(photo):
    (detection,) = get_detector("haar")(photo)
    x0, y0, x1, y1 = detection.box
    assert detection.box.dtype == np.float64
    assert all(x0 < x < x1 and y0 < y < y1 for x, y in EYES)
    assert y0 < CHIN[1] < y1
    # Tight: from just above the brows, which are 25 px above the eyes, and as wide as the face.
    assert EYES[:, 1].min() - y0 < 60
    assert y1 - CHIN[1] < 40
    assert 180 < x1 - x0 < 260


def test_haar_takes_big_photos_down_for_detection_and_answers_in_their_pixels(photo):
    big = np.kron(photo, np.ones((5, 5, 1), np.uint8))
    width, height = round(photo.shape[1] / 600 * 1000), 1000
    gray = cv2.resize(cv2.cvtColor(big, cv2.COLOR_RGB2GRAY), (width, height), interpolation=cv2.INTER_AREA)
    (scaled,) = HaarDetector()(np.dstack([gray] * 3))
    (found,) = HaarDetector()(big)
    np.testing.assert_allclose(found.box, scaled.box * [2560 / width, 3.0, 2560 / width, 3.0])
    # From photo to photo of one face the cascade's box itself varies by a tenth.
    (small,) = HaarDetector()(photo)
    np.testing.assert_allclose(found.box / 5, small.box, atol=0.1 * (small.box[2] - small.box[0]))


def test_haar_finds_several_faces_the_largest_first(photo):
    small = cv2.resize(photo, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    both = np.zeros((600, 512 + small.shape[1], 3), np.uint8)
    both[:, -512:] = photo
    both[: small.shape[0], : small.shape[1]] = small
    boxes = boxes_of(HaarDetector()(both))
    assert len(boxes) == 2
    assert boxes[0, 0] > small.shape[1] > boxes[1, 2]


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (3000, 1), (23, 23), (60, 60)])
def test_haar_finds_nothing_where_nothing_is(shape):
    assert HaarDetector()(np.full((*shape, 3), 90, np.uint8)) == []


def test_correction_is_applied_to_what_a_detector_finds():
    class OneBox:
        box_kind = "some box"

        def __call__(self, image, name=""):
            return [Detection(np.array([10.0, 10, 50, 30]), 0.75)]

    corrected = CorrectedDetector(OneBox(), BoxCorrection(0.1, 0.25, 0.5, 1.5))
    ((box, score),) = corrected(np.zeros((9, 9, 3), np.uint8))
    np.testing.assert_allclose(box, [24, 10, 44, 40])
    assert score == 0.75
    assert corrected.box_kind == TIGHT_BOX != OneBox.box_kind


def test_whole_image():
    ((box, score),) = WholeImage()(np.zeros((30, 50, 3), np.uint8))
    np.testing.assert_array_equal(box, [0, 0, 50, 30])
    assert score == 1


BLANK = np.zeros((10, 10, 3), np.uint8)


@pytest.fixture
def box_file(tmp_path):
    def write(content):
        path = tmp_path / "boxes.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    return write


def test_given_boxes_go_by_name_or_stem(box_file):
    named = {"a.jpg": [[10, 2, 30, 4], [5, 6, 8, 10]], "b": [0, 0, 7, 7], "none": [], "set/c": [[0, 1, 20, 30]]}
    detector = FileDetector(box_file(named))
    np.testing.assert_array_equal(boxes_of(detector(BLANK, "photos/a.jpg")), [[10, 2, 30, 4], [5, 6, 8, 10]])
    np.testing.assert_array_equal(boxes_of(detector(BLANK, "b.png")), [[0, 0, 7, 7]])
    np.testing.assert_array_equal(boxes_of(detector(BLANK, "set/c")), [[0, 1, 20, 30]])
    assert detector(BLANK, "none.jpg") == []
    with pytest.raises(ValueError, match=r"boxes.json has no entry 'd.jpg': add its boxes, or \[\]"):
        detector(BLANK, "photos/d.jpg")


@pytest.mark.parametrize("content", [[1, 2, 30, 40], [[1, 2, 30, 40]]])
def test_one_list_of_boxes_serves_every_image(box_file, content):
    detector = FileDetector(box_file(content))
    for name in ("", "any.jpg"):
        np.testing.assert_array_equal(boxes_of(detector(BLANK, name)), [[1, 2, 30, 40]])


@pytest.mark.parametrize("key", ["C:\\faces\\me.jpg", "/home/me/me.PNG", "'me'", "set/me.jpg"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_names_are_found_however_they_are_spelt(tmp_path, key, encoding):
    path = tmp_path / "boxes.json"
    path.write_bytes(json.dumps({key: [1, 2, 30, 40], "you.jpg": [5, 6, 70, 80]}, indent=1).encode(encoding))
    for name in ("me.jpg", "photos/me.jpg", "deep/me"):
        np.testing.assert_array_equal(boxes_of(FileDetector(path)(BLANK, name)), [[1, 2, 30, 40]])


def test_a_path_tells_photos_of_one_name_apart(box_file):
    detector = FileDetector(
        box_file({"a\\1.jpg": [0, 0, 10, 10], "b/1.jpg": [0, 0, 20, 20], "crowd": [[0, 0, 5, 5]] * 2})
    )
    assert boxes_of(detector(BLANK, "/data/b/1.jpg"))[0, 2] == 20
    assert boxes_of(detector(BLANK, "a/1"))[0, 2] == 10
    with pytest.raises(ValueError, match="could both be 1.jpg; give whole paths"):
        detector(BLANK, "1.jpg")
    assert len(detector(BLANK, "crowd_2")) == 2  # one of its faces
    with pytest.raises(ValueError, match=r"has no entry 'crowd_2\.jpg': add its boxes"):  # another photo
        detector(BLANK, "photos/crowd_2.jpg")


def test_a_fifth_number_is_the_score(box_file):
    assert [found.score for found in FileDetector(box_file([[0, 0, 9, 9, 0.25], [1, 1, 9, 9, 0.5]]))(BLANK)] == [
        0.25,
        0.5,
    ]
    assert FileDetector(box_file([0, 0, 9, 9, 0.25]))(BLANK)[0].score == 0.25
    assert FileDetector(box_file([0, 0, 9, 9]))(BLANK)[0].score == 1
    for mixed in ([[0, 0, 9, 9, 0.25], [1, 1, 9, 9]], [[0, 0, 9, 9, 1, 1]]):
        with pytest.raises(ValueError, match="each with a score behind it or none"):
            FileDetector(box_file(mixed))


def test_fractions_are_no_pixels(box_file):
    with pytest.raises(
        ValueError, match=r"boxes of 'a', \[0\.34, 0\.27, 0\.7, 0\.56\]: .*fractions of the photo: multiply"
    ):
        FileDetector(box_file({"a": [[0.34, 0.27, 0.7, 0.56]]}))


@pytest.mark.parametrize(
    "content",
    [
        *({"a": value} for value in ([1, 2, 3], [[1, 2, 3]], [[]], "box", None, 5, [[1, 2, 3, "x"]])),
        *({"a": [value]} for value in ([5, 2, 3, 4], [1, 5, 3, 4], [1, 2, 1, 4], [1, 2, float("inf"), 4])),
        *({"a": [value]} for value in ([float("nan"), 2, 3, 4], [float("-inf"), 2, 3, 4])),
    ],
    ids=str,
)
def test_a_file_with_something_else_than_boxes_is_refused(box_file, content):
    with pytest.raises(ValueError, match=r"boxes\.json: boxes of 'a' are not \[\[x0, y0, x1, y1\], \.\.\.\]"):
        FileDetector(box_file(content))


def test_a_file_that_is_no_json_or_not_there_is_refused(box_file, tmp_path):
    for content in ("", "{", "[1, 2"):
        with pytest.raises(ValueError, match=r"boxes\.json: not JSON"):
            FileDetector(box_file(content))
    with pytest.raises(ValueError, match="boxes of every image"):
        FileDetector(box_file("3"))
    with pytest.raises(FileNotFoundError, match="missing.json"):
        FileDetector(tmp_path / "missing.json")


def test_detectors_by_name(box_file):
    path = box_file({})
    detectors = [get_detector(name, path if name == "file" else None) for name in BOX_SOURCES]
    assert {detector.box_kind for detector in detectors} == {TIGHT_BOX}
    with pytest.raises(
        ValueError, match="unknown detector 'viola': choose one of haar, faster_rcnn, centernet_slim, file"
    ):
        get_detector("viola")
    with pytest.raises(ValueError, match="'file' needs a file of boxes"):
        get_detector("file")
    with pytest.raises(ValueError, match="'haar' takes no file of boxes"):
        get_detector("haar", path)
    with pytest.raises(ValueError, match="'whole' takes no weights"):
        get_detector("whole", weights="face.params")
    with pytest.raises(FileNotFoundError, match=r"face\.params is not there"):
        get_detector("faster_rcnn", weights="face.params")


def test_the_networks_boxes_become_tight_ones():
    points = np.array([[10.0, 20], [50, 30], [30, 70]])
    # It was trained on `face_box`: what was measured of it must be near to the inverse of that.
    np.testing.assert_allclose(CORRECTIONS["faster_rcnn"].apply(face_box(points)), [10, 20, 50, 70], atol=1)


def closest(boxes, truth):
    """The box with the largest intersection over union with the true one, and that overlap."""

    def overlap(box):
        shared = np.prod(np.clip(np.minimum(box[2:], truth[2:]) - np.maximum(box[:2], truth[:2]), 0, None))
        return shared / (np.prod(box[2:] - box[:2]) + np.prod(truth[2:] - truth[:2]) - shared)

    best = max(boxes, key=overlap, default=None)
    return (None, 0.0) if best is None else (best, overlap(best))


@pytest.mark.data
@pytest.mark.slow  # the cascade takes 50 ms for each of 300 photos, and fewer photos give no steady median
def test_the_correction_is_what_300w_training_photos_say(face_data):
    faces = load(face_data("300w"), "train", allow_missing=True)
    rng = np.random.default_rng(0)
    rows, seen, detect = [], 0, HaarDetector()
    for part in ("helen/", "lfpw/"):
        own = [index for index, name in enumerate(faces.names) if name.startswith(part)]
        for index in rng.choice(own, min(150, len(own)), replace=False):
            face = faces[int(index)]
            box, overlap = closest([each.box for each in detect(face.image)], face.box)
            seen += 1
            if overlap > 0.3:
                rows.append(relative_boxes(box[None], face.box[None])[0])
    assert len(rows) / seen > 0.88
    # Over some 275 faces a median of such a spread is known to about 0.01.
    np.testing.assert_allclose(np.median(rows, axis=0), CORRECTIONS["haar"], atol=0.02)
    spread = np.subtract(*np.percentile(rows, [75, 25], axis=0))
    assert (spread < 0.15).all()
