"""One owner of a directory across machines: who is refused, who takes over, and who finds out that it was."""

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from zorba_ray.artifacts import held, lease
from zorba_ray.errors import ClusterError, RunDirError


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEW_S", 0.05)
    monkeypatch.setattr(lease, "WATCH_S", 1.0)


def elsewhere(folder: Path, beat: int = 0) -> None:
    """The file of an owner on another machine."""
    tree = {"host": "node-7", "machine": "another", "process": 12, "token": "theirs", "beat": f"{beat:012d}"}
    (folder / ".owner").write_text(json.dumps(tree) + "\n", encoding="utf-8")


class Renewing:
    """An owner on another machine that renews its file."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._stop = folder, threading.Event()
        self._thread = threading.Thread(target=self._renew)

    def _renew(self) -> None:
        beat = 0
        while not self._stop.wait(0.05):
            beat += 1
            elsewhere(self._folder, beat)

    def __enter__(self) -> None:
        elsewhere(self._folder)
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()


def test_an_owner_on_another_machine_is_respected(tmp_path: Path) -> None:
    with Renewing(tmp_path), pytest.raises(RunDirError, match="is in use by process 12 on node-7: wait"):
        held(tmp_path).__enter__()
    assert "theirs" in (tmp_path / ".owner").read_text(encoding="utf-8")


def test_a_dead_owner_on_another_machine_is_followed(tmp_path: Path) -> None:
    elsewhere(tmp_path)
    told: list[str] = []
    with held(tmp_path, tell=told.append):
        lease.require_owned(tmp_path)
    assert not (tmp_path / ".owner").exists()
    assert "watching for 1 s" in told[0]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff" * 9000, b"[" * 100_000])
def test_a_damaged_file_is_followed(tmp_path: Path, content: bytes) -> None:
    (tmp_path / ".owner").write_bytes(content)
    with held(tmp_path):
        lease.require_owned(tmp_path)


def test_a_dead_owner_on_this_machine_costs_no_time(tmp_path: Path) -> None:
    """Its lock is free, so it has ended."""
    with held(tmp_path):
        left = (tmp_path / ".owner").read_bytes()
    (tmp_path / ".owner").write_bytes(left)
    began = time.monotonic()
    with held(tmp_path):
        assert time.monotonic() - began < 0.5


def test_an_owner_renews_its_file(tmp_path: Path) -> None:
    with held(tmp_path):
        first = (tmp_path / ".owner").read_bytes()
        wait_until(lambda: (tmp_path / ".owner").read_bytes() != first)
        assert len((tmp_path / ".owner").read_bytes()) == len(first)


@pytest.mark.parametrize("taken", [elsewhere, lambda folder: os.unlink(folder / ".owner")])
def test_an_owner_that_was_asleep_stops(tmp_path: Path, taken: Callable[[Path], None]) -> None:
    """It writes nothing more, neither to the ledger nor to the other's file."""
    with held(tmp_path):
        taken(tmp_path)
        with pytest.raises(ClusterError, match="was taken over by"):
            lease.require_owned(tmp_path)
        left = (tmp_path / ".owner").read_bytes() if (tmp_path / ".owner").exists() else None
        time.sleep(0.2)
    assert (tmp_path / ".owner").exists() == (left is not None)
    assert left is None or (tmp_path / ".owner").read_bytes() == left


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
