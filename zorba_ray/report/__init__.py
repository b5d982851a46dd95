"""Run, sweep and comparison directories -> one self-contained HTML page. Reads files only; imports no torch, no Ray."""

from zorba_ray.report.write import write_report

__all__ = ["write_report"]
