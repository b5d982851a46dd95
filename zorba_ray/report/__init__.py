"""Run directories -> one self-contained HTML page. Reads files only; imports neither torch nor Ray."""

from zorba_ray.report.html import write_report
from zorba_ray.report.load import RunRecord, load_run

__all__ = ["RunRecord", "load_run", "write_report"]
