"""What the README promises: its commands parse, its links lead somewhere, its numbers are those on record."""

import json
import re
import shlex
from pathlib import Path

import pytest

import evaluate
import export
import predict
import train_ffld
from gluon_models.weights import SHIPPED_FOLDER, file_sha256
from tools import (
    calibrate_detector,
    calibrate_tracking,
    evaluate_detector,
    evaluate_tilt,
    evaluate_video,
    label_faces,
    launch,
    results,
    ship,
    study,
)

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
RUNS = ROOT / "docs" / "runs"
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "weights" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted(RUNS.glob("**/README.md")),
]
INDEX = json.loads((SHIPPED_FOLDER / "index.json").read_text(encoding="utf-8"))


PARSERS = {
    "-m tools.calibrate_detector": calibrate_detector.parse,
    "-m tools.calibrate_tracking": calibrate_tracking.parse,
    "-m tools.evaluate_tilt": evaluate_tilt.parse,
    "-m tools.evaluate_video": evaluate_video.parse,
    "train_ffld.py": train_ffld.TRAINING.parse,
    "evaluate.py": evaluate.parse,
    "-m tools.evaluate_detector": evaluate_detector.parse,
    "predict.py": predict.parse,
    "export.py": export.make_parser().parse_args,
    "-m tools.label_faces": label_faces.parse,
    "-m tools.launch": launch.parse,
    "-m tools.results": results.parse,
    "-m tools.ship": ship.parse,
    "-m tools.study": study.parse,
}


def commands(script):
    text = "\n".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)
    return [shlex.split(words) for words in re.findall(rf"python {re.escape(script)} ([^`\n#|]+)", text)]


@pytest.mark.parametrize("script", sorted(PARSERS))
def test_every_command_parses(script):
    found = [text for text in commands(script) if "--resume" not in text]
    assert found
    for text in found:
        PARSERS[script](text)


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"^make ([a-z-]+)", README, re.MULTILINE)) | set(re.findall(r"`make ([a-z-]+)", README))
    assert {"demo", "test"} <= named
    for target in named:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_to_a_file(document):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8")):
        assert (document.parent / target).exists(), target


def headings(document):
    """The anchors that GitHub gives a document's headings."""
    text = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", re.sub(r"\]\([^)]*\)", "", each)).lower().replace(" ", "-") for each in text}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_anchor_is_a_heading(document):
    for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", document.read_text(encoding="utf-8")):
        page = document.parent / target if target else document
        assert page.suffix != ".md" or anchor in headings(page), f"{target}#{anchor}"


@pytest.mark.parametrize("name", sorted(INDEX))
def test_a_shipped_file_is_the_one_of_its_record(name):
    entry = INDEX[name]
    for file in (entry, entry.get("shape_model", entry)):
        assert file_sha256(SHIPPED_FOLDER / file["file"]) == file["sha256"]
    metrics = json.loads((ROOT / entry["metrics"]).read_text(encoding="utf-8"))
    assert metrics["weights_sha256"] == entry["sha256"]
    run = json.loads((ROOT / entry["run"] / "run.json").read_text(encoding="utf-8"))
    assert run["arguments"]["seed"] == entry["seed"]


@pytest.mark.parametrize("record", sorted(RUNS.glob("*/run.json")), ids=lambda path: path.parent.name)
def test_a_diary_gives_the_commands_of_the_records(record):
    """Records leave folders out: DIR there is a folder's name in the diary."""
    name = re.sub("_(first|second|third|fourth|fifth|sixth)$", "", record.parent.name)
    diary = (RUNS / name / "README.md").read_text(encoding="utf-8")
    command = json.loads(record.read_text(encoding="utf-8"))["command"]
    assert re.search(re.escape(command).replace("pts=DIR", r"pts=\w+"), diary), command
