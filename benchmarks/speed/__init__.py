"""How fast directions, steps, rounds and replays are, each against a twin or the machine itself, in turns."""

import tempfile
from pathlib import Path

from benchmarks.rows import Row
from benchmarks.speed import kernels, language_model, per_example, replay, rounds, step


def rows(quick: bool) -> list[Row]:
    """All rows."""
    with tempfile.TemporaryDirectory(prefix="zb-") as name:
        folder = Path(name)
        return [
            *kernels.rows(quick),
            *per_example.rows(quick),
            *step.rows(quick),
            *rounds.rows(quick, folder),
            *replay.rows(quick, folder),
            *language_model.rows(quick, folder),
        ]
