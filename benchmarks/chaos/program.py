"""The program as a user starts it: a small run from the command line, with a limit on its time, and what it leaves."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.chaos.forked import run_forked
from benchmarks.rows import Row, make_row

ROUNDS = 12
SETTINGS = (f"rounds={ROUNDS}", "eval.every=4", "federation.snapshot_every=4")
CONFIG = Path(__file__).parents[2] / "tune_configs" / "runs" / "tiny.yaml"
"""A run of seconds."""
DOCUMENTED = {2, 3, 4, 6, 7, 8, 130}
"""Exit codes with a sentence (docs/troubleshooting.md)."""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    """Exit code; minus the number of the signal that ended it."""
    text: str
    """Standard output and error."""

    @property
    def said(self) -> bool:
        """Whether it was refused or stopped with a sentence, and not by a fault of the program."""
        return self.code in DOCUMENTED and "Traceback" not in self.text


def command(*arguments: object) -> list[str]:
    """`zorba-ray ARGUMENTS`, by this interpreter."""
    return [sys.executable, "-m", "zorba_ray", *map(str, arguments)]


def run_arguments(path: Path, *settings: str) -> list[object]:
    """`run` of the small configuration in `path`; resumes where something of a run is there."""
    more = ["--resume"] if (path / "config.resolved.json").exists() else []
    return ["run", CONFIG, *SETTINGS, *settings, "--run-dir", path, *more]


def start(
    words: Sequence[str], environment: Mapping[str, str] | None = None, before: Callable[[], None] | None = None
) -> subprocess.Popen[str]:
    """Starts a command in a session of its own.

    Args:
        before: called in the child before the command.
    """
    inherited = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    return subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        env=inherited | {"OMP_NUM_THREADS": "1"} | dict(environment or {}), start_new_session=True, preexec_fn=before,
    )  # fmt: skip


def ended(process: subprocess.Popen[str], limit_s: float = 600) -> Ended:
    """Waits for its end. Beyond the limit, it and its session are killed."""
    try:
        text, _ = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        text, _ = process.communicate(timeout=60)
        text += f"\nno end within {limit_s:g} s"
    return Ended(process.returncode, text)


def call(*arguments: object, **how: object) -> Ended:
    """`zorba-ray ARGUMENTS`, waited for; `how`: of `start`."""
    return ended(start(command(*arguments), **how))  # type: ignore[arg-type]


def call_forked(*arguments: object, limit_s: float = 600, die_at: int = 0) -> Ended:
    """The same without the seconds of a start; sequential runs alone. `die_at`: as of `run_forked`."""
    return Ended(*run_forked([str(word) for word in arguments], limit_s, die_at))


def rounds_in(path: Path) -> int:
    """Whole lines of rounds in metrics.jsonl so far."""
    metrics = path / "metrics.jsonl"
    return metrics.read_bytes().replace(b" ", b"").count(b'"kind":"round"') if metrics.exists() else 0


def after_round(process: subprocess.Popen[str], path: Path, number: int, limit_s: float = 300) -> None:
    """Waits until a run has recorded `number` rounds, or has ended."""
    end = time.monotonic() + limit_s
    while rounds_in(path) < number and process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)


def digest_in(path: Path) -> str | None:
    """SHA-256 of θ that the summary of a finished run has."""
    try:
        summary = json.loads((path / "summary.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return summary["weights_sha256"] if summary["status"] == "finished" else None


@dataclass(frozen=True)
class Undisturbed:
    """A finished run, and the same run that was interrupted after some rounds."""

    digest: str
    finished: Path
    stopped: Path

    def copy(self, to: Path) -> Path:
        """A copy of the interrupted run."""
        return Path(shutil.copytree(self.stopped, to))


@contextmanager
def undisturbed(after: int = 7) -> Iterator[Undisturbed]:
    """Both runs, in a temporary folder.

    Raises:
        AssertionError: one of them does not run.
    """
    with tempfile.TemporaryDirectory(prefix="zc-") as name:
        finished, stopped = Path(name) / "finished", Path(name) / "stopped"
        first = call(*run_arguments(finished))
        digest = digest_in(finished)
        assert digest is not None, first.text
        process = start(command(*run_arguments(stopped)))
        after_round(process, stopped, after)
        process.send_signal(signal.SIGINT)
        second = ended(process)
        assert second.code == 130, second.text
        yield Undisturbed(digest, finished, stopped)


def faults_row(
    name: str, faults: Sequence[str], goal: str = "0", details: Mapping[str, str] | None = None, device: str = "cpu"
) -> Row:
    """How many faults there were, which are to be none; the first five are told."""
    told = {f"fault {number}": text[-500:] for number, text in enumerate(faults[:5])}
    return make_row(name, [len(faults)], "wrong", goal, not faults, device, {**(details or {}), **told})


@dataclass
class Tally:
    """What came of many faults of one kind."""

    digest: str
    """Of the undisturbed run."""
    same: int = 0
    refused: int = 0
    other: list[str] = field(default_factory=list)
    """What is neither: another digest, a traceback, no end."""

    def resumed(self, path: Path, fault: str) -> None:
        """Resumes a run and notes what came of it."""
        self.noted(call_forked(*run_arguments(path)), path, fault)

    def noted(self, end: Ended, path: Path, fault: str) -> None:
        """Notes what came of a resume that has ended."""
        found = digest_in(path) if end.code == 0 else None
        if found == self.digest:
            self.same += 1
        elif end.said:
            self.refused += 1
        else:
            self.other.append(f"{fault}: exit code {end.code}, {found}: {end.text[-300:]}")

    def row(self, name: str, may_refuse: bool = True) -> Row:
        """How many came to neither the same digest nor a refusal, which is to be none; with `may_refuse` false a
        refusal counts as well."""
        details = {"same SHA-256": str(self.same), "refused with a sentence": str(self.refused)}
        if may_refuse:
            return faults_row(name, self.other, details=details)
        faults = [*self.other, *["refused"] * self.refused]
        return faults_row(name, faults, f"0: all {self.same + len(faults)} the same SHA-256", details)
