"""Frames of videos that are whole, broken, cut short, empty or none, each written here."""

import itertools
import re
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from datasets.markups import IBUG_68
from inference.media.display_matrix import is_mirrored
from inference.media.sources import Camera
from inference.media.time_stamps import Clock
from inference.media.video_files import VideoWriting
from inference.media.video_reader import Frame, VideoReader

RATE = 25.0


def write(path, count, size=(64, 48), code="MJPG"):
    """A video whose frame k is gray of level 10 * k."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*code), RATE, size)
    assert writer.isOpened()
    for k in range(count):
        writer.write(np.full((size[1], size[0], 3), 10 * k, np.uint8))
    writer.release()
    return path


def jpeg_starts(data):
    return [match.start() for match in re.finditer(b"\xff\xd8\xff", data)]


def levels(frames):
    return [round(frame.image.mean() / 10) for frame in frames]


def test_every_frame_with_its_number_and_time(tmp_path):
    reader = VideoReader(write(tmp_path / "a.avi", 12))
    assert (reader.rate, reader.declared) == (RATE, 12)
    frames = list(reader)
    assert levels(frames) == [frame.number for frame in frames] == list(range(12))
    np.testing.assert_allclose([frame.seconds for frame in frames], np.arange(12) / RATE, atol=1e-6)
    assert frames[0].image.shape == (48, 64, 3)
    assert (reader.broken, reader.missing, reader.faults) == ([], 0, "")


def test_what_is_before_a_colon_is_no_protocol(tmp_path, monkeypatch):
    write(tmp_path / "2024-01-01T12:30:00.avi", 3)
    monkeypatch.chdir(tmp_path)
    with open("lines", "w") as lines:
        writing = VideoWriting(Path("12:30.mp4"), lines, RATE, IBUG_68)
        for frame in VideoReader(Path("2024-01-01T12:30:00.avi")):
            writing.write(frame, [])
        writing.close()
    writing.check()
    assert levels(VideoReader(tmp_path / "12:30.mp4")) == [0, 1, 2]


def test_frames_are_rgb(tmp_path):
    writer = cv2.VideoWriter(str(tmp_path / "red.avi"), cv2.VideoWriter_fourcc(*"MJPG"), RATE, (64, 48))
    writer.write(np.full((48, 64, 3), (0, 0, 200), np.uint8))  # OpenCV's order: blue, green, red
    writer.release()
    (frame,) = VideoReader(tmp_path / "red.avi")
    red, green, blue = frame.image.mean(axis=(0, 1))
    assert red > 150 > 50 > max(green, blue)


def test_broken_frames_are_skipped_counted_and_keep_their_numbers(tmp_path):
    data = bytearray(write(tmp_path / "whole.avi", 12).read_bytes())
    starts = jpeg_starts(data)
    assert len(starts) == 12
    for k in (4, 5, 9):
        length = starts[k + 1] - starts[k] - 16  # leaves the header of the next one
        data[starts[k] : starts[k] + length] = bytes(length)
    (tmp_path / "broken.avi").write_bytes(data)
    reader = VideoReader(tmp_path / "broken.avi")
    frames = list(reader)
    assert levels(frames) == [frame.number for frame in frames] == [0, 1, 2, 3, 6, 7, 8, 10, 11]
    np.testing.assert_allclose([frame.seconds for frame in frames], [frame.number / RATE for frame in frames])
    assert (reader.broken, reader.missing) == ([4, 5, 9], 0)
    assert reader.faults == "3 could not be decoded"


def test_a_video_that_ends_early_says_so(tmp_path):
    data = write(tmp_path / "whole.avi", 12).read_bytes()
    (tmp_path / "cut.avi").write_bytes(data[: jpeg_starts(data)[7] + 50])
    reader = VideoReader(tmp_path / "cut.avi")
    assert levels(reader) == list(range(7))
    assert (reader.broken, reader.missing) == ([], 5)
    assert reader.faults == "5 of 12 are missing at its end"


def test_a_video_with_a_header_but_no_frame(tmp_path):
    data = write(tmp_path / "whole.avi", 12).read_bytes()
    (tmp_path / "header.avi").write_bytes(data[: jpeg_starts(data)[0]])
    assert list(VideoReader(tmp_path / "header.avi")) == []


@pytest.mark.parametrize("content", [b"", b"no video at all" * 50])
def test_what_is_no_video_is_refused_in_silence(tmp_path, content, capfd):
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.mp4: not a video that can be read"):
        VideoReader(tmp_path / "a.mp4")
    assert capfd.readouterr() == ("", "")


def with_matrix(path, a, b, c, d):
    """The same file with another matrix in its track's header (version 0: at byte 40)."""
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 4 + 40
    assert struct.unpack_from(">9i", data, place) == (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    struct.pack_into(">9i", data, place, a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


MATRICES = [*itertools.product((1, -1), (0,), (0,), (1, -1)), (0, 1, 1, 0), (0, -1, -1, 0), (0, 1, -1, 0)]


@pytest.mark.parametrize("entries", MATRICES)
def test_frames_are_turned_and_mirrored_as_the_file_says(tmp_path, entries):
    """x' = a x + c y, y' = b x + d y: a bright corner at the stored picture's upper left goes where that leads."""
    writer = cv2.VideoWriter(str(tmp_path / "a.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), RATE, (64, 48))
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:24, :32] = 200
    writer.write(picture)
    writer.release()
    a, b, c, d = entries
    with_matrix(tmp_path / "a.mp4", a, b, c, d)
    (frame,) = VideoReader(tmp_path / "a.mp4")
    height, width = frame.image.shape[:2]
    assert (width, height) == ((64, 48) if b == 0 else (48, 64))
    ys, xs = np.nonzero(frame.image[:, :, 0] > 100)
    corner = np.array([[a, c], [b, d]]) @ (-1, -1)  # from the middle
    np.testing.assert_array_equal(np.sign([xs.mean() - width / 2, ys.mean() - height / 2]), corner)


def test_a_damaged_header_says_nothing_of_mirrors(tmp_path):
    data = write(tmp_path / "a.mp4", 1, code="mp4v").read_bytes()
    place = data.index(b"tkhd")
    for cut in (data[: place + 20], data[: place - 4] + b"\0\0\0\7" + data[place:], b""):
        (tmp_path / "b.mp4").write_bytes(cut)
        assert not is_mirrored(tmp_path / "b.mp4")


def test_a_camera_that_is_not_there(capfd):
    with pytest.raises(OSError, match="camera 97 is not there or in use by another program"):
        VideoReader(Camera(97))
    assert capfd.readouterr() == ("", "")


class Capture:
    """A camera that answers a few frames, then nothing."""

    def __init__(self, frames):
        self.frames, self.released = list(frames), False

    def isOpened(self):
        return True

    def get(self, key):
        return {cv2.CAP_PROP_FPS: -1.0, cv2.CAP_PROP_FRAME_COUNT: -1.0}.get(key, 0.0)

    def read(self):
        frame = self.frames.pop(0) if self.frames else None
        return frame is not None, frame

    def release(self):
        self.released = True


def test_a_camera_goes_by_the_clock_and_ends_when_it_is_pulled(monkeypatch):
    picture = np.zeros((4, 6, 3), np.uint8)
    capture = Capture([picture, None, picture, picture])
    monkeypatch.setattr(cv2, "VideoCapture", lambda *text: capture)
    reader = VideoReader(Camera(0))
    frames = list(reader)
    assert [frame.number for frame in frames] == [0, 2, 3]
    seconds = [frame.seconds for frame in frames]
    assert seconds[0] == 0 <= seconds[1] <= seconds[2]
    assert (reader.rate, reader.declared, reader.broken, reader.missing) == (0, 0, [1], 0)
    reader.close()
    assert capture.released


class Scripted:
    """An open capture that shows frames at given seconds, and says what it is told of itself."""

    def __init__(self, seconds, **properties):
        self.seconds, self.shown = seconds, -1
        self.properties = {getattr(cv2, f"CAP_PROP_{key}"): value for key, value in properties.items()}

    def isOpened(self):
        return True

    def get(self, key):
        if key == cv2.CAP_PROP_POS_MSEC:
            return 1000 * self.seconds[self.shown]
        return self.properties.get(key, 0.0)

    def read(self):
        self.shown += 1
        shown = self.shown < len(self.seconds)
        return shown, np.full((48, 64, 3), self.shown, np.uint8) if shown else None

    def grab(self):
        return self.read()[0]


@pytest.mark.parametrize(
    ("stamps", "seconds"),
    [
        ([0.08, 0.12, 0.16, 0.0, 0.0], [0, 0.04, 0.08, 0.12, 0.16]),  # an AVI with B-frames
        ([-7.7e12, -7.7e12, -7.7e12, 0.0], [0, 0.04, 0.08, 0.12]),  # a raw stream: FFmpeg knows no time
        ([0.0, 0.2, 1e12, 0.5, 0.5, 0.7], [0, 0.2, 0.24, 0.5, 0.54, 0.7]),
        ([0.0, 0.2, 0.0, 0.1, 0.4], [0, 0.2, 0.24, 0.34, 0.64]),  # two recordings, joined
    ],
)
def test_times_that_are_missing_or_go_back_are_a_frame_after_the_last(tmp_path, monkeypatch, stamps, seconds):
    monkeypatch.setattr(cv2, "VideoCapture", lambda *arguments: Scripted(stamps, FPS=25.0))
    np.testing.assert_allclose([frame.seconds for frame in VideoReader(tmp_path / "a.avi")], seconds, atol=1e-9)


def test_frames_without_times_leave_time_for_broken_ones():
    clock = Clock(0.04)
    np.testing.assert_allclose([clock(0.0), clock(0.0, 3), clock(0.0)], [0, 0.12, 0.16])


UNEVEN = [0.04 * k for k in range(10)] + [0.4 + 0.2 * k for k in range(10)]  # seconds; the whole lasts 2.4


@pytest.mark.parametrize(("declared", "missing"), [(56, 0), (60, 0), (90, 70)])
def test_a_number_of_frames_that_is_guessed_from_the_length_is_no_loss(tmp_path, monkeypatch, declared, missing):
    capture = Scripted(UNEVEN, FPS=25.0, FRAME_COUNT=declared)
    monkeypatch.setattr(cv2, "VideoCapture", lambda *arguments: capture)
    reader = VideoReader(tmp_path / "a.mkv")
    assert len(list(reader)) == 20
    assert bool(reader.missing) == bool(missing)


def test_pixels_that_are_not_square_are_widened(tmp_path, monkeypatch):
    capture = Scripted([0.0, 0.04], FPS=25.0, FRAME_COUNT=2, SAR_NUM=16.0, SAR_DEN=15.0)
    monkeypatch.setattr(cv2, "VideoCapture", lambda *arguments: capture)
    reader = VideoReader(tmp_path / "a.mp4")
    assert [frame.image.shape for frame in reader] == [(48, 68, 3)] * 2  # 64 * 16 / 15
    assert reader.pixel_aspect_ratio == 16 / 15
    capture.shown, capture.properties[cv2.CAP_PROP_ORIENTATION_META] = -1, 90.0
    assert [frame.image.shape for frame in VideoReader(tmp_path / "a.mp4")] == [(51, 64, 3)] * 2  # 48 * 16 / 15


@pytest.mark.parametrize(("seconds", "frames"), [([0.04 * k for k in range(8)], 8), (UNEVEN, 60)])
def test_the_copy_lasts_as_long_as_the_video_and_plays_in_browsers(tmp_path, seconds, frames):
    with open(tmp_path / "lines", "w") as lines:
        writing = VideoWriting(tmp_path / "copy.mp4", lines, 25.0, IBUG_68)
        for k, each in enumerate(seconds):
            writing.write(Frame(k, each, np.full((48, 64, 3), 10 * k, np.uint8)), [])
        writing.close()
    writing.check()
    assert writing.frames == len(seconds)
    assert writing.codec in ("avc1", "vp09")
    copy = VideoReader(tmp_path / "copy.mp4")
    shown = levels(copy)
    assert len(shown) == frames
    assert shown[5] == 5  # at 0.2 seconds
    if frames == 60:
        assert (shown[12], shown[24], shown[59]) == (10, 12, 19)  # at 0.48, 0.96 and 2.36 seconds


def test_the_copy_skips_what_exceeds_a_minute_of_a_pause(tmp_path):
    with open(tmp_path / "lines", "w") as lines:
        writing = VideoWriting(tmp_path / "copy.mp4", lines, 1.0, IBUG_68)
        for k, each in enumerate([0.0, 1.0, 2.0, 3600.0, 3601.0, 3602.0]):
            writing.write(Frame(k, each, np.full((48, 64, 3), 10 * k, np.uint8)), [])
        writing.close()
    assert levels(VideoReader(tmp_path / "copy.mp4")) == [0, 1, *[2] * 60, 3, 4, 5]


def test_a_header_that_promises_two_billion_frames_does_not_keep_the_reader(tmp_path):
    data = bytearray(write(tmp_path / "a.avi", 3).read_bytes())
    header = data.find(b"strh") + 8 + 32  # the number of frames
    data[header : header + 4] = (2**31 - 1).to_bytes(4, "little")
    (tmp_path / "a.avi").write_bytes(data[: data.find(b"idx1")])
    reader = VideoReader(tmp_path / "a.avi")
    assert len(list(reader)) == 3
    assert reader.missing == 2**31 - 4


@pytest.mark.parametrize(
    ("properties", "text"),
    [
        ({"FRAME_WIDTH": 16_000.0, "FRAME_HEIGHT": 12_000.0}, "frames of 16000 x 12000 have more than"),
        ({"SAR_NUM": 65_535.0, "SAR_DEN": 1.0}, "its pixels are 65535 times as wide as high"),
    ],
)
def test_frames_that_would_fill_the_memory_are_refused(tmp_path, monkeypatch, properties, text):
    monkeypatch.setattr(cv2, "VideoCapture", lambda *arguments: Scripted([0.0], FPS=25.0, **properties))
    with pytest.raises(ValueError, match=rf"a\.mp4: {text}"):
        VideoReader(tmp_path / "a.mp4")


def test_a_unit_of_time_is_no_rate(tmp_path, monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", lambda *arguments: Scripted([0.0], FPS=90_000.0))
    assert VideoReader(tmp_path / "a.mkv").rate == 0


def test_a_unit_of_time_gives_way_to_the_rate_that_the_frames_show(tmp_path, monkeypatch):
    stamps = [0.0, 0.033, 0.066, 0.1, 0.133, 5.0, 5.033]  # five steps without the pause: 0.165 s
    monkeypatch.setattr(cv2, "VideoCapture", lambda *arguments: Scripted(stamps, FPS=1000.0))
    reader = VideoReader(tmp_path / "a.webm")
    assert reader.rate == 30.12
    assert len(list(reader)) == 7
