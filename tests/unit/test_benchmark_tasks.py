"""The table of tasks: figures before and after on the same rows, verdicts, rows that are kept, and what a row says."""

import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import __main__ as command
from benchmarks import tasks
from benchmarks.rows import Row, make_row, not_run, print_rows
from benchmarks.tasks.goals import TRAINING, beyond_interval, falls, gains, reaches
from benchmarks.tasks.held_out import HeldOut, figures, held_out
from benchmarks.tasks.stored import stored
from benchmarks.tasks.table import row_of, training_row
from benchmarks.tasks.training import CONFIGS, Training
from tests.support.tiny_run import run_here, tiny_config
from zorba_ray.artifacts import Run
from zorba_ray.config import presets
from zorba_ray.models import Evaluation


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    path = tmp_path_factory.mktemp("runs") / "tiny"
    run_here(tiny_config(), path)
    return Run(path)


@pytest.fixture(autouse=True)
def _results(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ZORBA_TASKS", str(tmp_path / "tasks"))
    monkeypatch.delenv("ZORBA_SHARED", raising=False)


def evaluation(losses: list[float], accuracy: float | None = None) -> Evaluation:
    each, items = np.array(losses), np.array([1, 2, 3, 4], dtype=np.int64)
    return Evaluation(
        loss=float(each.sum() / items.sum()), accuracy=accuracy, items=10, spread=1.0, predicted=None,
        row_losses=each, row_items=items, row_labels=None,
    )  # fmt: skip


def test_a_finished_run_is_asked_on_the_rows_that_it_asked(finished: Run) -> None:
    """θ0 and the θ of the ledger give the run's own test figures, and are asked once."""
    own = [record for record in finished.split("test") if record.round in (0, 3)]
    found = held_out(finished.path, 64)
    assert found.rows == 64
    assert found.loss == pytest.approx([record.loss for record in own], abs=1e-6)
    assert found.accuracy == pytest.approx([record.accuracy for record in own])
    assert found.loss_change is not None
    assert found.loss_change[0] < found.loss[1] - found.loss[0] < found.loss_change[1]
    assert held_out(finished.path, 1) == found  # as it was kept


def test_rows_that_all_fall_alike_have_a_narrow_interval() -> None:
    """Each item falls by 1/2, whatever its row's loss."""
    found = figures(evaluation([1.0, 8.0, 3.0, 4.0]), evaluation([0.5, 7.0, 1.5, 2.0]), 0)
    assert found.loss == pytest.approx((1.6, 1.1))
    assert found.loss_change is None  # the same in every sample
    mixed = figures(evaluation([1.0, 8.0, 3.0, 4.0]), evaluation([0.5, 7.0, 1.5, 2.4]), 0)
    assert mixed.perplexity == pytest.approx((math.exp(1.6), math.exp(1.14)))
    assert mixed.perplexity_share is not None
    assert mixed.perplexity_after is not None
    assert math.exp(-0.5) - 1e-9 <= mixed.perplexity_share[0] < mixed.perplexity_share[1] <= math.exp(-0.4) + 1e-9
    assert mixed.perplexity_after[1] - mixed.perplexity_after[0] > 1


def test_verdicts(finished: Run) -> None:
    labelled = HeldOut(400, (1.2, 0.5), accuracy=(0.46, 0.79), accuracy_before=(0.4, 0.5), accuracy_after=(0.75, 0.83))
    assert reaches(0.78)(finished, labelled) is True
    assert reaches(0.80)(finished, labelled) is False
    assert gains(8)(finished, labelled) is True
    assert beyond_interval(finished, labelled) is True
    assert beyond_interval(finished, replace(labelled, accuracy=(0.76, 0.79))) is False
    text = HeldOut(400, (2.0, 1.9), loss_change=(-0.11, -0.09), perplexity=(math.exp(2.0), math.exp(1.9)))
    assert falls(0.05)(finished, text) is True
    assert falls(0.10)(finished, text) is False
    assert falls(0.05)(finished, replace(text, loss_change=(-0.2, 0.01))) is False


def test_a_row_says_what_it_was_measured_under(finished: Run, capsys: pytest.CaptureFixture[str]) -> None:
    task = Training("tiny", "a task", "tiny", "", "≥ .99", reaches(0.99))
    row = row_of(task, finished, held_out(finished.path, 64))
    assert row.met is False
    assert row.min < row.value < row.max
    assert row.details["federation"].startswith("zorba, 4 clients, ")
    assert "6 forward passes of a client" in row.details["steps"]
    assert "zero-shot" in row.details["test"]
    assert "majority class" in row.details["beside"] or "chance" in row.details["beside"]
    print_rows([row], as_json=False)
    assert "    steps: 3 rounds, 1 direction (central)" in capsys.readouterr().out
    print_rows([row], as_json=True)
    assert json.loads(capsys.readouterr().out)[0]["details"] == row.details


def test_a_row_without_model_or_data_says_so() -> None:
    row = training_row(TRAINING[0], run=True)
    assert row.value != row.value
    assert row.device == "not run, or no data or model"


def test_a_measured_row_is_kept_and_one_without_a_figure_is_not(tmp_path: Path) -> None:
    calls = []

    def measure(row: Row) -> Row:
        calls.append(row)
        return row

    first = stored("a", lambda: measure(make_row("a", [1.0], "s", "≤ 2", True, details={"rows": "3"})))
    assert stored("a", lambda: measure(first)) == first
    assert len(calls) == 1
    stored("b", lambda: not_run("b", "s", "≤ 2"))
    assert stored("c", lambda: measure(first), run=False).device == "not measured yet"
    assert len(calls) == 1
    assert [path.name for path in (tmp_path / "tasks").iterdir()] == ["a.json"]


def test_quick_runs_nothing() -> None:
    found = tasks.rows(quick=True)
    assert len(found) == len(tasks.NAMES)
    assert all(row.value != row.value for row in found)


def test_every_row_has_a_file_of_settings() -> None:
    for task in TRAINING:
        assert (CONFIGS / f"{task.config}.yaml").is_file() if task.data else task.config in presets()
    assert len(set(tasks.NAMES)) == len(tasks.NAMES)


@pytest.mark.parametrize(
    ("arguments", "told"), [(["tasks", "--row", "sst3"], "no row sst3; there are sst2_plain, "),
                            (["speed", "--row", "alpaca"], "--row is known to `tasks`, `headline` and `chaos`, not ")],
)  # fmt: skip
def test_an_unknown_row_is_refused(
    arguments: list[str], told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", *arguments])
    with pytest.raises(SystemExit):
        command.main()
    assert told in capsys.readouterr().err
