"""300VW: small videos whose frames can be told apart, every fault a copy can have, and the lists of videos."""

import multiprocessing
import pickle

import cv2
import numpy as np
import pytest

from datasets import w300_vw
from datasets.markups import IBUG_68
from datasets.pts_files import write_pts
from datasets.w300_vw import SUBSETS, FrameReader, load

POINTS = np.random.default_rng(0).uniform(2, 30, (68, 2)).round(3)
SMALL = {"train": ("001", "002"), "category_1": ("114",), "test": ("114", "203")}


def _level(index):
    """A grey level that tells 30 frames apart, 8 levels from the next; compression costs up to 4."""
    return 10 + 8 * ((7 * index) % 30)


def _write_video(path, count, codec="MJPG", height=36, width=48):
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 25, (width, height))
    assert writer.isOpened()
    for index in range(count):
        image = np.full((height, width, 3), _level(index), np.uint8)
        image[:, : width // 3] = (0, 0, 255)  # BGR: a red band on the left
        writer.write(image)
    writer.release()


def _add_video(root, name, frames=6, annotated=None):
    _write_video(root / name / "vid.avi", frames)
    (root / name / "annot").mkdir()
    for number in range(1, (frames if annotated is None else annotated) + 1):
        write_pts(root / name / "annot" / f"{number:06d}.pts", POINTS + number)


def _is_frame(image, index):
    return abs(float(image[8:28, 28:44].mean()) - _level(index)) < 4


@pytest.fixture
def small(monkeypatch):
    """The layout with two training and two test videos."""
    monkeypatch.setattr(w300_vw, "SUBSETS", SMALL)


@pytest.fixture
def copy(tmp_path, small):
    """A whole copy of that small 300VW."""
    for count, name in enumerate(("001", "002", "114", "203")):
        _add_video(tmp_path, name, frames=6 + count)
    return tmp_path


@pytest.fixture
def opened(monkeypatch):
    """Counts how often videos are opened and sought in: a list of "open" and of the frames sought."""
    events = []

    class Counted(w300_vw._OpenVideo):
        def __init__(self, path):
            super().__init__(path)
            events.append("open")
            self._capture = _Seen(self._capture)

    class _Seen:
        def __init__(self, capture):
            self._inner = capture

        def __getattr__(self, name):
            return getattr(self._inner, name)

        def set(self, _, index):
            events.append(index)
            # Misses by as many frames as the test says, as some seeks do.
            return self._inner.set(cv2.CAP_PROP_POS_FRAMES, index + miss[0])

    miss = [0]
    monkeypatch.setattr(w300_vw, "_OpenVideo", Counted)
    monkeypatch.setattr(w300_vw, "_STEPS_BEFORE_SEEK", 3)
    return events, miss


class TestLists:
    def test_counts(self):
        counts = {name: len(videos) for name, videos in SUBSETS.items()}
        assert counts == {"train": 50, "category_1": 31, "category_2": 19, "category_3": 14, "test": 64}

    def test_the_114_videos_are_each_in_one_list(self):
        categories = SUBSETS["category_1"] + SUBSETS["category_2"] + SUBSETS["category_3"]
        assert SUBSETS["test"] == categories
        assert len(set(categories + SUBSETS["train"])) == 114
        assert all(len(name) == 3 and name.isdecimal() for name in categories + SUBSETS["train"])


class TestLoad:
    def test_names_go_video_after_video(self, copy):
        faces = load(str(copy), "train")
        assert len(faces) == 13
        assert faces.names[:2] == ("001/000001", "001/000002")
        assert faces.names[5:7] == ("001/000006", "002/000001")
        assert faces.videos == ("001", "002")
        assert faces.expected_videos == 2
        assert faces.missing == ()
        assert faces.markup is IBUG_68

    def test_points_are_there_without_decoding(self, copy, monkeypatch):
        monkeypatch.setattr(FrameReader, "read", None)
        faces = load(copy, "test")
        assert faces.points.shape == (17, 68, 2)
        np.testing.assert_allclose(faces.points[8], POINTS + 1, atol=1e-6)
        np.testing.assert_allclose(faces.points[10], POINTS + 3, atol=1e-6)

    def test_a_face(self, copy):
        face = load(copy, "train")[8]
        assert face.name == "002/000003"
        assert face.image.shape == (36, 48, 3)
        assert face.image.dtype == np.uint8
        assert face.image.flags.c_contiguous
        assert _is_frame(face.image, 2)
        np.testing.assert_allclose(face.image[18, 4], (255, 0, 0), atol=12)
        np.testing.assert_allclose(face.points_image, POINTS + 3, atol=1e-6)
        np.testing.assert_allclose(face.box, [*(POINTS + 3).min(0), *(POINTS + 3).max(0)], atol=1e-6)

    def test_each_nth_frame(self, copy):
        faces = load(copy, "train", every=3)
        assert faces.names == ("001/000001", "001/000004", "002/000001", "002/000004", "002/000007")
        np.testing.assert_allclose(faces.points[1], POINTS + 4, atol=1e-6)
        assert [_is_frame(face.image, index) for face, index in zip(faces, (0, 3, 0, 3, 6))] == [True] * 5

    def test_frames_without_annotation_do_no_harm(self, copy):
        for number in (2, 6):
            (copy / f"001/annot/{number:06d}.pts").unlink()
        faces = load(copy, "train")
        assert faces.names[:5] == ("001/000001", "001/000003", "001/000004", "001/000005", "002/000001")
        assert _is_frame(faces[1].image, 2)
        np.testing.assert_allclose(faces.points[1], POINTS + 3, atol=1e-6)


class TestFrames:
    # MPEG-4 part 2 is what real copies hold: most of its frames are differences to the one before.
    @pytest.fixture(params=["MJPG", "XVID"])
    def video(self, request, tmp_path):
        _write_video(tmp_path / "vid.avi", 30, request.param)
        return tmp_path / "vid.avi"

    def test_in_order_the_video_is_opened_once_and_never_sought(self, video, opened):
        reader = FrameReader()
        assert all(_is_frame(reader.read(video, index), index) for index in range(30))
        assert opened[0] == ["open"]

    @pytest.mark.parametrize("miss", [0, -1, 1])
    def test_out_of_order_frames_are_those_of_stepping(self, video, opened, miss):
        reader = FrameReader()
        in_order = [reader.read(video, index) for index in range(30)]
        opened[1][0] = miss
        fresh = FrameReader()
        for index in np.random.default_rng(1).integers(0, 30, 60):
            for some in (reader, fresh):
                image = some.read(video, int(index))
                assert _is_frame(image, index)
                np.testing.assert_array_equal(image, in_order[index])

    def test_a_frame_met_before_is_sought(self, video, opened):
        reader = FrameReader()
        for index in (29, 20, 5, 6, 7, 25):
            assert _is_frame(reader.read(video, index), index)
        assert opened[0] == ["open", 20, 5, 25]

    def test_after_a_seek_that_missed_there_is_no_other(self, video, opened):
        reader = FrameReader()
        reader.read(video, 29)
        opened[1][0] = 1
        for index in (20, 5, 25):
            assert _is_frame(reader.read(video, index), index)
        assert opened[0] == ["open", 20, "open", "open"]

    def test_new_frames_are_never_counted_from_a_seek(self, video, opened):
        reader = FrameReader()
        for index in (20, 5, 21, 22):
            assert _is_frame(reader.read(video, index), index)
        assert opened[0] == ["open", 5, "open"]

    def test_videos_in_turn(self, copy):
        reader = FrameReader()
        for index in (0, 3, 1, 5):
            assert _is_frame(reader.read(copy / "001/vid.avi", index), index)
            assert _is_frame(reader.read(copy / "002/vid.avi", 5 - index), 5 - index)

    def test_a_copy_by_pickle(self, copy):
        faces = load(copy, "train")
        expected = faces[3].image
        twin = pickle.loads(pickle.dumps(faces))
        np.testing.assert_array_equal(twin[3].image, expected)
        assert twin.names == faces.names
        np.testing.assert_array_equal(faces[4].image, twin[4].image)

    def test_a_child_may_close_what_its_parent_opened(self, video):
        reader = FrameReader()
        reader.read(video, 3)
        child = multiprocessing.get_context("fork").Process(target=reader._open.clear)
        child.start()
        child.join(20)
        code = child.exitcode
        child.kill()
        assert code == 0

    def test_both_sides_of_a_fork(self, video):
        reader = FrameReader()
        for index in (0, 1, 2, 10, 4):
            reader.read(video, index)
        context = multiprocessing.get_context("fork")
        ours, theirs = context.Pipe()
        child = context.Process(target=_read_all, args=(reader, video, theirs))
        child.start()
        # Read while the child does: a shared file position would mix up the two.
        here = [_is_frame(reader.read(video, index), index) for index in range(5, 30)]
        assert ours.poll(60)
        there = ours.recv()
        child.join(60)
        assert child.exitcode == 0
        assert here == [True] * 25
        assert there == [True] * 30


def _read_all(reader, video, results):
    # OpenCV's own threads do not survive a fork; see datasets.workers.
    cv2.setNumThreads(1)
    results.send([_is_frame(reader.read(video, index), index) for index in range(29, -1, -1)])


class TestFaults:
    def _fails(self, root, error, reason, subset="train", **options):
        with pytest.raises(error, match=reason) as caught:
            load(root, subset, **options)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def test_more_annotations_than_frames(self, copy):
        write_pts(copy / "002/annot/000008.pts", POINTS)
        write_pts(copy / "002/annot/000009.pts", POINTS)
        message = self._fails(
            copy, ValueError, "the video has 7 frames, its annotation 9, the last for frame 9; restore"
        )
        assert message.startswith(str(copy / "002/vid.avi"))

    def test_more_frames_than_annotations(self, tmp_path, small):
        for name in SMALL["train"]:
            _add_video(tmp_path, name, frames=9, annotated=4)
        assert len(load(tmp_path, "train")) == 8

    def test_a_header_that_says_too_little_is_not_believed(self, copy, monkeypatch):
        monkeypatch.setattr(w300_vw._OpenVideo, "declared_count", lambda video: 2)
        assert len(load(copy, "train")) == 13

    def test_a_video_that_is_cut_short_after_its_header(self, copy):
        video = copy / "001/vid.avi"
        faces = load(copy, "train")
        data = video.read_bytes()
        frames = [at for at in range(data.index(b"movi"), len(data)) if data.startswith(b"00dc", at)]
        video.write_bytes(data[: frames[3]])
        assert _is_frame(faces[2].image, 2)
        with pytest.raises(ValueError, match=r"001/vid.avi: the video ends after 3 frames, before frame 5; restore it"):
            faces[4]
        assert _is_frame(faces[1].image, 1)

    @pytest.mark.parametrize("data", [b"", b"no video at all" * 40])
    def test_no_video(self, copy, data, capfd):
        (copy / "002/vid.avi").write_bytes(data)
        self._fails(copy, ValueError, "002/vid.avi: not a video that can be read; restore it", allow_missing=True)

    @pytest.mark.parametrize(
        ("lost", "reason"),
        [("002", "002: no such folder"), ("002/vid.avi", "002: no vid.avi"), ("002/annot", "002: no folder annot")],
    )
    def test_what_is_missing_is_named(self, copy, lost, reason):
        (copy / lost).rename(copy / "elsewhere")
        message = self._fails(copy, FileNotFoundError, rf"300VW train has 1 of 2 videos \({reason}\): complete it, or")
        assert message.startswith(str(copy))
        faces = load(copy, "train", allow_missing=True)
        assert faces.videos == ("001",)
        assert faces.expected_videos == 2
        assert faces.missing == (reason,)

    def test_nothing_at_all_is_an_error_even_if_missing_is_allowed(self, tmp_path, small):
        message = self._fails(tmp_path, FileNotFoundError, "train has 0 of 2 videos", allow_missing=True)
        assert "name the folder that holds <id>/vid.avi and <id>/annot/000001.pts" in message

    @pytest.mark.parametrize("every", [0, -2])
    def test_no_step(self, copy, every):
        self._fails(copy, ValueError, f"every {every} frames is no step", every=every)

    @pytest.mark.parametrize("name", ["mean.pts", "1.pts"])
    def test_an_annotation_of_no_frame_of_its_own(self, copy, name):
        write_pts(copy / "001/annot" / name, POINTS)
        self._fails(copy, ValueError, f"{name}: not named by the number of a frame of its own")

    def test_a_damaged_annotation(self, copy):
        write_pts(copy / "001/annot/000002.pts", POINTS[:67])
        self._fails(copy, ValueError, r"001/annot/000002.pts: .* 67 points", allow_missing=True)
        faces = load(copy, "train", keep_damaged=True)
        assert len(faces) == 13
        assert np.isnan(faces.points[1]).all()
        assert list(faces.damaged) == ["001/000002"]
        with pytest.raises(ValueError, match=r"001/annot/000002.pts: not a readable .pts file"):
            faces[1]
        assert _is_frame(faces[2].image, 2)


@pytest.mark.data
def test_real_data(face_data):
    faces = load(face_data("300vw"), "category_3", every=200, allow_missing=True)
    assert np.isfinite(faces.points).all()
    in_order = [face.image for face in faces]
    for index in range(len(faces) - 1, -1, -5):
        np.testing.assert_array_equal(faces[index].image, in_order[index])
