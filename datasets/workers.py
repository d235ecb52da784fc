"""Worker processes that do not hang on OpenCV's threads and do not outlive the process that started them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Callable, Sequence, TypeVar

import cv2

Result = TypeVar("Result")


class Workers(ProcessPoolExecutor):
    """Forked processes, all of them running once this is made, that hold all that the starting process holds.

    OpenCV works in a single thread from then on, in this process too.

    Args:
        count: of processes.
        start: called in each of them before anything else.
        arguments: of `start`.
    """

    def __init__(self, count: int, start: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        # Threads do not survive a fork, and a worker that touches what is left of OpenCV's waits for them for ever.
        cv2.setNumThreads(1)
        super().__init__(count, multiprocessing.get_context("fork"), _start_worker, (os.getpid(), start, arguments))
        earlier = {child.pid for child in multiprocessing.active_children()}
        self._killed_before = out_of_memory_kills()
        self.submit(int).result()  # processes are forked at the first task: here, before the caller starts CUDA
        self._children = [child for child in multiprocessing.active_children() if child.pid not in earlier]

    def cause_of_end(self) -> str:
        """Why a worker ended before its time, after a BrokenProcessPool; the others are ended too."""
        self.shutdown()
        return explain_end([child.exitcode for child in self._children], out_of_memory_kills() - self._killed_before)


def explain_end(exit_codes: Sequence[int | None], out_of_memory: int) -> str:
    """Why a worker ended, in one line.

    Args:
        exit_codes: of all workers; a pool ends those that are left by SIGTERM.
        out_of_memory: processes that the system ended for want of memory since the workers were started.
    """
    code = next((each for each in exit_codes if each not in (None, 0, -signal.SIGTERM)), -signal.SIGTERM) or 0
    how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
    if code == -signal.SIGKILL and out_of_memory > 0:
        remedy = "the system is out of memory: use fewer --workers"
    elif code == -signal.SIGKILL:
        remedy = "nothing shows a lack of memory: go on with --resume"
    else:
        remedy = "--workers 0 shows where it happens"
    return f"a loading process was ended {how}; {remedy}"


def out_of_memory_kills(statistics: Path = Path("/proc/vmstat")) -> int:
    """Processes that the system has ended for want of memory since it started; 0 where it does not count them."""
    lines = statistics.read_text(encoding="ascii").splitlines() if statistics.is_file() else []
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


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
