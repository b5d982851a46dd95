"""W&B: the mode rule, an offline run read back, no prompt, no hang. No network is used."""

import json
import logging
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.support.wandb_files import OfflineRun, inspect, read_offline_runs
from zorba_ray.errors import ConfigError
from zorba_ray.experiment.tracking import WandbMonitor, resolve_mode
from zorba_ray.experiment.tracking.wandb_records import allocation_picture, allocation_values, history_row
from zorba_ray.experiment.tracking.wandb_sessions import BLOCK, read_sessions, wait_for_end

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


@pytest.mark.parametrize(
    ("setting", "environ", "netrc", "mode"),
    [
        ("auto", {}, None, "offline"),
        ("auto", {"WANDB_API_KEY": DUMMY}, None, "online"),
        ("auto", {"WANDB_API_KEY": "  "}, None, "offline"),
        ("auto", {}, "machine api.wandb.ai login user password abc", "online"),
        ("auto", {}, "machine api.forge.coreweave.com login user password abc", "online"),
        ("auto", {"WANDB_BASE_URL": "https://api.wandb.ai"}, "machine api.wandb.ai login u password p", "online"),
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


def test_the_host_of_wandb_login_counts(tmp_path: Path) -> None:
    """`wandb login --host` leaves its address in wandb's settings file and the key in the netrc file."""
    (tmp_path / ".netrc").write_text("machine w.example.org login user password abc\n", encoding="utf-8")
    environ = {"HOME": str(tmp_path)}
    assert resolve_mode("auto", environ) == "offline"
    settings = tmp_path / ".config/wandb/settings"
    settings.parent.mkdir(parents=True)
    settings.write_text("[default]\nbase_url = https://w.example.org\n", encoding="utf-8")
    assert resolve_mode("auto", environ) == "online"
    assert resolve_mode("auto", {**environ, "WANDB_BASE_URL": "https://other.example.org"}) == "offline"


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


def _only(run_dir: Path) -> OfflineRun:
    (found,) = read_offline_runs(run_dir)
    return found


def test_offline_run_holds_our_values(tmp_path: Path) -> None:
    """Written by wandb, read back by `wandb leet inspect`."""
    line = _drive(WandbMonitor(tmp_path, "zorba", "group", "abc123", "offline", "sweep-trial"), tmp_path)
    run = _only(tmp_path)
    assert line == f"wandb sync {run.folder}"
    assert (run.run_id, run.project, run.group, run.job_type) == ("abc123", "zorba", "group", "sweep-trial")
    assert run.config["zo"] == {"lr": 0.25}
    assert run.config["provenance"] == {"python": "3.11"}
    assert run.rows[1:] == [history_row(record) for record in RECORDS]
    assert run.steps == [0, 1, 2, 3, 4]
    assert run.step_metrics == {"round/*": "round", "eval/*": "round"}
    assert run.artifacts["allocation-abc123"]["files"] == {"allocation.json": str(tmp_path / "allocation.json")}
    assert run.summary["summary/final_loss"] == 1.125
    assert (run.summary["vram/fleet_bytes"], run.summary["vram/worst_share"]) == (167, 0.9)
    assert run.exit_code == 0
    assert run.rows[0]["allocation/table.nrows"] == 2
    table = json.loads((run.folder / "files" / run.rows[0]["allocation/table.path"]).read_text(encoding="utf-8"))
    assert table["data"] == [[0, "small", 9, None, 77, None, "0 2"], [1, "large", 5, 100, 90, 0.9, "0 1 2"]]
    assert table["columns"][4] == "bytes (modelled, simulated)"
    assert (run.folder / "files" / run.rows[0]["allocation/blocks.path"]).read_bytes().startswith(b"\x89PNG")
    assert not [path for path in tmp_path.iterdir() if path.name not in ("allocation.json", "wandb")]


def test_a_changing_file_is_kept_as_it_was(tmp_path: Path) -> None:
    """The ledger grows when the run is resumed; the artifact of the first session must stay what it was."""
    ledger = tmp_path / "ledger.zl"
    ledger.write_bytes(b"first")
    monitor = WandbMonitor(tmp_path, "zorba", None, "abc", "offline")
    monitor.start({}, {})
    monitor.artifact(ledger, "ledger")
    monitor.finish({"status": "interrupted"})
    ledger.write_bytes(b"first and second")
    copy = Path(_only(tmp_path).artifacts["ledger-abc"]["files"]["ledger.zl"])
    assert copy.read_bytes() == b"first"
    assert copy.is_relative_to(tmp_path)
    assert _only(tmp_path).exit_code == 1


def test_a_later_session_tells_what_is_missing(tmp_path: Path) -> None:
    """Session 1 told the allocation and two records; session 2 is given four from metrics.jsonl and adds a fifth."""
    allocation = tmp_path / "allocation.json"
    allocation.write_text(json.dumps(ALLOCATION), encoding="utf-8")
    for past, new in ((0, RECORDS[:2]), (4, [{"kind": "round", "round": 3, "loss": 0.5}])):
        monitor = WandbMonitor(tmp_path, "zorba", None, "abc", "offline", "train", RECORDS[:past])
        monitor.start({}, {})
        monitor.artifact(allocation, "allocation")
        for record in new:
            monitor.log(record)
        line = monitor.finish({"status": "finished"})
    first, second = read_offline_runs(tmp_path)
    assert first.steps == [0, 1, 2]
    assert second.steps == [3, 4, 5]
    assert second.rows == [*(history_row(record) for record in RECORDS[2:]), {"round": 3, "round/loss": 0.5}]
    assert line == f"wandb sync {first.folder} {second.folder}"
    # What was uploaded meanwhile, and a session that died before it wrote anything, need no upload.
    (first.folder / "run-abc.wandb.synced").touch()
    dead = tmp_path / "wandb/offline-run-20200101_000000-abc"
    dead.mkdir()
    (dead / "run-abc.wandb").write_bytes((second.folder / "run-abc.wandb").read_bytes()[:7])
    assert [session.folder for session in read_sessions(tmp_path / "wandb", "abc") if session.uploadable] == [
        second.folder
    ]


def test_torn_files_count_up_to_the_tear(tmp_path: Path) -> None:
    """Our reader against wandb's own, on a file of several blocks that is cut at many places."""
    monitor = WandbMonitor(tmp_path, "zorba", None, "abc", "offline")
    monitor.start({"long": "x" * BLOCK}, {})
    for number in range(1, 81):
        losses = {str(client): 0.5 for client in range(number % 40)}
        monitor.log({"kind": "round", "round": number, "client_loss": losses})
    monitor.finish({"status": "finished"})
    run = _only(tmp_path)
    file = run.folder / "run-abc.wandb"
    content = file.read_bytes()
    assert len(content) > 3 * BLOCK + 5
    assert run.steps == list(range(1, 81))
    for cut in (len(content), 3 * BLOCK + 5, 2 * BLOCK):
        file.write_bytes(content[:cut])
        (session,) = read_sessions(tmp_path / "wandb", "abc")
        entries = inspect(file)
        assert sorted(session.steps) == [e["history"]["step"]["num"] for e in entries if e["type"] == "history"]
        assert session.begun == any(entry["type"] == "run" for entry in entries)
        assert session.ended == (cut == len(content))
    assert not wait_for_end(run.folder, "abc", 0.05)  # the file is cut
    writer = threading.Timer(0.1, file.write_bytes, [content])
    writer.start()
    assert wait_for_end(run.folder, "abc", 30)
    writer.join()


def test_the_picture_of_an_allocation() -> None:
    pixels, caption = allocation_picture(ALLOCATION)
    assert pixels.shape == (48, 72, 3)
    centres = pixels[12::24, 12::24]
    dark = (centres.sum(axis=2) < 400).tolist()
    assert dark == [[True, False, True], [True, True, True]]
    assert caption == "down: clients 0 to 1; across: blocks 0 to 2; dark: active"
    many = {**ALLOCATION, "clients": ALLOCATION["clients"] * 5000}
    pixels, caption = allocation_picture(many)
    assert pixels.shape == (48, 72, 3)
    assert caption.startswith("down: 2 distinct active sets")
    assert allocation_values(ALLOCATION) == {
        "allocation/f1": 1.5,
        "vram/fleet_bytes": 167,
        "vram/all_active_bytes": 180,
        "vram/worst_share": 0.9,
    }


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    """wandb would go to a temporary folder without a word."""
    (tmp_path / "wandb").write_text("", encoding="utf-8")
    monitor = WandbMonitor(tmp_path, "zorba", None, "abc", "offline")
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
    monitor = WandbMonitor(tmp_path, "zorba", None, "abc124", "online")
    with caplog.at_level(logging.WARNING, "zorba_ray"):
        line = _drive(monitor, tmp_path)
    assert monitor.mode == "offline"
    assert line is not None
    assert line.startswith("wandb sync ")
    assert [r.levelname for r in caplog.records if r.name.startswith("zorba_ray")] == ["WARNING"]
    assert len(_only(tmp_path).records()) == len(RECORDS)


def test_disabled_touches_nothing(tmp_path: Path) -> None:
    assert _drive(WandbMonitor(tmp_path, "zorba", None, "abc125", "disabled"), tmp_path) is None
    assert [item.name for item in tmp_path.iterdir()] == ["allocation.json"]


_UNREACHABLE = """
import os, socket, sys, threading, time
from pathlib import Path
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
monitor = WandbMonitor(Path(sys.argv[1]), "p", None, "abc", resolve_mode("auto"))
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
