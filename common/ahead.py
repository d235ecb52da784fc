"""Items made in a thread while others are in use."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generator, Iterable, TypeVar

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
