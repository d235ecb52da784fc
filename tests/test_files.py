"""The one writer: no reader and no second writer ever meets half a file or half a set."""

import os
import stat
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from common.files import write_set, write_text, write_whole


def write_often(path, letter):
    for _ in range(60):
        write_text(path, letter * 300_000)
        text = Path(path).read_text(encoding="utf-8")
        if text not in ("a" * 300_000, "b" * 300_000):
            return f"{len(text)} characters of {sorted(set(text))}"
    return ""


def test_two_processes_write_one_path(tmp_path):
    path = tmp_path / "state"
    with ProcessPoolExecutor(2) as pool:
        assert list(pool.map(write_often, [path, path], "ab")) == ["", ""]
    assert os.listdir(tmp_path) == ["state"]


def test_others_may_read_what_the_umask_lets_them(tmp_path):
    before = os.umask(0o022)
    try:
        write_text(tmp_path / "a", "text")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o644


def test_a_failure_of_any_kind_leaves_the_old_file_alone(tmp_path):
    write_text(tmp_path / "a", "old")

    def fail(part):
        Path(part).write_text("half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_whole(tmp_path / "a", fail)
    assert os.listdir(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text() == "old"


def test_no_file_of_a_set_appears_before_all_are_on_the_disk(tmp_path, monkeypatch):
    write_set(tmp_path / "out", {"a": b"1", "b": b"1"})
    flushed = []

    def full_at_the_second(descriptor):
        flushed.append(descriptor)
        if len(flushed) == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_at_the_second)
    with pytest.raises(OSError, match=r"cannot write .*out: No space left on device; free the space"):
        write_set(tmp_path / "out", {"a": b"2", "b": b"2"})
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == {"a": b"1", "b": b"1"}


def test_a_file_in_the_way_of_a_folder_stays(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OSError, match="cannot create the folder .*out: File exists"):
        write_set(tmp_path / "out", {"a": b"b"})
    assert (tmp_path / "out").read_text() == "mine"
