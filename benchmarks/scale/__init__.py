"""What grows with clients, parameters and directions, and what does not: memory, overhead, seconds per round."""

import os
import tempfile
from pathlib import Path

from benchmarks.rows import Row
from benchmarks.scale import growth, memory, overhead


def rows(quick: bool) -> list[Row]:
    """All rows."""
    os.environ["WANDB_MODE"] = "disabled"
    with tempfile.TemporaryDirectory(prefix="zb-") as name:
        folder = Path(name)
        return [*memory.rows(quick, folder), *overhead.rows(quick, folder), *growth.rows(quick, folder)]
