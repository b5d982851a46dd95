"""Rows of the contest from comparisons worked out by hand, and the settings of its tasks."""

from pathlib import Path

import pytest

from benchmarks.contest import measures, tasks
from tests.support.fake_contest import write_fake_contest
from zorba_ray.config import load_config
from zorba_ray.config.baselines import METHOD_NAMES
from zorba_ray.contest.records import Contest, Estimate, read_contest
from zorba_ray.contest.results import estimate


def given(values: dict[int, float]) -> Estimate:
    found = estimate(dict(values))
    assert found is not None
    return found


@pytest.fixture
def state(tmp_path: Path) -> Contest:
    return read_contest(write_fake_contest(tmp_path / "trec"))


def put(state: Contest, method: str, name: str, values: dict[int, float]) -> None:
    next(one for one in state.outcomes if one.method == method).figures[name] = given(values)


@pytest.mark.parametrize(("gap", "met"), [(0.1, True), (-0.1, False)])
def test_a_lead_is_judged_by_its_interval(state: Contest, gap: float, met: bool) -> None:
    put(state, "zorba", "final_loss", {1: 1.0, 2: 2.0, 3: 3.0})
    put(state, "mezo", "final_loss", {1: 1.0 + gap, 2: 2.0 + gap, 3: 3.0 + 0.9 * gap})
    row = measures._lead_row(state, "mezo")
    assert (row.met, row.value) == (met, pytest.approx(gap))
    put(state, "mezo", "final_loss", {1: 1.5, 2: 1.6, 3: 3.1})
    assert measures._lead_row(state, "mezo").met is False  # mean 0.07, interval ± 1.1


def test_bytes(state: Contest) -> None:
    """Four clients, P = 2 against 5: decomfl's 100 B − 24, + 3 · 8 + 16 = 116; fedkseed's 4 + 4 · 4096 + 8 · 200."""
    state.base["zo"] |= {"directions": 2, "local_steps": 1}
    state.contestant("decomfl").settings = {"zo.directions": 5}
    state.contestant("fedkseed").settings = {"zo.local_steps": 200}
    for method, size in (("zorba", 116.0), ("decomfl", 100.0), ("fedkseed", 17988.0)):
        put(state, method, "bytes_up_per_round", {1: 0.0})
        put(state, method, "bytes_down_per_round", {1: size})
    put(state, "zorba", "bytes_up", {1: 100.0})
    put(state, "zorba", "bytes_down", {1: 0.0})
    put(state, "fedit", "bytes_up", {1: 5e5})
    put(state, "fedit", "bytes_down", {1: 5e5})
    against, ratio, pool = measures._bytes_rows(state)
    assert (against.value, against.met) == (1.0, True)
    assert (ratio.value, ratio.met) == (1e4, True)
    assert (pool.value, pool.met) == (1.0, True)
    put(state, "zorba", "bytes_down_per_round", {1: 117.0})
    put(state, "fedkseed", "bytes_down_per_round", {1: 18200.0})
    assert [row.met for row in measures._bytes_rows(state)] == [False, True, False]


def test_points_lost_and_gained(state: Contest) -> None:
    put(state, "zorba", "test_accuracy", {1: 0.90, 2: 0.92})
    put(state, "zorba", "start_test_accuracy", {1: 0.80, 2: 0.80})
    row = measures._gain_row(state, "x", 8.0)
    assert (row.min, row.max, row.met) == (pytest.approx(10), pytest.approx(12), True)
    assert measures._gain_row(state, "x", 11.5).met is False
    skewed = state.model_copy(deep=True)
    put(skewed, "zorba", "test_accuracy", {1: 0.86, 2: 0.88})
    lost = measures._skew_row(state, skewed, "zorba")
    assert (lost.value, lost.met) == (pytest.approx(4), True)
    assert measures._accuracy_row(state, "zorba", "x", "≥ 0.9", 0.9).met is True


def test_without_data_there_is_a_row_that_says_so(tmp_path: Path) -> None:
    rows = measures.task_rows({}, False, tmp_path)
    assert len(rows) == 1 + len(tasks.RIVALS) + 1 + 2 + 3
    assert all(row.value != row.value and row.met is None for row in rows)


def test_tasks() -> None:
    assert set(tasks.ALL) == set(METHOD_NAMES) == set(tasks.RATES)
    folder = Path(__file__).resolve().parents[2] / "tune_configs" / "runs"
    pairs = {"trec": 1000, "trec_skewed": 1000, "sst2": 2000, "agnews": 2000, "banking77": 1000}
    for task in tasks.TASKS:
        config = load_config(str(folder / f"{task.config}.yaml"), list(task.overrides))
        assert config.rounds * config.passes_per_round == 2 * pairs[task.name]
    assert {len(listed.split(",")) for listed in tasks.RATES.values()} == {3}
