"""The notebooks of examples/ run, and print what they were committed with. `make notebooks` remakes their outputs."""

from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.support.documents import ROOT

NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
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
    listed = (ROOT / "examples" / "README.md").read_text("utf-8")
    assert NOTEBOOKS
    assert all(f"({path.name})" in listed for path in NOTEBOOKS)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_prints_what_it_says(path: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An assert that fails in a cell fails here."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")
    committed = nbformat.read(path, 4)
    assert path.stat().st_size <= LARGEST
    assert any(printed(committed)), "without outputs: make notebooks"
    assert str(ROOT) not in path.read_text("utf-8")
    fresh = nbformat.read(path, 4)
    NotebookClient(fresh, timeout=240, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert printed(fresh) == printed(committed)
