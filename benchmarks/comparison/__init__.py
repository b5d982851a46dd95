"""Comparisons: zorba against the other methods on real tasks at equal forward passes.

Rows are read off comparisons (`zorba-ray compare`), kept below the folder that ZORBA_COMPARISONS names (default
runs/comparisons): what is finished there is not run again, what was cut off goes on. All of them take days of CPU time;
`python -m benchmarks.comparison TASK …` runs or resumes some, and prints the rows of what is there. Quick: the built-in
task alone, a look.
"""

from benchmarks.comparison.measures import quick_rows, task_rows
from benchmarks.comparison.shape import BYTES_OPT
from benchmarks.comparison.tasks import QUICK, TASKS, run_task
from benchmarks.rows import Row

ALL_TASKS = (*TASKS, BYTES_OPT)
"""What `python -m benchmarks comparison` runs and `python -m benchmarks.comparison` knows by name."""


def rows(quick: bool) -> list[Row]:
    """Runs or resumes the comparisons, and measures."""
    if quick:
        return quick_rows(run_task(QUICK))
    return task_rows({task.name: run_task(task) for task in ALL_TASKS})
