"""Runs the notebooks of examples/ and keeps what they print; the tests compare it with a fresh run.

python -m tools.notebooks [NAME …]
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "examples"
LIMIT_S = 240
"""Seconds for one cell."""


def executed(path: Path, folder: Path) -> Any:
    """The notebook with fresh outputs, run in `folder` by this Python on this tree; its file is left as it is.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed, as by an assert.
    """
    notebook = nbformat.read(path, 4)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    client = NotebookClient(
        notebook, timeout=LIMIT_S, record_timing=False, resources={"metadata": {"path": str(folder)}}
    )
    return client.execute(env=environment)


if __name__ == "__main__":
    for path in sorted(FOLDER.glob("*.ipynb")):
        if not sys.argv[1:] or path.stem in sys.argv[1:]:
            with tempfile.TemporaryDirectory() as folder:
                nbformat.write(executed(path, Path(folder)), path)
            print(path.relative_to(ROOT))
