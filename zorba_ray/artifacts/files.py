"""Writes files and folders so that a kill does not damage them, locks run directories, and explains write errors."""

import contextlib
import errno
import fcntl
import json
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from zorba_ray.artifacts.lease import leased
from zorba_ray.errors import RunDirError, StorageError, refused_place
from zorba_ray.printable import UNPRINTABLE, shown
from zorba_ray.protocol.files import private, sync_folder

_STORAGE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM, errno.ENOTDIR}
"""Error numbers of the operating system if a file cannot be written."""


def write_json(path: Path, tree: Any, synced: bool = True) -> None:
    """Writes JSON as `replace_text` writes text.

    Args:
        tree: values that JSON can hold.
        synced: as of `replace_text`.

    Raises:
        OSError: it cannot be written; the old file stays.
        ValueError: `tree` has a number that is not finite.
    """
    replace_text(path, json.dumps(tree, indent=1, ensure_ascii=False, allow_nan=False) + "\n", synced)


def replace_text(path: Path, text: str, synced: bool = True) -> None:
    """Writes text to another name and renames the file: a reader sees the old file or the new one, never a part.

    A new file is open to its owner alone; a file that is replaced keeps its mode.

    Args:
        synced: file and folder are synced, so that the new file survives a crash of the machine.

    Raises:
        OSError: it cannot be written; the old file stays.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(aside, "w", encoding="utf-8", opener=private) as file:
            file.write(text)
            with contextlib.suppress(FileNotFoundError):
                os.fchmod(file.fileno(), stat.S_IMODE(path.stat().st_mode))
            if synced:
                file.flush()
                os.fsync(file.fileno())
        aside.replace(path)
        if synced:
            sync_folder(path.parent)
    finally:
        aside.unlink(missing_ok=True)


@contextlib.contextmanager
def held(folder: Path, wait_s: float = 0.0, tell: Callable[[str], None] = lambda text: None) -> Iterator[None]:
    """Locks the directory of a run, sweep or comparison for this process, also against other machines.

    Args:
        wait_s: seconds to wait for another process that is about to end, such as the driver of a killed run.
        tell: as of `leased`.

    Raises:
        RunDirError: another process uses the directory, or its .lock is not a plain file.
        StorageError: the directory cannot be written to.
    """
    with _lock_file(folder / ".lock") as file:
        end = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if time.monotonic() >= end:
                    raise RunDirError(
                        f"run directory {folder} is in use by another process: wait until it ends, or name another "
                        "directory"
                    ) from error
                time.sleep(0.2)
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(leased(folder, tell))
            except OSError as error:
                raise_storage_error(folder, error)
                raise
            yield


def _lock_file(path: Path) -> IO[str]:
    """The lock file, created if it is missing; its content is not changed. A link is refused, as it leads to another
    file.

    Raises:
        RunDirError, StorageError: as `held`.
    """
    try:
        # O_NONBLOCK: if there is a pipe of this name, opening it would wait.
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise RunDirError(f"{path} is not a plain file: remove it, or name another directory") from error
        raise_storage_error(path.parent, error)
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise RunDirError(f"{path} is not a plain file: remove it, or name another directory")
    return os.fdopen(handle, "r+")


@contextlib.contextmanager
def making(what: str, path: Path) -> Iterator[None]:
    """Turns errors of the operating system, while a folder is created, into messages.

    Args:
        what: the role of the folder, for messages.

    Raises:
        RunDirError: the folder cannot be created there: a file or a dangling link is in the way, /proc, no permission.
        StorageError: the disk is full.
    """
    if UNPRINTABLE.search(str(path)) or any(sign in str(path) for sign in "\n\t"):
        raise RunDirError(f"{what} {shown(str(path))} has control characters in its name: choose another name")
    try:
        yield
    except OSError as error:
        raise refused_place(f"{what} {path}", error) from error
    except StorageError as error:
        if isinstance(error.__cause__, OSError):
            raise refused_place(f"{what} {path}", error.__cause__) from error
        raise


def raise_storage_error(path: Path, error: BaseException) -> None:
    """Raises StorageError if `error` says that a file in run directory `path` cannot be written; else returns.

    Raises:
        StorageError: names the file and the reason.
    """
    if not isinstance(error, OSError) or error.errno not in _STORAGE:
        return
    where = f" ({error.filename})" if error.filename else ""
    raise StorageError(
        f"run directory {path}: {error.strerror}{where}. Every committed round is in the ledger: make room, or make "
        "the folder writable, then continue with --resume"
    ) from error
