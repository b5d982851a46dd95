"""CPU time and memory of this process and everything it started (Linux, from /proc)."""

import os
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")


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


def resident_bytes(pid: int) -> int:
    """Resident set of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
