"""Who may import whom, read from the sources; and the NumPy rooms without MXNet."""

import ast
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent

# For each room the modules of other rooms that it may import.
MAY_IMPORT = {
    "common": (),
    "datasets": ("common",),
    "gluon_models": ("common",),
    "engine": ("common",),
    "evaluation": ("common", "datasets.markups"),
    "report": ("common", "datasets.markups", "evaluation"),
    "inference": ("common", "datasets", "gluon_models", "evaluation"),
    "training": ("common", "datasets", "gluon_models", "engine", "evaluation", "inference"),
}
MAY_IMPORT["figures"] = (*MAY_IMPORT["training"], "training", "report")
MAY_IMPORT["tools"] = (*MAY_IMPORT["figures"], "figures")
WITHOUT_MXNET = ("common", "datasets", "evaluation", "report")
SCRIPTS = {path.stem for path in ROOT.glob("*.py")}


class Import(NamedTuple):
    """One imported name: `from a.b import c` is ("a.b.c", ...)."""

    name: str
    line: int
    inside_function: bool


def imports_of(source, package):
    """All imports of a module's source; `package` is the module's own, for relative ones."""
    found = []

    def visit(node, inside):
        if isinstance(node, ast.Import):
            found.extend(Import(alias.name, node.lineno, inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            found.extend(Import(f"{base}.{alias.name}", node.lineno, inside) for alias in node.names)
        inside = inside or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for child in ast.iter_child_nodes(node):
            visit(child, inside)

    visit(ast.parse(source), False)
    return found


def belongs_to(name, module):
    return name == module or name.startswith(module + ".")


def faults(source, room, rooms=tuple(MAY_IMPORT), scripts=frozenset(SCRIPTS)):
    """What is wrong with the imports of a module of `room`, or of a script or test where room is empty."""
    wrong = []
    for each in imports_of(source, room):
        top = each.name.split(".")[0]
        if each.name.endswith(".*"):
            wrong.append(f"line {each.line}: import * from {each.name[:-2]}")
        if each.inside_function and (top in rooms or top in scripts):
            wrong.append(f"line {each.line}: imports {each.name} inside a function")
        if not room:
            continue
        if top in scripts:
            wrong.append(f"line {each.line}: imports the script {top}.py")
        if top in rooms and top != room and not any(belongs_to(each.name, module) for module in MAY_IMPORT[room]):
            wrong.append(f"line {each.line}: {room} may not import {each.name}")
        if room in WITHOUT_MXNET and top in ("mxnet", "gluoncv"):
            wrong.append(f"line {each.line}: {room} works without {top}")
    return wrong


def sources(folder):
    return sorted(path for path in folder.rglob("*.py") if ".venv" not in path.parts)


def room_modules():
    return [(room, path) for room in MAY_IMPORT for path in sources(ROOT / room)]


@pytest.mark.parametrize(("room", "path"), room_modules(), ids=lambda each: getattr(each, "stem", each))
def test_a_room_imports_what_it_may(room, path):
    assert faults(path.read_text(encoding="utf-8"), room) == []


@pytest.mark.parametrize("path", [*ROOT.glob("*.py"), *sources(ROOT / "tests")], ids=lambda path: path.stem)
def test_scripts_and_tests_import_at_the_top(path):
    assert faults(path.read_text(encoding="utf-8"), "") == []


def test_every_folder_of_python_files_is_a_room_with_rules():
    folders = {path.parent.name for path in ROOT.glob("*/*.py")} - {"tests"}
    assert folders <= set(MAY_IMPORT)
    assert {"datasets", "gluon_models", "engine", "evaluation", "inference"} <= folders


@pytest.mark.parametrize(
    ("room", "source", "fault"),
    [
        ("datasets", "import mxnet as mx", "datasets works without mxnet"),
        ("datasets", "from engine import fit", "datasets may not import engine.fit"),
        ("evaluation", "from datasets import geometry", "evaluation may not import datasets.geometry"),
        (
            "evaluation",
            "from datasets.markups_of_mine import x",
            "evaluation may not import datasets.markups_of_mine.x",
        ),
        ("inference", "if True:\n    import engine", "line 2: inference may not import engine"),
        ("engine", "import train_ffld", "imports the script train_ffld.py"),
        (
            "engine",
            "def f():\n    def g():\n        from engine import fit",
            "line 3: imports engine.fit inside a function",
        ),
        ("", "from numpy import *", "import * from numpy"),
        ("datasets", "from .faces import *", "import * from datasets.faces"),
    ],
)
def test_a_fault_is_found(room, source, fault):
    (found,) = faults(source, room)
    assert fault in found


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("evaluation", "from datasets.markups import IBUG_68"),
        ("evaluation", "from datasets import markups"),
        ("inference", "from gluon_models.spec import InputSpec\nfrom datasets import geometry\nfrom . import pipeline"),
        ("datasets", "from datasets.faces import Face\ndef f():\n    import json"),
    ],
)
def test_what_is_allowed_is_no_fault(room, source):
    assert faults(source, room) == []


WITHOUT = """
import importlib, sys

sys.modules.update(mxnet=None, gluoncv=None)  # any import of them fails
for module in sys.argv[1:]:
    importlib.import_module(module)
    print(module)
"""


def module_name(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).replace(".__init__", "")


def test_no_imports_go_in_a_circle():
    paths = {module_name(path): path for _, path in room_modules()}
    needs = {}
    for name, path in paths.items():
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        targets = {each.name for each in imports_of(path.read_text(encoding="utf-8"), package)}
        known = {each if each in paths else each.rpartition(".")[0] for each in targets}
        needs[name] = (known & set(paths)) - {name}
    while needs:
        free = {name for name, others in needs.items() if not others & set(needs)}
        assert free, f"a circle among {sorted(needs)}"
        needs = {name: others for name, others in needs.items() if name not in free}


def test_the_numpy_rooms_need_no_mxnet():
    modules = [module_name(path) for room, path in room_modules() if room in WITHOUT_MXNET]
    assert "datasets.render.faces" in modules
    command = [sys.executable, "-W", "ignore", "-c", WITHOUT, *modules]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.split() == modules
