"""What the driver and Ray add to a round beyond its computing, with a model of a few thousand parameters.

Computing is the bare loop: per client the prefix and the forward pair of its batch, then one commit; no plan, no
report, no ledger, no process. It is done in this process between two rounds of the real run, in turns. With one worker
the overhead is the round less the loop; with two workers it is the round less half the loop, and what two busy
processes and the driver take from each other on few cores counts as overhead too.
"""

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.alternate import DEVICE, Times, at_most, judged
from benchmarks.live import run_rounds
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
from zorba_ray.zo import apply_round, projected_gradient

BATCH, LENGTH, WARM = 2, 8, 2
BASE_MS, CLIENT_MS = 10.0, 0.2


def rows(quick: bool, folder: Path) -> list[Row]:
    """All rows of this file."""
    turns = {8: 5, 64: 3} if quick else {8: 25, 64: 15, 512: 7}
    model = model_folder(folder / "overhead-model", THOUSANDS)
    data = data_folder(folder / "overhead-data", max(turns) * BATCH, LENGTH)
    made: list[Row] = []
    with ray_session(None, 2, 1):
        for workers in (1,) if quick else (1, 2):
            found = {
                clients: _overhead_ms(_config(model, data, clients, workers, count), folder, workers)
                for clients, count in turns.items()
            }
            made += _told(found, workers)
    return made


def _told(found: dict[int, tuple[list[float], list[float]]], workers: int) -> list[Row]:
    """Rows of one number of workers; the goal is for one, where what is computing is known to the millisecond."""
    device = f"cpu, {workers} worker{'s' if workers > 1 else ''} of 1 thread"
    name = f"overhead of driver and Ray per round, packed, {workers} worker{'s' if workers > 1 else ''}"
    made: list[Row] = []
    for clients, (over, driver) in found.items():
        goal = at_most(round(BASE_MS + CLIENT_MS * clients, 1), " ms") if workers == 1 else None
        made.append(judged(f"{name}, N = {clients} (wall)", over, "ms", goal, device))
        made.append(judged(f"{name}, N = {clients}: the driver's CPU", driver, "ms", None, DEVICE))
    counts = list(found)
    medians = [sorted(over)[len(over) // 2] for over, _ in found.values()]
    line = fit_line(counts, medians, [BASE_MS + CLIENT_MS * clients for clients in counts])
    goals = (at_most(BASE_MS, " ms"), at_most(CLIENT_MS, " ms")) if workers == 1 else (None, None)
    return [
        *made,
        judged(f"{name}: fitted constant (wall)", [line.intercept], "ms", goals[0], device),
        judged(f"{name}: fitted, per client (wall)", [line.slope], "ms", goals[1], device),
    ]


def _config(model: Path, data: Path, clients: int, workers: int, turns: int) -> ExperimentConfig:
    federation = {"clients": clients, "backend": "ray", "workers": workers}
    directions = {"backend": "numba"}
    return settings(model, data, WARM + turns, LENGTH, BATCH, federation=federation, directions=directions)


def _overhead_ms(config: ExperimentConfig, folder: Path, workers: int) -> tuple[list[float], list[float]]:
    """Per round, in ms: wall time beyond the bare loop's, and CPU time of the driver's process."""
    bare = Times()
    loop = _bare_loop(config)

    def between(record: dict[str, Any], run: RunDir) -> None:
        if record["round"] <= WARM:
            loop(record["round"])
        else:
            bare.add(lambda: loop(record["round"]))

    times = run_rounds(config, folder, between, ray_backend, WARM)
    over = [1e3 * (own - loop / workers) for own, loop in zip(times.wall, bare.wall, strict=True)]
    return over, [1e3 * value for value in times.cpu]


def _bare_loop(config: ExperimentConfig) -> Any:
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
        ids, held = list(range(clients)), [every] * clients
        apply_round(directions, rule, replica.manifest, replica.parameters, round, config.zo.lr, ids, scalars, held)

    return loop
