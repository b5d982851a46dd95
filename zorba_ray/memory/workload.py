"""What runs on the accelerator beside the weights."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Workload:
    """Sizes of a batch and of what a head computes from it."""

    batch_size: int
    """B, rows of one sign."""
    length: int
    """T."""
    hidden: int
    """H."""
    logits: int
    """C: logits per counted position (label words, label prompts, or the vocabulary)."""
    positions: int
    """Counted positions per row: 1 for a label, T for the LM loss."""
    heads: int
    """Attention heads."""
