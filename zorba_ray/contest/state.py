"""compare.json: what is compared, which rates were tried, how far every run is. Rewritten whole after each event."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from zorba_ray.artifacts import RunDir, held, making, raise_storage_error, write_json
from zorba_ray.contest.cells import Cell, Contest, describe
from zorba_ray.errors import RunDirError
from zorba_ray.protocol.messages import LedgerHeader

CONTEST_FILE = "compare.json"


class ContestState:
    """The file and what stands in it."""

    def __init__(self, path: Path, tree: dict[str, Any]) -> None:
        self.path = path
        self.tree = tree

    @classmethod
    def open(cls, path: Path, contest: Contest, resume: bool, command: list[str]) -> "ContestState":
        """A new comparison in an empty folder or where none has begun, or one that goes on.

        Raises:
            RunDirError: the folder is in use and `resume` is not said, or there is nothing to resume, or what is
                compared differs.
            StorageError: it cannot be written.
        """
        asked = json.loads(json.dumps(describe(contest)))
        if not resume:
            with making("--dir", path):
                if path.exists() and (not path.is_dir() or any(path.iterdir())) and not _unstarted(path):
                    raise RunDirError(f"{path} exists: continue it with --resume, or name another with --dir DIR")
                path.mkdir(parents=True, exist_ok=True)
            own = cls(path, {
                "name": contest.base.name, "command": command, "asked": asked, "passes": contest.passes, "chosen": {},
                "tried": {}, "cells": {}, "inputs": {},
            })  # fmt: skip
            own.write()
            return own
        tree = _read(path)
        lines = _changes(tree["asked"], asked)
        if lines:
            raise RunDirError(f"resume of {path}: another comparison (old -> new):\n  " + "\n  ".join(lines))
        return cls(path, tree)

    @contextmanager
    def held(self) -> Iterator[None]:
        """The folder, for this process alone.

        Raises:
            RunDirError: another process has it.
        """
        with held(self.path):
            yield

    def at_an_end(self, cell: Cell) -> bool:
        """Whether a run is not to be taken up again: it finished and is still there, or diverged, as it would again."""
        status = self.tree["cells"].get(cell.path, {}).get("status")
        return status == "diverged" or (status == "finished" and RunDir(self.path / cell.path).summary.exists())

    def check_inputs(self, cell: Cell, header: LedgerHeader) -> None:
        """Notes the digests of a seed's training examples and of the weights, which are others with other adapters, and
        holds later runs against them.

        Raises:
            RunDirError: they differ, so that the runs must not stand in one table.
        """
        found = {
            "data": (cell.seed, header.data_sha256),
            "weights": (header.manifest_sha256[:8], header.weights_sha256),
        }
        for what, (of, digest) in found.items():
            known = self.tree["inputs"].setdefault(f"{what} of {of}", digest)
            if known != digest:
                raise RunDirError(
                    f"{self.path / cell.path}: its {what} are not those of the runs before it "
                    f"({digest[:8]}…, then {known[:8]}…): put these back, remove that folder, and go on with --resume"
                )

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
        """Raises StorageError where that cannot be done."""
        try:
            write_json(self.path / CONTEST_FILE, self.tree)
        except OSError as error:
            raise_storage_error(self.path, error)
            raise


def _read(path: Path) -> dict[str, Any]:
    file = path / CONTEST_FILE
    try:
        tree = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunDirError(f"{file} cannot be read ({error}); there is no comparison to go on with") from error
    parts = ("asked", "chosen", "tried", "cells", "inputs")
    if not isinstance(tree, dict) or not all(isinstance(tree.get(part), dict) for part in parts):
        raise RunDirError(f"{file} is no comparison: it lacks one of {', '.join(parts)}")
    return tree


def _unstarted(path: Path) -> bool:
    """Whether a folder holds a comparison of which no run has reached its first round."""
    return (path / CONTEST_FILE).exists() and not any(path.glob("*/*/ledger.zl")) and not _read(path)["cells"]


def _changes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Lines "key: old -> new"; of settings, those that differ alone."""
    lines = []
    for key in new:
        was, now = old.get(key), new[key]
        if was != now and isinstance(was, dict) and isinstance(now, dict):
            lines += [f"{key}.{line}" for line in _changes(was, {**dict.fromkeys(was), **now})]
        elif was != now:
            lines.append(f"{key}: {was} -> {now}")
    return lines
