"""Our reader of MATLAB files against SciPy's, on what SciPy writes."""

import numpy as np
import pytest
import scipy.io

from datasets.mat_files import read_fields

CELLS = np.empty((2, 2), object)
CELLS[:] = [["a", np.arange(3.0)], [np.array([[1]], np.uint8), "longer"]]
FIELDS = {
    "matrix": np.arange(6.0).reshape(2, 3) / 7,
    "cube": np.arange(24, dtype=np.int16).reshape(2, 3, 4),
    "whole": np.array([[-3, 5, 70000]], np.int32),
    "large": np.array([[2**60]], np.uint64),
    "single": np.float32([[1.5, -2.25]]),
    "truth": np.array([[True, False]]),
    "empty": np.zeros((0, 4)),
    "text": "photo é.jpg",
    "texts": np.array(["one", "three"]),
    "cells": CELLS,
}


def same(ours, theirs):
    if ours.dtype == object:
        return ours.shape == theirs.shape and all(map(same, ours.ravel(), theirs.ravel()))
    return ours.shape == theirs.shape and ours.dtype.kind == theirs.dtype.kind and bool((ours == theirs).all())


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("name", FIELDS)
def test_a_field_is_read_as_scipy_reads_it(tmp_path, name, compressed):
    scipy.io.savemat(tmp_path / "a.mat", FIELDS, do_compression=compressed)
    assert same(read_fields(tmp_path / "a.mat", [name])[name], scipy.io.loadmat(tmp_path / "a.mat")[name])


def test_a_file_of_the_other_byte_order_is_read(tmp_path):
    """Written by hand: the version, the flags, the shape, the name, two numbers."""
    header = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x01\x00MI"
    body = b"".join(np.array(words, ">i4").tobytes() for words in ([6, 8, 6, 0], [5, 8, 1, 2], [(1 << 16) | 1]))
    body += b"a\0\0\0" + np.array([9, 16], ">i4").tobytes() + np.array([1.5, -2.0], ">f8").tobytes()
    (tmp_path / "a.mat").write_bytes(header + np.array([14, len(body)], ">i4").tobytes() + body)
    np.testing.assert_array_equal(read_fields(tmp_path / "a.mat", ["a"])["a"], [[1.5, -2.0]])


def test_a_text_of_more_rows_than_characters_is_refused(tmp_path):
    header = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x01\x00MI"
    body = b"".join(np.array(words, ">i4").tobytes() for words in ([6, 8, 4, 0], [5, 8, 2**31 - 1, 1], [(1 << 16) | 1]))
    body += b"a\0\0\0" + np.array([(1 << 16) | 16], ">i4").tobytes() + b"x\0\0\0"
    (tmp_path / "a.mat").write_bytes(header + np.array([14, len(body)], ">i4").tobytes() + body)
    with pytest.raises(ValueError, match="2147483647 rows of a text of 1 characters"):
        read_fields(tmp_path / "a.mat", ["a"])
