"""Reading, computing and writing of a video at the same time, each in a thread: OpenCV lets go of Python's lock."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Callable, Generator, Iterable, Iterator, TypeVar

Item = TypeVar("Item")
_END: Any = object()


def read_ahead(items: Iterable[Item], count: int = 2) -> Generator[Item, None, None]:
    """The same items and errors; `count` of them are made while one is in use, and its `close` waits for these."""
    iterator = iter(items)
    with ThreadPoolExecutor(1) as thread:
        waiting = deque(thread.submit(next, iterator, _END) for _ in range(count))
        while True:
            item = waiting.popleft().result()
            if item is _END:
                return
            waiting.append(thread.submit(next, iterator, _END))
            yield item


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
