"""Every notebook runs from top to bottom, and its two forms say the same."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

# They say little of their types.
jupytext: Any = importlib.import_module("jupytext")
nbclient: Any = importlib.import_module("nbclient")
nbformat: Any = importlib.import_module("nbformat")

ROWS = {
    "04_choosing_a_style": ("R022", "R086", "R087", "R088", "R089", "R090", "R091", "R104"),
}
"""The rows of the requirements that a notebook shows by running."""

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.py"))


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(path, marks=pytest.mark.requirement(*ROWS.get(path.stem, ())), id=path.stem)
        for path in NOTEBOOKS
    ],
)
def test_a_notebook_runs_offline(source: Path) -> None:
    notebook = jupytext.read(source)
    client = nbclient.NotebookClient(
        notebook, timeout=60, resources={"metadata": {"path": str(source.parent.parent)}}
    )
    client.execute()
    pictures = [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if "image/svg+xml" in output.get("data", ())
    ]
    assert pictures, "a notebook without a picture is a script"


@pytest.mark.parametrize("source", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_paired_notebook_is_in_step_and_stripped(source: Path) -> None:
    paired = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    written = jupytext.read(source)
    assert [(cell.cell_type, cell.source) for cell in paired.cells] == [
        (cell.cell_type, cell.source) for cell in written.cells
    ]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in paired.cells)
