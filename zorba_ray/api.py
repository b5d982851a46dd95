"""What `import zorba_ray` gives to a Python program: the commands of the terminal as functions.

Nothing heavy is imported before a function needs it.
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
        source: a YAML or JSON file, or the name of a preset, as "demo".
        overrides: settings as in the terminal, "zo.lr=0.02"; later ones win.

    Raises:
        ConfigError: no such file or preset, or a setting that is refused; names the setting, the value and the rule.
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
    """Fine-tunes to the last round, in this process or on Ray by `federation.backend`, and writes the report.

    Args:
        directory: where the run is kept; a new one, or with `resume` that of a run that did not end, or of
            one that gets more rounds at a constant rate.
        emit: is told of every round and evaluation while it goes on, and of {"kind": "note", "text": …}.
        allow_code: modules of yours that `task.reward` may name; looked for in this folder and on Python's path.

    Raises:
        RunDirError: the directory holds something else, or a run of other settings.
        ZorbaError: what the terminal ends with an error for; the ledger keeps every finished round.
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
    """θ of a run, rebuilt from base weights and ledger and held against the run's summary.

    Args:
        until: the last round to apply; None: the round that is kept.
        export: an empty or new folder for the model in Hugging Face's format, or for its adapters in PEFT's, where the
            run moved these alone.
        model: the base model, where it is no longer at model.path.
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
    """The figures of a trained model: of its run's validation and test rows, or of the rows of a file.

    Args:
        source: a run directory; with `config`, a model's folder, one of adapters, a `.gguf` file, a package or a hub
            id.
        round: of a run; None: the one that is kept.
        data: a file of rows with their right answers.
        config: task, prompt and data of what is no run.
        model: the base model of a run, where it is no longer at model.path.
        allow_code: as of `run`.

    Raises:
        ZorbaError: as `replay`, and what is wrong with the rows; names file, row and column.
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
    """What a trained model answers to each row of a file, which needs no labels: `row`, `text`, `prediction` and
    `scores`; of a task that has a loss alone `loss`, `perplexity` and `tokens`.

    Args and raises as of `evaluate`.
    """
    from zorba_ray.experiment.asked import predict_rows

    return list(predict_rows(str(source), Path(data), round, config, model).rows)


def allocate(config: "ExperimentConfig", allow_code: Sequence[str] = ()) -> "AllocationRecord":
    """Who would activate which blocks in round 1, what that costs, and what is proven of it; nothing is written.

    Args:
        allow_code: as of `run`.

    Raises:
        AllocationInfeasible: the budgets do not suffice; names client, constraint and missing bytes.
        ConfigError, DataError, ModelError: what is wrong with settings, data or model.
    """
    from zorba_ray.assignment import allocation_record
    from zorba_ray.experiment import prepare, solve_allocation
    from zorba_ray.experiment.scope import with_scope

    setup = prepare(with_scope(config)[0], reward=_allowed_reward(config, allow_code))
    return allocation_record(setup, solve_allocation(setup))


def _allowed_reward(config: "ExperimentConfig", allow_code: Sequence[str]) -> "RewardCode | None":
    """The code of the settings' reward; None where there is none."""
    if config.task.reward is None:
        return None
    from zorba_ray.tasks.reward_code import read_reward

    return read_reward(config.task.reward, allow_code, Path.cwd())


def _write_report(path: Path, rows: bool) -> Path:
    """report.html of one run directory; a driver actor of a Ray cluster finds this function by its name."""
    from zorba_ray.report import write_report

    return write_report([path], path / "report.html", rows)
