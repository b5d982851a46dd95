"""What the driver and Ray add to a round beyond its computing, with a model of a few thousand parameters.

Computing is the bare loop: per client the prefix and the forward pair of its batch, then one commit; no plan, no
report, no ledger, no process. It is done in this process between two rounds of the real run, in turns. The overhead is

- in CPU time, what a round takes of all processes (driver, worker, Ray's own) less what the loop takes;
- in wall time, the round less the loop: one worker computes, so that nothing is hidden by computing side by side.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.alternate import Times, at_most, judged
from benchmarks.live import run_rounds
from benchmarks.processes import cpu_seconds, family
from benchmarks.rows import Row
from benchmarks.scale.fit import fit_line
from benchmarks.shapes import THOUSANDS, batch, data_folder, model_folder, settings
from zorba_ray.config import ExperimentConfig
from zorba_ray.directions import direction_backend, direction_seed
from zorba_ray.experiment import RunDir, prepare
from zorba_ray.experiment.on_ray import ray_backend
from zorba_ray.federation.ray_session import ray_session
from zorba_ray.models import Perturbation
from zorba_ray.protocol.replay import rule_of
from zorba_ray.zo import RoundUpdate, apply_rounds, projected_gradient

BATCH, LENGTH, WARM = 2, 8, 2
BASE_MS, CLIENT_MS = 10.0, 0.2
DEVICE = "cpu, 1 worker of 1 thread"
NAME = "overhead of driver and Ray per round, packed"


def rows(quick: bool, folder: Path) -> list[Row]:
    """All rows of this file; quick has one number of clients and no fit."""
    turns = {64: 5} if quick else {8: 25, 64: 15, 512: 9}
    model = model_folder(folder / "overhead-model", THOUSANDS)
    data = data_folder(folder / "overhead-data", max(turns) * BATCH, LENGTH)
    found: dict[int, Overhead] = {}
    with ray_session(None, 2, 1):
        for clients, count in turns.items():
            federation = {"clients": clients, "backend": "ray", "workers": 1}
            directions = {"backend": "numba"}
            found[clients] = measure(
                settings(model, data, WARM + count, LENGTH, BATCH, federation=federation, directions=directions),
                folder,
            )
    made = [row for clients, overhead in found.items() for row in overhead.rows(clients)]
    return made if quick else [*made, *_fitted(found)]


def _fitted(found: "dict[int, Overhead]") -> list[Row]:
    """Constant and slope against the number of clients."""
    made: list[Row] = []
    counts = list(found)
    for kind in ("CPU", "wall"):
        medians = [_median(one.cpu_ms if kind == "CPU" else one.wall_ms) for one in found.values()]
        line = fit_line(counts, medians, [_allowed(clients) for clients in counts])
        for what, value, goal in (("constant", line.intercept, BASE_MS), ("per client", line.slope, CLIENT_MS)):
            made.append(judged(f"{NAME}: fitted, {what} ({kind})", [value], "ms", at_most(goal, " ms"), DEVICE))
    return made


@dataclass
class Overhead:
    """Per round, in ms."""

    cpu_ms: list[float] = field(default_factory=list)
    """CPU of all processes beyond the loop's."""
    wall_ms: list[float] = field(default_factory=list)
    """Wall time beyond the loop's."""
    driver_ms: list[float] = field(default_factory=list)
    """CPU of the driver's process."""
    loop_ms: list[float] = field(default_factory=list)
    """CPU of the loop."""

    def rows(self, clients: int) -> list[Row]:
        """Rows of one number of clients."""
        name, goal = f"{NAME}, N = {clients}", at_most(round(_allowed(clients), 1), " ms")
        return [
            judged(f"{name}: all processes beyond computing (CPU)", self.cpu_ms, "ms", goal, DEVICE),
            judged(f"{name}: beyond computing (wall)", self.wall_ms, "ms", goal, DEVICE),
            judged(f"{name}: the driver's process alone (CPU)", self.driver_ms, "ms", None, DEVICE),
            judged(f"{name}: the computing itself (CPU)", self.loop_ms, "ms", None, DEVICE),
        ]


def measure(config: ExperimentConfig, folder: Path) -> Overhead:
    """A run on Ray with the bare loop between its rounds."""
    bare = Times()
    loop = _bare_loop(config)
    pids: list[int] = []
    began: list[float] = []
    spent: list[float] = []

    def between(record: dict[str, Any], run: RunDir) -> None:
        number = record["round"]
        if number <= WARM:
            pids[:] = family()
            loop(number)
        else:
            spent.append(cpu_seconds(pids) - began[0])
            bare.add(lambda: loop(number))

    def before() -> None:
        began[:] = [cpu_seconds(pids)]

    times = run_rounds(config, folder, between, ray_backend, WARM, before)
    found = Overhead()
    for all_cpu, cpu, wall, loop_cpu, loop_wall in zip(spent, times.cpu, times.wall, bare.cpu, bare.wall, strict=True):
        found.cpu_ms.append(1e3 * (all_cpu - loop_cpu))
        found.wall_ms.append(1e3 * (wall - loop_wall))
        found.driver_ms.append(1e3 * cpu)
        found.loop_ms.append(1e3 * loop_cpu)
    return found


def _bare_loop(config: ExperimentConfig) -> Callable[[int], None]:
    """The computing of a round, by number, on a model of its own."""
    setup = prepare(config)
    model, rule = setup.model, rule_of(setup.header)
    directions = direction_backend("numba")
    clients, scale = config.federation.clients, config.zo.perturbation_scale
    every = frozenset(range(setup.header.blocks))
    given = batch(BATCH, LENGTH)

    def loop(round: int) -> None:
        scalars = np.zeros((clients, 1, 1), dtype=np.float32)
        for client in range(clients):
            seed = direction_seed(rule.seed, round, client, 0)
            plus, minus = model.pair(model.prepare(given, every), Perturbation(seed, 0, scale, "rademacher"))
            scalars[client] = projected_gradient(plus, minus, scale)
        replica = model.replica
        held = np.ones((clients, len(every)), dtype=bool)
        update = RoundUpdate(round, config.zo.lr, np.arange(clients), scalars, held)
        apply_rounds(directions, rule, replica.manifest, replica.parameters, [update])

    return loop


def _allowed(clients: int) -> float:
    """The goal in ms."""
    return BASE_MS + CLIENT_MS * clients


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]
