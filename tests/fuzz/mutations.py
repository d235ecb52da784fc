"""Seeded changes to a valid file: its bytes, its numbers and words, the values of its JSON, its arrays."""

from __future__ import annotations

import copy
import io
import json
import re
from typing import Any, Callable, Sequence

import numpy as np

Mutate = Callable[[bytes, np.random.Generator], bytes]

NUMBERS = (
    "nan",
    "inf",
    "-inf",
    "-1",
    "0",
    "1e308",
    "-1e308",
    "1e17",
    "1e-300",
    "99999999999999999999",
    "0x10",
    "1e999",
)
TEXTS = ("", "x", "../../x", "/etc/passwd", "a\0b", "é" * 300, "\ud800", "[" * 3000, "%s{}", "\u0661")
VALUES: Sequence[Any] = (
    None,
    True,
    -1,
    0,
    1e308,
    -5,
    2**70,
    float("nan"),
    float("inf"),
    "",
    "banana",
    [],
    {},
    [[]],
    0.5,
)
VALUES = (*VALUES, ["a"], {"a": 1}, [1, 2, 3], [None], "é" * 50)
INTEGERS = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF, 2**40, 77)


def damage_bytes(data: bytes, rng: np.random.Generator) -> bytes:
    """One to four blows to the bytes."""
    changed = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        at, length = int(rng.integers(0, len(changed) + 1)), int(rng.integers(1, 17))
        blow = int(rng.integers(0, 7))
        if blow == 0:
            changed = changed[:at]
        elif blow == 1:
            del changed[at : at + length]
        elif blow == 2:
            changed[at:at] = changed[at : at + length] * int(rng.integers(1, 40))
        elif blow == 3:
            changed[at : at + length] = rng.bytes(length)
        elif blow == 4:
            width = int(rng.choice([1, 2, 4, 8]))
            place = at // width * width
            number = INTEGERS[rng.integers(len(INTEGERS))] % 256**width
            changed[place : place + width] = number.to_bytes(width, str(rng.choice(["little", "big"])))  # type: ignore
        elif blow == 5 and changed:
            changed[at % len(changed)] ^= 1 << int(rng.integers(0, 8))
        else:
            other = int(rng.integers(0, len(changed) + 1))
            changed[at : at + length] = changed[other : other + length]
    return bytes(changed)


def damage_header(data: bytes, rng: np.random.Generator) -> bytes:
    """The same within the first 200 bytes, where files describe themselves."""
    return damage_bytes(data[:200], rng) + data[200:]


def damage_text(data: bytes, rng: np.random.Generator) -> bytes:
    """Numbers and words in the place of others."""
    pattern, wrong = ((rb"-?\d[\d.e+-]*", NUMBERS), (rb"\w+", TEXTS))[int(rng.integers(0, 2))]
    found = list(re.finditer(pattern, data))
    if not found:
        return damage_bytes(data, rng)
    for chosen in sorted(rng.choice(len(found), min(len(found), int(rng.integers(1, 4))), replace=False))[::-1]:
        text = wrong[rng.integers(len(wrong))].encode("utf-8", "surrogatepass")
        data = data[: found[chosen].start()] + text + data[found[chosen].end() :]
    return data


def damage_json(data: bytes, rng: np.random.Generator) -> bytes:
    """Values of other kinds in the place of one or two, entries gone, or brackets without end."""
    value = json.loads(data)
    if rng.random() < 0.02:
        return [b"[", b'{"a":'][int(rng.integers(0, 2))] * 200_000
    for _ in range(rng.integers(1, 3)):
        value = _replaced(value, rng)
    return json.dumps(value).encode("utf-8", "surrogatepass")


def _replaced(value: Any, rng: np.random.Generator) -> Any:
    inner = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    if not inner or rng.random() < 0.1:
        return copy.deepcopy(VALUES[rng.integers(len(VALUES))])
    key = inner[rng.integers(len(inner))]
    if rng.random() < 0.1:
        del value[key]
    else:
        value[key] = _replaced(value[key], rng)
    return value


def damage_arrays(data: bytes, rng: np.random.Generator) -> bytes:
    """Arrays of an .npz that are of other shapes, types and values, or gone."""
    with np.load(io.BytesIO(data)) as stored:
        arrays = dict(stored)
    name = list(arrays)[rng.integers(len(arrays))]
    array = arrays[name]
    blow = int(rng.integers(0, 7))
    if blow == 0:
        del arrays[name]
    elif blow == 1:
        arrays[name] = array.ravel()[: int(rng.integers(0, array.size + 1))]
    elif blow == 2:
        arrays[name] = array.astype(str(rng.choice(["f2", "u1", "c8", "U4", "?", ">f8"])))
    elif blow == 3:
        arrays[name] = np.full(array.shape, float(rng.choice([0, np.nan, np.inf, 1e308, -1])))
    elif blow == 4:
        arrays[name] = array[None]
    elif blow == 5:
        arrays[name] = np.array(array.tolist(), dtype=object)
    else:
        changed = array.astype(float).ravel()
        changed[rng.integers(changed.size)] = float(rng.choice([np.nan, np.inf, 1e300, -1e300, 0]))
        arrays[name] = changed.reshape(array.shape)
    file = io.BytesIO()
    with np.errstate(all="ignore"):
        np.savez(file, **arrays)
    return file.getvalue()
