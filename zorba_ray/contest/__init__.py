"""Methods side by side: the same data, batches, seeds and forward passes for each."""

from zorba_ray.contest.cells import Cell, Contest, cell_config, ladder_of
from zorba_ray.contest.plan import plan_contest
from zorba_ray.contest.run import run_contest
from zorba_ray.contest.state import CONTEST_FILE, ContestState

__all__ = [
    "CONTEST_FILE",
    "Cell",
    "Contest",
    "ContestState",
    "cell_config",
    "ladder_of",
    "plan_contest",
    "run_contest",
]
