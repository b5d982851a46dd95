"""Rewards: what a model answers, as text, and the type of what judges it."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from zorba_ray.errors import Diverged
from zorba_ray.models.batch import Batch

RewardFunction = Callable[[Sequence[str], Sequence[Sequence[str]]], np.ndarray]
"""(answers [B], right answers of each [B, …]) -> float64 [B], all finite."""


def chosen_texts(logits_BC: torch.Tensor, batch: Batch) -> list[str]:
    """The text with the highest logit of each row, of equal ones the first.

    Raises:
        Diverged: a logit is NaN.
    """
    assert batch.choices is not None
    if bool(logits_BC.isnan().any()):
        raise Diverged("a logit is NaN, so that there is no answer: lower the learning rate or zo.perturbation_scale")
    places: list[int] = logits_BC.argmax(dim=1).tolist()
    return [choices[place] for choices, place in zip(batch.choices, places, strict=True)]
