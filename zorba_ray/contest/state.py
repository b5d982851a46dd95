"""A comparison's directory: compare.json, rewritten at every event; what a resume may and may not change."""

import json
import time
from pathlib import Path
from typing import Any

from zorba_ray.contest.records import STATE_FILE, Contest, Status, read_contest
from zorba_ray.errors import RunDirError
from zorba_ray.experiment.rundir import RunDir, write_json

NOT_COMPARED = ("name", "tracking", "federation.workers", "federation.mode", "federation.backend", "federation.address")
"""Settings of the configuration that may change between sessions: no run of a comparison follows them."""


class ContestDir:
    """A comparison's directory and its state."""

    def __init__(self, path: Path, state: Contest) -> None:
        self.path = path
        self.state = state
        self._began = time.monotonic() - state.wall_s

    @classmethod
    def create(cls, path: Path, planned: Contest) -> "ContestDir":
        """A new comparison; nothing is written yet. See `require_free`."""
        return cls(path, planned)

    @classmethod
    def reopen(cls, path: Path, planned: Contest) -> "ContestDir":
        """The comparison that goes on.

        Raises:
            RunDirError: none there, or it was started with other settings (they are listed).
        """
        state = read_contest(path)
        changes = _changes(state.settings, planned.settings, "") + _changes(state.base, planned.base, "run.")
        if changes:
            raise RunDirError(
                f"resume of {path}: the comparison is another than the one that was started (old -> new):\n  "
                + "\n  ".join(changes)
                + "\nresume with the old values, or start a new comparison in another directory"
            )
        state.sessions += 1
        state.status = "running"
        return cls(path, state)

    def take_stock(self) -> None:
        """Brings every run in line with its directory: what ended has ended, whatever was written here."""
        for cell in (*self.state.cells, *(one for each in self.state.contestants for one in each.tries)):
            cell.status, cell.error = ending(self.path / cell.run) or ("pending", None)

    def write(self) -> None:
        """Writes compare.json.

        Raises:
            OSError: it cannot be written.
        """
        self.state.wall_s = time.monotonic() - self._began
        write_json(self.path / STATE_FILE, self.state.model_dump(mode="json"))


def require_free(path: Path) -> None:
    """Whether a new comparison may stand at `path`.

    Raises:
        RunDirError: it is taken.
    """
    if path.exists() and (not path.is_dir() or any(not entry.name.startswith(".") for entry in path.iterdir())):
        raise RunDirError(f"directory {path} exists: go on with --resume, or name another with --dir DIR")


def ending(path: Path) -> tuple[Status, str | None] | None:
    """(status, error) of a run that will not be run again; None for one that is to begin or to go on.

    A run has diverged when its loss, its update or its clients' scalars are not finite: the same settings would end
    there again.
    """
    run = RunDir(path)
    if not run.summary.exists():
        return None
    summary = run.read_json(run.summary)
    error = summary.get("error")
    if summary["status"] == "finished":
        return "finished", None
    if has_diverged(summary["status"], error):
        return "diverged", error
    return None


def has_diverged(status: str, error: str | None) -> bool:
    """From summary.json. Clients that are lost because each of their scalars is NaN or infinite diverged as well."""
    return status == "diverged" or (status == "lost_clients" and "not finite" in (error or ""))


def _changes(old: dict[str, Any], new: dict[str, Any], prefix: str) -> list[str]:
    left, right = _flat(old), _flat(new)
    return [
        f"{prefix}{key}: {left.get(key, 'not set')!r} -> {right.get(key, 'not set')!r}"
        for key in sorted(left.keys() | right.keys())
        if left.get(key, "not set") != right.get(key, "not set") and not (prefix and key.startswith(NOT_COMPARED))
    ]


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in json.loads(json.dumps(tree)).items():
        if isinstance(value, dict) and value:
            found.update(_flat(value, f"{prefix}{key}."))
        else:
            found[f"{prefix}{key}"] = value
    return found
