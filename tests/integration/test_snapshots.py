"""Snapshots: a resumed run starts at the newest, and what does not fit the ledger is not used."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.tiny_run import run_here, tiny_config
from zorba_ray.errors import Interrupted
from zorba_ray.protocol import snapshot as snapshots
from zorba_ray.protocol.ledger import read_ledger
from zorba_ray.protocol.replay import ReplicaState
from zorba_ray.protocol.snapshot import newest_snapshot

SETTINGS = ("rounds=7", "federation.snapshot_every=2", "federation.participants=3")


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Without snapshots, undisturbed."""
    path = tmp_path_factory.mktemp("straight") / "run"
    summary = run_here(tiny_config("rounds=7", "federation.snapshot_every=null", "federation.participants=3"), path)
    assert not (path / "snapshots").exists()
    return summary


@pytest.fixture(scope="module")
def stopped_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stopped after round 5; snapshots of rounds 2 and 4."""
    path = tmp_path_factory.mktemp("stopped") / "run"
    rounds: list[int] = []
    with pytest.raises(Interrupted):
        run_here(
            tiny_config(*SETTINGS),
            path,
            emit=lambda event: rounds.append(1) if event["kind"] == "round" else None,
            should_stop=lambda: len(rounds) >= 5,
        )
    return path


@pytest.fixture
def stopped(stopped_once: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(stopped_once, tmp_path / "run"))


@pytest.fixture
def replayed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Positions from which a replica caught up."""
    found: list[int] = []
    catch_up = ReplicaState.catch_up

    def watch(state: ReplicaState, bodies: Any) -> None:
        bodies = list(bodies)
        if len(bodies) > 0 and state.round not in found:
            found.append(state.round)
        catch_up(state, bodies)

    monkeypatch.setattr(ReplicaState, "catch_up", watch)
    return found


def test_a_resumed_run_replays_the_rounds_since_the_newest(
    stopped: Path, straight: dict[str, Any], replayed: list[int]
) -> None:
    summary = run_here(tiny_config(*SETTINGS), stopped)
    assert replayed[0] == 4
    assert summary["weights_sha256"] == straight["weights_sha256"]
    assert sorted(path.name for path in (stopped / "snapshots").iterdir()) == [
        "round-00000004.safetensors",
        "round-00000006.safetensors",
    ]


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-3] ^= 4
    path.write_bytes(data)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [_cut, _flip, _empty])
def test_a_damaged_one_is_passed_over(
    stopped: Path, straight: dict[str, Any], replayed: list[int], damage: Callable[[Path], None]
) -> None:
    damage(stopped / "snapshots/round-00000004.safetensors")
    summary = run_here(tiny_config(*SETTINGS), stopped)
    assert replayed[0] == 2
    assert summary["weights_sha256"] == straight["weights_sha256"]


def test_one_of_another_run_or_of_a_round_beyond_the_ledger_is_passed_over(
    stopped: Path, straight: dict[str, Any], replayed: list[int], tmp_path: Path
) -> None:
    run_here(tiny_config(*SETTINGS, "zo.lr=0.02", "rounds=8"), tmp_path / "other")
    for number in (6, 8):
        shutil.copy(tmp_path / f"other/snapshots/round-{number:08d}.safetensors", stopped / "snapshots")
    run_here(tiny_config(*SETTINGS, "zo.lr=0.02", "rounds=5"), tmp_path / "shorter")
    shutil.copy(tmp_path / "shorter/snapshots/round-00000004.safetensors", stopped / "snapshots")
    replayed.clear()
    summary = run_here(tiny_config(*SETTINGS), stopped)
    assert replayed[0] == 2
    assert summary["weights_sha256"] == straight["weights_sha256"]


def test_a_snapshot_holds_what_the_run_moves_and_no_more(stopped: Path) -> None:
    """scope bias_norm: the 1-D tensors of the blocks."""
    found = newest_snapshot(stopped / "snapshots", read_ledger(stopped / "ledger.zl"))
    assert found is not None
    assert found.round == 4
    assert all("weight" not in name or "norm" in name for name in found.tensors)
    assert sum(values.size for values in found.tensors.values()) < 20_000


def test_a_snapshot_that_cannot_be_written_is_a_warning(
    tmp_path: Path, straight: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(snapshots, "save_file", full)
    notes: list[str] = []
    summary = run_here(
        tiny_config(*SETTINGS),
        tmp_path / "run",
        emit=lambda event: notes.append(event["text"]) if event["kind"] == "note" else None,
    )
    assert summary["status"] == "finished"
    assert summary["weights_sha256"] == straight["weights_sha256"]
    assert len([note for note in notes if "cannot be written" in note]) == 3
    assert list((tmp_path / "run/snapshots").iterdir()) == []
    assert json.loads((tmp_path / "run/summary.json").read_text("utf-8"))["error"] is None
