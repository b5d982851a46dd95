"""Two thousand rounds of 64 clients on Ray: memory, file handles and threads stay as they are; a resume is quick."""

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from benchmarks.alternate import at_most, judged
from benchmarks.chaos.program import after_round, command, ended, start
from benchmarks.chaos.sabotage import CLIENT, actor_processes, run_with
from benchmarks.processes import own_bytes
from benchmarks.rows import Row
from benchmarks.shapes import THOUSANDS, data_folder, model_folder, settings
from zorba_ray.errors import Interrupted
from zorba_ray.federation.ray_session import ray_session

CLIENTS, WORKERS, BATCH, LENGTH = 64, 2, 2, 8
DEVICE = "cpu, driver and 2 packed actors of 1 thread"


def rows(quick: bool) -> list[Row]:
    """All rows of this file; quick has 120 rounds and counts from round 40."""
    return measured(120, 40, 20) if quick else measured(2_000, 100, 50)


def measured(rounds: int, first: int, every: int) -> list[Row]:
    """The rows of a run of `rounds`, with a sample every so many rounds from round `first` on."""
    with tempfile.TemporaryDirectory(prefix="zc-") as name:
        folder = Path(name)
        model = model_folder(folder / "model", THOUSANDS)
        data = data_folder(folder / "data", CLIENTS * BATCH, LENGTH)
        federation = {"clients": CLIENTS, "backend": "ray", "workers": WORKERS, "deadline_s": 3600}
        config = settings(model, data, rounds, LENGTH, BATCH, federation=federation)
        growth = Growth(first, every)
        with ray_session(WORKERS + 1, 1), contextlib.suppress(Interrupted):
            run_with(config, folder / "run", growth.hear, lambda: growth.round >= rounds - 1)
        (folder / "config.yaml").write_text(yaml.safe_dump(config.resolved()), encoding="utf-8")
        seconds = resumed(folder / "config.yaml", folder / "run", rounds)
        goal = at_most(20, " s") if rounds >= 2_000 else None  # a short run is drilled while the machine does more
        name = f"{rounds:,} rounds of {CLIENTS} clients"
        return [
            *growth.rows(name),
            judged(f"{name}: --resume, from the command to its first round (wall)", [seconds], "s", goal),
        ]


@dataclass
class Growth:
    """What driver and actors hold, every few rounds."""

    first: int
    """Round from which is counted: before it caches and pools fill."""
    every: int
    round: int = 0
    """The last one."""
    processes: list[int] = field(default_factory=list)
    bytes: list[list[int]] = field(default_factory=list)
    """Anonymous memory of each process, sample by sample."""
    handles: list[list[int]] = field(default_factory=list)
    threads: list[list[int]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    """Wall seconds, round by round."""

    def hear(self, event: dict[str, Any]) -> None:
        """Of a run's events."""
        if event["kind"] != "round":
            return
        assert event["clients_ok"] == CLIENTS, event
        self.round = event["round"]
        self.seconds.append(event["time"]["round_s"])
        if self.round >= self.first and (self.round - self.first) % self.every == 0:
            self.processes = self.processes or [os.getpid(), *actor_processes(CLIENT)]
            self.bytes.append([own_bytes(pid) for pid in self.processes])
            self.handles.append([len(os.listdir(f"/proc/{pid}/fd")) for pid in self.processes])
            self.threads.append([len(os.listdir(f"/proc/{pid}/task")) for pid in self.processes])

    def rows(self, name: str) -> list[Row]:
        """The last samples against the first ones, the worst process of each."""
        assert len(self.processes) == 1 + WORKERS, self.processes
        grown = [100 * (share - 1) for share in self._changes(self.bytes, lambda late, early: late / early)]
        late = self.seconds[-len(self.seconds) // 4 :]
        early = self.seconds[self.first : self.first + len(late)]
        details = {
            "driver, actors": ", ".join(f"{value:+.2f} %" for value in grown),
            "MB at the end": ", ".join(f"{value / 1e6:.1f}" for value in self.bytes[-1]),
            "seconds of a round": f"{median(early):.3f} at first, {median(late):.3f} at last",
        }
        found = [judged(f"{name}: memory, growth after round {self.first}", [max(grown)], "%", at_most(2, " %"), DEVICE,
                        details)]  # fmt: skip
        for what, counts in (("file handles", self.handles), ("threads", self.threads)):
            more = self._changes(counts, lambda late, early: late - early)
            details = {"at the end": ", ".join(map(str, counts[-1]))}
            found.append(judged(f"{name}: {what} more than at round {self.first}", [max(more)], "", at_most(0), DEVICE,
                                details))  # fmt: skip
        return found

    @staticmethod
    def _changes(samples: Sequence[Sequence[int]], change: Callable[[float, float], float]) -> list[float]:
        """Process by process: the median of the last three samples against that of the first three."""
        return [change(median(values[-3:]), median(values[:3])) for values in zip(*samples, strict=True)]


def resumed(config: Path, path: Path, rounds: int) -> float:
    """Wall seconds of `zorba-ray run --resume` up to its first round, its imports and the start of Ray included."""
    began = time.monotonic()
    process = start(command("run", config, "--run-dir", path, "--resume"))
    after_round(process, path, rounds)
    seconds = time.monotonic() - began
    end = ended(process)
    assert end.code == 0, end.text
    return seconds
