"""Run and sweep directories -> one self-contained HTML page. Reads files only; imports neither torch nor Ray."""

from zorba_ray.artifacts.run import Run
from zorba_ray.artifacts.sweep import SweepRecord, TrialRecord, is_sweep, load_sweep
from zorba_ray.report.groups import Group, Spread, group_trials, pareto_front
from zorba_ray.report.html import write_report

__all__ = [
    "Group",
    "Run",
    "Spread",
    "SweepRecord",
    "TrialRecord",
    "group_trials",
    "is_sweep",
    "load_sweep",
    "pareto_front",
    "write_report",
]
