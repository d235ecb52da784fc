"""Work of a video that is done in a thread while the next one is computed: OpenCV lets go of Python's lock."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Callable, Iterator, TypeVar

Item = TypeVar("Item")


@contextmanager
def one_behind(work: Callable[..., Item]) -> Iterator[Callable[..., Item | None]]:
    """Hands out a function that starts `work` in a thread and returns what its last call made, None at first.

    An error of the work is raised by the next call, or at the end, which waits for the last one.
    """
    last: Future[Item] | None = None

    def start(*arguments: Any) -> Item | None:
        nonlocal last
        before = last.result() if last else None
        last = thread.submit(work, *arguments)
        return before

    with ThreadPoolExecutor(1) as thread:
        yield start
        if last:
            last.result()
