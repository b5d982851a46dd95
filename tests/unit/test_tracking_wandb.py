"""W&B: the mode rule, an offline run read back, no prompt, no hang. No network is used."""

import json
import logging
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.support.wandb_files import OfflineRun, read_offline_runs
from zorba_ray.artifacts import ClientRange, Eval, Interval
from zorba_ray.config import TrackingConfig
from zorba_ray.experiment.tracking import WandbMonitor, resolve_mode
from zorba_ray.experiment.tracking.mode import Mode
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
    "clients": [
        {"client": 0, "class": "small", "examples": 9, "budget_bytes": None, "bytes": 77, "blocks": [0, 2]},
        {"client": 1, "class": "large", "examples": 5, "budget_bytes": 100, "bytes": 90, "blocks": [0, 1, 2]},
    ],
    "blocks": 3,
    "f1": 1.5,
    "bytes_all_active": 90,
    "bytes_source": "modelled",
    "accelerator": "simulated",
}


@pytest.fixture(autouse=True)
def _no_wandb_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


MACHINE = "machine {} login user password abc"


@pytest.mark.parametrize(
    ("setting", "environ", "netrc", "mode"),
    [
        ("auto", {}, None, "disabled"),
        ("auto", {"WANDB_API_KEY": DUMMY}, None, "online"),
        ("auto", {"WANDB_API_KEY": "  "}, None, "disabled"),
        ("auto", {}, MACHINE.format("api.wandb.ai"), "online"),
        ("auto", {}, MACHINE.format("api.forge.coreweave.com"), "online"),
        ("auto", {"WANDB_BASE_URL": "https://api.wandb.ai"}, MACHINE.format("api.wandb.ai"), "online"),
        ("auto", {}, MACHINE.format("example.org"), "disabled"),
        ("auto", {"WANDB_BASE_URL": "https://w.example.org"}, MACHINE.format("api.wandb.ai"), "disabled"),
        ("auto", {"WANDB_BASE_URL": "https://w.example.org"}, MACHINE.format("w.example.org"), "online"),
        ("auto", {}, "machine api.wandb.ai login", "disabled"),  # not a netrc file
        ("auto", {"WANDB_API_KEY": DUMMY, "WANDB_MODE": "offline"}, None, "offline"),
        ("auto", {"WANDB_API_KEY": DUMMY, "WANDB_MODE": "disabled"}, None, "disabled"),
        ("auto", {"WANDB_MODE": "online"}, None, "disabled"),
        ("online", {}, None, "online"),
        ("offline", {"WANDB_API_KEY": DUMMY}, None, "offline"),
        ("disabled", {"WANDB_API_KEY": DUMMY}, None, "disabled"),
    ],
)
def test_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: Any, environ: dict[str, str], netrc: str | None, mode: str
) -> None:
    if netrc is not None:
        (tmp_path / ".netrc").write_text(netrc + "\n", encoding="utf-8")
        (tmp_path / ".netrc").chmod(0o600)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert resolve_mode(setting) == mode


def test_the_host_of_wandb_login_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`wandb login --host` leaves its address in wandb's settings file and the key in the netrc file."""
    (tmp_path / ".netrc").write_text(MACHINE.format("w.example.org") + "\n", encoding="utf-8")
    assert resolve_mode("auto") == "disabled"
    settings = tmp_path / ".config/wandb/settings"
    settings.parent.mkdir(parents=True)
    settings.write_text("[default]\nbase_url = https://w.example.org\n", encoding="utf-8")
    assert resolve_mode("auto") == "online"
    monkeypatch.setenv("WANDB_BASE_URL", "https://other.example.org")
    assert resolve_mode("auto") == "disabled"


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
    spans: dict[str, Any] = {
        "intervals": {"mcc": Interval(low=0.1, high=0.3)},
        "by_client": {"mcc": ClientRange(min=0, median=0.2, max=1)},
    }
    told = Eval(round=7, split="test", loss=0.5, mcc=0.2, macro_f1=0.7, confusion=((1, 0), (0, 1)), **spans)
    assert history_row(told.tree()) == {
        "round": 7,
        "eval/test/loss": 0.5,
        "eval/test/mcc": 0.2,
        "eval/test/macro_f1": 0.7,
        "eval/test/intervals/mcc/low": 0.1,
        "eval/test/intervals/mcc/high": 0.3,
        "eval/test/by_client/mcc/min": 0,
        "eval/test/by_client/mcc/median": 0.2,
        "eval/test/by_client/mcc/max": 1,
        "eval/test/eval_s": 0.0,
    }


def _monitor(run_dir: Path, mode: Mode = "offline", past: Sequence[dict[str, Any]] = ()) -> WandbMonitor:
    return WandbMonitor(run_dir, TrackingConfig(project="zorba", group="group"), "abc123", mode, past)


def _drive(monitor: WandbMonitor, run_dir: Path) -> str | None:
    path = run_dir / "allocation.json"
    path.write_text(json.dumps(ALLOCATION), encoding="utf-8")
    monitor.start({"name": "tiny", "zo": {"lr": 0.25}}, {"python": "3.11"})
    monitor.artifact(path, "allocation")
    for record in RECORDS:
        monitor.log(record)
    return monitor.finish({"status": "finished", "final_loss": 1.125, "test_accuracy": None})


def _only(run_dir: Path) -> OfflineRun:
    (found,) = read_offline_runs(run_dir)
    return found


def test_offline_run_holds_our_values(tmp_path: Path) -> None:
    """Written by wandb, read back by `wandb leet inspect`."""
    line = _drive(_monitor(tmp_path), tmp_path)
    run = _only(tmp_path)
    assert line == f"W&B: kept offline; upload it with `wandb sync {run.folder}`"
    assert (run.run_id, run.project, run.group) == ("abc123", "zorba", "group")
    assert run.config["zo"] == {"lr": 0.25}
    assert run.config["provenance"] == {"python": "3.11"}
    assert run.rows[1:] == [history_row(record) for record in RECORDS]
    assert run.steps == [0, 1, 2, 3, 4]
    assert run.step_metrics == {"round/*": "round", "eval/*": "round"}
    assert run.artifacts["allocation-abc123"]["files"] == {"allocation.json": str(tmp_path / "allocation.json")}
    assert run.summary["summary/final_loss"] == 1.125
    assert (run.summary["allocation/f1"], run.summary["vram/fleet_bytes"]) == (1.5, 167)
    assert (run.summary["vram/fleet_bytes"], run.summary["vram/worst_share"]) == (167, 0.9)
    assert run.exit_code == 0
    assert run.rows[0]["allocation/table.nrows"] == 2
    table = json.loads((run.folder / "files" / run.rows[0]["allocation/table.path"]).read_text(encoding="utf-8"))
    assert table["data"] == [[0, "small", 9, None, 77, None, "█·█"], [1, "large", 5, 100, 90, 0.9, "███"]]
    assert table["columns"][4:] == ["bytes (modelled, simulated)", "share", "blocks 0–2"]
    assert not [path for path in tmp_path.iterdir() if path.name not in ("allocation.json", "wandb")]


def test_a_changing_file_is_kept_as_it_was(tmp_path: Path) -> None:
    """The ledger grows when the run is resumed; the artifact of the first session must stay what it was."""
    ledger = tmp_path / "ledger.zl"
    ledger.write_bytes(b"first")
    monitor = _monitor(tmp_path)
    monitor.start({}, {})
    monitor.artifact(ledger, "ledger")
    monitor.finish({"status": "interrupted"})
    ledger.write_bytes(b"first and second")
    copy = Path(_only(tmp_path).artifacts["ledger-abc123"]["files"]["ledger.zl"])
    assert copy.read_bytes() == b"first"
    assert copy.is_relative_to(tmp_path)
    assert _only(tmp_path).exit_code == 1


def test_the_newest_session_is_the_whole_run(tmp_path: Path) -> None:
    """Session 1 told the allocation and two records; session 2 is given four from metrics.jsonl and adds a fifth."""
    allocation = tmp_path / "allocation.json"
    allocation.write_text(json.dumps(ALLOCATION), encoding="utf-8")
    for past, new in ((0, RECORDS[:2]), (4, [{"kind": "round", "round": 3, "loss": 0.5}])):
        monitor = _monitor(tmp_path, past=RECORDS[:past])
        monitor.start({}, {})
        monitor.artifact(allocation, "allocation")
        for record in new:
            monitor.log(record)
        line = monitor.finish({"status": "finished"})
    first, second = read_offline_runs(tmp_path)
    assert first.run_id == second.run_id
    assert first.steps == [0, 1, 2]
    assert second.steps == [0, 1, 2, 3, 4, 5]
    assert second.records() == [*(history_row(record) for record in RECORDS), {"round": 3, "round/loss": 0.5}]
    assert line == f"W&B: kept offline; upload it with `wandb sync {second.folder}`"


def test_a_resumed_online_run_tells_what_the_server_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's next step is 3: the allocation, and rows 1 and 2, arrived before the kill."""
    told: list[int] = []

    class Run:
        starting_step = 3
        dir = str(tmp_path / "wandb/run-1/files")
        summary: ClassVar[dict[str, Any]] = {}

        def define_metric(self, *_: Any, **__: Any) -> None: ...
        def log_artifact(self, artifact: Any) -> None: ...
        def finish(self, code: int) -> None: ...

        def log(self, row: dict[str, Any], step: int, commit: bool) -> None:
            told.append(step)

    monkeypatch.setenv("WANDB_API_KEY", DUMMY)
    monkeypatch.setattr(WandbMonitor, "_init", lambda *_: Run())
    assert _drive(_monitor(tmp_path, "online", RECORDS), tmp_path) is None
    assert told == [3, 4, 5, 6, 7, 8]


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    """wandb would go to a temporary folder without a word."""
    (tmp_path / "wandb").write_text("", encoding="utf-8")
    monitor = _monitor(tmp_path)
    with pytest.raises(OSError, match="wandb"):
        monitor.start({}, {})


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
    monitor = _monitor(tmp_path, "online")
    with caplog.at_level(logging.WARNING, "zorba_ray"):
        line = _drive(monitor, tmp_path)
    assert monitor.mode == "offline"
    assert line is not None
    assert line.startswith("W&B: kept offline; upload it with `wandb sync ")
    assert [r.levelname for r in caplog.records if r.name.startswith("zorba_ray")] == ["WARNING"]
    assert len(_only(tmp_path).records()) == len(RECORDS)


_UNREACHABLE = """
import os, socket, sys, threading, time
from pathlib import Path
from zorba_ray.config import TrackingConfig
from zorba_ray.experiment.tracking import Fanout, WandbMonitor, resolve_mode
server = socket.create_server(("127.0.0.1", 0), backlog=50)
port = server.getsockname()[1]
held = []
def accept():
    while True:
        held.append(server.accept())
if sys.argv[2] == "refuses":
    server.close()
else:
    threading.Thread(target=accept, daemon=True).start()
os.environ.update(WANDB_BASE_URL=f"http://127.0.0.1:{port}", WANDB_API_KEY="0" * 40)
monitor = WandbMonitor(Path(sys.argv[1]), TrackingConfig(), "abc", resolve_mode("auto"))
sinks, began = Fanout([monitor]), time.monotonic()
sinks.start({}, {})
sinks.log({"kind": "round", "round": 1, "loss": 1.0})
print(sinks.finish({"status": "finished"}))
print("delay", time.monotonic() - began)
"""


@pytest.mark.parametrize("host", ["refuses", "is mute"])
def test_an_unreachable_host_costs_seconds(tmp_path: Path, host: str) -> None:
    """A key, no terminal, and a host that refuses or never answers: offline within 20 s, and the line that syncs."""
    done = subprocess.run(
        [sys.executable, "-c", _UNREACHABLE, str(tmp_path), host], capture_output=True, text=True, timeout=120,
        stdin=subprocess.DEVNULL, check=True,
    )  # fmt: skip
    assert "wandb sync" in done.stdout
    assert float(done.stdout.rpartition("delay ")[2]) < 20
