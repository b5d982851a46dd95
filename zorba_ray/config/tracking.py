"""Settings of evaluation and tracking."""

from typing import Literal

from pydantic import Field

from zorba_ray.config.base import StrictModel
from zorba_ray.config.task import ScoreName


class EvalConfig(StrictModel):
    """Evaluation of the global model by the driver."""

    every: int = Field(default=10, ge=1)
    """Rounds between evaluations on the validation split; the start and the last round are always evaluated."""
    rows: int | None = Field(default=None, ge=1)
    """Use only the first rows of the validation split and of the test split, so many of each; None is all."""
    examples: int = Field(default=20, ge=0, le=1000)
    """Number of test rows, drawn at random, that the run directory and the report show with the model's answers before
    and after training. 0: none, if nobody may see a row."""
    metric: Literal["loss", "perplexity", "accuracy", "balanced_accuracy", "macro_f1", "mcc", "reward", ScoreName] = (
        "loss"
    )
    """Metric on the validation split that `keep` and `patience` compare."""
    keep: Literal["last", "best"] = "last"
    """Which round's θ is the result of the run (SHA-256, test figures, export): `last`, or `best`: the evaluated round
    with the best `metric`, of equal ones the first. The start counts as round 0."""
    patience: int | None = Field(default=None, ge=1)
    """The run ends after this many evaluations in a row without a new best `metric`; None: it goes on to the last
    round."""


class TrackingConfig(StrictModel):
    """Where metrics go, besides metrics.jsonl, which is always written."""

    wandb: Literal["auto", "online", "offline", "disabled"] = "auto"
    """`auto`: online if a key is configured (WANDB_API_KEY, or `wandb login`), else disabled. `offline`: files for
    `wandb sync`. The run never asks for a key and never waits more than 20 s for W&B."""
    project: str = "zorba-ray"
    """W&B project."""
    group: str | None = None
    """W&B group. In a sweep, the default is the name of the sweep."""
    profile: bool = False
    """Measure where the time of the rounds goes, and write it to profile.json. Results do not change. `--profile` sets
    it."""
