"""Set-up from a fresh clone: interpreter, requirements, when .venv counts as ready, what keeps MXNet from a GPU.

Scripts placed first on PATH stand in for what is not here: an NVIDIA driver, other Pythons, pip's network.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy.core._multiarray_umath as numpy_library
import pytest

from tools import install_cuda as cuda

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ("sh", "bash", "env", "make", "timeout", "rm", "mkdir", "cp", "touch", "sed", "awk", "dirname")

# A Python of the version in its name: it builds a .venv that holds a copy of itself and notes what pip is asked for.
FAKE_PYTHON = """#!/bin/sh
case "$*" in
*version_info*) echo {version} ;;
*ensurepip*) exit {ensurepip} ;;
"-m venv .venv") mkdir -p .venv/bin && cp "$0" .venv/bin/python && echo "venv by {version}" >> log ;;
*" install "*) echo "$*" >> log; exit ${{PIP_EXIT:-0}} ;;
*"import cv2"*) exit ${{CV2_EXIT:-0}} ;;
*) echo "$*" >> log ;;
esac
"""


def write_program(folder: Path, name: str, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


def write_python(folder: Path, name: str, version: str, ensurepip: int = 0) -> None:
    write_program(folder, name, FAKE_PYTHON.format(version=version, ensurepip=ensurepip))


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with the files that set-up reads, and bin/ with the few programs it may use."""
    for name in ("Makefile", "requirements.txt", "requirements-cpu.txt", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
        os.utime(tmp_path / name, (1, 1))
    (tmp_path / "bin").mkdir()
    for tool in TOOLS:
        (tmp_path / "bin" / tool).symlink_to(str(shutil.which(tool)))
    return tmp_path


def run_make(clone: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    environment["PATH"] = str(clone / "bin")
    return subprocess.run(["make", *arguments], cwd=clone, env=environment, capture_output=True, text=True)


def pins(name: str) -> dict[str, str]:
    """Name -> version of every line that is neither empty, a comment nor an option."""
    lines = [line.split("#")[0].strip() for line in (ROOT / name).read_text().splitlines()]
    pinned = [re.fullmatch(r"([\w.-]+)==(\d[\da-z.]*)", line) for line in lines if line[:1] not in ("", "-")]
    assert all(pinned), f"{name} holds a line that pins no exact version"
    return dict(match.groups() for match in pinned)


def test_every_version_is_exact_and_stated_once():
    for name in ("requirements.txt", "requirements-cpu.txt"):
        assert "\n-c constraints.txt\n" in (ROOT / name).read_text()
        assert not pins(name).keys() & pins("constraints.txt").keys()


def test_requirement_files_differ_in_mxnet_and_cuda_alone():
    gpu, cpu = pins("requirements.txt"), pins("requirements-cpu.txt")
    cuda_wheels = {name for name in gpu if name.startswith("nvidia-")}
    assert cpu.pop("mxnet") == gpu.pop("mxnet-cu112") == "1.9.1"
    assert cpu == {name: version for name, version in gpu.items() if name not in cuda_wheels}
    assert cuda_wheels == set(cuda.WHEELS.values())
    assert cpu.keys() >= {"gluoncv", "numpy", "opencv-python", "scipy", "matplotlib", "pytest"}


@pytest.mark.parametrize(
    ("smi", "arguments", "expected"),
    [
        ("exit 0", (), "requirements.txt"),
        ("exit 9", (), "requirements-cpu.txt"),
        (None, (), "requirements-cpu.txt"),
        ("exit 0", ("DEVICE=cpu",), "requirements-cpu.txt"),
        ("exit 9", ("DEVICE=gpu",), "requirements.txt"),
    ],
)
def test_device_follows_nvidia_smi_unless_named(clone, smi, arguments, expected):
    if smi:
        write_program(clone / "bin", "nvidia-smi", f"#!/bin/sh\n{smi}\n")
    planned = run_make(clone, "-n", "setup", *arguments).stdout
    assert re.findall(r"--requirement (\S+)", planned) == [expected]


def test_newest_working_python_builds_the_environment(clone):
    write_program(clone / "bin", "python3.11", "#!/bin/sh\necho 'pyenv: python3.11: command not found' >&2\nexit 127\n")
    write_python(clone / "bin", "python3.10", "3.10", ensurepip=1)
    write_python(clone / "bin", "python3.9", "3.9")
    write_python(clone / "bin", "python3.8", "3.8")
    write_python(clone / "bin", "python3", "3.12")
    assert run_make(clone, "setup").returncode == 0
    assert (clone / "log").read_text().splitlines()[0] == "venv by 3.9"


@pytest.mark.parametrize("version", ["3.12", "3.7"])
def test_unsuitable_python_is_one_line_and_builds_nothing(clone, version):
    write_python(clone / "bin", "python3", version)
    done = run_make(clone, "test")
    message = done.stderr.splitlines()[0]
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 2)
    assert message.startswith(f"error: Python 3.8 to 3.11 is needed; python3 is {version}: ")
    assert "distutils, which 3.12 removed" in message
    assert not (clone / ".venv").exists()


def test_python_without_venv_module_is_named(clone):
    write_python(clone / "bin", "python3.10", "3.10", ensurepip=1)
    assert "python3.10 is 3.10 without its venv module" in run_make(clone, "setup").stderr


def test_named_python_is_taken(clone):
    write_python(clone / "bin", "python3.11", "3.11")
    write_python(clone / "mine", "python", "3.8")
    assert run_make(clone, "setup", "PYTHON=mine/python").returncode == 0
    assert (clone / "log").read_text().startswith("venv by 3.8")


def test_failed_installation_does_not_look_ready(clone):
    write_python(clone / "bin", "python3.9", "3.9")
    assert run_make(clone, "setup", PIP_EXIT="1").returncode == 2
    assert (clone / ".venv/bin/python").exists()
    assert run_make(clone, "-q", "setup").returncode == 1
    assert run_make(clone, "setup").returncode == 0
    assert run_make(clone, "-q", "setup").returncode == 0


def test_environment_is_rebuilt_when_stale_or_for_the_other_device(clone):
    write_python(clone / "bin", "python3.9", "3.9")
    assert run_make(clone, "setup", "DEVICE=cpu").returncode == 0
    os.utime(clone / "requirements.txt")
    assert run_make(clone, "-q", "setup", "DEVICE=cpu").returncode == 0
    assert run_make(clone, "setup", "DEVICE=gpu").returncode == 0
    assert run_make(clone, "-q", "setup", "DEVICE=cpu").returncode == 1
    ready = (clone / ".venv/ready-gpu").stat().st_mtime
    os.utime(clone / "constraints.txt", (ready + 5, ready + 5))
    assert run_make(clone, "-q", "setup", "DEVICE=gpu").returncode == 1


def test_opencv_without_libgl_is_replaced_by_its_headless_build(clone):
    write_python(clone / "bin", "python3.9", "3.9")
    assert run_make(clone, "setup", CV2_EXIT="1").returncode == 0
    assert f"opencv-python-headless=={pins('requirements.txt')['opencv-python']}" in (clone / "log").read_text()


def test_real_data_tests_need_a_folder(clone):
    write_python(clone / "bin", "python3.9", "3.9")
    done = run_make(clone, "test-data")
    assert done.returncode == 2
    assert "make test-data FACE_DATA=FOLDER" in done.stderr
    assert run_make(clone, "test-data", "FACE_DATA=here").returncode == 0


@pytest.mark.parametrize(("failing", "calls"), [("none", "lint\ntest\n"), ("lint", "lint\n"), ("test", "lint\ntest\n")])
def test_ci_runs_lint_then_tests_and_fails_with_them(tmp_path, failing, calls):
    write_program(tmp_path, "make", f'#!/bin/sh\necho "$1" >> "{tmp_path}/calls"\n[ "$1" != {failing} ]\n')
    env = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run([str(ROOT / ".ci/run")], env=env, cwd=tmp_path)
    assert (done.returncode == 0) == (failing == "none")
    assert (tmp_path / "calls").read_text() == calls


@pytest.fixture
def smi(tmp_path, monkeypatch):
    """Installs an nvidia-smi that gives these answers, as the only program on PATH but sh."""

    def install(cards: str = "", driver: str = "535.161.08", fails: str = "") -> None:
        text = f"#!/bin/sh\n[ -z '{fails}' ] || {{ echo '{fails}'; exit 9; }}\n"
        text += f"case \"$*\" in *driver_version*) echo '{driver}' ;; *) printf '{cards}' ;; esac\n"
        write_program(tmp_path, "nvidia-smi", text)

    monkeypatch.setenv("PATH", str(tmp_path))
    return install


@pytest.mark.parametrize("capability", ["5.0", "8.9"])
def test_cards_of_the_wheel_fit(smi, capability, capsys):
    smi(f"NVIDIA Card, with a comma, {capability}\\n")
    assert cuda.card_problems() == []
    assert f"card: NVIDIA Card, with a comma, compute capability {capability}: fits" in capsys.readouterr().out


@pytest.mark.parametrize(("capability", "word"), [("9.0", "newer"), ("3.5", "older")])
def test_cards_out_of_the_wheels_range_are_named(smi, capability, word):
    smi(f"NVIDIA Card, {capability}\\n")
    (problem,) = cuda.card_problems()
    assert problem.startswith(f"NVIDIA Card, compute capability {capability}: {word} than the machine code")


def test_one_fitting_card_is_enough(smi):
    smi("H100, 9.0\\nGTX 1080 Ti, 6.1\\n")
    assert cuda.card_problems() == []


def test_driver_is_judged_by_its_version(smi, monkeypatch):
    monkeypatch.setattr(cuda, "_loads", lambda name: True)
    smi(driver="470.256.02")
    (problem,) = cuda.driver_problems()
    assert problem.startswith("the driver 470.256.02 is older than 520.61.05")
    smi(driver="520.61.05")
    assert list(cuda.driver_problems()) == []


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        ((), "no NVIDIA driver: the loader does not find libcuda.so.1; install the driver of your card"),
        (("libcuda.so.1",), "cuDNN looks for libcuda.so: link it to libcuda.so.1 in the same folder and run ldconfig"),
    ],
)
def test_missing_driver_library_is_said(smi, monkeypatch, present, expected):
    monkeypatch.setattr(cuda, "_loads", lambda name: name in present)
    assert list(cuda.driver_problems()) == [expected]


def test_nvidia_smis_own_complaint_is_passed_on(smi):
    smi(fails="NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver.")
    with pytest.raises(OSError, match="nvidia-smi says: NVIDIA-SMI has failed"):
        cuda.card_problems()


def test_check_names_the_card_and_exits_with_2(tmp_path):
    write_program(tmp_path, "nvidia-smi", "#!/bin/sh\necho 'NVIDIA H100 PCIe, 9.0'\n")
    env = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        [sys.executable, "-m", "tools.install_cuda", "check"], cwd=ROOT, env=env, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "problem: NVIDIA H100 PCIe, compute capability 9.0: newer than the machine code" in done.stdout
    assert done.stdout.splitlines()[-1] == "No GPU can be used; everything runs on the CPU."


def test_cpu_wheel_is_told_from_the_gpu_wheel(monkeypatch):
    monkeypatch.setattr(cuda, "mxnet_libraries", lambda folder: {"libgomp.so.1": Path("there")})
    (problem,) = cuda.wheel_problems()
    assert problem.startswith("MXNet's CPU wheel is installed: make DEVICE=gpu setup")


def test_missing_libraries_are_named_with_what_brings_them(monkeypatch):
    monkeypatch.setattr(cuda, "nvidia_libraries", lambda: {"libnccl.so.2": Path("there")})
    mxnet_needs = dict.fromkeys(("libcuda.so.1", "libcudart.so.11.0", "libnccl.so.2"))
    monkeypatch.setattr(cuda, "mxnet_libraries", lambda folder: mxnet_needs)
    monkeypatch.setattr(cuda, "resolve", lambda library: dict.fromkeys(("libGL.so.1", "libfoo.so.3")))
    problems = {problem.split()[0]: problem for problem in cuda.wheel_problems()}
    assert list(problems) == ["libcudart.so.11.0", "libnccl.so.2", "libGL.so.1", "libfoo.so.3"]
    assert "nvidia-cuda-runtime-cu11 brings it: pip install -r requirements.txt" in problems["libcudart.so.11.0"]
    assert "not where MXNet looks for it: run python -m tools.install_cuda link" in problems["libnccl.so.2"]
    assert "apt-get install libgl1" in problems["libGL.so.1"]
    assert "the package that holds libfoo.so.3" in problems["libfoo.so.3"]


def test_parts_of_cudnn_that_are_opened_later_count(tmp_path, monkeypatch):
    for name in ("libcudnn.so.8", "libcudnn_ops_infer.so.8"):
        (tmp_path / name).touch()
    needs = {"libcudnn.so.8": tmp_path / "libcudnn.so.8", "libz.so.1": None}
    monkeypatch.setattr(cuda, "resolve", lambda library: needs)
    monkeypatch.setattr(cuda, "_loads", lambda name: False)
    lacking = {name for name, path in cuda.mxnet_libraries(tmp_path).items() if path is None}
    assert lacking == {*cuda.OPENED_LATER, "libz.so.1"} - {"libcudnn_ops_infer.so.8"}


def test_links_make_the_loader_find_a_library(tmp_path):
    """NumPy's core stands in for libmxnet.so: it looks into ../../numpy.libs as MXNet looks into its own folder."""
    needs = cuda.resolve(Path(numpy_library.__file__))
    name, real = next((name, path) for name, path in needs.items() if "openblas" in name)
    library, folder = tmp_path / "numpy/core/core.so", tmp_path / "numpy.libs"
    library.parent.mkdir(parents=True)
    folder.mkdir()
    shutil.copy(numpy_library.__file__, library)
    assert cuda.resolve(library)[name] is None
    for _ in range(2):
        assert cuda.link(folder, {name: real}) == [folder / name]
        assert cuda.resolve(library)[name].resolve() == real.resolve()
    assert not os.readlink(folder / name).startswith("/")


def test_links_leave_real_files_alone_and_replace_dead_links(tmp_path):
    (tmp_path / "libown.so").write_text("mine")
    (tmp_path / "libdead.so").symlink_to("gone")
    assert cuda.link(tmp_path, {"libown.so": tmp_path / "a", "libdead.so": tmp_path / "b"}) == [tmp_path / "libdead.so"]
    assert ((tmp_path / "libown.so").read_text(), os.readlink(tmp_path / "libdead.so")) == ("mine", "b")


def test_nvidias_wheels_are_found_by_file_name(tmp_path, monkeypatch):
    for path in ("__init__.py", "cudnn/lib/libcudnn.so.8", "cuda_nvrtc/lib/libnvrtc.so.11.2", "cudnn/include/cudnn.h"):
        (tmp_path / "nvidia" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "nvidia" / path).touch()
    monkeypatch.syspath_prepend(tmp_path)
    found = {name: path.name for name, path in cuda.nvidia_libraries().items() if tmp_path in path.parents}
    compiler = "libnvrtc.so.11.2"
    assert found == {"libcudnn.so.8": "libcudnn.so.8", compiler: compiler, "libnvrtc.so": compiler}


@pytest.mark.parametrize("name", sorted(cuda.BUNDLED))
def test_installed_wheels_carry_the_stand_ins(name):
    assert list(cuda.package_folder("mxnet").parent.glob(cuda.BUNDLED[name]))


def test_installed_mxnet_and_opencv_find_everything_but_the_driver():
    assert cuda.library_problems() == []


def test_probe_computes():
    """The program that proves a GPU, run on the CPU: a typing error in it would pass for a broken GPU."""
    program = cuda.PROBE.replace("mx.context.num_gpus()", "1").replace("mx.gpu", "mx.cpu")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == f"{cuda.PROBE_PASSED} 0\n", done.stderr
