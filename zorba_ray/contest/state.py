"""compare.json: what is compared, which rates were tried, how far every run is. Rewritten whole after each event."""

import json
from pathlib import Path
from typing import Any

from zorba_ray.contest.cells import Cell, Contest, describe
from zorba_ray.errors import RunDirError
from zorba_ray.experiment.rundir import write_json

CONTEST_FILE = "compare.json"


class ContestState:
    """The file and what stands in it."""

    def __init__(self, path: Path, tree: dict[str, Any]) -> None:
        self.path = path
        self.tree = tree

    @classmethod
    def open(cls, path: Path, contest: Contest, resume: bool, command: list[str]) -> "ContestState":
        """A new comparison in an empty folder, or one that goes on.

        Raises:
            RunDirError: the folder is in use and `resume` is not said, or there is nothing to resume, or what is
                compared differs.
        """
        file = path / CONTEST_FILE
        asked = json.loads(json.dumps(describe(contest)))
        if not resume:
            if path.exists() and (not path.is_dir() or any(path.iterdir())):
                raise RunDirError(f"{path} exists: continue it with --resume, or name another with --dir DIR")
            path.mkdir(parents=True, exist_ok=True)
            own = cls(path, {
                "name": contest.base.name, "command": command, "asked": asked, "passes": contest.passes, "chosen": {},
                "tried": {}, "cells": {},
            })  # fmt: skip
            own.write()
            return own
        try:
            tree = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunDirError(
                f"--resume: {file} cannot be read ({error}); there is no comparison to go on with"
            ) from error
        changed = [key for key in asked if asked[key] != tree["asked"].get(key)]
        if changed:
            lines = [f"{key}: {tree['asked'].get(key)} -> {asked[key]}" for key in changed]
            raise RunDirError(f"resume of {path}: another comparison (old -> new):\n  " + "\n  ".join(lines))
        return cls(path, tree)

    def status(self, cell: Cell) -> str | None:
        """finished, diverged, failed or interrupted; None: not begun."""
        return self.tree["cells"].get(cell.path, {}).get("status")

    def note(self, cell: Cell, status: str, facts: dict[str, Any]) -> None:
        """Writes down how a run ended."""
        self.tree["cells"][cell.path] = {
            "method": cell.method, "seed": cell.seed, "rate": cell.rate, "tuning": cell.tuning, "status": status,
        } | facts  # fmt: skip
        self.write()

    def choose(self, method: str, tried: dict[str, float | None], rate: float) -> None:
        """Writes down a method's rate, and the final validation loss of each that was tried (None: it did not end)."""
        self.tree["tried"][method] = tried
        self.tree["chosen"][method] = rate
        self.write()

    def write(self) -> None:
        write_json(self.path / CONTEST_FILE, self.tree)
