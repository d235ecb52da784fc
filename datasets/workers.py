"""Worker processes that do not hang on OpenCV's threads and do not outlive the process that started them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from typing import Any, Callable, TypeVar

import cv2

Result = TypeVar("Result")


def start_workers(workers: int, start: Callable[..., None], arguments: tuple[Any, ...]) -> ProcessPoolExecutor:
    """Processes that hold all that this one holds, without copying it.

    OpenCV works in a single thread from then on, in this process too.

    Args:
        workers: how many.
        start: called in each of them before anything else.
        arguments: of `start`.
    """
    # Threads do not survive a fork, and a worker that touches what is left of OpenCV's waits for them for ever.
    cv2.setNumThreads(1)
    return ProcessPoolExecutor(
        workers, multiprocessing.get_context("fork"), _start_worker, (os.getpid(), start, arguments)
    )


def _start_worker(parent: int, start: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    follow(parent)
    start(*arguments)


def follow(parent: int) -> None:
    """Has this process end with its parent, and by nothing else: Ctrl-C in a terminal reaches them both.

    A killed parent cannot end it, so it looks for itself whether the parent is still there.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def run_alone(function: Callable[..., Result], *arguments: Any) -> Result:
    """Calls a function of a module in a new process that does nothing else, and that ends where this one is stopped.

    Raises:
        BrokenProcessPool: the system ended the process.
    """
    pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), follow, (os.getpid(),))
    # Ctrl-C in a terminal reaches the new process, too, which is deaf to it from its start.
    masked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        pending = pool.submit(function, *arguments)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, masked)
    with pool:
        try:
            return pending.result()
        except KeyboardInterrupt:
            # Its result is not waited for.
            for process in list((pool._processes or {}).values()):
                process.kill()
            raise


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
