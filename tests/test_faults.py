"""Kills, full disks and two processes at once: nothing is lost, nothing stands half written, and one line says why."""

import errno
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import predict
from common import cli, files
from common.files import LOCK, exclusive, staging, sweep, write_bytes
from datasets import pts_folder
from datasets.images import write_image
from datasets.markups import IBUG_68
from datasets.pts_files import write_pts
from inference.landmark_detector import LocatedFace
from inference.media.output_folder import OutputFolder
from inference.media.photo_files import PhotoFiles
from tools import label_faces

ROOT = Path(__file__).resolve().parent.parent
PHOTO = np.full((40, 50, 3), 90, np.uint8)
POINTS = np.stack([np.linspace(5, 45, 68), 20 + 10 * np.sin(np.arange(68))], axis=1)


def child(work):
    """Forks a process that runs `work` and nothing else; returns its number."""
    process = os.fork()
    if process:
        return process
    try:
        work()
    except BaseException:
        os._exit(1)
    os._exit(0)


def outcome(process):
    """The exit code of a child, or minus the signal that ended it."""
    status = os.waitpid(process, 0)[1]
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def killed_at_move(number):
    """Has this process killed before it moves its file of this number to its place."""
    moved, replace = [], os.replace

    def move(source, target):
        moved.append(target)
        if len(moved) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)

    files.os.replace = move


def test_two_processes_that_write_one_file_never_mix(tmp_path):
    path, texts = tmp_path / "a", [bytes([letter]) * 200_000 for letter in b"ab"]
    write_bytes(path, texts[0])
    stop = time.monotonic() + 1.0

    def write(text):
        while time.monotonic() < stop:
            write_bytes(path, text)

    writers = [child(lambda text=text: write(text)) for text in texts]
    read = 0
    while time.monotonic() < stop:
        assert path.read_bytes() in texts
        read += 1
    assert [outcome(writer) for writer in writers] == [0, 0]
    assert read > 10
    assert [each.name for each in tmp_path.iterdir()] == ["a"]


def test_sets_of_files_of_two_processes_do_not_mix(tmp_path):
    """The first process takes its time between two files, in which the second would write both of its own."""

    def write_slowly():
        replace = os.replace
        files.os.replace = lambda source, target: (replace(source, target), time.sleep(0.3))
        files.write_set(tmp_path, {"a": b"1", "b": b"1"})

    slow = child(write_slowly)
    while not (tmp_path / "a").exists():
        time.sleep(0.01)
    fast = child(lambda: files.write_set(tmp_path, {"a": b"2", "b": b"2"}))
    assert (outcome(slow), outcome(fast)) == (0, 0)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_folder_is_one_processs_at_a_time_and_free_once_that_is_killed(tmp_path):
    ready, holds = os.pipe()

    def hold():
        with exclusive(tmp_path, "wait"):
            os.write(holds, b"1")
            time.sleep(60)

    holder = child(hold)
    os.read(ready, 1)
    with pytest.raises(ValueError, match=rf"is in use by process {holder}: wait$"), exclusive(tmp_path, "wait"):
        pass
    os.kill(holder, signal.SIGKILL)
    assert outcome(holder) == -signal.SIGKILL
    with exclusive(tmp_path, "wait"):
        pass
    assert not list(tmp_path.iterdir())


def test_of_two_predictions_into_one_folder_only_parts_go_side_by_side(tmp_path, capsys):
    write_image(tmp_path / "a.png", PHOTO)
    (tmp_path / "out").mkdir()
    text = [str(tmp_path / "a.png"), "--out", str(tmp_path / "out"), "--detector", "whole", "--gpus", "none"]
    ready, holds = os.pipe()

    def hold():
        with exclusive(tmp_path / "out", "wait"):
            os.write(holds, b"1")
            time.sleep(60)

    holder = child(hold)
    os.read(ready, 1)
    with pytest.raises(ValueError, match=rf"out is in use by process {holder}: wait for it to end, or name another"):
        predict.main(text)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [LOCK]
    assert predict.main([*text, "--shard", "1/2"]) == 0
    os.kill(holder, signal.SIGKILL)
    assert outcome(holder) == -signal.SIGKILL


def test_a_lock_that_is_a_link_empties_no_other_file(tmp_path):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / LOCK).symlink_to(tmp_path / "mine")
    with pytest.raises(OSError, match=LOCK), exclusive(tmp_path / "run", "wait"):
        pass
    assert (tmp_path / "mine").read_text() == "mine"


def test_labels_of_two_processes_do_not_meet_in_one_folder(photos, tmp_path):
    ready, holds = os.pipe()

    def hold():
        with exclusive(cli.output_folder(tmp_path / "out"), "wait"):
            os.write(holds, b"1")
            time.sleep(60)

    holder = child(hold)
    os.read(ready, 1)
    with pytest.raises(
        ValueError, match=rf"out is in use by process {holder}: wait for it to end, or name another --out"
    ):
        label_faces.main(["--data", str(tmp_path / "photos"), "--out", str(tmp_path / "out")])
    os.kill(holder, signal.SIGKILL)
    assert outcome(holder) == -signal.SIGKILL


def test_what_a_killed_process_left_is_swept_and_what_a_living_one_makes_is_not(tmp_path):
    def leave():
        with staging(tmp_path, "a"):
            os.kill(os.getpid(), signal.SIGKILL)

    assert outcome(child(leave)) == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 1
    (tmp_path / ".mine.part").mkdir()
    with staging(tmp_path, "a") as staged:
        sweep(tmp_path)
        assert sorted(tmp_path.iterdir()) == sorted([staged, tmp_path / ".mine.part"])


def face(shift=0.0):
    return LocatedFace(np.array([0.0, 0.0, 40.0, 30.0]), POINTS + shift, 1.0)


def write_photo(folder, faces, **settings):
    output = OutputFolder(folder, **settings)
    output.check([Path("a.jpg")])
    PhotoFiles(output, {"model": "none"}, IBUG_68).write(Path("a.jpg"), PHOTO, faces)


@pytest.mark.parametrize("move", range(1, 9))
@pytest.mark.parametrize("earlier", [0, 3])
def test_a_photos_files_after_a_kill_are_known_and_completed(tmp_path, move, earlier):
    """Two faces in the place of none or three.

    The moves are of the picture and two .pts aside, then of the list of files, and to their places of the picture, the
    .pts and the JSON.
    """
    if earlier:
        write_photo(tmp_path, [face()] * earlier)

    def write_and_die():
        killed_at_move(move)
        write_photo(tmp_path, [face(1.0)] * 2, overwrite=True)

    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert outcome(child(write_and_die)) == -signal.SIGKILL
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert set(before) <= set(after)  # the old ones go last
    assert after == before or not OutputFolder(tmp_path).is_complete("a")
    cli.output_folder(tmp_path)
    write_photo(tmp_path, [face(1.0)] * 2, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.png", "a_1.pts", "a_2.pts"]
    assert OutputFolder(tmp_path).is_complete("a")


def test_going_on_leaves_complete_photos_alone_and_foreign_files_too(tmp_path):
    write_photo(tmp_path, [face()])
    stamp = (tmp_path / "a.json").stat().st_mtime_ns
    OutputFolder(tmp_path, resume=True).check([Path("a.jpg")])
    assert (tmp_path / "a.json").stat().st_mtime_ns == stamp
    (tmp_path / "b.png").write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"b\.png is in the way"):
        OutputFolder(tmp_path, resume=True).check([Path("b.jpg")])


def limited(size, work):
    """Runs `work` in a process whose files may have so many bytes: the disk is full. Returns its error's text."""
    reader, writer = os.pipe()

    def run():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        try:
            work()
        except OSError as error:
            os.write(writer, str(error).encode())

    assert outcome(child(run)) == 0
    os.close(writer)
    with os.fdopen(reader) as text:
        return text.read()


def test_a_full_disk_leaves_the_old_file_and_names_the_new_one(tmp_path):
    path = tmp_path / "a.bin"
    write_bytes(path, b"old")
    said = limited(1000, lambda: write_bytes(path, bytes(5000)))
    assert said == f"cannot write {path}: {os.strerror(errno.EFBIG)}; free the space or name another folder"
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["a.bin"]


def test_a_full_disk_is_told_once_where_files_are_made_aside(tmp_path):
    big = np.random.default_rng(0).integers(0, 256, (90, 90, 3), np.uint8)

    def write():
        PhotoFiles(OutputFolder(tmp_path), {"model": "none"}, IBUG_68).write(Path("a.jpg"), big, [face()])

    said = limited(1000, write)
    assert said == (
        f"cannot write the results of a.jpg to {tmp_path}: {os.strerror(errno.EFBIG)}; free the space or name another "
        "--out"
    )
    assert not list(tmp_path.iterdir())


@pytest.fixture
def photos(tmp_path):
    """Two small photos and one of 300 kB, with points."""
    folder = tmp_path / "photos"
    noise = np.random.default_rng(0).integers(0, 256, (320, 320, 3), np.uint8)
    for name, image in (("a", PHOTO), ("b", noise), ("c", PHOTO)):
        folder.mkdir(exist_ok=True)
        write_image(folder / f"{name}.png", image)
        write_pts(folder / f"{name}.pts", POINTS)
    return pts_folder.load(folder)


def test_labels_on_a_full_disk_name_the_target_and_are_completed_later(photos, tmp_path):
    out, settings = tmp_path / "out", {"models": ["none"], "copies": 1}
    out.mkdir()
    label_faces.start_or_go_on(out, settings)
    points = np.stack([POINTS] * 3)
    said = limited(100_000, lambda: label_faces.write_labels(photos, points, out))
    assert said.startswith(f"cannot write {out / 'b.png'}: ")
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "a.pts", "labels.json"]
    label_faces.start_or_go_on(out, settings)
    with pytest.raises(ValueError, match="is not empty"):
        label_faces.start_or_go_on(out, {**settings, "copies": 2})
    assert label_faces.write_labels(photos.subset([1, 2]), points[1:], out) == 2
    assert sorted(pts_folder.load(out).names) == ["a", "b", "c"]


ALONE = """
import os, sys, time
from common import cli
from datasets.workers import run_alone
def wait(path):
    with open(path, "w") as file:
        file.write(str(os.getpid()))
    time.sleep(60)
if __name__ == "__main__":
    cli.run(lambda: run_alone(wait, sys.argv[1]))
"""


@pytest.mark.parametrize(
    ("stop", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_a_command_that_is_stopped_leaves_no_process_of_its_own(tmp_path, stop, code):
    script, written = tmp_path / "alone.py", tmp_path / "process"
    script.write_text(ALONE)
    settings = {**os.environ, "PYTHONPATH": str(ROOT)}
    started = subprocess.Popen(
        [sys.executable, script, written], env=settings, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while not (written.exists() and written.read_text()):
        assert started.poll() is None
        time.sleep(0.05)
    # Ctrl-C reaches all processes of the terminal; the other signals the command alone.
    (os.killpg if stop == signal.SIGINT else os.kill)(started.pid, stop)
    _, errors = started.communicate(timeout=30)
    assert started.returncode == code
    assert "Traceback" not in errors
    process = Path("/proc") / written.read_text()
    deadline = time.monotonic() + 10
    while process.exists() and "State:\tZ" not in (process / "status").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
