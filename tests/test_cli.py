import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from common import cli

ROOT = Path(__file__).resolve().parent.parent

ACCEPTED = [
    (cli.count, "1", 1),
    (cli.count_or_none, "0", 0),
    (cli.seed, "2147483647", 2**31 - 1),
    (cli.number, "-1.75", -1.75),
    (cli.positive, "1e-3", 0.001),
    (cli.non_negative, "0", 0.0),
    (cli.fraction, "1", 1.0),
    (cli.text, "a b", "a b"),
    (cli.path, "a b/c", "a b/c"),
]
INTEGERS = (cli.count, cli.count_or_none, cli.seed)
REFUSED = [
    *((kind, text) for kind, _, _ in ACCEPTED[:-2] for text in ("", "x", "nan", "inf", "-inf", "1e400", "9" * 5000)),
    *((kind, text) for kind in INTEGERS for text in ("1.5", "1_0", " 1", "\u0661", "-1")),
    *((kind, "99999999999") for kind in (cli.count, cli.seed, cli.positive)),
    *((kind, "-0.1") for kind in (cli.positive, cli.non_negative, cli.fraction)),
    (cli.count, "0"),
    (cli.positive, "0"),
    (cli.positive, "1e-30"),
    (cli.fraction, "1.1"),
    (cli.text, ""),
    (cli.text, " "),
    (cli.path, ""),
    (cli.path, " "),
    (cli.path, "a\0b"),
]


@pytest.mark.parametrize(("kind", "text", "value"), ACCEPTED)
def test_values_are_read(kind, text, value):
    assert kind(text) == value


@pytest.mark.parametrize(("kind", "text"), REFUSED)
def test_values_of_another_kind_are_refused(kind, text):
    with pytest.raises(argparse.ArgumentTypeError, match="is not") as caught:
        kind(text)
    assert len(str(caught.value)) < 100


def test_an_output_is_tried_before_the_work(tmp_path):
    assert cli.output_folder(tmp_path / "a" / "b").is_dir()
    assert cli.output_file(tmp_path / "c" / "d.json") == tmp_path / "c" / "d.json"
    assert not list((tmp_path / "c").iterdir())
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"file.*name another one"):
        cli.output_folder(tmp_path / "file")
    with pytest.raises(OSError, match=r"file.*name another one"):
        cli.output_file(tmp_path / "file" / "d.json")
    with pytest.raises(OSError, match="is a folder: name a file"):
        cli.output_file(tmp_path / "c")


def test_a_folder_that_may_not_be_written_to_is_told():
    """/proc refuses root, too."""
    with pytest.raises(OSError, match=r"/proc/self/task.*name another one"):
        cli.output_folder("/proc/self/task")


def ended(code, stop=None):
    """Exit code and standard error of a command that runs `code`; it is sent a signal once it prints."""
    text = [sys.executable, "-c", f"import sys, time; from common import cli\ndef main():\n    {code}\ncli.run(main)"]
    with subprocess.Popen(text, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        if stop:
            process.stdout.readline()
            process.send_signal(stop)
        _, errors = process.communicate(timeout=60)
    return process.returncode, errors


WAIT = "with cli.says_what_is_kept(lambda: 'epoch 3 is kept'): print('ready', flush=True); time.sleep(60)"


@pytest.mark.parametrize(
    ("stop", "code", "text"),
    [
        (signal.SIGINT, 130, "stopped by the user; epoch 3 is kept\n"),
        (signal.SIGTERM, 143, "stopped by the system (SIGTERM); epoch 3 is kept\n"),
    ],
)
def test_a_command_that_is_stopped_says_what_is_kept(stop, code, text):
    assert ended(WAIT, stop) == (code, f"\n{text}")


def test_names_of_files_do_not_steer_the_terminal():
    assert cli.printable("a\x1b[2J\nb\u202e é") == "a\\x1b[2J b\\u202e é"


def test_bad_input_ends_with_one_line():
    assert ended("raise ValueError('a\\nb')") == (2, "error: a b\n")
    assert ended("[0] * 10**15") == (
        2,
        "error: this takes more memory than there is: ask for less at a time, or for smaller pictures\n",
    )
    assert ended("open('/none')") == (2, "error: /none: No such file or directory\n")


@pytest.mark.parametrize("command", [["predict.py"], ["-m", "gluon_models"], ["-m", "tools.compare"], ["-c"]])
def test_ctrl_c_while_modules_are_imported_shows_no_traceback(tmp_path, command):
    """A library that is pressed Ctrl-C on; a program of somebody else's, the last, keeps its traceback."""
    for name in ("mxnet", "numpy"):
        (tmp_path / f"{name}.py").write_text(
            "import os, signal, time; os.kill(os.getpid(), signal.SIGINT); time.sleep(9)"
        )
    command = [*command, "import gluon_models"] if command == ["-c"] else command
    settings = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=settings, capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGINT
    if command[0] == "-c":
        assert done.stderr.startswith("Traceback")
    else:
        assert done.stderr == "\nstopped by the user\n"


def test_a_reader_that_has_enough_is_no_error():
    code = "from common import cli; cli.run(lambda: [print('x' * 1000) for _ in range(10_000)] and 0)"
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as done:
        os.read(done.stdout.fileno(), 10)
        done.stdout.close()
        assert done.stderr.read() == b""
    assert done.returncode == 141


def test_an_error_of_a_clean_up_after_ctrl_c_counts_as_ctrl_c():
    program = """
from common import cli

def main():
    try:
        raise KeyboardInterrupt("kept: 3 of 5")
    finally:
        del undefined

cli.run(main)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "\nstopped by the user; kept: 3 of 5\n"
