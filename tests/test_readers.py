import io
import json
import math
import zipfile

import numpy as np
import pytest

from common import readers


def refuses(path, text, read=readers.read_json, **settings):
    with pytest.raises(ValueError, match=text) as caught:
        read(path, "copy it again", **settings)
    assert str(path) in str(caught.value)
    assert "copy it again" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "not JSON"),
        (b"{]", "not JSON"),
        (b'"text"', "a text, not an object"),
        (b"[1]", "a list, not an object"),
        (b"null", "null, not an object"),
        (b"\xff\xfe{}", "not UTF-8"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a": ' * 200_000, "nested too deeply"),
        (b'{"a": 1%s}' % (b"0" * 5000), "5001 digits"),
        (b'{"a": 1, "b": 2, "a": 3}', "'a' stands in it twice"),
    ],
)
def test_json_that_is_none_is_refused_by_name_and_remedy(tmp_path, content, text):
    (tmp_path / "a.json").write_bytes(content)
    refuses(tmp_path / "a.json", text)


def test_json_may_start_with_a_byte_order_mark(tmp_path):
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"a": [1, 2.5]}')
    assert readers.read_json(tmp_path / "a.json") == {"a": [1, 2.5]}


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file; look elsewhere"):
        readers.read_json(tmp_path / "none.json", "look elsewhere")
    refuses(tmp_path, "not a file")


def test_lines_of_json_name_the_bad_line(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"a": 1}\n{"a": 2}\n')
    assert readers.read_json_lines(path) == [{"a": 1}, {"a": 2}]
    path.write_text('{"a": 1}\n[2]\n')
    with pytest.raises(ValueError, match="line 2: it holds a list"):
        readers.read_json_lines(path)


@pytest.mark.parametrize(
    ("value", "kind", "fits"),
    [
        (3, int, True),
        (True, int, False),
        (3, float, True),
        (math.nan, float, False),
        (math.inf, float, False),
        ("3", float, False),
        (None, str, False),
        ([], list, True),
        ({}, list, False),
    ],
)
def test_entries_of_json_are_of_their_kind(value, kind, fits):
    if fits:
        assert readers.entry({"a": value}, "a", kind, "a.json") == value
    else:
        with pytest.raises(ValueError, match=r"a\.json: its entry 'a' is .*, not"):
            readers.entry({"a": value}, "a", kind, "a.json")
    with pytest.raises(ValueError, match="'b' is missing"):
        readers.entry({"a": value}, "b", kind, "a.json")


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(6, dtype=np.int16).reshape(2, 3)),
        np.arange(3, dtype=">f4"),
        np.array([True, False]),
        np.array(2.5, np.float16),
        np.zeros((0, 4)),
    ],
)
def test_arrays_are_read_as_numpy_reads_them(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "a.npz", a=array, b=array)
    read = [readers.read_npy(tmp_path / "a.npy"), readers.read_npz(tmp_path / "a.npz")["b"]]
    for each in read:
        np.testing.assert_array_equal(each, array)
        assert each.dtype == array.dtype.newbyteorder("=")


def with_header(**changes):
    """A .npy of two float64 numbers whose header says something else."""
    header = {"descr": "<f8", "fortran_order": False, "shape": (2,), **changes}
    text = repr(header).encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(16)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        npy(np.zeros(2))[:-1],
        npy(np.zeros(2)) + b"0",
        with_header(shape=(2**40, 2**20)),
        with_header(shape=(-2,)),
        with_header(shape=2),
        with_header(shape=(1,) * 40),
        with_header(descr="|O"),
        with_header(descr="<U4"),
        with_header(descr="nonsense"),
        with_header(descr=[("a", "<f8")]),
        with_header(fortran_order=None),
        b"\x93NUMPY\x01\x00\x10\x27" + b"[" * 10_000,
    ],
)
def test_arrays_that_are_none_are_refused_before_memory_is_taken(tmp_path, content):
    (tmp_path / "a.npy").write_bytes(content)
    refuses(tmp_path / "a.npy", "not a readable", readers.read_npy)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", content)
    refuses(tmp_path / "a.npz", "not a readable", readers.read_npz)


def test_pickles_in_arrays_are_not_run(tmp_path):
    class Payload:
        def __reduce__(self):
            return (tmp_path / "ran").write_text, ("",)

    np.savez(tmp_path / "a.npz", a=np.array([Payload()], dtype=object))
    refuses(tmp_path / "a.npz", "not numbers", readers.read_npz)
    assert not (tmp_path / "ran").exists()


def test_an_npz_that_inflates_is_refused(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros(10_000_000))
    refuses(tmp_path / "a.npz", "inflate", readers.read_npz)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_npz_is_compressed_as_numpy_does_it(tmp_path, method):
    """A damaged LZMA stream raises an error of its own."""
    with zipfile.ZipFile(tmp_path / "a.npz", "w", method) as archive:
        archive.writestr("a.npy", npy(np.zeros(9)))
    refuses(tmp_path / "a.npz", "compressed as NumPy", readers.read_npz)


def test_shapes_are_checked(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.zeros((3, 2)))
    assert readers.read_npz(tmp_path / "a.npz", shapes={"a": (None, 2)})["a"].shape == (3, 2)
    refuses(tmp_path / "a.npz", r"'a' is \(3, 2\), not \(n, 3\)", readers.read_npz, shapes={"a": (None, 3)})
    refuses(tmp_path / "a.npz", "no array 'b'", readers.read_npz, shapes={"b": (2,)})


def test_what_python_writes_is_read(tmp_path):
    """Infinity stands in checkpoints of runs that have not been validated yet."""
    (tmp_path / "a.json").write_text(json.dumps({"best": math.inf}))
    assert readers.read_json(tmp_path / "a.json") == {"best": math.inf}
