"""Lets MXNet find the libraries that pip installed, CUDA above all, and says in words what keeps it from a GPU.

The loader looks for what libmxnet.so needs in MXNet's own folder first, so links in there to the libraries of other
wheels are all it takes: no LD_LIBRARY_PATH, whichever script imports MXNet first. docs/gpu.md has the background.

    python -m tools.install_cuda link        run once in every environment that the requirements were installed into
    python -m tools.install_cuda libraries   name each library, the driver's aside, that MXNet or OpenCV would not find
    python -m tools.install_cuda check       check everything, driver and cards included; exit code 0 if a GPU works

MXNet is imported by a child process alone, and only after everything it needs was found.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Callable, Iterable, Iterator, NamedTuple

from common import cli
from common.files import write_whole

OLDEST_CAPABILITY = (5, 0)  # mxnet-cu112 holds machine code for 5.0, 6.0, 7.0, 8.0 and 8.6 ...
NEWEST_CAPABILITY = (8, 9)  # ... which runs on later cards of the same major number, and no PTX for the next one
OLDEST_DRIVER = "520.61.05"  # the first that takes the PTX of CUDA 11.8, which MXNet compiles fused operators to
DRIVER_LIBRARY = "libcuda.so.1"

WHEELS = {
    "libcudart": "nvidia-cuda-runtime-cu11",
    "libnvrtc": "nvidia-cuda-nvrtc-cu11",
    "libcublas": "nvidia-cublas-cu11",
    "libcudnn": "nvidia-cudnn-cu11",
    "libcufft": "nvidia-cufft-cu11",
    "libcurand": "nvidia-curand-cu11",
    "libcusolver": "nvidia-cusolver-cu11",
    "libnccl": "nvidia-nccl-cu11",
    "libnvToolsExt": "nvidia-nvtx-cu11",
}
# MXNet takes these from the system; where that lacks them, copies in other wheels do.
BUNDLED = {"libgomp.so.1": "pykdtree.libs/libgomp-*.so*", "libquadmath.so.0": "scipy.libs/libquadmath-*.so*"}
SYSTEM_PACKAGES = {
    "libgomp.so.1": "libgomp1",
    "libquadmath.so.0": "libquadmath0",
    "libGL.so.1": "libgl1",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libstdc++.so.6": "libstdc++6",
    "libz.so.1": "zlib1g",
}
CUDNN_PARTS = ("ops_infer", "ops_train", "cnn_infer", "cnn_train", "adv_infer", "adv_train")
# What libcudnn.so.8 opens by these names when the first layer runs; its own list of needs does not show them.
OPENED_LATER = (*(f"libcudnn_{part}.so.8" for part in CUDNN_PARTS), "libnvrtc.so")

PROBE_PASSED = "MXNet computed on GPU"
# A convolution needs cuDNN; the operators after it are fused into one kernel, which is compiled on the spot.
PROBE = f"""
import mxnet as mx
from mxnet import gluon

for number in range(mx.context.num_gpus()):
    try:
        net = gluon.nn.HybridSequential()
        net.add(gluon.nn.Conv2D(4, 3), gluon.nn.HybridLambda(lambda F, x: F.exp(F.relu(x)) * 2))
        net.initialize(ctx=mx.gpu(number))
        net.hybridize(static_alloc=True, static_shape=True)
        net(mx.nd.ones((1, 3, 8, 8), ctx=mx.gpu(number))).asnumpy()
        print("{PROBE_PASSED}", number, flush=True)
    except mx.MXNetError as error:
        print("GPU", number, "fails:", str(error).splitlines()[-1], flush=True)
"""


class Card(NamedTuple):
    """An NVIDIA card: its name and its CUDA compute capability (major, minor)."""

    name: str
    capability: tuple[int, int]

    def __str__(self) -> str:
        return f"{self.name}, compute capability {self.capability[0]}.{self.capability[1]}"

    @property
    def problem(self) -> str | None:
        """Why MXNet's wheel cannot run on this card, or None if it can."""
        if self.capability > NEWEST_CAPABILITY:
            return f"{self}: newer than the machine code in mxnet-cu112, which reaches 8.9 and has no PTX to go further"
        if self.capability < OLDEST_CAPABILITY:
            return f"{self}: older than the machine code in mxnet-cu112, which begins at 5.0"
        return None


def package_folder(name: str) -> Path:
    """The folder of an installed package, found without importing it; FileNotFoundError if it is not installed."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(
            f"{name} is not installed for {sys.executable}: "
            "pip install -r requirements.txt, or requirements-cpu.txt on a machine without a GPU"
        )
    return Path(spec.origin).parent


def nvidia_libraries() -> dict[str, Path]:
    """The libraries that NVIDIA's wheels brought, by the names they are looked for."""
    spec = importlib.util.find_spec("nvidia")
    folders = (spec and spec.submodule_search_locations) or ()
    found = {path.name: path for folder in folders for path in sorted(Path(folder).glob("*/lib/lib*.so*"))}
    if "libnvrtc.so.11.2" in found:
        found["libnvrtc.so"] = found["libnvrtc.so.11.2"]
    return found


def bundled_libraries(mxnet_folder: Path) -> dict[str, Path]:
    """Stand-ins from other wheels for what MXNet needs of the system and the system lacks."""
    lacking = [name for name, path in resolve(mxnet_folder / "libmxnet.so").items() if path is None]
    copies = {name: sorted(mxnet_folder.parent.glob(BUNDLED[name])) for name in lacking if name in BUNDLED}
    return {name: paths[0] for name, paths in copies.items() if paths}


def link(mxnet_folder: Path, libraries: dict[str, Path]) -> list[Path]:
    """Puts a link to each library into MXNet's folder; earlier links are replaced, real files stay.

    Args:
        mxnet_folder: the folder that holds libmxnet.so.
        libraries: files to link to, by the names they are looked for.

    Returns:
        The links that were made.

    Raises:
        OSError: the folder cannot be written.
    """
    links = {mxnet_folder / name: target for name, target in libraries.items()}
    links = {path: target for path, target in links.items() if path.is_symlink() or not path.exists()}
    for path, target in links.items():
        write_whole(path, partial(os.symlink, os.path.relpath(target, mxnet_folder)))
    return list(links)


def resolve(library: Path) -> dict[str, Path | None]:
    """What the loader finds for each library that `library` needs, directly or not; None where it finds nothing.

    Raises:
        OSError: there is no ldd on this machine.
    """
    listing = subprocess.run(["ldd", str(library)], capture_output=True, text=True).stdout
    found = re.findall(r"^\s*(\S+) => (.+?)(?: \(0x[0-9a-f]+\))?$", listing, re.MULTILINE)
    return {name: None if path == "not found" else Path(path) for name, path in found}


def mxnet_libraries(mxnet_folder: Path) -> dict[str, Path | None]:
    """As `resolve` for MXNet, with the parts of cuDNN that are opened later and what they need."""
    found = resolve(mxnet_folder / "libmxnet.so")
    cudnn = found.get("libcudnn.so.8")
    if cudnn is None:
        return found
    for name in OPENED_LATER:
        beside = cudnn.with_name(name)
        found[name] = beside if beside.exists() or _loads(name) else None
        for need, path in resolve(beside).items():
            found[need] = path and found.get(need, path)
    return found


def _loads(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def remedy(name: str) -> str:
    """One line on a library that the loader does not find: what brings it."""
    wheel = next((wheel for start, wheel in WHEELS.items() if name.startswith(start)), None)
    if wheel and name in nvidia_libraries():
        return f"{name} of {wheel} is not where MXNet looks for it: run python -m tools.install_cuda link"
    if wheel:
        commands = "pip install -r requirements.txt, then python -m tools.install_cuda link"
        return f"{name} is missing, {wheel} brings it: {commands}"
    package = SYSTEM_PACKAGES.get(name, f"the package that holds {name}")
    return f"{name} is missing from the system: apt-get install {package} (docs/gpu.md has other systems' names)"


def library_problems() -> list[str]:
    """One line for each library that MXNet or OpenCV needs and the loader does not find, other than the driver's."""
    needs = [mxnet_libraries(package_folder("mxnet")), *map(resolve, package_folder("cv2").glob("cv2*.so"))]
    missing = dict.fromkeys(name for found in needs for name, path in found.items() if path is None)
    return [remedy(name) for name in missing if name != DRIVER_LIBRARY]


def query(fields: str) -> list[list[str]]:
    """Asks nvidia-smi for comma-separated `fields`, and returns their values card by card; none if it is not there.

    Raises:
        OSError: it does not answer or refuses.
    """
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        raise OSError("the NVIDIA driver does not answer: nvidia-smi took more than 60 seconds") from None
    if done.returncode:
        said = " ".join(done.stdout.split()) or f"exit code {done.returncode}"
        raise OSError(f"the NVIDIA driver does not answer; nvidia-smi says: {said}")
    return [[value.strip() for value in line.rsplit(",", fields.count(","))] for line in done.stdout.splitlines()]


def read_cards() -> list[Card]:
    """The cards that nvidia-smi lists; OSError as in `query`."""
    rows = [(row[0], re.fullmatch(r"(\d+)\.(\d+)", row[-1])) for row in query("name,compute_cap")]
    return [Card(name, (int(match[1]), int(match[2]))) for name, match in rows if match]


def driver_problems() -> Iterator[str]:
    """What is wrong with the driver; OSError as in `query`."""
    if not _loads(DRIVER_LIBRARY):
        yield f"no NVIDIA driver: the loader does not find {DRIVER_LIBRARY}; install the driver of your card"
    elif not _loads("libcuda.so"):
        yield f"cuDNN looks for libcuda.so: link it to {DRIVER_LIBRARY} in the same folder and run ldconfig"
    for (version,) in query("driver_version")[:1]:
        if re.fullmatch(r"\d+(\.\d+)+", version) and _numbers(version) < _numbers(OLDEST_DRIVER):
            yield f"the driver {version} is older than {OLDEST_DRIVER}, the first for CUDA 11.8: update it"


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def card_problems() -> list[str]:
    """What is wrong with the cards: empty if one of them is in MXNet's range; OSError as in `query`."""
    if shutil.which("nvidia-smi") is None:
        print("cards: not known, nvidia-smi is not on this machine; it comes with the driver")
        return []
    cards = read_cards()
    for card in cards:
        print(f"card: {card.problem or f'{card}: fits'}")
    problems = [card.problem for card in cards if card.problem]
    if not cards:
        return ["nvidia-smi lists no card"]
    return problems if len(problems) == len(cards) else []


def wheel_problems() -> list[str]:
    """What is wrong with the installed MXNet: the CPU's wheel, or libraries that do not resolve."""
    found = mxnet_libraries(package_folder("mxnet"))
    if not any(name.startswith("libcudart") for name in found):
        return ["MXNet's CPU wheel is installed: make DEVICE=gpu setup, or swap it for requirements.txt's mxnet-cu112"]
    problems = library_problems()
    if not problems:
        print(f"libraries: all {len(found.keys() - {DRIVER_LIBRARY})} that MXNet needs beside the driver's are found")
    return problems


def probe_problems() -> list[str]:
    """Lets MXNet compute on every GPU in a child process; empty if one of them did."""
    done = subprocess.run([sys.executable, "-c", PROBE], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said = done.stdout.strip().splitlines() or ["it sees none (is CUDA_VISIBLE_DEVICES set?)"]
    if any(line.startswith(PROBE_PASSED) for line in said):
        print("\n".join(said))
        return []
    return [f"every library was found, but MXNet does not compute on a GPU: {said[-1]}"]


def _collect(*checks: Callable[[], Iterable[str]]) -> list[str]:
    problems: list[str] = []
    for check in checks:
        try:
            problems.extend(check())
        except OSError as error:
            problems.append(str(error))
    return list(dict.fromkeys(problems))


def check_gpu() -> int:
    """Prints what keeps MXNet from a GPU, one line each, and returns the exit code: 0 if a GPU can be used, else 2."""
    problems = _collect(driver_problems, card_problems, wheel_problems) or _collect(probe_problems)
    for problem in problems:
        print(f"problem: {problem}")
    print("No GPU can be used; everything runs on the CPU." if problems else "A GPU can be used.")
    return 2 if problems else 0


def check_libraries() -> int:
    """Prints the libraries that do not resolve, one line each, and returns the exit code: 0 if all do, else 2."""
    problems = library_problems()
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return 2 if problems else 0


def link_wheels() -> int:
    """Links what other wheels hold for MXNet into its folder, and returns the exit code."""
    folder = package_folder("mxnet")
    links = link(folder, nvidia_libraries()) + link(folder, bundled_libraries(folder))
    if links:
        print(f"linked {len(links)} libraries into {folder}")
    return 0


def main() -> int:
    """The command line."""
    commands = {"link": link_wheels, "libraries": check_libraries, "check": check_gpu}
    parser = cli.make_parser("Lets MXNet find CUDA, and says what is missing before a GPU can be used.")
    parser.add_argument("command", choices=sorted(commands), help="what to do")
    return commands[parser.parse_args().command]()


if __name__ == "__main__":
    cli.run(main)
