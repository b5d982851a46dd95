"""Rows of the comparisons from comparisons worked out by hand, and what its tasks are."""

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from benchmarks.comparison import __main__ as command
from benchmarks.comparison.measures import task_rows
from benchmarks.comparison.shape import BYTES_OPT, ShapeTask
from benchmarks.comparison.tasks import ALL, BYTES, QUICK, RIVALS, SST2, TASKS, TREC, TREC_SHORT, TREC_SKEWED, Task
from benchmarks.rows import Row
from benchmarks.shapes import THOUSANDS
from tests.support.fake_comparison import write_fake_comparison
from zorba_ray.campaigns.comparison import plan_comparison
from zorba_ray.config import load_config, method_names
from zorba_ray.config.aggregation import participant_count
from zorba_ray.report.comparison import ComparisonRecord, load_comparison

CONFIGS = Path(__file__).resolve().parents[2] / "tune_configs" / "runs"
PAIRS = {"trec": 1000, "trec_short": 150, "trec_skewed": 1000, "sst2": 2000, "agnews": 2000, "banking77": 1000,
         "cb": 1000, "bytes": 120}  # fmt: skip


def fake(path: Path, *methods: str) -> ComparisonRecord:
    """Method p of the folder ends at 1/2 + p/16, its seeds (p mod 3 + 1)/32 apart; test accuracy 3/4 − p/32."""
    return load_comparison(write_fake_comparison(path, methods=methods))


def row(found: Mapping[str, ComparisonRecord | None], *words: str) -> Row:
    """The one row whose name has all words."""
    rows = [one for one in task_rows(found) if all(word in one.row for word in words)]
    assert len(rows) == 1, [one.row for one in rows]
    return rows[0]


def test_a_lead_is_judged_by_its_interval(tmp_path: Path) -> None:
    found = {TREC.name: fake(tmp_path / "c", "zorba", "decomfl", "fedavg", "mezo")}
    near, far = row(found, "1,000 pairs: final loss, decomfl"), row(found, "1,000 pairs: final loss, mezo")
    # 1/32, 2/32 and 3/32 apart: mean 0.0625, and 4.303 · (1/32) / √3 = 0.0776 to both sides.
    assert (near.min, near.median, near.max) == pytest.approx((1 / 32, 2 / 32, 3 / 32))
    assert "0.0625 ± 0.0776" in near.row
    assert near.met is False
    assert (far.min, far.max) == pytest.approx((3 / 16, 3 / 16))
    assert far.met is True


def test_passes_to_the_loss_of_decomfl(tmp_path: Path) -> None:
    """Zorba falls in a straight line over six rounds of four passes, as many as decomfl makes in all.

    Seeds 1, 2, 3 reach decomfl's 0.5, 0.5625 and 0.625 in the rounds 6, 6 and 5.
    """
    found = row({TREC_SHORT.name: fake(tmp_path / "c", "zorba", "decomfl")}, "150 pairs", "zorba's forward passes")
    assert (found.min, found.median, found.max) == pytest.approx((5 / 6, 1, 1))
    assert found.met is False


def test_a_seed_that_never_gets_there_counts_beyond_the_end(tmp_path: Path) -> None:
    """Named the other way round, zorba's is the higher loss: 0.5625 and more, in seven of six rounds."""
    found = row({TREC.name: fake(tmp_path / "c", "decomfl", "zorba")}, "1,000 pairs", "zorba's forward passes")
    assert (found.min, found.max) == pytest.approx((7 / 6, 7 / 6))


def test_points_lost_and_gained(tmp_path: Path) -> None:
    even, skewed = fake(tmp_path / "even", "zorba"), fake(tmp_path / "skewed", "decomfl", "zorba")
    lost = row({TREC.name: even, TREC_SKEWED.name: skewed}, "points of test accuracy lost, zorba")
    assert (lost.min, lost.max, lost.met) == (pytest.approx(100 / 32), pytest.approx(100 / 32), True)
    far = fake(tmp_path / "far", "decomfl", "mezo", "zorba")
    assert row({TREC.name: even, TREC_SKEWED.name: far}, "points of test accuracy lost, zorba").met is False
    gained = row({SST2.name: even}, "SST-2")
    assert (gained.median, gained.met) == (pytest.approx(25), True)


def test_bytes(tmp_path: Path) -> None:
    """10 up and 20 + 10 for each of two clients down, for every method.

    Decomfl's five scalars to zorba's two: 50 − 3 · 8, and the other participant's 2 · 4. Fedit's round is six passes.
    """
    found = {BYTES.name: fake(tmp_path / "c", "zorba", "decomfl", "fedkseed", "fedit")}
    against = row(found, "zorba, of decomfl's")
    assert (against.value, against.met) == (pytest.approx(50 / 34), False)
    each_round, each_pass = row(found, "bytes of a round, ", "fedit"), row(found, "bytes of a forward pass", "fedit")
    assert (each_round.value, each_round.met) == (1.0, False)
    assert each_pass.value == pytest.approx(4 / 6)
    pool = row(found, "fedkseed, of 4 + 4 pool")
    assert (pool.value, pool.met) == (pytest.approx(50 / (4 + 4 * 4096 + 8 * 2)), False)


def test_bytes_of_a_shape(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The row of OPT-125M's shape; and a task of a shape makes its model and data once."""
    found = row({BYTES_OPT.name: fake(tmp_path / "c", "zorba", "fedit")}, "OPT-125M's shape")
    assert (found.value, found.met) == (1.0, False)
    monkeypatch.setenv("ZORBA_COMPARISONS", str(tmp_path / "comparisons"))
    task = ShapeTask("small", "", methods=("zorba", "fedit"), seeds=1, rates=BYTES_OPT.rates, shape=THOUSANDS)
    config = task.settings()
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "comparisons").rglob("*.*")}
    assert task.settings() == config
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "comparisons").rglob("*.*")} == made != {}
    plan = plan_comparison(config, task.methods, task.seeds, task.rates, 0.25, {})
    assert plan.passes == 60
    (tmp_path / "comparisons" / "shapes" / "small" / "data" / "test.jsonl").unlink()
    assert task.settings() == config


def test_what_was_not_run_has_a_row_that_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    rows = task_rows({})
    assert len(rows) == 1 + 2 * (len(RIVALS) + 1) + 2 + 4 + 4 + 1
    assert all(one.value != one.value and one.met is None for one in rows)


def test_an_unknown_task_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["comparison", "trek"])
    with pytest.raises(SystemExit):
        command.main()
    assert "no task trek; there are trec, " in capsys.readouterr().err


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_tasks_are_those_that_were_asked_for(task: Task) -> None:
    """The forward passes of so many pairs of a client, to less than a round."""
    config = load_config(str(CONFIGS / f"{task.config}.yaml"), list(task.overrides))
    federation = config.federation
    share = participant_count(federation.clients, federation.participants) / federation.clients
    own = share * config.rounds * config.passes_per_round
    assert 0 <= 2 * PAIRS[task.name] - own < config.passes_per_round
    assert set(task.methods) <= set(ALL) == set(method_names()) - {"adamw"}


def test_without_data_there_is_nothing_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZORBA_SHARED", raising=False)
    assert all(task.settings() is None for task in TASKS)
    assert QUICK.settings() is not None
