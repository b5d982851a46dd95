"""Runs one cell (run) of a sweep or comparison, from the end of its ledger on. A finished cell is not run again."""

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from zorba_ray.artifacts import RunDir, Summary, read_record
from zorba_ray.artifacts.campaigns import Cell
from zorba_ray.config import ExperimentConfig
from zorba_ray.errors import ConfigError, Diverged, Interrupted, StorageError, ZorbaError


@dataclass(frozen=True)
class CellEnding:
    """How a run ended."""

    status: str
    """finished, diverged or failed."""
    error: str | None = None
    """Name and message of the error; None for a finished run."""
    rounds_done: int | None = None
    """None: not known."""
    summary: Summary | None = None
    """Of a finished run; else None."""
    trace: str = ""
    """The traceback of a run that did not finish."""


def is_done(cell: Cell, path: Path) -> bool:
    """Whether a run must not be run again: it is finished, or it diverged and would diverge again.

    Args:
        path: its run directory.

    Raises:
        RunDirError: the directory's summary is damaged.
    """
    return cell.status == "diverged" or RunDir(path).finished() is not None


def run_cell(path: Path, config: ExperimentConfig, work: Callable[[RunDir], object]) -> CellEnding:
    """Runs the remaining rounds of a run; none if it is finished.

    Args:
        path: its run directory, which is created if it is missing.
        work: runs the remaining rounds.

    Raises:
        Interrupted: asked to stop; the directory can be resumed.
        StorageError: the disk is full.
        ConfigError: settings or directory are refused. The caller decides whether other runs go on.
        Exception: any error that is not a `ZorbaError`, unchanged.
    """
    try:
        run = RunDir(path)
        if run.finished() is None:
            work(RunDir.reopen(path, config) if run.ledger.exists() else RunDir.create(path, config))
        summary = read_record(run.summary, Summary)
    except (Interrupted, StorageError, ConfigError):
        raise
    except ZorbaError as error:
        status = "diverged" if isinstance(error, Diverged) else "failed"
        return CellEnding(status, f"{type(error).__name__}: {error}", _rounds_done(path), trace=traceback.format_exc())
    return CellEnding("finished", rounds_done=summary.rounds_done, summary=summary)


def _rounds_done(path: Path) -> int | None:
    run = RunDir(path)
    return read_record(run.summary, Summary).rounds_done if run.summary.exists() else None
