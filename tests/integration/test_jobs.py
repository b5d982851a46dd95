"""`ray job submit` to a head with token authentication: what `benchmarks/chaos/jobs.py` does not drill."""

import json
import os
import socket
from pathlib import Path

import pytest

from benchmarks.chaos import jobs
from benchmarks.chaos.program import rounds_in
from benchmarks.chaos.token_head import TokenHead
from tests.support.tiny_run import run_here
from tests.support.wandb_files import assert_all_metrics, read_offline_runs
from zorba_ray.artifacts.campaigns import Sweep, read_campaign
from zorba_ray.campaigns.sweep import plan_trials
from zorba_ray.config import load_sweep

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small working directory with a config of its own."""
    return jobs.working_directory(tmp_path / "work")


def rounds_of(run: Path) -> list[int]:
    """Rounds in metrics.jsonl."""
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [record["round"] for record in records if record["kind"] == "round"]


def test_every_port_of_the_head_is_on_loopback(head: TokenHead):
    """Nothing of the head answers on this machine's other addresses."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing; picks the outgoing address
        outside = probe.getsockname()[0]
    if outside.startswith("127."):
        pytest.skip("this machine has no address but loopback")
    first = int(head.address.rpartition(":")[2])
    for port in range(first, first + 201):
        with socket.socket() as probe:
            probe.settimeout(2)
            assert probe.connect_ex((outside, port)) != 0, f"port {port} answers on {outside}"


def test_a_run_as_a_job(head: TokenHead, folder: Path):
    jobs.runs(head, folder)


def test_a_run_directory_inside_the_package_is_refused(head: TokenHead, folder: Path):
    """Ray deletes the unpacked working directory; a run kept there on purpose ends with code 2 and the remedy."""
    command = "zorba-ray run tiny.yaml --run-dir $PWD/runs/lost"
    submitted, output = head.submit(folder, "lost", "bash", "-c", command)
    assert submitted == 1
    assert head.job("lost")["driver_exit_code"] == 2, output
    assert "which Ray deletes" in head.logs("lost")


def test_a_working_directory_over_the_limit(head: TokenHead, folder: Path):
    """101 MiB that do not compress: Ray refuses the upload, and nothing runs. `zorba-ray doctor` says it beforehand."""
    (folder / "weights.bin").write_bytes(os.urandom(101 * 2**20))
    code, output = head.submit(folder, "too-large", "zorba-ray", "run", "demo")
    assert code == 1
    assert "413" in output or "too large" in output.lower() or "exceeds" in output.lower(), output[-2000:]


SWEEP = """\
name: job-sweep
run: tiny.yaml
space: {seed: {grid: [1, 2]}}
set: {rounds: 40, eval.every: 20, tracking.wandb: offline}
"""


@pytest.fixture
def sweep_folder(folder: Path) -> Path:
    """A working directory with a sweep of the run."""
    (folder / "sweep.yaml").write_text(SWEEP, encoding="utf-8")
    return folder


def test_a_sweep_as_a_job_stopped_and_resumed(head: TokenHead, sweep_folder: Path):
    """Stopped in the first trial, submitted again with --resume: code 0, each trial whole and once, digests of plain
    runs, and W&B's offline files of every trial hold all metrics."""
    path = head.home / "runs" / "js"
    command = ["zorba-ray", "sweep", "sweep.yaml", "--sweep-dir", "runs/js"]
    head.submit(sweep_folder, "sweep-stop", *command, flags=("--no-wait",))
    first = path / "trials" / "000-seed=1"
    jobs.wait_for(lambda: rounds_in(first) >= 2 or head.job("sweep-stop")["status"] == "FAILED", "two rounds", 240)
    assert head.job("sweep-stop")["status"] == "RUNNING", head.logs("sweep-stop")
    head.stop("sweep-stop")
    jobs.wait_for(lambda: head.job("sweep-stop")["status"] == "STOPPED", "a stopped job")
    assert rounds_in(first) < 40
    code, output = head.submit(sweep_folder, "sweep-resumed", *command, "--resume")
    assert code == 0, output
    log = head.logs("sweep-resumed")
    assert "job-sweep: 2 trials, finished" in log
    assert f"report {path / 'report.html'}" in log
    sweep, base = load_sweep(str(sweep_folder / "sweep.yaml"))
    state = read_campaign(path, Sweep)
    for plan, trial in zip(plan_trials(sweep, base), state.trials, strict=True):
        plain = run_here(plan.config, sweep_folder.parent / plan.name)
        assert (trial.status, trial.weights_sha256) == ("finished", plain["weights_sha256"])
        assert rounds_of(path / trial.run) == list(range(1, 41))
        assert_all_metrics(path / trial.run, read_offline_runs(path / trial.run))


def test_a_failing_sweep_as_a_job(head: TokenHead, sweep_folder: Path):
    """A trial that the cluster could never hold: code 4 and the shortfall, before anything runs."""
    flags = ["federation.backend=ray", "federation.workers=64", "federation.clients=64"]
    submitted, output = head.submit(sweep_folder, "sweep-large", "zorba-ray", "sweep", "sweep.yaml", *flags)
    assert submitted == 1, output
    assert head.job("sweep-large")["driver_exit_code"] == 4
    assert "needs 65 CPU" in head.logs("sweep-large")
