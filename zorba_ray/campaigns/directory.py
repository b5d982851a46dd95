"""The directory of a campaign, which is a sweep or a comparison. It can be resumed after any kill.

A campaign is a list of cells; each has the settings of a run and its run directory. The state file (sweep.json,
compare.json) is rewritten whenever a cell ends. The ledger of a cell knows its last round. So a resume repeats no
finished cell, and the others go on from their last round (`cell.run_cell`).
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Generic

from zorba_ray.artifacts import making, raise_storage_error, write_record
from zorba_ray.artifacts.campaigns import Cell, State, read_campaign
from zorba_ray.config.base import flatten
from zorba_ray.errors import RunDirError, SweepIncomplete

_FOLDERS = {"trials", "logs", "tune"}
"""Folders that a sweep creates before its state file."""
_LISTED = 10


class CampaignDir(Generic[State]):
    """A campaign's directory and its state."""

    def __init__(self, path: Path, state: State) -> None:
        self.path = path
        self.state: State = state
        self._written = 0.0

    @classmethod
    def begin(cls, path: Path, state: State, option: str) -> "CampaignDir[State]":
        """A new campaign; its state is not written yet.

        Args:
            option: the command line option for the directory, for messages.

        Raises:
            RunDirError: the directory has a campaign that began, or other files, or cannot be created.
            StorageError: the disk is full.
        """
        with making(option, path):
            if path.exists() and not _is_free(path, type(state)):
                raise RunDirError(
                    f"{state.WHAT} directory {path} exists: continue it with --resume, or name another: {option} DIR"
                )
            path.mkdir(0o700, parents=True, exist_ok=True)
        return cls(path, state)

    @classmethod
    def resume(cls, path: Path, kind: type[State]) -> "CampaignDir[State]":
        """The directory of a campaign that goes on.

        Raises:
            RunDirError: there is none, or its state file is damaged.
        """
        return cls(path, read_campaign(path, kind))

    def write(self, every_s: float = 0.0) -> None:
        """Writes the state, unless it was written within the last `every_s` seconds.

        Raises:
            StorageError: it cannot be written.
        """
        if time.monotonic() - self._written < every_s:
            return
        self._written = time.monotonic()
        try:
            write_record(self.path / self.state.FILE, self.state)
        except OSError as error:
            raise_storage_error(self.path, error)
            raise

    def require_whole(self, cells: Sequence[tuple[str, Cell, str]]) -> None:
        """Checks that no cell failed.

        Args:
            cells: (run directory, cell, text that says where to read more).

        Raises:
            SweepIncomplete: some failed; names them and the reasons.
        """
        failed = [entry for entry in cells if entry[1].status == "failed"]
        if failed:
            listing = "".join(
                f"\n  {run}: {_one_line(cell.error or 'unknown')}{more}" for run, cell, more in failed[:_LISTED]
            )
            raise SweepIncomplete(
                f"{len(failed)} of {len(cells)} runs failed, the others are complete; --resume tries them again:"
                f"{listing}"
            )


def require_same(path: Path, lines: Sequence[str], what: str) -> None:
    """Checks that a campaign is resumed with the settings with which it began.

    Args:
        lines: differences, from `changes`.

    Raises:
        RunDirError: there are differences; lists them.
    """
    if lines:
        raise RunDirError(
            f"resume of {path}: the settings of the {what} differ from those it began with (old -> new):\n  "
            + "\n  ".join(lines)
            + f"\nresume with the old values, or start a new {what} in another directory"
        )


def changes(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """One line "key: old -> new" per dotted key that differs."""
    before, after = flatten(old), flatten(json.loads(json.dumps(new)))
    return [
        f"{prefix}{key}: {before.get(key, 'not set')!r} -> {after.get(key, 'not set')!r}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key, "not set") != after.get(key, "not set")
    ]


def _one_line(error: str) -> str:
    lines = error.strip().splitlines() or [""]
    return lines[-1] if lines[0].startswith("Traceback") else lines[0]


def _is_free(path: Path, kind: type[State]) -> bool:
    """Whether a new campaign may use the folder: it is empty, or has a campaign of which no run has begun."""
    if not path.is_dir() or any(path.glob("*/*/ledger.zl")):
        return False
    names = {entry.name for entry in path.iterdir() if not entry.name.startswith(".")}
    if kind.FILE in names:
        return all(cell.status == "pending" for cell in read_campaign(path, kind).every_cell)
    return names <= _FOLDERS
