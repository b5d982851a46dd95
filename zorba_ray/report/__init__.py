"""Run, sweep and comparison directories -> one self-contained HTML page. Reads files only; imports no torch, no Ray."""

from zorba_ray.report.load import RunRecord, load_run
from zorba_ray.report.load_sweep import SweepRecord, TrialRecord, is_sweep, load_sweep
from zorba_ray.report.write import write_report

__all__ = ["RunRecord", "SweepRecord", "TrialRecord", "is_sweep", "load_run", "load_sweep", "write_report"]
