"""The Python API (`import zorba_ray`): the commands of the terminal as functions.

Large libraries are imported only when a function needs them.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zorba_ray.artifacts import Eval, Run
    from zorba_ray.artifacts.allocation import AllocationRecord
    from zorba_ray.config import ExperimentConfig
    from zorba_ray.experiment.replay import Replayed
    from zorba_ray.tasks.reward_code import RewardCode


def load_config(source: str | Path, *overrides: str) -> "ExperimentConfig":
    """The settings of a run, checked.

    Args:
        source: a YAML or JSON file, or the name of a preset, such as "demo".
        overrides: settings as in the terminal, such as "zo.lr=0.02"; later ones win.

    Raises:
        ConfigError: no such file or preset, or a wrong setting; names the setting, the value and the rule.
    """
    from zorba_ray.config import anchored
    from zorba_ray.config import load_config as load

    return anchored(load(str(source), list(overrides)))


def run(
    config: "ExperimentConfig",
    directory: str | Path,
    resume: bool = False,
    emit: Callable[[dict[str, Any]], None] = lambda event: None,
    allow_code: Sequence[str] = (),
) -> "Run":
    """Runs a fine-tuning to its last round, in this process or on Ray (`federation.backend`), and writes the report.

    Args:
        directory: the run directory. It must be new. With `resume` it is that of a run that did not end, or of one that
            gets more rounds at a constant rate.
        emit: is called with every round and evaluation, and with notes: {"kind": "note", "text": …}.
        allow_code: your modules that `task.reward` may name; they are looked for in this folder and on Python's path.

    Raises:
        RunDirError: the directory has something else, or a run with other settings.
        ZorbaError: any other error of the command `zorba-ray run`. The ledger keeps every finished round.
    """
    from zorba_ray.artifacts import Run
    from zorba_ray.experiment.execute import execute_in

    reward = _allowed_reward(config, allow_code)
    execute_in(config, Path(directory), resume, ["python"], emit, lambda: False, _write_report, reward)
    return Run(directory)


def replay(
    directory: str | Path,
    until: int | None = None,
    export: str | Path | None = None,
    model: str | None = None,
    merged: bool = False,
) -> "Replayed":
    """Rebuilds θ of a run from base weights and ledger, and compares its SHA-256 with the run's summary.

    Args:
        until: the last round to apply; None: the round whose θ is the result (`eval.keep`).
        export: a new or empty folder. The model is written there in Hugging Face format. If the run trained only
            adapters, these are written in PEFT format.
        model: the base model, if it is no longer at model.path.
        merged: export adapters merged into the base model.

    Raises:
        RunDirError, LedgerError: not a run, or a ledger that is damaged or of another model.
        ConfigError: a round that the ledger does not have, or a folder that is not empty.
    """
    from zorba_ray.experiment.replay import replay_run

    return replay_run(Path(directory), until, None if export is None else Path(export), model, merged)


def evaluate(
    source: str | Path,
    round: int | None = None,
    data: str | Path | None = None,
    config: "ExperimentConfig | None" = None,
    model: str | None = None,
    allow_code: Sequence[str] = (),
) -> "tuple[Eval, ...]":
    """The figures of a trained model, on the validation and test rows of its run or on the rows of a file.

    Args:
        source: a run directory; with `config` also a model folder, an adapter folder, a `.gguf` file, a package or a
            hub id.
        round: round of the run; None: the kept round.
        data: a file of rows with their right answers.
        config: task, prompt and data, if `source` is not a run.
        model: the base model of the run, if it is no longer at model.path.
        allow_code: as of `run`.

    Raises:
        ZorbaError: as `replay`; or the rows are wrong, and the message names file, row and column.
    """
    from zorba_ray.experiment.asked import evaluate_model
    from zorba_ray.experiment.trained import task_settings

    reward = _allowed_reward(task_settings(str(source), round, config, model), allow_code)
    file = None if data is None else Path(data)
    return tuple(evaluate_model(str(source), round, file, config, model, reward).evals)


def predict(
    source: str | Path,
    data: str | Path,
    round: int | None = None,
    config: "ExperimentConfig | None" = None,
    model: str | None = None,
) -> list[dict[str, Any]]:
    """What a trained model answers to each row of a file. The rows need no labels.

    Returns one dictionary per row: `row`, `text`, `prediction` and `scores`; or `loss`, `perplexity` and `tokens`, if
    the task has no answers to choose from.

    Args and Raises: see `evaluate`.
    """
    from zorba_ray.experiment.asked import predict_rows

    return list(predict_rows(str(source), Path(data), round, config, model).rows)


def allocate(config: "ExperimentConfig", allow_code: Sequence[str] = ()) -> "AllocationRecord":
    """Which client would activate which blocks in round 1, with the bytes and proven bounds. Nothing is written.

    Args:
        allow_code: as of `run`.

    Raises:
        AllocationInfeasible: the budgets are too small; names client, constraint and missing bytes.
        ConfigError, DataError, ModelError: settings, data or model are wrong.
    """
    from zorba_ray.assignment import allocation_record
    from zorba_ray.experiment import prepare, solve_allocation
    from zorba_ray.experiment.scope import with_scope

    setup = prepare(with_scope(config)[0], reward=_allowed_reward(config, allow_code))
    return allocation_record(setup, solve_allocation(setup))


def _allowed_reward(config: "ExperimentConfig", allow_code: Sequence[str]) -> "RewardCode | None":
    """The code of `task.reward`; None without a reward."""
    if config.task.reward is None:
        return None
    from zorba_ray.tasks.reward_code import read_reward

    return read_reward(config.task.reward, allow_code, Path.cwd())


def _write_report(path: Path, rows: bool) -> Path:
    """Writes report.html of a run directory. A driver actor on a Ray cluster finds this function by its name."""
    from zorba_ray.report import write_report

    return write_report([path], path / "report.html", rows)
