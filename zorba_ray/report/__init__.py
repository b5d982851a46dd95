"""Run and sweep directories -> one self-contained HTML page. Reads files only; imports neither torch nor Ray."""

from zorba_ray.report.groups import Group, group_trials, pareto_front
from zorba_ray.report.html import write_report
from zorba_ray.report.load import RunRecord, load_run
from zorba_ray.report.load_sweep import SweepRecord, TrialRecord, is_sweep, load_sweep

__all__ = [
    "Group",
    "RunRecord",
    "SweepRecord",
    "TrialRecord",
    "group_trials",
    "is_sweep",
    "load_run",
    "load_sweep",
    "pareto_front",
    "write_report",
]
