"""A run's directory: which file is what, created once, locked while in use, written atomically."""

import contextlib
import errno
import fcntl
import json
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from zorba_ray.config import ExperimentConfig, changed_numbers, config_from_tree
from zorba_ray.errors import RunDirError, StorageError, refused_place
from zorba_ray.printable import UNPRINTABLE, shown
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
            RunDirError: it exists and holds a ledger, is something else, cannot be made there, or is in use.
            StorageError: the disk is full.
        """
        run = cls(path)
        with making("run directory", path):
            unstarted = run.config.exists() and not run.ledger.exists()
            if (
                path.exists()
                and not unstarted
                and (not path.is_dir() or any(not entry.name.startswith(".") for entry in path.iterdir()))
            ):
                raise RunDirError(
                    f"run directory {path} exists: continue it with --resume, or name another with --run-dir DIR"
                )
            path.mkdir(parents=True, exist_ok=True)
            try:
                run.lock()
                write_json(run.config, config.resolved())
            finally:
                run.unlock()
        return run

    def withdraw(self) -> None:
        """Takes back `create` for a run that was refused before it had a ledger; anything else is left alone."""
        if self.ledger.exists():
            return
        for file in (self.config, self.provenance, self.scope, self.path / ".lock"):
            file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # a folder with files of somebody else stays
            self.path.rmdir()

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
            RunDirError: another process runs in it, or its .lock is no plain file.
            StorageError: nothing can be written in it.
        """
        self._lock = _open_lock(self.path / ".lock")
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


@contextlib.contextmanager
def making(what: str, path: Path) -> Iterator[None]:
    """What the operating system says of a folder that is made, as a message.

    Args:
        what: its role.

    Raises:
        RunDirError: the place cannot hold it: a file or a dangling link stands there, /proc, no permission.
        StorageError: the disk is full.
    """
    if UNPRINTABLE.search(str(path)) or any(sign in str(path) for sign in "\n\t"):
        raise RunDirError(f"{what} {shown(str(path))} has control characters in its name: name another")
    try:
        yield
    except OSError as error:
        raise refused_place(f"{what} {path}", error) from error
    except StorageError as error:
        if isinstance(error.__cause__, OSError):
            raise refused_place(f"{what} {path}", error.__cause__) from error
        raise


def _open_lock(path: Path) -> IO[str]:
    """The lock file, made where it is missing; its content is never touched. A link would lock, or make, another file.

    Raises:
        RunDirError, StorageError: as `RunDir.lock`.
    """
    try:
        # Without waiting: a pipe in its place would be waited for.
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise RunDirError(f"{path} is no plain file: remove it, or name another directory") from error
        raise_storage_error(path.parent, error)
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise RunDirError(f"{path} is no plain file: remove it, or name another directory")
    return os.fdopen(handle, "r+")


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
