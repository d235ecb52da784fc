"""Pictures kept in memory, so that decoding or rendering is paid once and not in every epoch."""

from __future__ import annotations

from concurrent.futures.process import BrokenProcessPool
from typing import Callable, Iterable, Sequence

import numpy as np

from datasets.faces import Face, FaceDataset
from datasets.workers import Workers

Progress = Callable[[Iterable[Face], int], Iterable[Face]]


class CachedFaces:
    """The faces of a data set, read or rendered once.

    Args:
        dataset: whose faces are kept; the whole of it must fit into memory (a 300-W photo takes about half a megabyte).
        workers: processes that read; 0 reads in this process.
        progress: wraps (faces, count), to show a bar.
    """

    def __init__(self, dataset: FaceDataset, workers: int = 0, progress: Progress = lambda faces, count: faces) -> None:
        self.markup = dataset.markup
        self.names: Sequence[str] = dataset.names
        self._faces = list(progress(_read_all(dataset, workers), len(dataset)))

    def __len__(self) -> int:
        return len(self._faces)

    @property
    def points(self) -> np.ndarray:
        """Landmarks (N, K, 2) in pixels of their images."""
        return np.stack([face.points_image for face in self._faces])

    def __getitem__(self, index: int) -> Face:
        """The face, its image shared with the cache: do not write into it."""
        return self._faces[index]


_worker_dataset: FaceDataset | None = None


def _start_worker(dataset: FaceDataset) -> None:
    global _worker_dataset
    _worker_dataset = dataset


def _read_in_worker(index: int) -> Face:
    assert _worker_dataset is not None
    return _worker_dataset[index]


def _read_all(dataset: FaceDataset, workers: int) -> Iterable[Face]:
    if workers == 0:
        for index in range(len(dataset)):
            yield dataset[index]
        return
    with Workers(workers, _start_worker, (dataset,)) as pool:
        try:
            yield from pool.map(_read_in_worker, range(len(dataset)), chunksize=16)
        except BrokenProcessPool as error:
            raise OSError(pool.cause_of_end()) from error
