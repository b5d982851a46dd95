"""CPU time and memory of this process and everything it started (Linux, from /proc)."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Held:
    """Bytes of memory that a process holds."""

    resident: int
    """The resident set, pages of mapped files and of Ray's store included: a kernel may take those back at any time, so
    it moves by tens of megabytes on its own."""
    own: int
    """Anonymous pages, swapped ones included."""


def family() -> list[int]:
    """Ids of this process and its descendants: the driver, Ray's processes and the workers."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        parents[int(path.parent.name)] = int(fields[1])
    found = {os.getpid()}
    grown = True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        grown = bool(more)
        found |= more
    return sorted(found)


def cpu_seconds(pids: list[int]) -> float:
    """CPU time so far of all threads of the given processes, to the nanosecond; a thread's counts until it ends."""
    total = 0
    for pid in pids:
        for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            try:
                total += int(path.read_text().split()[0])
            except OSError:
                continue
    return total / 1e9


def memory_of(pid: int) -> Held:
    """What a process holds now."""
    return Held(_status(pid, "VmRSS"), _status(pid, "RssAnon") + _status(pid, "VmSwap"))


def _status(pid: int, name: str) -> int:
    """A field of /proc/PID/status in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return 1024 * int(line.split()[1])
    raise ValueError(f"/proc/{pid}/status has no {name}")
