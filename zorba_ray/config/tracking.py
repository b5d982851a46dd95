"""When the model is evaluated and who else hears of it."""

from typing import Literal

from pydantic import Field

from zorba_ray.config.base import StrictModel
from zorba_ray.config.task import ScoreName


class EvalConfig(StrictModel):
    """Evaluation on the driver's replica."""

    every: int = Field(default=10, ge=1)
    """Rounds between evaluations on the validation split; the start and the last round are always evaluated."""
    rows: int | None = Field(default=None, ge=1)
    """Use only the first rows of the validation and test splits; None is all."""
    examples: int = Field(default=20, ge=0, le=1000)
    """Test rows, drawn at random, that the run directory and the report hold with the answers before and after
    training. 0: none, where nobody may see a row."""
    metric: Literal["loss", "perplexity", "accuracy", "balanced_accuracy", "macro_f1", "mcc", "reward", ScoreName] = (
        "loss"
    )
    """Figure of the validation split by which `keep` and `patience` judge."""
    keep: Literal["last", "best"] = "last"
    """Whose θ is the run's result, with its SHA-256, test figures and export: that of the last round, or of the
    evaluated round with the best `metric`, the first of equal ones. The start counts as round 0."""
    patience: int | None = Field(default=None, ge=1)
    """The run ends after so many evaluations in a row that were no better than the best before; None: it does not."""


class TrackingConfig(StrictModel):
    """Sinks beside metrics.jsonl, which is always written."""

    wandb: Literal["auto", "online", "offline", "disabled"] = "auto"
    """`auto`: online where a key is configured (WANDB_API_KEY, or `wandb login`), else disabled. `offline`: files for
    `wandb sync`. Never asks, never blocks more than 20 s."""
    project: str = "zorba-ray"
    """W&B project."""
    group: str | None = None
    """W&B group; a trial's is the name of its sweep."""
    profile: bool = False
    """Measure where the rounds' time goes, into profile.json; results do not change. `--profile` sets it."""
