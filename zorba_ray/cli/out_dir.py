"""A folder for results: made and tried before the work, so that no answer is lost for want of a place."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zorba_ray.errors import StorageError


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Turns what the operating system says about files in `path` into a message with exit code 8.

    Raises:
        StorageError: from the OSError.
    """
    try:
        yield
    except OSError as error:
        where = error.filename or path
        raise StorageError(
            f"--out {path}: {error.strerror or error} ({where}): name a folder that can be written, or make room"
        ) from error


def require_writable(path: Path) -> None:
    """Makes the folder and writes in it once.

    Raises:
        StorageError: it cannot be made or written.
    """
    with storing(path):
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
