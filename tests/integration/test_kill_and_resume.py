"""The whole program killed with -9, interrupted and resumed, as a user would do it: from the command line."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.tiny_run import TINY, run_here, tiny_config

ROUNDS = 12


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> str:
    """SHA-256 of θ of the undisturbed run."""
    path = tmp_path_factory.mktemp("undisturbed") / "run"
    return run_here(tiny_config(f"rounds={ROUNDS}", "eval.every=4"), path)["weights_sha256"]


def start(path: Path, *arguments: str) -> subprocess.Popen[str]:
    """`python -m zorba_ray run demo …` in a session of its own."""
    settings = [*TINY, f"rounds={ROUNDS}", "eval.every=4"]
    command = [sys.executable, "-m", "zorba_ray", "run", "demo", *settings, *arguments, "--run-dir", str(path)]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, start_new_session=True
    )


def rounds_in(path: Path) -> int:
    """Whole round records in metrics.jsonl so far."""
    metrics = path / "metrics.jsonl"
    return metrics.read_text().replace(" ", "").count('"kind":"round"') if metrics.exists() else 0


def kill_after(process: subprocess.Popen[str], path: Path, rounds: int, extra_s: float) -> None:
    """SIGKILL once `rounds` rounds are recorded and `extra_s` more seconds have passed."""
    end = time.monotonic() + 240
    while rounds_in(path) < rounds and process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)
    time.sleep(extra_s)
    process.kill()
    process.communicate(timeout=60)


def finish(path: Path, *arguments: str) -> dict[str, Any]:
    """Resumes to the end; the summary."""
    flags = ["--resume"] if (path / "config.resolved.json").exists() else []
    process = start(path, *arguments, *flags)
    output, _ = process.communicate(timeout=500)
    assert process.returncode == 0, output
    return json.loads((path / "summary.json").read_text())


def assert_each_round_once(path: Path) -> None:
    """metrics.jsonl holds every round and every evaluation exactly once."""
    records = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    assert [r["round"] for r in records if r["kind"] == "round"] == list(range(1, ROUNDS + 1))
    assert sorted(r["round"] for r in records if r["kind"] == "eval" and r["split"] == "validation") == [0, 4, 8, 12]
    assert all(r["loss"] is not None for r in records)


def test_killed_twice_then_resumed(reference: str, tmp_path: Path):
    """Two kills at different rounds, each followed by --resume: the same SHA-256 as undisturbed."""
    path = tmp_path / "run"
    kill_after(start(path), path, 2, 0.03)
    kill_after(start(path, "--resume"), path, 7, 0.1)
    summary = finish(path)
    assert summary["weights_sha256"] == reference
    assert summary["resumed_after_round"] >= 7
    assert_each_round_once(path)


def test_interrupt_leaves_a_resumable_run(reference: str, tmp_path: Path):
    """Ctrl-C: exit code 130 after the round in progress, then --resume to the same SHA-256."""
    path = tmp_path / "run"
    process = start(path)
    while rounds_in(path) < 3 and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130, output
    assert "--resume" in output
    assert json.loads((path / "summary.json").read_text())["status"] == "interrupted"
    assert finish(path)["weights_sha256"] == reference


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_ray_run_killed_at_five_random_moments(reference: str, tmp_path: Path):
    """kill -9 of the program with its private Ray at five random moments, from start-up on; one SHA-256."""
    path = tmp_path / "run"
    ray = ("federation.backend=ray", "federation.workers=2")
    dice = random.Random(20261123)
    for attempt in range(5):
        flags = ["--resume"] if (path / "config.resolved.json").exists() else []
        target = 0 if attempt == 0 else min(ROUNDS - 1, rounds_in(path) + dice.randrange(1, 3))
        kill_after(start(path, *ray, *flags), path, target, dice.uniform(0.0, 12.0 if attempt == 0 else 0.5))
    summary = finish(path, *ray)
    assert summary["weights_sha256"] == reference
    assert_each_round_once(path)
