"""A run with the levers of the update on keeps the promises of one without: one SHA-256 however it is computed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.tiny_run import run_here, tiny_config
from zorba_ray.config import ExperimentConfig
from zorba_ray.errors import ConfigError, Interrupted
from zorba_ray.experiment.replay import replay_run
from zorba_ray.protocol.ledger import read_ledger

ALL = (
    "rounds=7", "zo.momentum=0.7", "zo.momentum_window=3", "zo.normalise=spread", "zo.clip_spread=2", "zo.lr=3e-3",
    "federation.participants=3", "data.label_shift=0.5",
)  # fmt: skip
RUNS = {
    "all": (),
    "local steps": ("zo.local_steps=2", "zo.directions=2"),
    "shared": ("federation.seeds=shared",),
    "low rank": ("zo.family=low_rank", "zo.rank=2", "zo.scope=all", "zo.lr=1e-4"),
    "lazily": ("memory.frozen=host", "federation.seeds=shared"),
    "rates": ("zo.block_rates=probe", "allocation.probe_pairs=2", "zo.local_steps=2"),
    "rates anew": (
        "zo.block_rates=probe",
        "allocation.probe_pairs=2",
        "allocation.block_weights=probe",
        "allocation.probe_every=3",
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
    """Stopped after rounds 1 and 5: snapshots of rounds 2 and 4 are within and beyond the first window."""
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


@pytest.mark.parametrize("lever", ["zo.momentum=0.5", "zo.normalise=spread", "zo.clip_spread=1"])
def test_each_lever_moves_something_and_stands_in_the_header(lever: str, tmp_path: Path) -> None:
    off = run_here(tiny_config("zo.directions=2"), tmp_path / "off")
    on = run_here(tiny_config("zo.directions=2", lever), tmp_path / "on")
    assert on["weights_sha256"] != off["weights_sha256"]
    header = read_ledger(tmp_path / "on" / "ledger.zl").header
    key, value = lever.removeprefix("zo.").split("=")
    assert str(getattr(header, key)) in (value, f"{value}.0")
    assert header.momentum_window == (8 if key == "momentum" else 1)


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


def test_rates_of_the_blocks_travel_when_they_change(tmp_path: Path) -> None:
    own = config("rates anew")
    run_here(own, tmp_path / "run")
    commits = list(read_ledger(tmp_path / "run" / "ledger.zl").commits())
    deals = json.loads((tmp_path / "run" / "allocation.json").read_text())["deals"]
    assert [deal["round"] for deal in deals] == [1, 4, 7]
    for commit in commits:
        dealt = next((deal for deal in deals if deal["round"] == commit.round), None)
        assert commit.rates == (None if dealt is None else np.array(dealt["rates"], dtype="<f4").tobytes())
    rates = np.array([deal["rates"] for deal in deals])
    assert rates.mean(axis=1) == pytest.approx(1.0)
    assert np.ptp(rates, axis=1).min() > 0.1


def test_levers_that_are_off_are_no_part_of_the_digest() -> None:
    plain = tiny_config()
    assert not any("momentum" in key or "spread" in key or "normalise" in key for key in plain.numbers())
    assert tiny_config("zo.normalise=none", "zo.momentum=0").digest() == plain.digest()
    assert tiny_config("zo.normalise=spread").digest() != plain.digest()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["zo.momentum=1"], "zo.momentum"),
        (["zo.momentum_window=5"], "nothing is summed"),
        (["zo.clip_spread=0.5"], "zo.clip_spread"),
        (["method=fedavg", "zo.normalise=spread"], "not method=fedavg"),
        (["method=fedkseed", "zo.momentum=0.5"], "not method=fedkseed"),
    ],
)
def test_what_cannot_be_is_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tiny_config(*overrides)
