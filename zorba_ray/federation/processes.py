"""What the system says of another process of this machine (Linux: /proc)."""

import contextlib
import os
import signal
from pathlib import Path

_PROC = Path("/proc")


class ProcessClock:
    """One process: whether it was stopped, and how much CPU time it has used.

    Where there is no /proc, or the process is in another container, it counts as running without using CPU time.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._started = _started(pid)

    def cpu_s(self) -> float:
        """CPU seconds of the process so far."""
        fields = _stat(self._pid)
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") if fields else 0.0

    def stopped(self) -> bool:
        """Whether a signal has stopped it, or a debugger holds it."""
        return _stat(self._pid)[:1] in (["T"], ["t"])

    def send(self, number: signal.Signals) -> None:
        """Sends a signal, unless the process has ended and another one has its number."""
        if self._started is not None and _started(self._pid) == self._started:
            with contextlib.suppress(OSError):
                os.kill(self._pid, number)


def _started(pid: int) -> str | None:
    """When the process began, in ticks since the machine did; None: there is no such process."""
    fields = _stat(pid)
    return fields[19] if fields else None


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on (its state). Empty: there is no such process here."""
    try:  # the second field, the name in brackets, may hold anything
        return (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def processes_in(folder: Path, program: str) -> list[ProcessClock]:
    """Processes of this user that have files of `folder` open or name it, and that run a file of package `program` or
    are called `program::…`, as Ray calls its workers."""
    inside = f"{folder}/"
    found = []
    for entry in _PROC.iterdir() if _PROC.is_dir() else ():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            arguments = (entry / "cmdline").read_text(encoding="utf-8", errors="replace")
            if entry.stat().st_uid != os.geteuid():
                continue
            if f"/{program}/" not in arguments and not arguments.startswith(f"{program}::"):
                continue
            links = (os.readlink(link) for link in (entry / "fd").iterdir())
            if any(f"{text}/".startswith(inside) for text in links) or inside in f"{arguments}/".replace("\0", "/"):
                found.append(ProcessClock(int(entry.name)))
    return found
