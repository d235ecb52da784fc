"""The notebook runs from top to bottom and still says what is stored in it."""

import re
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

FILE = Path(__file__).resolve().parent.parent / "examples" / "landmarks.ipynb"


def printed(notebook):
    """All that cells print, and how many pictures each shows."""
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    text = "".join(output.get("text", "") for output in outputs)
    return text, sum("image/jpeg" in output.get("data", {}) for output in outputs)


@pytest.mark.filterwarnings("ignore")  # Jupyter's packages warn about each other
def test_the_notebook_runs_and_finds_what_it_shows():
    stored = nbformat.read(FILE, as_version=4)
    expected, pictures = printed(stored)
    NotebookClient(stored, timeout=200, resources={"metadata": {"path": str(FILE.parent)}}).execute()
    text, shown = printed(stored)
    assert pictures == shown == 2
    assert re.sub(r"[-\d.\s]+", "", text) == re.sub(r"[-\d.\s]+", "", expected)
    numbers, wanted = (np.array(re.findall(r"-?\d+\.?\d*", each), float) for each in (text, expected))
    np.testing.assert_allclose(numbers, wanted, atol=1.01)  # the last printed digit
