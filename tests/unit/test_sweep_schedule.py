"""Schedulers and faults: each evaluation counts once, nothing is paused."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.schedulers import TrialScheduler

from zorba_ray.campaigns.sweep.schedule import make_scheduler
from zorba_ray.config import SweepConfig


@dataclass(frozen=True)
class _Trial:
    trial_id: str


def trial_of(name: str) -> Any:
    """Schedulers ask for the id only."""
    return _Trial(name)


def scheduler(kind: str) -> TrialScheduler:
    settings = {"type": kind, "grace_rounds": 2, "reduction_factor": 2}
    tree = {"name": "s", "space": {"seed": {"grid": [1]}}, "scheduler": settings}
    return make_scheduler(SweepConfig.model_validate(tree), 8)


def report(round: int, loss: float) -> dict[str, Any]:
    return {"round": round, "validation_loss": loss}


controller: Any = SimpleNamespace(get_live_trials=lambda: [SimpleNamespace(status="PENDING")])
"""With a trial that waits: where Tune's median rule would pause."""


@pytest.mark.parametrize("kind", ["asha", "median"])
def test_a_bad_trial_is_stopped(kind: str) -> None:
    judge, bad = scheduler(kind), trial_of("bad")
    for number, loss in enumerate((0.5, 0.6, 0.7)):
        good = trial_of(f"good-{number}")
        judge.on_trial_add(controller, good)
        judge.on_trial_result(controller, good, report(2, loss))
    judge.on_trial_add(controller, bad)
    assert judge.on_trial_result(controller, bad, report(0, 5.0)) == TrialScheduler.CONTINUE
    assert judge.on_trial_result(controller, bad, report(2, 5.0)) == TrialScheduler.STOP


@pytest.mark.parametrize("kind", ["asha", "median"])
def test_a_failed_trial_harms_no_other(kind: str) -> None:
    """Its last result has neither round nor metric."""
    judge, failed, good = scheduler(kind), trial_of("failed"), trial_of("good")
    for trial in (failed, good):
        judge.on_trial_add(controller, trial)
        judge.on_trial_result(controller, trial, report(2, 0.5))
    judge.on_trial_complete(controller, failed, {"done": True, "ended": "failed"})
    assert judge.on_trial_result(controller, good, report(4, 0.4)) == TrialScheduler.CONTINUE


@pytest.mark.parametrize("kind", ["asha", "median"])
def test_nothing_is_paused_and_repeats_are_not_judged(kind: str) -> None:
    """With too few trials for a median Tune's rule would pause; a repeated evaluation changes nothing."""
    judge, one = scheduler(kind), trial_of("one")
    judge.on_trial_add(controller, one)
    for _ in range(2):
        for round, loss in ((0, 1.0), (2, 0.9), (4, 0.8)):
            assert judge.on_trial_result(controller, one, report(round, loss)) == TrialScheduler.CONTINUE
