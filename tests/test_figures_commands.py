"""The command lines of all papers' figures, and what they share."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from datasets.images import write_image
from figures import commands, deeppose, ffld, hourglass, lgcn, region_resnet
from figures.inputs import read_photo

ROOT = Path(__file__).resolve().parent.parent
PAPERS = {module.__name__.split(".")[-1]: module for module in (deeppose, ffld, hourglass, lgcn, region_resnet)}


def test_every_paper_is_among_them():
    modules = {path.stem for path in (ROOT / "figures").glob("*.py") if "FigureCommands(" in path.read_text("utf-8")}
    assert modules - {"commands"} == set(PAPERS)


@pytest.mark.parametrize("paper", PAPERS)
def test_the_page_shows_every_command_and_each_parses(paper):
    page = (ROOT / "docs" / "figures.md").read_text(encoding="utf-8")
    found = [shlex.split(text) for text in re.findall(rf"python -m figures\.{paper} ([^-`\n#|][^`\n#|]+)", page)]
    assert {text[0] for text in found} == set(PAPERS[paper].FIGURES)
    parser = PAPERS[paper].COMMANDS.make_parser()
    assert parser.prog == f"python -m figures.{paper}"
    for text in found:
        assert parser.parse_args(text).out.endswith(".png")


def test_nothing_is_drawn_for_a_name_that_is_no_png(tmp_path):
    with pytest.raises(ValueError, match=r"ends in \.png"):
        commands.write_picture(str(tmp_path / "new" / "a.jpg"), pytest.fail)
    assert not (tmp_path / "new").exists()


def test_the_photo_that_is_named_is_read(tmp_path):
    picture = np.random.RandomState(0).randint(0, 256, (6, 5, 3)).astype(np.uint8)
    write_image(tmp_path / "a.png", picture)
    np.testing.assert_array_equal(read_photo(str(tmp_path / "a.png")), picture)
    assert read_photo(None).shape == (600, 512, 3)  # matplotlib's sample photo
