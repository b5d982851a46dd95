"""W&B: the mode rule, an offline run read back, no prompt, no hang. No network is used."""

import json
import logging
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from zorba_ray.errors import ConfigError
from zorba_ray.experiment.tracking import WandbMonitor, resolve_mode
from zorba_ray.experiment.tracking.wandb_records import history_row

DUMMY = "0" * 40

RECORDS: list[dict[str, Any]] = [
    {"kind": "eval", "round": 0, "split": "validation", "loss": 1.25, "accuracy": None, "eval_s": 0.5},
    {
        "kind": "round",
        "round": 1,
        "loss": 0.6125,
        "lr": 0.01,
        "bytes_up": 3640,
        "rejected": {"3": "not finite"},
        "time": {"round_s": 1.5},
        "recovered": False,
    },
    {"kind": "round", "round": 2, "loss": None, "lr": 0.005, "recovered": True},
    {"kind": "eval", "round": 2, "split": "validation", "loss": 1.125, "accuracy": 0.75, "eval_s": 0.5},
]
ALLOCATION = {
    "clients": [{"client": 0, "class": "small", "examples": 9, "budget_bytes": None, "bytes": 77, "blocks": [0, 2]}],
    "bytes_source": "modelled",
    "accelerator": "simulated",
}


@pytest.fixture(autouse=True)
def _no_wandb_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.mark.parametrize(
    ("setting", "environ", "netrc", "mode"),
    [
        ("auto", {}, None, "offline"),
        ("auto", {"WANDB_API_KEY": DUMMY}, None, "online"),
        ("auto", {"WANDB_API_KEY": "  "}, None, "offline"),
        ("auto", {}, "machine api.wandb.ai login user password abc", "online"),
        ("auto", {}, "machine example.org login user password abc", "offline"),
        ("auto", {"WANDB_BASE_URL": "https://w.example.org"}, "machine api.wandb.ai login u password p", "offline"),
        ("auto", {"WANDB_BASE_URL": "https://w.example.org"}, "machine w.example.org login u password p", "online"),
        ("auto", {}, "machine api.wandb.ai login", "offline"),  # not a netrc file
        ("auto", {"WANDB_API_KEY": DUMMY, "WANDB_MODE": "offline"}, None, "offline"),
        ("auto", {"WANDB_API_KEY": DUMMY, "WANDB_MODE": "disabled"}, None, "disabled"),
        ("auto", {"WANDB_MODE": "online"}, None, "offline"),
        ("online", {}, None, "online"),
        ("offline", {"WANDB_API_KEY": DUMMY}, None, "offline"),
        ("disabled", {"WANDB_API_KEY": DUMMY}, None, "disabled"),
    ],
)
def test_mode(tmp_path: Path, setting: str, environ: dict[str, str], netrc: str | None, mode: str) -> None:
    if netrc is not None:
        (tmp_path / ".netrc").write_text(netrc + "\n", encoding="utf-8")
        (tmp_path / ".netrc").chmod(0o600)
    assert resolve_mode(setting, {"HOME": str(tmp_path), **environ}) == mode


def test_unknown_mode() -> None:
    with pytest.raises(ConfigError, match=r"tracking\.wandb = 'yes'"):
        resolve_mode("yes", {})


def test_history_row() -> None:
    assert history_row(RECORDS[1]) == {
        "round": 1,
        "round/loss": 0.6125,
        "round/lr": 0.01,
        "round/bytes_up": 3640,
        "round/rejected": 1,
        "round/time/round_s": 1.5,
        "round/recovered": 0,
    }
    assert history_row(RECORDS[0]) == {"round": 0, "eval/validation/loss": 1.25, "eval/validation/eval_s": 0.5}


def _drive(monitor: WandbMonitor, run_dir: Path) -> str | None:
    path = run_dir / "allocation.json"
    path.write_text(json.dumps(ALLOCATION), encoding="utf-8")
    monitor.start({"name": "tiny", "zo": {"lr": 0.25}}, {"python": "3.11"})
    monitor.artifact(path, "allocation")
    for record in RECORDS:
        monitor.log(record)
    return monitor.finish({"status": "finished", "final_loss": 1.125, "test_accuracy": None})


def _offline_file(run_dir: Path) -> Path:
    (found,) = (run_dir / "wandb").glob("offline-run-*/run-*.wandb")
    return found


def _inspect(file: Path) -> list[dict[str, Any]]:
    wandb = Path(sys.executable).with_name("wandb")
    done = subprocess.run(
        [str(wandb), "leet", "inspect", "--json", str(file)], capture_output=True, text=True, check=True, timeout=60
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_offline_run_holds_our_values(tmp_path: Path) -> None:
    """Written by wandb, read back by `wandb leet inspect`."""
    line = _drive(WandbMonitor(tmp_path, "zorba", "group", "abc123", "offline"), tmp_path)
    file = _offline_file(tmp_path)
    assert line == f"wandb sync {file.parent}"
    entries = _inspect(file)
    run = next(entry["run"] for entry in entries if entry["type"] == "run")
    assert (run["run_id"], run["project"], run["run_group"], run["job_type"]) == ("abc123", "zorba", "group", "train")
    assert run["config"]["update"]["zo"] == {"lr": 0.25}
    assert run["config"]["update"]["provenance"] == {"python": "3.11"}
    rows = [entry["history"]["item"] for entry in entries if entry["type"] == "history"]
    ours = [{key: value for key, value in row.items() if not key.startswith("_")} for row in rows]
    assert ours[0]["allocation.nrows"] == 1
    assert ours[1:] == [history_row(record) for record in RECORDS]
    steps = {e["metric"].get("glob_name"): e["metric"].get("step_metric") for e in entries if e["type"] == "metric"}
    assert (steps["round/*"], steps["eval/*"]) == ("round", "round")
    artifacts = {entry["artifact"]["name"]: entry["artifact"] for entry in entries if entry["type"] == "artifact"}
    assert artifacts["allocation-abc123"]["manifest"]["contents"][0]["local_path"] == str(tmp_path / "allocation.json")
    summary = {k: v for e in entries if e["type"] == "summary" for k, v in e["summary"]["update"].items()}
    assert summary["summary/final_loss"] == 1.125
    assert entries[-1]["exit"]["exit_code"] == 0
    table = json.loads(next((file.parent / "files/media/table").glob("*.json")).read_text(encoding="utf-8"))
    assert table["data"] == [[0, "small", 9, None, 77, "0 2"]]
    assert table["columns"][4] == "bytes (modelled, simulated)"


def test_online_without_key_asks_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A terminal is pretended; whoever reads from it fails the test."""

    class Terminal:
        def isatty(self) -> bool:
            return True

        def __getattr__(self, name: str) -> Any:
            raise AssertionError(f"stdin.{name} was used")

    monkeypatch.setattr(sys, "stdin", Terminal())
    monitor = WandbMonitor(tmp_path, "zorba", None, "abc124", "online")
    with caplog.at_level(logging.WARNING, "zorba_ray"):
        line = _drive(monitor, tmp_path)
    assert monitor.mode == "offline"
    assert line is not None
    assert line.startswith("wandb sync ")
    assert [r.levelname for r in caplog.records if r.name.startswith("zorba_ray")] == ["WARNING"]
    assert _offline_file(tmp_path).stat().st_size > 0


def test_disabled_touches_nothing(tmp_path: Path) -> None:
    assert _drive(WandbMonitor(tmp_path, "zorba", None, "abc125", "disabled"), tmp_path) is None
    assert [item.name for item in tmp_path.iterdir()] == ["allocation.json"]


@pytest.mark.slow
def test_unreachable_host_costs_at_most_20_s(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", DUMMY)
    monitor = WandbMonitor(tmp_path, "zorba", None, "abc126", resolve_mode("auto"))
    assert monitor.mode == "online"
    start = time.monotonic()
    with caplog.at_level(logging.WARNING, "zorba_ray"):
        line = _drive(monitor, tmp_path)
    assert time.monotonic() - start <= 20
    assert line == f"wandb sync {_offline_file(tmp_path).parent}"
    assert [r.levelname for r in caplog.records if r.name.startswith("zorba_ray")] == ["WARNING"]
    rows = [entry["history"]["item"] for entry in _inspect(_offline_file(tmp_path)) if entry["type"] == "history"]
    assert [row["round/loss"] for row in rows if "round/loss" in row] == [0.6125]
