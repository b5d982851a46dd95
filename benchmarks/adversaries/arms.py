"""Which runs there are: an aggregation, an attack, and how many clients attack together."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zorba_ray.artifacts import Run, RunDir
from zorba_ray.campaigns.cell import run_cell
from zorba_ray.config import ExperimentConfig, load_config
from zorba_ray.errors import RunDirError
from zorba_ray.experiment import run_experiment

SEEDS = (1, 2, 3)
PLAIN = (
    "rounds=60", "federation.backend=sequential", "federation.fleet=null", "memory={frozen: device}", "eval.every=60",
    "eval.rows=512", "tracking.wandb=disabled",
)  # fmt: skip
"""The built-in task, cut to 60 rounds. All of eight clients hold all six blocks."""
FIVE_HOLDERS = ("allocation.coverage=5", "allocation.max_blocks=4")
"""Five or six of eight clients hold a block: two attackers of five holders is what f = 2 allows."""
SHARED = "federation.seeds=shared"
AGGREGATIONS: dict[str, tuple[str, ...]] = {
    "mean": (),
    "clip_spread": ("federation.aggregate=clip_spread",),
    "shared mean": (SHARED,),
    "median": (SHARED, "federation.aggregate=median", "allocation.coverage=3"),
    "trimmed_mean": (SHARED, "federation.aggregate=trimmed_mean", "allocation.coverage=3"),
    "krum": (SHARED, "federation.aggregate=krum", "allocation.coverage=5"),
}
ATTACKS: dict[str, tuple[str, float]] = {
    "×−100": ("sign_flip", 100.0),
    "×−3": ("sign_flip", 3.0),
    "flipped labels": ("label_flip", 1.0),
    "stale": ("stale", 1.0),
    "another's seed": ("other_seed", 1.0),
    "NaN": ("not_finite", 1.0),
    "3e38": ("constant", 3e38),
}
CHECKED = ("NaN", "3e38")
"""What the checks of reports refuse, whatever the aggregation."""
PROMISED: dict[str, tuple[str, ...]] = {
    "mean": CHECKED,
    "shared mean": CHECKED,
    "clip_spread": ("×−100", *CHECKED),
    "median": tuple(ATTACKS),
    "trimmed_mean": tuple(ATTACKS),
    "krum": tuple(ATTACKS),
}
"""Aggregation -> attacks of one client of eight that it withstands."""
NAMED = ("×−100", *CHECKED)
"""Attacks whose client can be told from its report: the others have honest sizes, or nearly."""


@dataclass(frozen=True)
class Arm:
    """One kind of run, for several seeds."""

    aggregation: str
    attack: str | None = None
    """None: all are honest."""
    hostile: tuple[int, ...] = (3,)

    @property
    def name(self) -> str:
        """Of its rows."""
        together = f" of {len(self.hostile)} together" if len(self.hostile) > 1 else ""
        return f"{self.aggregation}, {self.attack or 'no attack'}{together}"

    @property
    def honest(self) -> "Arm":
        """The same without an attack."""
        return Arm(self.aggregation, None, self.hostile)

    @property
    def promised(self) -> bool:
        """Whether the aggregation promises to withstand this."""
        if len(self.hostile) > 1:
            return self.aggregation in ("median", "trimmed_mean")
        return self.attack in PROMISED[self.aggregation]

    def settings(self, seed: int) -> ExperimentConfig:
        """The settings of its run."""
        own = [*PLAIN, f"seed={seed}", *AGGREGATIONS[self.aggregation]]
        if len(self.hostile) > 1:
            own += [
                *FIVE_HOLDERS,
                *(["federation.byzantine=2"] if self.aggregation in ("median", "trimmed_mean") else []),
            ]
        if self.attack is not None:
            kind, scale = ATTACKS[self.attack]
            own.append(f"adversaries=[{{clients: {list(self.hostile)}, kind: {kind}, scale: {scale}}}]")
        return load_config("demo", own)

    def path(self, seed: int) -> Path:
        """Its run directory."""
        folder = Path(os.environ.get("ZORBA_ADVERSARIES") or Path("runs") / "adversaries")
        return folder / f"{re.sub('[^a-z0-9]+', '_', self.name.lower().replace('−', 'minus '))}_{seed}"

    def run(self, seed: int) -> None:
        """Runs or resumes it. A run that diverged stays as it is.

        Raises:
            ZorbaError: the directory is of other settings, or the run was interrupted.
        """
        found, config = self.read(seed), self.settings(seed)
        if found is not None and found.status in ("finished", "diverged"):
            return

        def work(run: RunDir) -> None:
            run_experiment(config, run, "simulated", ["benchmarks", "adversaries"], _silent, lambda: False)

        self.path(seed).parent.mkdir(parents=True, exist_ok=True)
        run_cell(self.path(seed), config, work)

    def read(self, seed: int) -> Run | None:
        """Its run; None where there is none yet."""
        try:
            return Run(self.path(seed))
        except RunDirError:
            return None


def _silent(event: dict[str, Any]) -> None:
    """Nobody listens."""


TOGETHER = (1, 3)
"""Two of eight."""
_ATTACKED = [
    Arm(aggregation, attack) for attack in ATTACKS for aggregation in AGGREGATIONS if aggregation != "shared mean"
]
_TWO = [
    Arm(aggregation, attack, TOGETHER)
    for attack in (None, "×−100", "×−3")
    for aggregation in ("shared mean", "median", "trimmed_mean")
]
ARMS: tuple[Arm, ...] = (*(Arm(aggregation) for aggregation in AGGREGATIONS), *_ATTACKED, *_TWO)
