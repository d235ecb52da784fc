"""Memory through which worker processes hand over arrays, in place of a pipe that copies each of them four times."""

from __future__ import annotations

import mmap
import weakref
from collections import deque
from typing import NamedTuple, Sequence

import numpy as np

_ALIGNMENT = 64  # bytes


class Layout(NamedTuple):
    """Shape and type of arrays that lie one behind the other."""

    shapes: Sequence[tuple[int, ...]]
    types: Sequence[str]

    @classmethod
    def of(cls, arrays: Sequence[np.ndarray]) -> Layout:
        """That of given arrays."""
        return cls([array.shape for array in arrays], [array.dtype.str for array in arrays])

    @property
    def size(self) -> int:
        """Bytes of them all."""
        return sum(_aligned(int(np.prod(shape)) * np.dtype(kind).itemsize) for shape, kind in zip(*self))

    def arrays(self, memory: np.ndarray) -> list[np.ndarray]:
        """The arrays in memory (bytes,) uint8, which they keep in use."""
        found, start = [], 0
        for shape, kind in zip(*self):
            length = int(np.prod(shape)) * np.dtype(kind).itemsize
            found.append(memory[start : start + length].view(kind).reshape(shape))
            start += _aligned(length)
        return found


class Room(NamedTuple):
    """A part of the memory: its number, and (bytes,) uint8, free again once nothing refers to it any more."""

    number: int
    memory: np.ndarray


class SharedMemory:
    """Rooms of one size, shared with the processes that are forked afterwards.

    The memory has no name, so the system frees it with the last of these processes, even if that is killed.

    Args:
        rooms: how many.
        size: of each in bytes.
    """

    def __init__(self, rooms: int, size: int) -> None:
        self._memories = [mmap.mmap(-1, max(size, 1)) for _ in range(rooms)]
        self._free = deque(range(rooms))

    def take(self) -> Room | None:
        """A room that nothing refers to, if there is one."""
        try:
            number = self._free.popleft()
        except IndexError:
            return None
        room = Room(number, np.frombuffer(self._memories[number], np.uint8))
        weakref.finalize(room.memory, self._free.append, number).atexit = False
        return room

    def write(self, number: int, arrays: Sequence[np.ndarray]) -> Layout | None:
        """Copies arrays into the room that another process took; None if they are too large for it."""
        layout = Layout.of(arrays)
        if layout.size > len(self._memories[number]):
            return None
        for place, array in zip(layout.arrays(np.frombuffer(self._memories[number], np.uint8)), arrays):
            place[...] = array
        return layout


def _aligned(length: int) -> int:
    return -(-length // _ALIGNMENT) * _ALIGNMENT
