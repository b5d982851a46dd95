"""The runs of `python -m benchmarks adversaries`: their settings hold, and rows are made of what is there."""

from pathlib import Path

import pytest

from benchmarks import adversaries
from benchmarks.adversaries.arms import AGGREGATIONS, ARMS, ATTACKS, Arm
from tests.support.tiny_run import run_here, tiny_config


def test_every_run_has_valid_settings_and_a_folder_of_its_own() -> None:
    for arm in ARMS:
        own = arm.settings(1)
        assert sum(len(entry.clients) for entry in own.adversaries) == (len(arm.hostile) if arm.attack else 0)
    assert len({arm.path(1) for arm in ARMS}) == len(ARMS)
    assert {(arm.aggregation, arm.attack) for arm in ARMS} >= {
        (aggregation, attack) for aggregation in AGGREGATIONS if aggregation != "shared mean" for attack in ATTACKS
    }


def test_rows_of_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZORBA_ADVERSARIES", str(tmp_path))
    rows = adversaries.rows(quick=True)
    assert all(row.device == "not run" for row in rows)
    attacked = Arm("median", "NaN")
    for arm in (attacked, attacked.honest):
        own = ["adversaries=[{clients: [3], kind: not_finite}]"] if arm.attack else []
        run_here(tiny_config("rounds=1", "eval.every=1", "zo.lr=1e-3", *own), arm.path(1))
    (row,) = [row for row in adversaries.rows(quick=True) if row.row.startswith("median, NaN:")]
    assert row.details["hostile clients named"] == "in 1 of 1 runs, honest ones in 0"
    assert row.met == (row.value >= -3)
