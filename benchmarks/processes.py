"""CPU time and memory of this process and everything it started (Linux, from /proc)."""

import os
from pathlib import Path


def family(ancestor: int | None = None) -> list[int]:
    """Ids of a process, or of this one, and its descendants: the driver, Ray's processes and the workers."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        parents[int(path.parent.name)] = int(fields[1])
    found = {os.getpid() if ancestor is None else ancestor}
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


def own_bytes(pid: int) -> int:
    """Anonymous memory that a process holds now, swapped pages included; pages of mapped files and of Ray's store are
    not, which a kernel may take back at any time."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
    return 1024 * sum(int(fields[name][0]) for name in ("RssAnon", "VmSwap"))
