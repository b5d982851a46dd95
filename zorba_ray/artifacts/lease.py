"""One owner of a directory across machines: a file that its owner renews every few seconds.

`flock` tells processes of one machine apart. On a file system that several machines share it may not. So the owner also
writes who it is, and a number that grows. Clocks of machines are not compared: a machine that wants the directory
watches whether the number grows. An owner that was asleep for longer finds another name in the file, and stops.
"""

import contextlib
import json
import os
import platform
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from zorba_ray.errors import ClusterError, RunDirError
from zorba_ray.printable import on_one_line

RENEW_S = 5.0
WATCH_S = 30.0
"""Seconds for which the owner of another machine must not have renewed the file before the directory is taken."""
_SETTLE_S = 2.0
"""Seconds after which two that took the directory at the same time know whose it is."""
_HELD: dict[Path, "_Lease"] = {}
"""The directories of this process."""


@contextlib.contextmanager
def leased(folder: Path, tell: Callable[[str], None] = lambda text: None) -> Iterator[None]:
    """Owns a directory that this process has locked (`held`), and gives it back at the end.

    Args:
        tell: hears why it takes long.

    Raises:
        RunDirError: a process of another machine owns it.
        OSError: it cannot be written to.
    """
    lease = _Lease(folder / ".owner")
    lease.take(tell)
    stop = threading.Event()
    thread = threading.Thread(target=lease.renew_until, args=(stop,), daemon=True)
    thread.start()
    _HELD[folder] = lease
    try:
        yield
    finally:
        del _HELD[folder]
        stop.set()
        thread.join()
        lease.give_back()


def require_owned(folder: Path) -> None:
    """Checks that this process still owns a directory that it has leased; call it before what must not happen twice.

    Raises:
        ClusterError: another process has taken it, because this one was asleep.
    """
    lease = _HELD.get(folder)
    if lease is not None and not lease.mine():
        raise ClusterError(
            f"run directory {folder} was taken over by {lease.owner()}: this process had not renewed {lease.path.name} "
            f"for {WATCH_S:.0f} s or longer. Nothing was written since; let the other process go on"
        )


class _Lease:
    """The file of one directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._token = secrets.token_hex(8)
        self._beat = 0

    def take(self, tell: Callable[[str], None]) -> None:
        """Raises RunDirError, OSError: as `leased`."""
        old = self._read()
        elsewhere = bool(old) and _tree_of(old).get("machine") != _machine()
        if elsewhere:
            tell(f"{self.path.parent} was used on another machine: watching for {WATCH_S:.0f} s whether it still is")
            end = time.monotonic() + WATCH_S
            while time.monotonic() < end:
                time.sleep(min(1.0, WATCH_S / 10))
                if self._read() not in (old, b""):
                    raise self._in_use()
        aside = self.path.with_name(f"{self.path.name}.{self._token}")
        try:
            with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(self._content())
            aside.replace(self.path)
        finally:
            aside.unlink(missing_ok=True)
        if elsewhere:
            time.sleep(min(_SETTLE_S, WATCH_S / 10))
            if not self.mine():
                raise self._in_use()

    def _in_use(self) -> RunDirError:
        return RunDirError(
            f"run directory {self.path.parent} is in use by {self.owner()}: wait until it ends, or name another "
            "directory"
        )

    def renew_until(self, stop: threading.Event) -> None:
        """Writes a larger number every RENEW_S, unless another process has taken the directory."""
        while not stop.wait(RENEW_S):
            self._beat += 1
            with contextlib.suppress(OSError):  # a full disk: the length stays, so the next one may succeed
                if self.mine():
                    with self.path.open("r+b") as file:
                        file.write(self._content())

    def give_back(self) -> None:
        """Removes the file, if it still names this process."""
        with contextlib.suppress(OSError):
            if self.mine():
                self.path.unlink(missing_ok=True)

    def mine(self) -> bool:
        """Whether the file names this process."""
        return _tree_of(self._read()).get("token") == self._token

    def owner(self) -> str:
        """Who the file names, in words."""
        tree = _tree_of(self._read())
        return on_one_line(f"process {tree.get('process')} on {tree.get('host')}")[:200]

    def _content(self) -> bytes:
        tree = {
            "host": platform.node(),
            "machine": _machine(),
            "process": os.getpid(),
            "token": self._token,
            "beat": f"{self._beat:012d}",
        }
        return json.dumps(tree).encode() + b"\n"

    def _read(self) -> bytes:
        """Empty: there is no such file."""
        try:
            return self.path.read_bytes()[:4096]
        except FileNotFoundError:
            return b""


def _tree_of(content: bytes) -> dict[str, object]:
    """A JSON object; empty if it is none."""
    with contextlib.suppress(ValueError, RecursionError):
        tree = json.loads(content)
        return tree if isinstance(tree, dict) else {}
    return {}


def _machine() -> str:
    """This start of the machine, and which of its containers this is. Where both are the same, `flock` is enough."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        parts = [Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()]
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)
