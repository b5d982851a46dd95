"""Every method runs every task: a run moves θ, and its replay gives the same bytes."""

from pathlib import Path

import pytest

import zorba_ray.experiment.build as build
from tests.contract.test_methods import TINY
from tests.support.task_data import TASKS, chat_model, review_rows, write_rows
from tests.support.tiny_run import ALIKE, run_here, tiny_config, whole_rows
from zorba_ray.config import load_method
from zorba_ray.errors import ConfigError
from zorba_ray.experiment.replay import replay_run
from zorba_ray.protocol.ledger import read_ledger

QUICK = ("zorba", "fedavg")
"""A method of scalars and one that backpropagates, in the default tier; the others are slow together."""


def _of(task: str, folder: Path) -> tuple[str, ...]:
    """What a tiny run of a task sets."""
    data = write_rows(folder / "data", review_rows(32))
    words = [] if task in ("classification", "whole words", "reward") else ["data.label_words=[]"]
    model = [f"model.path={chat_model(folder / 'model')}"] if task == "chat" else []
    return (f"data.path={data}", *words, *model, *TASKS[task], "rounds=2")


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    "method", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in TINY]
)
def test_a_run_moves_the_weights_and_is_replayed(method: str, task: str, tmp_path: Path) -> None:
    overrides = (f"method={method}", *TINY[method], *_of(task, tmp_path))
    if task.startswith("reward") and load_method(method).backward:
        with pytest.raises(ConfigError, match=f"task.kind=reward with method={method}: a reward has no derivative"):
            tiny_config(*overrides)
        return
    config = tiny_config(*overrides)
    kinds = {
        "whole words": "classification",
        "chat": "completion",
        "reward of options": "reward",
        "reward of written answers": "reward",
    }
    assert config.task_kind == kinds.get(task, task)
    summary = run_here(config, tmp_path / "run")
    assert summary["status"] == "finished"
    assert summary["final_loss"] != summary["start_loss"]
    replayed = replay_run(tmp_path / "run", None, None, None)
    assert replayed.confirmed
    assert replayed.digest == summary["weights_sha256"]


@pytest.mark.parametrize("method", [pytest.param(name, marks=pytest.mark.slow) for name in TINY])
def test_rows_that_begin_alike_have_the_losses_of_whole_rows(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zorba_ray.experiment.row_layout.LEAST", 1)  # the last block too leaves tokens out
    # A rate at which rounding stays rounding.
    config = tiny_config(f"method={method}", *TINY[method], *ALIKE, "rounds=2", "zo.lr=0.0005")
    packed = run_here(config, tmp_path / "packed")
    assert replay_run(tmp_path / "packed", None, None, None).confirmed
    monkeypatch.setattr(build, "settled_rows", whole_rows)
    whole = run_here(config, tmp_path / "whole")
    sections = [read_ledger(tmp_path / name / "ledger.zl").header.sections for name in ("packed", "whole")]
    assert [list(each) for each in sections] == [["shared_prefix", "row_layout"], []]
    assert packed["final_loss"] == pytest.approx(whole["final_loss"], abs=1e-4)
    assert packed["final_loss"] != packed["start_loss"]


@pytest.mark.parametrize(
    "task", [name if name == "multiple_choice" else pytest.param(name, marks=pytest.mark.slow) for name in TASKS]
)
def test_examples_have_directions_of_their_own(task: str, tmp_path: Path) -> None:
    overrides = ("zo.directions_per=example", "zo.directions=2", "zo.scope=all", "zo.lr=1e-3", *_of(task, tmp_path))
    if task.startswith("reward"):
        with pytest.raises(ConfigError, match="a reward is known of the whole batch alone"):
            tiny_config(*overrides)
        return
    summary = run_here(tiny_config(*overrides), tmp_path / "run")
    assert summary["final_loss"] != summary["start_loss"]
    assert replay_run(tmp_path / "run", None, None, None).digest == summary["weights_sha256"]
