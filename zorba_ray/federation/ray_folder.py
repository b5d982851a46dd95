"""The temporary folder of a private Ray: locked while it is used; what killed programs have left is removed."""

import contextlib
import fcntl
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

from zorba_ray.federation.processes import processes_in

_PREFIX = "zr-"
_LOCK = ".owner"


@contextlib.contextmanager
def ray_folder() -> Iterator[Path]:
    """A new folder, removed at the end. Before that, folders of dead programs are removed, with what still runs there.

    Its name is short, because Ray puts unix sockets inside.

    Raises:
        OSError: it cannot be made.
    """
    _remove_leftovers()
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    handle = None
    try:
        # The lock gets its name when it is held. So nobody takes this folder for one that was left.
        handle = os.open(folder / f"{_LOCK}.new", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX)
        (folder / f"{_LOCK}.new").rename(folder / _LOCK)
        yield folder
    finally:
        if handle is not None:
            os.close(handle)
        shutil.rmtree(folder, ignore_errors=True)


def _remove_leftovers() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # it is another user's, or just goes away
            if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
                continue
            handle = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                for process in processes_in(folder, program="ray"):
                    process.send(signal.SIGKILL)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(handle)
