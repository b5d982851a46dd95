"""Files and folders that outlive a kill: written aside and renamed, locked while in use, faults told by their place."""

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

from zorba_ray.errors import RunDirError, StorageError, refused_place
from zorba_ray.printable import UNPRINTABLE, shown

_STORAGE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM, errno.ENOTDIR}
"""What the operating system says where a file cannot be written."""


def write_json(path: Path, tree: Any, durably: bool = False) -> None:
    """Writes aside and renames: a reader sees the old file or the new one, never half.

    Args:
        tree: JSON-ready.
        durably: the file is there also after the machine went down.

    Raises:
        OSError: it cannot be written; the old file stays.
        ValueError: `tree` holds a number that is not finite.
    """
    replace_text(path, json.dumps(tree, indent=1, ensure_ascii=False, allow_nan=False) + "\n", durably)


def replace_text(path: Path, text: str, durably: bool = False) -> None:
    """`write_json` of any text."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with aside.open("w", encoding="utf-8") as file:
            file.write(text)
            if durably:
                file.flush()
                os.fsync(file.fileno())
        aside.replace(path)
        if durably:
            sync_folder(path.parent)
    finally:
        aside.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Makes a rename in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def held(folder: Path, wait_s: float = 0.0) -> Iterator[None]:
    """The directory of a run, sweep or comparison, for this process alone.

    Args:
        wait_s: seconds to wait for a holder that is on its way out, such as the driver of a killed run.

    Raises:
        RunDirError: another process uses it, or its .lock is no plain file.
        StorageError: nothing can be written in it.
    """
    with _lock_file(folder / ".lock") as file:
        end = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if time.monotonic() >= end:
                    raise RunDirError(f"run directory {folder} is in use by another process") from error
                time.sleep(0.2)
        yield


def _lock_file(path: Path) -> IO[str]:
    """The lock file, made where it is missing; its content is never touched. A link would lock, or make, another file.

    Raises:
        RunDirError, StorageError: as `held`.
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
