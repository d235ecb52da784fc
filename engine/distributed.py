"""Several processes, the workers, that train one network: each computes its part of every batch.

MXNet's parameter server adds up what the workers send. It does not say when one of them is gone, and the others would
wait for it for ever; so the workers are also joined by sockets, whose pulse ends all of them when one ends.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import secrets
import socket
import struct
import sys
import threading
from contextlib import contextmanager, redirect_stdout
from typing import Any, Iterator, Mapping

import mxnet as mx
import numpy as np
from mxnet.base import _LIB, check_call
from mxnet.gluon import Trainer

from engine.connections import Connections

ALONE = "device"
KV_STORES = (ALONE, "dist_sync", "dist_device_sync")
JOIN_SECONDS = 600.0  # until all processes of a training have started
GREETING_SECONDS = 10.0  # of one connection
WAIT_SECONDS = 3600.0  # between two steps: for another worker, for a server, or for the first worker's validation
_ADDRESS_KEY = 1_000_000  # of the store; the numbers below it are the network's parameters
_GREETING = struct.Struct(">QI")  # of a worker: what the first one announced, and its own rank


class Team:
    """The workers of one training; this class is one that works alone.

    Attributes:
        rank: of this worker, from 0.
        size: number of workers.
        store: for MXNet's Trainer.
    """

    rank, size = 0, 1
    store: Any = ALONE

    @property
    def first(self) -> bool:
        """Whether this worker validates, writes and decides for all."""
        return self.rank == 0

    def start(self, trainer: Trainer) -> None:
        """Gives all devices the first one's weights; MXNet would do so after the first step's forward pass."""
        trainer._init_kvstore()
        trainer._init_params()

    def total(self, values: np.ndarray) -> np.ndarray:
        """The sum of all workers' values, which have one shape and type."""
        return values

    def from_first(self, value: Any) -> Any:
        """The first worker's value, of plain JSON types."""
        return value

    def agree(self, facts: Mapping[str, Any]) -> None:
        """Checks what must be the same on all workers.

        Raises:
            ValueError: on each worker, if it is not; the message names the facts that differ.
        """


class ConnectedTeam(Team):
    """Workers joined by MXNet's parameter server, for weights and gradients, and by sockets for everything else.

    Args:
        store: MXNet's distributed store.
    """

    def __init__(self, store: mx.kvstore.KVStore) -> None:
        self.store, self.rank, self.size = store, store.rank, store.num_workers
        self._others = range(1, self.size)
        self._connections = Connections(self._find_peers(), self._stop_without)
        self._clock = _Clock(WAIT_SECONDS, f"worker {self.rank} has made no step for {WAIT_SECONDS:.0f} s")

    def start(self, trainer: Trainer) -> None:
        """Gives all devices of all workers the first one's weights; MXNet would do so beside the first gradients."""
        trainer._init_kvstore()
        for number, parameter in enumerate(trainer._params):
            # A copy: after a prediction oneDNN keeps weights in a layout that the server does not take.
            values = mx.nd.array(parameter.data(parameter.list_ctx()[0]).asnumpy(), dtype=parameter.dtype)
            self.store.broadcast(number, values, values)
            parameter.set_data(values)
        trainer._params_to_init = []
        mx.nd.waitall()
        self.store._barrier()

    def total(self, values: np.ndarray) -> np.ndarray:
        """The sum of all workers' values, which have one shape and type, in the order of their ranks."""
        self._clock.restart()
        if not self.first:
            self._connections.send(0, values.tobytes())
            return self._array(self._connections.receive(0), values)
        for rank in self._others:
            values = values + self._array(self._connections.receive(rank), values)
        self._tell(values.tobytes())
        return values

    def from_first(self, value: Any) -> Any:
        """The first worker's value, of plain JSON types."""
        if not self.first:
            return json.loads(self._connections.receive(0))
        self._tell(json.dumps(value).encode())
        return value

    def agree(self, facts: Mapping[str, Any]) -> None:
        """Compares what must be the same on all workers; ValueError names what is not."""
        marks = [hashlib.sha256(repr(fact).encode()).digest()[:4] for fact in facts.values()]
        own = np.array([float(int.from_bytes(mark, "big")) for mark in marks])
        differing = [name for name, alike in zip(facts, self.total(own) == self.size * own) if not alike]
        if differing:
            raise ValueError(f"the workers differ in {', '.join(differing)}: start all of them alike")

    def leave(self, finished: bool) -> None:
        """Parts from the other workers: when all have finished, else at once, which ends them too."""
        if finished:
            self.total(np.zeros(1))
        else:
            # Or MXNet would wait at the end of this process for workers that wait for it.
            check_call(_LIB.MXKVStoreSetBarrierBeforeExit(self.store.handle, ctypes.c_int(0)))
        self._clock.stop()
        self._connections.close(finished)

    @staticmethod
    def _array(data: bytes, like: np.ndarray) -> np.ndarray:
        return np.frombuffer(data, like.dtype).reshape(like.shape)

    def _tell(self, message: bytes) -> None:
        for rank in self._others:
            self._connections.send(rank, message)

    def _stop_without(self, rank: int) -> None:
        stop(f"worker {rank} is gone, so worker {self.rank} stops too")

    def _find_peers(self) -> dict[int, socket.socket]:
        """Sockets by rank: the first worker has one to each of the others, these have one to the first."""
        with socket.create_server((_own_address(), 0), backlog=self.size) as server:
            # A name of this training too, so that nobody else's connection passes for a worker's.
            token = secrets.randbits(48)
            host, port, token = self._announced(*server.getsockname()[:2], token)
            if not self.first:
                peer = socket.create_connection((host, port), JOIN_SECONDS)
                peer.sendall(_GREETING.pack(token, self.rank))
                return {0: peer}
            peers: dict[int, socket.socket] = {}
            server.settimeout(JOIN_SECONDS)
            while len(peers) < self.size - 1:
                peer, _ = server.accept()
                peer.settimeout(GREETING_SECONDS)
                try:
                    told, rank = _GREETING.unpack(peer.recv(_GREETING.size, socket.MSG_WAITALL))
                except (OSError, struct.error):
                    continue  # not one of ours
                if told == token:
                    peers[rank] = peer
            return peers

    def _announced(self, host: str, port: int, token: int) -> tuple[str, int, int]:
        """The first worker's address, from the store, whose numbers are exact up to 2**24."""
        numbers = [*socket.inet_aton(host), port, *token.to_bytes(6, "big")]
        values = mx.nd.array(numbers)
        self.store.broadcast(_ADDRESS_KEY, values, values)
        *parts, port = (int(each) for each in values.asnumpy()[:5])
        return socket.inet_ntoa(bytes(parts)), port, int.from_bytes(bytes(values.asnumpy()[5:].astype(np.uint8)), "big")


@contextmanager
def join(kv_store: str) -> Iterator[Team]:
    """The workers that this process is one of; all but the first print nothing.

    Args:
        kv_store: one of `KV_STORES`; `ALONE` for a single process.

    Raises:
        ValueError: the process was started as another one than the option says.
    """
    started = os.environ.get("DMLC_ROLE") == "worker"
    if kv_store == ALONE:
        if started and int(os.environ.get("DMLC_NUM_WORKER", "1")) > 1:
            raise ValueError("this is one of several workers: pass --kv-store dist_sync")
        yield Team()
        return
    if not started:
        raise ValueError(f"--kv-store {kv_store}: start the workers with python -m tools.launch (docs/distributed.md)")
    clock = _Clock(JOIN_SECONDS, f"the other processes of this training have not started within {JOIN_SECONDS:.0f} s")
    clock.restart()
    team = ConnectedTeam(mx.kv.create(kv_store))
    clock.stop()
    finished = False
    try:
        with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(sys.stdout if team.first else nowhere):
            yield team
            finished = True
    finally:
        team.leave(finished)


def _own_address() -> str:
    """The address of this machine that the other ones reach: towards the scheduler, nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((os.environ["DMLC_PS_ROOT_URI"], 1))
        return probe.getsockname()[0]


class _Clock:
    """Ends this process, which may hang within MXNet, unless it is restarted in time.

    Args:
        seconds: from one restart to the next.
        sentence: what to say.
    """

    def __init__(self, seconds: float, sentence: str) -> None:
        self._seconds, self._sentence = seconds, sentence
        self._timer: threading.Timer | None = None

    def restart(self) -> None:
        """Starts it again."""
        self.stop()
        self._timer = threading.Timer(self._seconds, stop, [self._sentence])
        self._timer.daemon = True
        self._timer.start()

    def stop(self) -> None:
        """Lets the process take its time."""
        if self._timer is not None:
            self._timer.cancel()


def stop(sentence: str) -> None:
    """Ends this process with a sentence; its main thread may be waiting within MXNet."""
    os.write(2, f"\nerror: {sentence}; after a whole epoch --resume RUN goes on\n".encode())
    os._exit(2)
