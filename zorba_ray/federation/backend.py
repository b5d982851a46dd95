"""Where clients run: the interface that the sequential and the Ray backend share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from zorba_ray.stopwatch import Reading


@dataclass(frozen=True)
class Failure:
    """A client that gave no report."""

    kind: Literal["failed", "late"]
    reason: str
    diverged: bool = False
    """Failed because its numbers are no longer finite."""


@dataclass(frozen=True)
class Usage:
    """What one worker process used so far."""

    worker: str
    pid: int
    """Of the process."""
    cpu_s: float
    peak_rss_bytes: int
    reading: Reading | None = None
    """Where its time went; None where the run is not profiled."""
    vram_peaks: Mapping[int, int] = field(default_factory=dict)
    """Client -> bytes measured on a real GPU."""

    @property
    def figures(self) -> dict[str, Any]:
        """What a summary says of it."""
        return {"worker": self.worker, "cpu_s": self.cpu_s, "peak_rss_bytes": self.peak_rss_bytes}


Answer = bytes | Failure
"""A report's frame, or why there is none."""


class Backend(Protocol):
    """Asks clients and spreads commits. Holds no algorithm."""

    def ask(self, plan: bytes, clients: Sequence[int]) -> dict[int, Answer]:
        """One answer per asked client, within the deadline; a client's error is a `Failure`, never an exception."""
        ...

    def apply(self, body: bytes) -> None:
        """Gives a commit, which is in the ledger already, to every worker's replica."""
        ...

    def usage(self) -> list[Usage]:
        """CPU time and peak memory of the worker processes; empty where clients run in the driver's process."""
        ...

    def retries(self) -> int:
        """How often a client was asked again so far."""
        ...

    def close(self) -> None:
        """Ends the workers."""
        ...
