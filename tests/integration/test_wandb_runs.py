"""Whole runs with W&B offline, read back: the newest session has every record of metrics.jsonl, with equal values."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.tiny_run import TINY, tiny_config
from tests.support.wandb_files import OfflineRun, assert_all_metrics, read_offline_runs
from zorba_ray.artifacts import RunDir
from zorba_ray.cli.report import write_run_report
from zorba_ray.config import ExperimentConfig
from zorba_ray.errors import Interrupted
from zorba_ray.experiment import run_experiment
from zorba_ray.experiment.execute import ENTRY, driver_payload

pytestmark = pytest.mark.timeout(300)

OFFLINE = ("tracking.wandb=offline", "tracking.group=family")
FLEET = (
    'federation.fleet=[{"name": "small", "count": 2, "vram": "12MiB"}, {"name": "large", "count": 2, "vram": "1GiB"}]'
)
PARTS = {"round", "loss", "lr", "scalar_rms", "scalar_mean", "distance", "bytes_up", "bytes_down", "peak_rss_bytes"} | {
    *(f"clients_{state}" for state in ("asked", "ok", "failed", "late")),
    *(f"client_loss/{client}" for client in range(4)),
    *(f"time/{part}_s" for part in ("clients", "aggregate", "commit", "apply", "round")),
}
"""What a round is to be judged by on W&B."""


def execute(config: ExperimentConfig, path: Path, stop_after: int | None = None) -> list[str]:
    """A session with the command line's closing; the notes for the user."""
    run = RunDir.reopen(path, config) if path.exists() else RunDir.create(path, config)
    events: list[dict[str, Any]] = []

    def stop() -> bool:
        return any(event["kind"] == "round" and event["round"] == stop_after for event in events)

    run_experiment(config, run, "simulated", ["test"], events.append, stop, write_run_report)
    return [event["text"] for event in events if event["kind"] == "note"]


def check_session(run: OfflineRun, path: Path, config: ExperimentConfig) -> None:
    """Identity, settings, provenance, figures and artifacts of the session in which a run ended."""
    provenance = json.loads((path / "provenance.json").read_text(encoding="utf-8"))
    summary = json.loads((path / "summary.json").read_text(encoding="utf-8"))
    assert (run.run_id, run.project) == (provenance["run_id"], "zorba-ray")
    assert run.group == "family"
    assert {key: run.config[key] for key in ("seed", "zo", "federation")} == {
        key: json.loads(json.dumps(config.resolved()))[key] for key in ("seed", "zo", "federation")
    }
    assert run.config["provenance"]["versions"]["zorba-ray"] == provenance["versions"]["zorba-ray"]
    assert run.summary["summary/weights_sha256"] == summary["weights_sha256"]
    assert run.summary["summary/final_loss"] == summary["final_loss"]
    assert run.exit_code == 0
    for kind, name in (("ledger", "ledger.zl"), ("report", "report.html"), ("summary", "summary.json")):
        copy = Path(run.artifacts[f"{kind}-{run.run_id}"]["files"][name])
        assert copy.read_bytes() == (path / name).read_bytes()
    assert f"allocation-{run.run_id}" in run.artifacts


def test_plain_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run"
    config = tiny_config("memory.frozen=host", *OFFLINE, FLEET)
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--token", "not-to-be-kept"])
    notes = execute(config, path)
    (run,) = read_offline_runs(path)
    assert not [file for file in path.rglob("*") if file.is_file() and b"not-to-be-kept" in file.read_bytes()]
    assert notes == [f"W&B: kept offline; upload it with `wandb sync {run.folder}`"]
    assert_all_metrics(path, [run])
    check_session(run, path, config)
    assert run.rows[0]["allocation/table.nrows"] == 4
    assert 0 < run.summary["vram/worst_share"] <= 1
    last_round = [row for row in run.rows if "round/loss" in row][-1]
    assert {key.removeprefix("round/") for key in last_round} >= PARTS


def test_resumed_run_is_one_run(tmp_path: Path) -> None:
    """Stopped after round 2; two rounds without W&B, the last one's record lost; then W&B again to the end."""
    path = tmp_path / "run"
    config = tiny_config("rounds=6", "eval.every=2", *OFFLINE)
    with pytest.raises(Interrupted):
        execute(config, path, stop_after=2)
    assert (path / "report.html").exists(), "a run that ended early has its report, too"
    with pytest.raises(Interrupted):
        execute(tiny_config("rounds=6", "eval.every=2"), path, stop_after=3)
    metrics = path / "metrics.jsonl"
    metrics.write_text("".join(metrics.read_text(encoding="utf-8").splitlines(True)[:-1]), encoding="utf-8")
    provenance = json.loads((path / "provenance.json").read_text(encoding="utf-8"))
    notes = execute(config, path)
    first, second = read_offline_runs(path)
    assert first.run_id == second.run_id == provenance["run_id"]
    assert first.exit_code == 1
    assert notes == [f"W&B: kept offline; upload it with `wandb sync {second.folder}`"]
    assert_all_metrics(path, [first, second])
    assert [row["round"] for row in second.rows if row.get("round/recovered")] == [3]
    check_session(second, path, config)


def test_killed_run_goes_on_as_the_same_run(tmp_path: Path) -> None:
    """kill -9 of the program: what wandb had not written dies with it and is told by the next session."""
    path = tmp_path / "run"
    settings = [*TINY, "rounds=400", "eval.every=100", *OFFLINE]
    command = [sys.executable, "-m", "zorba_ray", "run", "demo", *settings, "--run-dir", str(path)]
    metrics = path / "metrics.jsonl"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not (metrics.exists() and metrics.read_bytes().count(b"\n") > 6):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    last = metrics.read_bytes().count(b'"kind": "round"')
    config = tiny_config("rounds=400", "eval.every=100", *OFFLINE)
    with pytest.raises(Interrupted):
        execute(config, path, stop_after=last + 3)
    sessions = read_offline_runs(path)
    assert_all_metrics(path, sessions)
    assert len({run.run_id for run in sessions}) == 1
    assert sessions[-1].artifacts


@pytest.mark.usefixtures("ray_cluster")
def test_run_in_the_driver_actor(tmp_path: Path) -> None:
    """As a submitted job runs: W&B and the report are written where the run directory is."""
    from zorba_ray.federation.ray_driver import launch

    config = tiny_config("federation.backend=ray", "federation.workers=1", *OFFLINE)
    run = RunDir.create(tmp_path / "run", config)
    events: list[dict[str, Any]] = []
    payload = driver_payload(config.resolved(), run.path, "simulated", ["test"], write_run_report)
    launch(ENTRY, payload, events.append, lambda: False)
    (session,) = read_offline_runs(run.path)
    assert_all_metrics(run.path, [session])
    check_session(session, run.path, config)
    assert [e["text"] for e in events if e["kind"] == "note"] == [
        f"W&B: kept offline; upload it with `wandb sync {session.folder}`"
    ]


def test_terminal_without_a_key_is_never_asked(tmp_path: Path) -> None:
    """On a real terminal wandb offers a menu to who has no key; we take the offline mode and say how to upload."""
    path = tmp_path / "run"
    environment = {name: value for name, value in os.environ.items() if name not in ("NETRC", "RAY_ADDRESS")}
    environment |= {"HOME": str(tmp_path), "TERM": "xterm", "COLUMNS": "300"}
    settings = [*TINY, "tracking.wandb=online"]
    command = [sys.executable, "-m", "zorba_ray", "run", "demo", *settings, "--run-dir", str(path)]
    terminal, inner = pty.openpty()
    with subprocess.Popen(command, stdin=inner, stdout=inner, stderr=inner, env=environment) as process:
        os.close(inner)
        shown = b""
        while True:
            try:
                part = os.read(terminal, 65536)
            except OSError:  # the program has closed its side
                break
            shown += part
    os.close(terminal)
    assert process.returncode == 0, shown.decode()
    (run,) = read_offline_runs(path)
    assert f"wandb sync {run.folder}".encode() in shown.replace(b"\r\n", b"")
    assert_all_metrics(path, [run])
