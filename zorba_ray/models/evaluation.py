"""What an evaluation says of a model, in all and row by row."""

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Evaluation:
    """Mean loss and accuracy (None for the LM head) over `items` examples or tokens."""

    loss: float
    accuracy: float | None
    items: int
    spread: float
    """How much the logits depend on the item: mean over classes of their standard deviation over items, each item's
    mean taken out, as a shift of all of its logits changes nothing."""
    predicted: tuple[int, ...] | None
    """Items by predicted label; None for the LM head."""
    row_losses: np.ndarray = field(compare=False)
    """Loss of each row, its items added up: float64 [rows], in the order of the batches. So the next two."""
    row_items: np.ndarray = field(compare=False)
    """int64 [rows]."""
    row_labels: np.ndarray | None = field(compare=False)
    """Predicted label of each row, int64 [rows]; None for the LM head."""
    row_scores: np.ndarray | None = field(default=None, compare=False)
    """Probability of each label or option, float64 [rows, C], 0 where a row has fewer; None for the LM head, and where
    they were not asked for."""
    row_texts: tuple[str, ...] | None = field(default=None, compare=False)
    """What the model writes behind the prompt of each row; None of a task that writes nothing."""
    row_rewards: np.ndarray | None = field(default=None, compare=False)
    """Reward of each row, float64 [rows]; None where the task is no reward."""
