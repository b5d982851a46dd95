"""The driver's process is killed and stopped while the program waits for it; each time the run resumes."""

import os
import random
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.alternate import at_most, judged
from benchmarks.chaos.program import (
    Ended,
    after_round,
    call,
    command,
    digest_in,
    ended,
    faults_row,
    rounds_in,
    run_arguments,
    start,
)
from benchmarks.chaos.sabotage import DRIVER, actor_processes
from benchmarks.processes import family
from benchmarks.rows import Row

DEVICE = "cpu, private Ray, 2 actors of 1 thread"
ROUNDS = 60
SETTINGS = (f"rounds={ROUNDS}", "eval.every=20")
ON_RAY = (*SETTINGS, "federation.backend=ray", "federation.workers=2")


def rows(quick: bool) -> list[Row]:
    """A stopped driver, and ten killed ones; quick: two."""
    with tempfile.TemporaryDirectory(prefix="zc-") as name:
        folder = Path(name)
        calm = call(*run_arguments(folder / "calm", *SETTINGS))
        digest = digest_in(folder / "calm")
        assert digest is not None, calm.text
        return [*stopped(folder / "stopped", digest), *killed(folder / "killed", digest, 2 if quick else 10)]


def stopped(path: Path, digest: str) -> list[Row]:
    """SIGSTOP of the driver: the program says so and ends; then the run resumes."""
    process = _at_round(path, 2)
    seconds, end = _hit(process, signal.SIGSTOP)
    name = "driver stopped (SIGSTOP)"
    said = "was stopped from outside" in end.text and "--resume" in end.text
    faults = [] if said and end.code == 4 else [f"exit code {end.code}: {end.text[-300:]}"]
    return [
        judged(f"{name}: until the program has named it and ended", [seconds], "s", at_most(30, " s"), DEVICE),
        faults_row(
            f"{name}: exit code 4, a sentence, then --resume", [*faults, *_resumed(path, digest)], device=DEVICE
        ),
    ]


def killed(path: Path, digest: str, count: int) -> list[Row]:
    """kill -9 of the driver, again and again in one run, at random moments; at last it is left alone."""
    dice, faults, seconds = random.Random(23), [], []
    for number in range(count):
        process = _at_round(path, rounds_in(path) + dice.randrange(1, 4))
        time.sleep(dice.uniform(0, 0.4))
        took, end = _hit(process, signal.SIGKILL)
        seconds.append(took)
        if end.code != 4 or "--resume" not in end.text or "Traceback" in end.text:
            faults.append(f"kill {number}: exit code {end.code}: {end.text[-300:]}")
    faults += _resumed(path, digest)
    name = f"driver killed (kill -9) {count} times in a run of {ROUNDS} rounds"
    return [
        faults_row(f"{name}, then --resume", faults, device=DEVICE),
        judged(f"{name}: until the program has named it and ended", seconds, "s", None, DEVICE),
    ]


def _at_round(path: Path, number: int) -> subprocess.Popen[str]:
    process = start(command(*run_arguments(path, *ON_RAY)))
    after_round(process, path, number)
    return process


def _hit(process: subprocess.Popen[str], number: signal.Signals) -> tuple[float, Ended]:
    """Sends a signal to the driver of a program; seconds until the program has ended, and how."""
    for pid in actor_processes(DRIVER, family(process.pid)):
        os.kill(pid, number)
    began = time.monotonic()
    end = ended(process, 120)
    return time.monotonic() - began, end


def _resumed(path: Path, digest: str) -> list[str]:
    """What is wrong with the resumed run."""
    end = call(*run_arguments(path, *ON_RAY))
    found = digest_in(path)
    return [] if end.code == 0 and found == digest else [f"resumed: exit code {end.code}, {found}: {end.text[-300:]}"]
