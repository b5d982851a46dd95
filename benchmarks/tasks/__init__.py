"""Tasks: what fine-tuning a real language model gives on the tasks people have, and what must be equal to be right.

Every row of training is an ordinary run directory below the folder that ZORBA_TASKS names (default runs/tasks); a row
that is measured without a run is a JSON file there. What is done is not run again, what was cut off goes on. Data come
from ZORBA_SHARED, the model from `make smollm2`; a row that lacks either says so. All of them take about ten CPU hours;
`--row NAME` runs one. Quick: prints what is there, and runs nothing.
"""

from collections.abc import Callable

from benchmarks.rows import Row
from benchmarks.tasks.checks import CHECKS
from benchmarks.tasks.goals import TRAINING
from benchmarks.tasks.stored import stored
from benchmarks.tasks.table import training_row

NAMES = (*(task.name for task in TRAINING), *CHECKS)
"""Rows, as `--row` knows them."""


def rows(quick: bool, only: str | None = None) -> list[Row]:
    """All rows, or one; `quick` runs nothing.

    Raises:
        ZorbaError: a run's directory is of other settings, or was interrupted.
    """
    training: dict[str, Callable[[], Row]] = {
        task.name: lambda task=task: training_row(task, run=not quick) for task in TRAINING
    }
    checks: dict[str, Callable[[], Row]] = {
        name: lambda name=name, measure=measure: stored(name, measure, run=not quick)
        for name, measure in CHECKS.items()
    }
    return [measure() for name, measure in (training | checks).items() if only in (None, name)]
