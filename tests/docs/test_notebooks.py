"""The notebooks of examples/ run, and print what they were committed with. `make notebooks` remakes their outputs."""

from pathlib import Path
from typing import Any

import nbformat
import pytest

from tools.notebooks import FOLDER, ROOT, executed

NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
LARGEST = 60_000
"""Bytes of a notebook with its outputs."""


def printed(notebook: Any) -> list[str]:
    """The text that each code cell printed and returned; of a picture, that there is one. Warnings count too."""
    texts = []
    for cell in (cell for cell in notebook.cells if cell.cell_type == "code"):
        data = [output.get("data", {}) for output in cell.outputs]
        plain = ["a picture" if "image/png" in entry else entry.get("text/plain", "") for entry in data]
        texts.append("".join(output.get("text", "") for output in cell.outputs) + "".join(plain))
    return texts


def test_they_are_listed() -> None:
    listed = (FOLDER / "README.md").read_text("utf-8")
    assert NOTEBOOKS
    assert all(f"({path.name})" in listed for path in NOTEBOOKS)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_prints_what_it_says(path: Path, tmp_path: Path) -> None:
    """An assert that fails in a cell fails here."""
    committed = nbformat.read(path, 4)
    assert path.stat().st_size <= LARGEST
    assert any(printed(committed)), "without outputs: make notebooks"
    assert str(ROOT) not in path.read_text("utf-8")
    assert printed(executed(path, tmp_path)) == printed(committed)
