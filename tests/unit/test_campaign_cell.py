"""One run of a sweep or a comparison: how it ends, and what is never run again."""

from pathlib import Path

import pytest

from tests.support.tiny_run import tiny_config
from zorba_ray.artifacts import RunDir
from zorba_ray.artifacts.campaigns import Cell
from zorba_ray.campaigns.cell import is_done, run_cell
from zorba_ray.errors import ClusterError, ConfigError, Diverged, Interrupted, StorageError
from zorba_ray.experiment import run_experiment

CONFIG = tiny_config("rounds=1")


def work(run: RunDir) -> None:
    run_experiment(CONFIG, run, "cpu", [], lambda event: None, lambda: False, None)


def never(run: RunDir) -> None:
    raise AssertionError("it runs again")


def test_a_finished_run_is_never_run_again(tmp_path: Path) -> None:
    """Whatever the state file says of it: pending is what a kill before its last line leaves."""
    first = run_cell(tmp_path / "run", CONFIG, work)
    assert (first.status, first.error, first.rounds_done) == ("finished", None, 1)
    assert run_cell(tmp_path / "run", CONFIG, never) == first
    assert is_done(Cell(status="pending"), tmp_path / "run")


@pytest.mark.parametrize(
    ("error", "status"), [(Diverged("θ is not finite"), "diverged"), (ClusterError("x"), "failed")]
)
def test_a_fault_of_the_run_is_an_ending(error: Exception, status: str, tmp_path: Path) -> None:
    def fail(run: RunDir) -> None:
        raise error

    ending = run_cell(tmp_path / "run", CONFIG, fail)
    assert (ending.status, ending.error) == (status, f"{type(error).__name__}: {error}")
    assert "Traceback" in ending.trace
    assert is_done(Cell(status=ending.status), tmp_path / "run") is (status == "diverged")


@pytest.mark.parametrize("error", [Interrupted("asked"), StorageError("full"), ConfigError("lr"), KeyError("ours")])
def test_what_ends_more_than_one_run_is_raised(error: Exception, tmp_path: Path) -> None:
    def fail(run: RunDir) -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        run_cell(tmp_path / "run", CONFIG, fail)
    assert caught.value is error
