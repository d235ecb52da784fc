"""Feeds damaged files to every reader: the outcome is a result or a documented error, in bounded time and memory.

`make fuzz N=20000`, or PYTHONPATH=. python tests/fuzz 20000. A file that failed stays in the folder that is named.
"""

from __future__ import annotations

import argparse
import collections
import faulthandler
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

import numpy as np
from readers import Reader, readers

SECONDS = 10  # of computing for one file
MEMORY = 3 * 2**30  # bytes of addresses that a reader may take beside those that stand at the start


def outcome(reader: Reader, folder: Path) -> str:
    """What comes of reading: "result", "error" where it is a documented one, or what else happened."""
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        reader.read(folder)
        return "result"
    except (ValueError, FileNotFoundError, OSError) as error:
        text = str(error)
        if isinstance(error, UnicodeError):
            return traceback.format_exc()
        # A face far outside its photo goes by its own name, weights by that of a network.
        named = (
            str(folder) in text
            or "far outside its photo" in text
            or text.startswith("no weights ship for")
            or getattr(error, "filename", None)
        )
        return "error" if named and "\n" not in text else f"a message without file, or of several lines: {error!r}"
    except BaseException:
        return traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def too_long(*_: object) -> None:
    """Ends a read that does not end."""
    raise KeyboardInterrupt("took too long")


def run(count: int, seed: int, only: str | None, work: Path) -> int:
    """Feeds `count` files, spread evenly over the readers; returns how many failed."""
    warnings.simplefilter("error")
    signal.signal(signal.SIGPROF, too_long)
    chosen = [(name, reader) for name, reader in readers() if only in (None, name)]
    seen: dict[str, collections.Counter[str]] = {name: collections.Counter() for name, _ in chosen}
    folders = {name: work / name.replace(" ", "_") for name, _ in chosen}
    valid = {}
    for name, reader in chosen:
        folders[name].mkdir()
        reader.write(folders[name])
        valid[name] = (folders[name] / reader.file).read_bytes()
        reader.read(folders[name])
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, resource.RLIM_INFINITY))
    failed = 0
    for number in range(count):
        name, reader = chosen[number % len(chosen)]
        rng = np.random.default_rng((seed, number))
        damage = reader.damage[rng.integers(len(reader.damage))]
        file = folders[name] / reader.file
        file.write_bytes(damage(valid[name], rng))
        print(f"{number} {name}", file=LAST_FILE, flush=True)
        found = outcome(reader, folders[name])
        seen[name][found if found in ("result", "error") else "failed"] += 1
        if found not in ("result", "error"):
            failed += 1
            kept = work / f"failed-{number}-{file.name}"
            shutil.copyfile(file, kept)
            print(f"{name}, input {number}, kept as {kept}: {found}", flush=True)
    for name, counts in seen.items():
        print(f"{name:20} {counts['result']:6} results {counts['error']:6} errors {counts['failed']:6} failures")
    return failed


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int, help="files")
    parser.add_argument("--seed", type=int, default=0, help="seed of the damage")
    parser.add_argument("--reader", help="one reader alone")
    given = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="fuzz-"))
    LAST_FILE = open(place / "last", "w", encoding="utf-8")  # noqa: SIM115 - which file a crash was at
    faulthandler.enable()
    started = time.monotonic()
    failures = run(given.count, given.seed, given.reader, place)
    print(f"{given.count} files in {time.monotonic() - started:.0f} s, {failures} failures")
    if not failures:
        shutil.rmtree(place)
    sys.exit(bool(failures))
