"""Writes the report of runs, a sweep or a comparison as an HTML page. Reads only files; imports no torch, no Ray."""

from zorba_ray.report.write import write_report

__all__ = ["write_report"]
