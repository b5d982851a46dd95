"""A real run, round by round, with a moment between rounds in which something else may be timed."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.alternate import Clock, Times
from zorba_ray.artifacts import RunDir
from zorba_ray.config import ExperimentConfig
from zorba_ray.experiment import run_experiment
from zorba_ray.experiment.backends import BackendFactory

_NUMBERS = itertools.count()


def run_rounds(
    config: ExperimentConfig,
    folder: Path,
    between: Callable[[dict[str, Any], RunDir], None] = lambda record, run: None,
    make_backend: BackendFactory | None = None,
    warm: int = 1,
    before: Callable[[], None] = lambda: None,
) -> Times:
    """Times of every round after the first `warm`, all that a run does included: checks, ledger on disk, metrics.

    Args:
        between: called after every round with its record and the run's directory; its time is nobody's.
        before: called right before the next round; its time is nobody's either.
    """
    run = RunDir.create(folder / f"run-{next(_NUMBERS)}", config)
    times = Times()
    clock: list[Clock] = []

    def hear(event: dict[str, Any]) -> None:
        if event["kind"] != "round":
            return
        if clock and event["round"] > warm:
            clock[0].stop(times)
        between(event, run)
        before()
        clock[:] = [Clock()]

    run_experiment(config, run, "simulated", ["benchmarks"], hear, lambda: False, make_backend=make_backend)
    return times
