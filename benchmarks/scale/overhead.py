"""What the driver and Ray add to a round beyond its computing, with a model of a few thousand parameters.

One worker computes for all clients, so nothing is hidden by computing side by side. Its own stopwatch says, round by
round, what the clients computed: their minibatches and forward pairs, directions included. The overhead of a round is
what is left of it

- in wall time, as the driver sees it;
- in CPU time, of all processes: driver, worker and Ray's own.

So plans, reports, checks, ledger, metrics, the commits of driver and worker and everything of Ray's are overhead.
"""

import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.alternate import at_most, judged
from benchmarks.live import run_rounds
from benchmarks.processes import cpu_seconds, family
from benchmarks.rows import Row
from benchmarks.shapes import THOUSANDS, data_folder, model_folder, settings
from zorba_ray.artifacts import RunDir
from zorba_ray.config import ExperimentConfig
from zorba_ray.experiment.backends import ray_backend
from zorba_ray.federation import Backend
from zorba_ray.federation.ray_session import ray_session
from zorba_ray.stopwatch import Spent

BATCH, LENGTH, WARM = 2, 8, 3
BASE_MS, CLIENT_MS = 10.0, 0.2
DEVICE = "cpu, 1 worker of 1 thread"
NAME = "overhead of driver and Ray per round, packed"


def rows(quick: bool, folder: Path) -> list[Row]:
    """All rows of this file; quick has one number of clients."""
    turns = {64: 3} if quick else {8: 41, 64: 25, 512: 15}
    model = model_folder(folder / "overhead-model", THOUSANDS)
    data = data_folder(folder / "overhead-data", max(turns) * BATCH, LENGTH)
    found: dict[int, Overhead] = {}
    with ray_session(2, 1):
        for clients, count in turns.items():
            federation = {"clients": clients, "backend": "ray", "workers": 1}
            tracking = {"wandb": "disabled", "profile": True}
            config = settings(model, data, WARM + count, LENGTH, BATCH, federation=federation, tracking=tracking)
            found[clients] = measure(config, folder)
    return [row for clients, overhead in found.items() for row in overhead.rows(clients)]


@dataclass
class Overhead:
    """Per round, in ms."""

    cpu_ms: list[float] = field(default_factory=list)
    """CPU of all processes beyond computing."""
    wall_ms: list[float] = field(default_factory=list)
    """Wall time beyond computing."""
    driver_ms: list[float] = field(default_factory=list)
    """CPU of the driver's process."""
    computing_ms: list[float] = field(default_factory=list)
    """CPU of the worker's minibatches and forward pairs."""

    def rows(self, clients: int) -> list[Row]:
        """Rows of one number of clients."""
        name, goal = f"{NAME}, N = {clients}", at_most(round(_allowed(clients), 1), " ms")
        return [
            judged(f"{name}: all processes beyond computing (CPU)", self.cpu_ms, "ms", goal, DEVICE),
            judged(f"{name}: beyond computing (wall)", self.wall_ms, "ms", goal, DEVICE),
            judged(f"{name}: the driver's process alone (CPU)", self.driver_ms, "ms", None, DEVICE),
            judged(f"{name}: the computing itself (CPU)", self.computing_ms, "ms", None, DEVICE),
        ]


def measure(config: ExperimentConfig, folder: Path) -> Overhead:
    """Overhead of every round of a profiled run on Ray after the first few."""
    backends: list[Backend] = []
    pids: list[int] = []
    began: list[float] = []
    spent: list[float] = []  # CPU seconds of all processes, per round
    computed: list[Spent] = []  # what the worker computed, so far

    def backend(*arguments: Any) -> Backend:
        backends.append(ray_backend(*arguments))
        return backends[-1]

    def between(record: dict[str, Any], run: RunDir) -> None:
        if record["round"] > WARM:
            spent.append(cpu_seconds(pids) - began[0])
        else:
            pids[:] = family()
        if record["round"] >= WARM:
            computed.append(_computed(backends[0]))

    def before() -> None:
        began[:] = [cpu_seconds(pids)]

    times = run_rounds(config, folder, between, backend, WARM, before)
    found = Overhead()
    for turn, (earlier, later) in enumerate(itertools.pairwise(computed)):
        found.cpu_ms.append(1e3 * (spent[turn] - (later.cpu_s - earlier.cpu_s)))
        found.wall_ms.append(1e3 * (times.wall[turn] - (later.wall_s - earlier.wall_s)))
        found.driver_ms.append(1e3 * times.cpu[turn])
        found.computing_ms.append(1e3 * (later.cpu_s - earlier.cpu_s))
    return found


def _computed(backend: Backend) -> Spent:
    """What the one worker spent in minibatches and forward pairs so far, by its stopwatch."""
    (usage,) = backend.usage()
    assert usage.reading is not None, "the run is profiled"
    parts = usage.reading.parts.items()
    return sum((own for path, own in parts if path[1:2] in (("batches",), ("forward",))), Spent())


def _allowed(clients: int) -> float:
    """The goal in ms."""
    return BASE_MS + CLIENT_MS * clients
