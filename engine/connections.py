"""Connections between processes: messages, and a pulse that shows when one of them is gone."""

from __future__ import annotations

import queue
import selectors
import socket
import struct
import threading
from time import monotonic
from typing import Any, Callable, Mapping

PULSE_SECONDS, SILENCE_SECONDS = 1.0, 30.0
GRACE_SECONDS = 3.0  # for a process that ends by itself, for the same cause as the one that is gone
_HEAD = struct.Struct(">cI")  # what follows, and how many bytes of it
_MESSAGE, _PULSE, _GOODBYE = b"m", b".", b"!"


class Connections:
    """This process's connections; a thread keeps them alive and watches them.

    Args:
        peers: sockets to other processes, by the processes' numbers.
        lost: called in that thread with the number of a process that is gone, closed without a goodbye or silent.
    """

    def __init__(self, peers: Mapping[int, socket.socket], lost: Callable[[int], None]) -> None:
        self._peers, self._lost = dict(peers), lost
        self._messages: dict[int, queue.Queue[bytes]] = {number: queue.Queue() for number in peers}
        self._sending, self._closed = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def send(self, number: int, message: bytes) -> None:
        """Sends a message to one process."""
        self._send(number, _MESSAGE, message)

    def receive(self, number: int) -> bytes:
        """Waits for the next message of one process."""
        return self._messages[number].get()

    def close(self, finished: bool) -> None:
        """Stops watching and closes all, with a goodbye if this process has finished."""
        self._closed.set()
        self._thread.join(2 * PULSE_SECONDS)
        for number, peer in self._peers.items():
            if finished:
                self._send(number, _GOODBYE)
            peer.close()

    def _send(self, number: int, kind: bytes, message: bytes = b"") -> None:
        try:
            with self._sending:
                self._peers[number].sendall(_HEAD.pack(kind, len(message)) + message)
        except OSError:
            return  # what ended the connection shows where it is read

    def _run(self) -> None:
        seen, beat = dict.fromkeys(self._peers, monotonic()), 0.0
        unread: dict[int, bytes] = dict.fromkeys(self._peers, b"")
        with selectors.DefaultSelector() as selector:
            for number, peer in self._peers.items():
                selector.register(peer, selectors.EVENT_READ, number)
            while not self._closed.is_set():
                for key, _ in selector.select(PULSE_SECONDS):
                    number, received = key.data, _receive(key.fileobj)
                    seen[number] = monotonic() if received else 0.0
                    unread[number], finished = self._read(number, unread[number] + received)
                    if finished:
                        selector.unregister(key.fileobj)
                        del seen[number]
                if monotonic() - beat >= PULSE_SECONDS:
                    beat = monotonic()
                    for number in seen:
                        self._send(number, _PULSE)
                gone = [number for number, last in seen.items() if monotonic() - last > SILENCE_SECONDS]
                if gone:
                    if not self._closed.wait(GRACE_SECONDS):
                        self._lost(gone[0])
                    return

    def _read(self, number: int, data: bytes) -> tuple[bytes, bool]:
        """Hands on whole messages; returns what is left, and whether the process has said goodbye."""
        while len(data) >= _HEAD.size:
            kind, length = _HEAD.unpack_from(data)
            end = _HEAD.size + length
            if kind == _GOODBYE:
                return b"", True
            if len(data) < end:
                break
            if kind == _MESSAGE:
                self._messages[number].put(data[_HEAD.size : end])
            data = data[end:]
        return data, False


def _receive(peer: Any) -> bytes:
    try:
        return peer.recv(1 << 16)
    except OSError:
        return b""
