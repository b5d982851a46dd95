"""Whole runs that keep their best round or end early: one θ, one round, whatever kills and resumes came between."""

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.tiny_run import run_here, tiny_config
from zorba_ray.artifacts import Eval, Run, RunDir
from zorba_ray.errors import ConfigError, Interrupted
from zorba_ray.experiment.evaluate import Evaluator
from zorba_ray.experiment.execute import execute_in
from zorba_ray.experiment.replay import replay_run
from zorba_ray.report.headline import summary_table
from zorba_ray.report.measures import FIGURES

FEW = ("rounds=4", "eval.every=1", "zo.schedule=constant", "data.train_rows=32", "eval.rows=32")
BEST = (*FEW, "eval.keep=best")
FEDAVG = ("method=fedavg", "zo.scope=all", "method_settings.lr=0.05", "method_settings.local_steps=1")
LOSSES = {0: 1.4, 1: 1.2, 2: 1.0, 3: 1.1}
"""Validation loss by round, later ones 1.3: round 2 is the best, and a patience of 2 ends a run after round 4."""


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> None:
    """θ is that of the rounds; what the validation says of it is LOSSES."""
    measure = Evaluator.record

    def record(self: Evaluator, round: int, *heard: Any) -> Eval:
        found = measure(self, round, *heard)
        loss = LOSSES.get(round, 1.3) if found.split == "validation" else found.loss
        return msgspec.structs.replace(found, loss=loss)

    monkeypatch.setattr(Evaluator, "record", record)


def stopped(path: Path, rounds: int, *overrides: str) -> None:
    """The first rounds of a run, which is then asked to stop."""
    heard: list[int] = []

    def emit(event: dict[str, Any]) -> None:
        heard.extend([event["round"]] if event["kind"] == "round" else [])

    with pytest.raises(Interrupted):
        run_here(tiny_config(*overrides), path, emit=emit, should_stop=lambda: len(heard) >= rounds)


def losses(path: Path, split: str = "validation") -> dict[int, float]:
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text("utf-8").splitlines()]
    return {line["round"]: line["loss"] for line in lines if line["kind"] == "eval" and line["split"] == split}


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("federation.seeds=shared", "zo.rank=2", "zo.scope=all", "zo.lr=1e-3", "federation.snapshot_every=1"),
        ("memory.frozen=host", "memory.master=host"),
        ("method=fedkseed", "method_settings.pool=16", "zo.local_steps=2", "zo.lr=1e-3"),
        FEDAVG,
    ],
    ids=["zorba", "shared", "streamed", "fedkseed", "fedavg"],
)
def test_the_best_round_is_kept_and_replayed(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    path = tmp_path / "run"
    stopped(path, 3, *BEST, *overrides)
    summary = run_here(tiny_config(*BEST, *overrides), path)
    assert (summary["status"], summary["rounds_done"], summary["kept_round"]) == ("finished", 4, 2)
    assert summary["final_loss"] == LOSSES[2]
    assert losses(path, "test").keys() == {0, 2}
    assert summary["test_loss"] == losses(path, "test")[2]
    replayed = replay_run(path, None, None, None)
    assert (replayed.round, replayed.confirmed, replayed.digest) == (2, True, summary["weights_sha256"])
    # The same θ, and the same test loss, as those of a run that ends there.
    short = run_here(tiny_config(*FEW, "rounds=2", *overrides), tmp_path / "short")
    assert short["weights_sha256"] == summary["weights_sha256"]
    assert short["test_loss"] == summary["test_loss"]


def test_patience_ends_a_run_at_one_round(tmp_path: Path) -> None:
    """In one go, after a stop, and with the evaluations lost; more patience goes on."""
    early = (*FEW, "rounds=30", "eval.patience=2")
    path = tmp_path / "run"
    stopped(path, 3, *early)
    shutil.copytree(path, tmp_path / "lost")
    (tmp_path / "lost" / "metrics.jsonl").unlink()
    summary = run_here(tiny_config(*early), path)
    assert (summary["status"], summary["rounds_done"], summary["kept_round"]) == ("finished", 4, 4)
    again = run_here(tiny_config(*early), tmp_path / "lost")
    assert (again["rounds_done"], again["weights_sha256"]) == (4, summary["weights_sha256"])
    assert losses(tmp_path / "lost") == losses(path)

    notes: list[str] = []
    execute_in(tiny_config(*early), path, True, [], lambda e: notes.append(e.get("text", "")), lambda: False, None)
    assert any("nothing to resume" in note for note in notes), "it would end at once"
    on = run_here(tiny_config(*FEW, "rounds=30", "eval.patience=3", "eval.keep=best"), path)
    assert (on["rounds_done"], on["kept_round"]) == (5, 2)
    run = Run(path)
    rows = {what: (value, more) for what, value, more in summary_table(run).items}
    ended = "best validation loss (eval.keep=best); ended early after round 5: eval.patience=3"
    assert rows["Kept round"] == ("2 of 30", ended)
    assert run.until_kept("validation")[-1].round == run.kept_round == 2
    assert FIGURES["test_loss"](run) == losses(path, "test")[2]


def test_the_start_can_be_the_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LOSSES, 0, 0.5)
    summary = run_here(tiny_config(*BEST, "rounds=2"), tmp_path / "run")
    assert (summary["kept_round"], summary["final_loss"]) == (0, 0.5)
    assert FIGURES["test_loss"](Run(tmp_path / "run")) == summary["test_loss"] == summary["start_test_loss"] is not None
    assert replay_run(tmp_path / "run", None, None, None).confirmed


def test_without_a_summary_the_last_round_is_replayed_and_told(tmp_path: Path) -> None:
    run_here(tiny_config(*BEST), tmp_path / "run")
    (tmp_path / "run" / "summary.json").unlink()
    replayed = replay_run(tmp_path / "run", None, None, None)
    assert replayed.round == 4
    assert "the best round is not known" in (replayed.remark or "")


def test_tensors_of_rounds_that_are_gone_cannot_be_judged(tmp_path: Path) -> None:
    path = tmp_path / "run"
    stopped(path, 3, *BEST, *FEDAVG)
    RunDir(path).metrics.unlink()
    with pytest.raises(ConfigError, match=r"no evaluation after round 1, and fedavg keeps the tensors"):
        run_here(tiny_config(*BEST, *FEDAVG), path)
