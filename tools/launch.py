"""Starts a training on several machines, or as several processes of one.

The processes are MXNet's: a scheduler, parameter servers, and the workers, each of which runs SCRIPT. One progress bar
is shown, the first worker's. When one process dies, all of the others are ended. All machines have this project, its
Python and the data at the same paths. The servers trust whoever reaches them: use a network of your own.
"""

from __future__ import annotations

import argparse
import functools
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from time import monotonic, sleep
from types import SimpleNamespace
from typing import Any, Callable, Mapping, Sequence

from dmlc_tracker import local, slurm, ssh, tracker

from common import cli

CLUSTERS = ("local", "ssh", "slurm")
LOOPBACK = "127.0.0.1"
OWN_END_SECONDS = 15.0  # for workers to end by themselves, each with its sentence, after one of them did
FINISH_SECONDS = 60.0  # for servers and scheduler after the last worker
TERM_SECONDS = 5.0  # between SIGTERM and SIGKILL


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = cli.make_parser(__doc__)
    parser.add_argument("--workers", type=cli.count, required=True, help="workers of all machines together")
    servers = "parameter servers, which share the weights; one for each machine spreads the traffic"
    parser.add_argument("--servers", type=cli.count, default=1, help=servers)
    parser.add_argument("--cluster", choices=CLUSTERS, default="local", help="how processes are started")
    hosts = "for --cluster ssh: a text file with a machine on each line, HOST or HOST:PORT; they are filled in turn"
    parser.add_argument("--hosts", metavar="FILE", type=cli.file_path, help=hosts)
    here = "start so many of the workers here; the other machines bring theirs with --join (default: all)"
    parser.add_argument("--here", type=cli.count, metavar="N", help=here)
    join = "start --here workers (default: 1) of the training that the machine HOST has started with --here and --port"
    parser.add_argument("--join", metavar="HOST:PORT", help=join)
    address = "this machine as the others reach it (default: found; 127.0.0.1 if all workers are here)"
    parser.add_argument("--address", metavar="IP", help=address)
    parser.add_argument("--port", type=cli.count, help="of the scheduler (default: a free one)")
    parser.add_argument("script", metavar="SCRIPT", type=cli.path, help="such as train_ffld.py")
    parser.add_argument("options", nargs=argparse.REMAINDER, help="its options, among them --kv-store dist_sync")
    arguments = parser.parse_args(argv)
    if not Path(arguments.script).is_file():
        raise FileNotFoundError(f"{arguments.script}: there is no such script; SCRIPT is the first word after options")
    if (arguments.cluster == "ssh") != (arguments.hosts is not None):
        raise ValueError("--cluster ssh and --hosts FILE go together")
    if arguments.cluster != "local" and (arguments.here or arguments.join):
        raise ValueError("--here and --join are for --cluster local")
    if arguments.join and not re.fullmatch("[^:]+:[0-9]+", arguments.join):
        raise ValueError(f"--join {arguments.join}: write HOST:PORT, as the first machine has them")
    arguments.here = arguments.here or (1 if arguments.join else arguments.workers)
    if arguments.here > arguments.workers:
        raise ValueError(f"--here {arguments.here} is more than --workers {arguments.workers}")
    return arguments


class Job:
    """Processes that end together. It stands in for the module subprocess within dmlc_tracker.

    Attributes:
        finished: workers' commands that ended well.
        failure: what ended first and how, in words.
        code: its exit code.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[subprocess.Popen[bytes], str] = {}
        self._closed = False
        self.finished, self.code = 0, 0
        self.failure: str | None = None

    def call(self, command: str, env: Mapping[str, str] | None = None, **_: Any) -> int:
        """Runs one process and waits for it; the thread ends here if it fails."""
        command = mended(command)
        role = (env or {}).get("DMLC_ROLE") or "".join(re.findall(r"DMLC_ROLE=(\w+)", command)[:1])
        with self._lock:
            if self._closed:
                raise SystemExit
            process = subprocess.Popen(
                command, shell=True, executable="/bin/bash", env=env, stdin=subprocess.DEVNULL, start_new_session=True
            )
            self._running[process] = role
        code = process.wait()
        with self._lock:
            del self._running[process]
            self.finished += role == "worker" and code == 0
            if code:
                self._fail(f"a {role} ended {_how(code)}", code if code > 0 else 128 - code)
                raise SystemExit
        return code

    check_call = call

    def start(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Calls a function of dmlc_tracker, which starts processes and waits for them, in a thread of its own."""

        def run() -> None:
            try:
                function(*arguments)
            except Exception as error:  # whatever ssh, Slurm or dmlc_tracker raises; a thread must not lose it
                self._fail(f"a process could not be started ({error})", 2)

        threading.Thread(target=run, daemon=True).start()

    def _fail(self, failure: str, code: int) -> None:
        if not self.failure:
            self.failure, self.code = failure, code

    def running(self, role: str | None = None) -> list[subprocess.Popen[bytes]]:
        """Processes that have not ended, all or those of a role."""
        with self._lock:
            return [process for process, each in self._running.items() if role in (None, each)]

    def wait(self, workers: int) -> None:
        """Waits until all workers' commands, and then the others, have ended, or one of them has failed."""
        while not self.failure and self.finished < workers:
            sleep(0.1)
        last, waited = ("worker", OWN_END_SECONDS) if self.failure else (None, FINISH_SECONDS)
        _until(lambda: not self.running(last), waited)

    def close(self) -> None:
        """Ends what is still running, and starts nothing more."""
        with self._lock:
            self._closed = True
        for number in (signal.SIGTERM, signal.SIGKILL):
            for process in self.running():
                _signal_group(process, number)
            _until(lambda: not self.running(), TERM_SECONDS)


def mended(command: str) -> str:
    """A command of dmlc_tracker as it works today; see each line."""
    remote = re.fullmatch("ssh -o StrictHostKeyChecking=no (.*? -p [0-9]+) '(.*)'", command, re.DOTALL)
    if remote:
        # A terminal ends what runs in it when the connection ends; nobody is there to type a password.
        options = "-tt -o BatchMode=yes -o StrictHostKeyChecking=accept-new"
        command = f"ssh {options} {remote[1]} {shlex.quote(remote[2])}"
    # The server binds to it, and takes no name.
    command = re.sub(r"DMLC_NODE_HOST=([^;]+);", lambda found: f"DMLC_NODE_HOST={_ip(found[1])};", command)
    # Servers and workers share the processors of an allocation.
    return command.replace("srun --share --exclusive=user", "srun --overlap --kill-on-bad-exit=1", 1)


def free_port(wanted: int = 0) -> int:
    """A port that no process of this machine has, any if 0.

    Raises:
        ValueError: the wanted one is taken.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind(("", wanted))
        except (OSError, OverflowError) as error:
            raise ValueError(f"--port {wanted} cannot be used ({error}): name another one") from None
        return probe.getsockname()[1]


def start(arguments: argparse.Namespace, job: Job) -> int:
    """Starts the processes in threads of their own, and returns how many commands start workers."""
    mend_tracker(job, free_port(arguments.port or 0))
    # dmlc_tracker puts the words side by side and gives them to a shell.
    command = [shlex.quote(word) for word in (sys.executable, arguments.script, *arguments.options)]
    workers, servers, here = arguments.workers, arguments.servers, arguments.here
    if arguments.join:
        host, _, port = arguments.join.rpartition(":")
        environment = {"DMLC_PS_ROOT_URI": _ip(host), "DMLC_PS_ROOT_PORT": port, "DMLC_NODE_HOST": _towards(host)}
        environment.update(DMLC_NUM_WORKER=str(workers), DMLC_NUM_SERVER=str(servers))
        start_here(job, command, ["worker"] * here, environment)
        return here
    address = arguments.address or (LOOPBACK if here == workers and arguments.cluster == "local" else own_address())
    if arguments.cluster == "local":
        roles = ["worker"] * here + ["server"] * servers

        def start_local(workers: int, servers: int, environment: dict[str, Any]) -> None:
            start_here(job, command, roles, {**environment, "DMLC_NODE_HOST": address})

        job.start(tracker.submit, workers, servers, start_local, address, " ".join(command))
        return here
    options = SimpleNamespace(num_workers=workers, num_servers=servers, command=command, host_ip=address)
    if arguments.cluster == "ssh":
        options.host_file, options.sync_dst_dir = str(arguments.hosts), None
        job.start(ssh.submit, options)
        return workers
    options.slurm_worker_nodes = options.slurm_server_nodes = None
    tracker.get_host_ip = lambda host: address
    job.start(slurm.submit, options)
    return 1


def mend_tracker(job: Job, port: int) -> None:
    """Has dmlc_tracker run its processes in a job and listen at a port, on the Pythons of today."""
    threading.Thread.isAlive = threading.Thread.is_alive  # type: ignore[attr-defined]  # gone since Python 3.9
    for module in (local, slurm, ssh, tracker):
        module.subprocess = job
    tracker.PSTracker = functools.partial(tracker.PSTracker, port=port, port_end=port + 1)


def start_here(job: Job, command: Sequence[str], roles: Sequence[str], environment: Mapping[str, Any]) -> None:
    """Starts a process of this machine for each role."""
    for number, role in enumerate(roles):
        job.start(local.exec_cmd, list(command), 0, role, number, environment)


def own_address() -> str:
    """This machine's address in its network.

    Raises:
        ValueError: it has none.
    """
    try:
        return tracker.get_host_ip("auto")
    except OSError:
        raise ValueError("this machine's address is not known: pass --address IP") from None


def _ip(host: str) -> str:
    try:
        return socket.gethostbyname(host)
    except OSError:
        return host  # the process that needs it says so


def _towards(host: str) -> str:
    """This machine's address on the way to another one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, 1))
        return probe.getsockname()[0]


def _how(code: int) -> str:
    return f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return  # it has just ended


def _until(condition: Callable[[], bool], seconds: float) -> None:
    """Waits for a condition, but not for ever."""
    end = monotonic() + seconds
    while not condition() and monotonic() < end:
        sleep(0.1)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the job; returns the exit code of the process that failed first, else 0."""
    arguments, job = parse(argv), Job()
    try:
        job.wait(start(arguments, job))
    finally:
        job.close()
    if job.failure:
        print(f"{job.failure}: all processes of the training are ended", file=sys.stderr)
    return job.code


if __name__ == "__main__":
    cli.run(main)
