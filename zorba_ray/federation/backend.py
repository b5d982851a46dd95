"""The interface of a backend, which runs the clients: the sequential one and the one on Ray."""

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
    """Whether it failed because its numbers are no longer finite."""


@dataclass(frozen=True)
class Usage:
    """What one worker process has used so far."""

    worker: str
    pid: int
    """Process id."""
    cpu_s: float
    peak_rss_bytes: int
    reading: Reading | None = None
    """Where its time went; None if the run is not profiled."""
    vram_peaks: Mapping[int, int] = field(default_factory=dict)
    """Client -> bytes measured on a real GPU."""

    @property
    def figures(self) -> dict[str, Any]:
        """The part of it that is in summary.json."""
        return {"worker": self.worker, "cpu_s": self.cpu_s, "peak_rss_bytes": self.peak_rss_bytes}


Answer = bytes | Failure
"""A report's frame, or why there is none."""


class Backend(Protocol):
    """Sends plans and commits to clients. It contains no part of the algorithm."""

    def ask(self, plan: bytes, clients: Sequence[int], enough: int | None = None) -> dict[int, Answer]:
        """One answer per asked client, within the deadline. A client's error is a `Failure`, never an exception.

        Args:
            enough: number of reports that are needed, best of the first `enough` clients; the others may be late then.
                None: all.
        """
        ...

    def apply(self, body: bytes) -> None:
        """Sends a commit to every worker's replica. The commit must already be in the ledger."""
        ...

    def usage(self) -> list[Usage]:
        """CPU time and peak memory of the worker processes; empty if clients run in the driver's process."""
        ...

    def retries(self) -> int:
        """How often a client was asked again in this session."""
        ...

    def close(self) -> None:
        """Ends the workers."""
        ...
