"""A run's directory: which file is what, created once, locked while in use, written atomically."""

import errno
import fcntl
import json
import os
import time
from pathlib import Path
from typing import IO, Any

from zorba_ray.config import ExperimentConfig, changed_numbers, config_from_tree
from zorba_ray.errors import RunDirError, StorageError
from zorba_ray.protocol.ledger import sync_folder

_STORAGE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM, errno.ENOTDIR}
"""What the operating system says where a file cannot be written."""


class RunDir:
    """Paths of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.resolved.json"
        self.provenance = path / "provenance.json"
        self.scope = path / "scope.json"
        self.allocation = path / "allocation.json"
        self.ledger = path / "ledger.zl"
        self.snapshots = path / "snapshots"
        self.metrics = path / "metrics.jsonl"
        self.pending = path / "pending.json"
        self.summary = path / "summary.json"
        self.profile = path / "profile.json"
        self.report = path / "report.html"
        self._lock: IO[str] | None = None

    @classmethod
    def create(cls, path: Path, config: ExperimentConfig) -> "RunDir":
        """A new run directory with its resolved settings; one whose run never reached its ledger is used again.

        Raises:
            RunDirError: it exists and holds a ledger, is something else, or is in use.
            StorageError: it cannot be written.
        """
        run = cls(path)
        unstarted = run.config.exists() and not run.ledger.exists()
        if (
            path.exists()
            and not unstarted
            and (not path.is_dir() or any(not entry.name.startswith(".") for entry in path.iterdir()))
        ):
            raise RunDirError(
                f"run directory {path} exists: continue it with --resume, or name another with --run-dir DIR"
            )
        try:
            path.mkdir(parents=True, exist_ok=True)
            run.lock()
            write_json(run.config, config.resolved())
        except OSError as error:
            raise_storage_error(path, error)
            raise
        finally:
            run.unlock()
        return run

    @classmethod
    def reopen(cls, path: Path, config: ExperimentConfig) -> "RunDir":
        """The directory of a run that is to be resumed with `config`; nothing is written.

        Raises:
            RunDirError: not a run directory, or settings that change results differ (they are listed).
        """
        run = cls(path)
        old = run.read_config()
        if config.zo.scope == "auto":  # what it chose stands in the settings of the run
            config = config.model_copy(update={"zo": config.zo.model_copy(update={"scope": old.zo.scope})})
        changes = changed_numbers(old, config)
        if changes:
            listing = "\n  ".join(changes)
            raise RunDirError(
                f"resume of {path}: settings that change results differ (old -> new):\n  {listing}\n"
                "resume with the old values, or start a new run in another directory"
            )
        return run

    def read_config(self) -> ExperimentConfig:
        """The resolved settings.

        Raises:
            RunDirError: missing or not JSON.
        """
        return config_from_tree(self.read_json(self.config), str(self.config))

    def read_json(self, path: Path) -> dict[str, Any]:
        """A JSON object of this run.

        Raises:
            RunDirError: missing, unreadable or damaged.
        """
        try:
            tree = json.loads(path.read_bytes())
        except FileNotFoundError as error:
            raise RunDirError(f"{self.path} is not a run directory: {path.name} is missing") from error
        except OSError as error:
            raise RunDirError(f"{path} cannot be read ({error.strerror})") from error
        except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, a number of thousands of digits, too deep
            raise RunDirError(f"{path} is not JSON ({error})") from error
        if not isinstance(tree, dict):
            raise RunDirError(f"{path} holds no JSON object")
        return tree

    def lock(self, wait_s: float = 0.0) -> None:
        """Holds the directory until `unlock` or the end of this process.

        Args:
            wait_s: seconds to wait for a holder that is on its way out, such as the driver of a killed run.

        Raises:
            RunDirError: another process runs in it.
            StorageError: nothing can be written in it.
        """
        try:
            self._lock = (self.path / ".lock").open("w")
        except OSError as error:
            raise_storage_error(self.path, error)
            raise
        end = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError as error:
                if time.monotonic() >= end:
                    raise RunDirError(f"run directory {self.path} is in use by another process") from error
                time.sleep(0.2)

    def unlock(self) -> None:
        """Gives the directory back."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def write_json(path: Path, tree: Any, durably: bool = False) -> None:
    """Writes aside and renames: a reader sees the old file or the new one, never half; `durably`: also after the
    machine went down."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with aside.open("w", encoding="utf-8") as file:
            file.write(json.dumps(tree, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
            if durably:
                file.flush()
                os.fsync(file.fileno())
        aside.replace(path)
        if durably:
            sync_folder(path.parent)
    finally:
        aside.unlink(missing_ok=True)


def raise_storage_error(path: Path, error: BaseException) -> None:
    """Raises what a failed write in run directory `path` means to the user; returns where the disk is not to blame.

    Raises:
        StorageError: from `error`.
    """
    if not isinstance(error, OSError) or error.errno not in _STORAGE:
        return
    where = f" ({error.filename})" if error.filename else ""
    raise StorageError(
        f"run directory {path}: {error.strerror}{where}. Every committed round is in the ledger: make room, or make "
        "the folder writable, then continue with --resume"
    ) from error
