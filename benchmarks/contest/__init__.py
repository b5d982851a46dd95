"""The contest: zorba against the other methods on real tasks at equal forward passes.

Rows are read off comparisons, `zorba-ray compare` each, kept below the folder that ZORBA_CONTEST names (default
runs/contest): what is finished there is not run again, what was cut off goes on. Quick: the built-in task alone.
"""

from benchmarks.contest.measures import task_rows
from benchmarks.contest.tasks import BUILTIN, TASKS, folder, run_task
from benchmarks.rows import Row
from zorba_ray.contest.records import Contest


def rows(quick: bool) -> list[Row]:
    """Runs or resumes the comparisons, and measures."""
    found: dict[str, Contest] = {}
    for task in (BUILTIN,) if quick else TASKS:
        state = run_task(task)
        if state is not None:
            found[task.name] = state
    return task_rows(found, quick, folder())
