"""A day of faults as one command: files damaged, processes killed and stopped, disks full, networks cut.

`python -m benchmarks chaos` runs every drill and prints a row for each. `--row NAME` runs one of them, and `--quick` a
short form that the slow tests run, too. A drill starts the program as a user does, or the actors on a Ray of its own,
breaks something, resumes, and compares the SHA-256 of θ with that of a run that nothing disturbed.
"""

import importlib

from benchmarks.rows import Row

NAMES = ("files", "frames", "machine", "kills", "actors", "driver", "network", "jobs", "long_run")
"""Modules of this package with a function `rows(quick)`."""


def rows(quick: bool, name: str | None = None) -> list[Row]:
    """All drills, or those of one name."""
    names = NAMES if name is None else (name,)
    return [row for each in names for row in importlib.import_module(f"benchmarks.chaos.{each}").rows(quick)]
