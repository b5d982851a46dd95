"""A run on a private Ray in this process, and signals to its processes while a round is under way."""

import os
import signal
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.processes import family
from zorba_ray.artifacts import RunDir
from zorba_ray.config import ExperimentConfig
from zorba_ray.experiment import run_experiment
from zorba_ray.experiment.backends import ray_backend

DRIVER, CLIENT = "DriverActor", "ClientActor"
_DELAY_S = 0.03
"""From the end of a round to the signal: the next round has begun."""


def actor_processes(name: str, pids: Sequence[int] | None = None) -> list[int]:
    """Ids of the processes of Ray actors of class `name`, among this process's descendants or among `pids`."""
    found = []
    for pid in family() if pids is None else pids:
        with suppress(OSError):  # it has ended
            title = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
            if title.startswith(f"ray::{name}"):
                found.append(pid)
    return found


@dataclass
class Sabotage:
    """After chosen rounds a signal goes to some of the client actors."""

    rounds: Sequence[int]
    number: signal.Signals
    count: Callable[[int], int] = lambda actors: 1
    """Number of actors -> how many are hit."""
    hit: list[int] = field(default_factory=list)
    """Processes that got the signal."""
    records: list[dict[str, Any]] = field(default_factory=list)
    """Records of all rounds."""

    def hear(self, event: dict[str, Any]) -> None:
        """Of a run's events."""
        if event["kind"] != "round":
            return
        self.records.append(event)
        if event["round"] in self.rounds:
            # Another actor each time, so that one that has just come back is hit too.
            actors, first = actor_processes(CLIENT), len(self.hit)
            for place in range(min(len(actors), self.count(len(actors)))):
                pid = actors[(first + place) % len(actors)]
                self.hit.append(pid)
                threading.Timer(_DELAY_S, _send, (pid, self.number)).start()

    @property
    def reports(self) -> list[int]:
        """Reports used, round by round."""
        return [record["clients_ok"] for record in self.records]

    @property
    def seconds(self) -> list[float]:
        """Wall seconds, round by round."""
        return [record["time"]["round_s"] for record in self.records]


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def run_with(
    config: ExperimentConfig,
    path: Path,
    hear: Callable[[dict[str, Any]], None],
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Summary of a run in this process, its clients on Ray actors; resumes where `path` holds a run."""
    run = RunDir.reopen(path, config) if path.exists() else RunDir.create(path, config)
    return run_experiment(config, run, "simulated", ["chaos"], hear, should_stop, make_backend=ray_backend)
