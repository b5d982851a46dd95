"""What grows with clients, parameters and directions, and what does not: memory, overhead, seconds per round."""

import contextlib
import os
import tempfile
from pathlib import Path

from benchmarks.rows import Row
from benchmarks.scale import growth, memory, overhead
from zorba_ray.federation.ray_session import ray_session


def rows(quick: bool) -> list[Row]:
    """All rows; quick has one Ray for all runs."""
    os.environ["WANDB_MODE"] = "disabled"
    shared = ray_session(memory.WORKERS, 1) if quick else contextlib.nullcontext()
    with tempfile.TemporaryDirectory(prefix="zb-") as name, shared:
        folder = Path(name)
        return [*memory.rows(quick, folder), *overhead.rows(quick, folder), *growth.rows(quick, folder)]
