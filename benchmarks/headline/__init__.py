"""The headline: who fits, what a client holds and sends, and what is learnt, against all methods, like for like.

`python -m benchmarks headline` prints the rows that need no run first, then runs or resumes the comparisons, in the
order of their importance. They are kept below the folder that ZORBA_HEADLINE names (default runs/headline). `--row
NAME` does one of them, and `--quick` runs nothing and reads what is there. `--row plan` times a part of every run, and
says what all of them would cost.
"""

from benchmarks.headline import bytes_sent, plan, quality, vram
from benchmarks.headline.tasks import TASKS
from benchmarks.rows import Row

NAMES = ("vram", "bytes", "plan", *(task.name for task in TASKS))
"""Of rows, and the order in which they come."""


def rows(quick: bool, name: str | None = None) -> list[Row]:
    """All rows but those of the plan, or those of one name."""
    made = vram.rows(quick) if name in (None, "vram") else []
    made += bytes_sent.rows() if name in (None, "bytes") else []
    made += plan.rows(quick) if name == "plan" else []
    return made + [row for task in TASKS if name in (None, task.name) for row in quality.rows(task, quick)]
