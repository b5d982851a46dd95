"""What may break around a run: W&B, the report, the kernel cache, the disk. Training completes, or stops with the
ledger intact and resumes to the same SHA-256."""

import contextlib
import errno
import json
import logging
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.tiny_run import run_here, tiny_config
from zorba_ray.artifacts import RunDir
from zorba_ray.cli.report import write_run_report
from zorba_ray.errors import RunDirError, StorageError
from zorba_ray.experiment import run as run_module
from zorba_ray.experiment import run_experiment
from zorba_ray.experiment.replay import replay_run
from zorba_ray.experiment.run import Closing
from zorba_ray.protocol.ledger import read_ledger

# Enough rounds that the ledger outgrows pending.json, which is written before it.
SETTINGS = ("rounds=12", "eval.every=12", "eval.rows=16", "zo.directions=4")


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> str:
    """SHA-256 of θ of the undisturbed run."""
    return run_here(tiny_config(*SETTINGS), tmp_path_factory.mktemp("undisturbed") / "run")["weights_sha256"]


def execute(
    path: Path, *overrides: str, closing: Closing | None = write_run_report, watch: Any = None
) -> tuple[dict[str, Any], list[str]]:
    """A run, or its resume; summary and the notes for the user."""
    config = tiny_config(*SETTINGS, *overrides)
    run = RunDir.reopen(path, config) if (path / "ledger.zl").exists() else RunDir.create(path, config)
    notes: list[str] = []

    def emit(event: dict[str, Any]) -> None:
        if event["kind"] == "note":
            notes.append(event["text"])
        if watch is not None:
            watch(event)

    summary = run_experiment(config, run, "simulated", ["test"], emit, lambda: False, closing)
    return summary, notes


@contextlib.contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file of this process may grow beyond `size` bytes: a write past it fails, the part that fits is written."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


def run_into_a_full_disk(path: Path, name: str, at: int) -> StorageError:
    """From round `at` on, file `name` has room for 20 bytes more: less than a record."""
    with contextlib.ExitStack() as stack:

        def watch(event: dict[str, Any]) -> None:
            if event["kind"] == "round" and event["round"] == at:
                stack.enter_context(room_for((path / name).stat().st_size + 20))

        with pytest.raises(StorageError) as caught:
            execute(path, watch=watch)
    return caught.value


def assert_intact(path: Path, reference: str, rounds: int) -> None:
    """The ledger holds `rounds` rounds; the resume ends as if nothing had happened, every round once in the metrics."""
    assert read_ledger(path / "ledger.zl").last_round == rounds
    summary, _ = execute(path)
    assert summary["weights_sha256"] == reference
    assert summary["resumed_after_round"] == rounds
    lines = (path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    assert [r["round"] for r in records if r["kind"] == "round"] == list(range(1, 13))
    assert all(r["loss"] is not None for r in records)
    assert replay_run(path, None, None, None).digest == reference


def test_disk_full_at_the_ledger(tmp_path: Path, reference: str) -> None:
    """Half a record is written; the round does not count, and is done again by the resume."""
    path = tmp_path / "run"
    error = str(run_into_a_full_disk(path, "ledger.zl", 10))
    assert error.startswith(f"run directory {path}: File too large")
    assert "continue with --resume" in error
    assert read_ledger(path / "ledger.zl").torn_bytes == 20
    assert_intact(path, reference, 10)


def test_disk_full_at_the_metrics(tmp_path: Path, reference: str) -> None:
    """Half a line is written; the round counts, and its record comes back from pending.json."""
    path = tmp_path / "run"
    run_into_a_full_disk(path, "metrics.jsonl", 3)
    assert not (path / "metrics.jsonl").read_bytes().endswith(b"\n")
    assert_intact(path, reference, 4)


def test_disk_full_for_everything(tmp_path: Path, reference: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor can the summary be written: the first error is the one that is told, and no half file stays."""
    path = tmp_path / "run"
    write = run_module.write_record

    def full(target: Path, record: Any, **how: Any) -> None:
        if target.name == "summary.json" or (target.name == "pending.json" and record.round == 5):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        write(target, record, **how)

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "write_record", full)
        with pytest.raises(StorageError, match=r"No space left on device \(.*pending\.json\)"):
            execute(path)
    assert not (path / "summary.json").exists()
    assert_intact(path, reference, 4)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """A file stands where the folder of the run's folder should be: another is to be named, as for any wrong input."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(RunDirError, match="Not a directory") as caught:
        RunDir.create(tmp_path / "file" / "run", tiny_config())
    assert caught.value.exit_code == 2


def test_wandb_without_its_folder(tmp_path: Path, reference: str, caplog: pytest.LogCaptureFixture) -> None:
    """A file stands in the place of the folder: one warning, and the run that it would have been."""
    path = tmp_path / "run"
    path.mkdir()
    (path / "config.resolved.json").write_text("{}", encoding="utf-8")  # an unstarted run
    (path / "wandb").write_text("", encoding="utf-8")
    with caplog.at_level(logging.WARNING, "zorba_ray"):
        summary, notes = execute(path, "tracking.wandb=offline")
    assert summary["weights_sha256"] == reference
    assert (summary["status"], notes) == ("finished", [])
    assert [record.message.split(":")[0] for record in caplog.records if record.name.startswith("zorba_ray")] == [
        "WandbMonitor failed (FileExistsError"
    ]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stuck"])
def test_wandb_process_lost(
    tmp_path: Path, reference: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """wandb's own process dies, or hangs: one warning, seconds at most, the same run; no process is left behind."""
    monkeypatch.setattr("zorba_ray.experiment.tracking.wandb.CALL_S", 2.0)
    monkeypatch.setattr("zorba_ray.experiment.tracking.wandb.FINISH_S", 1.0)
    lost: list[int] = []

    def watch(event: dict[str, Any]) -> None:
        if event["kind"] == "round" and event["round"] == 5:
            lost.extend(_wandb_processes())
            for pid in lost:
                os.kill(pid, number)

    with caplog.at_level(logging.WARNING, "zorba_ray"):
        summary, _ = execute(tmp_path / "run", "tracking.wandb=offline", watch=watch)
    assert lost
    assert summary["weights_sha256"] == reference
    assert not set(lost) & set(_wandb_processes())
    assert "WANDB_SILENT" not in os.environ
    assert (tmp_path / "run/report.html").exists()


def _wandb_processes() -> list[int]:
    """Living children of this process that are wandb's service."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        children = ""
        with contextlib.suppress(OSError):  # the thread has just ended
            children = (task / "children").read_text(encoding="utf-8")
        for pid in children.split():
            with contextlib.suppress(OSError):
                if b"wandb-core" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(int(pid))
    return found


def test_report_fails(tmp_path: Path, reference: str) -> None:
    """A folder stands in the place of report.html: one line says how to try again, the run is finished."""
    path = tmp_path / "run"

    def watch(event: dict[str, Any]) -> None:
        if event["kind"] == "round" and event["round"] == 1:
            (path / "report.html").mkdir()

    summary, notes = execute(path, watch=watch)
    assert (summary["status"], summary["weights_sha256"]) == ("finished", reference)
    (note,) = notes
    assert note.startswith("warning: report.html could not be written (")
    assert note.endswith(f"try `zorba-ray report {path}`")


@pytest.mark.parametrize("case", ["no folder", "disk full"])
def test_numba_cannot_keep_its_kernels(tmp_path: Path, case: str) -> None:
    """Kernels are compiled in memory and give the bits of the numpy implementation."""
    program = """
import errno, sys
from numba.core import caching
if sys.argv[1] == "no folder":
    for locator in caching.CacheImpl._locator_classes:
        locator.from_function = classmethod(lambda cls, function, file: None)
else:
    def full(self, key, data):
        raise OSError(errno.ENOSPC, "No space left on device")
    caching.IndexDataCacheFile.save = full
    caching.IndexDataCacheFile.load = lambda self, key: None
import torch
import numpy as np
from zorba_ray.directions import Terms, direction_backend
terms = Terms(np.ones(1, np.uint64), np.ones(1, np.uint64), np.float32([0.25]), "rademacher")
theta = torch.arange(5000, dtype=torch.float32)
one, two = theta.clone(), theta.clone()
direction_backend("numba").apply_commits(one, 2, 3, [terms])
direction_backend("numpy").apply_commits(two, 2, 3, [terms])
assert torch.equal(one, two) and not torch.equal(one, theta)
"""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program, case], capture_output=True, text=True, env=environment, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
