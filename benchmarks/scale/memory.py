"""Memory of a run on two Ray workers against the number of its clients.

The training examples are the same few thousand, however many clients share them, so what grows is what a client costs
beyond its data. Counted is the own (anonymous) memory of the driver and both workers after the last round, in which
every client was asked; Ray's own processes are not. Every number of clients has a process of its own, with its own Ray
(quick: one process and one Ray for all, whose start costs more than the run). A replica of the model is 26 KB, so that
one per client would miss the goal by far.
"""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.alternate import at_most, judged
from benchmarks.processes import own_bytes
from benchmarks.rows import Row
from benchmarks.shapes import THOUSANDS, data_folder, model_folder, settings

WORKERS, BATCH, LENGTH, ROUNDS = 2, 2, 8, 2
DEVICE = "cpu, driver and 2 workers"


def rows(quick: bool, folder: Path) -> list[Row]:
    """All rows of this file; quick has two numbers of clients, in this process."""
    counts = (10, 300) if quick else (10, 100, 1_000, 10_000)
    model = model_folder(folder / "thousands", THOUSANDS)
    data = data_folder(folder / "many", max(counts) * BATCH, LENGTH)
    if quick:
        found = {clients: measure(model, data, clients, folder / f"memory-{clients}") for clients in counts}
    else:
        # The first compiles the kernels, which takes memory that later runs spare.
        _in_process(model, data, counts[0], folder / "first")
        found = {clients: _in_process(model, data, clients, folder) for clients in counts}
    made = [
        judged(
            f"memory of driver and {WORKERS} workers, {clients:,} clients",
            [_sum(held, "all") / 1e6],
            "MB",
            None,
            DEVICE,
        )
        for clients, held in found.items()
    ]
    least, most = counts[0], counts[-1]
    for name in ("driver", "workers", "all"):
        per_client = (_sum(found[most], name) - _sum(found[least], name)) / (most - least) / 1e3
        # Quick is not judged: three hundred clients in a process that has served others weigh less than its own noise.
        goal = at_most(5, " KB") if name == "all" and not quick else None
        made.append(judged(f"memory per client from {least} to {most:,}: {name}", [per_client], "KB", goal, DEVICE))
    return made


def _in_process(model: Path, data: Path, clients: int, folder: Path) -> dict[str, int]:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, model, data, clients, folder / f"memory-{model.name}-{clients}").result()


def measure(model: Path, data: Path, clients: int, folder: Path) -> dict[str, int]:
    """Process name -> bytes that it holds after the last round; starts a Ray of its own where there is none yet."""
    from benchmarks.live import run_rounds
    from zorba_ray.artifacts import RunDir
    from zorba_ray.experiment.backends import ray_backend
    from zorba_ray.federation.ray_session import ray_session

    federation = {"clients": clients, "backend": "ray", "workers": WORKERS, "deadline_s": 3600}
    config = settings(model, data, ROUNDS, LENGTH, BATCH, federation=federation)
    made: list[Any] = []
    found: dict[str, int] = {}

    def backend(*arguments: Any) -> Any:
        made.append(ray_backend(*arguments))
        return made[-1]

    def between(record: dict[str, Any], run: RunDir) -> None:
        assert record["clients_ok"] == clients, record
        if record["round"] == ROUNDS:
            pids = {"driver": os.getpid(), **made[0].processes()}
            found.update({name: own_bytes(pid) for name, pid in pids.items()})

    folder.mkdir(parents=True)
    with ray_session(WORKERS, 1):
        run_rounds(config, folder, between, backend)
    return found


def _sum(held: dict[str, int], name: str) -> int:
    """Bytes of the driver, of the workers, or of all."""
    return sum(
        size for process, size in held.items() if name in ("all", "driver" if process == "driver" else "workers")
    )
