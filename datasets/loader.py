"""Batches of random training crops, made by worker processes, the same ones whatever the number of workers.

Crop number i of epoch e draws from a generator seeded with (seed, e, i), so neither the number of workers nor a restart
at epoch e changes a single byte.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from typing import Callable, Iterator, NamedTuple, Sequence, Union

import numpy as np

from common.shards import part_start
from datasets.faces import Face, FaceDataset
from datasets.shared_memory import Layout, Room, SharedMemory
from datasets.workers import Workers

Transform = Callable[[Face, np.random.Generator], "tuple[np.ndarray, ...]"]


class Batch(NamedTuple):
    """crops (N, S, S, 3) uint8 and points_crop (N, K, 2) float32, in pixels of the crop."""

    crops: np.ndarray
    points_crop: np.ndarray


USED_AT_ONCE = 3  # batches that whoever trains may hold while the workers make others


class UnfinishedBatch(NamedTuple):
    """A batch whose pixels are still to be changed, by looks (N, LOOK_LENGTH) of `datasets.augment`."""

    crops: np.ndarray
    points_crop: np.ndarray
    looks: np.ndarray


AnyBatch = Union[Batch, UnfinishedBatch]


class Part(NamedTuple):
    """The faces of one batch or of a worker's part of it, and where in its epoch they start."""

    seed: int
    epoch: int
    start: int
    indices: np.ndarray


class Cut(NamedTuple):
    """How batches are divided among the devices of all workers that train together, as evenly as can be.

    Attributes:
        rank: of this worker, from 0.
        workers: that train together.
        devices: of each worker.
    """

    rank: int = 0
    workers: int = 1
    devices: int = 1

    def of(self, size: int) -> slice:
        """This worker's samples in a batch of this size; the first ones are the first worker's."""
        places = self.rank * self.devices, (self.rank + 1) * self.devices
        return slice(*(part_start(size, self.workers * self.devices, place) for place in places))


_worker_source: tuple[FaceDataset, Transform, SharedMemory] | None = None


def _start_worker(dataset: FaceDataset, transform: Transform, memory: SharedMemory) -> None:
    global _worker_source
    _worker_source = (dataset, transform, memory)


def _make_in_worker(part: Part, room: int | None) -> AnyBatch | Layout:
    """Where a batch lies in its room, or the batch itself where it has none."""
    assert _worker_source is not None
    dataset, transform, memory = _worker_source
    batch = make_batch(dataset, transform, part)
    return (None if room is None else memory.write(room, batch)) or batch


def make_batch(dataset: FaceDataset, transform: Transform, part: Part) -> AnyBatch:
    """The crops of one part of an epoch, which may have none."""
    if not len(part.indices):
        return Batch(np.empty(0, np.uint8), np.empty(0, np.float32))
    seeds = ((part.seed, part.epoch, part.start + i) for i in range(len(part.indices)))
    made = [transform(dataset[int(i)], np.random.default_rng(seed)) for i, seed in zip(part.indices, seeds)]
    return _named([np.stack(each) for each in zip(*made)])


def _named(arrays: Sequence[np.ndarray]) -> AnyBatch:
    return Batch(*arrays) if len(arrays) == len(Batch._fields) else UnfinishedBatch(*arrays)


class Loader:
    """Shuffled batches of one epoch after another; a last, smaller batch is kept.

    Args:
        dataset: where the faces come from.
        transform: makes (crop, points_crop) of a face with the generator it is given, and a look where it leaves that.
        batch_size: crops in a batch.
        seed: of the order and of every crop.
        workers: processes that make the batches; 0 makes them in this process.
        order: indices of the faces of one epoch, repeats allowed; every face once by default.
        cut: makes only this worker's part of each batch, whose crops are those that one worker alone would make; by
            default there is one.
    """

    def __init__(
        self,
        dataset: FaceDataset,
        transform: Transform,
        batch_size: int,
        seed: int = 0,
        workers: int = 0,
        order: np.ndarray | None = None,
        cut: Cut | None = None,
    ) -> None:
        self._cut = cut or Cut()
        self._source = (dataset, transform)
        self._batch_size, self._seed, self._workers = batch_size, seed, workers
        self._order = np.arange(len(dataset)) if order is None else np.asarray(order)
        self._pool: tuple[Workers, SharedMemory] | None = None
        if len(self._order) == 0:
            raise ValueError("the training data holds no face: check the folder and the subset")

    def __len__(self) -> int:
        """Batches in an epoch."""
        return -(-len(self._order) // self._batch_size)

    @property
    def samples(self) -> int:
        """Crops in an epoch."""
        return len(self._order)

    def epoch(self, epoch: int) -> Iterator[AnyBatch]:
        """The batches of one epoch, in the order that (seed, epoch) sets."""
        order = np.random.default_rng((self._seed, epoch)).permutation(self._order)
        parts = []
        for start in range(0, len(order), self._batch_size):
            batch = order[start : start + self._batch_size]
            own = self._cut.of(len(batch))
            parts.append(Part(self._seed, epoch, start + own.start, batch[own]))
        if self._workers == 0:
            return (make_batch(*self._source, part) for part in parts)
        return self._from_workers(parts)

    def _started(self) -> tuple[Workers, SharedMemory]:
        if self._pool is None:
            first = make_batch(*self._source, Part(self._seed, 0, 0, self._order[:1]))
            size = Layout.of([np.broadcast_to(array, (self._batch_size, *array.shape[1:])) for array in first]).size
            memory = SharedMemory(self._ahead + USED_AT_ONCE, size)
            self._pool = Workers(self._workers, _start_worker, (*self._source, memory)), memory
        return self._pool

    @property
    def _ahead(self) -> int:
        """Batches that workers make ahead."""
        return 2 * self._workers + 2

    def close(self) -> None:
        """Ends the workers."""
        if self._pool is not None:
            self._pool[0].shutdown()
            self._pool = None

    def __enter__(self) -> Loader:
        """Starts the workers: enter before CUDA is started, which a forked process cannot use."""
        if self._workers:
            self._started()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _from_workers(self, parts: list[Part]) -> Iterator[AnyBatch]:
        pool, memory = self._started()
        waiting: deque[_Coming] = deque()
        remaining = iter(parts)
        try:
            while True:
                while len(waiting) < self._ahead:
                    part = next(remaining, None)
                    if part is None:
                        break
                    waiting.append(_submit(pool, part, memory.take()))
                if not waiting:
                    return
                yield _received(waiting.popleft())
        except BrokenProcessPool as error:
            raise OSError(pool.cause_of_end()) from error
        finally:
            for coming in waiting:
                coming.future.cancel()


class _Coming(NamedTuple):
    """A batch that a worker makes, and its room if one was free."""

    future: Future[AnyBatch | Layout]
    room: Room | None


def _submit(pool: Workers, part: Part, room: Room | None) -> _Coming:
    future = pool.submit(_make_in_worker, part, room and room.number)
    # Holds the room until the worker is done, even if nobody waits for the batch any more.
    future.add_done_callback(lambda _, room=room: None)  # type: ignore[misc]
    return _Coming(future, room)


def _received(coming: _Coming) -> AnyBatch:
    """The batch that a worker made; its arrays hold its room."""
    made = coming.future.result()
    if not isinstance(made, Layout):
        return made
    assert coming.room is not None
    return _named(made.arrays(coming.room.memory))
