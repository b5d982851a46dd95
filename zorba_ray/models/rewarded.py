"""Rewards: what a model answers, as text, and the type of what judges it."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from zorba_ray.models.heads import Batch

RewardFunction = Callable[[Sequence[str], Sequence[Sequence[str]]], np.ndarray]
"""(answers [B], right answers of each [B, …]) -> float64 [B], all finite."""


def answers(logits_BC: torch.Tensor, batch: Batch) -> list[str]:
    """The text with the highest logit of each row, of equal ones the first."""
    assert batch.choices is not None
    places: list[int] = logits_BC.argmax(dim=1).tolist()
    return [choices[place] for choices, place in zip(batch.choices, places, strict=True)]
