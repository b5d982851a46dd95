"""What every comparison would cost in CPU time: a round of every method is timed, and multiplied.

A row is kept as JSON beside the comparison, so that nothing is timed twice. Before it the machines are judged, which is
kept too.
"""

import json
import os
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.headline.tasks import TASKS, Task
from benchmarks.live import run_rounds
from benchmarks.rows import Row, make_row, not_run
from zorba_ray.artifacts import Run
from zorba_ray.campaigns.comparison import ComparisonPlan
from zorba_ray.campaigns.comparison.cells import planned_run
from zorba_ray.config import ExperimentConfig, load_method
from zorba_ray.config.aggregation import participant_count

MOST_HOURS = 18.0
_FEW = 32
"""Rows of an evaluation that is timed."""


def rows(quick: bool) -> list[Row]:
    """A row per comparison, and their sum. Quick: reads what was timed."""
    made = [_row(task, quick) for task in TASKS]
    known = [row.value for row in made if row.value == row.value]
    goal = f"≤ {MOST_HOURS:g} h"
    if len(known) < len(made):
        return [*made, not_run("all comparisons: CPU time", "h", goal, "not all are timed")]
    return [*made, make_row("all comparisons: CPU time", [sum(known)], "h", goal, sum(known) <= MOST_HOURS)]


def _row(task: Task, quick: bool) -> Row:
    name, file = f"{task.name}: CPU time", task.path / "cost.json"
    if not file.exists():
        plan = None if quick else task.plan()
        if plan is None:
            return not_run(name, "h", "none, a plan", "not timed, or no data or model")
        torch.set_num_threads(1)
        plan, _ = task.judged(plan)
        file.write_text(json.dumps({method: seconds_of(plan, method) for method in plan.methods}, indent=1), "utf-8")
    seconds: dict[str, float] = json.loads(file.read_text("utf-8"))
    details = {method: f"{cost / 60:.0f} min" for method, cost in seconds.items()}
    return make_row(name, [sum(seconds.values()) / 3600], "h", "none, a plan", None, details=details)


def seconds_of(plan: ComparisonPlan, method: str) -> float:
    """CPU seconds of all runs of a method: its rates in `tune_share` of the rounds, then its seeds."""
    fit = plan.fits.get(method)
    if fit is not None and len(fit.left_out) == fit.clients and not load_method(method).central:
        return 0.0
    ladder = plan.rates.get(method, (1e-3,) * 3)
    config = planned_run(plan, method, plan.seeds[0], min(ladder), tuning=False).config
    start, a_round, a_row = _timed(config)
    tries = len(ladder) if len(ladder) > 1 else 0
    runs, rounds = len(plan.seeds) + tries, config.rounds * (len(plan.seeds) + tries * plan.tune_share)
    evaluations = 1 + config.rounds // config.eval.every  # of validation and, at the start and the end, of test
    return runs * (start + a_row * (config.eval.rows or 0) * (evaluations + 2)) + rounds * a_round


def _timed(config: ExperimentConfig) -> tuple[float, float, float]:
    """CPU seconds of the start, of a round, and of an evaluated row (this one in wall time). One client is asked, and
    the time of a round taken as often as a run asks clients."""
    federation = config.federation
    short = {
        "rounds": 2,
        "eval": config.eval.model_copy(update={"every": 2, "rows": _FEW}),
        "federation": federation.model_copy(update={"participants": 1}),
    }
    present = federation.clients - len(federation.changes)
    asked = min(present, participant_count(federation.clients, federation.participants))
    began = time.process_time()
    with tempfile.TemporaryDirectory(prefix="zb-") as folder:
        alone = run_rounds(config.model_copy(update=short), Path(folder)).cpu[-1]
        evals = Run(Path(folder) / next(iter(os.listdir(folder)))).evals
    evaluated = sum(record.eval_s for record in evals)
    rows = sum(record.rows or 0 for record in evals)
    return max(0.0, time.process_time() - began - 2 * alone - evaluated), asked * alone, evaluated / max(rows, 1)
