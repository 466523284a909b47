"""The notebook examples/lab.ipynb runs from the first cell to the last."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")
nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed; make test has it")
pytest.importorskip("ipykernel", reason="ipykernel is not installed; make test has it")

import nbformat  # noqa: E402 - nbclient brings it

NOTEBOOK = Path(__file__).parents[2] / "examples" / "lab.ipynb"


def test_its_picture_is_there() -> None:
    """Of the batch whose numbers the notebook prints."""
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    found = [path for cell in cells for path in re.findall(r"!\[[^]]*\]\(([^)]*)\)", cell.source)]
    [picture] = [NOTEBOOK.parent / path for path in found]
    assert "x = 1, 2, 4, 8 and dy = 1, 0, 0, 0: direct 0.373" in picture.read_text()


# Jupyter's own packages warn of each other.
@pytest.mark.filterwarnings("default")
def test_the_notebook_runs() -> None:
    """It shows the answer, what is wrong with a layer, the layer in a model, and a conversion."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert all(not cell.get("outputs") for cell in notebook.cells)
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    printed = "".join(
        output.get("text", "") or output.get("data", {}).get("text/plain", "")
        for cell in notebook.cells
        for output in cell.get("outputs", ())
    )
    assert "D + M + V    [ 0.18163573 -0.15568756 -0.08433082  0.05838266]" in printed
    wrong = ["mean held constant: wrong by 51%", "variance held constant: wrong by 83%"]
    assert "\n".join([*wrong, "both held constant: wrong by 105%"]) in printed
    assert "G02 The gradient does not go through the variance" in printed
    assert "sound: True  through: both" in printed
    assert "model 1 through: mean ['M04'" in printed
    assert "1 of 1 converted, 1 fused" in printed
