"""Files that survive a crash of the machine, and that only their owner can read."""

import os
from pathlib import Path


def private(path: str, flags: int) -> int:
    """An opener for `open`: a file that is made is open to its owner alone, whatever the umask allows."""
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def cut(path: Path, size: int) -> None:
    """Cuts a file to `size` bytes if it has more, with fsync."""
    if size < path.stat().st_size:
        with path.open("r+b") as file:
            file.truncate(size)
            file.flush()
            os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Makes a rename in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
