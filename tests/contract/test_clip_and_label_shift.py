"""Runs with `federation.spread` and `data.label_shift` keep the promises of others: one SHA-256, however computed."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.tiny_run import run_here, tiny_config
from zorba_ray.config import ExperimentConfig
from zorba_ray.errors import Interrupted
from zorba_ray.experiment.replay import replay_run
from zorba_ray.protocol.ledger import read_ledger

ALL = (
    "rounds=7", "federation.aggregate=clip_spread", "federation.spread=2",
    "zo.lr=3e-3", "federation.participants=3", "data.label_shift=0.5",
)  # fmt: skip
RUNS = {
    "all": (),
    "local steps": ("zo.local_steps=2", "zo.directions=2"),
    "shared": ("federation.seeds=shared",),
    "low rank": ("zo.rank=2", "zo.scope=all", "zo.lr=1e-4"),
    "lazily": ("memory.frozen=host", "federation.seeds=shared"),
    "per example": (
        "zo.directions_per=example",
        "zo.scope=all",
        "zo.local_steps=2",
        "zo.examples_per_direction=3",
        "federation.seeds=shared",
        "memory.frozen=host",
    ),
    "decomfl": ("method=decomfl", "federation.seeds=shared", "zo.directions=2", "federation.participants=null"),
}


def config(name: str, *overrides: str) -> ExperimentConfig:
    return tiny_config(*ALL, *RUNS[name], *overrides)


def stop_after(number: int) -> dict[str, Any]:
    done: list[int] = []
    return {
        "emit": lambda event: done.append(1) if event["kind"] == "round" else None,
        "should_stop": lambda: len(done) >= number,
    }


@pytest.mark.parametrize("name", RUNS)
def test_resumed_from_a_snapshot_or_from_the_start_and_replayed(name: str, tmp_path: Path) -> None:
    """Stopped after rounds 1, 3 and 5, with a snapshot at the end, before it, and none."""
    straight = run_here(config(name, "federation.snapshot_every=null"), tmp_path / "straight")
    for number, every in ((1, "1"), (3, "2"), (5, "2"), (5, "null")):
        path = tmp_path / f"stopped {number} {every}"
        own = config(name, f"federation.snapshot_every={every}")
        with pytest.raises(Interrupted):
            run_here(own, path, **stop_after(number))
        assert run_here(own, path)["weights_sha256"] == straight["weights_sha256"]
    replayed = replay_run(tmp_path / "straight", None, None, None)
    assert replayed.confirmed
    assert replayed.digest == straight["weights_sha256"]


def test_clipping_moves_something_and_stands_in_the_header(tmp_path: Path) -> None:
    off = run_here(tiny_config("zo.directions=2"), tmp_path / "off")
    on = run_here(
        tiny_config("zo.directions=2", "federation.aggregate=clip_spread", "federation.spread=1"), tmp_path / "on"
    )
    assert on["weights_sha256"] != off["weights_sha256"]
    assert read_ledger(tmp_path / "on" / "ledger.zl").header.clip_spread == 1.0


def test_a_correction_of_label_shares_reaches_the_clients(tmp_path: Path) -> None:
    """And no evaluation: the start is the same."""
    starts, rounds = [], []
    for share in ("0", "1"):
        run_here(tiny_config("rounds=1", f"data.label_shift={share}"), tmp_path / share)
        records = [json.loads(line) for line in (tmp_path / share / "metrics.jsonl").read_text().splitlines()]
        starts.append(next(record for record in records if record["kind"] == "eval"))
        rounds.append(next(record for record in records if record["kind"] == "round"))
    assert starts[0]["loss"] == starts[1]["loss"]
    assert all(rounds[0]["client_loss"][client] != rounds[1]["client_loss"][client] for client in "0123")


def test_a_correction_that_falls_falls_for_the_clients(tmp_path: Path) -> None:
    """The same in round 1, less of it in round 2."""
    rounds = []
    for schedule in ("constant", "linear"):
        own = tiny_config("rounds=2", "data.label_shift=1", f"data.label_shift_schedule={schedule}")
        run_here(own, tmp_path / schedule)
        records = [json.loads(line) for line in (tmp_path / schedule / "metrics.jsonl").read_text().splitlines()]
        rounds.append([record["client_loss"] for record in records if record["kind"] == "round"])
    (first, second), (also_first, less) = rounds
    assert first == also_first
    assert all(second[client] != less[client] for client in "0123")
