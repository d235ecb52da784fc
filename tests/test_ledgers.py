"""Every paper's ledger: the code names its entries and no others, and every test that an entry names exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LEDGERS = {"F": "ffld", "H": "hourglass", "L": "lgcn", "R": "region_resnet", "D": "deeppose", "B": "face_detector"}
ROOMS = ("gluon_models", "datasets", "inference", "evaluation", "figures", "engine", "training", "tools")
SOURCES = sorted([*ROOT.glob("*.py"), *(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))])


def ledger(letter):
    return (ROOT / "docs" / f"{LEDGERS[letter]}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("letter", LEDGERS)
def test_every_number_in_the_code_is_in_the_ledger(letter):
    found = [re.findall(rf"\[({letter}\d+(?:, {letter}\d+)*)\]", path.read_text("utf-8")) for path in SOURCES]
    named = {number for numbers in found for group in numbers for number in group.split(", ")}
    assert named
    assert named <= set(re.findall(rf"^\| ({letter}\d+) \|", ledger(letter), re.MULTILINE))


@pytest.mark.parametrize("letter", LEDGERS)
def test_every_test_that_the_ledger_names_exists(letter):
    rows = re.findall(rf"^\| {letter}\d+ \|.*\|(.*)\|$", ledger(letter), re.MULTILINE)
    assert rows
    for row in rows:
        named = re.findall(r"(test_\w+\.py)((?:::\w+)*)", row)
        assert named, row
        for file, path in named:
            text = (ROOT / "tests" / file).read_text(encoding="utf-8")
            for name in path.split("::")[1:]:
                assert re.search(rf"(def|class) {name}\b", text), f"{file}{path}"
