"""`ray job submit` of an ordinary command to a head with token authentication: exit codes, logs, stop and resume."""

import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.tiny_run import TINY, run_here, tiny_config
from tests.support.token_head import TokenHead, status_of
from tests.support.wandb_files import assert_all_metrics, read_offline_runs
from zorba_ray.artifacts.campaigns import Sweep, read_campaign
from zorba_ray.campaigns.sweep import plan_trials
from zorba_ray.config import load_sweep

ROUNDS = 60
pytestmark = pytest.mark.timeout(900)

RAY_RUN = ["federation.backend=ray", "federation.workers=2"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small working directory with a config of its own."""
    work = tmp_path / "work"
    work.mkdir()
    (work / "tiny.yaml").write_text("name: tiny\n", encoding="utf-8")
    return work


def submit(head: TokenHead, folder: Path, name: str, *command: str, flags: tuple[str, ...] = ()) -> tuple[int, str]:
    """Submits and waits; exit code of `ray job submit` and what it printed."""
    done = head.ray("job", "submit", "--submission-id", name, "--working-dir", ".", *flags, "--", *command, cwd=folder)
    return done.returncode, done.stdout


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 120.0) -> None:
    """Polls until `condition` holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.2)


def rounds_of(run: Path) -> list[int]:
    """Rounds in metrics.jsonl, whole lines only."""
    try:
        lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    except FileNotFoundError:
        return []
    records = [json.loads(line) for line in lines if line.endswith("\n")]
    return [record["round"] for record in records if record["kind"] == "round"]


def test_no_answer_without_the_token(head: TokenHead, folder: Path):
    """The jobs API refuses with 401, the command says that a token is missing, and nothing runs."""
    assert status_of(f"{head.url}/api/jobs/") == 401
    assert status_of(f"{head.url}/api/jobs/", "0" * 64) in (401, 403)
    refused = head.ray("job", "submit", "--working-dir", ".", "--", "zorba-ray", "run", "demo", token=None, cwd=folder)
    assert refused.returncode == 1
    assert "token" in refused.stdout.lower()


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
    """The command of a terminal, unchanged, with --runtime-env: code 0, the summary in the log, the run outside the
    unpacked working directory, and the numbers of a run without a job."""
    (folder / "env.yaml").write_text("env_vars: {ZORBA_PROBE: there}\n", encoding="utf-8")
    code, output = submit(
        head, folder, "run-ok", "zorba-ray", "run", "demo", *TINY, *RAY_RUN, "--run-dir", "runs/ok",
        flags=("--runtime-env", "env.yaml"),
    )  # fmt: skip
    assert code == 0, output
    details = head.job("run-ok")
    assert (details["status"], details["driver_exit_code"]) == ("SUCCEEDED", 0)
    log = head.logs("run-ok")
    run = head.home / "runs" / "ok"
    assert f"run directory {run}" in log
    assert "3 rounds, finished" in log
    assert "\x1b[" not in log.split("Running entrypoint", 1)[1].split("SHA-256")[0], "escape codes in a job's log"
    summary = json.loads((run / "summary.json").read_text())
    assert f"θ SHA-256 {summary['weights_sha256']}" in log
    assert summary["weights_sha256"] == run_here(tiny_config(), folder.parent / "here")["weights_sha256"]
    assert (run / "report.html").exists()


@pytest.mark.parametrize(
    ("name", "settings", "code", "said"),
    [
        ("bad-setting", ["zo.lrr=1"], 2, "did you mean zo.lr?"),
        ("too-small", [*TINY, *RAY_RUN, "federation.workers=64", "federation.clients=64"], 4, "CPU"),
        (
            "infeasible",
            [*TINY, "memory.frozen=host", 'federation.fleet=[{"name": "a", "count": 4, "vram": 1000}]'],
            3,
            "bytes missing",
        ),
    ],
)
def test_a_failing_job(head: TokenHead, folder: Path, name: str, settings: list[str], code: int, said: str):
    """`ray job submit` answers 1; the jobs API has our exit code, and the log the one message that says why."""
    submitted, output = submit(head, folder, name, "zorba-ray", "run", "demo", *settings, "--run-dir", f"runs/{name}")
    assert submitted == 1
    details = head.job(name)
    assert (details["status"], details["driver_exit_code"]) == ("FAILED", code), output
    log = head.logs(name)
    assert log.count("error: ") == 1
    assert said in log
    assert "Traceback" not in log


def test_a_stopped_job_is_resumed_by_submitting_it_again(head: TokenHead, folder: Path):
    """Stopped in the middle: STOPPED, an interrupted run; the same command with --resume ends at the SHA-256
    of the undisturbed run, every round once."""
    settings = [*TINY, *RAY_RUN, f"rounds={ROUNDS}", f"eval.every={ROUNDS}"]
    command = ["zorba-ray", "run", "demo", *settings, "--run-dir", "runs/stopped"]
    run = head.home / "runs" / "stopped"
    code, output = submit(head, folder, "to-stop", *command, flags=("--no-wait",))
    assert code == 0, output
    wait_for(lambda: len(rounds_of(run)) >= 2 or head.job("to-stop")["status"] == "FAILED", "two rounds")
    assert head.job("to-stop")["status"] == "RUNNING", head.logs("to-stop")
    head.stop("to-stop")
    wait_for(lambda: head.job("to-stop")["status"] == "STOPPED", "a stopped job")
    done = len(rounds_of(run))
    assert 2 <= done < ROUNDS
    code, output = submit(head, folder, "resumed", *command, "--resume")
    assert code == 0, output
    summary = json.loads((run / "summary.json").read_text())
    assert summary["resumed_after_round"] >= 2
    assert rounds_of(run) == list(range(1, ROUNDS + 1))
    undisturbed = run_here(tiny_config(f"rounds={ROUNDS}", f"eval.every={ROUNDS}"), folder.parent / "undisturbed")
    assert summary["weights_sha256"] == undisturbed["weights_sha256"]


def test_a_run_directory_inside_the_package_is_refused(head: TokenHead, folder: Path):
    """Ray deletes the unpacked working directory; a run kept there on purpose ends with code 2 and the remedy."""
    command = f"zorba-ray run demo {' '.join(TINY)} --run-dir $PWD/runs/lost"
    submitted, output = submit(head, folder, "lost", "bash", "-c", command)
    assert submitted == 1
    assert head.job("lost")["driver_exit_code"] == 2, output
    assert "which Ray deletes" in head.logs("lost")


def test_a_working_directory_over_the_limit(head: TokenHead, folder: Path):
    """101 MiB that do not compress: Ray refuses the upload, and nothing runs. `zorba-ray doctor` says it beforehand."""
    (folder / "weights.bin").write_bytes(os.urandom(101 * 2**20))
    code, output = submit(head, folder, "too-large", "zorba-ray", "run", "demo")
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
    """A working directory with a sweep and the run that it varies."""
    shipped = Path(__file__).resolve().parents[2] / "tune_configs" / "runs" / "tiny.yaml"
    (folder / "tiny.yaml").write_text(shipped.read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "sweep.yaml").write_text(SWEEP, encoding="utf-8")
    return folder


def test_a_sweep_as_a_job_stopped_and_resumed(head: TokenHead, sweep_folder: Path):
    """Stopped in the first trial, submitted again with --resume: code 0, each trial whole and once, digests of plain
    runs, and W&B's offline files of every trial hold all metrics."""
    path = head.home / "runs" / "js"
    command = ["zorba-ray", "sweep", "sweep.yaml", "--sweep-dir", "runs/js"]
    submit(head, sweep_folder, "sweep-stop", *command, flags=("--no-wait",))
    first = path / "trials" / "000-seed=1"
    wait_for(lambda: len(rounds_of(first)) >= 2 or head.job("sweep-stop")["status"] == "FAILED", "two rounds", 240)
    assert head.job("sweep-stop")["status"] == "RUNNING", head.logs("sweep-stop")
    head.stop("sweep-stop")
    wait_for(lambda: head.job("sweep-stop")["status"] == "STOPPED", "a stopped job")
    assert len(rounds_of(first)) < 40
    code, output = submit(head, sweep_folder, "sweep-resumed", *command, "--resume")
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
    submitted, output = submit(head, sweep_folder, "sweep-large", "zorba-ray", "sweep", "sweep.yaml", *flags)
    assert submitted == 1, output
    assert head.job("sweep-large")["driver_exit_code"] == 4
    assert "needs 65 CPU" in head.logs("sweep-large")
